//! Recurrent layers over a time axis, `[batch, time, features]`, and their cells.
//!
//! Names, layouts and formulas are PyTorch's. The input's part of all gates is one product for all times;
//! what remains for each time is the product with the state before it. The loop over time is unrolled when a
//! step is compiled, so any length will do, and each one is compiled at its first use.
//!
//! Layers are stacked by applying one to what another gives; `flip(x, 1)` in front of a layer and behind it
//! makes the other direction. A layer with a cell of one's own is a `for` over
//! [`unbind`](crate::ops::unbind).

mod gru;
mod lstm;
mod rnn;

pub use gru::*;
pub use lstm::*;
pub use rnn::*;

use crate::network;
use crate::ops::*;

/// x Wᵀ.
#[network(track_caller)]
fn project(x: Tensor<[N], I>, weight: Tensor<O, I>) -> Tensor<[N], O> {
    matmul(x, transpose(weight, 0, 1))
}
