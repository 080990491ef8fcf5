//! Two independent mistakes: both are reported, the first inside a generic block.
use downhill::prelude::*;

#[network]
pub struct Mlp<const D: usize> {
    up: Linear<D, { 4 * D }>,
    down: Linear<{ 3 * D }, D>,
}

#[network]
impl<const D: usize> Mlp<D> {
    pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        self.down(gelu(self.up(x)))
    }
}

#[network]
struct Gpt {
    tokens: Embedding<65, 128>,
    mlp: Mlp<128>,
    head: Linear<127, 65>,
}

#[network]
impl Gpt {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, 65> {
        let x = self.tokens(tokens);
        let y = self.mlp(x);
        self.head(y)
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

fn main() {}
