//! Operations, layers and losses that are themselves written with `#[network]`: their gradients
//! are generated like those of any user's network.

mod activation;
mod attention;
mod dropout;
mod layer;
mod loss;
mod statistic;

pub use activation::*;
pub use attention::*;
pub use dropout::*;
pub use layer::*;
pub use loss::*;
pub use statistic::*;
