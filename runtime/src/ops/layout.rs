//! Operations that show the same elements in another order or shape.

use super::reduce::{bits, mask};
use super::{admitted, axes_fit, axis, axis_of, integer, list, number};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{Dim, Shape};

/// A list of sizes.
#[track_caller]
const fn sizes(cx: &mut Check, op: &str, ty: Type) -> Option<Shape> {
    match ty {
        Type::Dims(shape) => Some(shape),
        Type::Unknown => None,
        _ => {
            cx.error(Message::new().str(op).str(": expected a list such as [B, 64]"));
            None
        }
    }
}

/// `reshape(x, shape)`:
/// The same elements in the same order under another shape. One size may be -1: what is left.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = reshape::stage(&mut g, x, [4]);
/// assert_eq!(g.value(y)?, Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum reshape {}

impl reshape {
    /// Stages the new shape.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, shape: impl Into<Value>) -> Value {
        let (x, shape) = (x.into(), shape.into());
        let (tx, ts) = (g.ty(x), g.ty(shape));
        let Some(ty) = g.checked(|cx| Self::shape(cx, tx, ts)) else { return Value::Unknown };
        let (Some(x), Some(shape)) = (g.operand(x), ty.shape.concrete()) else { return Value::Unknown };
        Value::Var(g.reshape(x, &shape))
    }

    /// Stages the gradient in the old shape.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, _shape: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (Some(x), Some(dout)) = (g.operand(x.into()), dout) else { return (None, None) };
        let shape = g[x].shape.clone();
        (Some(g.reshape(dout, &shape)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, shape: Type) -> Type {
        let (Some(x), Some(mut shape)) = (x.operand(cx, "reshape"), sizes(cx, "reshape", shape)) else {
            return Type::Unknown;
        };
        let mut known = Dim::n(1);
        let mut open = None;
        let mut i = 0;
        while i < shape.rank() {
            match shape.dim(i).get() {
                Some(-1) if open.is_none() => open = Some(i),
                Some(n) if n < 0 => return cx.error(Message::new().str("reshape: ").num(n).str(" is no size")),
                _ => known = known.times(shape.dim(i)),
            }
            i += 1;
        }
        if let (Some(axis), Some(size)) = (open, x.shape.len().over(known)) {
            shape = shape.with(axis, size);
        }
        if !shape.len().same(x.shape.len()) {
            let message = Message::new().str("reshape: ").shape(x.shape).str(" has ").dim(x.shape.len());
            return cx.error(message.str(" elements, ").shape(shape).str(" has ").dim(shape.len()));
        }
        Type::Tensor(x.shown(shape))
    }
}

/// `broadcast_to(x, shape)`:
/// Axes of size one repeated, and outer axes added, until the tensor has the given shape. A size of −1
/// leaves an axis as it is. PyTorch's `expand`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = broadcast_to::stage(&mut g, 2.0, [3]);
/// assert_eq!(g.value(y)?.data(), [2.0, 2.0, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
#[doc(alias = "expand")]
pub enum broadcast_to {}

impl broadcast_to {
    /// Stages the repetition.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, shape: impl Into<Value>) -> Value {
        let (x, shape) = (x.into(), shape.into());
        let (tx, ts) = (g.ty(x), g.ty(shape));
        let Some(ty) = g.checked(|cx| Self::shape(cx, tx, ts)) else { return Value::Unknown };
        let (Some(x), Some(shape)) = (g.operand(x), ty.shape.concrete()) else { return Value::Unknown };
        Value::Var(g.broadcast(x, &shape))
    }

    /// Stages the gradient: the sum over what was repeated.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, _shape: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (Some(x), Some(dout)) = (g.operand(x.into()), dout) else { return (None, None) };
        let shape = g[x].shape.clone();
        (Some(g.unbroadcast(dout, &shape)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, shape: Type) -> Type {
        let (Some(x), Some(mut shape)) = (x.operand(cx, "broadcast_to"), sizes(cx, "broadcast_to", shape)) else {
            return Type::Unknown;
        };
        let mut i = 0;
        while i < shape.rank() {
            if matches!(shape.dim(i).get(), Some(-1)) && i + x.shape.rank() >= shape.rank() {
                shape = shape.with(i, x.shape.dim(i + x.shape.rank() - shape.rank()));
            }
            i += 1;
        }
        match x.shape.broadcast(&shape) {
            Some(out) if out.same(&shape) => Type::Tensor(x.permuted(shape)),
            _ => cx
                .error(Message::new().str("broadcast_to: ").shape(x.shape).str(" does not broadcast to ").shape(shape)),
        }
    }
}

