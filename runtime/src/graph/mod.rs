//! The graph that network functions are staged into, for sizes that are known.
//!
//! A `node` is an operation (`op`) and its arguments. `stage` builds the graph and `simplify` simplifies each node as
//! it is made. `slope` factors gradients that are multiples of one another; `guard` and `masked` keep gradients zero
//! where a branch was not taken. `path` identifies calls and `structure` computations, both as numbers. `verify`
//! refuses a graph that breaks a rule before anything is compiled, `reference` evaluates a graph in double precision,
//! and `dot` draws it.

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
