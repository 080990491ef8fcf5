//! Operations, layers and losses that are themselves written with `#[network]`: their gradients
//! are generated like those of any user's network.

mod activation;
mod attention;
mod attention_layer;
mod convolution;
mod dropout;
mod index;
mod layer;
mod loss;
mod math;
mod norm;
mod position;
mod recurrent;
mod statistic;

pub use activation::*;
pub use attention::*;
pub use attention_layer::*;
pub use convolution::*;
pub use dropout::*;
pub use index::*;
pub use layer::*;
pub use loss::*;
pub use math::*;
pub use norm::*;
pub use position::*;
pub use recurrent::*;
pub use statistic::*;
