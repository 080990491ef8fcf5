//! An index that is computed, by arithmetic on what has a range, and may be beyond the table.

use downhill::prelude::*;

#[network]
struct Codes {
    codes: Embedding<4, 2>,
    wide: Linear<8, 8>,
}

#[network]
impl Codes {
    fn largest(&self, x: Tensor<B, 8>) -> Tensor<B, 2> {
        self.codes(argmax(x))
    }

    fn smallest(&self, x: Tensor<B, 5, 3>) -> Tensor<B, 3, 2> {
        self.codes(argmin_axis(x, 1))
    }

    fn next(&self) -> Tensor {
        self.codes(iota(4) + 1)
    }

    fn before(&self) -> Tensor {
        self.codes(iota(4) - 1)
    }

    fn twice(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        self.codes(argmax(x) * 2)
    }

    fn cell(&self, i: Index<B>, j: Index<B>) -> Tensor<B, 2> {
        self.codes(within(i, 3) * 2 + within(j, 2))
    }

    fn level(&self, x: Tensor<B>) -> Tensor<B, 2> {
        self.codes(integer(clamp(x * 4.0, 0.0, 4.0)))
    }

    fn learned(&self, x: Tensor<B, 8>) -> Tensor<B, 8, 2> {
        self.codes(integer(self.wide(x)))
    }
}

fn main() {}
