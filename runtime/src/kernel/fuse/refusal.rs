//! Why a node is not fused with the kernel of its argument.

use std::fmt;

/// The reason against a fusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The kernel of the argument is no loop nest.
    Alone,
    /// The kernel belongs to another scope, which is computed at another time.
    Scope,
    /// The kernel has loops of other sizes.
    Loops,
    /// An argument is read in an order in which the kernel does not have it.
    Order,
    /// An argument is read in steps along a row that are not equal.
    Steps,
    /// Sums over rows are split into another number of parts.
    Parts,
    /// An argument is complete only when the kernel has ended.
    Incomplete,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Alone => "which is no loop",
            Refusal::Scope => "which is computed at another time",
            Refusal::Loops => "which has other loops",
            Refusal::Order => "which has an argument in another order",
            Refusal::Steps => "where a row is not read in equal steps",
            Refusal::Parts => "which adds up rows in other parts",
            Refusal::Incomplete => "which completes an argument only at its end",
        })
    }
}
