//! Axes of another size: resampling and adaptive pooling. Each element of the result is a fixed weighted
//! sum of elements of the axis, so all of them together are the product with a constant matrix.

use super::{axis, axis_of, integer, number, numbers};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::Binary;
use crate::ir::reduce::Reduce;
use crate::shape::check::{Check, Message, TensorType, Type};

primitive! {
    /// An axis resampled to `size` elements, each a copy of the one at `floor(i / scale)`: one axis of PyTorch's
    /// `interpolate` in the mode `nearest`. A `scale` of zero stands for the new size over the old one.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = resize_nearest::stage(&mut g, x, 0, 3, 0.0);
    /// assert_eq!(g.value(y)?.data(), [1.0, 1.0, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    resize_nearest(x; axis, size, scale)
    stage |g| resized(g, x, axis, size, |n, size| nearest(n, size, step(n, size, scale), 0.0)),
    grad |g, d| [Some(resized_back(g, x, d, axis, |n, size| nearest(n, size, step(n, size, scale), 0.0)))],
    shape |cx, x| {
        let _ = scale;
        sized(cx, "resize_nearest", x, axis, size)
    },
}

primitive! {
    /// An axis resampled to `size` elements, each a copy of the one at `floor((i + ½) / scale)`: one axis of
    /// PyTorch's `interpolate` in the mode `nearest-exact`. A `scale` of zero stands for the new size over the
    /// old one.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
    /// let y = resize_nearest_exact::stage(&mut g, x, 0, 1, 0.0);
    /// assert_eq!(g.value(y)?.data(), [2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    resize_nearest_exact(x; axis, size, scale)
    stage |g| resized(g, x, axis, size, |n, size| nearest(n, size, step(n, size, scale), 0.5)),
    grad |g, d| [Some(resized_back(g, x, d, axis, |n, size| nearest(n, size, step(n, size, scale), 0.5)))],
    shape |cx, x| {
        let _ = scale;
        sized(cx, "resize_nearest_exact", x, axis, size)
    },
}

primitive! {
    /// An axis resampled to `size` elements, each between its two neighbours in a straight line: one axis of
    /// PyTorch's `interpolate` in the modes `linear` and `bilinear`. With `align_corners` the first and the last
    /// elements stay where they are; without, elements are small areas, and a `scale` of zero stands for the
    /// new size over the old one.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = resize_linear::stage(&mut g, x, 0, 3, true, 0.0);
    /// assert_eq!(g.value(y)?.data(), [1.0, 1.5, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    resize_linear(x; axis, size, align_corners, scale)
    stage |g| resized(g, x, axis, size, |n, size| linear(n, size, step(n, size, scale), is(align_corners))),
    grad |g, d| [Some(resized_back(g, x, d, axis, |n, size| linear(n, size, step(n, size, scale), is(align_corners))))],
    shape |cx, x| {
        let _ = scale;
        if !matches!(align_corners, Type::Bool(_)) {
            return cx.error(Message::new().str("resize_linear: `align_corners`: expected a truth value"));
        }
        sized(cx, "resize_linear", x, axis, size)
    },
}

primitive! {
    /// The means of `size` parts of an axis that overlap where they cannot be equal: one axis of PyTorch's
    /// `adaptive_avg_pool`. Part `i` of `n` elements is from `floor(i n / size)` to `ceil((i + 1) n / size)`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 4.0])?);
    /// let y = adaptive_avg::stage(&mut g, x, 0, 2);
    /// assert_eq!(g.value(y)?.data(), [1.5, 3.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    adaptive_avg(x; axis, size)
    stage |g| {
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        match equal_parts(g, x, axis, size) {
            Some(parts) => {
                let n = g[parts].shape[axis + 1];
                let sum = g.reduce(Reduce::Sum, parts, 1 << (axis + 1));
                let mean = over(g, sum, n);
                without_axis(g, mean, axis + 1)
            }
            None => {
                let n = g[x].shape[axis];
                project(g, x, axis, (n, size), &means(n, size), false)
            }
        }
    },
    grad |g, d| [Some({
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        match equal_parts(g, x, axis, size) {
            Some(parts) => {
                let (shape, n) = (g[parts].shape.clone(), g[parts].shape[axis + 1]);
                let mut line = shape.clone();
                line[axis + 1] = 1;
                let d = over(g, d, n);
                let d = g.reshape(d, &line);
                let d = g.broadcast(d, &shape);
                let shape = g[x].shape.clone();
                g.reshape(d, &shape)
            }
            None => {
                let n = g[x].shape[axis];
                project(g, d, axis, (n, size), &means(n, size), true)
            }
        }
    })],
    shape |cx, x| sized(cx, "adaptive_avg", x, axis, size),
}

