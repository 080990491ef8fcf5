//! An index beyond the table, behind what shows or chooses elements of it.

use downhill::prelude::*;

#[network]
struct Codes {
    codes: Embedding<4, 2>,
}

#[network]
impl Codes {
    fn turned(&self) -> Tensor {
        self.codes(transpose(reshape(iota(6), [2, 3]), 0, 1))
    }

    fn end(&self) -> Tensor {
        self.codes(slice(iota(8), 0, 3, 6))
    }

    fn parts(&self, x: Tensor<B, 8>) -> Tensor {
        let [_a, b] = chunk(unsqueeze(argmax(x), 1) + iota(2), 1);
        sum(self.codes(b))
    }

    fn rows(&self, x: Tensor<B, 6>) -> Tensor<B, 1, 2> {
        self.codes(integer(gather(reshape(float(iota(6)), [6, 1]), argmax(x))))
    }

    fn chosen(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let place = argmax(x);
        self.codes(select(place == 3, 4, place))
    }

    fn saturated(&self, x: Tensor<B, 8>) -> Tensor<B, 2> {
        self.codes(minimum(argmax(x), 4))
    }

    fn rest(&self, i: Index<B>) -> Tensor<B, 2> {
        self.codes(integer(remainder(float(within(i, 100)), 5.0)))
    }

    fn flagged(&self, x: Tensor<B>) -> Tensor<B, 2> {
        self.codes(integer(x > 0.0) * 4)
    }
}

fn main() {}
