//! The numbers of a kernel that depend on how it is compiled.

use super::blocking::Blocking;
use super::spec::Spec;
use super::{blocking, portable};

impl Spec {
    /// How many times its rows one tile may have.
    pub(crate) fn blocks(&self) -> usize {
        if self.is_portable() { 1 } else { blocking::blocks(self) }
    }

    /// Roughly how many vector instructions there are.
    pub(crate) fn cost(&self) -> usize {
        if self.is_portable() { portable::cost(self) } else { Blocking::new(self).cost(self) }
    }

    /// Columns that the kernel computes together.
    pub(crate) fn panel(&self) -> usize {
        if self.is_portable() { portable::PANEL_COLUMNS } else { blocking::width(self) }
    }

    /// The elements of scratch memory that the kernel needs.
    pub(crate) fn scratch(&self) -> usize {
        if self.is_portable() { portable::scratch(self) } else { Blocking::new(self).scratch() }
    }
}
