//! Layers of convolution.

use super::convolution::{conv_transpose1d, conv_transpose2d, conv1d, conv2d};
use crate::network;
use crate::network::init::Init;
use crate::ops::*;

/// Other starts of the parameters of a layer.
macro_rules! starts {
    ($name:ident) => {
        impl $name {
            /// Another start of the weight: `#[layer(weight_init = init::normal(0.02))]`.
            pub const fn weight_init(mut self, init: Init) -> Self {
                self.weight = self.weight.starting(init);
                self
            }

            /// Another start of the bias: `#[layer(bias_init = init::zeros)]`.
            pub const fn bias_init(mut self, init: Init) -> Self {
                self.bias = self.bias.starting(init);
                self
            }
        }
    };
}

/// A convolution of `I` channels to `O` with kernels of `K` elements, PyTorch's `Conv1d`; the weight is
/// `[O, I / groups, K]`. It starts as PyTorch's does, uniform within ±1/√(I K / groups), and so does the
/// bias. Options and their defaults: `stride = 1`, `padding = 0`, `dilation = 1`, `groups = 1`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(padding = 1, groups = 3)]
///     conv: Conv1d<3, 6, 3>,
/// }
///
/// let model = Net::init(0);
/// assert_eq!(model.get("conv.weight")?.shape(), [6, 1, 3]);
/// let y = model.forward(&Tensor::new([2, 3, 5], vec![0.5; 30])?)?;
/// assert_eq!(y.shape(), [2, 6, 5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Conv1d<const I: usize, const O: usize, const K: usize> {
    /// `[O, I / groups, K]`.
    #[init(fan_in(I / groups * K))]
    pub weight: Param<O, { I / groups }, K>,
    /// `[O]`.
    #[init(fan_in(I / groups * K))]
    pub bias: Option<Param<O>>,
    /// How far kernels move.
    #[option(1)]
    pub stride: usize,
    /// Zeros added at each side.
    #[option(0)]
    pub padding: usize,
    /// How far apart the elements are that a kernel meets.
    #[option(1)]
    pub dilation: usize,
    /// Parts of the channels that do not mix.
    #[option(1)]
    pub groups: usize,
}

#[network(track_caller)]
impl<const I: usize, const O: usize, const K: usize> Conv1d<I, O, K> {
    /// Sequences of `I` channels to sequences of `O`.
    pub fn forward(&self, x: Tensor<B, I, L>) -> Tensor {
        let y = conv1d(x, self.weight, self.stride, self.padding, self.dilation, self.groups);
        if self.bias.is_some() { y + reshape(self.bias, [O, 1]) } else { y }
    }
}

starts!(Conv1d);

/// A transposed convolution of `I` channels to `O` with kernels of `K` elements, PyTorch's `ConvTranspose1d`; the
/// weight is `[I, O / groups, K]`. It starts as PyTorch's does, uniform within ±1/√(O K / groups), and so
/// does the bias. Options and their defaults: `stride = 1`, `padding = 0`, `output_padding = 0`, `groups = 1`,
/// `dilation = 1`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(stride = 2)]
///     up: ConvTranspose1d<6, 3, 2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 6, 4], vec![0.5; 48])?)?;
/// assert_eq!(y.shape(), [2, 3, 8]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct ConvTranspose1d<const I: usize, const O: usize, const K: usize> {
    /// `[I, O / groups, K]`.
    #[init(fan_in(O / groups * K))]
    pub weight: Param<I, { O / groups }, K>,
    /// `[O]`.
    #[init(fan_in(O / groups * K))]
    pub bias: Option<Param<O>>,
    /// How far apart the kernels are laid.
    #[option(1)]
    pub stride: usize,
    /// Elements taken away at each side.
    #[option(0)]
    pub padding: usize,
    /// Elements added at the end of each axis.
    #[option(0)]
    pub output_padding: usize,
    /// Parts of the channels that do not mix.
    #[option(1)]
    pub groups: usize,
    /// How far apart the elements of a kernel are laid.
    #[option(1)]
    pub dilation: usize,
}

