//! Products in vectors of four elements.

use super::spec::Spec;

/// Elements of a vector.
pub(crate) const LANES: usize = 4;

/// Vectors and rows of a tile. More than eight sums are spilled, since Cranelift keeps some registers for itself: six
/// rows are slower by a quarter.
pub(crate) const TILE_VECTORS: usize = 2;
pub(crate) const TILE_ROWS: usize = 4;

/// Columns of a panel.
pub(crate) const PANEL_COLUMNS: usize = LANES * TILE_VECTORS;

/// Whether vectors go along columns.
pub(crate) fn has_vectors(spec: &Spec) -> bool {
    let [_, [_, b_column], [_, c_column]] = spec.strides;
    // A kernel with loops around the inner dimension packs nothing.
    c_column == 1 && (b_column == 1 || spec.sums.is_empty())
}

/// Roughly how many vector instructions there are.
pub(crate) fn cost(spec: &Spec) -> usize {
    let lanes = if has_vectors(spec) { LANES } else { 1 };
    spec.m * spec.n.div_ceil(lanes) * spec.terms()
}

/// The elements of the memory for a packed panel.
pub(crate) fn scratch(spec: &Spec) -> usize {
    let [_, [_, b_column], [_, c_column]] = spec.strides;
    if b_column == 1 || c_column != 1 || spec.n < LANES || !spec.sums.is_empty() {
        0
    } else {
        spec.k * spec.n.min(PANEL_COLUMNS)
    }
}
