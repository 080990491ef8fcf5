//! What the attribute expands to, and what it says about mistakes.

mod mistakes;
mod snapshots;
