//! Programs: compiled kernels with their memory, run by a team of threads.
//!
//! A `program` is compiled from a graph; a `kernel` is one call of it, `rows` are the calls that gather and scatter,
//! `refused` an index that a run found out of range. A `team` of threads runs them, `pace` says whether threads pay.
//! `buffer` is memory of ours, `memory` that of the caller, and `guard_pages` puts either between inaccessible pages.
//! `dump` writes what a program is made of to files, and `perf_map` names its kernels for a profiler.

pub(crate) mod buffer;
mod dump;
pub(crate) mod guard_pages;
pub(crate) mod kernel;
pub(crate) mod memory;
mod pace;
mod perf_map;
pub(crate) mod program;
pub(crate) mod refused;
pub(crate) mod rows;
pub(crate) mod team;

pub(crate) use buffer::Buffer;
#[cfg(all(test, not(miri)))]
pub(crate) use guard_pages::{Regions, Side};
pub(crate) use program::Program;
