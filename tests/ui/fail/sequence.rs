//! Attention, rotary embedding and loops whose sizes do not fit.
use downhill::prelude::*;

#[network]
struct Heads {
    attention: MultiHeadAttention<128, 3>,
}

#[network]
impl Heads {
    fn forward(&self, x: Tensor<B, T, 128>) -> Tensor<B, T, 128> {
        self.attention(x)
    }
}

#[network]
struct Groups {
    attention: GroupedQueryAttention<128, 8, 3>,
}

#[network]
impl Groups {
    fn forward(&self, x: Tensor<B, T, 128>) -> Tensor<B, T, 128> {
        self.attention(x)
    }
}

#[network]
fn odd(x: Tensor<B, T, 7>) -> Tensor<B, T, 7> {
    rotary(x, 10_000.0, 0)
}

#[network]
struct Width {
    memory: Lstm<16, 32>,
}

#[network]
impl Width {
    fn forward(&self, x: Tensor<B, T, 8>) -> Tensor<B, T, 32> {
        self.memory(x)
    }
}

#[network]
fn grows(x: Tensor<B, T, 3>) -> Tensor<B, 3> {
    let mut h = sum_axes(x, [1, 2]);
    for x in unbind(x, 1) {
        h = x + unsqueeze(h, 1);
    }
    h
}

#[network]
fn lengths(x: Tensor<B, T, 3>, y: Tensor<B, S, 3>) -> Tensor<B, T, 3> {
    for (x, y) in unbind([x, y], 1) {
        x + y
    }
}

#[network]
fn no_axis(x: Tensor<B, T>) -> Tensor<B, T> {
    for x in unbind(x, 2) {
        x
    }
}

fn main() {}
