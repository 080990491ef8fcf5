//! A convolutional network for images of 28 x 28 (LeCun et al., 1998), with rectifiers and maxima.

use anyhow::Result;
use downhill::prelude::*;

use super::Build;
use super::training::{classes, normal, training};

#[network(sequential, loss = cross_entropy)]
struct LeNet {
    #[layer(padding = 2)]
    conv1: Conv2d<1, 6, 5>,
    act1: Relu,
    pool1: MaxPool2d<2>,
    conv2: Conv2d<6, 16, 5>,
    act2: Relu,
    pool2: MaxPool2d<2>,
    flat: Flatten,
    fc1: Linear<400, 120>,
    act3: Relu,
    fc2: Linear<120, 84>,
    act4: Relu,
    fc3: Linear<84, 10>,
}

/// 64 images, SGD with momentum.
pub fn lenet() -> Result<Build> {
    let batch = (normal(&[64, 1, 28, 28])?, classes(&[64], 10, 2)?);
    Ok(training(LeNet::init, LeNet::loss, Sgd::new(0.01).momentum(0.9), batch))
}
