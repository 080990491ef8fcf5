//! Machine code for kernels: strips of plain instructions, the functions expanded into them, and
//! their emission with Cranelift.

mod code;
mod emit;
mod math;
pub(crate) mod strip;

pub(crate) use code::{Compiled, compile};
