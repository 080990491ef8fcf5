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
/// the same sizes. PyTorch's `take_along_dim` and
/// `gather`.
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
#[doc(alias = "gather")]
#[doc(alias = "take_along_dim")]
pub fn take_along(x: Tensor, index: Index, axis: isize) -> Tensor {
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
pub fn add_along(x: Tensor, index: Index, axis: isize, n: usize) -> Tensor {
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
#[doc(alias = "index_select")]
pub fn take_rows(x: Tensor, index: Index<M>, axis: isize) -> Tensor {
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
pub fn add_rows(x: Tensor, index: Index<M>, axis: isize, n: usize) -> Tensor {
    transpose(added_rows(transpose(x, axis, 0), within(index, n), n), axis, 0)
}

/// x, to whose elements along an axis those of `source` are added where `index`, of its shape, says. Along
/// the other axes all three have the same sizes.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 1.0, 1.0])?);
/// let source = g.constant(&Tensor::new([2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let y = scatter_add::stage(&mut g, x, index, source, 0);
/// assert_eq!(g.value(y)?.data(), [6.0, 7.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn scatter_add(x: Tensor, index: Index, source: Tensor, axis: isize) -> Tensor {
    let (x, index, source) = (transpose(x, axis, -1), transpose(index, axis, -1), transpose(source, axis, -1));
    transpose(scatter_add_last(x, index, source), axis, -1)
}

#[network(track_caller)]
fn scatter_add_last(x: Tensor<[N], C>, index: Index<[N], M>, source: Tensor<[N], M>) -> Tensor<[N], C> {
    x + add_along(source, index, -1, C)
}

/// x, to whose slices along an axis `alpha` times those of `source` are added where `index`, a list, says.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 1.0, 1.0])?);
/// let source = g.constant(&Tensor::new([2], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let y = index_add::stage(&mut g, x, index, source, 0, 2.0);
/// assert_eq!(g.value(y)?.data(), [11.0, 13.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn index_add(x: Tensor, index: Index<M>, source: Tensor, axis: isize, alpha: f32) -> Tensor {
    transpose(index_add_last(transpose(x, axis, -1), index, alpha * transpose(source, axis, -1)), axis, -1)
}

#[network(track_caller)]
fn index_add_last(x: Tensor<[N], C>, index: Index<M>, source: Tensor<[N], M>) -> Tensor<[N], C> {
    x + add_rows(source, index, -1, C)
}

/// `length` elements of an axis, from `start` on.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = narrow::stage(&mut g, x, 0, 1, 2);
/// assert_eq!(g.value(y)?.data(), [2.0, 3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn narrow(x: Tensor, axis: isize, start: usize, length: usize) -> Tensor {
    slice(x, axis, start, start + length)
}

/// For each class number a row of `n` zeros with a one at that place.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let classes = iota::stage(&mut g, 2);
/// let y = one_hot::stage(&mut g, classes, 3);
/// assert_eq!(g.value(y)?, Tensor::new([2, 3], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn one_hot(index: Index<[N]>, n: usize) -> Tensor<[N], n> {
    float(iota(n) == unsqueeze(within(index, n), -1))
}

/// The rows of `table` that `index` names, as [`gather`](crate::ops::gather) gives them, where row `padding`
/// is not trained: PyTorch's `embedding` with a `padding_idx`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let table = g.constant(&Tensor::new([2, 1], [5.0, 6.0])?);
/// let index = iota::stage(&mut g, 2);
/// let y = padded_gather::stage(&mut g, table, index, 0);
/// assert_eq!(g.value(y)?.data(), [5.0, 6.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "embedding")]
pub fn padded_gather(table: Tensor<V, D>, index: Index<[N]>, padding: usize) -> Tensor<[N], D> {
    let rows = gather(table, index);
    select(unsqueeze(index == padding, -1), stop_gradient(rows), rows)
}
