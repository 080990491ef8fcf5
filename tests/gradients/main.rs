//! The gradient of everything against finite differences, and what has no part in one.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod guarded;
mod guarded_rows;
mod losses;
mod operations;
mod sequence;
mod tensors;
mod vision;
