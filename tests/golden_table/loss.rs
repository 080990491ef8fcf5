//! Losses.

use super::Builder;
use super::case::{Case, NO_PLACE};
use super::elementwise::scale;
use super::reduce::{finish, length, p_norm, without};
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
            let y = op!(c.t, bce_terms(x, y));
            weighted(c, y)
        })
    }),
    ("nn.functional.binary_cross_entropy_with_logits", |c| {
        terms(c, |c, x, y| {
            let loss = match c.tensor(NO_PLACE, "pos_weight") {
                // (1 - y) x + (1 + (w - 1) y) ln(1 + e^-x)
                Some(w) => {
                    let one = c.t.push(1.0);
                    let rest = op!(c.t, sub(one, y));
                    let straight = op!(c.t, mul(rest, x));
                    let more = op!(c.t, sub(w, one));
                    let more = op!(c.t, mul(more, y));
                    let factor = op!(c.t, add(more, one));
                    let log = op!(c.t, log_sigmoid(x));
                    let curved = op!(c.t, mul(factor, log));
                    op!(c.t, sub(straight, curved))
                }
                None => op!(c.t, bce_with_logits_terms(x, y)),
            };
            weighted(c, loss)
        })
    }),
    ("nn.functional.kl_div", |c| {
        terms(c, |c, x, y| {
            if c.bool(NO_PLACE, "log_target") {
                let (e, rest) = (op!(c.t, exp(y)), op!(c.t, sub(y, x)));
                op!(c.t, mul(e, rest))
            } else {
                op!(c.t, kl_div_terms(x, y))
            }
        })
    }),
    ("nn.functional.poisson_nll_loss", |c| {
        let (x, y) = (c.x(), c.tensor(0, "target").expect("targets"));
        let is_log = c.arg(1, "log_input").and_then(serde_json::Value::as_bool).unwrap_or(true);
        let mut loss = if is_log {
            op!(c.t, poisson_nll_terms(x, y))
        } else {
            let eps = c.t.push(c.number(NO_PLACE, "eps").unwrap_or(1e-8));
            let bounded = op!(c.t, add(x, eps));
            let log = op!(c.t, log(bounded));
            let product = op!(c.t, mul(y, log));
            op!(c.t, sub(x, product))
        };
        if c.bool(2, "full") {
            // Stirling's approximation of ln y! for targets above one.
            let (one, zero) = (c.t.push(1.0), c.t.push(0.0));
            let large = op!(c.t, gt(y, one));
            let safe = op!(c.t, select(large, y, one));
            let log = op!(c.t, log(safe));
            let product = op!(c.t, mul(safe, log));
            let rest = op!(c.t, sub(product, safe));
            let circle = scale(&mut c.t, safe, 2.0 * std::f64::consts::PI);
            let root = op!(c.t, log(circle));
            let half = scale(&mut c.t, root, 0.5);
            let sum = op!(c.t, add(rest, half));
            let term = op!(c.t, select(large, sum, zero));
            loss = op!(c.t, add(loss, term));
        }
        finish(c, loss)
    }),
    ("nn.functional.gaussian_nll_loss", |c| {
        let (x, y, mut var) =
            (c.x(), c.tensor(0, "target").expect("targets"), c.operand(1, "var").expect("a variance"));
        let eps = c.number_or(NO_PLACE, "eps", 1e-6);
        let (rank, inner) = (c.t.rank(x), c.t.rank(var));
        if inner > 0 && inner + 1 == rank {
            var = op!(c.t, unsqueeze(var; -1));
        }
        let mut loss = op!(c.t, gaussian_nll_terms(x, y, var; eps));
        if c.bool(2, "full") {
            let constant = c.t.push(0.5 * (2.0 * std::f64::consts::PI).ln());
            loss = op!(c.t, add(loss, constant));
        }
        finish(c, loss)
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
        let margin = c.number(NO_PLACE, "margin").unwrap_or(1.0);
        let (power, eps) = (c.number(NO_PLACE, "p").unwrap_or(2.0), c.number(NO_PLACE, "eps").unwrap_or(1e-6));
        if power == 2.0 && eps == 1e-6 && !c.bool(NO_PLACE, "swap") {
            let margin = margin as f32;
            let loss = op!(c.t, triplet_margin_terms(a, p, n; margin));
            return finish(c, loss);
        }
        let distance = |c: &mut Case<'_>, a: T, b: T| {
            let eps = c.t.push(eps);
            let d = op!(c.t, sub(a, b));
            let d = op!(c.t, add(d, eps));
            let d = p_norm(&mut c.t, d, power, &[-1]);
            without(&mut c.t, d, &[-1])
        };
        let (near, mut far) = (distance(c, a, p), distance(c, a, n));
        if c.bool(NO_PLACE, "swap") {
            let other = distance(c, p, n);
            far = op!(c.t, minimum(far, other));
        }
        let margin = c.t.push(margin);
        let excess = op!(c.t, sub(near, far));
        let excess = op!(c.t, add(excess, margin));
        let loss = op!(c.t, relu(excess));
        finish(c, loss)
    }),
    ("nn.functional.nll_loss", |c| {
        let x = c.x();
        classes(c, x)
    }),
    ("nn.functional.cross_entropy", |c| {
        let x = c.x();
        let axis = if c.t.rank(x) == 1 { 0 } else { 1 };
        let logs = op!(c.t, log_softmax(x; axis));
        classes(c, logs)
    }),
];

