//! A training step on one batch in memory, and the random numbers that batches are made of.

use anyhow::Result;
use downhill::network::{Function, Network};
use downhill::prelude::*;
use downhill::{Input, Profile};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Bench, Build};

/// The model, its step and its batch.
struct Training<N: Network, X> {
    model: Model<N>,
    loss: Function<N>,
    step: Step<N>,
    x: X,
    y: Index,
    /// The loss of the latest step.
    latest: f32,
}

/// A workload that trains a network on one batch.
pub fn training<N: Network, X>(
    init: fn(u64) -> Model<N>,
    loss: Function<N>,
    rule: impl Optimizer + 'static,
    (x, y): (X, Index),
) -> Build
where
    X: 'static,
    for<'a> Input<'a>: From<&'a X>,
{
    Box::new(move || {
        let model = init(7);
        let step = Step::new(&model, loss, rule)?;
        Ok(Box::new(Training { model, loss, step, x, y, latest: f32::NAN }))
    })
}

impl<N: Network, X> Bench for Training<N, X>
where
    for<'a> Input<'a>: From<&'a X>,
{
    fn step(&mut self) -> Result<()> {
        self.latest = self.step.run(&mut self.model, (&self.x, &self.y))?;
        Ok(())
    }

    fn loss(&self) -> f64 {
        self.latest.into()
    }

    fn forward(&mut self) -> Result<()> {
        self.model.call(self.loss, (&self.x, &self.y))?;
        Ok(())
    }

    fn profile(&mut self, runs: usize) -> Result<Profile> {
        Ok(self.step.profile(&mut self.model, (&self.x, &self.y), runs)?)
    }
}

/// Normal numbers.
pub fn normal(shape: &[usize]) -> Result<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let numbers = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut rng));
    Ok(Tensor::new(shape, numbers.collect::<Vec<f32>>())?)
}

/// Whole numbers below `below`, all equally likely; another `seed` gives others.
pub fn classes(shape: &[usize], below: usize, seed: u64) -> Result<Index> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let numbers = (0..shape.iter().product()).map(|_| rng.random_range(0..below as i32));
    Ok(Index::new(shape, numbers.collect::<Vec<i32>>())?)
}
