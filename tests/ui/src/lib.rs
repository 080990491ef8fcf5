//! Nothing: each of the programs in `fail` is a mistake, and `tests/ui.rs` knows what the compiler says of it.