fn terms(c: &mut Case<'_>, build: impl Fn(&mut Case<'_>, T, T) -> T) -> Vec<T> {
    let (x, y) = (c.x(), c.tensor(0, "target").expect("targets"));
    let y = if c.is_index(y) { op!(c.t, float(y)) } else { y };
    let loss = build(c, x, y);
    finish(c, loss)
}

fn weighted(c: &mut Case<'_>, x: T) -> T {
    match c.tensor(NO_PLACE, "weight") {
        Some(w) => op!(c.t, mul(x, w)),
        None => x,
    }
}

/// The loss of logarithms of probabilities, with the classes on the second axis.
fn classes(c: &mut Case<'_>, logs: T) -> Vec<T> {
    let target = c.tensor(0, "target").expect("targets");
    let smoothing = c.number(NO_PLACE, "label_smoothing").unwrap_or(0.0);
    let weight = c.tensor(NO_PLACE, "weight");
    let axis = if c.t.rank(logs) == 1 { 0 } else { 1 };
    let count = c.t.shape(logs)[axis];
    // Classes last.
    let mut order: Vec<usize> = (0..c.t.rank(logs)).filter(|&i| i != axis).collect();
    order.push(axis);
    let order = super::case::dims(&order);
    let logs = op!(c.t, permute(logs; order));
    if !c.is_index(target) {
        // Targets that are probabilities.
        let target = op!(c.t, permute(target; order));
        let (mut y, rest) = (target, smoothing / count as f64);
        if smoothing > 0.0 {
            let (scaled, rest) = (scale(&mut c.t, y, 1.0 - smoothing), c.t.push(rest));
            y = op!(c.t, add(scaled, rest));
        }
        let y = if let Some(w) = weight { op!(c.t, mul(y, w)) } else { y };
        let products = op!(c.t, mul(logs, y));
        let products = op!(c.t, neg(products));
        let rows = length(&c.t, products) / count as f64;
        let last = c.t.rank(logs) - 1;
        let loss = super::reduce::sum_over(&mut c.t, products, &[last]);
        if c.reduction() != "mean" {
            return finish(c, loss);
        }
        let total = op!(c.t, sum(loss));
        return vec![scale(&mut c.t, total, 1.0 / rows)];
    }
    let ignored = c.int(NO_PLACE, "ignore_index").unwrap_or(-100) as i32;
    let ignored = c.t.push(ignored);
    let is_ignored = op!(c.t, eq(target, ignored));
    let zero = c.t.push(0.0);
    let place = c.t.g.iota(count);
    let place = c.t.push(place);
    let column = op!(c.t, unsqueeze(target; -1));
    let is_target = op!(c.t, eq(place, column));
    let picked_weight = match weight {
        Some(w) => {
            let w = op!(c.t, select(is_target, w, zero));
            op!(c.t, sum_axes(w; [-1]))
        }
        None => {
            let one = c.t.push(1.0);
            op!(c.t, select(is_ignored, one, one))
        }
    };
    let one_hot = op!(c.t, select(is_target, logs, zero));
    let picked = op!(c.t, sum_axes(one_hot; [-1]));
    let picked = op!(c.t, neg(picked));
    let mut loss = if weight.is_some() { op!(c.t, mul(picked, picked_weight)) } else { picked };
    if smoothing > 0.0 {
        let all = if let Some(w) = weight { op!(c.t, mul(logs, w)) } else { logs };
        let all = op!(c.t, sum_axes(all; [-1]));
        let (a, b) = (scale(&mut c.t, loss, 1.0 - smoothing), scale(&mut c.t, all, smoothing / count as f64));
        loss = op!(c.t, sub(a, b));
    }
    let loss = op!(c.t, select(is_ignored, zero, loss));
    if c.reduction() != "mean" {
        return finish(c, loss);
    }
    let shape = super::case::dims(&c.t.shape(loss));
    let weights = op!(c.t, broadcast_to(picked_weight; shape));
    let weights = op!(c.t, select(is_ignored, zero, weights));
    let (total, weights) = (op!(c.t, sum(loss)), op!(c.t, sum(weights)));
    vec![op!(c.t, div(total, weights))]
}
