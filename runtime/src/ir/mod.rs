//! What kernels are made of, and what code generation reads: it knows of errors alone.
//!
//! A strip (`strip`) is straight-line vector code for one row of elements; its functions (`math`, `inverse`, `rare`) are
//! expanded into plain instructions (`expand`). A loop nest (`nest`) is strips inside loops, a product (`product`) a
//! matrix product and how it is cut into pieces. The functions of elements (`elementwise`, `multiply_add`, `random`) and
//! reductions (`reduce`) are listed here, each with its f64 reference, its gradient and its vector code. `level` names
//! the vector instructions, `fallback` why a kernel has narrower ones. `text` prints strips, loop nests and products.

pub(crate) mod elementwise;
pub(crate) mod expand;
mod fallback;
mod inverse;
pub(crate) mod level;
mod math;
pub(crate) mod multiply_add;
pub(crate) mod nest;
pub(crate) mod product;
pub(crate) mod random;
pub(crate) mod rare;
pub(crate) mod reduce;
pub(crate) mod strip;
mod text;

pub(crate) use fallback::{Fallback, Reason};
pub(crate) use level::Level;

/// Elements of a cache line: values in memory start at a multiple of it.
pub(crate) const LINE: usize = 16;

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: usize = 4 * LINE;

/// The most terms of a total in single precision, in each lane of a fold and in each part of a sum over rows. The error
/// is largest for equal terms: at most half a millionth of the total.
pub(crate) const TERMS: usize = 32;
