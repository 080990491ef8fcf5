//! One rise and one fall.

use std::f64::consts::PI;

use super::{Schedule, check_steps, length};
use crate::error::Result;
use crate::optim::check;

/// The rate rises to the whole of it, the largest there is, and falls far below where it started,
/// both along half a wave of a cosine. PyTorch calls it
/// [`OneCycleLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html);
/// this one leaves the momentum alone.
///
/// | setting | default | range |
/// |---|---|---|
/// | `rise` | 0.3 of the steps | 0 to 1 |
/// | `start` | 1 / 25 | 0 to 1 |
/// | `end` | 1 / 250 000 | 0 to 1 |
/// | `steps` | all | at least 1 |
///
/// In PyTorch's terms `rise` is `pct_start`, `start` is `1 / div_factor`, and `end` is
/// `1 / (div_factor · final_div_factor)`.
///
/// Formula: Smith, Topin, [Super-convergence](https://arxiv.org/abs/1708.07120) (2019).
///
/// ```
/// use downhill::prelude::*;
///
/// let schedule = OneCycle::new().rise(0.5).start(0.1).end(0.0);
/// assert_eq!([0, 4, 9].map(|n| schedule.at(n, 10)), [0.1, 1.0, 0.0]);
/// assert!(schedule.rise(1.5).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    rise: f32,
    start: f32,
    end: f32,
    steps: Option<u64>,
}

impl OneCycle {
    /// One cycle over all steps.
    pub const fn new() -> OneCycle {
        OneCycle { rise: 0.3, start: 1.0 / 25.0, end: 1.0 / 25e4, steps: None }
    }

    /// The part of the steps in which the rate rises; 0.3 by default.
    pub const fn rise(mut self, rise: f32) -> OneCycle {
        self.rise = rise;
        self
    }

    /// The factor of the first step; 1 / 25 by default.
    pub const fn start(mut self, start: f32) -> OneCycle {
        self.start = start;
        self
    }

    /// The factor of the last step; 1 / 250 000 by default.
    pub const fn end(mut self, end: f32) -> OneCycle {
        self.end = end;
        self
    }

    /// The steps of the cycle, after which the rate stays; all by default.
    pub const fn steps(mut self, steps: u64) -> OneCycle {
        self.steps = Some(steps);
        self
    }
}

impl Default for OneCycle {
    fn default() -> OneCycle {
        OneCycle::new()
    }
}

impl Schedule for OneCycle {
    fn at(&self, step: u64, total: u64) -> f32 {
        let steps = length(self.steps, total) as f64;
        let (step, last) = (step as f64, steps - 1.0);
        // The rate is highest one step before the share, between two steps as a rule.
        let top = (self.rise as f64 * steps - 1.0).max(0.0);
        let (from, to, part) = if step < top {
            (self.start, 1.0, step / top)
        } else if step < last {
            (1.0, self.end, (step - top) / (last - top))
        } else {
            return self.end;
        };
        let (from, to) = (from as f64, to as f64);
        (to + (from - to) * (1.0 + (PI * part).cos()) / 2.0) as f32
    }

    fn check(&self) -> Result<()> {
        for (setting, value) in [("rise", self.rise), ("start", self.start), ("end", self.end)] {
            check(setting, value, "a number from 0 to 1", (0.0..=1.0).contains(&value))?;
        }
        check_steps("steps", self.steps)
    }
}
