//! From a graph to kernels: which nodes are computed together, in which loops, and where in memory.
//!
//! Three rooms, in this order: `fuse` groups nodes, `nest` makes a loop nest or a product of each group, `schedule` puts
//! the calls in order and gives every value that outlives its kernel a place in the arena. `outside` is the memory of
//! the caller, `call` what comes out.

mod call;
mod fuse;
mod nest;
mod outside;
mod schedule;

pub(crate) use call::{Call, Home, Operand, RoutineCall, Turns, Work};
pub(crate) use fuse::multiply_add::with_multiply_adds;
pub(crate) use fuse::refusal::Refusal;
#[cfg(all(test, not(miri)))]
pub(crate) use nest::windows::unrolled;
pub(crate) use outside::{Extent, Outside, Place, Region, Slot};
pub(crate) use schedule::chain::OPERANDS;
pub(crate) use schedule::describe::Description;
pub(crate) use schedule::plan::{Plan, Spot, plan};
