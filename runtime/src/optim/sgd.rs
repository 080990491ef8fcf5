//! Stochastic gradient descent.

use super::{Optimizer, Updated, check, decayed, descent, given, not_negative, set};
use crate::error::Result;
use crate::graph::{Stage, Value};
use crate::network;

/// The momentum buffer with its share of a new gradient.
#[network]
fn gathered(buffer: Tensor, grad: Tensor, share: Tensor, momentum: f32) -> Tensor {
    buffer * momentum + grad * share
}

/// Nesterov's direction: where the momentum leads after this gradient.
#[network]
fn ahead(grad: Tensor, buffer: Tensor, momentum: f32) -> Tensor {
    grad + buffer * momentum
}

/// Stochastic gradient descent, with momentum if asked, as `torch.optim.SGD` computes it:
///
/// ```text
/// d ← grad + weight_decay · w
/// v ← momentum · v + (1 − dampening) · d      (v = d at the first step)
/// w ← w − lr · v                              (nesterov: w − lr · (d + momentum · v))
/// ```
///
/// Without momentum `w ← w − lr · d`, and no state is kept.
///
/// | setting | default | range |
/// |---|---|---|
/// | `lr` | | finite, at least 0 |
/// | `momentum` | 0 | finite, at least 0 |
/// | `dampening` | 0 | finite |
/// | `nesterov` | false | needs momentum above 0 and dampening 0 |
/// | `weight_decay` | 0 | finite, at least 0 |
///
/// Formulas: [PyTorch's documentation](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html),
/// after Sutskever et al., On the importance of initialization and momentum in deep learning (2013).
///
/// ```
/// use downhill::optim::{Optimizer, Sgd};
///
/// let rule = Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(1e-4);
/// assert_eq!(rule.state(), ["momentum_buffer"]);
/// assert!(rule.check().is_ok());
/// assert!(Sgd::new(-0.1).check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    lr: f32,
    momentum: f32,
    dampening: f32,
    nesterov: bool,
    weight_decay: f32,
}

impl Sgd {
    /// Plain gradient descent with a learning rate.
    pub const fn new(lr: f32) -> Sgd {
        Sgd { lr, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// The share of the previous direction that is kept; 0 by default.
    pub const fn momentum(mut self, momentum: f32) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// The share of a gradient that is left out of the momentum; 0 by default.
    pub const fn dampening(mut self, dampening: f32) -> Sgd {
        self.dampening = dampening;
        self
    }

    /// Whether to look one step ahead; `false` by default.
    pub const fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.nesterov = nesterov;
        self
    }

    /// The multiple of the weights that is added to their gradient; 0 by default.
    pub const fn weight_decay(mut self, weight_decay: f32) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    fn has_momentum(&self) -> bool {
        self.momentum != 0.0
    }
}

impl Optimizer for Sgd {
    fn state(&self) -> &'static [&'static str] {
        if self.has_momentum() { &["momentum_buffer"] } else { &[] }
    }

    fn numbers(&self) -> usize {
        if self.has_momentum() && self.dampening != 0.0 { 2 } else { 1 }
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        set(numbers, &[lr, if step == 1 { 1.0 } else { 1.0 - self.dampening }]);
    }

    fn lr(&self) -> f32 {
        self.lr
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let grad = decayed(g, grad, weight, self.weight_decay);
        let (direction, state) = match *state {
            [buffer] => {
                let share = numbers.get(1).copied().unwrap_or(Value::Number(1.0));
                let buffer = gathered::stage(g, buffer, grad, share, self.momentum);
                let direction = if self.nesterov { ahead::stage(g, grad, buffer, self.momentum) } else { buffer };
                (direction, vec![buffer])
            }
            _ => (grad, vec![]),
        };
        Updated { weight: descent::stage(g, weight, direction, given(numbers, 0)), state }
    }

    fn check(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        not_negative("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        check("dampening", self.dampening, "a finite number", self.dampening.is_finite())?;
        let nesterov = !self.nesterov || (self.has_momentum() && self.dampening == 0.0);
        check("nesterov", self.nesterov, "false, unless momentum is above 0 and dampening is 0", nesterov)
    }
}
