//! The public interface: data, files, and what is refused.

#[path = "../common/guarded.rs"]
mod guarded;

mod data;
mod files;
mod idx;
mod ill_formed;
mod index_ranges;
mod programs;
mod rooms;
mod sizes;
mod soundness;
mod weights;
