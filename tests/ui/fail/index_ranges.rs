//! An index that holds numbers of no row, where sizes are constants.

use downhill::prelude::*;

#[network]
struct Places {
    rows: Embedding<8, 4>,
}

#[network]
impl Places {
    fn looked_up(&self, x: Tensor<B, 4>) -> Tensor<B, 10, 4> {
        unsqueeze(x, 1) + self.rows(iota(10))
    }

    fn together(&self, from: Index<E>) -> Tensor {
        gather(self.rows.weight, concat([from, iota(9)], 0))
    }

    fn marked(&self, x: Tensor<B, 4>) -> Tensor {
        sum(one_hot(reshape(iota(8), [2, 4]), 4)) + sum(x)
    }

    fn none(&self, index: Index<B>) -> Index<B> {
        within(index, 0)
    }

    fn fits(&self, x: Tensor<B, 4>) -> Tensor<B, 8, 4> {
        unsqueeze(x, 1) + self.rows(iota(8))
    }
}

fn main() {}
