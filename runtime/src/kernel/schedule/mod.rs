//! The order of calls, and memory for what outlives them.
//!
//! `chain` lets calls share the loops around them, which `extract` takes out of each, and `plan` gives every value that
//! outlives its kernel a place in the arena, where it may `replace` another. `sound` compares the plan with its kernels,
//! `describe` puts it into words.

pub(crate) mod chain;
pub(crate) mod describe;
pub(crate) mod extract;
pub(crate) mod plan;
pub(crate) mod replace;
pub(crate) mod sound;
