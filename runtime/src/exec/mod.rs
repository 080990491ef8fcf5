//! Running compiled programs: buffers, models with their parameters, and training steps.

mod buffer;
pub(crate) mod file;
mod model;
mod once;
mod program;
mod rules;
mod settings;
mod staged;
mod step;
mod update;
mod variant;
mod weights;

pub(crate) use buffer::Buffer;
pub use model::{Model, ParamInfo};
pub(crate) use program::{Place, Program};
pub(crate) use rules::Rules;
pub use step::Step;
