//! Models and training steps.
//!
//! A function is `staged` for the shapes of its inputs. A `model` runs functions of a network with its parameters, a
//! `computation` a graph without any, `once` a graph of constants. A `step` is the loss with its gradient, compiled for
//! each shape (`variant`), and the `update` that an optimizer's `rules` stage; `settings` are made before. `finite` and
//! `bounds` refuse what is not finite, `batch_weight` says how much a batch counts.

pub(crate) mod batch_weight;
pub(crate) mod bounds;
pub(crate) mod computation;
pub(crate) mod finite;
pub(crate) mod model;
mod once;
pub(crate) mod rules;
mod settings;
pub(crate) mod staged;
pub(crate) mod step;
pub(crate) mod update;
pub(crate) mod variant;
