//! Attention with projections around it, as layers.

use super::attention::{causal_mask, dot_product_attention, grouped_query_attention, masked_attention, merge_heads};
use super::layer::Linear;
use super::math::rsqrt;
use super::position::rotary;
use crate::network;
use crate::ops::*;

/// Attention of `H` heads over `D` features, with projections before and after it. Query, key and value
/// come from one matrix, as in nanoGPT.
///
/// Options and their defaults: `causal = false`, whether a place sees those up to itself only;
/// `dropout = 0.0`, the probability with which a weight is dropped in training; `bias = true` of both
/// projections; `rotary = false`, whether [`rotary`](super::rotary) turns queries and keys of
/// `forward` and `masked`, with `rotary_base = 10000.0`.
///
/// The parameters are those of PyTorch's `nn.MultiheadAttention` under other names: `qkv.weight` is
/// `in_proj_weight`, `qkv.bias` is `in_proj_bias`, and `proj` is `out_proj`; the layouts are the same.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(causal = true, dropout = 0.1)]
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
    /// The probability with which a weight is dropped.
    #[option(0.0)]
    pub dropout: f32,
    /// Whether queries and keys are turned by their place.
    #[option(false)]
    pub rotary: bool,
    /// The base of the angles.
    #[option(10_000.0)]
    pub rotary_base: f32,
}

#[network(track_caller)]
impl<const D: usize, const H: usize> MultiHeadAttention<D, H> {
    /// Self-attention: sequences of `D` features.
    pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let (query, key, value) = self.heads(x);
        self.mix(dot_product_attention(query, key, value, rsqrt(D / H), self.causal, self.dropout))
    }

    /// Self-attention to the places that `mask` allows: true where a place is seen, and it broadcasts to
    /// `[B, H, T, T]`. With `causal` too, both must allow it.
    pub fn masked(&self, x: Tensor<B, T, D>, mask: Mask) -> Tensor<B, T, D> {
        let (query, key, value) = self.heads(x);
        let mask = if self.causal { mask & causal_mask(T, T) } else { mask };
        self.mix(masked_attention(query, key, value, mask, rsqrt(D / H), self.dropout))
    }

    /// Cross-attention: queries from `x`, keys and values from `context`, a sequence of its own. It is
    /// neither causal nor turned.
    pub fn cross(&self, x: Tensor<B, T, D>, context: Tensor<B, S, D>) -> Tensor<B, T, D> {
        let (query, key, value) = self.cross_heads(x, context);
        self.mix(dot_product_attention(query, key, value, rsqrt(D / H), false, self.dropout))
    }

    /// Cross-attention to the places of `context` that `mask` allows, which broadcasts to `[B, H, T, S]`.
    pub fn cross_masked(&self, x: Tensor<B, T, D>, context: Tensor<B, S, D>, mask: Mask) -> Tensor<B, T, D> {
        let (query, key, value) = self.cross_heads(x, context);
        self.mix(masked_attention(query, key, value, mask, rsqrt(D / H), self.dropout))
    }

    /// The queries, keys and values of a sequence.
    fn heads(&self, x: Tensor<B, T, D>) -> (Tensor<B, H, T, K>, Tensor<B, H, T, K>, Tensor<B, H, T, K>) {
        let qkv = self.qkv(x);
        let mut query = split_heads(slice(qkv, -1, 0, D), H);
        let mut key = split_heads(slice(qkv, -1, D, 2 * D), H);
        if self.rotary {
            query = rotary(query, self.rotary_base, 0);
            key = rotary(key, self.rotary_base, 0);
        }
        (query, key, split_heads(slice(qkv, -1, 2 * D, 3 * D), H))
    }

    /// The queries of a sequence, and the keys and values of another one.
    fn cross_heads(
        &self,
        x: Tensor<B, T, D>,
        context: Tensor<B, S, D>,
    ) -> (Tensor<B, H, T, K>, Tensor<B, H, S, K>, Tensor<B, H, S, K>) {
        let query = split_heads(self.project(x, 0, D), H);
        let both = self.project(context, D, 3 * D);
        (query, split_heads(slice(both, -1, 0, D), H), split_heads(slice(both, -1, D, 2 * D), H))
    }

    /// The outputs `start` to `stop` of `qkv`.
    fn project(&self, x: Tensor<B, T, D>, start: usize, stop: usize) -> Tensor {
        let y = matmul(x, transpose(slice(self.qkv.weight, 0, start, stop), 0, 1));
        if self.qkv.bias.is_some() { y + slice(self.qkv.bias, 0, start, stop) } else { y }
    }

    /// What the heads have found as features again.
    fn mix(&self, heads: Tensor<B, H, T, K>) -> Tensor<B, T, D> {
        self.proj(merge_heads(heads))
    }
}

