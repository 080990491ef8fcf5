//! Losses: one number for a batch, or one for each of its elements.

mod binary;
mod classes;
mod embedding;
mod likelihood;
mod margin;
mod probability;
mod regression;
mod weighted;

pub use classes::*;
pub use embedding::*;
pub use likelihood::*;
pub use margin::*;
pub use probability::*;
pub use regression::*;
pub use weighted::*;
