//! Running compiled programs: buffers, models with their parameters, and training steps.

mod batch_weight;
mod bounds;
mod buffer;
mod computation;
pub(crate) mod file;
mod finite;
mod guard_pages;
mod kernel;
mod machine;
mod model;
mod once;
mod pace;
mod profile;
mod program;
mod refused;
mod rows;
mod rules;
mod settings;
mod slots;
mod staged;
mod step;
mod team;
mod update;
mod variant;
mod weights;

pub(crate) use buffer::Buffer;
pub use computation::Computation;
#[cfg(all(test, not(miri)))]
pub(crate) use guard_pages::{Regions, Side};
pub use model::{Model, ParamInfo};
pub use profile::{KernelProfile, Pass, Profile};
pub(crate) use program::Program;
pub(crate) use rules::Rules;
pub(crate) use slots::{Outside, Place, Slot};
pub use step::Step;
pub use team::{set_threads, threads};
