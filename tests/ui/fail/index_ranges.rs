//! An index whose range is known and that names no row, where sizes are constants.

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

/// Of a single row, by a number.
#[network]
struct Single {
    row: Embedding<1, 4>,
    #[init(zeros)]
    turn: State,
}

#[network]
impl Single {
    fn second(&self, x: Tensor<B>) -> Tensor {
        self.row(integer(1.0)) + sum(x)
    }

    fn counted(&self, x: Tensor<B>) -> Tensor {
        self.row(integer(self.turn)) + sum(x)
    }

    fn padding(&self, ids: Index<B>) -> Tensor {
        self.row(within_or(ids, 1, -100))
    }
}

fn main() {}
