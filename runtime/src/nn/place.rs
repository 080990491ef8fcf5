//! Where the largest and smallest elements are, and where a mask holds.

use super::statistic::mean;
use crate::network;
use crate::ops::*;

/// The place of the largest element of each row, the first where several are equal; NaN counts as the largest.
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
    let largest = (x == max_keepdim(x, [-1])) | (x != x);
    let first = -max_axes(select(largest, -place, 1.0 - C as f32), [-1]);
    integer(first)
}

/// The place of the smallest element of each row, the first where several are equal; NaN counts as the smallest.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 3], [1.0, 4.0, 2.0, 7.0, 0.0, 0.0])?);
/// let y = argmin::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn argmin(x: Tensor<[N], C>) -> Index<[N]> {
    argmax(-x)
}

/// The place of the largest element along an axis, which is removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 4.0, 2.0, 3.0])?);
/// let y = argmax_axis::stage(&mut g, x, 0);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn argmax_axis(x: Tensor, axis: isize) -> Index {
    argmax(movedim(x, axis, -1))
}

/// The place of the smallest element along an axis, which is removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 4.0, 2.0, 3.0])?);
/// let y = argmin_axis::stage(&mut g, x, 0);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn argmin_axis(x: Tensor, axis: isize) -> Index {
    argmax(movedim(-x, axis, -1))
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

/// Whether a mask holds anywhere along one axis or several, which are removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 4.0, 2.0, 2.5])?);
/// let mask = gt::stage(&mut g, x, 3.0);
/// let y = any::stage(&mut g, mask, -1);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn any(mask: Mask, axes: [isize]) -> Mask {
    max_axes(float(mask), axes) > 0.0
}

/// Whether a mask holds everywhere along one axis or several, which are removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 4.0, 3.5, 4.5])?);
/// let mask = gt::stage(&mut g, x, 3.0);
/// let y = all::stage(&mut g, mask, -1);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn all(mask: Mask, axes: [isize]) -> Mask {
    min_axes(float(mask), axes) > 0.0
}
