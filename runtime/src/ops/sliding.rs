//! Windows over an axis that is padded first: what convolution and pooling slide.

use super::{axis_of, integer, number, windows};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::Compare;
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{DType, Dim};

primitive! {
    /// A number added along an axis, `before` and `after` the elements: PyTorch's `pad` in the mode
    /// `constant`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = pad_constant::stage(&mut g, x, 0, 1, 2, 5.0);
    /// assert_eq!(g.value(y)?.data(), [5.0, 1.0, 2.0, 5.0, 5.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pad_constant(x; axis, before, after, value)
    stage |g| {
        let axis = axis_of(g, x, axis);
        surround(g, x, axis, (integer(before) as usize, integer(after) as usize), float_of(value))
    },
    grad |g, d| [Some({
        let axis = axis_of(g, x, axis);
        middle(g, x, axis, integer(before) as usize, d)
    })],
    shape |cx, x| {
        if !holds(cx, "pad_constant", x, value) {
            return Type::Unknown;
        }
        match super::pad::shape(cx, Type::Tensor(x), axis, before, after) {
            Type::Tensor(padded) if !is_zero(before) || !is_zero(after) => {
                Type::Tensor(padded.holding(padded.holds.hull(value.holds(x.dtype))))
            }
            other => other,
        }
    },
}

primitive! {
    /// An axis with `padding` elements of `value` at both ends, over which [`windows`] of these sizes then slide.
    /// With `ceil` a last window may reach beyond the padding, which is then longer at the end, but must start
    /// before it: PyTorch's `ceil_mode`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = pad_windows::stage(&mut g, x, 0, 2, 2, 1, 1, false, 0.0);
    /// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0, 0.0]);
    /// let y = pad_windows::stage(&mut g, x, 0, 3, 2, 1, 1, true, 0.0);
    /// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0, 0.0, 0.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pad_windows(x; axis, size, step, padding, dilation, ceil, value)
    stage |g| {
        let axis = axis_of(g, x, axis);
        let [size, step, padding, dilation] = [size, step, padding, dilation].map(integer);
        let more = beyond(g[x].shape[axis] as isize, super::reach(size, dilation), step, padding, ceil == Value::Bool(true));
        surround(g, x, axis, (padding as usize, (padding + more) as usize), float_of(value))
    },
    grad |g, d| [Some({
        let axis = axis_of(g, x, axis);
        middle(g, x, axis, integer(padding) as usize, d)
    })],
    shape |cx, x| {
        if !holds(cx, "pad_windows", x, value) {
            return Type::Unknown;
        }
        let (Some(axis), Some(size), Some(step), Some(padding), Some(dilation)) = (
            super::axis(cx, "pad_windows", &x, axis),
            number(cx, "pad_windows", size),
            number(cx, "pad_windows", step),
            number(cx, "pad_windows", padding),
            number(cx, "pad_windows", dilation),
        ) else {
            return Type::Unknown;
        };
        let Type::Bool(ceil) = ceil else {
            return cx.error(Message::new().str("pad_windows: `ceil`: expected a truth value"));
        };
        let n = x.shape.dim(axis);
        let mut padded = n.plus(padding).plus(padding);
        if let (Some(k), Some(step), Some(p), Some(dilation)) = (size.get(), step.get(), padding.get(), dilation.get()) {
            if k < 1 || step < 1 || dilation < 1 {
                return cx.error(Message::new().str("pad_windows: a window, a step and a dilation are at least 1"));
            }
            if p < 0 {
                return cx.error(Message::new().str("pad_windows: a padding is at least 0, found ").num(p));
            }
            let reach = super::reach(k, dilation);
            match n.get() {
                Some(n) if reach > n + 2 * p => {
                    let message = Message::new().str("pad_windows: a window that reaches over ").num(reach);
                    let message = message.str(" does not fit axis ").num(axis as isize).str(" of ").shape(x.shape);
                    return cx.error(if p == 0 { message } else { message.str(" with a padding of ").num(p) });
                }
                Some(n) => padded = Dim::int(n + 2 * p + beyond(n, reach, step, p, ceil)),
                None if ceil => padded = Dim::UNKNOWN,
                None => {}
            }
        } else if ceil {
            padded = Dim::UNKNOWN;
        }
        Type::Tensor(x.like(x.dtype, x.shape.with(axis, padded)))
    },
}

