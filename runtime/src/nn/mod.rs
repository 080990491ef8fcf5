//! Operations, layers and losses that are themselves written with `#[network]`: their gradients
//! are generated like those of any user's network.

mod activation;
mod arithmetic;
mod attention;
mod convolution;
mod dropout;
mod index;
mod layer;
mod length;
mod loss;
mod math;
mod norm;
mod place;
mod product;
mod statistic;

pub use activation::*;
pub use arithmetic::*;
pub use attention::*;
pub use convolution::*;
pub use dropout::*;
pub use index::*;
pub use layer::*;
pub use length::*;
pub use loss::*;
pub use math::*;
pub use norm::*;
pub use place::*;
pub use product::*;
pub use statistic::*;
