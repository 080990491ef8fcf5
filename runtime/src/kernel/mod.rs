//! From a graph to kernels: which nodes are computed together, in which loops, and where in memory.
//!
//! Three folders, in the order of the work. `fuse` groups nodes that one kernel computes. `nest` lowers each group to a
//! loop nest or to matrix products. `schedule` orders the resulting calls and allocates every value that outlives its
//! kernel. `outside` describes the memory of the caller; `call` is the result: kernels with their operands.

mod call;
mod fuse;
mod nest;
mod outside;
mod schedule;

pub(crate) use call::{Call, Operand, RoutineCall, Scratch, SharedLoops, Storage, Work};
pub(crate) use fuse::multiply_add::with_multiply_adds;
pub(crate) use fuse::refusal::Refusal;
#[cfg(all(test, not(miri)))]
pub(crate) use nest::windows::unrolled;
pub(crate) use outside::{Extent, Outside, Place, Region, Slot};
pub(crate) use schedule::chain::MAX_OPERANDS;
pub(crate) use schedule::describe::Description;
pub(crate) use schedule::plan::{Location, Plan, plan};
