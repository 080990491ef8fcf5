//! Layers for images that do not fit.
use downhill::prelude::*;

#[network(sequential)]
struct Groups {
    first: Conv2d<3, 4, 3>,
    #[layer(groups = 3)]
    second: Conv2d<4, 6, 3>,
}

#[network(sequential)]
struct OutputChannels {
    #[layer(groups = 2)]
    only: Conv2d<4, 5, 3>,
}

#[network(sequential)]
struct Channels {
    first: Conv2d<3, 4, 3>,
    second: Conv2d<5, 6, 3>,
}

#[network]
struct Kernel {
    conv: Conv2d<1, 4, 7>,
}

#[network]
impl Kernel {
    fn forward(&self, x: Tensor<B, 1, 5, 5>) -> Tensor {
        self.conv(x)
    }
}

#[network(sequential)]
struct Norm {
    conv: Conv2d<3, 4, 3>,
    norm: GroupNorm<3, 4>,
}

#[network(sequential)]
struct NormChannels {
    conv: Conv2d<3, 4, 3>,
    norm: GroupNorm<2, 6>,
}

#[network(sequential)]
struct Padding {
    #[layer(padding = 2)]
    pool: MaxPool2d<3>,
}

#[network(sequential)]
struct OutputPadding {
    #[layer(output_padding = 1)]
    up: ConvTranspose2d<3, 4, 2>,
}

#[network]
struct Border {
    pad: ReflectionPad2d<5>,
}

#[network]
impl Border {
    fn forward(&self, x: Tensor<B, 1, 5, 5>) -> Tensor {
        self.pad(x)
    }
}

#[network]
fn stride(x: Tensor<B, 3, 8, 8>, weight: Tensor<4, 3, 3, 3>) -> Tensor {
    conv2d(x, weight, [1, 2, 1], 0, 1, 1)
}

#[network]
fn result(x: Tensor<B, 3, 9, 8>, weight: Tensor<4, 3, 3, 3>) -> Tensor<B, 4, 4, 4> {
    conv2d(x, weight, 2, 1, 1, 1)
}

fn main() {}
