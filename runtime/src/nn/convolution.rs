//! Convolution over sequences, `[batch, channels, length]`, and images, `[batch, channels, height, width]`.

use super::per_axis::{known, part, part_type, per_axis, slides};
use crate::graph::{Grad, Stage, Value};
use crate::shape::check::{Check, Message, Type};

per_axis! {
    /// The cross-correlation of sequences with kernels, PyTorch's `conv1d`: `[B, C, L]` and
    /// `[O, C / groups, K]` give `[B, O, (L + 2 padding − dilation (K − 1) − 1) / stride + 1]`. Zeros are added
    /// at both ends; `groups` parts of the channels meet kernels of their own.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 3], [1.0, 2.0, 3.0])?);
    /// let weight = g.constant(&Tensor::new([1, 1, 2], [1.0, -1.0])?);
    /// let y = conv1d::stage(&mut g, x, weight, 1, 0, 1, 1);
    /// assert_eq!(g.value(y)?.data(), [-1.0, -1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    conv1d(x.0, weight.1; stride[0], padding[0], dilation[0], groups[0];) = each::conv1d, convolution;
}

per_axis! {
    /// The cross-correlation of images with kernels, PyTorch's `conv2d`: `[B, C, H, W]` and
    /// `[O, C / groups, K, L]` give `[B, O, (H + 2 padding − dilation (K − 1) − 1) / stride + 1, …]`. Zeros are
    /// added at all sides; `groups` parts of the channels meet kernels of their own. `stride`, `padding` and
    /// `dilation` are a number for both axes or a list of two.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
    /// let weight = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 0.0, 0.0, 1.0])?);
    /// let y = conv2d::stage(&mut g, x, weight, 1, 0, 1, 1);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [5.0])?);
    /// let y = conv2d::stage(&mut g, x, weight, 1, [0, 1], 1, 1);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 3], [3.0, 5.0, 2.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    conv2d(x.0, weight.1; stride[0 1], padding[0 1], dilation[0 1], groups[0];) = each::conv2d, convolution;
}

per_axis! {
    /// The reverse of [`conv1d`] in shape, and its gradient, PyTorch's `conv_transpose1d`: `[B, C, L]` and
    /// `[C, O / groups, K]` give `[B, O, (L − 1) stride − 2 padding + dilation (K − 1) + output_padding + 1]`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 2], [1.0, 2.0])?);
    /// let weight = g.constant(&Tensor::new([1, 1, 2], [1.0, 3.0])?);
    /// let y = conv_transpose1d::stage(&mut g, x, weight, 1, 0, 0, 1, 1);
    /// assert_eq!(g.value(y)?.data(), [1.0, 5.0, 6.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    conv_transpose1d(x.0, weight.1; stride[0], padding[0], output_padding[0], groups[0], dilation[0];)
    = each::conv_transpose1d, transposed;
}

per_axis! {
    /// The reverse of [`conv2d`] in shape, and its gradient, PyTorch's `conv_transpose2d`: `[B, C, H, W]` and
    /// `[C, O / groups, K, L]` give
    /// `[B, O, (H − 1) stride − 2 padding + dilation (K − 1) + output_padding + 1, …]`. All but `groups` are a
    /// number for both axes or a list of two.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 1, 1, 2], [1.0, 2.0])?);
    /// let weight = g.constant(&Tensor::new([1, 1, 1, 1], [3.0])?);
    /// let y = conv_transpose2d::stage(&mut g, x, weight, [1, 2], 0, 0, 1, 1);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 3], [3.0, 0.0, 6.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    conv_transpose2d(x.0, weight.1; stride[0 1], padding[0 1], output_padding[0 1], groups[0], dilation[0 1];)
    = each::conv_transpose2d, transposed;
}

/// What a convolution needs of its channels and of its kernel.
#[track_caller]
#[allow(clippy::too_many_arguments)]
const fn convolution(
    cx: &mut Check,
    op: &str,
    n: usize,
    x: Type,
    weight: Type,
    stride: Type,
    padding: Type,
    dilation: Type,
    groups: Type,
) {
    let Type::Tensor(kernels) = weight else { return };
    if kernels.shape.rank() != n + 2 {
        return;
    }
    if let Some((channels, outs, groups)) = channels(cx, op, x, weight, groups) {
        if outs % groups != 0 {
            cx.error(does_not_divide(op, groups, outs).str(" output channels"));
        } else if let Some(expected) = kernels.shape.dim(1).get()
            && expected.saturating_mul(groups) != channels
        {
            let message = Message::new().str(op).str(": the weight ").shape(kernels.shape);
            let message = if groups == 1 { message } else { message.str(" in ").num(groups).str(" groups") };
            cx.error(
                message
                    .str(" takes ")
                    .num(expected.saturating_mul(groups))
                    .str(" channels, the input has ")
                    .num(channels),
            );
        }
    }
    slides(cx, op, n, x, Type::Dims(kernels.shape.range(2, n + 2)), stride, padding, dilation);
}

