//! Inputs are what the library knows.
use downhill::{Input, Inputs};

struct Own;

impl Inputs for Own {
    fn all(&self) -> impl AsRef<[Input<'_>]> {
        []
    }
}

fn main() {}
