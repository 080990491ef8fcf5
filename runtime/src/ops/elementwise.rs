//! Functions of the elements of the same place: arithmetic, comparison and selection, and the
//! functions of one number.

use super::broadcast::{broadcast, sum_back};
use super::numbers;
use crate::graph::{Grad, Stage, Value, Var};
pub use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::elementwise::{binary_functions, unary_functions};
pub use crate::ir::multiply_add::Fma;
use crate::shape::DType;
use crate::shape::check::{Check, Message, Type};

/// The rows of functions of one number.
macro_rules! unary {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident $name:ident ($x:literal => $y:literal)
            interval $at:ident => $interval:expr;
            reference $reference:expr;
            grad $grad:expr;
            lower $lower:expr;
    )*) => {
        $(
            primitive! {
                $(#[doc = $doc])*
                ///
                /// ```
                /// use downhill::prelude::*;
                #[doc = concat!("let mut g = Stage::new();\nlet y = ", stringify!($name), "::stage(&mut g, ", $x, ");")]
                #[doc = concat!("assert!((g.value(y)?.data()[0] - ", $y, ").abs() < 1e-5);")]
                /// # Ok::<(), downhill::Error>(())
                /// ```
                $name(x)
                stage |g| g.unary(Unary::$variant, x),
                grad |g, dy| {
                    let y = g.unary(Unary::$variant, x);
                    let rule: fn(&mut Stage, Var, Var, Var) -> Grad = $grad;
                    [rule(g, x, y, dy)]
                },
                shape |cx| match numbers(cx, stringify!($name), x) {
                    Some(x) => {
                        let y = x.holding(x.holds.unary(Unary::$variant, x.dtype));
                        Type::Tensor(if Unary::$variant.is_flat() { y.cut() } else { y })
                    }
                    None => Type::Unknown,
                },
            }
        )*
    };
}

unary_functions!(unary);

/// √(sign x² + constant), the denominator of slopes of inverse functions.
fn root_of(g: &mut Stage, x: Var, sign: f64, constant: f64) -> Var {
    let square = g.binary(Binary::Mul, x, x);
    let sign = g.number(sign);
    let square = g.binary(Binary::Mul, square, sign);
    let constant = g.number(constant);
    let sum = g.binary(Binary::Add, square, constant);
    g.unary(Unary::Sqrt, sum)
}

/// The rows of functions of two numbers.
macro_rules! binary {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident $name:ident ($x:literal, $y:literal => $z:literal)
            reference $reference:expr;
            grad $grad:expr;
            lower $lower:expr;
            whole $($whole:expr, $lower_whole:expr)?;
    )*) => {
        $(
            primitive! {
                $(#[doc = $doc])*
                ///
                /// ```
                /// use downhill::prelude::*;
                #[doc = concat!("let mut g = Stage::new();\nlet y = ", stringify!($name), "::stage(&mut g, ", $x, ", ", $y, ");")]
                #[doc = concat!("assert_eq!(g.value(y)?.data(), [", $z, "]);")]
                /// # Ok::<(), downhill::Error>(())
                /// ```
                $name(a, b)
                args |g| g.beside([a, b]),
                stage |g| g.binary(Binary::$variant, a, b),
                grad |g, dy| {
                    let rule: fn(&mut Stage, Var, Var, Var) -> (Var, Var) = $grad;
                    let (da, db) = rule(g, a, b, dy);
                    [sum_back(g, da, a), sum_back(g, db, b)]
                },
                shape |cx| match broadcast(cx, stringify!($name), a, b) {
                    Some(ty) if ty.dtype.same(DType::I32) && !Binary::$variant.is_whole() => {
                        let message = Message::new().str(stringify!($name)).str(": expected Tensor, found Index: ");
                        cx.error(message.str("write `float(..)` around it"))
                    }
                    Some(ty) => {
                        let (a, b) = (a.holds(ty.dtype), b.holds(ty.dtype));
                        Type::Tensor(ty.holding(cx.binary(Binary::$variant, a, b, ty.dtype)))
                    }
                    None => Type::Unknown,
                },
            }
        )*
    };
}

/// The gradients of the one that is taken where `low < high` and of the one that is taken where
/// `high < low`; equal ones share it, as PyTorch does it.
fn extreme_grad(g: &mut Stage, high: Var, low: Var, dy: Var) -> (Var, Var) {
    let (half, one, zero) = (g.number(0.5), g.number(1.0), g.number(0.0));
    let equal = g.compare(Compare::Eq, high, low);
    let share = g.select(equal, half, one);
    let share = g.scale(dy, share);
    let first = g.compare(Compare::Le, low, high);
    let second = g.compare(Compare::Le, high, low);
    (g.choose(first, share, zero), g.choose(second, share, zero))
}

binary_functions!(binary);
