//! Machine code for kernels: loop nests by Cranelift (`portable`) or with wider vectors (`x86`), matrix products in
//! `matmul`, and the memory that code lives in (`code`). `backend` says what made
//! the code, `disassemble` shows its instructions.

mod backend;
mod code;
mod disassemble;
mod loops;
pub(crate) mod matmul;
mod peak;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use backend::Backend;
pub(crate) use code::Compiled;
pub(crate) use disassemble::disassemble;
pub(crate) use loops::{CompiledLoop, compile};
pub(crate) use peak::peak;
#[cfg(all(test, not(miri)))]
mod tests;
