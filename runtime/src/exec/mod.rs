//! Running compiled programs: `run` has programs, threads and buffers; `api` models with their parameters, and training
//! steps; `io` their files; `measure` what a step takes.

mod api;
pub(crate) mod io;
mod measure;
pub(crate) mod run;

pub use api::computation::Computation;
pub use api::model::Model;
pub(crate) use api::rules::Rules;
pub use api::step::Step;
pub use measure::profile::{KernelProfile, Pass, Profile};
pub use run::team::{set_threads, threads};
