//! Normalisation without parameters.

use super::math::{reciprocal, rsqrt};
use super::operation::{closed, operation};
use super::per_axis::{known, part, part_type, per_axis};
use super::statistic::mean_keepdim;
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Message, Type};

closed! {
    /// Each row along an axis less its mean, over the square root of its variance plus `eps`: the part without
    /// parameters of layer, group and instance normalisation.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 3.0])?);
    /// let y = standardize::stage(&mut g, x, -1, 0.0);
    /// assert_eq!(g.value(y)?.data(), [-1.0, 1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    standardize(x; axis: isize, eps: f32) = forward::standardize, standardize_gradient;
}

closed! {
    /// Each row along an axis over the root of its mean square plus `eps` (Zhang and Sennrich,
    /// arXiv:1910.07467).
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [3.0, 3.0])?);
    /// let y = rms_norm::stage(&mut g, x, -1, 0.0);
    /// assert_eq!(g.value(y)?.data(), [1.0, 1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    rms_norm(x; axis: isize, eps: f32) = forward::rms_norm, rms_norm_gradient;
}

mod forward {
    use super::*;

    #[network(track_caller)]
    pub fn standardize(x: Tensor, axis: isize, eps: f32) -> Tensor {
        let centred = x - mean_keepdim(x, axis);
        centred * inverse_root(centred, axis, eps)
    }

    #[network(track_caller)]
    pub fn rms_norm(x: Tensor, axis: isize, eps: f32) -> Tensor {
        x * inverse_root(x, axis, eps)
    }
}

/// One over the root of the mean square plus `eps`.
#[network(track_caller)]
fn inverse_root(x: Tensor, axis: isize, eps: f32) -> Tensor {
    rsqrt(mean_keepdim(x * x, axis) + eps)
}

/// With r one over the deviation: r (dy - mean dy - y mean(y dy)).
#[network]
fn standardize_gradient(x: Tensor, y: Tensor, dout: Tensor, axis: isize, eps: f32) -> Tensor {
    let r = inverse_root(x - mean_keepdim(x, axis), axis, eps);
    r * (dout - mean_keepdim(dout, axis) - y * mean_keepdim(y * dout, axis))
}

/// With r one over the root of the mean square: r (dy - y mean(y dy)).
#[network]
fn rms_norm_gradient(x: Tensor, y: Tensor, dout: Tensor, axis: isize, eps: f32) -> Tensor {
    inverse_root(x, axis, eps) * (dout - y * mean_keepdim(y * dout, axis))
}

/// Each row along an axis over its Euclidean length, which counts as at least `eps` (PyTorch: 1e-12).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = normalize::stage(&mut g, x, -1, 1e-12);
/// assert!((g.value(y)?.data()[0] - 0.6).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn normalize(x: Tensor, axis: isize, eps: f32) -> Tensor {
    let length = sqrt(sum_keepdim(x * x, [axis]));
    x * reciprocal(select(length <= eps, eps, length))
}

per_axis! {
    /// Each of `groups` parts of the channels of `[B, C, ..]` less its mean, over the square root of its variance
    /// plus `eps` (Wu and He, arXiv:1803.08494): PyTorch's `group_norm` without weight and bias.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([1, 4], [1.0, 3.0, 4.0, 8.0])?);
    /// let y = group_norm::stage(&mut g, x, 2, 0.0);
    /// assert_eq!(g.value(y)?, Tensor::new([1, 4], [-1.0, 1.0, -1.0, 1.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    group_norm(x.0; groups[0]; eps: f32) = each::group_norm, divides;
}

#[track_caller]
const fn divides(cx: &mut Check, op: &str, _n: usize, x: Type, groups: Type) {
    let Type::Tensor(x) = x else { return };
    if x.shape.rank() < 2 {
        cx.error(Message::new().str(op).str(": expected [B, C, ..], found ").shape(x.shape));
    } else if let (Some(channels), Some(groups)) = (x.shape.dim(1).get(), known(groups, 0))
        && (groups < 1 || channels % groups != 0)
    {
        let message = Message::new().str(op).str(": ").num(groups).str(" groups do not divide ");
        cx.error(message.num(channels).str(" channels"));
    }
}

mod each {
    use super::standardize;
    use crate::network;
    use crate::ops::*;

    #[network(track_caller)]
    pub fn group_norm(x: Tensor, groups: usize, eps: f32) -> Tensor {
        reshape_as(of_groups(flatten(x, 1, -1), groups, eps), x)
    }

    #[network(track_caller)]
    fn of_groups(x: Tensor<B, F>, groups: usize, eps: f32) -> Tensor {
        standardize(reshape(x, [B, groups, F / groups]), -1, eps)
    }
}

/// Each channel of each sample of `[B, C, ..]` less its mean, over the square root of its variance plus `eps`
/// (Ulyanov, Vedaldi and Lempitsky, arXiv:1607.08022): PyTorch's `instance_norm` without weight and bias.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2, 2], [1.0, 3.0, 4.0, 8.0])?);
/// let y = instance_norm::stage(&mut g, x, 0.0);
/// assert_eq!(g.value(y)?, Tensor::new([1, 2, 2], [-1.0, 1.0, -1.0, 1.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn instance_norm(x: Tensor, eps: f32) -> Tensor {
    reshape_as(standardize(flatten(x, 2, -1), -1, eps), x)
}

/// Each element over (k + α/n Σ x²)^β, the sum over the `size` channels around its own (Krizhevsky,
/// Sutskever and Hinton, 2012; as PyTorch, whose sum is divided by n = `size`). `[B, C, ..]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2, 1], [1.0, 2.0])?);
/// let y = local_response_norm::stage(&mut g, x, 2, 2.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?, Tensor::new([1, 2, 1], [0.5, 1.0 / 3.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn local_response_norm(x: Tensor, size: usize, alpha: f32, beta: f32, k: f32) -> Tensor {
    x / pow(sum_axes(neighbours(x * x, 1, size), [2]) * (alpha / size as f32) + k, beta)
}