/// `permute(x, axes)`:
/// The tensor with its axes in another order: axis `i` of the result is axis `axes[i]` of `x`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = permute::stage(&mut g, x, [1, 0]);
/// assert_eq!(g.value(y)?.data(), [1.0, 3.0, 2.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum permute {}

impl permute {
    /// Stages the new order.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axes: impl Into<Value>) -> Value {
        let (x, axes) = (x.into(), axes.into());
        let (tx, ta) = (g.ty(x), g.ty(axes));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta),
            &[x],
            |g, v| {
                let order: Vec<usize> = list(axes).into_iter().map(|axis| axis_of(g, v[0], Value::Int(axis))).collect();
                g.transpose(v[0], &order)
            },
        )
    }

    /// Stages the gradient in the old order.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, axes: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (x, axes) = (x.into(), axes.into());
        let (tx, ta) = (g.ty(x), g.ty(axes));
        let dout = super::fitting(g, "permute", |cx| Self::shape(cx, tx, ta), dout);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None) };
        let order = list(axes);
        let mut back = vec![0; order.len()];
        for (i, axis) in order.into_iter().enumerate() {
            back[axis_of(g, x, Value::Int(axis))] = i;
        }
        (Some(g.transpose(dout, &back)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, axes: Type) -> Type {
        let (Some(x), Some(axes)) = (x.operand(cx, "permute"), sizes(cx, "permute", axes)) else {
            return Type::Unknown;
        };
        let mut shape = Shape::SCALAR;
        let mut seen = 0u16;
        let mut i = 0;
        while i < axes.rank() {
            let Some(from) = axis(cx, "permute", &x, Type::Dim(axes.dim(i))) else { return Type::Unknown };
            seen |= 1 << from;
            shape = shape.push(x.shape.dim(from));
            i += 1;
        }
        if axes.rank() != x.shape.rank() || seen.count_ones() as usize != x.shape.rank() {
            let message = Message::new().str("permute: ").shape(axes).str(" does not name every axis of ");
            return cx.error(message.shape(x.shape).str(" once"));
        }
        Type::Tensor(x.permuted(shape))
    }
}

/// `transpose(x, a, b)`:
/// The tensor with two axes exchanged; negative axes count from the end.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = transpose::stage(&mut g, x, -2, -1);
/// assert_eq!(g.value(y)?.data(), [1.0, 3.0, 2.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum transpose {}

impl transpose {
    fn build(g: &mut Stage, x: Var, a: Value, b: Value) -> Var {
        let mut order: Vec<usize> = (0..g[x].shape.len()).collect();
        order.swap(axis_of(g, x, a), axis_of(g, x, b));
        g.transpose(x, &order)
    }

    /// Stages the exchange.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, a: impl Into<Value>, b: impl Into<Value>) -> Value {
        let (x, a, b) = (x.into(), a.into(), b.into());
        let (tx, ta, tb) = (g.ty(x), g.ty(a), g.ty(b));
        admitted(g, |cx| Self::shape(cx, tx, ta, tb), &[x], |g, v| Self::build(g, v[0], a, b))
    }

    /// Stages the gradient: the exchange undone.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        a: impl Into<Value>,
        b: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let (a, b) = (a.into(), b.into());
        let [tx, ta, tb] = [x.into(), a, b].map(|value| g.ty(value));
        let dout = super::fitting(g, "transpose", |cx| Self::shape(cx, tx, ta, tb), dout);
        (dout.map(|dout| Self::build(g, dout, a, b)), None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, a: Type, b: Type) -> Type {
        let Some(x) = x.operand(cx, "transpose") else { return Type::Unknown };
        let (Some(a), Some(b)) = (axis(cx, "transpose", &x, a), axis(cx, "transpose", &x, b)) else {
            return Type::Unknown;
        };
        Type::Tensor(x.permuted(x.shape.with(a, x.shape.dim(b)).with(b, x.shape.dim(a))))
    }
}

/// `unsqueeze(x, axis)`:
/// A new axis of size one before `axis`; -1 appends it.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let y = unsqueeze::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum unsqueeze {}

