//! Comparisons, masks and the choice between elements, and elements as another type.

use super::admitted;
use super::broadcast::{broadcast, sum_back};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::Compare;
use crate::shape::DType;
use crate::shape::check::{Check, Logic, Message, TensorType, Type};

/// The comparisons of a network function: which row of [`Compare`], and whether sides are swapped.
macro_rules! compare {
    ($($(#[doc = $doc:literal])* $name:ident $variant:ident $a:tt $b:tt ($x:literal, $y:literal => $z:literal);)*) => {$(
        primitive! {
            $(#[doc = $doc])*
            /// The result is a `Mask`, which has no gradient.
            ///
            /// ```
            /// use downhill::prelude::*;
            #[doc = concat!("let mut g = Stage::new();\nlet y = ", stringify!($name), "::stage(&mut g, ", $x, ", ", $y, ");")]
            #[doc = concat!("assert_eq!(g.value(y)?.data(), [", $z, "]);")]
            /// # Ok::<(), downhill::Error>(())
            /// ```
            $name(a, b)
            args |g| g.beside([a, b]),
            stage |g| g.compare(Compare::$variant, [a, b][$a], [a, b][$b]),
            grad |g, d| [None, None],
            shape |cx| match broadcast(cx, stringify!($name), a, b) {
                Some(ty) => {
                    let of = [a.holds(ty.dtype), b.holds(ty.dtype)];
                    let mask = cx.compare(Compare::$variant, of[$a], of[$b]);
                    Type::Tensor(ty.like(DType::Bool, ty.shape).holding(mask).cut())
                }
                None => Type::Unknown,
            },
        }
    )*};
}

compare! {
    /// Whether a < b, written `a < b`.
    lt Lt 0 1 ("2.0", "3.0" => "1.0");
    /// Whether a ≤ b, written `a <= b`.
    le Le 0 1 ("2.0", "2.0" => "1.0");
    /// Whether a > b, written `a > b`.
    gt Lt 1 0 ("2.0", "3.0" => "0.0");
    /// Whether a ≥ b, written `a >= b`.
    ge Le 1 0 ("2.0", "3.0" => "0.0");
    /// Whether a = b, written `a == b`.
    eq Eq 0 1 ("2.0", "3.0" => "0.0");
    /// Whether a ≠ b, written `a != b`.
    ne Ne 0 1 ("2.0", "3.0" => "1.0");
}

/// `select(mask, a, b)`:
/// Elements of `a` where `mask` holds, else of `b`; all three are broadcast against each other.
///
/// ```
/// use downhill::prelude::*;
///
/// /// The rectified linear unit, by hand.
/// #[network]
/// pub fn relu_by_hand(x: Tensor) -> Tensor {
///     select(x > 0.0, x, 0.0)
/// }
///
/// let mut g = Stage::new();
/// let y = relu_by_hand::stage(&mut g, -3.0);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum select {}

impl select {
    /// Stages the selection.
    pub fn stage(g: &mut Stage, mask: impl Into<Value>, a: impl Into<Value>, b: impl Into<Value>) -> Value {
        let [a, b] = g.beside([a.into(), b.into()]);
        let args = [mask.into(), a, b];
        let [mask, a, b] = args.map(|value| g.ty(value));
        admitted(g, |cx| Self::shape(cx, mask, a, b), &args, |g, v| g.select(v[0], v[1], v[2]))
    }

    /// Stages the gradients: each side gets that of its own elements, the mask none.
    pub fn grad(
        g: &mut Stage,
        mask: impl Into<Value>,
        a: impl Into<Value>,
        b: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let args = [mask.into(), a.into(), b.into()].map(|value| g.operand(value));
        let ([Some(mask), Some(a), Some(b)], Some(dout)) = (args, dout) else {
            return (None, None, None);
        };
        let zero = g.number(0.0);
        let da = g.choose(mask, dout, zero);
        let db = g.choose(mask, zero, dout);
        (None, sum_back(g, da, a), sum_back(g, db, b))
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, mask: Type, a: Type, b: Type) -> Type {
        let Some(mask) = mask.operand(cx, "select") else { return Type::Unknown };
        if !mask.dtype.same(DType::Bool) {
            return cx.error(Message::new().str("select: expected Mask, found ").str(mask.dtype.name()));
        }
        let Some(ty) = broadcast(cx, "select", a, b) else { return Type::Unknown };
        match mask.shape.broadcast(&ty.shape) {
            Some(shape) => {
                let holds = cx.select(mask.holds, a.holds(ty.dtype), b.holds(ty.dtype), ty.dtype);
                Type::Tensor(ty.like(ty.dtype, shape).holding(holds).depends(mask))
            }
            None => {
                let message = Message::new().str("select: the mask ").shape(mask.shape);
                cx.error(message.str(" and ").shape(ty.shape).str(" do not broadcast"))
            }
        }
    }
}

primitive! {
    /// The same value, as a constant: no gradient passes. A parameter that reaches the loss through
    /// this alone is left out of training on purpose.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let y = stop_gradient::stage(&mut g, 2.0);
    /// assert_eq!(g.value(y)?.data(), [2.0]);
    /// assert_eq!(stop_gradient::grad(&mut g, 2.0, None), None);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    stop_gradient(x)
    stage |g| x,
    grad |g, d| [None],
    shape |cx, x| Type::Tensor(x),
}

primitive! {
    /// An `Index` or a `Mask` as numbers; a mask gives zeros and ones.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let mask = lt::stage(&mut g, 1.0, 2.0);
    /// let y = float::stage(&mut g, mask);
    /// assert_eq!(g.value(y)?.data(), [1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    float(x)
    stage |g| g.cast(x, DType::F32),
    grad |g, d| [Some(d)],
    shape |cx, x| {
        let ty = cast(x, DType::F32);
        Type::Tensor(if x.dtype.same(DType::F32) { ty } else { ty.cut() })
    },
}

primitive! {
    /// Numbers as an `Index`; the part behind the point is cut.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let y = integer::stage(&mut g, 2.75);
    /// assert_eq!(g.value(y)?.data(), [2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    integer(x)
    stage |g| g.cast(x, DType::I32),
    grad |g, d| [None],
    shape |cx, x| Type::Tensor(cast(x, DType::I32).cut()),
}

const fn cast(x: TensorType, to: DType) -> TensorType {
    match x.dtype.same(to) {
        true => x,
        false => x.like(to, x.shape).holding(x.holds.cast(x.dtype, to)),
    }
}

primitive! {
    /// Where both masks hold, written `a & b`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let (a, b) = (lt::stage(&mut g, 1.0, 2.0), lt::stage(&mut g, 2.0, 1.0));
    /// let y = and::stage(&mut g, a, b);
    /// assert_eq!(g.value(y)?.data(), [0.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    and(a, b)
    stage |g| {
        let none = false_like(g, b);
        g.select(a, b, none)
    },
    grad |g, d| [None, None],
    shape |cx, a, b| joined(cx, "and", Logic::And, a, b),
}

primitive! {
    /// Where either mask holds, written `a | b`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let (a, b) = (lt::stage(&mut g, 1.0, 2.0), lt::stage(&mut g, 2.0, 1.0));
    /// let y = or::stage(&mut g, a, b);
    /// assert_eq!(g.value(y)?.data(), [1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    or(a, b)
    stage |g| g.select(a, a, b),
    grad |g, d| [None, None],
    shape |cx, a, b| joined(cx, "or", Logic::Or, a, b),
}

primitive! {
    /// Where the mask does not hold, written `!a`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let a = lt::stage(&mut g, 1.0, 2.0);
    /// let y = not::stage(&mut g, a);
    /// assert_eq!(g.value(y)?.data(), [0.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    not(a)
    stage |g| {
        let none = false_like(g, a);
        g.compare(Compare::Eq, a, none)
    },
    grad |g, d| [None],
    shape |cx, a| match mask(cx, "not", &a) {
        true => Type::Tensor(a.holding(cx.join(Logic::Not, a.holds, a.holds))),
        false => Type::Unknown,
    },
}

/// Whether an argument is a mask, as it must be.
#[track_caller]
const fn mask(cx: &mut Check, op: &str, x: &TensorType) -> bool {
    let is_mask = x.dtype.same(DType::Bool);
    if !is_mask {
        cx.error(Message::new().str(op).str(": expected Mask, found ").str(x.dtype.name()));
    }
    is_mask
}

/// Two masks as one.
#[track_caller]
const fn joined(cx: &mut Check, op: &str, join: Logic, a: TensorType, b: TensorType) -> Type {
    if !mask(cx, op, &a) || !mask(cx, op, &b) {
        return Type::Unknown;
    }
    match a.shape.broadcast(&b.shape) {
        Some(shape) => {
            let both = cx.join(join, a.holds, b.holds);
            Type::Tensor(a.like(DType::Bool, shape).holding(both).depends(b))
        }
        None => {
            let message = Message::new().str(op).str(": ").shape(a.shape);
            cx.error(message.str(" and ").shape(b.shape).str(" do not broadcast"))
        }
    }
}

fn false_like(g: &mut Stage, x: Var) -> Var {
    let shape = g[x].shape.clone();
    g.push(crate::graph::Op::Const(0), vec![], shape, DType::Bool)
}
