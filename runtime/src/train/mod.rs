//! Training over epochs: shuffled batches, validation, progress and a report.

mod evaluate;
mod progress;
mod report;
mod trainer;

pub use evaluate::evaluate;
pub use report::{Epoch, Report};
pub use trainer::{Epochs, Trainer};
