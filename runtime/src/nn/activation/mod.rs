//! Activation functions, and the layers that apply them in a sequential network.

mod hard;
mod layers;
mod probabilities;
mod rectified;
mod smooth;
mod tanh_form;

use std::f64::consts::FRAC_1_SQRT_2;

use crate::network;
use crate::ops::*;

pub use hard::*;
pub use layers::*;
pub use probabilities::*;
pub use rectified::*;
pub use smooth::*;
pub use tanh_form::*;

/// The rectified linear unit, max(x, 0); NaN stays. Its gradient at zero is zero.
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
    select(x <= 0.0, 0.0, x)
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
