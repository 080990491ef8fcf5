//! Windows that slide along an axis, and what adds them back: the base of convolution and pooling.

use super::{admitted, axes_fit, axis, axis_of, fitting, integer, number};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::reduce::Reduce;
use crate::shape::Dim;
use crate::shape::check::{Check, Message, Type};

/// `windows(x, axis, size, step, dilation)`:
/// The windows of `size` elements along an axis, `step` apart, with elements `dilation` apart. Two axes
/// take the place of the one: which window, and which element in it. Nothing is copied.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = windows::stage(&mut g, x, 0, 2, 1, 1);
/// assert_eq!(g.value(y)?, Tensor::new([3, 2], [1.0, 2.0, 2.0, 3.0, 3.0, 4.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
#[doc(alias = "unfold")]
pub enum windows {}

impl windows {
    /// Stages the windows.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        size: impl Into<Value>,
        step: impl Into<Value>,
        dilation: impl Into<Value>,
    ) -> Value {
        let args = [x.into(), axis.into(), size.into(), step.into(), dilation.into()];
        let types = args.map(|value| g.ty(value));
        let [x, axis, size, step, dilation] = args;
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3], types[4]);
        admitted(g, rule, &[x], |g, v| {
            let axis = axis_of(g, v[0], axis);
            let (size, step, dilation) = (integer(size), integer(step), integer(dilation));
            let n = g[v[0]].shape[axis] as isize;
            let count = (n - (size - 1) * dilation - 1) / step + 1;
            g.windows(v[0], axis, 0, (count as usize, step), (size as usize, dilation))
        })
    }

    /// Stages the gradient: each element gets the sum of its places in windows.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        size: impl Into<Value>,
        step: impl Into<Value>,
        dilation: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad, Grad) {
        let args = [x.into(), axis.into(), size.into(), step.into(), dilation.into()];
        let types = args.map(|value| g.ty(value));
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3], types[4]);
        let (dout, [x, axis, _, step, dilation]) = (fitting(g, "windows", rule, dout), args);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None, None, None) };
        let axis = axis_of(g, x, axis);
        let (step, dilation) = (integer(step) as usize, integer(dilation) as usize);
        let n = g[x].shape[axis];
        (Some(add_windows(g, dout, axis, n, step, dilation)), None, None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, size: Type, step: Type, dilation: Type) -> Type {
        let Some(x) = x.operand(cx, "windows") else { return Type::Unknown };
        let Some(axis) = axis(cx, "windows", &x, at) else { return Type::Unknown };
        let (Some(size), Some(step), Some(dilation)) =
            (number(cx, "windows", size), number(cx, "windows", step), number(cx, "windows", dilation))
        else {
            return Type::Unknown;
        };
        let mut count = Dim::UNKNOWN;
        if let (Some(k), Some(step), Some(dilation)) = (size.get(), step.get(), dilation.get()) {
            if k < 1 || step < 1 || dilation < 1 {
                return cx.error(Message::new().str("windows: sizes, steps and dilations are at least 1"));
            }
            if let Some(n) = x.shape.dim(axis).get() {
                let reach = super::reach(k, dilation);
                if reach > n {
                    let message = Message::new().str("windows: a window of ").num(reach).str(" does not fit axis ");
                    return cx.error(message.num(axis as isize).str(" of ").shape(x.shape));
                }
                count = Dim::int((n - reach) / step + 1);
            }
        }
        if !axes_fit(cx, "windows", x.shape.rank() + 1) {
            return Type::Unknown;
        }
        let shape = x.shape.range(0, axis).push(count).push(size);
        Type::Tensor(x.part(shape.join(&x.shape.range(axis + 1, x.shape.rank()))))
    }
}

/// `overlap(x, axis, n, step, dilation)`:
/// Windows added up along an axis of size `n`: the reverse of [`windows`], and its gradient. Axis
/// `axis` says which window, the next which element in it; places in several windows get the sum.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = overlap::stage(&mut g, x, 0, 3, 1, 1);
/// assert_eq!(g.value(y)?.data(), [1.0, 5.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum overlap {}