primitive! {
    /// The largest elements of `size` parts of an axis, which overlap where they cannot be equal: one axis of
    /// PyTorch's `adaptive_max_pool`. The parts are those of [`adaptive_avg`].
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([3], [1.0, 5.0, 4.0])?);
    /// let y = adaptive_max::stage(&mut g, x, 0, 2);
    /// assert_eq!(g.value(y)?.data(), [5.0, 5.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    adaptive_max(x; axis, size)
    stage |g| {
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        match equal_parts(g, x, axis, size) {
            Some(parts) => {
                let most = g.reduce(Reduce::Max, parts, 1 << (axis + 1));
                without_axis(g, most, axis + 1)
            }
            None => {
                let n = g[x].shape[axis];
                let parts: Vec<Var> = (0..size).map(|i| part(g, x, axis, bin(i, n, size))).collect();
                let most: Vec<Var> = parts.into_iter().map(|x| g.reduce(Reduce::Max, x, 1 << axis)).collect();
                g.concat(&most, axis)
            }
        }
    },
    grad |g, d| [Some({
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        let shape = g[x].shape.clone();
        let dx = match equal_parts(g, x, axis, size) {
            Some(parts) => {
                let mut line = g[parts].shape.clone();
                line[axis + 1] = 1;
                let d = g.reshape(d, &line);
                let (d, _) = super::max_keepdim::grad(g, parts, [axis + 1], Some(d));
                d.map(|d| g.reshape(d, &shape))
            }
            None => (0..size).fold(None, |sum, i| {
                let (start, stop) = bin(i, shape[axis], size);
                let (x, d) = (part(g, x, axis, (start, stop)), part(g, d, axis, (i, i + 1)));
                let (d, _) = super::max_keepdim::grad(g, x, [axis], Some(d));
                let mut offsets = vec![0; shape.len()];
                offsets[axis] = start;
                let d = d.map(|d| g.pad(d, &offsets, &shape));
                g.add(sum, d)
            }),
        };
        dx.unwrap_or_else(|| g.fill(0.0, &shape))
    })],
    shape |cx, x| {
        if let Type::Dim(parts) = size
            && let Some(parts) = parts.get()
            && parts > PARTS
        {
            let message = Message::new().str("adaptive_max: ").num(parts).str(" parts are more than ").num(PARTS);
            return cx.error(message);
        }
        sized(cx, "adaptive_max", x, axis, size)
    },
}

/// The most parts of which each is staged by itself.
const PARTS: isize = 1 << 16;

/// The most weights of a resampling: they are a matrix of constants.
const WEIGHTS: isize = 1 << 28;

/// The shape rule: an axis of another size.
#[track_caller]
const fn sized(cx: &mut Check, op: &str, x: TensorType, at: Type, size: Type) -> Type {
    let Some(x) = numbers(cx, op, Type::Tensor(x)) else { return Type::Unknown };
    let (Some(axis), Some(size)) = (axis(cx, op, &x, at), number(cx, op, size)) else { return Type::Unknown };
    let old = x.shape.dim(axis);
    if matches!(size.get(), Some(n) if n < 1) || matches!(old.get(), Some(0)) {
        let message = Message::new().str(op).str(": from a size of ").dim(old).str(" to ").dim(size);
        return cx.error(message.str(": both are at least 1"));
    }
    if let (Some(from), Some(to)) = (old.get(), size.get())
        && from.saturating_mul(to) > WEIGHTS
    {
        let message = Message::new().str(op).str(": from a size of ").dim(old).str(" to ").dim(size);
        return cx.error(message.str(": one weight for each pair of them is more than memory can hold"));
    }
    Type::Tensor(x.like(x.dtype, x.shape.with(axis, size)))
}

/// How far apart the sources of two neighbours are.
fn step(n: usize, size: usize, scale: Value) -> f64 {
    match scale {
        Value::Number(scale) if scale > 0.0 => 1.0 / scale,
        Value::Int(scale) if scale > 0 => 1.0 / scale as f64,
        _ => n as f64 / size as f64,
    }
}

