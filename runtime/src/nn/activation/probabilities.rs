//! The softmax and its relatives.

use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::nn::math::reciprocal;
use crate::nn::operation::{closed, operation};
use crate::ops::*;
use crate::shape::check::{Check, Type};

closed! {
    /// The softmax along an axis: eˣ over its sum. The maximum is taken off first, so that large
    /// numbers do not overflow; the result does not depend on it, so no gradient goes there.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 1.0])?);
    /// let y = softmax::stage(&mut g, x, -1);
    /// assert_eq!(g.value(y)?.data(), [0.5, 0.5]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    softmax(x; axis: isize) = forward::softmax, gradient;
}

pub(crate) use or_zeros::softmax_or_zeros;

mod or_zeros {
    use super::*;

    closed! {
        /// The [`softmax`] along an axis, with zeros where all numbers are −∞.
        softmax_or_zeros(x; axis: isize) = forward::softmax_or_zeros, gradient;
    }
}

mod forward {
    use super::*;

    #[network(track_caller)]
    pub fn softmax(x: Tensor, axis: isize) -> Tensor {
        let e = exp(x - max_keepdim(x, [axis]));
        e * reciprocal(sum_keepdim(e, [axis]))
    }

    #[network(track_caller)]
    pub fn softmax_or_zeros(x: Tensor, axis: isize) -> Tensor {
        let largest = max_keepdim(x, [axis]);
        let e = exp(x - select(largest == f32::NEG_INFINITY, 0.0, largest));
        let total = sum_keepdim(e, [axis]);
        e * select(total == 0.0, 0.0, reciprocal(total))
    }
}

/// Of y alone: y (dy - Σ y dy).
#[network]
fn gradient(_x: Tensor, y: Tensor, dout: Tensor, axis: isize) -> Tensor {
    y * (dout - sum_keepdim(y * dout, [axis]))
}

/// The logarithm of the softmax along an axis, without taking the logarithm of small numbers.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [0.0, -200.0])?);
/// let y = log_softmax::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [0.0, -200.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn log_softmax(x: Tensor, axis: isize) -> Tensor {
    let shifted = x - stop_gradient(max_keepdim(x, [axis]));
    shifted - log(sum_keepdim(exp(shifted), [axis]))
}

/// The softmax of the negative numbers: large ones become small.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 1.0])?);
/// let y = softmin::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [0.5, 0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn softmin(x: Tensor, axis: isize) -> Tensor {
    softmax(-x, axis)
}
