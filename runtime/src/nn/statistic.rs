//! Means and what is built on them.

use crate::network;
use crate::ops::*;

/// The mean of all elements.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 6.0])?);
/// let y = mean::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mean(x: Tensor) -> Tensor {
    sum(x) / count(x)
}

/// The mean over one axis, which stays with size one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 6.0])?);
/// let y = mean_keepdim::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?, Tensor::new([2, 1], [1.5, 4.5])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mean_keepdim(x: Tensor, axis: isize) -> Tensor {
    sum_keepdim(x, [axis]) / size(x, axis)
}

/// The place of the largest element of each row, the first where several are equal.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3], [1.0, 4.0, 2.0, 7.0, 0.0, 7.0])?);
/// let y = argmax::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn argmax(x: Tensor<[N], C>) -> Index<[N]> {
    let place = float(iota(C));
    let largest = x == max_keepdim(x, [-1]);
    let first = -max_axes(select(largest, -place, -(C as f32)), [-1]);
    integer(first)
}

/// The share of rows whose largest element is at the place that `targets` names: a number from 0
/// to 1, of the batch.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([2, 2], [0.1, 0.9, 0.8, 0.2])?);
/// let targets = iota::stage(&mut g, 2);
/// let y = accuracy::stage(&mut g, logits, targets);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn accuracy(logits: Tensor<[N], C>, targets: Index<[N]>) -> Tensor {
    mean(float(argmax(logits) == within(targets, C)))
}

/// The logarithm of the sum of exponentials along an axis, which is removed. The maximum is taken off
/// first, so that large numbers do not overflow.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1000.0, 1000.0])?);
/// let y = logsumexp::stage(&mut g, x, -1);
/// assert!((g.value(y)?.data()[0] - 1000.693_1).abs() < 1e-3);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn logsumexp(x: Tensor, axis: isize) -> Tensor {
    let top = stop_gradient(max_keepdim(x, [axis]));
    let total = sum_axes(exp(x - top), [axis]);
    log(total) + sum_axes(top, [axis])
}

/// The variance along an axis, which is removed: the sum of squared distances from the mean over the
/// number of elements less `correction` (1 for a sample, 0 for all there is).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = variance::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn variance(x: Tensor, axis: isize, correction: f32) -> Tensor {
    let centred = x - mean_keepdim(x, axis);
    sum_axes(centred * centred, [axis]) / (size(x, axis) - correction)
}

/// The standard deviation along an axis, which is removed: the root of the [`variance`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = deviation::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn deviation(x: Tensor, axis: isize, correction: f32) -> Tensor {
    sqrt(variance(x, axis, correction))
}

/// The cosine of the angle between the vectors along an axis, which is removed; lengths count as at least
/// `eps` (PyTorch: 1e-8).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = cosine_similarity::stage(&mut g, a, a, -1, 1e-8);
/// assert!((g.value(y)?.data()[0] - 1.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cosine_similarity(a: Tensor, b: Tensor, axis: isize, eps: f32) -> Tensor {
    let product = sum_axes(a * b, [axis]);
    let length_a = sqrt(sum_axes(a * a, [axis]));
    let length_b = sqrt(sum_axes(b * b, [axis]));
    product / (select(length_a < eps, eps, length_a) * select(length_b < eps, eps, length_b))
}
