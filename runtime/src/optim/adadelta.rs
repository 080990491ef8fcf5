//! Adadelta.

use super::{Optimizer, Updated, average, check, decayed, descent, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{mul, sqrt};

/// The gradient in units of earlier steps.
#[network]
fn scaled(grad: Tensor, square_avg: Tensor, acc_delta: Tensor, eps: f32) -> Tensor {
    sqrt(acc_delta + eps) / sqrt(square_avg + eps) * grad
}

/// Adadelta, as `torch.optim.Adadelta` computes it:
///
/// ```text
/// d ← grad + weight_decay · w
/// v ← rho · v + (1 − rho) · d²
/// δ ← √(a + eps) / √(v + eps) · d
/// a ← rho · a + (1 − rho) · δ²
/// w ← w − lr · δ
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0; 1 in the paper |
/// | `rho` | 0.9 | 0 to 1 |
/// | `eps` | 1e-6 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: Zeiler, [Adadelta](https://arxiv.org/abs/1212.5701) (2012), and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html).
///
/// ```
/// use downhill::optim::{Adadelta, Optimizer};
///
/// let rule = Adadelta::new(1.0).rho(0.95);
/// assert_eq!(rule.state(), ["square_avg", "acc_delta"]);
/// assert!(rule.rho(1.5).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    lr: f32,
    rho: f32,
    eps: f32,
    weight_decay: f32,
}

impl Adadelta {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> Adadelta {
        Adadelta { lr, rho: 0.9, eps: 1e-6, weight_decay: 0.0 }
    }

    /// The share kept of both averages of squares; 0.9 by default.
    pub const fn rho(mut self, rho: f32) -> Adadelta {
        self.rho = rho;
        self
    }

    /// What is added to both averages under the root; 1e-6 by default.
    pub const fn eps(mut self, eps: f32) -> Adadelta {
        self.eps = eps;
        self
    }

    /// The multiple of the weights that is added to their gradient; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> Adadelta {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adadelta {
    fn state(&self) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn numbers(&self) -> usize {
        1
    }

    fn at(&self, _step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &[lr]);
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let grad = decayed(g, grad, weight, self.weight_decay);
        let square = mul::stage(g, grad, grad);
        let square_avg = average::stage(g, given(state, 0), square, self.rho);
        let delta = scaled::stage(g, grad, square_avg, given(state, 1), self.eps);
        let square = mul::stage(g, delta, delta);
        let acc_delta = average::stage(g, given(state, 1), square, self.rho);
        Updated { weight: descent::stage(g, weight, delta, given(numbers, 0)), state: vec![square_avg, acc_delta] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        check("rho", self.rho, "a number from 0 to 1", (0.0..=1.0).contains(&self.rho))?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
