//! The form of a product for which there is the best kernel: transposed, without the zeros around an image, with pairs
//! as rows.

use std::ops::Range;

use super::matmul::MatMul;
use super::spec::{STRIDE_LIMIT, Spec};
use crate::ir::Level;

/// A product in the form in which it is compiled.
pub(crate) struct Canonical {
    pub(crate) matmul: MatMul,
    /// Whether `matmul` is the transposed product, with left and right exchanged.
    pub(crate) transposed: bool,
    pub(crate) block: Option<(usize, [isize; 2])>,
    pub(crate) shares: Vec<Share>,
}

/// The pairs of one iteration of the loop over pairs that a border is about: where the matrices start, and how many
/// iterations a loop around the inner dimension has there.
pub(crate) struct Share {
    pub(crate) starts: [isize; 3],
    pub(crate) iterations: Option<(usize, usize)>,
}

impl Canonical {
    pub(crate) fn new(p: &MatMul, level: Level) -> Canonical {
        let (mut matmul, transposed) = transposed(p).map_or_else(|| (p.clone(), false), |p| (p, true));
        let shares = take_border(&mut matmul);
        let block = take_block(&mut matmul, level);
        Canonical { matmul, transposed, block, shares }
    }

    /// The kernel of a whole pair.
    pub(crate) fn whole(&self, level: Level) -> Spec {
        Spec { block: self.block, ..Spec::new(&self.matmul, level) }
    }
}

/// Removes the border: each iteration of its loop over pairs becomes a share, some with fewer terms.
fn take_border(p: &mut MatMul) -> Vec<Share> {
    let Some(border) = p.border.take() else { return vec![Share { starts: [0; 3], iterations: None }] };
    let inside = p.inside(&border);
    let ((_, strides), sum) = (p.batch.remove(border.pairs.0), border.sum.0);
    let [a, b] = p.sums[sum].1;
    let share = |(i, inside): (usize, Range<usize>)| {
        let moved = [a, b, 0].map(|stride| stride * inside.start as isize);
        let starts = std::array::from_fn(|operand| i as isize * strides[operand] + moved[operand]);
        Share { starts, iterations: Some((sum, inside.len())) }
    };
    inside.into_iter().enumerate().map(share).collect()
}

/// Makes rows of pairs with the same right matrix, as many as fit a tile.
fn take_block(p: &mut MatMul, level: Level) -> Option<(usize, [isize; 2])> {
    let near = |stride: isize| stride.unsigned_abs() <= STRIDE_LIMIT;
    let shared = p.batch.iter().rposition(|&(_, [a, b, c])| b == 0 && near(a) && near(c))?;
    let one = Spec::new(p, level);
    let count = (2..=one.blocks()).rev().find(|&count| p.batch[shared].0.is_multiple_of(count))?;
    let (size, [a, _, c]) = p.batch[shared];
    let blocks = count as isize;
    p.batch[shared] = (size / count, [blocks * a, 0, blocks * c]);
    (p.m, p.strides) = (count * one.m, one.strides);
    Some((one.m, [a, c]))
}

/// A product of one column as the transposed product of one row, if its result is the same in
/// memory.
fn transposed(p: &MatMul) -> Option<MatMul> {
    let [[a_row, a_column], [b_row, b_column], [c_row, _]] = p.strides;
    (p.n == 1 && p.m > 1 && c_row == 1).then(|| MatMul {
        m: 1,
        n: p.m,
        strides: [[b_column, b_row], [a_column, a_row], [p.m as isize, 1]],
        sums: p.sums.iter().map(|&(size, [a, b])| (size, [b, a])).collect(),
        batch: p.batch.iter().map(|&(size, [a, b, c])| (size, [b, a, c])).collect(),
        ..p.clone()
    })
}
