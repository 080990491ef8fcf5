//! Axes taken away, split and moved.

use super::reduce::mask;
use super::{admitted, axes_fit, axis, axis_of, list, reshape};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{Dim, Shape};

/// `squeeze(x, axes)`:
/// The tensor without an axis, or several, of size one. Another size is an error, so that the number of
/// axes never depends on the sizes at hand.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2, 1], [1.0, 2.0])?);
/// let y = squeeze::stage(&mut g, x, [0, -1]);
/// assert_eq!(g.value(y)?.shape(), [2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum squeeze {}

impl squeeze {
    /// Stages the new shape.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axes: impl Into<Value>) -> Value {
        let (x, axes) = (x.into(), axes.into());
        let (tx, ta) = (g.ty(x), g.ty(axes));
        reshaped(g, x, |cx| Self::shape(cx, tx, ta))
    }

    /// Stages the gradient in the old shape.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, _axes: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        reshape::grad(g, x, 0, dout)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, axes: Type) -> Type {
        let Some(x) = x.operand(cx, "squeeze") else { return Type::Unknown };
        let Some(gone) = mask(cx, "squeeze", &x, Some(axes)) else { return Type::Unknown };
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < x.shape.rank() {
            if gone >> i & 1 == 0 {
                shape = shape.push(x.shape.dim(i));
            } else if !x.shape.dim(i).same(Dim::n(1)) {
                let message = Message::new().str("squeeze: axis ").num(i as isize).str(" of ").shape(x.shape);
                return cx.error(message.str(" has size ").dim(x.shape.dim(i)).str(", expected 1"));
            }
            i += 1;
        }
        Type::Tensor(x.shown(shape))
    }
}

/// The same elements under the shape that a rule gives.
fn reshaped(g: &mut Stage, x: Value, rule: impl FnOnce(&mut Check) -> Type) -> Value {
    let Some(ty) = g.checked(rule) else { return Value::Unknown };
    let (Some(x), Some(shape)) = (g.operand(x), ty.shape.concrete()) else { return Value::Unknown };
    Value::Var(g.reshape(x, &shape))
}

/// `unflatten(x, axis, sizes)`:
/// An axis as several of these sizes, of which one may be −1: what is left.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([6], vec![0.0; 6])?);
/// let y = unflatten::stage(&mut g, x, 0, [2, -1]);
/// assert_eq!(g.value(y)?.shape(), [2, 3]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum unflatten {}

impl unflatten {
    /// Stages the new shape.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>, sizes: impl Into<Value>) -> Value {
        let (x, axis, sizes) = (x.into(), axis.into(), sizes.into());
        let [tx, ta, ts] = [x, axis, sizes].map(|value| g.ty(value));
        reshaped(g, x, |cx| Self::shape(cx, tx, ta, ts))
    }

    /// Stages the gradient in the old shape.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        _axis: impl Into<Value>,
        _sizes: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        (reshape::grad(g, x, 0, dout).0, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, sizes: Type) -> Type {
        let Some(x) = x.operand(cx, "unflatten") else { return Type::Unknown };
        let Some(axis) = axis(cx, "unflatten", &x, at) else { return Type::Unknown };
        let row = Type::Tensor(x.shown(Shape::of(&[x.shape.dim(axis)])));
        let Type::Tensor(parts) = reshape::shape(cx, row, sizes) else { return Type::Unknown };
        if !axes_fit(cx, "unflatten", x.shape.rank() - 1 + parts.shape.rank()) {
            return Type::Unknown;
        }
        let shape = x.shape.range(0, axis).join(&parts.shape);
        Type::Tensor(x.shown(shape.join(&x.shape.range(axis + 1, x.shape.rank()))))
    }
}

/// `movedim(x, from, to)`:
/// An axis, or several, moved to other places; the others keep their order.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3, 4], vec![0.0; 24])?);
/// let y = movedim::stage(&mut g, x, 0, -1);
/// assert_eq!(g.value(y)?.shape(), [3, 4, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
#[doc(alias = "moveaxis")]
pub enum movedim {}

impl movedim {
    /// Which axis comes to each place, of axes that the shape rule has accepted.
    fn order(g: &Stage, x: Var, from: Value, to: Value) -> Vec<usize> {
        let axes = |value| -> Vec<usize> { list(value).iter().map(|&n| axis_of(g, x, Value::Int(n))).collect() };
        let (from, to) = (axes(from), axes(to));
        let rank = g[x].shape.len();
        let mut order: Vec<Option<usize>> = vec![None; rank];
        for (&from, &to) in from.iter().zip(&to) {
            order[to] = Some(from);
        }
        let mut rest = (0..rank).filter(|axis| !from.contains(axis));
        order.into_iter().map(|axis| axis.or_else(|| rest.next()).unwrap_or(0)).collect()
    }

    /// Stages the new order.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, from: impl Into<Value>, to: impl Into<Value>) -> Value {
        let (x, from, to) = (x.into(), from.into(), to.into());
        let [tx, tf, tt] = [x, from, to].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, tf, tt),
            &[x],
            |g, v| {
                let order = Self::order(g, v[0], from, to);
                g.transpose(v[0], &order)
            },
        )
    }

    /// Stages the gradient: the move back.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        from: impl Into<Value>,
        to: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let (from, to) = (from.into(), to.into());
        let [tx, tf, tt] = [x.into(), from, to].map(|value| g.ty(value));
        let dx = super::fitting(g, "movedim", |cx| Self::shape(cx, tx, tf, tt), dout).map(|dout| {
            let order = Self::order(g, dout, to, from);
            g.transpose(dout, &order)
        });
        (dx, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, from: Type, to: Type) -> Type {
        let Some(x) = x.operand(cx, "movedim") else { return Type::Unknown };
        let (Some(gone), Some(_)) = (mask(cx, "movedim", &x, Some(from)), mask(cx, "movedim", &x, Some(to))) else {
            return Type::Unknown;
        };
        let (Some(from), Some(to)) = (axes(&x, from), axes(&x, to)) else { return Type::Unknown };
        if from.rank() != to.rank() {
            let message = Message::new().str("movedim: ").num(from.rank() as isize).str(" axes to ");
            return cx.error(message.num(to.rank() as isize).str(" places"));
        }
        let (mut shape, mut place, mut rest) = (x.shape, 0, 0);
        while place < x.shape.rank() {
            let mut i = 0;
            while i < to.rank() && !to.dim(i).same(Dim::n(place)) {
                i += 1;
            }
            shape = shape.with(
                place,
                if let Some(axis) = if i < to.rank() { from.dim(i).get() } else { None } {
                    x.shape.dim(axis as usize)
                } else {
                    while gone >> rest & 1 == 1 {
                        rest += 1;
                    }
                    rest += 1;
                    x.shape.dim(rest - 1)
                },
            );
            place += 1;
        }
        Type::Tensor(x.permuted(shape))
    }
}

/// A list of axes that are there, each counted from the start.
const fn axes(x: &TensorType, ty: Type) -> Option<Shape> {
    let mut list = match ty {
        Type::Dims(list) => list,
        Type::Dim(dim) => Shape::of(&[dim]),
        _ => return None,
    };
    let mut i = 0;
    while i < list.rank() {
        let Some(n) = list.dim(i).get() else { return None };
        let Some(axis) = x.shape.axis(n) else { return None };
        list = list.with(i, Dim::n(axis));
        i += 1;
    }
    Some(list)
}
