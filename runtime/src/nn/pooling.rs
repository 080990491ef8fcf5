//! Pooling over the last axes of sequences and images.

use super::per_axis::{known, part, part_type, per_axis, slides};
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::Dim;
use crate::shape::check::{Check, Message, Type};

per_axis! {
    /// The largest element of each window of `size` elements of the last axis, PyTorch's `max_pool1d`. What is
    /// added at the ends is smaller than any number. Equal elements share the gradient, where PyTorch gives all of it to
    /// the first.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 4], [1.0, 2.0, 4.0, 3.0])?);
    /// let y = max_pool1d::stage(&mut g, x, 2, 2, 0, 1, false);
    /// assert_eq!(g.value(y)?.data(), [2.0, 4.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    max_pool1d(x.0; size[0], stride[0], padding[0], dilation[0]; ceil_mode: bool) = each::max_pool1d, max_pool;
}

per_axis! {
    /// The largest element of each window of `size` by `size` elements of the last two axes, PyTorch's
    /// `max_pool2d`. All but `ceil_mode` are a number for both axes or a list of two; what is added at the sides
    /// is smaller than any number. With `ceil_mode` a last window may reach beyond the padding. Equal elements share the
    /// gradient, where PyTorch gives all of it to the first.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
    /// let y = max_pool2d::stage(&mut g, x, 2, 2, 0, 1, false);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [4.0])?);
    /// let y = max_pool2d::stage(&mut g, x, [1, 2], 1, 0, 1, false);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 2, 1], [2.0, 4.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    max_pool2d(x.0; size[0 1], stride[0 1], padding[0 1], dilation[0 1]; ceil_mode: bool) = each::max_pool2d, max_pool;
}

per_axis! {
    /// The mean of each window of `size` elements of the last axis, PyTorch's `avg_pool1d`. With
    /// `count_include_pad` the zeros that are added at the ends count.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 3], [1.0, 3.0, 4.0])?);
    /// let y = avg_pool1d::stage(&mut g, x, 2, 2, 0, true, true);
    /// assert_eq!(g.value(y)?.data(), [2.0, 4.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    avg_pool1d(x.0; size[0], stride[0], padding[0]; ceil_mode: bool, count_include_pad: bool) = each::avg_pool1d, avg_pool;
}

per_axis! {
    /// The mean of each window of `size` by `size` elements of the last two axes, PyTorch's `avg_pool2d`. The
    /// sizes are a number for both axes or a list of two. With `ceil_mode` a last window may reach beyond the
    /// padding, where nothing counts; with `count_include_pad` the zeros of the padding count.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
    /// let y = avg_pool2d::stage(&mut g, x, 2, 2, 0, false, true);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [2.5])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    avg_pool2d(x.0; size[0 1], stride[0 1], padding[0 1]; ceil_mode: bool, count_include_pad: bool) = each::avg_pool2d, avg_pool;
}

per_axis! {
    /// The sum of each window of `size` by `size` elements of the last two axes: [`avg_pool2d`] with a divisor of
    /// one, to be divided by another.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
    /// let y = sum_pool2d::stage(&mut g, x, 2, 2, 0, false);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [10.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    sum_pool2d(x.0; size[0 1], stride[0 1], padding[0 1]; ceil_mode: bool) = each::sum_pool2d, avg_pool;
}

#[track_caller]
const fn avg_pool(cx: &mut Check, op: &str, n: usize, x: Type, size: Type, stride: Type, padding: Type) {
    max_pool(cx, op, n, x, size, stride, padding, Type::Dim(Dim::n(1)));
}

/// What pooling needs of its sizes: windows that fit and that have an element of the input each.
#[track_caller]
#[allow(clippy::too_many_arguments)]
const fn max_pool(
    cx: &mut Check,
    op: &str,
    n: usize,
    x: Type,
    size: Type,
    stride: Type,
    padding: Type,
    dilation: Type,
) {
    slides(cx, op, n, x, size, stride, padding, dilation);
    let mut i = 0;
    while i < n {
        if let (Some(size), Some(padding)) = (known(size, i), known(padding, i))
            && 2 * padding > size
        {
            let message = Message::new().str(op).str(": a padding of ").num(padding);
            cx.error(message.str(" is more than half of a window of ").num(size));
            return;
        }
        i += 1;
    }
}

/// The operations with a number for each axis.
mod each {
    use crate::network;
    use crate::ops::*;

    #[network(track_caller)]
    pub fn max_pool1d(
        x: Tensor<[N], L>,
        size: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
        ceil_mode: bool,
    ) -> Tensor {
        let x = pad_windows(x, -1, size, stride, padding, dilation, ceil_mode, f32::NEG_INFINITY);
        max_axes(windows(x, -1, size, stride, dilation), [-1])
    }

