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

/// Numbers that a total of single precision is the sum of at most, in each lane, and a part of a sum over rows.
/// As many equal numbers, for which the error is largest, are added up to half a millionth.
pub(crate) const TERMS: usize = 32;

pub(crate) use level::Level;
pub(crate) use loops::{CompiledLoop, compile};
#[cfg(all(test, not(miri)))]
mod tests;
