//! Elements of an axis in another order, or several times.

use super::reduce::flip_axis;
use super::{admitted, axis, axis_of, integer, number};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::Dim;
use crate::shape::check::{Check, Message, TensorType, Type};

/// `flip(x, axis)`:
/// The elements of an axis in reverse order.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = flip::stage(&mut g, x, 0);
/// assert_eq!(g.value(y)?.data(), [3.0, 2.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum flip {}

impl flip {
    /// Stages the reversal.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> Value {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta),
            &[x],
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                flip_axis(g, v[0], axis)
            },
        )
    }

    /// Stages the gradient: the reversal undone.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let axis = axis.into();
        let (tx, ta) = (g.ty(x.into()), g.ty(axis));
        let dx = super::fitting(g, "flip", |cx| Self::shape(cx, tx, ta), dout).map(|dout| {
            let axis = axis_of(g, dout, axis);
            flip_axis(g, dout, axis)
        });
        (dx, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type) -> Type {
        let Some(x) = x.operand(cx, "flip") else { return Type::Unknown };
        match axis(cx, "flip", &x, at) {
            Some(_) => Type::Tensor(x.permuted(x.shape)),
            None => Type::Unknown,
        }
    }
}

/// `roll(x, axis, by)`:
/// The elements of an axis moved by `by` places; those that leave at the end come in at the start.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = roll::stage(&mut g, x, 0, 1);
/// assert_eq!(g.value(y)?.data(), [3.0, 1.0, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum roll {}

impl roll {
    fn build(g: &mut Stage, x: Var, axis: usize, by: isize) -> Var {
        let n = g[x].shape[axis];
        let by = by.rem_euclid(n.max(1) as isize) as usize;
        if by == 0 {
            return x;
        }
        let mut shape = g[x].shape.clone();
        let mut window = vec![(0, 1); shape.len()];
        shape[axis] = n - by;
        let head = g.slice(x, &window, &shape);
        window[axis].0 = n - by;
        shape[axis] = by;
        let tail = g.slice(x, &window, &shape);
        g.concat(&[tail, head], axis)
    }

    /// Stages the move.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>, by: impl Into<Value>) -> Value {
        let (x, axis, by) = (x.into(), axis.into(), by.into());
        let [tx, ta, tb] = [x, axis, by].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta, tb),
            &[x],
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                Self::build(g, v[0], axis, integer(by))
            },
        )
    }

    /// Stages the gradient: the move back.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        by: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let (axis, by) = (axis.into(), by.into());
        let [tx, ta, tb] = [x.into(), axis, by].map(|value| g.ty(value));
        let by = integer(by);
        let dx = super::fitting(g, "roll", |cx| Self::shape(cx, tx, ta, tb), dout).map(|dout| {
            let axis = axis_of(g, dout, axis);
            Self::build(g, dout, axis, -by)
        });
        (dx, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, by: Type) -> Type {
        let Some(x) = x.operand(cx, "roll") else { return Type::Unknown };
        match (axis(cx, "roll", &x, at), number(cx, "roll", by)) {
            (Some(_), Some(_)) => Type::Tensor(x.permuted(x.shape)),
            _ => Type::Unknown,
        }
    }
}

/// The elements of an axis several times: each behind itself, or all of them behind one another.
fn copies(g: &mut Stage, x: Var, axis: usize, times: usize, each: bool) -> Var {
    let mut shape = g[x].shape.clone();
    let (n, at) = (shape[axis], axis + each as usize);
    shape.insert(at, 1);
    let x = g.reshape(x, &shape);
    shape[at] = times;
    let x = g.broadcast(x, &shape);
    shape.remove(at);
    shape[axis] = n * times;
    g.reshape(x, &shape)
}

/// The gradient of [`copies`]: the sum over them.
fn sum_of_copies(g: &mut Stage, x: Var, axis: Value, times: Value, each: bool, dout: Var) -> Var {
    let axis = axis_of(g, x, axis);
    let (kept, at) = (g[x].shape.clone(), axis + each as usize);
    let mut shape = kept.clone();
    shape.insert(at, integer(times) as usize);
    let d = g.reshape(dout, &shape);
    let sum = g.reduce(super::Reduce::Sum, d, 1 << at);
    g.reshape(sum, &kept)
}

/// The shape rule of repetitions.
#[track_caller]
const fn repeated(cx: &mut Check, op: &str, x: TensorType, at: Type, times: Type) -> Type {
    let (Some(axis), Some(times)) = (axis(cx, op, &x, at), number(cx, op, times)) else { return Type::Unknown };
    if matches!(times.get(), Some(n) if n < 0) {
        return cx.error(Message::new().str(op).str(": expected how many times, found ").dim(times));
    }
    let size: Dim = x.shape.dim(axis).times(times);
    Type::Tensor(x.permuted(x.shape.with(axis, size)))
}

macro_rules! repetitions {
    ($($(#[$about:meta])* $name:ident $each:literal ($expected:literal);)*) => {$(
        primitive! {
            $(#[$about])*
            ///
            /// ```
            /// use downhill::prelude::*;
            /// let mut g = Stage::new();
            /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
            #[doc = concat!("let y = ", stringify!($name), "::stage(&mut g, x, 0, 2);")]
            #[doc = concat!("assert_eq!(g.value(y)?.data(), [", $expected, "]);")]
            /// # Ok::<(), downhill::Error>(())
            /// ```
            $name(x; axis, times)
            stage |g| {
                let axis = axis_of(g, x, axis);
                copies(g, x, axis, integer(times) as usize, $each)
            },
            grad |g, d| [Some(sum_of_copies(g, x, axis, times, $each, d))],
            shape |cx, x| repeated(cx, stringify!($name), x, axis, times),
        }
    )*};
}

repetitions! {
    /// The elements of an axis `times` times, one row of them behind the other.
    #[doc(alias = "tile")]
    repeat false ("1.0, 2.0, 1.0, 2.0");
    /// The elements of an axis `times` times, each behind itself.
    repeat_interleave true ("1.0, 1.0, 2.0, 2.0");
}
