//! Update rules. Each is a network function of the weights, their gradient and its own state, and
//! is compiled like any other: one pass over the flat parameter arena.

use crate::graph::{Stage, Value};

/// An update rule.
pub trait Optimizer: Send {
    /// The names of its state, one array of the parameters' size each, as PyTorch names them.
    fn state(&self) -> &'static [&'static str];

    /// How many numbers of the update change from step to step.
    fn numbers(&self) -> usize;

    /// Those numbers at `step`, counted from one, for the learning rate of that step.
    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]);

    /// The learning rate before any schedule.
    fn lr(&self) -> f32;

    /// Stages the update of every element.
    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated;
}

/// What an update gives.
pub struct Updated {
    /// The new weights.
    pub weight: Value,
    /// The new state, in the order of [`Optimizer::state`].
    pub state: Vec<Value>,
}

/// Stochastic gradient descent: `w ← w − lr · grad`.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    lr: f32,
}

impl Sgd {
    /// Gradient descent with a learning rate.
    pub const fn new(lr: f32) -> Sgd {
        Sgd { lr }
    }
}

impl Optimizer for Sgd {
    fn state(&self) -> &'static [&'static str] {
        &[]
    }

    fn numbers(&self) -> usize {
        1
    }

    fn at(&self, _step: u64, lr: f32, numbers: &mut [f32]) {
        numbers[0] = lr;
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, _state: &[Value], numbers: &[Value]) -> Updated {
        let step = crate::ops::mul::stage(g, grad, numbers[0]);
        Updated { weight: crate::ops::sub::stage(g, weight, step), state: vec![] }
    }
}
