//! Machine code for kernels.

mod math;
pub(crate) mod strip;
