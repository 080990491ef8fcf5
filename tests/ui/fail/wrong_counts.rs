//! Sizes and arguments that are too few or too many.
use downhill::prelude::*;

#[network]
struct Sizes<const D: usize> {
    layer: Linear<D>,
}

#[network]
fn arguments(x: Tensor) -> Tensor {
    relu(x, x)
}

fn main() {}
