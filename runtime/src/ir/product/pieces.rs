//! Cuts products into pieces.

use super::canonical::Canonical;
use super::matmul::MatMul;
use super::spec::Spec;
use crate::ir::Level;

/// The most rows of a piece: the rows of the left matrix stay in the second-level cache while the kernel goes along the
/// columns of the right one.
const PIECE_ROWS: usize = 768;

/// The least multiplications and additions of a piece: a microsecond or two.
const PIECE_WORK: usize = 1 << 17;

/// The fewest rows of a piece that is cut along rows.
const LEAST_ROWS: usize = 32;

/// The most pieces into which the columns of one pair, or the pairs of a batch, are cut.
const MOST_PIECES: usize = 8;

/// A part of a product: where its matrices start, and the kernel that computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) starts: [isize; 3],
    pub(crate) spec: Spec,
}

/// The pieces of a product of one pair. They follow from the sizes and strides alone, never from the number of threads:
/// so the order of additions does too.
pub(crate) fn pieces(canonical: &Canonical, level: Level) -> Vec<Piece> {
    let (p, whole) = (&canonical.matmul, canonical.whole(level));
    let work = p.work().div_ceil(PIECE_WORK);
    // The pieces that there are in any case.
    let portable = whole.level == Level::Portable;
    let parts = p.pairs() * canonical.shares.len() * if portable { 1 } else { p.m.div_ceil(PIECE_ROWS) };
    let wanted = if p.whole { 1 } else { work.min(MOST_PIECES.div_ceil(parts.max(1))) };
    // Cut along columns, in whole panels; if there is only one panel, along rows.
    let across = p.n.div_ceil(wanted.max(1)).next_multiple_of(whole.panel());
    let down =
        if p.n > across || wanted < 2 || whole.block.is_some() { p.m } else { p.m.div_ceil(wanted).max(LEAST_ROWS) };
    let rows = if portable { down } else { down.min(PIECE_ROWS) };
    // Pieces of equal numbers of rows, or nearly so.
    let rows = p.m.div_ceil(p.m.div_ceil(rows.max(1)).max(1));
    let [[a_row, _], [_, b_column], [c_row, c_column]] = p.strides;
    let mut pieces = Vec::new();
    for share in &canonical.shares {
        for (row, m) in ranges(p.m, rows) {
            for (column, n) in ranges(p.n, across) {
                let (row, column) = (row as isize, column as isize);
                let [a, b, c] = share.starts;
                let starts = [a + row * a_row, b + column * b_column, c + row * c_row + column * c_column];
                pieces.push(Piece { starts, spec: Spec { m, n, ..whole.clone() }.with_iterations(share.iterations) });
            }
        }
    }
    pieces
}

/// `len` in runs of `step`, the last one perhaps shorter: where each starts and how long it is.
fn ranges(len: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(step.max(1)).map(move |start| (start, step.min(len - start)))
}

/// The elements of scratch memory that a product needs.
pub(crate) fn scratch(p: &MatMul, level: Level) -> usize {
    pieces(&Canonical::new(p, level), level).iter().map(|piece| piece.spec.scratch()).max().unwrap_or(0)
}

/// Roughly how many vector instructions compute a product.
pub(crate) fn cost(p: &MatMul, level: Level) -> usize {
    let canonical = Canonical::new(p, level);
    canonical.matmul.pairs() * pieces(&canonical, level).iter().map(|piece| piece.spec.cost()).sum::<usize>()
}
