//! Normalisation.

use super::Builder;
use super::case::{Case, NO_PLACE};
use super::layout::reshaped;
use super::tape::{Grads, T};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("nn.functional.layer_norm", |c| {
        let x = c.x();
        let y = inner(c, x, |c, rows| {
            let eps = c.number_or(3, "eps", 1e-5);
            op!(c.t, standardize(rows; -1, eps))
        });
        let (weight, bias) = (c.tensor(1, "weight"), c.tensor(2, "bias"));
        vec![affine(c, y, weight, bias)]
    }),
    ("nn.functional.rms_norm", |c| {
        let x = c.x();
        let y = inner(c, x, |c, rows| {
            let eps = c.number_or(2, "eps", f64::EPSILON);
            op!(c.t, rms_norm(rows; -1, eps))
        });
        let weight = c.tensor(1, "weight");
        vec![affine(c, y, weight, None)]
    }),
    ("nn.functional.group_norm", |c| {
        let (x, groups, eps) = (c.x(), c.int(0, "num_groups").expect("groups") as usize, c.number_or(3, "eps", 1e-5));
        let y = op!(c.t, group_norm(x; groups, eps));
        let (weight, bias) = channels(c, x, 1);
        vec![affine(c, y, weight, bias)]
    }),
    ("nn.functional.instance_norm", |c| {
        let (x, eps) = (c.x(), c.number_or(NO_PLACE, "eps", 1e-5));
        let from_input = c.arg(NO_PLACE, "use_input_stats").is_none_or(|b| b.as_bool() != Some(false));
        let y = if from_input { op!(c.t, instance_norm(x; eps)) } else { running(c, x, NO_PLACE, NO_PLACE, eps) };
        let (weight, bias) = channels(c, x, NO_PLACE);
        vec![affine(c, y, weight, bias)]
    }),
    ("nn.functional.batch_norm", |c| {
        let (x, eps) = (c.x(), c.number_or(6, "eps", 1e-5));
        let y = if c.bool(4, "training") {
            // Channels first, everything else is one row.
            let mut shape = c.t.shape(x);
            let turned = op!(c.t, transpose(x; 0, 1));
            shape.swap(0, 1);
            let rows = reshaped(&mut c.t, turned, &[shape[0], shape[1..].iter().product()]);
            let y = op!(c.t, standardize(rows; -1, eps));
            let y = reshaped(&mut c.t, y, &shape);
            op!(c.t, transpose(y; 0, 1))
        } else {
            running(c, x, 0, 1, eps)
        };
        let (weight, bias) = channels(c, x, 2);
        vec![affine(c, y, weight, bias)]
    }),
    ("nn.functional.local_response_norm", |c| {
        let x = c.x();
        let size = c.int(0, "size").expect("a size") as usize;
        let (alpha, beta) = (c.number_or(1, "alpha", 1e-4), c.number_or(2, "beta", 0.75));
        let k = c.number_or(3, "k", 1.0);
        vec![op!(c.t, local_response_norm(x; size, alpha, beta, k))]
    }),
];

/// The normalised axes as one row each, and back.
fn inner(c: &mut Case<'_>, x: T, build: impl Fn(&mut Case<'_>, T) -> T) -> T {
    let sizes = c.ints(0, "normalized_shape").expect("sizes");
    let (shape, width) = (c.t.shape(x), sizes.iter().product::<isize>() as usize);
    let rows = reshaped(&mut c.t, x, &[shape.iter().product::<usize>() / width, width]);
    let y = build(c, rows);
    reshaped(&mut c.t, y, &shape)
}

/// Weight and bias, one number a channel.
fn channels(c: &mut Case<'_>, x: T, place: usize) -> (Option<T>, Option<T>) {
    let next = if place == NO_PLACE { NO_PLACE } else { place + 1 };
    let both = [c.tensor(place, "weight"), c.tensor(next, "bias")];
    let [weight, bias] = both.map(|w| w.map(|w| op!(c.t, per_channel(w, x))));
    (weight, bias)
}

fn affine(c: &mut Case<'_>, x: T, weight: Option<T>, bias: Option<T>) -> T {
    let y = if let Some(w) = weight { op!(c.t, mul(x, w)) } else { x };
    if let Some(b) = bias { op!(c.t, add(y, b)) } else { y }
}

/// Normalised by given means and variances.
fn running(c: &mut Case<'_>, x: T, mean: usize, var: usize, eps: f32) -> T {
    let mean = c.tensor(mean, "running_mean").expect("means");
    let var = c.tensor(var, "running_var").expect("variances");
    let (mean, var) = (op!(c.t, per_channel(mean, x)), op!(c.t, per_channel(var, x)));
    let eps = c.t.push(eps);
    let centred = op!(c.t, sub(x, mean));
    let var = op!(c.t, add(var, eps));
    let deviation = op!(c.t, sqrt(var));
    op!(c.t, div(centred, deviation))
}
