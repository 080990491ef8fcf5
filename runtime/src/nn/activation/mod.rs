//! Activation functions, and the layers that apply them in a sequential network.

mod hard;
mod layers;
mod rectified;
mod smooth;

use std::f64::consts::FRAC_1_SQRT_2;

use super::math::reciprocal;
use crate::network;
use crate::ops::*;

pub use hard::*;
pub use layers::*;
pub use rectified::*;
pub use smooth::*;

/// √(2/π), of the tanh form of GELU.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// The rectified linear unit, max(x, 0). Its gradient at zero is zero.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = relu::stage(&mut g, -2.0);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn relu(x: Tensor) -> Tensor {
    select(x > 0.0, x, 0.0)
}

/// The Gaussian error linear unit x Φ(x), exact (Hendrycks and Gimpel, arXiv:1606.08415).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gelu::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.841_344_7).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gelu(x: Tensor) -> Tensor {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// GELU in its tanh form, ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))): PyTorch's
/// `approximate="tanh"`, as GPT-2 uses it.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gelu_tanh::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.841_192).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gelu_tanh(x: Tensor) -> Tensor {
    let inner = SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + tanh(inner))
}

/// The softmax along an axis: eˣ over its sum. The maximum is taken off first, so that large
/// numbers do not overflow; the result does not depend on it, so no gradient goes there.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 1.0])?);
/// let y = softmax::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [0.5, 0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softmax(x: Tensor, axis: isize) -> Tensor {
    let e = exp(x - stop_gradient(max_keepdim(x, [axis])));
    e * reciprocal(sum_keepdim(e, [axis]))
}

/// The logarithm of the softmax along an axis, without taking the logarithm of small numbers.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [0.0, -200.0])?);
/// let y = log_softmax::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [0.0, -200.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn log_softmax(x: Tensor, axis: isize) -> Tensor {
    let shifted = x - stop_gradient(max_keepdim(x, [axis]));
    shifted - log(sum_keepdim(exp(shifted), [axis]))
}

/// The softmax of the negative numbers: large ones become small.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 1.0])?);
/// let y = softmin::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [0.5, 0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softmin(x: Tensor, axis: isize) -> Tensor {
    softmax(-x, axis)
}
