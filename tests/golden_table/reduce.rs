//! Reductions, norms, scans and what is built on them.

use super::Builder;
use super::case::{Case, NO_PLACE, dims, ints, number};
use super::elementwise::scale;
use super::layout::reshaped;
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("sum", |c| reduced(c, "dim", 0, 1, |t, x, axes| op!(t, sum_keepdim(x; axes)))),
    ("amax", |c| reduced(c, "dim", 0, 1, |t, x, axes| op!(t, max_keepdim(x; axes)))),
    ("amin", |c| reduced(c, "dim", 0, 1, |t, x, axes| op!(t, min_keepdim(x; axes)))),
    ("prod", |c| reduced(c, "dim", 0, 1, |t, x, axes| op!(t, prod_keepdim(x; axes)))),
    ("mean", |c| {
        reduced(c, "dim", 0, 1, |t, x, axes| {
            let total = op!(t, sum_keepdim(x; axes));
            let share = length(t, total) / length(t, x);
            scale(t, total, share)
        })
    }),
    ("max.reduction_no_dim", |c| reduced(c, "dim", NO_PLACE, NO_PLACE, |t, x, axes| op!(t, max_keepdim(x; axes)))),
    ("min.reduction_no_dim", |c| reduced(c, "dim", NO_PLACE, NO_PLACE, |t, x, axes| op!(t, min_keepdim(x; axes)))),
    ("max.reduction_with_dim", |c| extreme(c, false)),
    ("min.reduction_with_dim", |c| extreme(c, true)),
    ("argmax", |c| {
        let (x, keep) = (c.x(), c.bool(1, "keepdim"));
        match c.int(0, "dim") {
            Some(axis) => vec![place(&mut c.t, x, axis, keep, false)],
            None => {
                let (n, rank) = (length(&c.t, x) as usize, c.t.rank(x));
                let flat = reshaped(&mut c.t, x, &[n]);
                let y = place(&mut c.t, flat, 0, false, false);
                vec![if keep { reshaped(&mut c.t, y, &vec![1; rank]) } else { y }]
            }
        }
    }),
    ("std", |c| {
        let y = spread(c);
        vec![op!(c.t, sqrt(y))]
    }),
    ("std.unbiased", |c| {
        let y = spread(c);
        vec![op!(c.t, sqrt(y))]
    }),
    ("var", |c| vec![spread(c)]),
    ("var.unbiased", |c| vec![spread(c)]),
    ("logsumexp", |c| {
        reduced(c, "dim", 0, 1, |t, x, axes| {
            let top = op!(t, max_keepdim(x; axes));
            let top = op!(t, stop_gradient(top));
            let e = op!(t, sub(x, top));
            let e = op!(t, exp(e));
            let total = op!(t, sum_keepdim(e; axes));
            let log = op!(t, log(total));
            op!(t, add(log, top))
        })
    }),
    ("softmax", |c| along(c, |t, x, axis| op!(t, softmax(x; axis)))),
    ("log_softmax", |c| along(c, |t, x, axis| op!(t, log_softmax(x; axis)))),
    ("nn.functional.softmin", |c| {
        along(c, |t, x, axis| {
            let x = op!(t, neg(x));
            op!(t, softmax(x; axis))
        })
    }),
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
        let length = p_norm(&mut c.t, x, p, &[axis]);
        let eps = c.t.push(eps);
        let length = op!(c.t, maximum(length, eps));
        vec![op!(c.t, div(x, length))]
    }),
];

pub fn length(t: &Tape, x: T) -> f64 {
    t.shape(x).iter().product::<usize>() as f64
}

/// Removes axes of size one.
pub fn without(t: &mut Tape, x: T, axes: &[isize]) -> T {
    let shape = t.shape(x);
    let rank = shape.len() as isize;
    let gone: Vec<usize> = axes.iter().map(|&axis| (if axis < 0 { axis + rank } else { axis }) as usize).collect();
    let kept: Vec<usize> = (0..shape.len()).filter(|i| !gone.contains(i)).map(|i| shape[i]).collect();
    reshaped(t, x, &kept)
}

fn reduced(
    c: &mut Case<'_>,
    name: &str,
    place: usize,
    keep: usize,
    build: impl Fn(&mut Tape, T, Value) -> T,
) -> Vec<T> {
    let x = c.x();
    let axes = c.axes(x, place, name);
    let y = build(&mut c.t, x, ints(&axes));
    vec![if c.bool(keep, "keepdim") { y } else { without(&mut c.t, y, &axes) }]
}

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
    let shape = t.shape(row);
    let axis = (if axis < 0 { axis + shape.len() as isize } else { axis }) as usize;
    let row = if smallest { op!(t, neg(row)) } else { row };
    let last = shape.len() - 1;
    let row = op!(t, transpose(row; axis, last));
    let y = op!(t, argmax(row));
    let y = op!(t, unsqueeze(y; -1));
    let y = op!(t, transpose(y; axis, last));
    if t.rank(x) == 0 {
        reshaped(t, y, &[])
    } else if keep {
        y
    } else {
        without(t, y, &[axis as isize])
    }
}

