//! Losses: one number for a batch, or one for each of its elements.

mod classes;
mod embedding;
mod probability;
mod regression;

pub use classes::*;
pub use embedding::*;
pub use probability::*;
pub use regression::*;
