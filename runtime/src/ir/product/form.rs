//! Another form of a product that a better kernel computes: transposed, with the zeros around an image left
//! out, with pairs as rows.

use std::ops::Range;

use super::{FAR, MatMul, Spec};
use crate::ir::Level;

/// A product in the form in which it is compiled.
pub(crate) struct Form {
    pub(crate) matmul: MatMul,
    /// Whether `matmul` is the transposed product, with left and right exchanged.
    pub(crate) turned: bool,
    pub(crate) block: Option<(usize, [isize; 2])>,
    pub(crate) shares: Vec<Share>,
}

/// The pairs at one place along a loop over them: where the matrices start, and how many turns a loop around
/// the inner dimension takes there.
pub(crate) struct Share {
    pub(crate) starts: [isize; 3],
    pub(crate) turns: Option<(usize, usize)>,
}

impl Form {
    pub(crate) fn new(p: &MatMul, level: Level) -> Form {
        let (mut matmul, turned) = turned(p).map_or_else(|| (p.clone(), false), |p| (p, true));
        let shares = take_border(&mut matmul);
        let block = take_block(&mut matmul, level);
        Form { matmul, turned, block, shares }
    }

    /// What computes all of a pair.
    pub(crate) fn whole(&self, level: Level) -> Spec {
        Spec { block: self.block, ..Spec::new(&self.matmul, level) }
    }
}

/// Makes shares of the places along a loop over pairs, where less is added up for some.
fn take_border(p: &mut MatMul) -> Vec<Share> {
    let Some(border) = p.border.take() else { return vec![Share { starts: [0; 3], turns: None }] };
    let inside = p.inside(&border);
    let ((_, strides), sum) = (p.batch.remove(border.pairs.0), border.sum.0);
    let [a, b] = p.sums[sum].1;
    let share = |(place, inside): (usize, Range<usize>)| {
        let moved = [a, b, 0].map(|stride| stride * inside.start as isize);
        let starts = std::array::from_fn(|i| place as isize * strides[i] + moved[i]);
        Share { starts, turns: Some((sum, inside.len())) }
    };
    inside.into_iter().enumerate().map(share).collect()
}

/// Makes rows of pairs whose right matrix is the same, as many as fit a tile.
fn take_block(p: &mut MatMul, level: Level) -> Option<(usize, [isize; 2])> {
    let near = |stride: isize| stride.unsigned_abs() <= FAR;
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
fn turned(p: &MatMul) -> Option<MatMul> {
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
