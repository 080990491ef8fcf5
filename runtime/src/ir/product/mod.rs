//! Products of matrices, and how they are cut into pieces.
//!
//! A `matmul` is what is computed; it is brought into the `form` that the best kernel computes, and cut into pieces, each
//! of which is one kernel (`Spec`). Of a piece, `blocking` chooses tiles, panels and chunks for wide vectors, `dots` for
//! few rows times columns, `portable` for vectors of four. All follow from sizes and strides alone.

pub(crate) mod blocking;
pub(crate) mod dots;
mod form;
mod matmul;
pub(crate) mod portable;

pub(crate) use form::Form;
pub(crate) use matmul::{Border, MatMul};

use blocking::Blocking;

use super::{Fallback, Level, Reason};

/// A product of two matrices at one level: what a kernel is compiled for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    pub(crate) level: Level,
    /// Why the level is `Portable` although a higher one was asked for.
    pub(crate) fallback: Option<Fallback>,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) strides: [[isize; 2]; 3],
    pub(crate) sums: Vec<(usize, [isize; 2])>,
    /// Rows are in blocks of so many, which are so far apart in the left matrix and the result.
    pub(crate) block: Option<(usize, [isize; 2])>,
    /// Whether the kernel adds up squares of what it stores, so that a result that is not finite or large is seen.
    pub(crate) checked: bool,
    /// Whether the right matrix, this part and the others, or the result is too large for a second-level cache beside
    /// the left one.
    pub(crate) large: bool,
}

/// Rows of a product that one kernel computes. More are split, so that the rows of the left matrix
/// stay in the second-level cache while the kernel goes along the columns of the right one.
pub(crate) const ROWS: usize = 768;

/// The most terms that a register adds up before it is added to a total or to the result: as many equal ones, for
/// which the error is largest, are added up to a hundred-thousandth.
pub(crate) const SEGMENT: usize = 640;

/// Strides up to which all offsets in a kernel fit 32 bits: at most 256 of them are added up.
pub(crate) const FAR: usize = 1 << 21;

/// Elements of a right matrix or a result up to which it stays in a second-level cache beside the left one: 512 KiB.
pub(crate) const LARGE: usize = 1 << 17;

/// Splits `len` into parts of at most `most`, as equal as can be: numbers and sizes.
pub(crate) fn split(len: usize, most: usize) -> [(usize, usize); 2] {
    let parts = len.div_ceil(most).max(1);
    [(len % parts, len / parts + 1), (parts - len % parts, len / parts)]
}

/// Multiplications and additions that are worth a part of their own: a microsecond or two.
pub(crate) const WORK: usize = 1 << 17;

/// The most loops around the inner dimension, but for portable kernels.
pub(crate) const SUMS: usize = 2;

/// Rows below which a product is not cut into parts.
pub(crate) const FEW: usize = 32;

/// The most parts into which the columns of one pair, or the pairs of a batch, are cut.
pub(crate) const PARTS: usize = 8;

/// A part of a product: where its matrices start, and what computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) starts: [isize; 3],
    pub(crate) spec: Spec,
}

/// The parts of a product of one pair. They follow from the sizes and strides alone, never from the
/// number of threads that compute them, so that the order of additions does too.
pub(crate) fn pieces(form: &Form, level: Level) -> Vec<Piece> {
    let (p, whole) = (&form.matmul, form.whole(level));
    let work = p.work().div_ceil(WORK);
    // Parts there are anyway.
    let portable = whole.level == Level::Portable;
    let parts = p.pairs() * form.shares.len() * if portable { 1 } else { p.m.div_ceil(ROWS) };
    let wanted = if p.whole { 1 } else { work.min(PARTS.div_ceil(parts.max(1))) };
    // Whole panels of columns; where there is only one, rows.
    let across = p.n.div_ceil(wanted.max(1)).next_multiple_of(whole.panel());
    let down = if p.n > across || wanted < 2 || whole.block.is_some() { p.m } else { p.m.div_ceil(wanted).max(FEW) };
    let rows = if portable { down } else { down.min(ROWS) };
    // Parts as equal as can be.
    let rows = p.m.div_ceil(p.m.div_ceil(rows.max(1)).max(1));
    let [[a_row, _], [_, b_column], [c_row, c_column]] = p.strides;
    let mut pieces = Vec::new();
    for share in &form.shares {
        for (row, m) in ranges(p.m, rows) {
            for (column, n) in ranges(p.n, across) {
                let (row, column) = (row as isize, column as isize);
                let [a, b, c] = share.starts;
                let starts = [a + row * a_row, b + column * b_column, c + row * c_row + column * c_column];
                pieces.push(Piece { starts, spec: Spec { m, n, ..whole.clone() }.with_turns(share.turns) });
            }
        }
    }
    pieces
}

/// `len` in runs of `step`, the last one perhaps shorter: where each starts and how long it is.
pub(crate) fn ranges(len: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(step.max(1)).map(move |start| (start, step.min(len - start)))
}

