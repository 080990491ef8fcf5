//! What a kernel of a product is compiled for.

use super::matmul::MatMul;
use crate::ir::{Fallback, Level, Reason};

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

/// The most loops around the inner dimension of an emitted kernel; portable kernels have any number.
pub(crate) const MOST_SUM_LOOPS: usize = 2;

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
}
