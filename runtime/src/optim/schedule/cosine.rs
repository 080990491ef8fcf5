//! Half waves of a cosine.

use std::f64::consts::PI;

use super::{Schedule, check_steps, length};
use crate::error::Result;
use crate::optim::check;

/// From one at the start of a half wave to `min` at the end of it.
fn half_wave(min: f32, part: f64) -> f32 {
    let min = min as f64;
    (min + (1.0 - min) * (1.0 + (PI * part).cos()) / 2.0) as f32
}

fn check_min(min: f32) -> Result<()> {
    check("min", min, "a number from 0 to 1", (0.0..=1.0).contains(&min))
}

/// From the whole rate to `min` of it along half a wave of a cosine,
/// `min + (1 − min) · (1 + cos(π · n / steps)) / 2`.
///
/// With a length of its own it rises again after that many steps, as PyTorch's
/// [`CosineAnnealingLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html)
/// does (there `min` is a rate, `eta_min`); without, it stays at `min` after all steps.
///
/// | setting | default | range |
/// |---|---|---|
/// | `min` | 0 | 0 to 1 |
/// | `steps` | all | at least 1 |
///
/// Formula: Loshchilov, Hutter, [SGDR](https://arxiv.org/abs/1608.03983) (2017).
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = Cosine::new().min(0.1);
/// assert_eq!([0, 5, 10].map(|n| schedule.at(n, 10)), [1.0, 0.55, 0.1]);
/// assert!(schedule.min(-1.0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cosine {
    min: f32,
    steps: Option<u64>,
}

impl Cosine {
    /// Half a wave over all steps, down to nothing.
    pub const fn new() -> Cosine {
        Cosine { min: 0.0, steps: None }
    }

    /// The factor at the end of the half wave; 0 by default.
    pub const fn min(mut self, min: f32) -> Cosine {
        self.min = min;
        self
    }

    /// The steps of the half wave; all by default.
    pub const fn steps(mut self, steps: u64) -> Cosine {
        self.steps = Some(steps);
        self
    }
}

impl Schedule for Cosine {
    fn at(&self, step: u64, total: u64) -> f32 {
        let step = if self.steps.is_some() { step } else { step.min(total) };
        half_wave(self.min, step as f64 / length(self.steps, total) as f64)
    }

    fn check(&self) -> Result<()> {
        check_min(self.min)?;
        check_steps("steps", self.steps)
    }
}

/// Half waves of a cosine one after the other, each from the whole rate: the first takes `steps`
/// steps, and every other one `growth` times as many as the one before. PyTorch calls it
/// [`CosineAnnealingWarmRestarts`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.html),
/// with `T_0`, `T_mult` and, as a rate, `eta_min`.
///
/// | setting | default | range |
/// |---|---|---|
/// | `steps` | | at least 1 |
/// | `growth` | 1 | at least 1 |
/// | `min` | 0 | 0 to 1 |
///
/// Formula: Loshchilov, Hutter, [SGDR](https://arxiv.org/abs/1608.03983) (2017).
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = CosineRestarts::new(10).growth(2);
/// assert_eq!([0, 5, 10, 20, 30].map(|n| schedule.at(n, 100)), [1.0, 0.5, 1.0, 0.5, 1.0]);
/// assert!(schedule.growth(0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineRestarts {
    steps: u64,
    growth: u64,
    min: f32,
}

impl CosineRestarts {
    /// Half waves of as many steps each, down to nothing.
    pub const fn new(steps: u64) -> CosineRestarts {
        CosineRestarts { steps, growth: 1, min: 0.0 }
    }

    /// How many times as long as the one before each half wave is; 1 by default.
    pub const fn growth(mut self, growth: u64) -> CosineRestarts {
        self.growth = growth;
        self
    }

    /// The factor at the end of each half wave; 0 by default.
    pub const fn min(mut self, min: f32) -> CosineRestarts {
        self.min = min;
        self
    }
}

impl Schedule for CosineRestarts {
    fn at(&self, step: u64, _total: u64) -> f32 {
        let (mut step, mut steps) = (step, self.steps.max(1));
        if self.growth <= 1 {
            step %= steps;
        }
        while step >= steps {
            step -= steps;
            steps = steps.saturating_mul(self.growth);
        }
        half_wave(self.min, step as f64 / steps as f64)
    }

    fn check(&self) -> Result<()> {
        check_steps("steps", Some(self.steps))?;
        check_steps("growth", Some(self.growth))?;
        check_min(self.min)
    }
}
