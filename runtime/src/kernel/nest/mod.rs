//! A loop nest or a product of each group.
//!
//! `lower` makes a loop nest of a group, `tile` puts its loops in order, `windows` unrolls short sums, `contract` finds
//! the products of a contraction, and `blocks` cuts the longest sums of products.

pub(crate) mod blocks;
pub(crate) mod contract;
pub(crate) mod lower;
pub(crate) mod tile;
pub(crate) mod windows;
