//! A model of everything that must be accepted, without a warning.
#![deny(warnings)]

use downhill::prelude::*;
use downhill_zoo::{Residual, WIDTH};

const CLASSES: usize = 2 * 5;

type Head = Linear<WIDTH, CLASSES>;

mod blocks {
    use downhill::prelude::*;

    #[network]
    pub struct Block<const D: usize> {
        norm: LayerNorm<D>,
        up: Linear<D, { 4 * D }>,
        down: Linear<{ 4 * D }, D>,
    }

    #[network]
    impl<const D: usize> Block<D> {
        pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
            x + self.down(gelu(self.up(self.norm(x))))
        }
    }
}

#[network]
struct Model {
    table: Embedding<7, WIDTH>,
    blocks: [blocks::Block<{ 3 * 2 }>; 2],
    foreign: Residual<WIDTH>,
    #[layer(bias = false)]
    head: Head,
}

#[network]
impl Model {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, CLASSES> {
        let mut x = self.table(tokens);
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.foreign(x))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

#[test]
fn a_model_of_everything() -> downhill::Result<()> {
    let mut model = Model::init(0);
    let mut step = Step::new(&model, Model::loss, Sgd::new(0.1))?;
    let tokens = Index::new([1, 2], [3, 4])?;
    step.run(&mut model, (&tokens, &tokens))?;
    Ok(())
}
