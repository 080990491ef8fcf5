//! Products of matrices, and how they are cut into pieces.
//!
//! A `matmul` is what is computed. It is brought into `canonical` form, and cut into `pieces`, each of which is one kernel
//! (`spec`). In a piece, `blocking` chooses tiles, panels and chunks for wide vectors, `dots` for few rows times columns,
//! `portable` for vectors of four; `numbers` asks the one that applies. All follow from sizes and strides alone. In order:
//! `matmul`, `spec`, `portable`, `dots`, `blocking`, `numbers`, `canonical`, `pieces`.

pub(crate) mod blocking;
mod canonical;
pub(crate) mod dots;
mod matmul;
mod numbers;
mod pieces;
pub(crate) mod portable;
mod spec;

pub(crate) use canonical::Canonical;
pub(crate) use matmul::{Border, MatMul};
pub(crate) use pieces::{Piece, cost, pieces, scratch};
pub(crate) use spec::{MOST_SUM_LOOPS, SEGMENT, Spec, split};
