//! Attention.

use super::activation::softmax;
use super::layer::Linear;
use crate::network;
use crate::ops::*;

/// Scaled dot-product attention, softmax(Q Kᵀ / √D) V (Vaswani et al., arXiv:1706.03762), over any
/// number of outer axes such as batch and heads: `[.., T, D]`, `[.., S, D]` and `[.., S, E]` give
/// `[.., T, E]`. With `causal`, place t sees places 0 to t only.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
/// let y = scaled_dot_product_attention::stage(&mut g, x, x, x, true);
/// // The first place sees itself alone.
/// assert_eq!(g.value(y)?.data()[0], 1.0);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn scaled_dot_product_attention(
    query: Tensor<[N], T, D>,
    key: Tensor<[N], S, D>,
    value: Tensor<[N], S, E>,
    causal: bool,
) -> Tensor<[N], T, E> {
    let scores = matmul(query, transpose(key, -2, -1)) / sqrt(D);
    let visible = if causal {
        let is_past = iota(S) <= unsqueeze(iota(T), 1);
        select(is_past, scores, f32::NEG_INFINITY)
    } else {
        scores
    };
    matmul(softmax(visible, -1), value)
}

/// The features of each place as `heads` parts: `[B, T, D]` to `[B, heads, T, D / heads]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2, 6], vec![0.0; 12])?);
/// let y = split_heads::stage(&mut g, x, 3);
/// assert_eq!(g.value(y)?.shape(), [1, 3, 2, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn split_heads(x: Tensor<B, T, D>, heads: usize) -> Tensor {
    permute(reshape(x, [B, T, heads, D / heads]), [0, 2, 1, 3])
}

/// The parts of [`split_heads`] put together again: `[B, H, T, D]` to `[B, T, H D]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 3, 2, 2], vec![0.0; 12])?);
/// let y = merge_heads::stage(&mut g, x);
/// assert_eq!(g.value(y)?.shape(), [1, 2, 6]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn merge_heads(x: Tensor<B, H, T, D>) -> Tensor<B, T, { H * D }> {
    reshape(permute(x, [0, 2, 1, 3]), [B, T, H * D])
}

/// Self-attention of `H` heads over `D` features, with projections before and after it. Query, key
/// and value come from one matrix, as in nanoGPT. `#[layer(causal = true)]` lets a place see those
/// up to itself only.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(causal = true)]
///     attention: MultiHeadAttention<8, 2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 5, 8], vec![0.5; 40])?)?;
/// assert_eq!(y.shape(), [1, 5, 8]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct MultiHeadAttention<const D: usize, const H: usize> {
    /// Query, key and value of all heads.
    pub qkv: Linear<D, { 3 * D }>,
    /// Mixes the heads' results.
    pub proj: Linear<D, D>,
    /// Whether a place sees those up to itself only.
    #[option(false)]
    pub causal: bool,
}

#[network(track_caller)]
impl<const D: usize, const H: usize> MultiHeadAttention<D, H> {
    /// Sequences of `D` features.
    pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let qkv = self.qkv(x);
        let query = split_heads(slice(qkv, -1, 0, D), H);
        let key = split_heads(slice(qkv, -1, D, 2 * D), H);
        let value = split_heads(slice(qkv, -1, 2 * D, 3 * D), H);
        let y = scaled_dot_product_attention(query, key, value, self.causal);
        self.proj(merge_heads(y))
    }
}
