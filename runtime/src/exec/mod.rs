//! Running compiled programs: buffers, models with their parameters, and training steps.

mod buffer;
pub(crate) mod file;
mod model;
mod once;
mod program;
mod staged;
mod step;
mod weights;

pub(crate) use buffer::Buffer;
pub use model::{Model, ParamInfo};
pub(crate) use program::{Place, Program};
pub use step::Step;
