//! Files: weights of models, and how files are read and written.

pub(crate) mod file;
mod weights;
