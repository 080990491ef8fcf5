//! Assignments that are refused before anything is generated.
use downhill::prelude::*;

#[network]
struct Inner {
    #[init(zeros)]
    mean: State<3>,
}

#[network]
struct Outer {
    inner: Inner,
    #[option(true)]
    follows: bool,
}

#[network]
impl Outer {
    fn of_another(&self, x: Tensor<3>) -> Tensor<3> {
        self.inner.mean = x;
        x
    }

    fn condition(&self, x: Tensor<3>) -> Tensor<3> {
        if training() && self.follows { x } else { x * 2.0 }
    }
}

#[network]
fn free(x: Tensor<3>) -> Tensor<3> {
    self.mean = x;
    x
}

fn main() {}
