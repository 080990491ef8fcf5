//! Operations on shapes that do not fit.
use downhill::prelude::*;

#[network]
fn broadcast(x: Tensor<B, 3>, y: Tensor<B, 4>) -> Tensor<B, 3> {
    x + y
}

#[network]
fn product(x: Tensor<B, 3>, y: Tensor<4, 5>) -> Tensor<B, 5> {
    matmul(x, y)
}

#[network]
fn elements(x: Tensor<B, T, 6>) -> Tensor<{ B * T }, 7> {
    reshape(x, [B * T, 7])
}

#[network]
fn axes(x: Tensor<B, 3>) -> Tensor<B> {
    sum_axes(x, [2])
}

#[network]
fn result(x: Tensor<B, 3>) -> Tensor<B, 4> {
    x * 2.0
}

#[network]
fn symbols(x: Tensor<B, T>, y: Tensor<T, B>) -> Tensor<B, T> {
    x * y
}

#[network]
fn outside(x: Tensor<B, 3>) -> Tensor<B, 3> {
    slice(x, 1, 2, 5)
}

fn main() {}
