//! Fields that a network cannot have.
use downhill::prelude::*;

#[network]
struct NoInit {
    weight: Param<3>,
}

#[network]
struct NoOption {
    eps: f32,
}

#[network]
struct NoNetwork {
    name: String,
}

#[network]
struct HoldsTensor {
    weight: Tensor<3>,
}

#[network]
struct Reference<'a> {
    layer: &'a Linear<2, 2>,
}

#[network]
struct Typed<L> {
    layer: L,
}

#[network]
struct Tuple(Linear<2, 2>);

#[network]
enum Choice {
    First(Linear<2, 2>),
}

#[network]
struct WrongOption {
    #[layer(bais = false)]
    layer: Linear<2, 2>,
}

#[network]
struct InitOfLayer {
    #[init(zeros)]
    layer: Linear<2, 2>,
}

fn main() {}
