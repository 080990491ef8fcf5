//! Adagrad.

use super::{Optimizer, Updated, decayed, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::sqrt;

/// The new weight and sum of squares; `initial` is what the sum starts at, at the first step.
#[network]
fn adagrad_step(
    weight: Tensor,
    grad: Tensor,
    squares: Tensor,
    lr: Tensor,
    initial: Tensor,
    eps: f32,
) -> (Tensor, Tensor) {
    let squares = squares + initial + grad * grad;
    (weight - lr * grad / (sqrt(squares) + eps), squares)
}

/// Adagrad, as `torch.optim.Adagrad` computes it:
///
/// ```text
/// d ← grad + weight_decay · w
/// s ← s + d²                          (s = initial_accumulator_value at first)
/// w ← w − lr / (1 + (t − 1) · lr_decay) · d / (√s + eps)      at step t, from one
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `lr_decay` | 0 | finite, at least 0 |
/// | `initial_accumulator_value` | 0 | finite, at least 0 |
/// | `eps` | 1e-10 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: Duchi, Hazan, Singer, [Adaptive subgradient
/// methods](https://jmlr.org/papers/v12/duchi11a.html) (2011), and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html).
///
/// ```
/// use downhill::optim::{Adagrad, Optimizer};
///
/// let rule = Adagrad::new(0.01).lr_decay(1e-3);
/// assert_eq!(rule.state(), ["sum"]);
/// assert!(rule.lr_decay(-1.0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    lr: f32,
    lr_decay: f32,
    initial_accumulator_value: f32,
    eps: f32,
    weight_decay: f32,
}

impl Adagrad {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> Adagrad {
        Adagrad { lr, lr_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10, weight_decay: 0.0 }
    }

    /// How fast the learning rate falls with the number of steps; 0 by default.
    pub const fn lr_decay(mut self, lr_decay: f32) -> Adagrad {
        self.lr_decay = lr_decay;
        self
    }

    /// What the sums of squares start at; 0 by default.
    pub const fn initial_accumulator_value(mut self, value: f32) -> Adagrad {
        self.initial_accumulator_value = value;
        self
    }

    /// What is added to the denominator; 1e-10 by default.
    pub const fn eps(mut self, eps: f32) -> Adagrad {
        self.eps = eps;
        self
    }

    /// The multiple of the weights that is added to their gradient; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> Adagrad {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adagrad {
    fn state(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn numbers(&self) -> usize {
        2
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        let lr = lr as f64 / (1.0 + step.saturating_sub(1) as f64 * self.lr_decay as f64);
        // The array of sums starts at zero, so the first step brings the value along.
        set(numbers, &[lr as f32, if step == 1 { self.initial_accumulator_value } else { 0.0 }]);
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let grad = decayed(g, grad, weight, self.weight_decay);
        let (weight, sum) =
            adagrad_step::stage(g, weight, grad, given(state, 0), given(numbers, 0), given(numbers, 1), self.eps);
        Updated { weight, state: vec![sum] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("lr_decay", self.lr_decay)?;
        not_negative("initial_accumulator_value", self.initial_accumulator_value)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
