//! Smooth activation functions.

use crate::network;
use crate::ops::*;

/// The sigmoid linear unit x σ(x), also called swish (Hendrycks and Gimpel, arXiv:1606.08415).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = silu::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.731_058_6).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn silu(x: Tensor) -> Tensor {
    x * sigmoid(x)
}

/// x tanh(ln(1 + eˣ)) (Misra, arXiv:1908.08681).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = mish::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.865_098_4).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mish(x: Tensor) -> Tensor {
    x * tanh(softplus(x, 1.0, 20.0))
}

/// The smooth rectifier ln(1 + e^(βx)) / β; the number itself where βx is above `threshold` (PyTorch: β is
/// 1 and the threshold 20).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = softplus::stage(&mut g, 0.0, 1.0, 20.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softplus(x: Tensor, beta: f32, threshold: f32) -> Tensor {
    let scaled = beta * x;
    let bounded = select(scaled > threshold, 0.0, scaled);
    select(scaled > threshold, x, log1p(exp(bounded)) / beta)
}

/// The logarithm of the [`sigmoid`], without taking the logarithm of small numbers.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = log_sigmoid::stage(&mut g, -200.0);
/// assert_eq!(g.value(y)?.data(), [-200.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn log_sigmoid(x: Tensor) -> Tensor {
    minimum(x, 0.0) - log1p(exp(-abs(x)))
}

/// x / (1 + |x|).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = softsign::stage(&mut g, 1.0);
/// assert_eq!(g.value(y)?.data(), [0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softsign(x: Tensor) -> Tensor {
    x / (1.0 + abs(x))
}

/// x − tanh x.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = tanhshrink::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.238_405_8).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn tanhshrink(x: Tensor) -> Tensor {
    x - tanh(x)
}

/// The gated linear unit: the first half of an axis times the [`sigmoid`] of the second (Dauphin et al.,
/// arXiv:1612.08083).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [3.0, 0.0])?);
/// let y = glu::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn glu(x: Tensor, axis: isize) -> Tensor {
    let [value, gate] = chunk(x, axis);
    value * sigmoid(gate)
}
