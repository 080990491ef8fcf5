//! Compiled kernels against the reference, and what is computed together.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/guarded.rs"]
mod guarded;

mod axes;
mod chains;
mod contract;
mod einsum;
mod fusion;
mod inside;
mod matmul;
mod primitives;
mod sorting;
mod special;
mod sums;
mod values;
mod whole_numbers;
