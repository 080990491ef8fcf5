//! Losses.

use super::Builder;
use super::case::{Case, NO_PLACE};
use super::reduce::finish;
use super::tape::{Grads, T};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("nn.functional.mse_loss", |c| terms(c, |c, x, y| op!(c.t, mse_terms(x, y)))),
    ("nn.functional.l1_loss", |c| terms(c, |c, x, y| op!(c.t, l1_terms(x, y)))),
    ("nn.functional.smooth_l1_loss", |c| {
        terms(c, |c, x, y| {
            let beta = c.number_or(NO_PLACE, "beta", 1.0);
            if beta == 0.0 { op!(c.t, l1_terms(x, y)) } else { op!(c.t, smooth_l1_terms(x, y; beta)) }
        })
    }),
    ("nn.functional.huber_loss", |c| {
        terms(c, |c, x, y| {
            let delta = c.number_or(NO_PLACE, "delta", 1.0);
            op!(c.t, huber_terms(x, y; delta))
        })
    }),
    ("nn.functional.binary_cross_entropy", |c| {
        terms(c, |c, x, y| {
            let loss = op!(c.t, bce_terms(x, y));
            match c.tensor(1, "weight") {
                Some(w) => op!(c.t, mul(loss, w)),
                None => loss,
            }
        })
    }),
    ("nn.functional.binary_cross_entropy_with_logits", |c| {
        terms(c, |c, x, y| {
            if c.tensor(1, "weight").is_none() && c.tensor(NO_PLACE, "pos_weight").is_none() {
                return op!(c.t, bce_with_logits_terms(x, y));
            }
            let weight = or_one(c, 1, "weight");
            let positive = or_one(c, NO_PLACE, "pos_weight");
            op!(c.t, weighted_bce_with_logits_terms(x, y, weight, positive))
        })
    }),
    ("nn.functional.kl_div", |c| {
        let (x, y) = (c.x(), c.tensor(0, "target").expect("targets"));
        let is_log = c.bool(NO_PLACE, "log_target");
        if c.reduction() == "batchmean" {
            return vec![op!(c.t, kl_div_batchmean(x, y; is_log))];
        }
        let loss = op!(c.t, kl_div_terms(x, y; is_log));
        finish(c, loss)
    }),
    ("nn.functional.poisson_nll_loss", |c| {
        terms(c, |c, x, y| {
            let is_log = c.arg(1, "log_input").and_then(serde_json::Value::as_bool).unwrap_or(true);
            let (full, eps) = (c.bool(2, "full"), c.number_or(4, "eps", 1e-8));
            op!(c.t, poisson_nll_terms(x, y; is_log, full, eps))
        })
    }),
    ("nn.functional.gaussian_nll_loss", |c| {
        let mut var = c.operand(1, "var").expect("a variance");
        terms(c, |c, x, y| {
            let (full, eps) = (c.bool(2, "full"), c.number_or(3, "eps", 1e-6));
            let (shape, inner) = (c.t.shape(x), c.t.shape(var));
            // One variance for each row.
            if !inner.is_empty() && inner == shape[..shape.len() - 1] {
                var = op!(c.t, unsqueeze(var; -1));
            }
            op!(c.t, gaussian_nll_terms(x, y, var; full, eps))
        })
    }),
    ("nn.functional.hinge_embedding_loss", |c| {
        terms(c, |c, x, y| {
            let margin = c.number_or(1, "margin", 1.0);
            op!(c.t, hinge_embedding_terms(x, y; margin))
        })
    }),
    ("nn.functional.cosine_embedding_loss", |c| {
        let (a, b) = (c.x(), c.tensor(0, "input2").expect("vectors"));
        let label = c.tensor(1, "target").expect("targets");
        let (zero, margin) = (c.t.push(0.0), c.number_or(NO_PLACE, "margin", 0.0));
        let label = if c.is_index(label) { op!(c.t, float(label)) } else { op!(c.t, add(label, zero)) };
        let loss = op!(c.t, cosine_embedding_terms(a, b, label; margin));
        finish(c, loss)
    }),
    ("nn.functional.cosine_similarity", |c| {
        let (a, b) = (c.x(), c.tensor(0, "x2").expect("vectors"));
        let (axis, eps) = (c.int(1, "dim").unwrap_or(1), c.number_or(2, "eps", 1e-8));
        if c.t.rank(a) == 0 {
            let (a, b) = (super::layout::reshaped(&mut c.t, a, &[1]), super::layout::reshaped(&mut c.t, b, &[1]));
            return vec![op!(c.t, cosine_similarity(a, b; 0, eps))];
        }
        vec![op!(c.t, cosine_similarity(a, b; axis, eps))]
    }),
    ("nn.functional.triplet_margin_loss", |c| {
        let (a, p, n) = (c.x(), c.tensor(0, "positive").expect("vectors"), c.tensor(1, "negative").expect("vectors"));
        let (margin, power) = (c.number_or(2, "margin", 1.0), c.number_or(3, "p", 2.0));
        let (eps, swap) = (c.number_or(4, "eps", 1e-6), c.bool(5, "swap"));
        let loss = op!(c.t, triplet_margin_terms(a, p, n; margin, power, eps, swap));
        finish(c, loss)
    }),
    ("nn.functional.nll_loss", |c| {
        let logs = classes_last(c, c.x());
        let (target, weight) = (c.tensor(0, "target").expect("targets"), or_one(c, 1, "weight"));
        let ignored = c.int(3, "ignore_index").unwrap_or(-100);
        if c.reduction() == "mean" {
            return vec![op!(c.t, weighted_nll(logs, target, weight; ignored))];
        }
        let loss = op!(c.t, weighted_nll_terms(logs, target, weight; ignored));
        finish(c, loss)
    }),
    ("nn.functional.cross_entropy", |c| {
        let logits = classes_last(c, c.x());
        let (target, weight) = (c.tensor(0, "target").expect("targets"), or_one(c, 1, "weight"));
        let smoothing = c.number_or(6, "label_smoothing", 0.0);
        if !c.is_index(target) {
            let target = classes_last(c, target);
            let loss = op!(c.t, soft_cross_entropy_terms(logits, target, weight; smoothing));
            return finish(c, loss);
        }
        let ignored = c.int(3, "ignore_index").unwrap_or(-100);
        if c.reduction() == "mean" {
            return vec![op!(c.t, weighted_cross_entropy(logits, target, weight; ignored, smoothing))];
        }
        let loss = op!(c.t, weighted_cross_entropy_terms(logits, target, weight; ignored, smoothing));
        finish(c, loss)
    }),
];

fn terms(c: &mut Case<'_>, build: impl FnOnce(&mut Case<'_>, T, T) -> T) -> Vec<T> {
    let (x, y) = (c.x(), c.tensor(0, "target").expect("targets"));
    let y = if c.is_index(y) { op!(c.t, float(y)) } else { y };
    let loss = build(c, x, y);
    finish(c, loss)
}

/// A tensor of weights, or one for all.
fn or_one(c: &mut Case<'_>, place: usize, name: &str) -> T {
    c.tensor(place, name).unwrap_or_else(|| c.t.push(1.0))
}

/// PyTorch has the classes on the second axis, or on the only one.
fn classes_last(c: &mut Case<'_>, x: T) -> T {
    if c.t.rank(x) < 2 { x } else { op!(c.t, movedim(x; 1, -1)) }
}
