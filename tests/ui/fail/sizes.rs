//! Sizes that no tensor can have: their product is more than 2^40, or more than 64 bits.
use downhill::prelude::*;

#[network]
struct Table {
    table: Embedding<{ (1 << 60) + 1 }, 16>,
}

#[network]
impl Table {
    fn forward(&self, rows: Index<B>) -> Tensor<B, 16> {
        self.table(rows)
    }
}

#[network(sequential)]
struct Wide {
    narrow: Linear<4, 8>,
    wide: Linear<8, 1_099_511_627_776>,
}

#[network]
struct Block<const D: usize> {
    #[init(zeros)]
    weight: Param<D, D>,
    #[init(zeros)]
    seen: State<D>,
}

#[network]
struct Together {
    blocks: [Block<500_000>; 5],
}

#[network]
fn constant(x: Tensor<B>) -> Tensor<B> {
    x + sum(broadcast_to(1.0, [1usize << 40, 1usize << 40]))
}

fn main() {}
