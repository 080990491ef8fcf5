//! Products of matrices, and how they are cut into pieces.
//!
//! A `matmul` is what is computed; it is brought into `canonical` form, and cut into pieces, each of which is one
//! kernel (`Spec`). Of a piece, `blocking` chooses tiles, panels and chunks for wide vectors, `dots` for few rows times
//! columns, `portable` for vectors of four. All follow from sizes and strides alone.

pub(crate) mod blocking;
mod canonical;
pub(crate) mod dots;
mod matmul;
pub(crate) mod portable;

pub(crate) use canonical::Canonical;
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
    /// The rows of a block, and the distances of two blocks in the left matrix and in the result; one block if none.
    pub(crate) block: Option<(usize, [isize; 2])>,
    /// Whether the kernel adds up the squares of its results, which detects one that is not finite or large.
    pub(crate) checked: bool,
    /// Whether the right matrix or the result, of the whole product, is too large for the second-level cache beside the
    /// left matrix.
    pub(crate) large: bool,
}

/// The most rows of a piece: the rows of the left matrix stay in the second-level cache while the kernel goes along the
/// columns of the right one.
const PIECE_ROWS: usize = 768;

/// The most terms that a register adds up before it is added to a total or to the result. The error is largest for
/// equal terms: at most a hundred-thousandth of the sum.
pub(crate) const SEGMENT: usize = 640;

/// The largest stride of an emitted kernel, in elements: offsets, of at most 256 strides, fit 32 bits.
pub(crate) const STRIDE_LIMIT: usize = 1 << 21;

/// The most elements of a right matrix or a result that stays in the second-level cache beside the left matrix: 512
/// KiB.
pub(crate) const L2_ELEMENTS: usize = 1 << 17;

/// Splits `len` into parts of at most `most`, as equal as can be: numbers and sizes.
pub(crate) fn split(len: usize, most: usize) -> [(usize, usize); 2] {
    let parts = len.div_ceil(most).max(1);
    [(len % parts, len / parts + 1), (parts - len % parts, len / parts)]
}

/// The least multiplications and additions of a piece: a microsecond or two.
const PIECE_WORK: usize = 1 << 17;

/// The most loops around the inner dimension of an emitted kernel; portable kernels have any number.
pub(crate) const MOST_SUM_LOOPS: usize = 2;

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
pub(crate) fn pieces(form: &Canonical, level: Level) -> Vec<Piece> {
    let (p, whole) = (&form.matmul, form.whole(level));
    let work = p.work().div_ceil(PIECE_WORK);
    // The pieces that there are in any case.
    let portable = whole.level == Level::Portable;
    let parts = p.pairs() * form.shares.len() * if portable { 1 } else { p.m.div_ceil(PIECE_ROWS) };
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
    for share in &form.shares {
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
pub(crate) fn ranges(len: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(step.max(1)).map(move |start| (start, step.min(len - start)))
}

/// The elements of scratch memory that a product needs.
pub(crate) fn scratch(p: &MatMul, level: Level) -> usize {
    pieces(&Canonical::new(p, level), level).iter().map(|piece| piece.spec.scratch()).max().unwrap_or(0)
}

/// Roughly how many vector instructions compute a product.
pub(crate) fn cost(p: &MatMul, level: Level) -> usize {
    let form = Canonical::new(p, level);
    form.matmul.pairs() * pieces(&form, level).iter().map(|piece| piece.spec.cost()).sum::<usize>()
}

impl Spec {
    /// All of a product of one pair.
    pub(crate) fn new(p: &MatMul, level: Level) -> Spec {
        let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
        // The strides of an axis of size one do not matter: they are replaced by those that suit most kernels.
        let unless_one = |size: usize, strides: [isize; 2], other: isize| if size == 1 { [other; 2] } else { strides };
        let [a_row, c_row] = unless_one(p.m, [a_row, c_row], 0);
        let [b_column, c_column] = unless_one(p.n, [b_column, c_column], 1);
        let [a_column, b_row] = unless_one(p.k, [a_column, b_row], 1);
        let strides = [[a_row, a_column], [b_row, b_column], [c_row, c_column]];
        let stride = strides.iter().flatten().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        // Kernels with loops around the inner dimension read the matrices in place.
        let dots = a_column == 1 && b_row == 1;
        let packed = !p.sums.is_empty() && b_column != 1 && !dots;
        let reach = |(size, strides): &(usize, [isize; 2])| strides.map(|s| 4 * *size as isize * s);
        let far = p.sums.iter().flat_map(reach).any(|bytes| i32::try_from(bytes).is_err());
        let reason = match p.sums.len() {
            _ if stride > STRIDE_LIMIT => Some(Reason::Matrix(stride, STRIDE_LIMIT)),
            _ if far => Some(Reason::Span),
            sums if sums > MOST_SUM_LOOPS => Some(Reason::Sums(sums, MOST_SUM_LOOPS)),
            _ if packed => Some(Reason::PackedSum),
            _ => None,
        };
        let fallback = reason.filter(|_| level > Level::Portable).map(|reason| Fallback { level, reason });
        let level = if reason.is_some() { Level::Portable } else { level };
        let large = p.sums.is_empty() && p.n * p.k.max(p.m) > L2_ELEMENTS;
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

    /// The same with so many iterations of one of the loops around the inner dimension.
    pub(crate) fn with_iterations(mut self, iterations: Option<(usize, usize)>) -> Spec {
        match iterations {
            Some((_, 0)) => (self.k, self.sums) = (0, vec![]),
            Some((sum, count)) => self.sums[sum].0 = count,
            None => {}
        }
        self
    }

    /// The terms of each result.
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

    /// The rows of a tile, in fours where four are contiguous in each column of the result, the others one by one:
    /// where each run starts and how many rows it has.
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
        if self.is_portable() { portable::PANEL_COLUMNS } else { blocking::width(self) }
    }

    /// The elements of scratch memory that the kernel needs.
    pub(crate) fn scratch(&self) -> usize {
        if self.is_portable() { portable::scratch(self) } else { Blocking::new(self).scratch() }
    }
}
