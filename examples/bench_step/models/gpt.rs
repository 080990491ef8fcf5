//! Two sizes of GPT: nanoGPT's for characters, and GPT-2 of 124 million parameters (Radford et al.,
//! 2019), whose output head is the table of its tokens.

use anyhow::Result;
use downhill::init;
use downhill::prelude::*;

use super::Build;
use super::training::{classes, training};

const STD: f32 = 0.02;

/// The deviation of the projections onto the residual path, of which `L` layers have two each:
/// 0.02 / √(2 L).
const fn residual(layers: usize) -> f32 {
    let x = 2.0 * layers as f64;
    let mut root = x;
    let mut turn = 0;
    // Newton's method: constants have no square root.
    while turn < 20 {
        root = 0.5 * (root + x / root);
        turn += 1;
    }
    (STD as f64 / root) as f32
}

/// One of `L` layers of width `W` with `H` heads.
#[network]
struct Block<const W: usize, const H: usize, const L: usize> {
    ln1: LayerNorm<W>,
    #[layer(weight_init = init::normal(STD), bias_init = init::zeros)]
    qkv: Linear<W, { 3 * W }>,
    #[layer(weight_init = init::normal(residual(L)), bias_init = init::zeros)]
    proj: Linear<W, W>,
    ln2: LayerNorm<W>,
    #[layer(weight_init = init::normal(STD), bias_init = init::zeros)]
    up: Linear<W, { 4 * W }>,
    #[layer(weight_init = init::normal(residual(L)), bias_init = init::zeros)]
    down: Linear<{ 4 * W }, W>,
}

#[network]
impl<const W: usize, const H: usize, const L: usize> Block<W, H, L> {
    fn forward(&self, x: Tensor<B, T, W>) -> Tensor<B, T, W> {
        let qkv = self.qkv(self.ln1(x));
        let query = split_heads(slice(qkv, 2, 0, W), H);
        let key = split_heads(slice(qkv, 2, W, 2 * W), H);
        let value = split_heads(slice(qkv, 2, 2 * W, 3 * W), H);
        let mixed = scaled_dot_product_attention(query, key, value, true);
        let x = x + self.proj(merge_heads(mixed));
        x + self.down(gelu_tanh(self.up(self.ln2(x))))
    }
}

#[network]
struct CharGpt {
    #[layer(weight_init = init::normal(STD))]
    wte: Embedding<65, 128>,
    #[init(normal(STD))]
    wpe: Param<64, 128>,
    blocks: [Block<128, 4, 4>; 4],
    ln: LayerNorm<128>,
    #[layer(bias = false, weight_init = init::normal(STD))]
    head: Linear<128, 65>,
}

#[network]
impl CharGpt {
    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        let mut x = self.wte(tokens) + slice(self.wpe, 0, 0, T);
        for block in &self.blocks {
            x = block(x);
        }
        cross_entropy(self.head(self.ln(x)), targets)
    }
}

#[network]
struct Gpt2 {
    #[init(normal(STD))]
    wte: Param<50257, 768>,
    #[init(normal(STD))]
    wpe: Param<1024, 768>,
    blocks: [Block<768, 12, 12>; 12],
    ln: LayerNorm<768>,
}

#[network]
impl Gpt2 {
    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        let mut x = gather(self.wte, tokens) + slice(self.wpe, 0, 0, T);
        for block in &self.blocks {
            x = block(x);
        }
        cross_entropy(matmul(self.ln(x), transpose(self.wte, 0, 1)), targets)
    }
}

/// 12 sequences of 64 characters, AdamW with decay of all parameters.
pub fn char_gpt() -> Result<Build> {
    let rule = AdamW::new(1e-3).betas(0.9, 0.99).eps(1e-8).weight_decay(0.1);
    Ok(training(CharGpt::init, CharGpt::loss, rule, batch(12, 64, 65)?))
}

/// 4 sequences of 64 tokens, AdamW with decay of all parameters.
pub fn gpt2_124m() -> Result<Build> {
    let rule = AdamW::new(3e-4).betas(0.9, 0.95).eps(1e-8).weight_decay(0.1);
    Ok(training(Gpt2::init, Gpt2::loss, rule, batch(4, 64, 50257)?))
}

fn batch(sequences: usize, len: usize, vocabulary: usize) -> Result<(Index, Index)> {
    Ok((classes(&[sequences, len], vocabulary, 1)?, classes(&[sequences, len], vocabulary, 2)?))
}
