//! Plain networks of three sizes with softmax cross entropy. Weights and biases start uniform within
//! ±1/√(fan in), the default of `Linear`.

use anyhow::Result;
use downhill::prelude::*;

use super::Build;
use super::training::{classes, normal, training};

#[network(sequential, loss = cross_entropy)]
struct Tiny {
    hidden: Linear<64, 32>,
    act: Relu,
    out: Linear<32, 10>,
}

#[network(sequential, loss = cross_entropy)]
struct Small {
    hidden: Linear<784, 128>,
    act: Relu,
    out: Linear<128, 10>,
}

#[network(sequential, loss = cross_entropy)]
struct Wide {
    first: Linear<784, 512>,
    first_act: Relu,
    second: Linear<512, 512>,
    second_act: Relu,
    out: Linear<512, 10>,
}

/// 64 → 32 → 10, 32 samples, SGD.
pub fn tiny() -> Result<Build> {
    Ok(training(Tiny::init, Tiny::loss, Sgd::new(0.1), batch(32, 64)?))
}

/// 784 → 128 → 10, 64 samples, SGD.
pub fn small() -> Result<Build> {
    Ok(training(Small::init, Small::loss, Sgd::new(0.1), batch(64, 784)?))
}

/// 784 → 512 → 512 → 10, 128 samples, SGD with momentum.
pub fn wide() -> Result<Build> {
    Ok(training(Wide::init, Wide::loss, Sgd::new(0.01).momentum(0.9), batch(128, 784)?))
}

fn batch(samples: usize, width: usize) -> Result<(Tensor, Index)> {
    Ok((normal(&[samples, width])?, classes(&[samples], 10, 2)?))
}
