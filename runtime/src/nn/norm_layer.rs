//! Layers of normalisation over groups and channels, and by the mean square.

use super::norm::{group_norm, instance_norm, rms_norm};
use crate::network;
use crate::ops::*;

/// [`group_norm`] of `C` channels in `GROUPS` groups, times a weight that starts at one, plus a bias that
/// starts at zero, as PyTorch's `GroupNorm(GROUPS, C)`. Options and their defaults: `eps = 1e-5`,
/// `weight = true`, `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     conv: Conv2d<1, 4, 3>,
///     norm: GroupNorm<2, 4>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
/// assert_eq!(y.shape(), [1, 4, 3, 3]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct GroupNorm<const GROUPS: usize, const C: usize> {
    /// `[C]`.
    #[init(ones)]
    pub weight: Option<Param<C>>,
    /// `[C]`.
    #[init(zeros)]
    pub bias: Option<Param<C>>,
    /// Added to the variance.
    #[option(1e-5)]
    pub eps: f32,
}

#[network(track_caller)]
impl<const GROUPS: usize, const C: usize> GroupNorm<GROUPS, C> {
    /// `[B, C, ..]` to the same shape.
    pub fn forward(&self, x: Tensor) -> Tensor {
        let y = group_norm(x, GROUPS, self.eps);
        let y = if self.weight.is_some() { y * per_channel(self.weight, x) } else { y };
        if self.bias.is_some() { y + per_channel(self.bias, x) } else { y }
    }
}

/// [`instance_norm`] of images of `C` channels, without parameters, as PyTorch's `InstanceNorm2d(C)` has none
/// either; `GroupNorm<C, C>` is the same with weight and bias. Option and its default: `eps = 1e-5`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     conv: Conv2d<1, 4, 3>,
///     norm: InstanceNorm2d<4>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
/// assert_eq!(y.shape(), [1, 4, 3, 3]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct InstanceNorm2d<const C: usize> {
    /// Added to the variance.
    #[option(1e-5)]
    pub eps: f32,
}

#[network(track_caller)]
impl<const C: usize> InstanceNorm2d<C> {
    /// Images to images of the same size.
    pub fn forward(&self, x: Tensor<B, C, H, W>) -> Tensor<B, C, H, W> {
        instance_norm(x, self.eps)
    }
}

/// [`rms_norm`] over the last axis, times a weight that starts at one, as PyTorch's `RMSNorm(D)`. Options and
/// their defaults: `eps = 1.1920929e-7`, the machine epsilon, and `weight = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     norm: RmsNorm<2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 2], [3.0, 3.0])?)?;
/// assert!((y.data()[0] - 1.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct RmsNorm<const D: usize> {
    /// `[D]`.
    #[init(ones)]
    pub weight: Option<Param<D>>,
    /// Added to the mean square.
    #[option(f32::EPSILON)]
    pub eps: f32,
}

#[network(track_caller)]
impl<const D: usize> RmsNorm<D> {
    /// Any number of outer axes, then `D` features.
    pub fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
        let y = rms_norm(x, -1, self.eps);
        if self.weight.is_some() { y * self.weight } else { y }
    }
}
