//! Indices where numbers are expected, and the other way round.
use downhill::prelude::*;

#[network]
struct Table {
    rows: Embedding<5, 3>,
    out: Linear<3, 2>,
}

#[network]
impl Table {
    fn numbers(&self, x: Tensor<B>) -> Tensor<B, 3> {
        self.rows(x)
    }

    fn indices(&self, x: Index<B, 3>) -> Tensor<B, 2> {
        self.out(x)
    }

    fn mask(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        (x > 0.0) * x
    }

    fn selection(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        select(x, x, 0.0)
    }
}

fn main() {}
