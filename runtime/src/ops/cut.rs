//! Operations that cut tensors and put them together.

use super::{admitted, axis, axis_of, integer, number};
use crate::graph::{Grad, Stage, Value};
use crate::shape::Dim;
use crate::shape::check::{Check, Holds, Message, TensorType, Type};

/// `slice(x, axis, start, stop)`:
/// The elements from `start` up to, not including, `stop` along an axis.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = slice::stage(&mut g, x, 0, 1, 3);
/// assert_eq!(g.value(y)?.data(), [2.0, 3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum slice {}

impl slice {
    /// Stages the cut.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        start: impl Into<Value>,
        stop: impl Into<Value>,
    ) -> Value {
        let (x, axis, start, stop) = (x.into(), axis.into(), start.into(), stop.into());
        let [tx, ta, t0, t1] = [x, axis, start, stop].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta, t0, t1),
            &[x],
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                let mut shape = g[v[0]].shape.clone();
                let mut window = vec![(0, 1); shape.len()];
                window[axis].0 = integer(start) as usize;
                shape[axis] = (integer(stop) - integer(start)) as usize;
                g.slice(v[0], &window, &shape)
            },
        )
    }

    /// Stages the gradient: zeros where nothing was taken.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        start: impl Into<Value>,
        stop: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad) {
        let args = [x.into(), axis.into(), start.into(), stop.into()];
        let types = args.map(|value| g.ty(value));
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3]);
        let (dout, [x, axis, start, _]) = (super::fitting(g, "slice", rule, dout), args);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None, None) };
        let shape = g[x].shape.clone();
        let mut before = vec![0; shape.len()];
        before[axis_of(g, x, axis)] = integer(start) as usize;
        (Some(g.pad(dout, &before, &shape)), None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, start: Type, stop: Type) -> Type {
        let Some(x) = x.operand(cx, "slice") else { return Type::Unknown };
        let (Some(axis), Some(start), Some(stop)) =
            (axis(cx, "slice", &x, at), number(cx, "slice", start), number(cx, "slice", stop))
        else {
            return Type::Unknown;
        };
        let size = x.shape.dim(axis);
        let outside = match (start.get(), stop.get(), size.get()) {
            (Some(start), Some(stop), Some(size)) => start < 0 || start > stop || stop > size,
            (Some(start), Some(stop), None) => start < 0 || start > stop,
            _ => false,
        };
        if outside {
            let message = Message::new().str("slice: ").dim(start).str("..").dim(stop).str(" is not within axis ");
            return cx.error(message.num(axis as isize).str(" of ").shape(x.shape));
        }
        Type::Tensor(x.slice(axis, start, 1, stop.minus(start)))
    }
}

/// `pad(x, axis, before, after)`:
/// Zeros added along an axis, `before` and `after` the elements.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let y = pad::stage(&mut g, x, 0, 1, 2);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0, 0.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum pad {}

