//! Activation functions, and the layers that apply them in a sequential network.

mod hard;
mod layers;
mod probabilities;
mod rectified;
mod smooth;

use std::f64::consts::FRAC_1_SQRT_2;

use crate::check::{Check, Type};
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;

pub use hard::*;
pub use layers::*;
pub use probabilities::*;
pub use rectified::*;
pub use smooth::*;

/// √(2/π), of the tanh form of GELU.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// The rectified linear unit, max(x, 0). Its gradient at zero is zero.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = relu::stage(&mut g, -2.0);
/// assert_eq!(g.value(y)?.data(), [0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn relu(x: Tensor) -> Tensor {
    select(x > 0.0, x, 0.0)
}

/// The Gaussian error linear unit x Φ(x), exact (Hendrycks and Gimpel, arXiv:1606.08415).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gelu::stage(&mut g, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.841_344_7).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gelu(x: Tensor) -> Tensor {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

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
    /// Stages `gelu_tanh`.
    #[track_caller]
    pub fn stage(g: &mut Stage, x: impl Into<Value>) -> Value {
        cubic::stage(g, x)
    }

    /// Stages the gradient of `gelu_tanh`. Far from zero the function is straight, and the cube would overflow.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, dout: Grad) -> Grad {
        let (x, dout) = (x.into(), dout?);
        let one = g.number(1.0);
        let near = cubic::grad(g, x, Some(one))?;
        let slope = straight_far_out::stage(g, x, near);
        let slope = g.operand(slope)?;
        Some(g.scale(dout, slope))
    }

    /// The shape rule of `gelu_tanh`.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type) -> Type {
        cubic::shape(cx, x)
    }
}

#[network(track_caller)]
fn cubic(x: Tensor) -> Tensor {
    x * sigmoid(x * (2.0 * SQRT_2_OVER_PI + 2.0 * SQRT_2_OVER_PI * 0.044715 * x * x))
}

#[network]
fn straight_far_out(x: Tensor, slope: Tensor) -> Tensor {
    select(abs(x) > 100.0, float(x > 0.0), slope)
}
