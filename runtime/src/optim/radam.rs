//! RAdam.

use super::{Optimizer, Updated, average, below_one, correction, decayed, given, not_negative, power, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{mul, select, sqrt};

/// The new weight. [`RAdam::at`](Optimizer::at) says what `size` and `rectified` are.
#[network]
fn radam_step(
    weight: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    size: Tensor,
    rectified: Tensor,
    eps: f32,
) -> Tensor {
    weight - size * exp_avg * select(rectified > 0.0, rectified / (sqrt(exp_avg_sq) + eps), 1.0)
}

/// Adam whose first steps do not divide by a variance that is hardly known yet, as
/// `torch.optim.RAdam` computes it:
///
/// ```text
/// d  ← grad + weight_decay · w         (decoupled: w ← w − lr · weight_decay · w, d ← grad)
/// m  ← β₁ · m + (1 − β₁) · d
/// v  ← β₂ · v + (1 − β₂) · d²
/// ρ∞ = 2 / (1 − β₂) − 1
/// ρ  = ρ∞ − 2 t · β₂ᵗ / (1 − β₂ᵗ)
/// r  = √((ρ − 4) (ρ − 2) ρ∞ / ((ρ∞ − 4) (ρ∞ − 2) ρ))
/// w  ← w − lr · m / (1 − β₁ᵗ) · r · √(1 − β₂ᵗ) / (√v + eps)      where ρ > 5, at step t, from one
/// w  ← w − lr · m / (1 − β₁ᵗ)                                    elsewhere
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.999 | at least 0, below 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
/// | `decoupled_weight_decay` | false | |
///
/// Formulas: Liu et al., [On the variance of the adaptive learning rate and
/// beyond](https://arxiv.org/abs/1908.03265) (2020), and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html).
///
/// ```
/// use downhill::optim::{Optimizer, RAdam};
///
/// let rule = RAdam::new(1e-3).betas(0.9, 0.99);
/// assert_eq!(rule.state(), ["exp_avg", "exp_avg_sq"]);
/// assert!(rule.betas(1.0, 0.99).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    decoupled: bool,
}

impl RAdam {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> RAdam {
        RAdam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decoupled: false }
    }

    /// The share kept of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub const fn betas(mut self, beta1: f32, beta2: f32) -> RAdam {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// What is added to the denominator; 1e-8 by default.
    pub const fn eps(mut self, eps: f32) -> RAdam {
        self.eps = eps;
        self
    }

    /// The weight decay; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> RAdam {
        self.weight_decay = weight_decay;
        self
    }

    /// Whether weight decay shrinks the weights, as in AdamW, in place of entering the gradient;
    /// `false` by default.
    pub const fn decoupled_weight_decay(mut self, decoupled: bool) -> RAdam {
        self.decoupled = decoupled;
        self
    }

    /// The factor `r · √(1 − β₂ᵗ)`, or zero where the variance is hardly known.
    fn rectified(&self, step: u64) -> f64 {
        let (beta2, known) = (self.beta2 as f64, correction(self.beta2, step));
        let limit = 2.0 / (1.0 - beta2) - 1.0;
        let length = limit - 2.0 * step as f64 * power(beta2, step) / known;
        if length <= 5.0 {
            return 0.0;
        }
        let r = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
        (r * known).sqrt()
    }
}

impl Optimizer for RAdam {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn numbers(&self) -> usize {
        3
    }

    /// The step size `lr / (1 − β₁ᵗ)`, the factor of the adaptive part, or zero where there is none,
    /// and what decoupled weight decay leaves of a weight.
    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        let lr = lr as f64;
        let kept = 1.0 - lr * self.weight_decay as f64;
        set(numbers, &[lr / correction(self.beta1, step), self.rectified(step), kept].map(|x| x as f32));
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let (weight, grad) = match self.decoupled {
            true => (mul::stage(g, weight, given(numbers, 2)), grad),
            false => (weight, decayed(g, grad, weight, self.weight_decay)),
        };
        let exp_avg = average::stage(g, given(state, 0), grad, self.beta1);
        let square = mul::stage(g, grad, grad);
        let exp_avg_sq = average::stage(g, given(state, 1), square, self.beta2);
        let weight = radam_step::stage(g, weight, exp_avg, exp_avg_sq, given(numbers, 0), given(numbers, 1), self.eps);
        Updated { weight, state: vec![exp_avg, exp_avg_sq] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        below_one("betas.0", self.beta1)?;
        below_one("betas.1", self.beta2)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
