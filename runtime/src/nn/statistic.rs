//! Means and what is built on them.

use super::activation::relu;
use super::math::reciprocal;
use super::operation::operation;
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// The mean of all elements.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 6.0])?);
/// let y = mean::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mean(x: Tensor) -> Tensor {
    sum(x) / count(x)
}

/// The mean over axes, which are removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 6.0])?);
/// let y = mean_axes::stage(&mut g, x, [-1]);
/// assert_eq!(g.value(y)?, Tensor::new([2], [1.5, 4.5])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mean_axes(x: Tensor, axes: [isize]) -> Tensor {
    sum_axes(x, axes) / size(x, axes)
}

/// The mean over one axis or several, which stay with size one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 6.0])?);
/// let y = mean_keepdim::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?, Tensor::new([2, 1], [1.5, 4.5])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mean_keepdim(x: Tensor, axes: [isize]) -> Tensor {
    sum_keepdim(x, axes) / size(x, axes)
}

/// The logarithm of the sum of exponentials over one axis or several, which are removed. The maximum is
/// taken off first, so that large numbers do not overflow. Where it is infinite, it is the result: then elements that are
/// ∞ share the gradient, and where all are −∞ there is none.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1000.0, 1000.0])?);
/// let y = logsumexp::stage(&mut g, x, -1);
/// assert!((g.value(y)?.data()[0] - 1000.693_1).abs() < 1e-3);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn logsumexp(x: Tensor, axes: [isize]) -> Tensor {
    squeeze(logsumexp_keepdim(x, axes), axes)
}

operation! {
    /// [`logsumexp`] with axes that stay with size one.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 2], [1000.0, 1000.0])?);
    /// let y = logsumexp_keepdim::stage(&mut g, x, [0, 1]);
    /// assert_eq!(g.value(y)?.shape(), [1, 1]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    logsumexp_keepdim(x, axes;) = exponentials::logsumexp_keepdim;
    |g, dout| {
        let share = exponentials::shares::stage(g, x, axes);
        let (Some(dout), Some(share)) = (dout, g.operand(share)) else { return (None, None) };
        (Some(g.scale(dout, share)), None)
    }
}

mod exponentials {
    use super::*;

    /// Exponentials over that of the largest one. An infinite maximum has no distance from itself.
    #[network(track_caller)]
    fn of_distances(x: Tensor, axes: [isize]) -> Tensor {
        let largest = max_keepdim(x, axes);
        exp(select(x == largest, 0.0, x - largest))
    }

    #[network(track_caller)]
    pub fn logsumexp_keepdim(x: Tensor, axes: [isize]) -> Tensor {
        log(sum_keepdim(of_distances(x, axes), axes)) + max_keepdim(x, axes)
    }

    /// The share that each element has in the sum; none where all of them are 0.
    #[network]
    pub fn shares(x: Tensor, axes: [isize]) -> Tensor {
        let e = of_distances(x, axes);
        select(max_keepdim(x, axes) == f32::NEG_INFINITY, 0.0, e * reciprocal(sum_keepdim(e, axes)))
    }
}

/// The variance over one axis or several, which are removed: the sum of squared distances from the mean
/// over the number of elements less `correction` (1 for a sample, 0 for all there is).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = variance::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "var")]
pub fn variance(x: Tensor, axes: [isize], correction: f32) -> Tensor {
    squeeze(variance_keepdim(x, axes, correction), axes)
}

/// [`variance`] with axes that stay with size one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = variance_keepdim::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?, Tensor::new([1], [1.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn variance_keepdim(x: Tensor, axes: [isize], correction: f32) -> Tensor {
    let centred = x - mean_keepdim(x, axes);
    sum_keepdim(centred * centred, axes) / relu(size(x, axes) - correction)
}

/// The square root; its gradient at zero is zero, as PyTorch has it for deviations and norms.
#[network(track_caller)]
pub(super) fn root(x: Tensor) -> Tensor {
    select(x == 0.0, 0.0, sqrt(x))
}

/// The standard deviation over one axis or several, which are removed: the root of the [`variance`]. Its gradient
/// is zero where all numbers are equal.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = deviation::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "std")]
pub fn deviation(x: Tensor, axes: [isize], correction: f32) -> Tensor {
    squeeze(deviation_keepdim(x, axes, correction), axes)
}

/// [`deviation`] with axes that stay with size one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let y = deviation_keepdim::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(y)?, Tensor::new([1], [1.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn deviation_keepdim(x: Tensor, axes: [isize], correction: f32) -> Tensor {
    root(variance_keepdim(x, axes, correction))
}

/// The [`variance`] and the mean over one axis or several, which are removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let (variance, mean) = var_mean::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(variance)?.data(), [1.0]);
/// assert_eq!(g.value(mean)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn var_mean(x: Tensor, axes: [isize], correction: f32) -> (Tensor, Tensor) {
    (variance(x, axes, correction), mean_axes(x, axes))
}

/// The standard [`deviation`] and the mean over one axis or several, which are removed.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 3.0, 5.0])?);
/// let (deviation, mean) = std_mean::stage(&mut g, x, -1, 1.0);
/// assert_eq!(g.value(deviation)?.data(), [2.0]);
/// assert_eq!(g.value(mean)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn std_mean(x: Tensor, axes: [isize], correction: f32) -> (Tensor, Tensor) {
    (deviation(x, axes, correction), mean_axes(x, axes))
}

/// The cosine of the angle between the vectors along an axis, which is removed; lengths count as at least
/// `eps` (PyTorch: 1e-8).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = cosine_similarity::stage(&mut g, a, a, -1, 1e-8);
/// assert!((g.value(y)?.data()[0] - 1.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cosine_similarity(a: Tensor, b: Tensor, axis: isize, eps: f32) -> Tensor {
    let product = sum_axes(a * b, [axis]);
    let length_a = sqrt(sum_axes(a * a, [axis]));
    let length_b = sqrt(sum_axes(b * b, [axis]));
    product / (select(length_a < eps, eps, length_a) * select(length_b < eps, eps, length_b))
}
