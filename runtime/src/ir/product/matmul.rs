//! Products of matrices: sizes, strides and loops.

use std::ops::Range;

/// Matrix products over a number of pairs of matrices. Strides are in elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MatMul {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Row and column stride of the left, right and result matrix.
    pub(crate) strides: [[isize; 2]; 3],
    /// Loops around the inner dimension whose products are added up: sizes, outermost first, and the
    /// strides of the left and right matrix along them.
    pub(crate) sums: Vec<(usize, [isize; 2])>,
    /// Sizes of the loops over pairs, and the strides of the three operands along them.
    pub(crate) batch: Vec<(usize, [isize; 3])>,
    /// Which products may be other than zero.
    pub(crate) border: Option<Border>,
    /// Whether the product is a part of a larger one, and is not cut into parts itself.
    pub(crate) whole: bool,
}

/// Products that may be other than zero: those for which the index of a loop over pairs and the index of a loop around
/// the inner dimension, each times a step, add up to a number in `range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    /// The two loops, by number, and their steps.
    pub(crate) pairs: (usize, isize),
    pub(crate) sum: (usize, isize),
    pub(crate) range: Range<isize>,
}

impl MatMul {
    /// The terms of each result.
    pub(crate) fn terms(&self) -> usize {
        self.k * self.sums.iter().map(|(size, _)| size).product::<usize>()
    }

    /// Multiplications and additions of one pair.
    pub(crate) fn work(&self) -> usize {
        self.m * self.n * self.terms()
    }

    /// The elements of the left, right and result matrices; elements that several pairs share count once.
    pub(crate) fn elements(&self) -> [usize; 3] {
        let sums = |i: usize| self.sums.iter().filter(move |(_, s)| s[i] != 0).map(|(size, _)| size).product::<usize>();
        let one = [self.m * self.k * sums(0), self.k * self.n * sums(1), self.m * self.n];
        std::array::from_fn(|i| {
            one[i] * self.batch.iter().filter(|(_, s)| s[i] != 0).map(|(size, _)| size).product::<usize>()
        })
    }

    /// For each index of the border's loop over pairs, the indices of its loop around the inner dimension whose
    /// products may be other than zero.
    pub(crate) fn inside(&self, border: &Border) -> Vec<Range<usize>> {
        let ((pairs, pairs_step), (sum, sum_step)) = (border.pairs, border.sum);
        let indices = 0..self.batch[pairs].0 as isize;
        let counts = |i: isize| {
            let mut counts =
                (0..self.sums[sum].0).filter(|&j| border.range.contains(&(i * pairs_step + j as isize * sum_step)));
            let first = counts.next();
            first.map_or(0..0, |first| first..first + 1 + counts.count())
        };
        indices.map(counts).collect()
    }

    /// Multiplications and additions of all pairs, without those with zeros around an image.
    pub(crate) fn products(&self) -> usize {
        let all = self.work() * self.pairs();
        self.border.as_ref().map_or(all, |border| {
            let inside: usize = self.inside(border).iter().map(Range::len).sum();
            all / (self.batch[border.pairs.0].0 * self.sums[border.sum.0].0).max(1) * inside
        })
    }

    /// The number of pairs of matrices.
    pub(crate) fn pairs(&self) -> usize {
        self.batch.iter().map(|(size, _)| size).product()
    }
}
