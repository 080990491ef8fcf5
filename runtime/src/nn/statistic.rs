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
