//! GELU in its tanh form, with a slope that is finite for all numbers.

use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// 2 √(2/π).
const LINEAR: f64 = 2.0 * 0.797_884_560_802_865_4;
/// 2 √(2/π) 0.044715.
const CUBIC: f64 = LINEAR * 0.044715;

/// `gelu_tanh(x)`:
/// GELU in its tanh form, ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))): PyTorch's
/// `approximate="tanh"`, as GPT-2 uses it. It is computed as x σ(2 √(2/π) (x + 0.044715 x³)), which is the same.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gelu_tanh::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.841_192).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum gelu_tanh {}

impl gelu_tanh {
    /// Stages the activation.
    #[track_caller]
    pub fn stage(g: &mut Stage, x: impl Into<Value>) -> Value {
        forward::gelu_tanh::stage(g, x)
    }

    /// Stages the gradient.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, dout: Grad) -> Grad {
        let slope = slope::stage(g, x);
        let slope = g.operand(slope)?;
        Some(g.scale(dout?, slope))
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type) -> Type {
        forward::gelu_tanh::shape(cx, x)
    }
}

mod forward {
    use super::*;

    #[network(track_caller)]
    pub fn gelu_tanh(x: Tensor) -> Tensor {
        x * sigmoid(x * (LINEAR + CUBIC * x * x))
    }
}

/// σ + x σ' (2 √(2/π) + 3 · 2 √(2/π) 0.044715 x²). σ' is zero long before the square is kept from becoming infinite.
#[network]
fn slope(x: Tensor) -> Tensor {
    let y = sigmoid(x * (LINEAR + CUBIC * x * x));
    y + x * (y - y * y) * (LINEAR + 3.0 * CUBIC * minimum(x * x, 1e4))
}
