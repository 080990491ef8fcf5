//! Learning-rate schedules: the factor of the learning rate at every step.
//!
//! A schedule does not know the rate itself, only what share of it a step takes, so that one
//! schedule serves every optimizer. Steps are counted from zero here: `at(n, total)` is for the
//! step that `n` others came before. A schedule without a length of its own lasts for all `total`.

mod cosine;
mod decay;
mod one_cycle;

pub use cosine::{Cosine, CosineRestarts};
pub use decay::{Constant, ExponentialDecay, PolynomialDecay, Ramp, StepDecay};
pub use one_cycle::OneCycle;

use super::check;
use crate::error::Result;

/// A learning-rate schedule.
///
/// With a trainer, it is a setting; in a loop of one's own, it says what [`Step::set_lr`] takes.
/// A closure of the step and the number of all steps is a schedule too.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential, loss = mse)]
/// struct Line {
///     line: Linear<1, 1>,
/// }
///
/// let x = Tensor::new([4, 1], [0.0, 1.0, 2.0, 3.0])?;
/// let mut model = Line::init(0);
/// Trainer::new(&mut model, Line::loss).schedule(Cosine::new().warmup(10)).fit(&(x.clone(), x.clone()), &(), Epochs(50))?;
///
/// let halves = |n: u64, _total: u64| 0.5f32.powi(n as i32);
/// assert_eq!(halves.warmup(4).at(6, 20), 0.25);
///
/// let schedule = Cosine::new().min(0.1);
/// let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
/// for n in 0..20 {
///     step.set_lr(0.1 * schedule.at(n, 20))?;
///     step.run(&mut model, (&x, &x))?;
/// }
/// # Ok::<(), downhill::Error>(())
/// ```
///
/// [`Step::set_lr`]: crate::Step::set_lr
pub trait Schedule: Send + Sync {
    /// The factor of the learning rate at a step, counted from zero, where all steps are `total`.
    fn at(&self, step: u64, total: u64) -> f32;

    /// Refuses settings outside their range; a trainer asks before the first step.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) with the name of the setting and its range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// This schedule for some steps, then another one from its start. Neither sees the steps of the
    /// other: what has no length of its own lasts for the steps of its part. PyTorch calls it
    /// [`SequentialLR`](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html).
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// let schedule = Constant::new(1.0).then(10, Constant::new(0.1)).then(20, Cosine::new());
    /// assert_eq!([0, 9, 10, 20].map(|n| schedule.at(n, 30)), [1.0, 1.0, 0.1, 1.0]);
    /// ```
    fn then<S: Schedule>(self, steps: u64, next: S) -> Then<Self, S>
    where
        Self: Sized,
    {
        Then { first: self, steps, next }
    }

    /// This schedule after some steps in which the rate rises in a line to the whole of it. The
    /// first step takes the share `1 / (steps + 1)`, so that none is wasted.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// let schedule = Constant::new(1.0).warmup(3);
    /// assert_eq!([0, 1, 2, 3, 4].map(|n| schedule.at(n, 10)), [0.25, 0.5, 0.75, 1.0, 1.0]);
    /// ```
    fn warmup(self, steps: u64) -> Then<Ramp, Self>
    where
        Self: Sized,
    {
        Ramp::new(1.0 / (steps as f32 + 1.0), 1.0, steps).then(steps, self)
    }
}

impl<F: Fn(u64, u64) -> f32 + Send + Sync> Schedule for F {
    fn at(&self, step: u64, total: u64) -> f32 {
        self(step, total)
    }
}

/// One schedule after another: what [`Schedule::then`] and [`Schedule::warmup`] give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Then<A, B> {
    first: A,
    steps: u64,
    next: B,
}

impl<A: Schedule, B: Schedule> Schedule for Then<A, B> {
    fn at(&self, step: u64, total: u64) -> f32 {
        match step.checked_sub(self.steps) {
            None => self.first.at(step, self.steps),
            Some(step) => self.next.at(step, total.saturating_sub(self.steps)),
        }
    }

    fn check(&self) -> Result<()> {
        self.first.check()?;
        self.next.check()
    }
}

/// A length that was given, or that of all steps; never zero.
fn length(steps: Option<u64>, total: u64) -> u64 {
    steps.unwrap_or(total).max(1)
}

/// A number of steps must be at least one, where it is given.
fn check_steps(setting: &'static str, steps: Option<u64>) -> Result<()> {
    check(setting, steps.unwrap_or(1), "at least 1", steps != Some(0))
}
