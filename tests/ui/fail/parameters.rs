//! Parameters that training could not change.
use downhill::prelude::*;

#[network]
struct Unused {
    first: Linear<3, 3>,
    forgotten: Linear<3, 3>,
}

#[network]
impl Unused {
    fn loss(&self, x: Tensor<B, 3>) -> Tensor {
        sum(self.first(x))
    }
}

#[network]
struct Cut {
    scores: Linear<3, 4>,
    out: Embedding<4, 2>,
}

#[network]
impl Cut {
    fn loss(&self, x: Tensor<B, 3>) -> Tensor {
        sum(self.out(argmax(self.scores(x))))
    }
}

#[network]
struct OnPurpose {
    frozen: Linear<3, 4>,
    out: Linear<4, 2>,
}

#[network]
impl OnPurpose {
    fn loss(&self, x: Tensor<B, 3>) -> Tensor {
        sum(self.out(stop_gradient(self.frozen(x))))
    }
}

fn main() {}
