//! Elements of an axis by number.
//!
//! A comparison with every place of the axis finds them, which fuses into the kernel around it and
//! needs no table: it is meant for axes such as classes. Long axes are what [`gather`](crate::ops::gather) is for.

use crate::network;
use crate::ops::*;

/// For each entry of `index` the element of `x` that it names along the last axis: `[.., C]` and
/// `[.., M]` give `[.., M]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let index = unsqueeze::stage(&mut g, index, 0);
/// let y = take_last::stage(&mut g, x, index);
/// assert_eq!(g.value(y)?.data(), [5.0, 6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn take_last(x: Tensor<[N], C>, index: Index<[N], M>) -> Tensor<[N], M> {
    let is_place = iota(C) == unsqueeze(within(index, C), -1);
    sum_axes(select(is_place, unsqueeze(x, -2), 0.0), [-1])
}

/// For each entry of `index` the element of `x` that it names along an axis; along the others both have
/// the same sizes. PyTorch's `take_along_dim`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 1], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let index = unsqueeze::stage(&mut g, index, -1);
/// let y = take_along::stage(&mut g, x, index, 0);
/// assert_eq!(g.value(y)?.data(), [5.0, 6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn take_along(x: Tensor, index: Index, axis: usize) -> Tensor {
    transpose(take_last(transpose(x, axis, -1), transpose(index, axis, -1)), axis, -1)
}

/// Zeros of `n` places along an axis, to which each element of `x` is added where `index`, of the same
/// shape, says. PyTorch's `scatter_add` onto zeros.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let y = add_along::stage(&mut g, x, index, 0, 3);
/// assert_eq!(g.value(y)?.data(), [5.0, 6.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn add_along(x: Tensor, index: Index, axis: usize, n: usize) -> Tensor {
    let places = unsqueeze(iota(n), -1);
    let index = unsqueeze(transpose(within(index, n), axis, -1), -2);
    let parts = select(index == places, unsqueeze(transpose(x, axis, -1), -2), 0.0);
    transpose(sum_axes(parts, [-1]), axis, -1)
}

/// The slices of `x` along an axis that `index`, a list, names. PyTorch's `index_select`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 1);
/// let y = take_rows::stage(&mut g, x, index, 1);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1], [5.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn take_rows(x: Tensor, index: Index<M>, axis: usize) -> Tensor {
    transpose(gather(transpose(x, axis, 0), index), axis, 0)
}

/// Zeros of `n` slices along an axis, to which each slice of `x` is added where `index`, a list, says.
/// PyTorch's `index_add` onto zeros.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 1);
/// let y = add_rows::stage(&mut g, x, index, 0, 2);
/// assert_eq!(g.value(y)?.data(), [5.0, 6.0, 0.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn add_rows(x: Tensor, index: Index<M>, axis: usize, n: usize) -> Tensor {
    let rows = transpose(x, axis, -1);
    let is_row = iota(n) == unsqueeze(within(index, n), -1);
    transpose(matmul(rows, float(is_row)), axis, -1)
}
