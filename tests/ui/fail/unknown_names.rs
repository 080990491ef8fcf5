//! Names that do not exist, which the compiler reports at the user's own words.
use downhill::prelude::*;

#[network]
fn function(x: Tensor) -> Tensor {
    relo(x)
}

#[network]
fn variable(x: Tensor) -> Tensor {
    x + y
}

#[network]
struct WrongInit {
    #[init(zeroes)]
    weight: Param<3>,
}

#[network(sequential, loss = cross_entropie)]
struct Misspelt {
    only: Linear<2, 2>,
}

fn main() {}
