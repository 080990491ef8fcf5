//! A constant rate, and rates that change in lines, stairs and powers.

use super::{Schedule, check_steps, length};
use crate::error::Result;
use crate::optim::{check, not_negative, power};

/// The same factor at every step; a part of a sequence.
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = Constant::new(0.1).then(5, Constant::new(1.0));
/// assert_eq!([0, 4, 5].map(|n| schedule.at(n, 10)), [0.1, 0.1, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    factor: f32,
}

impl Constant {
    /// A factor, finite and at least 0.
    pub const fn new(factor: f32) -> Constant {
        Constant { factor }
    }
}

impl Schedule for Constant {
    fn at(&self, _step: u64, _total: u64) -> f32 {
        self.factor
    }

    fn check(&self) -> Result<()> {
        not_negative("factor", self.factor)
    }
}

/// A line from one factor to another over some steps, and the second one after them:
/// `from + (to − from) · min(n / steps, 1)`. PyTorch calls it
/// [`LinearLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html).
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = Ramp::new(0.5, 1.0, 2);
/// assert_eq!([0, 1, 2, 3].map(|n| schedule.at(n, 10)), [0.5, 0.75, 1.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    from: f32,
    to: f32,
    steps: u64,
}

impl Ramp {
    /// A line over `steps` steps; both factors are finite and at least 0.
    pub const fn new(from: f32, to: f32, steps: u64) -> Ramp {
        Ramp { from, to, steps }
    }
}

impl Schedule for Ramp {
    fn at(&self, step: u64, _total: u64) -> f32 {
        if step >= self.steps {
            return self.to;
        }
        let (from, to) = (self.from as f64, self.to as f64);
        (from + (to - from) * (step as f64 / self.steps as f64)) as f32
    }

    fn check(&self) -> Result<()> {
        not_negative("from", self.from)?;
        not_negative("to", self.to)
    }
}

/// Stairs: the rate is multiplied by `gamma` after every `steps` steps, `gamma^⌊n / steps⌋`.
/// PyTorch calls it
/// [`StepLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html).
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = StepDecay::new(10, 0.5);
/// assert_eq!([0, 9, 10, 20].map(|n| schedule.at(n, 30)), [1.0, 1.0, 0.5, 0.25]);
/// assert!(StepDecay::new(0, 0.5).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    steps: u64,
    gamma: f32,
}

impl StepDecay {
    /// A factor `gamma`, finite and at least 0, after every `steps` steps, at least 1.
    pub const fn new(steps: u64, gamma: f32) -> StepDecay {
        StepDecay { steps, gamma }
    }
}

impl Schedule for StepDecay {
    fn at(&self, step: u64, _total: u64) -> f32 {
        power(self.gamma.into(), step / self.steps.max(1)) as f32
    }

    fn check(&self) -> Result<()> {
        check_steps("steps", Some(self.steps))?;
        not_negative("gamma", self.gamma)
    }
}

/// The rate is multiplied by `gamma` after every step, `gammaⁿ`. PyTorch calls it
/// [`ExponentialLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html).
///
/// ```
/// use downhill::prelude::*;
///
/// assert_eq!([0, 1, 2].map(|n| ExponentialDecay::new(0.5).at(n, 10)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialDecay {
    gamma: f32,
}

impl ExponentialDecay {
    /// A factor `gamma` a step, from 0 to 1.
    pub const fn new(gamma: f32) -> ExponentialDecay {
        ExponentialDecay { gamma }
    }
}

impl Schedule for ExponentialDecay {
    fn at(&self, step: u64, _total: u64) -> f32 {
        power(self.gamma.into(), step) as f32
    }

    fn check(&self) -> Result<()> {
        check("gamma", self.gamma, "a number from 0 to 1", (0.0..=1.0).contains(&self.gamma))
    }
}

/// From the whole rate to nothing along a power, `(1 − n / steps)^power`. PyTorch calls it
/// [`PolynomialLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.PolynomialLR.html).
///
/// | setting | default | range |
/// |---|---|---|
/// | `power` | 1, a line | finite, at least 0 |
/// | `steps` | all | at least 1 |
///
/// ```
/// use downhill::prelude::*;
///
/// assert_eq!([0, 5, 10].map(|n| PolynomialDecay::new().at(n, 10)), [1.0, 0.5, 0.0]);
/// assert_eq!(PolynomialDecay::new().power(2.0).steps(4).at(2, 10), 0.25);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolynomialDecay {
    power: f32,
    steps: Option<u64>,
}

impl PolynomialDecay {
    /// A line to nothing at the end of all steps.
    pub const fn new() -> PolynomialDecay {
        PolynomialDecay { power: 1.0, steps: None }
    }

    /// The power; 1 by default.
    pub const fn power(mut self, power: f32) -> PolynomialDecay {
        self.power = power;
        self
    }

    /// How many steps it takes to nothing, where it stays; all by default.
    pub const fn steps(mut self, steps: u64) -> PolynomialDecay {
        self.steps = Some(steps);
        self
    }
}

impl Default for PolynomialDecay {
    fn default() -> PolynomialDecay {
        PolynomialDecay::new()
    }
}

impl Schedule for PolynomialDecay {
    fn at(&self, step: u64, total: u64) -> f32 {
        let steps = length(self.steps, total);
        (1.0 - step.min(steps) as f64 / steps as f64).powf(self.power.into()) as f32
    }

    fn check(&self) -> Result<()> {
        check_steps("steps", self.steps)?;
        not_negative("power", self.power)
    }
}
