//! Lowering: a loop nest or matrix products for each group.
//!
//! `lower` makes a loop nest of a group, `tile` tiles, interchanges and unrolls its loops, and `windows` unrolls short
//! sums. `contract` turns a contraction into matrix products, and `blocks` splits products with a very long inner
//! dimension.

pub(crate) mod blocks;
pub(crate) mod contract;
pub(crate) mod lower;
pub(crate) mod tile;
pub(crate) mod windows;