fn extreme(c: &mut Case<'_>, smallest: bool) -> Vec<T> {
    let (x, axis, keep) = (c.x(), c.int(0, "dim").expect("an axis"), c.bool(1, "keepdim"));
    let at = place(&mut c.t, x, axis, keep, smallest);
    if c.t.rank(x) == 0 {
        return vec![x, at];
    }
    let axes = ints(&[axis]);
    let y = if smallest { op!(c.t, min_keepdim(x; axes)) } else { op!(c.t, max_keepdim(x; axes)) };
    vec![if keep { y } else { without(&mut c.t, y, &[axis]) }, at]
}

fn spread(c: &mut Case<'_>) -> T {
    let x = c.x();
    // The first argument is the axes, or whether the count is one less.
    let unbiased = c.arg(0, "unbiased").and_then(serde_json::Value::as_bool);
    let unbiased = unbiased.or(c.arg(NO_PLACE, "unbiased").and_then(serde_json::Value::as_bool));
    let correction = c.number(NO_PLACE, "correction").unwrap_or(if unbiased == Some(false) { 0.0 } else { 1.0 });
    let axes = c.axes(x, 0, "dim");
    let list = ints(&axes);
    let t = &mut c.t;
    let total = op!(t, sum_keepdim(x; list));
    let count = length(t, x) / length(t, total);
    let mean = scale(t, total, 1.0 / count);
    let centred = op!(t, sub(x, mean));
    let squares = op!(t, mul(centred, centred));
    let total = op!(t, sum_keepdim(squares; list));
    let y = scale(t, total, 1.0 / (count - correction).max(0.0));
    if c.bool(NO_PLACE, "keepdim") { y } else { without(&mut c.t, y, &axes) }
}

fn norm(c: &mut Case<'_>) -> T {
    let x = c.x();
    let p = c.arg(0, "p").and_then(number).unwrap_or(2.0);
    let axes = c.axes(x, 1, "dim");
    let y = p_norm(&mut c.t, x, p, &axes);
    if c.bool(2, "keepdim") { y } else { without(&mut c.t, y, &axes) }
}

/// The p-norm over axes, which stay with size one.
pub fn p_norm(t: &mut Tape, x: T, p: f64, axes: &[isize]) -> T {
    let axes = ints(axes);
    if p == 2.0 {
        let squares = op!(t, mul(x, x));
        let total = op!(t, sum_keepdim(squares; axes));
        return safe_root(t, total);
    }
    let z = op!(t, abs(x));
    if p == f64::INFINITY {
        return op!(t, max_keepdim(z; axes));
    }
    if p == f64::NEG_INFINITY {
        return op!(t, min_keepdim(z; axes));
    }
    if p == 0.0 {
        let zero = t.push(0.0);
        let counts = op!(t, ne(z, zero));
        let ones = op!(t, float(counts));
        return op!(t, sum_keepdim(ones; axes));
    }
    if p == 1.0 {
        return op!(t, sum_keepdim(z; axes));
    }
    let (exponent, inverse) = (t.push(p), t.push(1.0 / p));
    let powers = op!(t, pow(z, exponent));
    let total = op!(t, sum_keepdim(powers; axes));
    op!(t, pow(total, inverse))
}

/// The square root whose gradient at zero is zero.
fn safe_root(t: &mut Tape, x: T) -> T {
    let (zero, one) = (t.push(0.0), t.push(1.0));
    let some = op!(t, gt(x, zero));
    let safe = op!(t, select(some, x, one));
    let root = op!(t, sqrt(safe));
    op!(t, select(some, root, zero))
}

/// The mean, the sum, or all elements, as `reduction` says.
pub fn finish(c: &mut Case<'_>, terms: T) -> Vec<T> {
    let how = c.reduction().to_owned();
    vec![match how.as_str() {
        "none" => terms,
        "sum" => op!(c.t, sum(terms)),
        "batchmean" => {
            let rows = c.t.shape(terms).first().copied().unwrap_or(1) as f64;
            let total = op!(c.t, sum(terms));
            scale(&mut c.t, total, 1.0 / rows)
        }
        _ => op!(c.t, mean(terms)),
    }]
}

/// The sum over axes, removed.
pub fn sum_over(t: &mut Tape, x: T, axes: &[usize]) -> T {
    let axes = dims(axes);
    op!(t, sum_axes(x; axes))
}