impl unsqueeze {
    /// Stages the new axis.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> Value {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta),
            &[x],
            |g, v| {
                let mut shape = g[v[0]].shape.clone();
                let n = integer(axis);
                let at = if n < 0 { n + shape.len() as isize + 1 } else { n };
                shape.insert(at as usize, 1);
                g.reshape(v[0], &shape)
            },
        )
    }

    /// Stages the gradient in the old shape.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, _axis: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        reshape::grad(g, x, 0, dout)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type) -> Type {
        let (Some(x), Some(at)) = (x.operand(cx, "unsqueeze"), number(cx, "unsqueeze", at)) else {
            return Type::Unknown;
        };
        if !axes_fit(cx, "unsqueeze", x.shape.rank() + 1) {
            return Type::Unknown;
        }
        // The new axis counts among those that `at` can name.
        let Some(axis) = (match at.get() {
            Some(n) => x.shape.push(Dim::n(1)).axis(n),
            None => None,
        }) else {
            let message = Message::new().str("unsqueeze: no place ").dim(at).str(" for an axis in ");
            return cx.error(message.shape(x.shape));
        };
        let shape = x.shape.range(0, axis).push(Dim::n(1)).join(&x.shape.range(axis, x.shape.rank()));
        Type::Tensor(x.shown(shape))
    }
}

/// `count(x)`:
/// How many elements a tensor has, as a number.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3], vec![0.0; 6])?);
/// let y = count::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum count {}

impl count {
    /// The number.
    pub fn stage(g: &mut Stage, x: impl Into<Value>) -> Value {
        g.operand(x.into()).map_or(Value::Unknown, |x| Value::Number(g[x].len() as f64))
    }

    /// There is no gradient.
    pub fn grad(_g: &mut Stage, _x: impl Into<Value>, _dout: Grad) -> Grad {
        None
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type) -> Type {
        match x.operand(cx, "count") {
            Some(_) => Type::Number(None),
            None => Type::Unknown,
        }
    }
}

/// `size(x, axis)`:
/// The size of an axis, or of several taken together, as a number.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3], vec![0.0; 6])?);
/// let y = size::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// let y = size::stage(&mut g, x, [0, 1]);
/// assert_eq!(g.value(y)?.data(), [6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum size {}

impl size {
    /// The number.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> Value {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        let mut cx = Check::record();
        match (Self::shape(&mut cx, tx, ta), g.operand(x)) {
            (Type::Number(_), Some(x)) => {
                let axes = bits(g, x, axis);
                let sizes = g[x].shape.iter().enumerate().filter(|(i, _)| axes >> i & 1 == 1);
                Value::Number(sizes.map(|(_, &size)| size as f64).product())
            }
            _ => Value::Unknown,
        }
    }

    /// There is no gradient.
    pub fn grad(_g: &mut Stage, _x: impl Into<Value>, _axis: impl Into<Value>, _dout: Grad) -> (Grad, Grad) {
        (None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type) -> Type {
        let Some(x) = x.operand(cx, "size") else { return Type::Unknown };
        match mask(cx, "size", &x, Some(at)) {
            Some(_) => Type::Number(None),
            None => Type::Unknown,
        }
    }
}

/// `flatten(x, start, stop)`:
/// The axes from `start` up to and with `stop` as one; negative axes count from the end.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3, 4], vec![0.0; 24])?);
/// let y = flatten::stage(&mut g, x, 1, -1);
/// assert_eq!(g.value(y)?.shape(), [2, 12]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum flatten {}

impl flatten {
    /// Stages the new shape.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, start: impl Into<Value>, stop: impl Into<Value>) -> Value {
        let (x, start, stop) = (x.into(), start.into(), stop.into());
        let (tx, t0, t1) = (g.ty(x), g.ty(start), g.ty(stop));
        let Some(ty) = g.checked(|cx| Self::shape(cx, tx, t0, t1)) else { return Value::Unknown };
        let (Some(x), Some(shape)) = (g.operand(x), ty.shape.concrete()) else { return Value::Unknown };
        Value::Var(g.reshape(x, &shape))
    }

    /// Stages the gradient in the old shape.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        _start: impl Into<Value>,
        _stop: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        (reshape::grad(g, x, 0, dout).0, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, start: Type, stop: Type) -> Type {
        let Some(x) = x.operand(cx, "flatten") else { return Type::Unknown };
        let (Some(start), Some(stop)) = (axis(cx, "flatten", &x, start), axis(cx, "flatten", &x, stop)) else {
            return Type::Unknown;
        };
        if start > stop {
            let message = Message::new().str("flatten: axis ").num(start as isize).str(" comes after axis ");
            return cx.error(message.num(stop as isize));
        }
        let merged = x.shape.range(start, stop + 1).len();
        let shape = x.shape.range(0, start).push(merged).join(&x.shape.range(stop + 1, x.shape.rank()));
        Type::Tensor(x.shown(shape))
    }
}
