//! What a step takes: the time of its kernels beside what the machine can do.

pub(crate) mod machine;
pub(crate) mod profile;
