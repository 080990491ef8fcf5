//! Divisions that round, bounds, sums of products, and numbers that are none.

use super::math::trunc;
use crate::network;
use crate::ops::*;

/// The smallest whole number that is not below x. It has no gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = ceil::stage(&mut g, 1.5);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn ceil(x: Tensor) -> Tensor {
    -floor(-x)
}

/// The nearest whole number, the even one of two. It has no gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// for (x, expected) in [(2.5, 2.0), (3.5, 4.0), (-0.7, -1.0), (1.2, 1.0)] {
///     let y = round::stage(&mut g, x);
///     assert_eq!(g.value(y)?.data(), [expected]);
/// }
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn round(x: Tensor) -> Tensor {
    let below = floor(x);
    let rest = x - below;
    let is_odd = below != 2.0 * floor(below / 2.0);
    // Not one more than the number below: what is rounded up to zero is a negative zero.
    select((rest > 0.5) | ((rest == 0.5) & is_odd), ceil(x), below)
}

/// The part of a number behind the point, with its sign.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = frac::stage(&mut g, -1.25);
/// assert_eq!(g.value(y)?.data(), [-0.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn frac(x: Tensor) -> Tensor {
    x - stop_gradient(trunc(x))
}

/// Whether one of two numbers is above zero and the other below.
#[network(track_caller)]
fn are_opposite(a: Tensor, b: Tensor) -> Mask {
    ((a < 0.0) & (b > 0.0)) | ((a > 0.0) & (b < 0.0))
}

/// a / b, rounded down, as if a / b were exact. It has no gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// for (a, b, expected) in [(-3.0, 2.0, -2.0), (1.0, 0.1, 9.0)] {
///     let y = floor_divide::stage(&mut g, a, b);
///     assert_eq!(g.value(y)?.data(), [expected]);
/// }
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn floor_divide(a: Tensor, b: Tensor) -> Tensor {
    let rest = fmod(a, b);
    // A whole number, but for the rounding of the quotient.
    let whole = round((a - rest) / b);
    let rounded = select(are_opposite(rest, b), whole - 1.0, whole);
    // A zero has the sign of the quotient.
    select((b == 0.0) | (rounded == 0.0), floor(a / b), rounded)
}

/// a / b, rounded towards zero. It has no gradient.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = trunc_divide::stage(&mut g, -3.0, 2.0);
/// assert_eq!(g.value(y)?.data(), [-1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn trunc_divide(a: Tensor, b: Tensor) -> Tensor {
    trunc(a / b)
}

/// What [`floor_divide`] leaves over; it has the sign of `b`. It is [`fmod`], and `b` more where that has the
/// other sign.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = remainder::stage(&mut g, -3.0, 2.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn remainder(a: Tensor, b: Tensor) -> Tensor {
    let rest = fmod(a, b);
    let below = are_opposite(rest, b);
    select(below, rest + b, rest)
}

/// `value` where `mask` holds, else x.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let mask = lt::stage(&mut g, 1.0, 2.0);
/// let y = masked_fill::stage(&mut g, 1.0, mask, 9.0);
/// assert_eq!(g.value(y)?.data(), [9.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn masked_fill(x: Tensor, mask: Mask, value: Tensor) -> Tensor {
    select(mask, value, x)
}

/// x + value · a · b (PyTorch: the value is 1).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = addcmul::stage(&mut g, 1.0, 2.0, 3.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn addcmul(x: Tensor, a: Tensor, b: Tensor, value: f32) -> Tensor {
    x + value * (a * b)
}

/// x + value · a / b (PyTorch: the value is 1).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = addcdiv::stage(&mut g, 1.0, 6.0, 3.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn addcdiv(x: Tensor, a: Tensor, b: Tensor, value: f32) -> Tensor {
    x + value * (a / b)
}

/// x ln y, which is zero where x is, for every number y; NaN stays.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = xlogy::stage(&mut g, 0.0, 0.0);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn xlogy(x: Tensor, y: Tensor) -> Tensor {
    // Zero times a logarithm that is no number, or infinite.
    let none = (x == 0.0) & ((y <= 0.0) | (y == f32::INFINITY));
    x * log(select(none, 1.0, y))
}

/// Whether a number is NaN.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [f32::NAN, f32::INFINITY])?);
/// let y = isnan::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn isnan(x: Tensor) -> Mask {
    x != x
}

/// Whether a number is infinite.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [f32::NAN, f32::NEG_INFINITY])?);
/// let y = isinf::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn isinf(x: Tensor) -> Mask {
    abs(x) == f32::INFINITY
}

/// Whether a number is neither infinite nor NaN.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [f32::NAN, f32::INFINITY, 1.0])?);
/// let y = isfinite::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [0.0, 0.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn isfinite(x: Tensor) -> Mask {
    abs(x) < f32::INFINITY
}
