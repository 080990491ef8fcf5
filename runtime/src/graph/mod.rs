//! The graph that network functions are staged into, for sizes that are known.
//!
//! A `node` is an operation (`op`) and its arguments. `stage` makes nodes, `simplify` them as they are made, and knows the
//! gradients that are another one times a `slope`; `guard` and `masked` keep zeros of branches that were not taken.
//! `path` names calls, `structure` what is computed. `verify` refuses what breaks a rule before anything is compiled,
//! `reference` evaluates in double precision, and `dot` draws.

mod dot;
mod guard;
mod masked;
mod node;
pub(crate) mod op;
mod path;
pub mod reference;
mod simplify;
mod slope;
mod stage;
pub(crate) mod strides;
mod structure;
pub(crate) mod verify;

pub(crate) use dot::Labels;
pub use node::{Grad, Graph, Node, Value, Var};
pub use op::{Contraction, Op, RoutineOp};
pub use path::Scope;
pub use stage::Stage;
pub(crate) use stage::Updates;

pub use crate::shape::Rows;
