//! A stack whose layers do not fit, and stacks that cannot be.
use downhill::prelude::*;

#[network(sequential, loss = cross_entropy)]
struct Stack {
    hidden: Linear<64, 32>,
    act: Relu,
    out: Linear<30, 10>,
}

#[network(sequential)]
struct WithParam {
    only: Linear<2, 2>,
    #[init(zeros)]
    extra: Param<2>,
}

#[network(sequentiel)]
struct Unknown {
    only: Linear<2, 2>,
}

fn main() {}
