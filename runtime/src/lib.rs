#![doc = include_str!("../../README.md")]
//!
//! On these pages: the [`guide`] and the [`architecture`].
#![warn(missing_docs)]

extern crate self as downhill;

mod codegen;
pub mod data;
mod error;
mod exec;
pub mod graph;
mod ir;
mod kernel;
pub mod network;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod shape;
mod tensor;
pub mod train;

pub use downhill_macros::network;
pub use error::{Error, Result};
pub use exec::{Computation, KernelProfile, Model, Pass, Profile, Step, set_threads, threads};
pub use graph::{Grad, Stage, Value, reference};
pub use network::{ParamInfo, init};
pub use shape::check;
pub use tensor::{Elements, Index, Input, Inputs, Tensor};
pub use train::{Epochs, Report, Trainer};

#[doc = include_str!("docs/guide.md")]
pub mod guide {}

#[doc = include_str!("docs/architecture.md")]
pub mod architecture {}

/// Everything that a program with a network of its own needs.
pub mod prelude {
    pub use crate::data::Dataset;
    pub use crate::graph::{Grad, Stage, Value};
    pub use crate::nn::*;
    pub use crate::ops::*;
    pub use crate::optim::*;
    pub use crate::{Epochs, Index, Model, Report, Step, Tensor, Trainer, network};
}
