//! Running compiled programs: buffers, models with their parameters, and training steps.

mod buffer;
mod model;
mod program;
mod staged;
mod step;

pub(crate) use buffer::Buffer;
pub use model::{Model, ParamInfo};
pub(crate) use program::{Place, Program};
pub use step::Step;