impl pad {
    /// Stages the padding.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        before: impl Into<Value>,
        after: impl Into<Value>,
    ) -> Value {
        let (x, axis, before, after) = (x.into(), axis.into(), before.into(), after.into());
        let [tx, ta, t0, t1] = [x, axis, before, after].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta, t0, t1),
            &[x],
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                let mut shape = g[v[0]].shape.clone();
                let mut offsets = vec![0; shape.len()];
                offsets[axis] = integer(before) as usize;
                shape[axis] += (integer(before) + integer(after)) as usize;
                g.pad(v[0], &offsets, &shape)
            },
        )
    }

    /// Stages the gradient: what stands at the elements.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        before: impl Into<Value>,
        after: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad) {
        let args = [x.into(), axis.into(), before.into(), after.into()];
        let types = args.map(|value| g.ty(value));
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3]);
        let (dout, [x, axis, before, _]) = (super::fitting(g, "pad", rule, dout), args);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None, None) };
        let shape = g[x].shape.clone();
        let mut window = vec![(0, 1); shape.len()];
        window[axis_of(g, x, axis)].0 = integer(before) as usize;
        (Some(g.slice(dout, &window, &shape)), None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, before: Type, after: Type) -> Type {
        let Some(x) = x.operand(cx, "pad") else { return Type::Unknown };
        let (Some(axis), Some(before), Some(after)) =
            (axis(cx, "pad", &x, at), number(cx, "pad", before), number(cx, "pad", after))
        else {
            return Type::Unknown;
        };
        let negative = matches!(before.get(), Some(n) if n < 0) || matches!(after.get(), Some(n) if n < 0);
        if negative {
            return cx.error(Message::new().str("pad: expected sizes, found ").dim(before).str(" and ").dim(after));
        }
        let shape = x.shape.with(axis, x.shape.dim(axis).plus(before).plus(after));
        Type::Tensor(match (before.get(), after.get()) {
            (Some(0), Some(0)) => x,
            (Some(_), Some(_)) => x.like(x.dtype, shape).holding(x.holds.hull(Holds::number(0.0, x.dtype))),
            _ => x.like(x.dtype, shape),
        })
    }
}

/// `concat(xs, axis)`:
/// Tensors one behind the other along an axis: `concat([a, b], 1)`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let y = concat::stage(&mut g, [x, x], 0);
/// assert_eq!(g.value(y)?.data(), [1.0, 2.0, 1.0, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum concat {}

impl concat {
    /// Stages the tensors.
    pub fn stage<const N: usize>(g: &mut Stage, xs: [Value; N], axis: impl Into<Value>) -> Value {
        let axis = axis.into();
        let (types, ta) = (xs.map(|x| g.ty(x)), g.ty(axis));
        admitted(
            g,
            |cx| Self::shape(cx, types, ta),
            &xs,
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                g.concat(v, axis)
            },
        )
    }

    /// Stages the gradient of each tensor: its own part.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        xs: [Value; N],
        axis: impl Into<Value>,
        dout: Grad,
    ) -> ([Grad; N], Grad) {
        let (axis, mut start) = (axis.into(), 0);
        let (types, ta) = (xs.map(|x| g.ty(x)), g.ty(axis));
        let dout = super::fitting(g, "concat", |cx| Self::shape(cx, types, ta), dout);
        let grads = xs.map(|x| {
            let (x, dout) = (g.operand(x)?, dout?);
            let axis = axis_of(g, x, axis);
            let shape = g[x].shape.clone();
            let mut window = vec![(0, 1); shape.len()];
            window[axis].0 = start;
            start += shape[axis];
            Some(g.slice(dout, &window, &shape))
        });
        (grads, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, xs: [Type; N], at: Type) -> Type {
        let mut out: Option<TensorType> = None;
        let mut i = 0;
        while i < N {
            let Some(x) = xs[i].operand(cx, "concat") else { return Type::Unknown };
            out = Some(match out {
                None => x,
                Some(out) => {
                    let Some(axis) = axis(cx, "concat", &out, at) else { return Type::Unknown };
                    if !x.dtype.same(out.dtype) {
                        let message = Message::new().str("concat: cannot mix ").str(out.dtype.name()).str(" and ");
                        return cx.error(message.str(x.dtype.name()));
                    }
                    let fits = x.shape.rank() == out.shape.rank() && x.shape.with(axis, Dim::UNKNOWN).same(&out.shape);
                    if !fits {
                        let message = Message::new().str("concat: ").shape(out.shape).str(" and ").shape(x.shape);
                        return cx.error(message.str(" differ outside axis ").num(axis as isize));
                    }
                    let size = out.shape.dim(axis).plus(x.shape.dim(axis));
                    out.shown(out.shape.with(axis, size)).holding(out.holds.hull(x.holds)).depends(x)
                }
            });
            i += 1;
        }
        match out {
            Some(out) => Type::Tensor(out),
            None => cx.error(Message::new().str("concat: expected at least one tensor")),
        }
    }
}
