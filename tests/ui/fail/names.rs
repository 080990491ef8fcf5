//! Parameters of one name.
use downhill::prelude::*;

#[network(sequential)]
struct Same {
    #[layer(name = "rnn")]
    a: Lstm<2, 2>,
    #[layer(name = "rnn")]
    b: Lstm<2, 2>,
}

#[network]
struct Inner {
    out: Linear<2, 2>,
}

#[network]
struct Within {
    body: Inner,
    #[layer(name = "body.out")]
    head: Linear<2, 2>,
}

#[network]
struct Numbered {
    #[layer(name = "layers.1")]
    first: Linear<2, 2>,
    layers: [Linear<2, 2>; 2],
}

#[network]
struct Apart {
    #[layer(name = "layers.0")]
    first: Linear<2, 2>,
    #[layer(name = "layers.1")]
    act: Tanh,
    #[layer(name = "layers.1")]
    second: Linear<2, 2>,
}

fn main() {}
