//! Rectifiers: functions that are straight on one side of zero.

use crate::network;
use crate::ops::*;

/// The scale of SELU, as in its paper.
const SELU_SCALE: f32 = 1.050_701;
/// The α of SELU.
const SELU_ALPHA: f32 = 1.673_263_2;

/// [`relu`](super::relu) cut off at 6.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = relu6::stage(&mut g, 8.0);
/// assert_eq!(g.value(y)?.data(), [6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn relu6(x: Tensor) -> Tensor {
    hardtanh(x, 0.0, 6.0)
}

/// The number itself between `low` and `high` (PyTorch: −1 and 1), and the nearer of them elsewhere. The
/// gradient is zero there, also at `low` and `high`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hardtanh::stage(&mut g, 3.0, -1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hardtanh(x: Tensor, low: f32, high: f32) -> Tensor {
    let below = select(x >= high, high, x);
    select(x <= low, low, below)
}

/// A rectifier with a slope for negative numbers, usually 0.01 (Maas, Hannun and Ng, 2013).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = leaky_relu::stage(&mut g, -2.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [-1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn leaky_relu(x: Tensor, slope: f32) -> Tensor {
    select(x > 0.0, x, slope * x)
}

/// A rectifier whose slope for negative numbers is learned (He et al., arXiv:1502.01852); `slope` is
/// broadcast against `x`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = prelu::stage(&mut g, -2.0, 0.25);
/// assert_eq!(g.value(y)?.data(), [-0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn prelu(x: Tensor, slope: Tensor) -> Tensor {
    select(x > 0.0, x, slope * x)
}

/// The number itself above `bound`, else `value`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = threshold::stage(&mut g, 1.0, 2.0, 9.0);
/// assert_eq!(g.value(y)?.data(), [9.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn threshold(x: Tensor, bound: f32, value: f32) -> Tensor {
    select(x <= bound, value, x)
}

/// The exponential linear unit, α (eˣ − 1) below zero; α is usually 1 (Clevert, Unterthiner and
/// Hochreiter, arXiv:1511.07289).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = elu::stage(&mut g, -1.0, 1.0);
/// assert!((g.value(y)?.data()[0] - (-0.632_120_6)).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn elu(x: Tensor, alpha: f32) -> Tensor {
    let below = select(x > 0.0, 0.0, x);
    select(x > 0.0, x, alpha * expm1(below))
}

/// [`elu`] with a slope of one at zero for every α: α (e^(x/α) − 1) below zero (Barron,
/// arXiv:1704.07483).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = celu::stage(&mut g, -1.0, 1.0);
/// assert!((g.value(y)?.data()[0] - (-0.632_120_6)).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn celu(x: Tensor, alpha: f32) -> Tensor {
    let below = select(x > 0.0, 0.0, x);
    select(x > 0.0, x, alpha * expm1(below / alpha))
}

/// The scaled [`elu`] that keeps mean and variance (Klambauer et al., arXiv:1706.02515).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = selu::stage(&mut g, 2.0);
/// assert!((g.value(y)?.data()[0] - 2.101_402).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn selu(x: Tensor) -> Tensor {
    SELU_SCALE * elu(x, SELU_ALPHA)
}
