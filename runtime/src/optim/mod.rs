//! Update rules. Each is a network function of the weights, their gradient and its own state, and
//! is compiled like any other: one pass over the flat array of all parameters.
//!
//! Settings have PyTorch's names, defaults and meaning. Numbers that change from step to step, such
//! as the learning rate and bias corrections, are inputs of the compiled update; all others are
//! constants in it.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod lion;
mod nadam;
mod norm;
mod params;
mod radam;
mod rmsprop;
pub mod schedule;
mod sgd;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use lion::Lion;
pub use nadam::NAdam;
pub use norm::Norm;
pub use params::Params;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use schedule::{
    Constant, Cosine, CosineRestarts, ExponentialDecay, OneCycle, PolynomialDecay, Ramp, Schedule, StepDecay,
};
pub use sgd::Sgd;

use crate::error::{Error, Result};
use crate::graph::{Stage, Value};
use crate::network;

/// An update rule.
///
/// A step by which a weight or a state of the rule would become infinite or NaN is refused, and changes nothing. Where
/// intervals of weights, gradients and states do not tell that they stay finite, as behind `exp` or a division by what
/// may be zero, a step first copies what it changes.
pub trait Optimizer: Send + Sync {
    /// The names of its state, one array of the parameters' size each, as PyTorch names them. All
    /// start as zeros.
    fn state(&self) -> &'static [&'static str];

    /// How many numbers of the update change from step to step.
    fn numbers(&self) -> usize;

    /// Those numbers at `step`, counted from one, for the learning rate of that step.
    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]);

    /// The learning rate before any schedule.
    fn lr(&self) -> f32;

    /// Stages the update of every element.
    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated;

    /// Refuses settings outside their range; a step or trainer asks before anything is compiled.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] with the name of the setting and its range.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A rule that is chosen while the program runs.
impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn state(&self) -> &'static [&'static str] {
        (**self).state()
    }

    fn numbers(&self) -> usize {
        (**self).numbers()
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        (**self).at(step, lr, numbers);
    }

    fn lr(&self) -> f32 {
        (**self).lr()
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        (**self).update(g, weight, grad, state, numbers)
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }
}

/// What an update gives.
pub struct Updated {
    /// The new weights.
    pub weight: Value,
    /// The new state, in the order of [`Optimizer::state`].
    pub state: Vec<Value>,
}

/// The gradient of a weight to which a multiple of the weight is added.
#[network]
fn with_decay(grad: Tensor, weight: Tensor, weight_decay: f32) -> Tensor {
    grad + weight * weight_decay
}

/// The gradient with weight decay; none is staged where it is zero.
fn decayed(g: &mut Stage, grad: Value, weight: Value, weight_decay: f32) -> Value {
    if weight_decay == 0.0 { grad } else { with_decay::stage(g, grad, weight, weight_decay) }
}

/// An exponential average that keeps the share `beta`.
#[network]
fn average(old: Tensor, new: Tensor, beta: f32) -> Tensor {
    old * beta + new * (1.0 - beta)
}

/// A step against a direction.
#[network]
fn descent(weight: Tensor, direction: Tensor, lr: Tensor) -> Tensor {
    weight - lr * direction
}

/// What an average over `step` values has been given, `1 − βᵗ`: the rest is the zero it started at.
fn correction(beta: f32, step: u64) -> f64 {
    1.0 - power(beta.into(), step)
}

/// `xⁿ`.
fn power(x: f64, n: u64) -> f64 {
    x.powi(i32::try_from(n).unwrap_or(i32::MAX))
}

/// A setting that must be a finite number of at least zero.
pub(crate) fn not_negative(setting: &'static str, value: f32) -> Result<()> {
    check(setting, value, "a finite number of at least 0", value.is_finite() && value >= 0.0)
}

/// A setting that must be in [0, 1).
fn below_one(setting: &'static str, value: f32) -> Result<()> {
    check(setting, value, "a number of at least 0 and below 1", (0.0..1.0).contains(&value))
}

fn check(setting: &'static str, value: impl ToString, expected: &'static str, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Setting { setting, expected, found: value.to_string() }) }
}

/// A number or state that an update is given. A rule of one's own that passes on too few is refused, as an operation on
/// what is no tensor is.
fn given(values: &[Value], i: usize) -> Value {
    values.get(i).copied().unwrap_or(Value::Unknown)
}

/// Writes the numbers of a step where the update reads them.
fn set(numbers: &mut [f32], values: &[f32]) {
    numbers.iter_mut().zip(values).for_each(|(number, &value)| *number = value);
}
