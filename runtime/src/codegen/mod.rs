//! Machine code for kernels: strips of plain instructions, the functions expanded into them, and
//! their emission with Cranelift; matrix products in `matmul`.

mod code;
mod emit;
mod inverse;
mod math;
pub(crate) mod matmul;
pub(crate) mod strip;

pub(crate) use code::{Compiled, compile};
