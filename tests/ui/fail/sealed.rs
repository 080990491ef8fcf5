//! What is checked once cannot be made otherwise.
use downhill::network::Function;
use downhill::prelude::*;
use downhill::{Elements, Input, Inputs};

#[network(sequential, loss = mse)]
struct Line {
    line: Linear<4, 1>,
}

struct Own;

impl Inputs for Own {
    fn all(&self) -> impl AsRef<[Input<'_>]> {
        []
    }
}

fn main() {
    let _ = Input { shape: &[1 << 20], elements: Elements::Index(&[]) };
    let _ = Function { name: "other", ..Line::loss };
}
