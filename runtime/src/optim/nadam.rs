//! NAdam.

use super::{Optimizer, Updated, average, below_one, correction, decayed, given, not_negative, power, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{mul, sqrt};

/// The new weight. [`NAdam::at`](Optimizer::at) says what the numbers are.
#[network]
fn nadam_step(
    weight: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    grad_size: Tensor,
    avg_size: Tensor,
    scale: Tensor,
    eps: f32,
) -> Tensor {
    weight - (grad_size * grad + avg_size * exp_avg) / (sqrt(exp_avg_sq) * scale + eps)
}

/// Adam with Nesterov's momentum, as `torch.optim.NAdam` computes it:
///
/// ```text
/// d  ← grad + weight_decay · w         (decoupled: w ← w − lr · weight_decay · w, d ← grad)
/// μₜ = β₁ · (1 − ½ · 0.96^(t · momentum_decay))
/// m  ← β₁ · m + (1 − β₁) · d
/// v  ← β₂ · v + (1 − β₂) · d²
/// m̂  = μₜ₊₁ · m / (1 − μ₁ ⋯ μₜ₊₁) + (1 − μₜ) · d / (1 − μ₁ ⋯ μₜ)
/// w  ← w − lr · m̂ / (√v / √(1 − β₂ᵗ) + eps)      at step t, from one
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.999 | at least 0, below 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `momentum_decay` | 0.004 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
/// | `decoupled_weight_decay` | false | |
///
/// Formulas: Dozat, [Incorporating Nesterov momentum into
/// Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ) (2016), and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html).
///
/// ```
/// use downhill::optim::{NAdam, Optimizer};
///
/// let rule = NAdam::new(2e-3).weight_decay(0.01).decoupled_weight_decay(true);
/// assert_eq!(rule.state(), ["exp_avg", "exp_avg_sq"]);
/// assert!(rule.momentum_decay(-1.0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    momentum_decay: f32,
    weight_decay: f32,
    decoupled: bool,
}

impl NAdam {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> NAdam {
        let (momentum_decay, weight_decay) = (0.004, 0.0);
        NAdam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay, weight_decay, decoupled: false }
    }

    /// The share kept of the averages of the gradient and of its square; 0.9 and 0.999 by default.
    pub const fn betas(mut self, beta1: f32, beta2: f32) -> NAdam {
        (self.beta1, self.beta2) = (beta1, beta2);
        self
    }

    /// What is added to the denominator; 1e-8 by default.
    pub const fn eps(mut self, eps: f32) -> NAdam {
        self.eps = eps;
        self
    }

    /// How fast the momentum grows to its full size with the number of steps; 0.004 by default.
    pub const fn momentum_decay(mut self, momentum_decay: f32) -> NAdam {
        self.momentum_decay = momentum_decay;
        self
    }

    /// The weight decay; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> NAdam {
        self.weight_decay = weight_decay;
        self
    }

    /// Whether weight decay shrinks the weights, as in AdamW, in place of entering the gradient;
    /// `false` by default.
    pub const fn decoupled_weight_decay(mut self, decoupled: bool) -> NAdam {
        self.decoupled = decoupled;
        self
    }

    /// The momentum at a step.
    fn mu(&self, step: u64) -> f64 {
        self.beta1 as f64 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay as f64))
    }

    /// The product of the momenta up to a step. The number of factors that are computed does not
    /// grow with training: the product soon vanishes beside one, or the momentum is β₁ from then on.
    fn product(&self, step: u64) -> f64 {
        let mut product = 1.0;
        for t in 1..=step {
            let mu = self.mu(t);
            if mu == self.beta1 as f64 {
                return product * power(mu, step - t + 1);
            }
            product *= mu;
            if product < f64::EPSILON * f64::EPSILON {
                return 0.0;
            }
        }
        product
    }
}

impl Optimizer for NAdam {
    fn state(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn numbers(&self) -> usize {
        4
    }

    /// The shares of the gradient and of its average in a step, the factor `1 / √(1 − β₂ᵗ)` of the
    /// denominator, and what decoupled weight decay leaves of a weight.
    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        let (lr, product, next) = (lr as f64, self.product(step), self.mu(step + 1));
        let grad_size = lr * (1.0 - self.mu(step)) / (1.0 - product);
        let avg_size = lr * next / (1.0 - product * next);
        let scale = 1.0 / correction(self.beta2, step).sqrt();
        set(numbers, &[grad_size, avg_size, scale, 1.0 - lr * self.weight_decay as f64].map(|x| x as f32));
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let (weight, grad) = match self.decoupled {
            true => (mul::stage(g, weight, given(numbers, 3)), grad),
            false => (weight, decayed(g, grad, weight, self.weight_decay)),
        };
        let exp_avg = average::stage(g, given(state, 0), grad, self.beta1);
        let square = mul::stage(g, grad, grad);
        let exp_avg_sq = average::stage(g, given(state, 1), square, self.beta2);
        let [grad_size, avg_size, scale] = [given(numbers, 0), given(numbers, 1), given(numbers, 2)];
        let weight = nadam_step::stage(g, weight, grad, exp_avg, exp_avg_sq, grad_size, avg_size, scale, self.eps);
        Updated { weight, state: vec![exp_avg, exp_avg_sq] }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        below_one("betas.0", self.beta1)?;
        below_one("betas.1", self.beta2)?;
        not_negative("eps", self.eps)?;
        not_negative("momentum_decay", self.momentum_decay)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
