//! Fusion: which nodes are computed together.
//!
//! `multiply_add` contracts products and sums to fused multiply-adds. `layout` says where and with which strides values
//! are stored, `view` resolves views to stored values, `border` finds the zeros of padded ones. `group` puts nodes into
//! groups, one for each kernel, and a `refusal` says why a node could not join one. `parts` splits long sums so that
//! threads can share them, `loops` chooses the loop that is vectorised, and `rematerialise` drops values that are
//! cheaper to compute than to read.

pub(crate) mod border;
pub(crate) mod group;
pub(crate) mod layout;
pub(crate) mod loops;
pub(crate) mod multiply_add;
pub(crate) mod parts;
pub(crate) mod refusal;
pub(crate) mod rematerialise;
pub(crate) mod view;
