//! Operations that a function of their own computes, part by part, where no loop nest of kernels does.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::Operation;
use crate::graph::Node;
use crate::shape::check::Interval;

/// An operation with the function that computes it. All that is known of it stands where this is implemented.
pub(crate) trait Routine: Operation + Sync {
    /// What the numbers of the result may be, if those of the arguments are in these intervals.
    fn interval(&self, node: &Node, args: &[Interval]) -> Interval;

    /// How many parts of the result, which are of one size and one behind the other, can be computed by themselves.
    fn units(&self, shape: &[usize]) -> usize;

    /// Operations that it takes about as long as.
    fn flops(&self, shape: &[usize]) -> usize;

    /// Computes part number `unit` of the result, as bits, from the elements of at most [`ARGS`] arguments: numbers, or
    /// the bits of whole ones.
    fn run(&self, unit: usize, args: &[&[f32]], part: &mut [u32]);
}

/// The most arguments of a routine.
pub(crate) const ARGS: usize = 4;

/// A routine as an operation of a graph: equal to others of its name.
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
