//! Memory of the caller for one run of a program.

use crate::kernel::Extent;
use crate::tensor::{Elements, Input};

/// Memory of the caller for one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    start: *mut f32,
    len: usize,
    written: bool,
}

impl Memory {
    /// Memory that is only read.
    pub(crate) fn read(data: &[f32]) -> Memory {
        Memory { start: data.as_ptr().cast_mut(), len: data.len(), written: false }
    }

    /// Memory that may be written.
    pub(crate) fn write(data: &mut [f32]) -> Memory {
        Memory { start: data.as_mut_ptr(), len: data.len(), written: true }
    }

    /// The elements of an input.
    pub(crate) fn input(input: &Input<'_>) -> Memory {
        match input.elements() {
            Elements::Tensor(data) => Memory::read(data),
            Elements::Index(data) => Memory { start: data.as_ptr().cast_mut().cast(), len: data.len(), written: false },
        }
    }

    /// Where it starts, if it is what was declared.
    pub(crate) fn of(memory: Option<Memory>, declared: &Extent) -> Result<*mut f32, String> {
        let Extent { slot, len, written } = declared;
        match memory {
            Some(memory) if memory.len == *len && memory.written >= *written => Ok(memory.start),
            Some(memory) => Err(format!("{slot} has {} elements, expected {len}", memory.len)),
            None => Err(format!("{slot} is missing")),
        }
    }
}
