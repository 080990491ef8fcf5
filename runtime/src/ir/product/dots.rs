//! Few rows times the transpose of a matrix: each element of the result is the dot product of two contiguous vectors.
//! The right matrix is used too few times for packing to pay.

use super::spec::Spec;
use crate::ir::Level;

/// The most rows of the left matrix.
const MOST_LEFT_ROWS: usize = 32;

/// The least inner dimension, as a multiple of the rows. Adding up the lanes of the results of a column takes as long
/// as packing a column of this length.
const LEAST_LENGTH: usize = 12;

/// Vector instructions that add up the lanes of a result.
pub(crate) const ADD_LANES: usize = 8;

/// Rows and columns of a tile: those for which the fewest vectors are loaded.
pub(crate) fn tile(spec: &Spec) -> (usize, usize) {
    let (most, mask) = if spec.level == Level::Avx512 { (6, 0) } else { (3, 1) };
    let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most).max(1)).max(1);
    let tiles = (1..=most.min(spec.m)).map(|rows| {
        let rows = even(spec.m, rows);
        // Other registers hold a vector of each row, one of a column, and with AVX2 the mask.
        let columns = ((spec.level.registers() - rows - 1 - mask) / rows).min(8);
        (rows, even(spec.n, columns))
    });
    let loads = |&(rows, columns): &(usize, usize)| spec.m * spec.n.div_ceil(columns) + spec.n * spec.m.div_ceil(rows);
    tiles.rev().min_by_key(loads).unwrap_or((1, 1))
}

/// Steps along the vectors, the last one of which may be masked.
pub(crate) fn steps(spec: &Spec) -> usize {
    spec.k.div_ceil(spec.level.lanes())
}

/// The terms that a lane adds up.
pub(crate) fn terms(spec: &Spec) -> usize {
    spec.terms() / spec.k.max(1) * steps(spec)
}

/// Whether a product is computed by dot products.
pub(crate) fn suits(spec: &Spec, lanes: usize) -> bool {
    let [[_, a_column], [b_row, _], _] = spec.strides;
    a_column == 1
        && b_row == 1
        && spec.k >= (LEAST_LENGTH * spec.m).max(2 * lanes)
        && (1..=MOST_LEFT_ROWS).contains(&spec.m)
}
