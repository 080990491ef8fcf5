//! Few rows times the transpose of a matrix: each element of the result is the product of two
//! contiguous vectors. There are too few uses of the right matrix to pay for turning it around.

use super::Spec;
use super::blocking::{lanes, registers};
use crate::ir::Level;

/// The most rows of the left matrix.
const ROWS: usize = 32;

/// The least length of vectors, in multiples of the rows: for each column, adding up the lanes of so
/// many results takes as long as packing the column.
const LENGTH: usize = 12;

/// Vector instructions that add up the lanes of a result.
pub(crate) const ADD_LANES: usize = 8;

/// Rows and columns of the result that are computed together: as many as let the fewest vectors be loaded.
pub(crate) fn tile(spec: &Spec) -> (usize, usize) {
    let (most, mask) = if spec.level == Level::Avx512 { (6, 0) } else { (3, 1) };
    let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most).max(1)).max(1);
    let tiles = (1..=most.min(spec.m)).map(|rows| {
        let rows = even(spec.m, rows);
        // Besides the sums there are a vector of each row, one of a column, and with AVX2 the mask.
        let columns = ((registers(spec.level) - rows - 1 - mask) / rows).min(8);
        (rows, even(spec.n, columns))
    });
    let loads = |&(rows, columns): &(usize, usize)| spec.m * spec.n.div_ceil(columns) + spec.n * spec.m.div_ceil(rows);
    tiles.rev().min_by_key(loads).unwrap_or((1, 1))
}

/// Steps along the vectors, the last one of which may be masked.
pub(crate) fn steps(spec: &Spec) -> usize {
    spec.k.div_ceil(lanes(spec.level))
}

/// Numbers that a lane adds up.
pub(crate) fn terms(spec: &Spec) -> usize {
    spec.terms() / spec.k.max(1) * steps(spec)
}

/// Whether a product is computed like this.
pub(crate) fn suits(spec: &Spec, lanes: usize) -> bool {
    let [[_, a_column], [b_row, _], _] = spec.strides;
    a_column == 1 && b_row == 1 && spec.k >= (LENGTH * spec.m).max(2 * lanes) && (1..=ROWS).contains(&spec.m)
}
