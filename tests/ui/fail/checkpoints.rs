//! `#[checkpoint]` in front of what is no call.
use downhill::prelude::*;

#[network]
struct Net {
    line: Linear<2, 2>,
}

#[network]
impl Net {
    fn statement(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[checkpoint]
        let y = self.line(x);
        y
    }

    fn variable(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = #[checkpoint] x;
        y + self.line(x)
    }

    fn another(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[inline] self.line(x)
    }
}

fn main() {}
