//! Products of matrices with something added.

use super::math::share;
use crate::network;
use crate::ops::*;

/// x Wᵀ + b: any number of outer axes, then `I` features, to as many with `O` features. The weight is
/// `[O, I]`, as PyTorch has it; the bias is `[O]`, or 0.0. [`Linear`](super::Linear) is this as a layer.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let w = g.constant(&Tensor::new([1, 2], [3.0, 4.0])?);
/// let y = linear::stage(&mut g, x, w, 0.5);
/// assert_eq!(g.value(y)?.data(), [11.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn linear(x: Tensor<[N], I>, weight: Tensor<O, I>, bias: Tensor) -> Tensor<[N], O> {
    matmul(x, transpose(weight, 0, 1)) + bias
}

/// β x + α a b (PyTorch: both are 1), where a and b are matrices, or batches of them as in PyTorch's
/// `baddbmm`, and x is broadcast against their product. At a β of 0 nothing is left of x, whatever it is.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([1, 1], [3.0])?);
/// let y = addmm::stage(&mut g, 1.0, a, a, 2.0, 10.0);
/// assert_eq!(g.value(y)?.data(), [92.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "baddbmm")]
pub fn addmm(x: Tensor, a: Tensor, b: Tensor, beta: f32, alpha: f32) -> Tensor {
    share(x, beta) + alpha * matmul(a, b)
}

/// The products of all pairs of elements of two vectors: `[I]` and `[J]` give `[I, J]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let y = outer::stage(&mut g, a, a);
/// assert_eq!(g.value(y)?, Tensor::new([2, 2], [1.0, 2.0, 2.0, 4.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn outer(a: Tensor<I>, b: Tensor<J>) -> Tensor<I, J> {
    unsqueeze(a, -1) * b
}
