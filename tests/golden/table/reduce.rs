//! Reductions, norms, scans and what is built on them.

use super::Builder;
use super::case::{Case, NO_PLACE, ints, number};
use super::layout::reshaped;
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

/// A reduction over the axes of a case, which go or stay.
macro_rules! reduced {
    ($c:ident, $gone:ident $kept:ident) => {{
        let (x, keep) = ($c.x(), $c.bool(1, "keepdim"));
        let axes = ints(&$c.axes(x, 0, "dim"));
        vec![if keep { op!($c.t, $kept(x; axes)) } else { op!($c.t, $gone(x; axes)) }]
    }};
}

pub const TABLE: &[(&str, Builder)] = &[
    ("sum", |c| reduced!(c, sum_axes sum_keepdim)),
    ("amax", |c| reduced!(c, max_axes max_keepdim)),
    ("amin", |c| reduced!(c, min_axes min_keepdim)),
    ("prod", |c| reduced!(c, prod_axes prod_keepdim)),
    ("mean", |c| reduced!(c, mean_axes mean_keepdim)),
    ("logsumexp", |c| reduced!(c, logsumexp logsumexp_keepdim)),
    ("max.reduction_no_dim", |c| {
        let x = c.x();
        vec![op!(c.t, max(x))]
    }),
    ("min.reduction_no_dim", |c| {
        let x = c.x();
        vec![op!(c.t, min(x))]
    }),
    ("max.reduction_with_dim", |c| extreme(c, false)),
    ("min.reduction_with_dim", |c| extreme(c, true)),
    ("argmax", |c| {
        let (x, keep) = (c.x(), c.bool(1, "keepdim"));
        match c.int(0, "dim") {
            Some(axis) => vec![place(&mut c.t, x, axis, keep, false)],
            None => {
                let (n, rank) = (c.t.shape(x).iter().product(), c.t.rank(x));
                let flat = reshaped(&mut c.t, x, &[n]);
                let y = op!(c.t, argmax(flat));
                vec![if keep { reshaped(&mut c.t, y, &vec![1; rank]) } else { y }]
            }
        }
    }),
    ("std", |c| vec![spread(c, true)]),
    ("std.unbiased", |c| vec![spread(c, true)]),
    ("var", |c| vec![spread(c, false)]),
    ("var.unbiased", |c| vec![spread(c, false)]),
    ("softmax", |c| along(c, |t, x, axis| op!(t, softmax(x; axis)))),
    ("log_softmax", |c| along(c, |t, x, axis| op!(t, log_softmax(x; axis)))),
    ("nn.functional.softmin", |c| along(c, |t, x, axis| op!(t, softmin(x; axis)))),
    ("cumsum", |c| along(c, |t, x, axis| op!(t, cumsum(x; axis)))),
    ("norm", |c| vec![norm(c)]),
    ("norm.fro", |c| vec![norm(c)]),
    ("norm.inf", |c| vec![norm(c)]),
    ("nn.functional.normalize", |c| {
        let x = c.x();
        let (p, eps) = (c.number(0, "p").unwrap_or(2.0), c.number_or(2, "eps", 1e-12));
        let axis = c.axis(x, c.int(1, "dim").unwrap_or(1)) as isize;
        if p == 2.0 {
            return vec![op!(c.t, normalize(x; axis, eps))];
        }
        let p = p as f32;
        let length = op!(c.t, vector_norm_keepdim(x; p, axis));
        let eps = c.t.push(eps);
        let length = op!(c.t, clamp_min(length, eps));
        vec![op!(c.t, div(x, length))]
    }),
];

fn along(c: &mut Case<'_>, build: impl Fn(&mut Tape, T, isize) -> T) -> Vec<T> {
    let x = c.x();
    let axis = c.int(0, "dim").expect("an axis");
    if c.t.rank(x) == 0 {
        let row = reshaped(&mut c.t, x, &[1]);
        let y = build(&mut c.t, row, 0);
        return vec![reshaped(&mut c.t, y, &[])];
    }
    vec![build(&mut c.t, x, axis)]
}

/// The place of the first largest or smallest element of an axis.
fn place(t: &mut Tape, x: T, axis: isize, keep: bool, smallest: bool) -> T {
    let row = if t.rank(x) == 0 { reshaped(t, x, &[1]) } else { x };
    let y = if smallest { op!(t, argmin_axis(row; axis)) } else { op!(t, argmax_axis(row; axis)) };
    if keep && t.rank(x) > 0 { op!(t, unsqueeze(y; axis)) } else { y }
}

/// The largest or smallest element of an axis and its place: the gradient goes to that one alone.
fn extreme(c: &mut Case<'_>, smallest: bool) -> Vec<T> {
    let (x, axis, keep) = (c.x(), c.int(0, "dim").expect("an axis"), c.bool(1, "keepdim"));
    let at = place(&mut c.t, x, axis, true, smallest);
    if c.t.rank(x) == 0 {
        return vec![x, at];
    }
    let y = op!(c.t, take_along(x, at; axis));
    if keep {
        return vec![y, at];
    }
    vec![op!(c.t, squeeze(y; axis)), op!(c.t, squeeze(at; axis))]
}

/// The variance, or its root. The first arguments are the axes or whether the count is one less.
fn spread(c: &mut Case<'_>, root: bool) -> T {
    let x = c.x();
    let bool = |place| c.arg(place, "unbiased").and_then(serde_json::Value::as_bool);
    let unbiased = bool(0).or(bool(1)).unwrap_or(true);
    let correction = c.number_or(NO_PLACE, "correction", if unbiased { 1.0 } else { 0.0 });
    let (axes, keep) = (ints(&c.axes(x, 0, "dim")), c.bool(2, "keepdim"));
    match (root, keep) {
        (false, false) => op!(c.t, variance(x; axes, correction)),
        (false, true) => op!(c.t, variance_keepdim(x; axes, correction)),
        (true, false) => op!(c.t, deviation(x; axes, correction)),
        (true, true) => op!(c.t, deviation_keepdim(x; axes, correction)),
    }
}

fn norm(c: &mut Case<'_>) -> T {
    let x = c.x();
    let p = match c.text(0, "p") {
        Some("nuc") => panic!("the nuclear norm needs singular values"),
        _ => c.arg(0, "p").and_then(number).unwrap_or(2.0) as f32,
    };
    let axes = ints(&c.axes(x, 1, "dim"));
    if c.bool(2, "keepdim") { op!(c.t, vector_norm_keepdim(x; p, axes)) } else { op!(c.t, vector_norm(x; p, axes)) }
}

/// The mean, the sum, or all elements, as `reduction` says.
pub fn finish(c: &mut Case<'_>, terms: T) -> Vec<T> {
    let how = c.reduction().to_owned();
    vec![match how.as_str() {
        "none" => terms,
        "sum" => op!(c.t, sum(terms)),
        _ => op!(c.t, mean(terms)),
    }]
}
