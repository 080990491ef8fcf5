//! The gradient of every loss against finite differences.

use crate::common::{Argument, check_op, indices, numbers};
use downhill::prelude::*;
use downhill::shape::DType;

/// Class numbers, some of which are `other`.
fn targets(list: &[i32], shape: &[usize]) -> Argument {
    Argument { shape: shape.to_vec(), dtype: DType::I32, data: list.iter().map(|&x| x as f64).collect() }
}

/// 1 or −1.
fn labels(seed: u64, shape: &[usize]) -> Argument {
    let mut argument = indices(seed, shape, 2);
    argument.dtype = DType::F32;
    argument.data.iter_mut().for_each(|x| *x = 2.0 * *x - 1.0);
    argument
}

fn logits() -> Argument {
    numbers(1, &[2, 3, 5], -2.0, 2.0)
}

#[test]
fn classes() {
    check!(cross_entropy(x = logits(), t = indices(2, &[2, 3], 5)));
    check!(cross_entropy_terms(x = logits(), t = indices(2, &[2, 3], 5)));
    check!(smoothed_cross_entropy(x = logits(), t = indices(2, &[2, 3], 5); 0.3));
    check!(nll_terms(x = logits(), t = indices(2, &[2, 3], 5)));
    check!(nll(x = logits(), t = indices(2, &[2, 3], 5)));
}

#[test]
fn weighted_classes() {
    let weight = || numbers(3, &[5], 0.5, 2.0);
    for (ignored, list) in [(-100, [0, 4, -100, 2, -100, 1]), (2, [0, 4, 3, 2, 2, 1]), (7, [7, 4, 3, 7, 2, 1])] {
        let t = || targets(&list, &[2, 3]);
        check!(weighted_nll_terms(x = logits(), t = t(), w = weight(); ignored));
        check!(weighted_nll(x = logits(), t = t(), w = weight(); ignored));
        for smoothing in [0.0, 0.2] {
            check!(weighted_cross_entropy_terms(x = logits(), t = t(), w = weight(); ignored, smoothing));
            check!(weighted_cross_entropy(x = logits(), t = t(), w = weight(); ignored, smoothing));
        }
        check!(target_weights(t = t(), w = weight(); 5, ignored));
    }
}

#[test]
fn probabilities_of_classes() {
    let shares = || numbers(2, &[2, 3, 5], 0.1, 0.9);
    let weight = || numbers(3, &[5], 0.5, 2.0);
    for smoothing in [0.0, 0.2] {
        check!(soft_cross_entropy_terms(x = logits(), t = shares(), w = weight(); smoothing));
        check!(soft_cross_entropy(x = logits(), t = shares(), w = weight(); smoothing));
    }
}

#[test]
fn binary() {
    let (p, y) = (|| numbers(1, &[3, 4], 0.1, 0.9), || numbers(2, &[3, 4], 0.1, 0.9));
    let (x, weight) = (|| numbers(3, &[3, 4], -2.0, 2.0), || numbers(4, &[4], 0.5, 2.0));
    check!(bce_terms(p = p(), y = y()));
    check!(bce(p = p(), y = y()));
    check!(weighted_bce(p = p(), y = y(), w = weight()));
    check!(bce_with_logits_terms(x = x(), y = y()));
    check!(bce_with_logits(x = x(), y = y()));
    check!(weighted_bce_with_logits_terms(x = x(), y = y(), w = weight(), v = numbers(5, &[4], 0.5, 3.0)));
    check!(weighted_bce_with_logits(x = x(), y = y(), w = weight(), v = numbers(5, &[4], 0.5, 3.0)));
}

#[test]
fn divergences_and_likelihoods() {
    let (x, y) = (|| numbers(1, &[3, 4], 0.5, 2.0), || numbers(2, &[3, 4], 0.2, 3.0));
    for is_log in [false, true] {
        check!(kl_div_terms(x = x(), y = y(); is_log));
        check!(kl_div(x = x(), y = y(); is_log));
        check!(kl_div_batchmean(x = x(), y = y(); is_log));
        for full in [false, true] {
            check!(poisson_nll_terms(x = x(), y = y(); is_log, full, 1e-3));
            check!(poisson_nll(x = x(), y = y(); is_log, full, 1e-3));
        }
    }
    for full in [false, true] {
        check!(gaussian_nll_terms(x = x(), y = y(), v = numbers(3, &[3, 1], 0.5, 2.0); full, 1e-6));
        check!(gaussian_nll(x = x(), y = y(), v = numbers(3, &[3, 4], 0.5, 2.0); full, 1e-6));
    }
}

/// As PyTorch has it: the gradient of a variance that is bounded is that at the bound.
#[test]
fn a_variance_below_its_bound_still_gets_the_gradient() {
    let mut g = Stage::new();
    let one = g.number(1.0);
    let (_, _, d, ..) = gaussian_nll_terms::grad(&mut g, 3.0, 1.0, 0.25, false, 0.5, Some(one));
    // d/dv (ln v + 4 / v) / 2 at v = ½.
    assert_eq!(g.value(Value::Var(d.unwrap())).unwrap().data(), [-7.0]);
}

