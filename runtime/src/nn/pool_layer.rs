//! Layers of pooling.

use super::pooling::*;
use crate::network;

/// [`max_pool1d`] over windows of `K` elements, as a layer. Options and their defaults: `stride = K`,
/// `padding = 0`, `dilation = 1`, `ceil_mode = false`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     pool: MaxPool1d<2>,
///     flat: Flatten,
///     out: Linear<3, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 6], vec![0.5; 12])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct MaxPool1d<const K: usize> {
    /// How far windows move.
    #[option(K)]
    pub stride: usize,
    /// How much is added at each side.
    #[option(0)]
    pub padding: usize,
    /// How far apart the elements of a window are.
    #[option(1)]
    pub dilation: usize,
    /// Whether a last window may reach beyond the padding.
    #[option(false)]
    pub ceil_mode: bool,
}

#[network(track_caller)]
impl<const K: usize> MaxPool1d<K> {
    /// Sequences to shorter sequences.
    pub fn forward(&self, x: Tensor) -> Tensor {
        max_pool1d(x, K, self.stride, self.padding, self.dilation, self.ceil_mode)
    }
}

/// [`avg_pool1d`] over windows of `K` elements, as a layer. Options and their defaults: `stride = K`,
/// `padding = 0`, `ceil_mode = false`, `count_include_pad = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(stride = 1, padding = 1)]
///     pool: AvgPool1d<3>,
///     flat: Flatten,
///     out: Linear<6, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 6], vec![0.5; 12])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct AvgPool1d<const K: usize> {
    /// How far windows move.
    #[option(K)]
    pub stride: usize,
    /// How much is added at each side.
    #[option(0)]
    pub padding: usize,
    /// Whether a last window may reach beyond the padding.
    #[option(false)]
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count.
    #[option(true)]
    pub count_include_pad: bool,
}

#[network(track_caller)]
impl<const K: usize> AvgPool1d<K> {
    /// Sequences to shorter sequences.
    pub fn forward(&self, x: Tensor) -> Tensor {
        avg_pool1d(x, K, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
    }
}

/// [`max_pool2d`] over windows of `K` by `K` elements, as a layer. Options and their defaults: `stride = K`,
/// `padding = 0`, `dilation = 1`, `ceil_mode = false`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     pool: MaxPool2d<2>,
///     flat: Flatten,
///     out: Linear<9, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 6, 6], vec![0.5; 72])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct MaxPool2d<const K: usize> {
    /// How far windows move.
    #[option(K)]
    pub stride: usize,
    /// How much is added at each side.
    #[option(0)]
    pub padding: usize,
    /// How far apart the elements of a window are.
    #[option(1)]
    pub dilation: usize,
    /// Whether a last window may reach beyond the padding.
    #[option(false)]
    pub ceil_mode: bool,
}

#[network(track_caller)]
impl<const K: usize> MaxPool2d<K> {
    /// Images to smaller images.
    pub fn forward(&self, x: Tensor) -> Tensor {
        max_pool2d(x, K, self.stride, self.padding, self.dilation, self.ceil_mode)
    }
}

/// [`avg_pool2d`] over windows of `K` by `K` elements, as a layer. Options and their defaults: `stride = K`,
/// `padding = 0`, `ceil_mode = false`, `count_include_pad = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(stride = 1, padding = 1)]
///     pool: AvgPool2d<3>,
///     flat: Flatten,
///     out: Linear<36, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 6, 6], vec![0.5; 72])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct AvgPool2d<const K: usize> {
    /// How far windows move.
    #[option(K)]
    pub stride: usize,
    /// How much is added at each side.
    #[option(0)]
    pub padding: usize,
    /// Whether a last window may reach beyond the padding.
    #[option(false)]
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count.
    #[option(true)]
    pub count_include_pad: bool,
}

#[network(track_caller)]
impl<const K: usize> AvgPool2d<K> {
    /// Images to smaller images.
    pub fn forward(&self, x: Tensor) -> Tensor {
        avg_pool2d(x, K, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
    }
}

/// [`adaptive_avg_pool2d`] to images of `H` by `W`, as a layer.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     pool: AdaptiveAvgPool2d<2, 3>,
///     flat: Flatten,
///     out: Linear<6, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 5, 4], vec![0.5; 40])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct AdaptiveAvgPool2d<const H: usize, const W: usize>;

#[network(track_caller)]
impl<const H: usize, const W: usize> AdaptiveAvgPool2d<H, W> {
    /// Images of any size to images of `H` by `W`.
    pub fn forward(&self, x: Tensor) -> Tensor {
        adaptive_avg_pool2d(x, H, W)
    }
}

/// [`adaptive_max_pool2d`] to images of `H` by `W`, as a layer.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     pool: AdaptiveMaxPool2d<2, 3>,
///     flat: Flatten,
///     out: Linear<6, 1>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 1, 5, 4], vec![0.5; 40])?)?;
/// assert_eq!(y.shape(), [2, 1]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct AdaptiveMaxPool2d<const H: usize, const W: usize>;

#[network(track_caller)]
impl<const H: usize, const W: usize> AdaptiveMaxPool2d<H, W> {
    /// Images of any size to images of `H` by `W`.
    pub fn forward(&self, x: Tensor) -> Tensor {
        adaptive_max_pool2d(x, H, W)
    }
}