impl overlap {
    /// Stages the sum.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        n: impl Into<Value>,
        step: impl Into<Value>,
        dilation: impl Into<Value>,
    ) -> Value {
        let args = [x.into(), axis.into(), n.into(), step.into(), dilation.into()];
        let types = args.map(|value| g.ty(value));
        let [x, axis, n, step, dilation] = args;
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3], types[4]);
        admitted(g, rule, &[x], |g, v| {
            let axis = axis_of(g, v[0], axis);
            add_windows(g, v[0], axis, integer(n) as usize, integer(step) as usize, integer(dilation) as usize)
        })
    }

    /// Stages the gradient: the windows of what comes back.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        n: impl Into<Value>,
        step: impl Into<Value>,
        dilation: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad, Grad) {
        let args = [x.into(), axis.into(), n.into(), step.into(), dilation.into()];
        let types = args.map(|value| g.ty(value));
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3], types[4]);
        let (dout, [x, axis, _, step, dilation]) = (fitting(g, "overlap", rule, dout), args);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None, None, None) };
        let axis = axis_of(g, x, axis);
        let (count, size) = (g[x].shape[axis], g[x].shape[axis + 1]);
        let dx = g.windows(dout, axis, 0, (count, integer(step)), (size, integer(dilation)));
        (Some(dx), None, None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, n: Type, step: Type, dilation: Type) -> Type {
        let Some(x) = super::numbers(cx, "overlap", x) else { return Type::Unknown };
        let Some(axis) = axis(cx, "overlap", &x, at) else { return Type::Unknown };
        let (Some(n), Some(step), Some(dilation)) =
            (number(cx, "overlap", n), number(cx, "overlap", step), number(cx, "overlap", dilation))
        else {
            return Type::Unknown;
        };
        if axis + 1 == x.shape.rank() {
            return cx.error(Message::new().str("overlap: expected an axis behind axis ").num(axis as isize));
        }
        if let (Some(step), Some(dilation)) = (step.get(), dilation.get()) {
            if step < 1 || dilation < 1 {
                return cx.error(Message::new().str("overlap: steps and dilations are at least 1"));
            }
            if let (Some(count), Some(size), Some(n)) = (x.shape.dim(axis).get(), x.shape.dim(axis + 1).get(), n.get())
                && super::reach(count, step).saturating_add(super::reach(size, dilation)) > n.saturating_add(1)
            {
                let message = Message::new().str("overlap: the windows of ").shape(x.shape);
                return cx.error(message.str(" reach beyond ").num(n));
            }
        }
        let shape = x.shape.range(0, axis).push(n).join(&x.shape.range(axis + 2, x.shape.rank()));
        Type::Tensor(x.like(x.dtype, shape))
    }
}

/// The sum of windows. Zeros are put between them and around them, so that the element `i` of the
/// result is the sum of a diagonal: that is a view with a step of its own, and one reduction.
pub(super) fn add_windows(g: &mut Stage, x: Var, axis: usize, n: usize, step: usize, dilation: usize) -> Var {
    let shape = g[x].shape.clone();
    let (count, size) = (shape[axis], shape[axis + 1]);
    if step == size && dilation == 1 && count * size <= n {
        // Windows side by side are parts of the axis.
        let mut joined = shape.clone();
        joined[axis] *= joined.remove(axis + 1);
        let x = g.reshape(x, &joined);
        joined[axis] = n;
        return g.pad(x, &vec![0; joined.len()], &joined);
    }
    // `step` rows for each window, all but the first of them zeros.
    let mut spread = shape.clone();
    spread.insert(axis + 1, 1);
    let x = g.reshape(x, &spread);
    spread[axis + 1] = step;
    let x = g.pad(x, &vec![0; spread.len()], &spread);
    spread.remove(axis + 1);
    spread[axis] = count * step;
    let x = g.reshape(x, &spread);
    // Row `reach + i - j dilation` holds, in column j, what comes to element i.
    let reach = (size - 1) * dilation;
    let rows = spread[axis].min(n);
    if rows < spread[axis] {
        spread[axis] = rows;
    }
    let x = g.slice(x, &vec![(0, 1); spread.len()], &spread);
    let mut before = vec![0; spread.len()];
    before[axis] = reach;
    spread[axis] = reach + n;
    let x = g.pad(x, &before, &spread);
    let mut flat = spread.clone();
    flat.remove(axis + 1);
    flat[axis] = (reach + n).saturating_mul(size);
    let x = g.reshape(x, &flat);
    let diagonal = 1 - (dilation * size) as isize;
    let x = g.windows(x, axis, reach.saturating_mul(size), (n, size as isize), (size, diagonal));
    let sum = g.reduce(Reduce::Sum, x, 1 << (axis + 1));
    flat[axis] = n;
    g.reshape(sum, &flat)
}
