//! Piecewise straight activation functions.

use crate::network;
use crate::ops::*;

/// A straight piece in place of the [`sigmoid`]: x / 6 + ½ between −3 and 3, and 0 and 1 elsewhere.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hardsigmoid::stage(&mut g, 0.0);
/// assert_eq!(g.value(y)?.data(), [0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hardsigmoid(x: Tensor) -> Tensor {
    let below = select(x >= 3.0, 1.0, (x + 3.0) / 6.0);
    select(x <= -3.0, 0.0, below)
}

/// x times [`hardsigmoid`] (Howard et al., arXiv:1905.02244). Its gradient at −3 is zero, and at 3 one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hardswish::stage(&mut g, 3.0);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hardswish(x: Tensor) -> Tensor {
    select(x <= -3.0, 0.0, x * hardsigmoid(x))
}

/// The number itself beyond ±`bound` (PyTorch: 0.5), else zero.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hardshrink::stage(&mut g, 0.25, 0.5);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hardshrink(x: Tensor, bound: f32) -> Tensor {
    select(abs(x) <= bound, 0.0, x)
}

/// The number nearer to zero by `bound` (PyTorch: 0.5), but not beyond it.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = softshrink::stage(&mut g, 2.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softshrink(x: Tensor, bound: f32) -> Tensor {
    let nearer = select(x < 0.0, x + bound, x - bound);
    select(abs(x) <= bound, 0.0, nearer)
}