#[network(track_caller)]
impl<const I: usize, const O: usize, const K: usize> ConvTranspose1d<I, O, K> {
    /// Sequences of `I` channels to sequences of `O`.
    pub fn forward(&self, x: Tensor<B, I, L>) -> Tensor {
        let y = conv_transpose1d(
            x,
            self.weight,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        );
        if self.bias.is_some() { y + reshape(self.bias, [O, 1]) } else { y }
    }
}

starts!(ConvTranspose1d);

/// A convolution of `I` channels to `O` with kernels of `K` by `K`, PyTorch's `Conv2d`; the weight is
/// `[O, I / groups, K, K]`. It starts as PyTorch's does, uniform within ±1/√(I K² / groups), and so does the
/// bias. Options and their defaults: `stride = 1`, `padding = 0`, `dilation = 1`, `groups = 1`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(padding = 1, groups = 3)]
///     conv: Conv2d<3, 6, 3>,
/// }
///
/// let model = Net::init(0);
/// assert_eq!(model.get("conv.weight")?.shape(), [6, 1, 3, 3]);
/// let y = model.forward(&Tensor::new([2, 3, 5, 5], vec![0.5; 150])?)?;
/// assert_eq!(y.shape(), [2, 6, 5, 5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Conv2d<const I: usize, const O: usize, const K: usize> {
    /// `[O, I / groups, K, K]`.
    #[init(fan_in(I / groups * K * K))]
    pub weight: Param<O, { I / groups }, K, K>,
    /// `[O]`.
    #[init(fan_in(I / groups * K * K))]
    pub bias: Option<Param<O>>,
    /// How far kernels move.
    #[option(1)]
    pub stride: usize,
    /// Zeros added at each side.
    #[option(0)]
    pub padding: usize,
    /// How far apart the elements are that a kernel meets.
    #[option(1)]
    pub dilation: usize,
    /// Parts of the channels that do not mix.
    #[option(1)]
    pub groups: usize,
}

#[network(track_caller)]
impl<const I: usize, const O: usize, const K: usize> Conv2d<I, O, K> {
    /// Images of `I` channels to images of `O`.
    pub fn forward(&self, x: Tensor<B, I, H, W>) -> Tensor {
        let y = conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups);
        if self.bias.is_some() { y + reshape(self.bias, [O, 1, 1]) } else { y }
    }
}

starts!(Conv2d);

/// A transposed convolution of `I` channels to `O` with kernels of `K` by `K`, PyTorch's `ConvTranspose2d`; the
/// weight is `[I, O / groups, K, K]`. It starts as PyTorch's does, uniform within ±1/√(O K² / groups), and so
/// does the bias. Options and their defaults: `stride = 1`, `padding = 0`, `output_padding = 0`, `groups = 1`,
/// `dilation = 1`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(stride = 2)]
///     up: ConvTranspose2d<6, 3, 2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 6, 4, 4], vec![0.5; 192])?)?;
/// assert_eq!(y.shape(), [2, 3, 8, 8]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct ConvTranspose2d<const I: usize, const O: usize, const K: usize> {
    /// `[I, O / groups, K, K]`.
    #[init(fan_in(O / groups * K * K))]
    pub weight: Param<I, { O / groups }, K, K>,
    /// `[O]`.
    #[init(fan_in(O / groups * K * K))]
    pub bias: Option<Param<O>>,
    /// How far apart the kernels are laid.
    #[option(1)]
    pub stride: usize,
    /// Elements taken away at each side.
    #[option(0)]
    pub padding: usize,
    /// Elements added at the end of each axis.
    #[option(0)]
    pub output_padding: usize,
    /// Parts of the channels that do not mix.
    #[option(1)]
    pub groups: usize,
    /// How far apart the elements of a kernel are laid.
    #[option(1)]
    pub dilation: usize,
}

#[network(track_caller)]
impl<const I: usize, const O: usize, const K: usize> ConvTranspose2d<I, O, K> {
    /// Images of `I` channels to images of `O`.
    pub fn forward(&self, x: Tensor<B, I, H, W>) -> Tensor {
        let y = conv_transpose2d(
            x,
            self.weight,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        );
        if self.bias.is_some() { y + reshape(self.bias, [O, 1, 1]) } else { y }
    }
}

starts!(ConvTranspose2d);