/// What a transposed convolution needs of its channels and of what it adds.
#[track_caller]
#[allow(clippy::too_many_arguments)]
const fn transposed(
    cx: &mut Check,
    op: &str,
    n: usize,
    x: Type,
    weight: Type,
    stride: Type,
    _padding: Type,
    output_padding: Type,
    groups: Type,
    dilation: Type,
) {
    let mut i = 0;
    while i < n {
        if let (Some(more), Some(stride), Some(dilation)) =
            (known(output_padding, i), known(stride, i), known(dilation, i))
            && more >= stride
            && more >= dilation
        {
            let message = Message::new().str(op).str(": an output padding of ").num(more);
            cx.error(message.str(" must be below the stride, ").num(stride).str(", or the dilation, ").num(dilation));
            return;
        }
        i += 1;
    }
    let Some((channels, expected, _)) = channels(cx, op, x, weight, groups) else { return };
    let Type::Tensor(weight) = weight else { return };
    if expected != channels {
        let message = Message::new().str(op).str(": the weight ").shape(weight.shape).str(" takes ").num(expected);
        cx.error(message.str(" channels, the input has ").num(channels));
    }
}

/// The channels of the input, the outermost size of the weight and the groups, where they are known and
/// the groups divide the channels.
#[track_caller]
const fn channels(cx: &mut Check, op: &str, x: Type, weight: Type, groups: Type) -> Option<(isize, isize, isize)> {
    let (Type::Tensor(x), Type::Tensor(weight)) = (x, weight) else { return None };
    if x.shape.rank() < 2 || weight.shape.rank() < 2 {
        return None;
    }
    let (Some(channels), Some(outs), Some(groups)) =
        (x.shape.dim(1).get(), weight.shape.dim(0).get(), known(groups, 0))
    else {
        return None;
    };
    if groups < 1 {
        cx.error(Message::new().str(op).str(": there is at least 1 group"));
        return None;
    }
    if channels % groups != 0 {
        cx.error(does_not_divide(op, groups, channels).str(" channels"));
        return None;
    }
    Some((channels, outs, groups))
}

const fn does_not_divide(op: &str, groups: isize, channels: isize) -> Message {
    Message::new().str(op).str(": ").num(groups).str(" groups do not divide ").num(channels)
}

/// The operations with a number for each axis.
mod each {
    use crate::network;
    use crate::ops::*;

    #[network(track_caller)]
    pub fn conv1d(
        x: Tensor<B, C, L>,
        weight: Tensor<O, I, K>,
        stride: usize,
        padding: usize,
        dilation: usize,
        groups: usize,
    ) -> Tensor {
        // A sequence is an image of one row.
        let x = in_groups(unsqueeze(pad_windows(x, 2, K, stride, padding, dilation, false, 0.0), 2), groups);
        let y = convolve(x, reshape(weight, [groups, O / groups, I, 1, K]), 1, stride, 1, dilation);
        flatten(flatten(y, 2, 3), 1, 2)
    }

    #[network(track_caller)]
    pub fn conv2d(
        x: Tensor<B, C, H, W>,
        weight: Tensor<O, I, K, L>,
        stride_h: usize,
        stride_w: usize,
        padding_h: usize,
        padding_w: usize,
        dilation_h: usize,
        dilation_w: usize,
        groups: usize,
    ) -> Tensor {
        let x = pad_windows(x, 3, L, stride_w, padding_w, dilation_w, false, 0.0);
        let x = pad_windows(x, 2, K, stride_h, padding_h, dilation_h, false, 0.0);
        let weight = reshape(weight, [groups, O / groups, I, K, L]);
        flatten(convolve(in_groups(x, groups), weight, stride_h, stride_w, dilation_h, dilation_w), 1, 2)
    }

    #[network(track_caller)]
    fn in_groups(x: Tensor<B, C, H, W>, groups: usize) -> Tensor {
        reshape(x, [B, groups, C / groups, H, W])
    }

    #[network(track_caller)]
    pub fn conv_transpose1d(
        x: Tensor<B, C, L>,
        weight: Tensor<C, O, K>,
        stride: usize,
        padding: usize,
        output_padding: usize,
        groups: usize,
        dilation: usize,
    ) -> Tensor {
        // What each element of each group adds, at each place of the kernel.
        let x = permute(reshape(x, [B, groups, C / groups, L]), [1, 0, 3, 2]);
        let y = matmul(reshape(x, [groups, B * L, C / groups]), reshape(weight, [groups, C / groups, O * K]));
        let y = permute(reshape(y, [groups, B, L, O, K]), [1, 0, 3, 2, 4]);
        let n = (L - 1) * stride + (K - 1) * dilation + output_padding + 1;
        let y = slice(overlap(y, 3, n, stride, dilation), 3, padding, n - padding);
        flatten(y, 1, 2)
    }

    #[network(track_caller)]
    pub fn conv_transpose2d(
        x: Tensor<B, C, H, W>,
        weight: Tensor<C, O, K, L>,
        stride_h: usize,
        stride_w: usize,
        padding_h: usize,
        padding_w: usize,
        output_padding_h: usize,
        output_padding_w: usize,
        groups: usize,
        dilation_h: usize,
        dilation_w: usize,
    ) -> Tensor {
        let x = permute(reshape(x, [B, groups, C / groups, H, W]), [1, 0, 3, 4, 2]);
        let y = matmul(reshape(x, [groups, B * H * W, C / groups]), reshape(weight, [groups, C / groups, O * K * L]));
        let y = permute(reshape(y, [groups, B, H, W, O, K, L]), [1, 0, 4, 2, 5, 3, 6]);
        let w = (W - 1) * stride_w + (L - 1) * dilation_w + output_padding_w + 1;
        let y = slice(overlap(y, 5, w, stride_w, dilation_w), 5, padding_w, w - padding_w);
        let h = (H - 1) * stride_h + (K - 1) * dilation_h + output_padding_h + 1;
        let y = slice(overlap(y, 3, h, stride_h, dilation_h), 3, padding_h, h - padding_h);
        flatten(y, 1, 2)
    }
}
