//! Networks that the tests use from another crate.

use downhill::prelude::*;

/// A width that other crates can name.
pub const WIDTH: usize = 6;

/// Two linear layers around a GELU, added to the input.
#[network]
pub struct Residual<const D: usize> {
    /// Widens.
    pub up: Linear<D, { 2 * D }>,
    /// Narrows.
    pub down: Linear<{ 2 * D }, D>,
}

#[network]
impl<const D: usize> Residual<D> {
    /// Any number of outer axes, then `D` features.
    pub fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
        x + self.down(gelu(self.up(x)))
    }
}

/// x · sigmoid(x).
#[network]
pub fn swish(x: Tensor) -> Tensor {
    x * sigmoid(x)
}