primitive! {
    /// For each element of an axis the `size` around it, zeros beyond the ends: as many in front as behind, or
    /// one more where that cannot be.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = neighbours::stage(&mut g, x, 0, 3);
    /// assert_eq!(g.value(y)?, Tensor::new([2, 3], [0.0, 1.0, 2.0, 1.0, 2.0, 0.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    neighbours(x; axis, size)
    stage |g| {
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        let n = g[x].shape[axis];
        let x = surround(g, x, axis, (size / 2, (size - 1) / 2), 0.0);
        g.windows(x, axis, 0, (n, 1), (size, 1))
    },
    grad |g, d| [Some({
        let (axis, size) = (axis_of(g, x, axis), integer(size) as usize);
        let padded = surround(g, x, axis, (size / 2, (size - 1) / 2), 0.0);
        match windows::grad(g, padded, axis, size, 1, 1, Some(d)).0 {
            Some(d) => middle(g, x, axis, size / 2, d),
            None => g.fill(0.0, &g[x].shape.clone()),
        }
    })],
    shape |cx, x| {
        let (Some(axis), Some(size)) = (super::axis(cx, "neighbours", &x, axis), number(cx, "neighbours", size)) else {
            return Type::Unknown;
        };
        if matches!(size.get(), Some(n) if n < 1) {
            return cx.error(Message::new().str("neighbours: a size is at least 1"));
        }
        if !super::axes_fit(cx, "neighbours", x.shape.rank() + 1) {
            return Type::Unknown;
        }
        let shape = x.shape.range(0, axis + 1).push(size);
        Type::Tensor(x.like(x.dtype, shape.join(&x.shape.range(axis + 1, x.shape.rank()))))
    },
}

/// How far the last of the windows that reach over `reach` elements goes beyond the padding.
const fn beyond(n: isize, reach: isize, step: isize, padding: isize, ceil: bool) -> isize {
    let room = n + 2 * padding - reach;
    if !ceil {
        return 0;
    }
    let mut last = (room + step - 1) / step * step;
    if last >= n + padding {
        last -= step;
    }
    if last > room { last - room } else { 0 }
}

/// Whether this number can stand among the elements of `x`.
#[track_caller]
const fn holds(cx: &mut Check, op: &str, x: TensorType, value: Type) -> bool {
    let holds = match x.dtype {
        DType::F32 => true,
        DType::I32 => !value.is_fraction(),
        DType::Bool => false,
    };
    if !holds {
        let message = Message::new().str(op).str(": this number is no element of ").str(x.dtype.name());
        cx.error(message.str(": write `float(..)` around the argument"));
    }
    holds
}

/// Whether this is the size zero.
const fn is_zero(size: Type) -> bool {
    match size {
        Type::Dim(size) => matches!(size.get(), Some(0)),
        _ => false,
    }
}

fn float_of(value: Value) -> f64 {
    match value {
        Value::Number(x) => x,
        other => integer(other) as f64,
    }
}

/// An axis with a number before and after its elements.
fn surround(g: &mut Stage, x: Var, axis: usize, (before, after): (usize, usize), value: f64) -> Var {
    if before + after == 0 {
        return x;
    }
    let around = |g: &mut Stage, x: Var| {
        let mut shape = g[x].shape.clone();
        let mut offsets = vec![0; shape.len()];
        offsets[axis] = before;
        shape[axis] += before + after;
        g.pad(x, &offsets, &shape)
    };
    let zeros = around(g, x);
    if value == 0.0 {
        return zeros;
    }
    let mut line = vec![1; g[x].shape.len()];
    line[axis] = g[x].shape[axis];
    let line = g.fill(1.0, &line);
    let line = around(g, line);
    let zero = g.number(0.0);
    let value = if g[x].dtype == DType::I32 { g.integer(value as i32) } else { g.number(value) };
    let inside = g.compare(Compare::Ne, line, zero);
    g.select(inside, zeros, value)
}

/// What stands at the elements of `x` in the gradient of `x` with something around it.
fn middle(g: &mut Stage, x: Var, axis: usize, before: usize, d: Var) -> Var {
    let shape = g[x].shape.clone();
    let mut window = vec![(0, 1); shape.len()];
    window[axis].0 = before;
    g.slice(d, &window, &shape)
}
