//! Lists that do not fit the names that take them apart, and equations that do not fit their tensors.

use downhill::prelude::*;

#[network]
fn uneven(x: Tensor<B, 8>) -> Tensor {
    let [a, b, c] = chunk(x, -1);
    a + b + c
}

#[network]
fn short(x: Tensor<B, 8>) -> Tensor {
    let [a, b] = split(x, [3, 4], -1);
    sum(a) + sum(b)
}

#[network]
fn many(x: Tensor<B, 8>) -> Tensor {
    let [a, b] = split(x, [3, 4, 1], -1);
    sum(a) + sum(b)
}

#[network]
fn few(x: Tensor<B, 3>) -> Tensor {
    let [a, b] = unbind(x, 1);
    a + b
}

#[network]
fn nested(x: Tensor<B, 8>) -> Tensor {
    let [a, [b, c]] = chunk(x, -1);
    a + b + c
}

#[network]
fn no_list(x: Tensor<B, 8>) -> Tensor {
    let [a, b] = x;
    a + b
}

#[network]
fn scores(q: Tensor<B, T, 16>, k: Tensor<B, S, 12>) -> Tensor<B, T, S> {
    einsum("btd,bsd->bts", [q, k])
}

#[network]
fn unknown_letter(q: Tensor<B, T, 16>) -> Tensor {
    einsum("btd->bx", [q])
}

#[network]
fn too_few(q: Tensor<B, T, 16>) -> Tensor {
    einsum("btd,bsd->bts", [q])
}

#[network]
fn still_there(x: Tensor<B, 8>) -> Tensor {
    squeeze(x, 1)
}

fn main() {}
