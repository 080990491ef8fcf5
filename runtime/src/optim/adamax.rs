//! Adamax.

use super::{Optimizer, Updated, average, below_one, correction, decayed, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{abs, maximum};

/// The largest size of a gradient so far, where older ones fade.
#[network]
fn largest(old: Tensor, grad: Tensor, beta2: f32, eps: f32) -> Tensor {
    maximum(old * beta2, abs(grad) + eps)
}

/// The new weight.
#[network]
fn adamax_step(weight: Tensor, exp_avg: Tensor, exp_inf: Tensor, size: Tensor) -> Tensor {
    weight - size * exp_avg / exp_inf
}

/// Adamax, Adam with the largest size of the gradient in place of its root mean square, as
/// `torch.optim.Adamax` computes it:
///
/// ```text
/// d ← grad + weight_decay · w
/// m ← β₁ · m + (1 − β₁) · d
/// u ← max(β₂ · u, |d| + eps)
/// w ← w − lr / (1 − β₁ᵗ) · m / u      at step t, from one
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.999 | at least 0, below 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: Kingma, Ba, [Adam](https://arxiv.org/abs/1412.6980) (2015), section 7.1, and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html).
///
/// ```
/// use downhill::optim::{Adamax, Optimizer};
///
/// let rule = Adamax::new(2e-3).betas(0.9, 0.99);
/// assert_eq!(rule.state(), ["exp_avg", "exp_inf"]);
/// assert!(rule.eps(-1.0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
}

impl Adamax {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> Adamax {
        Adamax { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }

    /// The share kept of the average of the gradient and of its largest size; 0.9 and 0.999 by default.
    pub const fn betas(mut self, beta1: f32, beta2: f32) -> Adamax {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// What is added to the size of a gradient; 1e-8 by default.
    pub const fn eps(mut self, eps: f32) -> Adamax {
        self.eps = eps;
        self
    }

    /// The multiple of the weights that is added to their gradient; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> Adamax {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Adamax {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn numbers(&self) -> usize {
        1
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &[(lr as f64 / correction(self.beta1, step)) as f32]);
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let grad = decayed(g, grad, weight, self.weight_decay);
        let exp_avg = average::stage(g, given(state, 0), grad, self.beta1);
        let exp_inf = largest::stage(g, given(state, 1), grad, self.beta2, self.eps);
        let weight = adamax_step::stage(g, weight, exp_avg, exp_inf, given(numbers, 0));
        Updated { weight, state: vec![exp_avg, exp_inf] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        below_one("betas.0", self.beta1)?;
        below_one("betas.1", self.beta2)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
