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
        #[doc = concat!(" `", stringify!($name), "(a, b)`:")]
        $(#[doc = $doc])*
        /// The result is a `Mask`, which has no gradient.
        ///
        /// ```
        /// use downhill::prelude::*;
        #[doc = concat!("let mut g = Stage::new();\nlet y = ", stringify!($name), "::stage(&mut g, ", $x, ", ", $y, ");")]
        #[doc = concat!("assert_eq!(g.value(y)?.data(), [", $z, "]);")]
        /// # Ok::<(), downhill::Error>(())
        /// ```
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// Stages the comparison of the elements of both, broadcast against each other.
            pub fn stage(g: &mut Stage, a: impl Into<Value>, b: impl Into<Value>) -> Value {
                let [a, b] = g.beside([a.into(), b.into()]);
                let (ta, tb) = (g.ty(a), g.ty(b));
                admitted(g, |cx| Self::shape(cx, ta, tb), &[a, b], |g, v| {
                    g.compare(Compare::$variant, v[$a], v[$b])
                })
            }

            /// A comparison has no gradient.
            pub fn grad(_g: &mut Stage, _a: impl Into<Value>, _b: impl Into<Value>, _dout: Grad) -> (Grad, Grad) {
                (None, None)
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape(cx: &mut Check, a: Type, b: Type) -> Type {
                match broadcast(cx, stringify!($name), a, b) {
                    Some(ty) => {
                        let of = [a.holds(ty.dtype), b.holds(ty.dtype)];
                        let mask = cx.compare(Compare::$variant, of[$a], of[$b]);
                        Type::Tensor(ty.like(DType::Bool, ty.shape).holding(mask).cut())
                    }
                    None => Type::Unknown,
                }
            }
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

/// Operations that keep the value and change what it counts as.
macro_rules! convert {
    ($($(#[doc = $doc:literal])* $name:ident $to:expr, |$cx:ident, $x:ident| $rule:expr, |$d:ident| $grad:expr;)*) => {$(
        #[doc = concat!(" `", stringify!($name), "(x)`:")]
        $(#[doc = $doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// Stages the conversion.
            pub fn stage(g: &mut Stage, x: impl Into<Value>) -> Value {
                let x = x.into();
                let ty = g.ty(x);
                let to: Option<DType> = $to;
                admitted(g, |cx| Self::shape(cx, ty), &[x], |g, v| to.map_or(v[0], |to| g.cast(v[0], to)))
            }

            /// No gradient passes.
            pub fn grad(_g: &mut Stage, _x: impl Into<Value>, $d: Grad) -> Grad {
                $grad
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape($cx: &mut Check, x: Type) -> Type {
                match x.operand($cx, stringify!($name)) {
                    Some($x) => $rule,
                    None => Type::Unknown,
                }
            }
        }
    )*};
}

convert! {
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
    stop_gradient None, |_cx, x| Type::Tensor(x), |_d| None;
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
    float Some(DType::F32), |_cx, x| {
        let ty = cast(x, DType::F32);
        Type::Tensor(if x.dtype.same(DType::F32) { ty } else { ty.cut() })
    }, |d| d;
    /// Numbers as an `Index`; the part behind the point is cut.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let y = integer::stage(&mut g, 2.75);
    /// assert_eq!(g.value(y)?.data(), [2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    integer Some(DType::I32), |_cx, x| Type::Tensor(cast(x, DType::I32).cut()), |_d| None;
}

const fn cast(x: TensorType, to: DType) -> TensorType {
    match x.dtype.same(to) {
        true => x,
        false => x.like(to, x.shape).holding(x.holds.cast(x.dtype, to)),
    }
}

/// Operations on masks.
macro_rules! logic {
    ($($(#[doc = $doc:literal])* $name:ident($($arg:ident),*) $join:ident -> ($($none:expr),*) |$g:ident, $($v:ident),*| $build:expr;)*) => {$(
        #[doc = concat!(" `", stringify!($name), "(", stringify!($($arg),*), ")`:")]
        $(#[doc = $doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// Stages the operation.
            pub fn stage($g: &mut Stage, $($arg: impl Into<Value>),*) -> Value {
                $(let $arg = $arg.into();)*
                let args = [$($arg),*];
                $(let $arg = $g.ty($arg);)*
                admitted($g, |cx| Self::shape(cx, $($arg),*), &args, |$g, v| {
                    let [$($v),*] = v else { unreachable!("the arguments just given") };
                    $build
                })
            }

            /// A mask has no gradient.
            #[allow(unused_parens)]
            pub fn grad(_g: &mut Stage, $($arg: impl Into<Value>,)* _dout: Grad) -> ($(logic!(@grad $arg)),*) {
                $(let _ = $arg;)*
                ($($none),*)
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape(cx: &mut Check, $($arg: Type),*) -> Type {
                let mut out: Option<TensorType> = None;
                $(
                    let Some(t) = $arg.operand(cx, stringify!($name)) else { return Type::Unknown };
                    if !t.dtype.same(DType::Bool) {
                        return cx.error(Message::new().str(stringify!($name)).str(": expected Mask, found ").str(t.dtype.name()));
                    }
                    out = match out {
                        None => Some(t),
                        Some(o) => match o.shape.broadcast(&t.shape) {
                            Some(shape) => {
                                let both = cx.join(Logic::$join, o.holds, t.holds);
                                Some(o.like(DType::Bool, shape).holding(both).depends(t))
                            }
                            None => {
                                let message = Message::new().str(stringify!($name)).str(": ").shape(o.shape);
                                return cx.error(message.str(" and ").shape(t.shape).str(" do not broadcast"));
                            }
                        },
                    };
                )*
                match out {
                    Some(t) if matches!(Logic::$join, Logic::Not) => {
                        Type::Tensor(t.holding(cx.join(Logic::Not, t.holds, t.holds)))
                    }
                    Some(t) => Type::Tensor(t),
                    None => Type::Unknown,
                }
            }
        }
    )*};
    (@grad $arg:ident) => { Grad };
}

logic! {
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
    and(a, b) And -> (None, None) |g, x, y| {
        let none = false_like(g, *y);
        g.select(*x, *y, none)
    };
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
    or(a, b) Or -> (None, None) |g, x, y| g.select(*x, *x, *y);
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
    not(a) Not -> (None) |g, x| {
        let none = false_like(g, *x);
        g.compare(Compare::Eq, *x, none)
    };
}

fn false_like(g: &mut Stage, x: Var) -> Var {
    let shape = g[x].shape.clone();
    g.push(crate::graph::Op::Const(0), vec![], shape, DType::Bool)
}