    #[network(track_caller)]
    pub fn max_pool2d(
        x: Tensor<[N], H, W>,
        size_h: usize,
        size_w: usize,
        stride_h: usize,
        stride_w: usize,
        padding_h: usize,
        padding_w: usize,
        dilation_h: usize,
        dilation_w: usize,
        ceil_mode: bool,
    ) -> Tensor {
        let x = pad_windows(x, -1, size_w, stride_w, padding_w, dilation_w, ceil_mode, f32::NEG_INFINITY);
        let x = pad_windows(x, -2, size_h, stride_h, padding_h, dilation_h, ceil_mode, f32::NEG_INFINITY);
        max_axes(windows(windows(x, -1, size_w, stride_w, dilation_w), -3, size_h, stride_h, dilation_h), [-3, -1])
    }

    #[network(track_caller)]
    pub fn avg_pool1d(
        x: Tensor<[N], L>,
        size: usize,
        stride: usize,
        padding: usize,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Tensor {
        let padded = pad_windows(x, -1, size, stride, padding, 1, ceil_mode, 0.0);
        let total = sum_axes(windows(padded, -1, size, stride, 1), [-1]);
        if ceil_mode || !count_include_pad {
            total / lengths(total, L, size, stride, padding, count_include_pad)
        } else {
            total / size as f32
        }
    }

    #[network(track_caller)]
    pub fn avg_pool2d(
        x: Tensor<[N], H, W>,
        size_h: usize,
        size_w: usize,
        stride_h: usize,
        stride_w: usize,
        padding_h: usize,
        padding_w: usize,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> Tensor {
        let total = sum_pool2d(x, size_h, size_w, stride_h, stride_w, padding_h, padding_w, ceil_mode);
        if ceil_mode || !count_include_pad {
            let rows = lengths(transpose(total, -1, -2), H, size_h, stride_h, padding_h, count_include_pad);
            total / (unsqueeze(rows, -1) * lengths(total, W, size_w, stride_w, padding_w, count_include_pad))
        } else {
            total / (size_h as f32 * size_w as f32)
        }
    }

    #[network(track_caller)]
    pub fn sum_pool2d(
        x: Tensor<[N], H, W>,
        size_h: usize,
        size_w: usize,
        stride_h: usize,
        stride_w: usize,
        padding_h: usize,
        padding_w: usize,
        ceil_mode: bool,
    ) -> Tensor {
        let x = pad_windows(x, -1, size_w, stride_w, padding_w, 1, ceil_mode, 0.0);
        let x = pad_windows(x, -2, size_h, stride_h, padding_h, 1, ceil_mode, 0.0);
        sum_axes(windows(windows(x, -1, size_w, stride_w, 1), -3, size_h, stride_h, 1), [-3, -1])
    }

    /// How many elements count in each of `P` windows over `n` elements.
    #[network(track_caller)]
    fn lengths(
        pooled: Tensor<[N], P>,
        n: usize,
        size: usize,
        stride: usize,
        padding: usize,
        count_include_pad: bool,
    ) -> Tensor {
        let start = float(iota(P)) * stride as f32 - padding as f32;
        let stop = start + size as f32;
        if count_include_pad {
            minimum(stop, n as f32 + padding as f32) - start
        } else {
            minimum(stop, n as f32) - maximum(start, 0.0)
        }
    }
}

/// The means of `size` parts of the last axis, PyTorch's `adaptive_avg_pool1d`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 3], [1.0, 2.0, 4.0])?);
/// let y = adaptive_avg_pool1d::stage(&mut g, x, 2);
/// assert_eq!(g.value(y)?.data(), [1.5, 3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn adaptive_avg_pool1d(x: Tensor, size: usize) -> Tensor {
    adaptive_avg(x, -1, size)
}

/// The means of `height` by `width` parts of the last two axes, PyTorch's `adaptive_avg_pool2d`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = adaptive_avg_pool2d::stage(&mut g, x, 1, 2);
/// assert_eq!(g.value(y)?.data(), [2.0, 3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn adaptive_avg_pool2d(x: Tensor<[N], H, W>, height: usize, width: usize) -> Tensor {
    adaptive_avg(adaptive_avg(x, -1, width), -2, height)
}

/// The largest elements of `size` parts of the last axis, PyTorch's `adaptive_max_pool1d`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 3], [1.0, 5.0, 4.0])?);
/// let y = adaptive_max_pool1d::stage(&mut g, x, 2);
/// assert_eq!(g.value(y)?.data(), [5.0, 5.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn adaptive_max_pool1d(x: Tensor, size: usize) -> Tensor {
    adaptive_max(x, -1, size)
}

/// The largest elements of `height` by `width` parts of the last two axes, PyTorch's
/// `adaptive_max_pool2d`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = adaptive_max_pool2d::stage(&mut g, x, 1, 2);
/// assert_eq!(g.value(y)?.data(), [3.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn adaptive_max_pool2d(x: Tensor<[N], H, W>, height: usize, width: usize) -> Tensor {
    adaptive_max(adaptive_max(x, -1, width), -2, height)
}