impl MultiHeadAttention {
    /// With or without the biases of both projections.
    pub const fn bias(mut self, present: bool) -> Self {
        self.qkv = self.qkv.bias(present);
        self.proj = self.proj.bias(present);
        self
    }
}

/// Self-attention of `H` heads over `D` features, where `G` heads of keys and values serve H / G heads of
/// queries each (see [`grouped_query_attention`](super::grouped_query_attention)). The projections
/// are named as in Llama, whose layer this is with `causal = true, rotary = true, bias = false`.
///
/// Options and their defaults: `causal = false`, `dropout = 0.0`, `bias = true`, `rotary = false`,
/// `rotary_base = 10000.0`, as in [`MultiHeadAttention`].
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(causal = true, rotary = true, bias = false)]
///     attention: GroupedQueryAttention<8, 4, 2>,
/// }
///
/// let model = Net::init(0);
/// assert_eq!(model.get("attention.k_proj.weight")?.shape(), [4, 8]);
/// let y = model.forward(&Tensor::new([1, 5, 8], vec![0.5; 40])?)?;
/// assert_eq!(y.shape(), [1, 5, 8]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct GroupedQueryAttention<const D: usize, const H: usize, const G: usize> {
    /// The queries of all heads.
    pub q_proj: Linear<D, D>,
    /// The keys of `G` heads.
    pub k_proj: Linear<D, { D / H * G }>,
    /// The values of `G` heads.
    pub v_proj: Linear<D, { D / H * G }>,
    /// Mixes the heads' results.
    pub o_proj: Linear<D, D>,
    /// Whether a place sees those up to itself only.
    #[option(false)]
    pub causal: bool,
    /// The probability with which a weight is dropped.
    #[option(0.0)]
    pub dropout: f32,
    /// Whether queries and keys are turned by their place.
    #[option(false)]
    pub rotary: bool,
    /// The base of the angles.
    #[option(10_000.0)]
    pub rotary_base: f32,
}

#[network(track_caller)]
impl<const D: usize, const H: usize, const G: usize> GroupedQueryAttention<D, H, G> {
    /// Sequences of `D` features.
    pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let mut query = split_heads(self.q_proj(x), H);
        let mut key = split_heads(self.k_proj(x), G);
        if self.rotary {
            query = rotary(query, self.rotary_base, 0);
            key = rotary(key, self.rotary_base, 0);
        }
        let value = split_heads(self.v_proj(x), G);
        let scale = 1.0 / ((D / H) as f32).sqrt();
        let y = grouped_query_attention(query, key, value, scale, self.causal, self.dropout);
        self.o_proj(merge_heads(y))
    }
}

impl GroupedQueryAttention {
    /// With or without the biases of all projections.
    pub const fn bias(mut self, present: bool) -> Self {
        self.q_proj = self.q_proj.bias(present);
        self.k_proj = self.k_proj.bias(present);
        self.v_proj = self.v_proj.bias(present);
        self.o_proj = self.o_proj.bias(present);
        self
    }
}
