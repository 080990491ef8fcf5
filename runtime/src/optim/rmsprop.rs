//! RMSprop.

use super::{Optimizer, Updated, average, check, decayed, descent, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{maximum, mul, sqrt};

/// The gradient over its root mean square.
#[network]
fn normalised(grad: Tensor, square: Tensor, eps: f32) -> Tensor {
    grad / (sqrt(square) + eps)
}

/// The variance, from the averages of the square and of the gradient. Rounding may bring the
/// difference below zero, where it has no root.
#[network]
fn variance(square_avg: Tensor, grad_avg: Tensor) -> Tensor {
    maximum(square_avg - grad_avg * grad_avg, 0.0)
}

/// The momentum buffer with a new direction.
#[network]
fn gathered(buffer: Tensor, direction: Tensor, momentum: f32) -> Tensor {
    buffer * momentum + direction
}

/// RMSprop, as `torch.optim.RMSprop` computes it:
///
/// ```text
/// d ← grad + weight_decay · w
/// v ← alpha · v + (1 − alpha) · d²
/// a ← alpha · a + (1 − alpha) · d                   (centered only; else a = 0)
/// b ← momentum · b + d / (√(v − a²) + eps)
/// w ← w − lr · b
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `alpha` | 0.99 | 0 to 1 |
/// | `eps` | 1e-8 | finite, at least 0 |
/// | `momentum` | 0 | finite, at least 0 |
/// | `centered` | false | |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: Hinton, [lecture 6 of Neural networks for machine
/// learning](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf) (2012), Graves,
/// [Generating sequences](https://arxiv.org/abs/1308.0850) (2013) for `centered`, and
/// [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).
///
/// ```
/// use downhill::optim::{Optimizer, RmsProp};
///
/// let rule = RmsProp::new(0.01).momentum(0.9).centered(true);
/// assert_eq!(rule.state(), ["square_avg", "momentum_buffer", "grad_avg"]);
/// assert!(rule.alpha(-0.1).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    lr: f32,
    alpha: f32,
    eps: f32,
    momentum: f32,
    centered: bool,
    weight_decay: f32,
}

impl RmsProp {
    /// The rule with a learning rate and the defaults.
    pub const fn new(lr: f32) -> RmsProp {
        RmsProp { lr, alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 }
    }

    /// The share kept of the averages; 0.99 by default.
    pub const fn alpha(mut self, alpha: f32) -> RmsProp {
        self.alpha = alpha;
        self
    }

    /// What is added to the denominator; 1e-8 by default.
    pub const fn eps(mut self, eps: f32) -> RmsProp {
        self.eps = eps;
        self
    }

    /// The share of the previous direction that is kept; 0 by default.
    pub const fn momentum(mut self, momentum: f32) -> RmsProp {
        self.momentum = momentum;
        self
    }

    /// Whether to divide by the standard deviation of the gradient in place of its root mean
    /// square; `false` by default.
    pub const fn centered(mut self, centered: bool) -> RmsProp {
        self.centered = centered;
        self
    }

    /// The multiple of the weights that is added to their gradient; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> RmsProp {
        self.weight_decay = weight_decay;
        self
    }

    fn has_momentum(&self) -> bool {
        self.momentum != 0.0
    }
}

impl Optimizer for RmsProp {
    fn state(&self) -> &'static [&'static str] {
        match (self.has_momentum(), self.centered) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "momentum_buffer", "grad_avg"],
        }
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
        let square_avg = average::stage(g, given(state, 0), square, self.alpha);
        let grad_avg =
            self.centered.then(|| average::stage(g, given(state, state.len().saturating_sub(1)), grad, self.alpha));
        let square = grad_avg.map_or(square_avg, |grad_avg| variance::stage(g, square_avg, grad_avg));
        let direction = normalised::stage(g, grad, square, self.eps);
        let buffer = self.has_momentum().then(|| gathered::stage(g, given(state, 1), direction, self.momentum));
        let weight = descent::stage(g, weight, buffer.unwrap_or(direction), given(numbers, 0));
        Updated { weight, state: [Some(square_avg), buffer, grad_avg].into_iter().flatten().collect() }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        check("alpha", self.alpha, "a number from 0 to 1", (0.0..=1.0).contains(&self.alpha))?;
        not_negative("eps", self.eps)?;
        not_negative("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
