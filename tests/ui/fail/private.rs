//! What is checked when it is made cannot be made otherwise.
use downhill::network::Function;
use downhill::prelude::*;
use downhill::{Elements, Input};

#[network(sequential, loss = mse)]
struct Line {
    line: Linear<4, 1>,
}

fn main() {
    let _ = Input { shape: &[1 << 20], elements: Elements::Index(&[]) };
    let _ = Function { name: "other", ..Line::loss };
}
