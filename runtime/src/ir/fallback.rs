//! Why a kernel has narrower vectors than its level allows.

use std::fmt;

use super::Level;

/// A kernel that has vectors of 128 bits although its level has wider ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fallback {
    pub(crate) level: Level,
    pub(crate) reason: Reason,
}

/// What no kernel of wider vectors is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// A row of so many elements, more than the second number.
    Row(usize, usize),
    /// Elements of a row that are so many elements apart, more than the second number.
    Stride(usize, usize),
    /// All elements of a row stored in one place.
    OnePlace,
    /// So many bytes of stack, more than the second number.
    Stack(usize, usize),
    /// Rows or columns of a matrix that are so many elements apart, more than the second number.
    Matrix(usize, usize),
    /// A loop around the inner dimension of a product over more elements than 32 bits count.
    Span,
    /// Loops around the inner dimension of a product whose right matrix would have to be packed.
    PackedSum,
    /// So many loops around the inner dimension of a product, more than the second number.
    Sums(usize, usize),
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits instead of {}: {}", Level::Portable.bits(), self.level.bits(), self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Row(found, most) => write!(f, "a row of {found} elements is longer than {most}"),
            Reason::Stride(found, most) => write!(f, "elements of a row are {found} apart, more than {most}"),
            Reason::OnePlace => f.write_str("all elements of a row are stored in one place"),
            Reason::Stack(found, most) => write!(f, "{found} bytes of stack are more than {most}"),
            Reason::Matrix(found, most) => {
                write!(f, "rows or columns of a matrix are {found} elements apart, more than {most}")
            }
            Reason::Span => f.write_str("a loop around the inner dimension spans more than 2^31 bytes"),
            Reason::PackedSum => {
                f.write_str("the right matrix has to be packed, but there are loops around the inner dimension")
            }
            Reason::Sums(found, most) => {
                write!(f, "there are {found} loops around the inner dimension, more than {most}")
            }
        }
    }
}
