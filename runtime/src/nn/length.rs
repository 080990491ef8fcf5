//! Norms of vectors.

use super::statistic::root;
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// The Euclidean length; its gradient at zero is zero.
#[network(track_caller)]
fn euclidean(x: Tensor, axes: [isize]) -> Tensor {
    root(sum_keepdim(x * x, axes))
}

#[network(track_caller)]
fn sum_of_sizes(x: Tensor, axes: [isize]) -> Tensor {
    sum_keepdim(abs(x), axes)
}

#[network(track_caller)]
fn largest(x: Tensor, axes: [isize]) -> Tensor {
    max_keepdim(abs(x), axes)
}

#[network(track_caller)]
fn smallest(x: Tensor, axes: [isize]) -> Tensor {
    min_keepdim(abs(x), axes)
}

#[network(track_caller)]
fn nonzero(x: Tensor, axes: [isize]) -> Tensor {
    sum_keepdim(float(x != 0.0), axes)
}

/// The general case. No gradient goes to elements that are zero, where that of a power may be infinite.
#[network(track_caller)]
fn powers(x: Tensor, axes: [isize], p: f32) -> Tensor {
    let size = select(x == 0.0, 1.0, abs(x));
    let total = sum_keepdim(select(x == 0.0, 0f32.powf(p), pow(size, p)), axes);
    let safe = select(total == 0.0, 1.0, total);
    select(total == 0.0, 0f32.powf(1.0 / p), pow(safe, 1.0 / p))
}

/// The p-norm over one axis or several, which are removed: (Σ |x|ᵖ)^(1/p). At p = 2 it is the Euclidean
/// length, whose gradient at zero is zero; at 0 the number of elements that are not zero, at ∞ and −∞ the
/// largest and the smallest size of an element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [3.0, -4.0])?);
/// for (p, expected) in [(2.0, 5.0), (1.0, 7.0), (0.0, 2.0), (f32::INFINITY, 4.0), (f32::NEG_INFINITY, 3.0)] {
///     let y = vector_norm::stage(&mut g, x, p, -1);
///     assert_eq!(g.value(y)?.data(), [expected]);
/// }
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "norm")]
pub fn vector_norm(x: Tensor, p: f32, axes: [isize]) -> Tensor {
    squeeze(vector_norm_keepdim(x, p, axes), axes)
}

/// `vector_norm_keepdim(x, p, axes)`:
/// [`vector_norm`] with axes that stay with size one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2], [3.0, 4.0])?);
/// let y = vector_norm_keepdim::stage(&mut g, x, 2.0, [-1]);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1], [5.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum vector_norm_keepdim {}

impl vector_norm_keepdim {
    /// Stages the norm.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, p: f32, axes: impl Into<Value>) -> Value {
        match p {
            2.0 => euclidean::stage(g, x, axes),
            1.0 => sum_of_sizes::stage(g, x, axes),
            0.0 => nonzero::stage(g, x, axes),
            f32::INFINITY => largest::stage(g, x, axes),
            f32::NEG_INFINITY => smallest::stage(g, x, axes),
            p => powers::stage(g, x, axes, p),
        }
    }

    /// Stages the gradient of the tensor.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, p: f32, axes: impl Into<Value>, dout: Grad) -> (Grad, Grad, Grad) {
        let dx = match p {
            2.0 => euclidean::grad(g, x, axes, dout).0,
            1.0 => sum_of_sizes::grad(g, x, axes, dout).0,
            0.0 => None,
            f32::INFINITY => largest::grad(g, x, axes, dout).0,
            f32::NEG_INFINITY => smallest::grad(g, x, axes, dout).0,
            p => powers::grad(g, x, axes, p, dout).0,
        };
        (dx, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, _p: Type, axes: Type) -> Type {
        sum_keepdim::shape(cx, x, axes)
    }
}
