//! PyTorch's own numbers: operations one by one, and whole trainings; see README.md.

mod models;
mod operations;
mod table;
