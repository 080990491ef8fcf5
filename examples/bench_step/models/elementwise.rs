//! A function of single elements with its derivative: y = gelu(1.3 x + 0.1) · sigmoid(x), and the
//! gradient of the sum of y with respect to x. Both are written to memory at every step.

use anyhow::{Result, bail};
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Computation, Profile};

use super::training::normal;
use super::{Bench, Build};

#[network]
fn gated(x: Tensor) -> Tensor {
    gelu_tanh(x * 1.3 + 0.1) * sigmoid(x)
}

struct Elementwise {
    x: Tensor,
    with_gradient: Computation,
    alone: Computation,
}

/// The function of so many elements.
pub fn workload(len: usize) -> Result<Build> {
    let x = normal(&[len])?;
    Ok(Box::new(move || {
        let mut g = Stage::new();
        let input = Value::Var(g.input(0, &[len], DType::F32));
        let y = gated::stage(&mut g, input);
        let alone = g.compile(&[y])?;
        let ones = g.fill(1.0, &[len]);
        let Some(dx) = gated::grad(&mut g, input, Some(ones)) else { bail!("the function has no gradient") };
        let with_gradient = g.compile(&[y, Value::Var(dx)])?;
        Ok(Box::new(Elementwise { x, with_gradient, alone }))
    }))
}

impl Bench for Elementwise {
    fn step(&mut self) -> Result<()> {
        Ok(self.with_gradient.run(&self.x)?)
    }

    /// In place of a loss, the mean of y.
    fn loss(&self) -> f64 {
        let Ok(y) = self.with_gradient.data(0) else { return f64::NAN };
        y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64
    }

    fn forward(&mut self) -> Result<()> {
        Ok(self.alone.run(&self.x)?)
    }

    fn profile(&mut self, runs: usize) -> Result<Profile> {
        Ok(self.with_gradient.profile(&self.x, runs)?)
    }
}