#[test]
fn distances() {
    let (x, y) = (|| numbers(1, &[3, 4], -2.0, 2.0), || numbers(2, &[3, 4], -2.0, 2.0));
    check!(mse(x = x(), y = y()));
    check!(mse_terms(x = x(), y = y()));
    check!(l1(x = x(), y = y()));
    check!(l1_terms(x = x(), y = y()));
    check!(smooth_l1(x = x(), y = y(); 0.5));
    check!(smooth_l1_terms(x = x(), y = y(); 0.5));
    check!(huber(x = x(), y = y(); 0.5));
    check!(huber_terms(x = x(), y = y(); 0.5));
}

#[test]
fn margins() {
    let (x, y) = (|| numbers(1, &[3, 4], -2.0, 2.0), || numbers(2, &[3, 4], -2.0, 2.0));
    check!(margin_ranking_terms(x = x(), y = y(), l = labels(3, &[3, 4]); 0.3));
    check!(margin_ranking(x = x(), y = y(), l = labels(3, &[3, 4]); 0.3));
    check!(hinge_terms(x = x(), l = labels(3, &[3, 4])));
    check!(hinge(x = x(), l = labels(3, &[3, 4])));
    check!(soft_margin_terms(x = x(), l = labels(3, &[3, 4])));
    check!(soft_margin(x = x(), l = labels(3, &[3, 4])));
    for p in [1.0, 2.0] {
        check_op(
            "multi_margin",
            &[x(), targets(&[0, 3, 1], &[3]), numbers(4, &[4], 0.5, 2.0)],
            &|g, v| {
                let terms = multi_margin_terms::stage(g, v[0], v[1], p, 0.7, v[2]);
                vec![terms, multi_margin::stage(g, v[0], v[1], p, 0.7, v[2])]
            },
            &|g, v, d| {
                let (a0, _, _, _, b0) = multi_margin_terms::grad(g, v[0], v[1], p, 0.7, v[2], d[0]);
                let (a1, _, _, _, b1) = multi_margin::grad(g, v[0], v[1], p, 0.7, v[2], d[1]);
                vec![g.add(a0, a1), None, g.add(b0, b1)]
            },
        );
    }
    check!(multilabel_soft_margin_terms(x = x(), y = numbers(3, &[3, 4], 0.1, 0.9), w = numbers(4, &[4], 0.5, 2.0)));
    check!(multilabel_soft_margin(x = x(), y = numbers(3, &[3, 4], 0.1, 0.9), w = numbers(4, &[4], 0.5, 2.0)));
}

#[test]
fn embeddings() {
    let (x, y, z) =
        (|| numbers(1, &[3, 4], -2.0, 2.0), || numbers(2, &[3, 4], -2.0, 2.0), || numbers(3, &[3, 4], -2.0, 2.0));
    check!(cosine_similarity(x = x(), y = y(); -1, 1e-8));
    for margin in [0.3, 1.5] {
        // A label is compared, not computed with: its own gradient is none.
        let label = labels(5, &[3, 4]).data;
        let embedded = |g: &mut Stage| label_tensor(g, &label, &[3, 4]);
        check_op(
            "hinge_embedding",
            &[x()],
            &|g, v| {
                let l = embedded(g);
                vec![hinge_embedding_terms::stage(g, v[0], l, margin), hinge_embedding::stage(g, v[0], l, margin)]
            },
            &|g, v, d| {
                let l = embedded(g);
                let (a, ..) = hinge_embedding_terms::grad(g, v[0], l, margin, d[0]);
                let (b, ..) = hinge_embedding::grad(g, v[0], l, margin, d[1]);
                vec![g.add(a, b)]
            },
        );
        let cosine = |g: &mut Stage| label_tensor(g, &label[..3], &[3]);
        check_op(
            "cosine_embedding",
            &[x(), y()],
            &|g, v| {
                let l = cosine(g);
                let margin = margin - 1.0;
                vec![
                    cosine_embedding_terms::stage(g, v[0], v[1], l, margin),
                    cosine_embedding::stage(g, v[0], v[1], l, margin),
                ]
            },
            &|g, v, d| {
                let l = cosine(g);
                let margin = margin - 1.0;
                let (a0, b0, ..) = cosine_embedding_terms::grad(g, v[0], v[1], l, margin, d[0]);
                let (a1, b1, ..) = cosine_embedding::grad(g, v[0], v[1], l, margin, d[1]);
                vec![g.add(a0, a1), g.add(b0, b1)]
            },
        );
    }
    for p in [1.0, 2.0, 3.0, f32::INFINITY] {
        check!(pairwise_distance(x = x(), y = y(); p, 1e-6));
        for swap in [false, true] {
            check!(triplet_margin_terms(x = x(), y = y(), z = z(); 1.0, p, 1e-6, swap));
            check!(triplet_margin(x = x(), y = y(), z = z(); 1.0, p, 1e-6, swap));
        }
    }
}

fn label_tensor(g: &mut Stage, data: &[f64], shape: &[usize]) -> Value {
    let data: Vec<f32> = data.iter().map(|&x| x as f32).collect();
    g.constant(&Tensor::new(shape, data).expect("as many as the shape says"))
}
