//! Operations, layers and losses that are themselves written with `#[network]`.
