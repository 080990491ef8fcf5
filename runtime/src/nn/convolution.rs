//! Convolution and pooling over images, `[batch, channels, height, width]`.

use crate::network;
use crate::ops::*;

/// The cross-correlation of images with kernels, PyTorch's `conv2d`: `[B, C, H, W]` and
/// `[O, C, K, L]` give `[B, O, (H + 2 padding − K) / stride + 1, …]`. Zeros are added at all sides.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let weight = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 0.0, 0.0, 1.0])?);
/// let y = conv2d::stage(&mut g, x, weight, 1, 0);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [5.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn conv2d(x: Tensor<B, C, H, W>, weight: Tensor<O, C, K, L>, stride: usize, padding: usize) -> Tensor {
    let x = pad(pad(x, 2, padding, padding), 3, padding, padding);
    let y = convolve(unsqueeze(x, 1), unsqueeze(weight, 0), stride, stride, 1, 1);
    flatten(y, 1, 2)
}

/// The largest element of each window of `size` by `size`, `stride` apart.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = max_pool2d::stage(&mut g, x, 2, 2);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [4.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn max_pool2d(x: Tensor<B, C, H, W>, size: usize, stride: usize) -> Tensor {
    max_axes(windows(windows(x, 3, size, stride, 1), 2, size, stride, 1), [3, 5])
}

/// The mean of each window of `size` by `size`, `stride` apart.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = avg_pool2d::stage(&mut g, x, 2, 2);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1], [2.5])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn avg_pool2d(x: Tensor<B, C, H, W>, size: usize, stride: usize) -> Tensor {
    let area = size as f32 * size as f32;
    sum_axes(windows(windows(x, 3, size, stride, 1), 2, size, stride, 1), [3, 5]) / area
}

/// A convolution of `I` channels to `O` with kernels of `K` by `K`; the weight is `[O, I, K, K]`. It
/// starts as PyTorch's does, uniform within ±1/√(I K²), and so does the bias. Options and their
/// defaults: `stride = 1`, `padding = 0`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(padding = 1)]
///     conv: Conv2d<3, 8, 3>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 3, 5, 5], vec![0.5; 150])?)?;
/// assert_eq!(y.shape(), [2, 8, 5, 5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Conv2d<const I: usize, const O: usize, const K: usize> {
    /// `[O, I, K, K]`.
    #[init(fan_in(I * K * K))]
    pub weight: Param<O, I, K, K>,
    /// `[O]`.
    #[init(fan_in(I * K * K))]
    pub bias: Option<Param<O>>,
    /// How far kernels move.
    #[option(1)]
    pub stride: usize,
    /// Zeros added at each side.
    #[option(0)]
    pub padding: usize,
}

#[network(track_caller)]
impl<const I: usize, const O: usize, const K: usize> Conv2d<I, O, K> {
    /// Images of `I` channels to images of `O`.
    pub fn forward(&self, x: Tensor<B, I, H, W>) -> Tensor {
        let y = conv2d(x, self.weight, self.stride, self.padding);
        if self.bias.is_some() { y + reshape(self.bias, [O, 1, 1]) } else { y }
    }
}

/// [`max_pool2d`] of windows of `K` by `K` that do not overlap, as a layer.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     conv: Conv2d<1, 2, 3>,
///     pool: MaxPool2d<2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 1, 6, 6], vec![0.5; 36])?)?;
/// assert_eq!(y.shape(), [1, 2, 2, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct MaxPool2d<const K: usize> {}

#[network(track_caller)]
impl<const K: usize> MaxPool2d<K> {
    /// Images to smaller images.
    pub fn forward(&self, x: Tensor<B, C, H, W>) -> Tensor {
        max_pool2d(x, K, K)
    }
}

/// All axes but the first as one, as a layer between images and [`Linear`](crate::nn::Linear).
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     flat: Flatten,
///     out: Linear<12, 2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([5, 3, 2, 2], vec![0.5; 60])?)?;
/// assert_eq!(y.shape(), [5, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Flatten;

#[network(track_caller)]
impl Flatten {
    /// `[B, ..]` to `[B, features]`.
    pub fn forward(&self, x: Tensor) -> Tensor {
        flatten(x, 1, -1)
    }
}
