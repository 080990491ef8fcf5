//! Normalisation without parameters.

use crate::network;
use crate::nn::statistic::mean_keepdim;
use crate::ops::*;

/// Each row along an axis less its mean, over the square root of its variance plus `eps`: the part without
/// parameters of layer, group, instance and batch normalisation.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 3.0])?);
/// let y = standardize::stage(&mut g, x, -1, 0.0);
/// assert_eq!(g.value(y)?.data(), [-1.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn standardize(x: Tensor, axis: isize, eps: f32) -> Tensor {
    let centred = x - mean_keepdim(x, axis);
    centred / sqrt(mean_keepdim(centred * centred, axis) + eps)
}

/// Each row along an axis over the root of its mean square plus `eps` (Zhang and Sennrich,
/// arXiv:1910.07467).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [3.0, 3.0])?);
/// let y = rms_norm::stage(&mut g, x, -1, 0.0);
/// assert_eq!(g.value(y)?.data(), [1.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn rms_norm(x: Tensor, axis: isize, eps: f32) -> Tensor {
    x / sqrt(mean_keepdim(x * x, axis) + eps)
}

/// Each row along an axis over its Euclidean length, which counts as at least `eps` (PyTorch: 1e-12).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = normalize::stage(&mut g, x, -1, 1e-12);
/// assert!((g.value(y)?.data()[0] - 0.6).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn normalize(x: Tensor, axis: isize, eps: f32) -> Tensor {
    let length = sqrt(sum_keepdim(x * x, [axis]));
    x / select(length < eps, eps, length)
}
