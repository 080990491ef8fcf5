//! Adam and AdamW.

use super::{Optimizer, Updated, average, below_one, correction, decayed, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{maximum, mul, sqrt};

/// The new weight. [`Moments::at`] says what `size` and `scale` are.
#[network]
fn adam_step(weight: Tensor, exp_avg: Tensor, square: Tensor, size: Tensor, scale: Tensor, eps: f32) -> Tensor {
    weight - size * exp_avg / (sqrt(square) * scale + eps)
}

/// What both rules share: everything but where the weight decay goes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moments {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    amsgrad: bool,
}

impl Moments {
    const fn new(lr: f32, weight_decay: f32) -> Moments {
        Moments { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, amsgrad: false }
    }

    /// The step size `lr / (1 − β₁ᵗ)`, the factor `1 / √(1 − β₂ᵗ)` of the denominator, and what
    /// decoupled weight decay leaves of a weight.
    fn at(&self, step: u64, lr: f32) -> [f32; 3] {
        let lr = lr as f64;
        [
            (lr / correction(self.beta1, step)) as f32,
            (1.0 / correction(self.beta2, step).sqrt()) as f32,
            (1.0 - lr * self.weight_decay as f64) as f32,
        ]
    }

    fn state(&self) -> &'static [&'static str] {
        if self.amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { &["exp_avg", "exp_avg_sq"] }
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let exp_avg = average::stage(g, given(state, 0), grad, self.beta1);
        let square = mul::stage(g, grad, grad);
        let exp_avg_sq = average::stage(g, given(state, 1), square, self.beta2);
        let mut new = vec![exp_avg, exp_avg_sq];
        if let Some(&largest) = state.get(2) {
            new.push(maximum::stage(g, largest, exp_avg_sq));
        }
        let weight =
            adam_step::stage(g, weight, exp_avg, new[new.len() - 1], given(numbers, 0), given(numbers, 1), self.eps);
        Updated { weight, state: new }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        below_one("betas.0", self.beta1)?;
        below_one("betas.1", self.beta2)?;
        not_negative("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}

/// The settings of both rules, each with the default of its own.
macro_rules! settings {
    ($name:ident, $decay:literal) => {
        impl $name {
            /// The rule with a learning rate and the defaults.
            pub const fn new(lr: f32) -> $name {
                $name(Moments::new(lr, $decay))
            }

            /// The share kept of the averages of the gradient and of its square; 0.9 and 0.999 by
            /// default.
            pub const fn betas(mut self, beta1: f32, beta2: f32) -> $name {
                (self.0.beta1, self.0.beta2) = (beta1, beta2);
                self
            }

            /// What is added to the denominator; 1e-8 by default.
            pub const fn eps(mut self, eps: f32) -> $name {
                self.0.eps = eps;
                self
            }

            #[doc = concat!("The weight decay; ", $decay, " by default.")]
            pub const fn weight_decay(mut self, weight_decay: f32) -> $name {
                self.0.weight_decay = weight_decay;
                self
            }

            /// Whether to divide by the largest average of squares so far in place of the latest;
            /// `false` by default. Formula: Reddi et al., [On the convergence of Adam and
            /// beyond](https://arxiv.org/abs/1904.09237) (2018).
            pub const fn amsgrad(mut self, amsgrad: bool) -> $name {
                self.0.amsgrad = amsgrad;
                self
            }
        }
    };
}

/// Adam, as `torch.optim.Adam` computes it; `weight_decay` is a multiple of the weights that is
/// added to their gradient:
///
/// ```text
/// d ← grad + weight_decay · w
/// m ← β₁ · m + (1 − β₁) · d
/// v ← β₂ · v + (1 − β₂) · d²
/// w ← w − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)      at step t, from one
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.999 | at least 0, below 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
/// | `amsgrad` | false | |
///
/// Formulas: Kingma, Ba, [Adam](https://arxiv.org/abs/1412.6980) (2015), and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).
///
/// ```
/// use downhill::optim::{Adam, Optimizer};
///
/// let rule = Adam::new(1e-3).betas(0.9, 0.99);
/// assert_eq!(rule.state(), ["exp_avg", "exp_avg_sq"]);
/// assert!(rule.betas(0.9, 1.0).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam(Moments);

settings!(Adam, 0.0);

impl Optimizer for Adam {
    fn state(&self) -> &'static [&'static str] {
        self.0.state()
    }

    fn numbers(&self) -> usize {
        2
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &self.0.at(step, lr));
    }

    fn lr(&self) -> f32 {
        self.0.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let grad = decayed(g, grad, weight, self.0.weight_decay);
        self.0.update(g, weight, grad, state, numbers)
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }
}

/// Adam with decoupled weight decay, as `torch.optim.AdamW` computes it: every step first takes
/// `lr · weight_decay` of each weight away, and the gradient is left as it is:
///
/// ```text
/// w ← w − lr · weight_decay · w
/// m ← β₁ · m + (1 − β₁) · grad
/// v ← β₂ · v + (1 − β₂) · grad²
/// w ← w − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)      at step t, from one
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `betas` | 0.9, 0.999 | at least 0, below 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `weight_decay` | 0.01 | finite, at least 0 |
/// | `amsgrad` | false | |
///
/// Formulas: Loshchilov, Hutter, [Decoupled weight decay regularization](https://arxiv.org/abs/1711.05101)
/// (2019), and [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
///
/// ```
/// use downhill::optim::{AdamW, Optimizer};
///
/// let rule = AdamW::new(1e-3).weight_decay(0.1);
/// assert_eq!(rule.lr(), 1e-3);
/// assert!(rule.weight_decay(f32::NAN).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW(Moments);

settings!(AdamW, 0.01);

impl Optimizer for AdamW {
    fn state(&self) -> &'static [&'static str] {
        self.0.state()
    }

    fn numbers(&self) -> usize {
        3
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &self.0.at(step, lr));
    }

    fn lr(&self) -> f32 {
        self.0.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let weight = mul::stage(g, weight, given(numbers, 2));
        self.0.update(g, weight, grad, state, numbers)
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }
}