/// The elements of scratch memory that a product needs.
pub(crate) fn scratch(p: &MatMul, level: Level) -> usize {
    pieces(&Form::new(p, level), level).iter().map(|piece| piece.spec.scratch()).max().unwrap_or(0)
}

/// Roughly how many vector instructions compute a product.
pub(crate) fn cost(p: &MatMul, level: Level) -> usize {
    let form = Form::new(p, level);
    form.matmul.pairs() * pieces(&form, level).iter().map(|piece| piece.spec.cost()).sum::<usize>()
}

impl Spec {
    /// All of a product of one pair.
    pub(crate) fn new(p: &MatMul, level: Level) -> Spec {
        let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
        // Nothing goes along an axis of size one: its strides are no reason for another kernel.
        let unless_one = |size: usize, strides: [isize; 2], other: isize| if size == 1 { [other; 2] } else { strides };
        let [a_row, c_row] = unless_one(p.m, [a_row, c_row], 0);
        let [b_column, c_column] = unless_one(p.n, [b_column, c_column], 1);
        let [a_column, b_row] = unless_one(p.k, [a_column, b_row], 1);
        let strides = [[a_row, a_column], [b_row, b_column], [c_row, c_column]];
        let stride = strides.iter().flatten().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        // The loops around the inner dimension go over matrices as they are, without packing.
        let dots = a_column == 1 && b_row == 1;
        let packed = !p.sums.is_empty() && b_column != 1 && !dots;
        let reach = |(size, strides): &(usize, [isize; 2])| strides.map(|s| 4 * *size as isize * s);
        let far = p.sums.iter().flat_map(reach).any(|bytes| i32::try_from(bytes).is_err());
        let reason = match p.sums.len() {
            _ if stride > FAR => Some(Reason::Matrix(stride, FAR)),
            _ if far => Some(Reason::Span),
            sums if sums > SUMS => Some(Reason::Sums(sums, SUMS)),
            _ if packed => Some(Reason::PackedSum),
            _ => None,
        };
        let fallback = reason.filter(|_| level > Level::Portable).map(|reason| Fallback { level, reason });
        let level = if reason.is_some() { Level::Portable } else { level };
        let large = p.sums.is_empty() && p.n * p.k.max(p.m) > LARGE;
        Spec {
            level,
            fallback,
            m: p.m,
            n: p.n,
            k: p.k,
            strides,
            sums: p.sums.clone(),
            block: None,
            checked: false,
            large,
        }
    }

    /// The same with so many turns of one of the loops around the inner dimension.
    pub(crate) fn with_turns(mut self, turns: Option<(usize, usize)>) -> Spec {
        match turns {
            Some((_, 0)) => (self.k, self.sums) = (0, vec![]),
            Some((sum, turns)) => self.sums[sum].0 = turns,
            None => {}
        }
        self
    }

    /// The products of elements that are added up.
    pub(crate) fn terms(&self) -> usize {
        self.k * self.sums.iter().map(|(size, _)| size).product::<usize>()
    }

    /// Where row `i` starts in the left matrix and in the result.
    pub(crate) fn row(&self, i: usize) -> [isize; 2] {
        let [[a_row, _], _, [c_row, _]] = self.strides;
        let (rows, [a_block, c_block]) = self.block.unwrap_or((usize::MAX, [0; 2]));
        let (block, i) = ((i / rows) as isize, (i % rows) as isize);
        [block * a_block + i * a_row, block * c_block + i * c_row]
    }

    /// The rows of a tile in fours that lie one behind the other in each column of the result, and what is left
    /// one by one: where each starts and how many they are.
    pub(crate) fn runs(&self, rows: usize) -> Vec<(usize, usize)> {
        let start = |i: usize| self.row(i)[1];
        let mut runs = Vec::new();
        let mut row = 0;
        while row < rows {
            let four = row + 4 <= rows && (1..4).all(|i| start(row + i) == start(row) + i as isize);
            runs.push((row, if four { 4 } else { 1 }));
            row += if four { 4 } else { 1 };
        }
        runs
    }

    /// Whether Cranelift compiles the kernel.
    pub(crate) fn is_portable(&self) -> bool {
        self.level == Level::Portable
    }

    /// How many times its rows one tile may have.
    pub(crate) fn blocks(&self) -> usize {
        if self.is_portable() { 1 } else { blocking::blocks(self) }
    }

    /// Roughly how many vector instructions there are.
    pub(crate) fn cost(&self) -> usize {
        if self.is_portable() { portable::cost(self) } else { Blocking::new(self).cost(self) }
    }

    /// Columns that the kernel computes together.
    pub(crate) fn panel(&self) -> usize {
        if self.is_portable() { portable::PANEL } else { blocking::width(self) }
    }

    /// The elements of scratch memory that the kernel needs.
    pub(crate) fn scratch(&self) -> usize {
        if self.is_portable() { portable::scratch(self) } else { Blocking::new(self).scratch() }
    }
}
