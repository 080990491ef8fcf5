//! Rust that is no dataflow: each says what to write instead.
use downhill::prelude::*;

#[network]
fn loops(x: Tensor) -> Tensor {
    let mut y = x;
    while true {
        y = y * 2.0;
    }
    loop {}
    for i in 0..3 {
        y = y + i;
    }
    y
}

#[network]
fn branches(x: Tensor) -> Tensor {
    let y = match 3 {
        3 => x,
        _ => -x,
    };
    let z = if x > 0.0 { x } else { y };
    if true { z }
}

#[network]
fn values(x: Tensor) -> Tensor {
    let f = |y| y * 2.0;
    let a = x[0];
    let b = &x;
    let c = x as f32;
    let d = "text";
    let e = x % 2.0;
    println!("{x:?}");
    return x;
}

#[network]
fn methods(x: Tensor) -> Tensor {
    x.relu().sum()
}

#[network]
fn errors(x: Tensor) -> Tensor {
    relu(x)?
}

#[network]
fn no_result(x: Tensor) {
    relu(x);
}

#[network]
fn generic<T>(x: T) -> Tensor {
    relu(x)
}

#[network]
fn odd_type(x: String) -> Tensor {
    relu(x)
}

#[network]
async unsafe fn qualified(x: Tensor) -> Tensor {
    relu(x)
}

fn main() {}
