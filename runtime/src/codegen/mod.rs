//! Machine code for kernels: strips of plain instructions, the functions expanded into them, and
//! their emission, by Cranelift (`emit`) or with wider vectors (`wide`); matrix products in `matmul`.

mod code;
mod emit;
mod expand;
mod inverse;
mod level;
mod loops;
mod math;
pub(crate) mod matmul;
mod rare;
pub(crate) mod strip;
#[cfg(target_arch = "x86_64")]
mod wide;

pub(crate) use level::Level;
pub(crate) use loops::{CompiledLoop, compile};
#[cfg(test)]
mod tests;
