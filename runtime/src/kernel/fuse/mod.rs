//! Which nodes are computed together.
//!
//! `multiply_add` joins products and sums, `place` says how values lie in memory, `access` sees through views, `border`
//! knows what is zero around them, `loops` compares loops, `parts` knows which sums are too long for one pass, `group`
//! makes groups of nodes, and `again` says which values of a group are rematerialised. A `refusal` says why a node could
//! not join a group.

pub(crate) mod access;
pub(crate) mod again;
pub(crate) mod border;
pub(crate) mod group;
pub(crate) mod loops;
pub(crate) mod multiply_add;
pub(crate) mod parts;
pub(crate) mod place;
pub(crate) mod refusal;
