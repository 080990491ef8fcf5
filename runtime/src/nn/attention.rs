//! Attention.

use super::activation::{softmax, softmax_or_zeros};
use super::math::rsqrt;
use super::operation::operation;
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// Scores of a head from which on reading its weights takes longer than computing them again: as many as a
/// second-level cache holds with all that belongs to them.
const MANY: usize = 1 << 16;

/// Defines attention by a network function. Where there are many scores, they and the weights are computed again
/// for the gradient (Dao et al., arXiv:2205.14135); how they are cut into what fits a cache is the planner's.
macro_rules! again {
    ($(#[$doc:meta])* $name:ident($query:ident, $key:ident, $($x:ident),*; $($flag:ident: $kind:ty),*) = $forward:path;) => {
        operation! {
            $(#[$doc])*
            $name($query, $key, $($x),*; $($flag: $kind),*) = $forward;
            |g, dout| {
                use $forward as forward;
                let many = g.dim($query, -2) * g.dim($key, -2) >= MANY;
                forward::grad(&mut g.recompute(many), $query, $key, $($x,)* $($flag,)* dout)
            }
        }
    };
}

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
    dot_product_attention(query, key, value, rsqrt(D), causal, 0.0)
}

again! {
    /// [`scaled_dot_product_attention`] with all its arguments: `scale` times Q Kᵀ are the scores, a number or
    /// a tensor that broadcasts to `[.., T, S]`; `p` is the probability with which a weight is dropped in
    /// training.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
    /// // Scores of zero: every place is the mean of all.
    /// let y = dot_product_attention::stage(&mut g, x, x, x, 0.0, false, 0.1);
    /// assert_eq!(g.value(y)?.data(), [2.0, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    dot_product_attention(query, key, value, scale; causal: bool, p: f32) = forward::dot_product_attention;
}

again! {
    /// Attention to the places that `mask` allows: a [`Mask`](crate::shape::DType::Bool) that broadcasts to
    /// `[.., T, S]`, true where a place is seen, as PyTorch has it. A place that sees none is zero. `scale` and
    /// `p` are as in [`dot_product_attention`].
    ///
    /// A batch of sequences of several lengths has a mask such as `iota(S) < unsqueeze(lengths, 1)`, of shape
    /// `[B, S]`; in front of heads and places it is `unsqueeze(unsqueeze(mask, 1), 1)`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
    /// let places = iota::stage(&mut g, 2);
    /// let mask = eq::stage(&mut g, places, 1);
    /// let y = masked_attention::stage(&mut g, x, x, x, mask, 1.0, 0.0);
    /// assert_eq!(g.value(y)?.data(), [3.0, 3.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    masked_attention(query, key, value, mask, scale; p: f32) = forward::masked_attention;
}

again! {
    /// Attention with `bias` added to the scores, which broadcasts to `[.., T, S]`: PyTorch's mask of numbers,
    /// where minus infinity hides a place, or a learned bias of positions. A place that sees none is zero. `scale` and
    /// `p` are as in [`dot_product_attention`].
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
    /// let bias = g.constant(&Tensor::new([2], [f32::NEG_INFINITY, 0.0])?);
    /// let y = biased_attention::stage(&mut g, x, x, x, bias, 1.0, 0.0);
    /// assert_eq!(g.value(y)?.data(), [3.0, 3.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    biased_attention(query, key, value, bias, scale; p: f32) = forward::biased_attention;
}

again! {
    /// Attention of `H` heads of queries to `G` heads of keys and values (Ainslie et al., arXiv:2305.13245):
    /// each of these serves a run of H / G heads, as with PyTorch's `enable_gqa`, and is not copied. `scale`,
    /// `causal` and `p` are as in [`dot_product_attention`].
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let query = g.constant(&Tensor::new([1, 4, 1, 1], [0.0; 4])?);
    /// let key = g.constant(&Tensor::new([1, 2, 1, 1], [5.0, 7.0])?);
    /// let y = grouped_query_attention::stage(&mut g, query, key, key, 1.0, false, 0.0);
    /// assert_eq!(g.value(y)?.data(), [5.0, 5.0, 7.0, 7.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    grouped_query_attention(query, key, value, scale; causal: bool, p: f32) = forward::grouped_query_attention;
}

mod forward {
    use super::*;

    #[network(track_caller)]
    pub fn dot_product_attention(
        query: Tensor<[N], T, D>,
        key: Tensor<[N], S, D>,
        value: Tensor<[N], S, E>,
        scale: Tensor,
        causal: bool,
        p: f32,
    ) -> Tensor<[N], T, E> {
        let scores = matmul(query, transpose(key, -2, -1)) * scale;
        matmul(attention_weights(scores, causal, p), value)
    }

    #[network(track_caller)]
    pub fn masked_attention(
        query: Tensor<[N], T, D>,
        key: Tensor<[N], S, D>,
        value: Tensor<[N], S, E>,
        mask: Mask,
        scale: Tensor,
        p: f32,
    ) -> Tensor<[N], T, E> {
        let scores = matmul(query, transpose(key, -2, -1)) * scale;
        matmul(dropout(masked_softmax(scores, mask), p), value)
    }

    #[network(track_caller)]
    pub fn biased_attention(
        query: Tensor<[N], T, D>,
        key: Tensor<[N], S, D>,
        value: Tensor<[N], S, E>,
        bias: Tensor,
        scale: Tensor,
        p: f32,
    ) -> Tensor<[N], T, E> {
        let scores = matmul(query, transpose(key, -2, -1)) * scale + bias;
        matmul(dropout(softmax_or_zeros(scores, -1), p), value)
    }

    #[network(track_caller)]
    pub fn grouped_query_attention(
        query: Tensor<B, H, T, D>,
        key: Tensor<B, G, S, D>,
        value: Tensor<B, G, S, E>,
        scale: Tensor,
        causal: bool,
        p: f32,
    ) -> Tensor<B, H, T, E> {
        let scores = reshape(matmul(group_heads(query, G), transpose(key, -2, -1)), [B, H, T, S]) * scale;
        let weights = attention_weights(scores, causal, p);
        reshape(matmul(group_heads(weights, G), value), [B, H, T, E])
    }
}

/// The weights of attention from its scores: their softmax over the last axis, of places 0 to t for place t
/// if `causal`, some dropped in training with probability `p`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let scores = g.constant(&Tensor::new([2, 2], [0.0; 4])?);
/// let y = attention_weights::stage(&mut g, scores, true, 0.0);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0, 0.5, 0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn attention_weights(scores: Tensor<[N], T, S>, causal: bool, p: f32) -> Tensor<[N], T, S> {
    let visible = if causal { select(causal_mask(T, S), scores, f32::NEG_INFINITY) } else { scores };
    dropout(softmax(visible, -1), p)
}

/// What place t of `t` sees of `s` places if it sees those up to itself.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let mask = causal_mask::stage(&mut g, 2, 3);
/// let y = float::stage(&mut g, mask);
/// assert_eq!(g.value(y)?.data(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn causal_mask(t: usize, s: usize) -> Mask<t, s> {
    iota(s) <= unsqueeze(iota(t), 1)
}

/// The softmax over the last axis of the elements where `mask`, which broadcasts to the shape of `x`, is
/// true; all others are zero, also where the mask of a whole row is false.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 3.0])?);
/// let row = iota::stage(&mut g, 2);
/// let row = unsqueeze::stage(&mut g, row, 1);
/// let mask = eq::stage(&mut g, row, 1);
/// let y = masked_softmax::stage(&mut g, x, mask);
/// assert_eq!(g.value(y)?.data(), [0.0, 0.0, 0.5, 0.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn masked_softmax(x: Tensor, mask: Mask) -> Tensor {
    // A finite bound, so that a row without any element has no infinity less infinity.
    select(mask, softmax(select(mask, x, f32::MIN), -1), 0.0)
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
