//! Functions of elements that need no primitive of their own.

use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// 1 / ln 2.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// 1 / ln 10.
const LOG10_E: f32 = std::f32::consts::LOG10_E;

/// x².
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = square::stage(&mut g, 3.0);
/// assert_eq!(g.value(y)?.data(), [9.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn square(x: Tensor) -> Tensor {
    x * x
}

/// 1 / x.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = reciprocal::stage(&mut g, 4.0);
/// assert_eq!(g.value(y)?.data(), [0.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn reciprocal(x: Tensor) -> Tensor {
    1.0 / x
}

/// 1 / √x.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = rsqrt::stage(&mut g, 4.0);
/// assert_eq!(g.value(y)?.data(), [0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn rsqrt(x: Tensor) -> Tensor {
    1.0 / sqrt(x)
}

/// The logarithm to base 2.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = log2::stage(&mut g, 8.0);
/// assert!((g.value(y)?.data()[0] - 3.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn log2(x: Tensor) -> Tensor {
    log(x) * LOG2_E
}

/// The logarithm to base 10.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = log10::stage(&mut g, 100.0);
/// assert!((g.value(y)?.data()[0] - 2.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn log10(x: Tensor) -> Tensor {
    log(x) * LOG10_E
}

/// −1, 0 or 1, as x is below zero, zero or above; NaN stays. Its gradient is zero.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = sign::stage(&mut g, -3.0);
/// assert_eq!(g.value(y)?.data(), [-1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn sign(x: Tensor) -> Tensor {
    select(x > 0.0, 1.0, select(x < 0.0, -1.0, abs(floor(x))))
}

/// The whole part of a number, towards zero. It has no gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = trunc::stage(&mut g, -1.5);
/// assert_eq!(g.value(y)?.data(), [-1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn trunc(x: Tensor) -> Tensor {
    select(x < 0.0, -floor(-x), floor(x))
}

/// The number between a and b: a at a weight of zero, b at one, both exactly.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = lerp::stage(&mut g, 1.0, 3.0, 0.25);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn lerp(a: Tensor, b: Tensor, weight: Tensor) -> Tensor {
    // From the nearer end.
    let way = b - a;
    select(abs(weight) < 0.5, a + weight * way, b - (1.0 - weight) * way)
}

/// ln(eᵃ + eᵇ), without overflow; infinite numbers count as what they tend to.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = logaddexp::stage(&mut g, 1000.0, 1000.0);
/// assert!((g.value(y)?.data()[0] - 1000.693_1).abs() < 1e-3);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn logaddexp(a: Tensor, b: Tensor) -> Tensor {
    // Equal numbers may be infinite, and have no difference then.
    let gap = select(a == b, 0.0, a - b);
    maximum(a, b) + log1p(exp(-abs(gap)))
}

/// The product of a weight and a cost, where a weight of zero leaves nothing even of an infinite cost. NaN stays.
#[network(track_caller)]
pub(crate) fn weighed(weight: Tensor, cost: Tensor) -> Tensor {
    weight * select((weight == 0.0) & (abs(cost) == f32::INFINITY), 0.0, cost)
}

/// The share of x that a setting leaves: a share of zero leaves nothing, whatever x is.
#[allow(non_camel_case_types)]
pub(crate) enum share {}

impl share {
    pub(crate) fn stage(g: &mut Stage, x: impl Into<Value>, share: f32) -> Value {
        let x = mul::stage(g, x, share);
        match g.operand(x) {
            Some(zero) if share == 0.0 => {
                let shape = g[zero].shape.clone();
                Value::Var(g.fill(0.0, &shape))
            }
            _ => x,
        }
    }

    pub(crate) fn grad(g: &mut Stage, x: impl Into<Value>, share: f32, dout: Grad) -> (Grad, Grad) {
        (mul::grad(g, x, share, dout).0, None)
    }

    #[track_caller]
    pub(crate) const fn shape(cx: &mut Check, x: Type, share: Type) -> Type {
        mul::shape(cx, x, share)
    }
}

/// The logarithm of the odds, ln(p / (1 − p)): the inverse of the [`sigmoid`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = logit::stage(&mut g, 0.5);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn logit(p: Tensor) -> Tensor {
    log(p) - log1p(-p)
}

/// The matrices of the last two axes with zeros above a diagonal: 0 is the main one, and positive
/// numbers are above it.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = tril::stage(&mut g, x, 0);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0, 3.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn tril(x: Tensor<[N], R, C>, diagonal: isize) -> Tensor<[N], R, C> {
    let kept = iota(C) <= unsqueeze(iota(R), -1) + diagonal;
    select(kept, x, 0.0)
}

/// The matrices of the last two axes with zeros below a diagonal: 0 is the main one, and positive
/// numbers are above it.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = triu::stage(&mut g, x, 0);
/// assert_eq!(g.value(y)?.data(), [1.0, 2.0, 0.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn triu(x: Tensor<[N], R, C>, diagonal: isize) -> Tensor<[N], R, C> {
    let kept = iota(C) >= unsqueeze(iota(R), -1) + diagonal;
    select(kept, x, 0.0)
}
