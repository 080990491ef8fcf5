//! Lion.

use super::{Optimizer, Updated, average, below_one, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::select;

/// The sign of each element: −1, 0 or 1.
#[network]
fn sign(x: Tensor) -> Tensor {
    select(x > 0.0, 1.0, select(x < 0.0, -1.0, 0.0))
}

/// The new weight; `kept` is what weight decay leaves of it.
#[network]
fn lion_step(weight: Tensor, direction: Tensor, lr: Tensor, kept: Tensor) -> Tensor {
    weight * kept - lr * sign(direction)
}

/// Lion: every weight moves by the learning rate, up or down, and weight decay is decoupled:
///
/// ```text
/// w ← w − lr · weight_decay · w
/// w ← w − lr · sign(β₁ · m + (1 − β₁) · grad)
/// m ← β₂ · m + (1 − β₂) · grad
/// ```
///
/// A learning rate three to ten times below that of AdamW, with a weight decay as many times above
/// it, is where to start.
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.99 | at least 0, below 1 |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: Chen et al., [Symbolic discovery of optimization
/// algorithms](https://arxiv.org/abs/2302.06675) (2023), algorithm 2.
///
/// ```
/// use downhill::optim::{Lion, Optimizer};
///
/// let rule = Lion::new(1e-4).weight_decay(0.1);
/// assert_eq!(rule.state(), ["exp_avg"]);
/// assert!(rule.betas(0.9, 1.5).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    lr: f32,
    beta1: f32,
    beta2: f32,
    weight_decay: f32,
}

impl Lion {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> Lion {
        Lion { lr, beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }

    /// The share of the average in the direction, and the share of it that is kept; 0.9 and 0.99 by
    /// default.
    pub const fn betas(mut self, beta1: f32, beta2: f32) -> Lion {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// The share of each weight, times the learning rate, that a step takes away; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> Lion {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Lion {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn numbers(&self) -> usize {
        2
    }

    fn at(&self, _step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &[lr, (1.0 - lr as f64 * self.weight_decay as f64) as f32]);
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let direction = average::stage(g, given(state, 0), grad, self.beta1);
        let weight = lion_step::stage(g, weight, direction, given(numbers, 0), given(numbers, 1));
        Updated { weight, state: vec![average::stage(g, given(state, 0), grad, self.beta2)] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        below_one("betas.0", self.beta1)?;
        below_one("betas.1", self.beta2)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
