//! Functions of elements that need no primitive of their own.

use crate::network;
use crate::ops::*;

/// ln 2.
const LN_2: f32 = std::f32::consts::LN_2;
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

/// 2ˣ.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = exp2::stage(&mut g, 3.0);
/// assert!((g.value(y)?.data()[0] - 8.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn exp2(x: Tensor) -> Tensor {
    exp(x * LN_2)
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

/// −1, 0 or 1, as x is below zero, zero or above. Its gradient is zero.
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
    select(x > 0.0, 1.0, select(x < 0.0, -1.0, 0.0))
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

/// The number between a and b: a at a weight of zero, b at one.
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
    a + weight * (b - a)
}

/// x, but not below `low` and not above `high`; where the bounds cross, `high`. A bound that is taken gets
/// the gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = clamp::stage(&mut g, 5.0, 0.0, 3.0);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor {
    let y = select(x < low, low, x);
    select(y > high, high, y)
}

/// ln(eᵃ + eᵇ), without overflow.
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
    maximum(a, b) + log1p(exp(-abs(a - b)))
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