fn is(value: Value) -> bool {
    matches!(value, Value::Bool(true))
}

/// A matrix of zeros, and the given weights in each row: at which element, and how much.
fn matrix(n: usize, size: usize, row: impl Fn(usize) -> Vec<(usize, f32)>) -> Vec<f32> {
    let mut weights = vec![0.0; size * n];
    for i in 0..size {
        for (place, weight) in row(i) {
            weights[i * n + place.min(n - 1)] += weight;
        }
    }
    weights
}

/// Copies. Places are computed in single precision, as PyTorch does, since they are rounded.
fn nearest(n: usize, size: usize, step: f64, offset: f32) -> Vec<f32> {
    matrix(n, size, |i| vec![(((i as f32 + offset) * step as f32) as usize, 1.0)])
}

fn linear(n: usize, size: usize, step: f64, align_corners: bool) -> Vec<f32> {
    let source = |i: usize| match align_corners {
        true => i as f64 * (n - 1) as f64 / (size - 1).max(1) as f64,
        false => ((i as f64 + 0.5) * step - 0.5).max(0.0),
    };
    matrix(n, size, |i| {
        let (place, part) = (source(i) as usize, source(i).fract() as f32);
        vec![(place, 1.0 - part), (place + 1, part)]
    })
}

/// From where to where part `i` of an axis is.
fn bin(i: usize, n: usize, size: usize) -> (usize, usize) {
    (i * n / size, ((i + 1) * n).div_ceil(size))
}

fn means(n: usize, size: usize) -> Vec<f32> {
    matrix(n, size, |i| {
        let (start, stop) = bin(i, n, size);
        (start..stop).map(|place| (place, 1.0 / (stop - start) as f32)).collect()
    })
}

fn resized(g: &mut Stage, x: Var, axis: Value, size: Value, weights: impl Fn(usize, usize) -> Vec<f32>) -> Var {
    let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
    let n = g[x].shape[axis];
    project(g, x, axis, (n, size), &weights(n, size), false)
}

fn resized_back(g: &mut Stage, x: Var, d: Var, axis: Value, weights: impl Fn(usize, usize) -> Vec<f32>) -> Var {
    let axis = axis_of(g, x, axis);
    let (n, size) = (g[x].shape[axis], g[d].shape[axis]);
    project(g, d, axis, (n, size), &weights(n, size), true)
}

/// The product of an axis with a matrix that has a row of `n` weights for each of `size` elements, or with
/// its transpose.
fn project(g: &mut Stage, x: Var, axis: usize, (n, size): (usize, usize), weights: &[f32], back: bool) -> Var {
    let matrix = g.data(weights, &[size, n]);
    let mut shape = g[x].shape.clone();
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let from = shape[axis];
    shape[axis] = if back { n } else { size };
    let y = if inner == 1 {
        let rows = g.reshape(x, &[outer, from]);
        g.matmul(rows, matrix, false, !back)
    } else {
        let x = g.reshape(x, &[outer, from, inner]);
        let matrix = g.broadcast(matrix, &[outer, size, n]);
        g.matmul(matrix, x, back, false)
    };
    g.reshape(y, &shape)
}

/// The axis as `size` equal parts on an axis of their own, where that can be.
fn equal_parts(g: &mut Stage, x: Var, axis: usize, size: usize) -> Option<Var> {
    let mut shape = g[x].shape.clone();
    let n = shape[axis];
    if !n.is_multiple_of(size) {
        return None;
    }
    shape.splice(axis..=axis, [size, n / size]);
    Some(g.reshape(x, &shape))
}

fn part(g: &mut Stage, x: Var, axis: usize, (start, stop): (usize, usize)) -> Var {
    let mut shape = g[x].shape.clone();
    let mut window = vec![(0, 1); shape.len()];
    window[axis].0 = start;
    shape[axis] = stop - start;
    g.slice(x, &window, &shape)
}

/// A tensor without an axis of size one.
fn without_axis(g: &mut Stage, x: Var, axis: usize) -> Var {
    let mut shape = g[x].shape.clone();
    shape.remove(axis);
    g.reshape(x, &shape)
}

fn over(g: &mut Stage, x: Var, n: usize) -> Var {
    let n = g.number(n as f64);
    g.binary(Binary::Div, x, n)
}
