//! Operations, layers and losses that are themselves written with `#[network]`: their gradients
//! are generated like those of any user's network.

mod activation;
mod arithmetic;
mod attention;
mod batch_norm;
mod conv_layer;
mod convolution;
mod dropout;
mod image;
mod index;
mod layer;
mod length;
mod loss;
mod math;
mod norm;
mod norm_layer;
mod per_axis;
mod place;
mod pool_layer;
mod pooling;
mod product;
mod statistic;

pub use activation::*;
pub use arithmetic::*;
pub use attention::*;
pub use batch_norm::*;
pub use conv_layer::*;
pub use convolution::*;
pub use dropout::*;
pub use image::*;
pub use index::*;
pub use layer::*;
pub use length::*;
pub use loss::*;
pub use math::*;
pub use norm::*;
pub use norm_layer::*;
pub use place::*;
pub use pool_layer::*;
pub use pooling::*;
pub use product::*;
pub use statistic::*;
