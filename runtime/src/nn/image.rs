//! What else is done to images: other sizes, borders, flat rows.

use crate::network;
use crate::ops::*;

/// Images of `height` by `width`, each element a copy of the nearest one below: PyTorch's `interpolate` in the mode
/// `nearest`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 1, 2], [1.0, 2.0])?);
/// let y = upsample_nearest2d::stage(&mut g, x, 1, 4);
/// assert_eq!(g.value(y)?.data(), [1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn upsample_nearest2d(x: Tensor<[N], H, W>, height: usize, width: usize) -> Tensor {
    resize_nearest(resize_nearest(x, -1, width, 0.0), -2, height, 0.0)
}

/// Images of `height` by `width`, each element between its four neighbours: PyTorch's `interpolate` in the mode
/// `bilinear`. With `align_corners` the elements in the corners stay where they are.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 1, 2], [1.0, 2.0])?);
/// let y = upsample_bilinear2d::stage(&mut g, x, 1, 4, false);
/// assert_eq!(g.value(y)?.data(), [1.0, 1.25, 1.75, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn upsample_bilinear2d(x: Tensor<[N], H, W>, height: usize, width: usize, align_corners: bool) -> Tensor {
    resize_linear(resize_linear(x, -1, width, align_corners, 0.0), -2, height, align_corners, 0.0)
}

/// Images `S` times as large, PyTorch's `Upsample(scale_factor=S)`. Options and their defaults:
/// `bilinear = false`, which is the mode `nearest`, and `align_corners = false` for the other.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     conv: Conv2d<1, 2, 3>,
///     #[layer(bilinear = true)]
///     up: Upsample<2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
/// assert_eq!(y.shape(), [1, 2, 6, 6]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Upsample<const S: usize> {
    /// Whether elements are interpolated.
    #[option(false)]
    pub bilinear: bool,
    /// Whether the elements in the corners stay where they are.
    #[option(false)]
    pub align_corners: bool,
}

#[network(track_caller)]
impl<const S: usize> Upsample<S> {
    /// Images to larger images.
    pub fn forward(&self, x: Tensor<B, C, H, W>) -> Tensor<B, C, { H * S }, { W * S }> {
        if self.bilinear {
            upsample_bilinear2d(x, H * S, W * S, self.align_corners)
        } else {
            upsample_nearest2d(x, H * S, W * S)
        }
    }
}

/// A padding layer: its documentation, its name and its operation.
macro_rules! padding_layer {
    ($(#[$doc:meta])* $name:ident, $op:ident) => {
        $(#[$doc])*
        #[network(track_caller)]
        pub struct $name<const P: usize>;

        #[network(track_caller)]
        impl<const P: usize> $name<P> {
            /// Images to larger images.
            pub fn forward(&self, x: Tensor) -> Tensor {
                $op($op(x, -2, P, P), -1, P, P)
            }
        }
    };
}

padding_layer! {
    /// `P` zeros at all sides of images, as a layer.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     pad: ZeroPad2d<1>,
    ///     conv: Conv2d<1, 2, 3>,
    /// }
    ///
    /// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
    /// assert_eq!(y.shape(), [1, 2, 5, 5]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ZeroPad2d, pad
}

padding_layer! {
    /// `P` mirrored elements at all sides of images ([`pad_reflect`]), as a layer.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     pad: ReflectionPad2d<1>,
    ///     conv: Conv2d<1, 2, 3>,
    /// }
    ///
    /// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
    /// assert_eq!(y.shape(), [1, 2, 5, 5]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ReflectionPad2d, pad_reflect
}

padding_layer! {
    /// The outermost elements repeated `P` times at all sides of images ([`pad_replicate`]), as a layer.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     pad: ReplicationPad2d<1>,
    ///     conv: Conv2d<1, 2, 3>,
    /// }
    ///
    /// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
    /// assert_eq!(y.shape(), [1, 2, 5, 5]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ReplicationPad2d, pad_replicate
}

padding_layer! {
    /// `P` elements from the opposite side at all sides of images ([`pad_circular`]), as a layer.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     pad: CircularPad2d<1>,
    ///     conv: Conv2d<1, 2, 3>,
    /// }
    ///
    /// let y = Net::init(0).forward(&Tensor::new([1, 1, 5, 5], vec![0.5; 25])?)?;
    /// assert_eq!(y.shape(), [1, 2, 5, 5]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    CircularPad2d, pad_circular
}

/// All axes but the first as one, as a layer between images and [`Linear`](super::Linear).
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
