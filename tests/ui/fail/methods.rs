//! Methods of a network that cannot be.
use downhill::prelude::*;

#[network]
struct Net {
    layer: Linear<2, 2>,
}

#[network]
impl Net {
    fn by_value(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x
    }

    fn unique(&mut self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x
    }

    fn no_field(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.missing(x)
    }

    fn path(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        Self::by_value(self, x)
    }

    const LIMIT: usize = 3;
}

fn main() {}
