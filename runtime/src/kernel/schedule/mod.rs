//! Scheduling: the order of calls, and memory for the values that outlive a kernel.
//!
//! `chain` fuses the outer loops of calls, which `extract` hoists out of each. `plan` allocates values in an arena by
//! their live ranges, where a result may overwrite an argument (`replace`). `alone` makes the calls of an operation
//! that is a kernel by itself. `accesses` lists what each call reads and writes, and `overlap` verifies with that list
//! that a plan is sound. `describe` puts calls into words.

mod accesses;
mod alone;
pub(crate) mod chain;
pub(crate) mod describe;
pub(crate) mod extract;
mod overlap;
pub(crate) mod plan;
pub(crate) mod replace;
