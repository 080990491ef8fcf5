//! What allocates nothing. Each test is alone in a process of its own: another thread would be counted too.

mod counting;
mod settings;
mod state;
mod step;
mod trainer;

use downhill::prelude::*;

/// A network with rows by number, a norm and products.
#[network]
struct Net {
    table: Embedding<11, 24>,
    norm: LayerNorm<24>,
    hidden: Linear<24, 300>,
    out: Linear<300, 11>,
}

#[network]
impl Net {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, 11> {
        self.out(gelu(self.hidden(self.norm(self.table(tokens)))))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}
