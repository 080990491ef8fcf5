//! States that are missing something, and what cannot be assigned.
use downhill::prelude::*;

#[network]
struct NoInit {
    mean: State<3>,
}

#[network]
struct Net {
    #[init(zeros)]
    mean: State<3>,
    #[init(ones)]
    weight: Param<3>,
    #[option(0.1)]
    momentum: f32,
    line: Linear<3, 3>,
}

#[network]
impl Net {
    fn a_parameter(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.weight = self.weight * 0.5;
        x
    }

    fn an_option(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.momentum = mean(x);
        x
    }

    fn no_field(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.variance = x;
        x
    }

    fn another_shape(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.mean = x;
        x
    }

    fn branches(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let y = if training() { x } else { self.mean };
        x + y
    }
}

fn main() {}
