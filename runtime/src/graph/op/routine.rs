//! Routines: operations that a function of the library computes, part by part, instead of a compiled kernel.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::Operation;
use crate::graph::Node;
use crate::shape::check::Interval;

/// An operation and the function that computes it. All properties of the operation stand where this is implemented.
pub(crate) trait Routine: Operation + Sync {
    /// The interval of the result for arguments in these intervals.
    fn interval(&self, node: &Node, args: &[Interval]) -> Interval;

    /// The number of parts of equal size that the result consists of, which can be computed independently.
    fn units(&self, shape: &[usize]) -> usize;

    /// An estimate of the time, as floating-point operations that take as long.
    fn flops(&self, shape: &[usize]) -> usize;

    /// Computes part number `unit` of the result, as bits, from the elements of at most [`MAX_ARGS`] arguments:
    /// numbers, or the bits of whole ones.
    fn run(&self, unit: usize, args: &[&[f32]], part: &mut [u32]);
}

/// The most arguments of a routine, whose slices a run keeps on the stack.
pub(crate) const MAX_ARGS: usize = 4;

/// A routine as an operation of a graph; routines of the same name are equal.
#[derive(Clone, Copy)]
pub struct RoutineOp(pub(crate) &'static dyn Routine);

impl PartialEq for RoutineOp {
    fn eq(&self, other: &RoutineOp) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for RoutineOp {}

impl Hash for RoutineOp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl fmt::Debug for RoutineOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())
    }
}
