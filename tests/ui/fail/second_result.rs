//! A parameter that reaches a result of the loss function, but not the loss, which is the first one.
use downhill::prelude::*;

#[network]
struct Net {
    hidden: Linear<2, 2>,
    out: Linear<2, 2>,
}

#[network]
impl Net {
    fn loss(&self, x: Tensor<B, 2>) -> (Tensor, Tensor) {
        let hidden = self.hidden(x);
        (mean(hidden), mean(self.out(hidden)))
    }
}

fn main() {}
