//! Matrix products: kernels for the exact sizes and strides.
//!
//! On x86-64 a kernel is emitted with vectors of 512 or 256 bits (`x86`), which Cranelift does not
//! have; `blocking` chooses its tiles. Elsewhere Cranelift compiles one (`portable`).

#[cfg(target_arch = "x86_64")]
mod ahead;
#[cfg(target_arch = "x86_64")]
mod blocking;
#[cfg(target_arch = "x86_64")]
mod check;
#[cfg(target_arch = "x86_64")]
mod dots;
mod form;
#[cfg(target_arch = "x86_64")]
mod pack;
mod peak;
mod portable;
#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(target_arch = "x86_64")]
mod store;
#[cfg(all(test, not(miri)))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod totals;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use peak::peak;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use form::Form;

use super::Level;
use super::code::{self, Cache, Compiled};
use crate::error::Result;
use crate::kernel::MatMul;

/// A product of two matrices at one level: what a kernel is compiled for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spec {
    level: Level,
    m: usize,
    n: usize,
    k: usize,
    strides: [[isize; 2]; 3],
    sums: Vec<(usize, [isize; 2])>,
    /// Rows are in blocks of so many, which are so far apart in the left matrix and the result.
    block: Option<(usize, [isize; 2])>,
    /// Whether the kernel adds up squares of what it stores, so that a result that is not finite or large is seen.
    checked: bool,
    /// Whether the right matrix, this part and the others, or the result is too large for a second-level cache beside
    /// the left one.
    large: bool,
}

/// Rows of a product that one kernel computes. More are split, so that the rows of the left matrix
/// stay in the second-level cache while the kernel goes along the columns of the right one.
const ROWS: usize = 768;

/// The most terms that a register adds up before it is added to a total or to the result: as many equal ones, for
/// which the error is largest, are added up to a hundred-thousandth.
const SEGMENT: usize = 640;

/// Strides up to which all offsets in a kernel fit 32 bits: at most 256 of them are added up.
const FAR: usize = 1 << 21;

/// Elements of a right matrix or a result up to which it stays in a second-level cache beside the left one: 512 KiB.
const LARGE: usize = 1 << 17;

/// Splits `len` into parts of at most `most`, as equal as can be: numbers and sizes.
fn split(len: usize, most: usize) -> [(usize, usize); 2] {
    let parts = len.div_ceil(most).max(1);
    [(len % parts, len / parts + 1), (parts - len % parts, len / parts)]
}

/// Multiplications and additions that are worth a part of their own: a microsecond or two.
const WORK: usize = 1 << 17;

/// The most loops around the inner dimension, but for portable kernels.
const SUMS: usize = 2;

/// Rows below which a product is not cut into parts.
const FEW: usize = 32;

/// The most parts into which the columns of one pair, or the pairs of a batch, are cut.
const PARTS: usize = 8;

/// A part of a product: where its matrices start, and what computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    starts: [isize; 3],
    spec: Spec,
}

/// The parts of a product of one pair. They follow from the sizes and strides alone, never from the
/// number of threads that compute them, so that the order of additions does too.
fn pieces(form: &Form, level: Level) -> Vec<Piece> {
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
fn ranges(len: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
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

/// A compiled product.
pub(crate) struct Product {
    /// The loops over pairs, and the strides of the operands along them.
    pairs: Vec<(usize, [isize; 3])>,
    /// Whether left and right are exchanged.
    turned: bool,
    parts: Vec<Part>,
    /// Whether its kernels see results that are not finite or large.
    checked: bool,
    /// Whether they have seen one.
    seen: AtomicBool,
}

/// A part of every pair's product.
struct Part {
    starts: [isize; 3],
    code: Compiled,
}

/// What writes a kernel.
#[derive(Clone, Copy)]
enum Kernel {
    Cranelift,
    #[cfg(target_arch = "x86_64")]
    Emitted,
}

/// The function that a kernel is: left, right, result, scratch memory. A checked one gives the sum of the squares of
/// what it has stored, another one any number.
#[cfg(target_arch = "x86_64")]
type Function = unsafe extern "sysv64" fn(*const f32, *const f32, *mut f32, *mut f32) -> f32;
#[cfg(not(target_arch = "x86_64"))]
type Function = unsafe extern "C" fn(*const f32, *const f32, *mut f32, *mut f32) -> f32;

/// The sum of squares from which on results count as large: those of 1e10 and more.
pub(crate) const LARGE_SQUARES: f32 = 1e20;

/// Kernels that some program still holds.
static KNOWN: Cache<Spec> = Cache::new();

/// Compiles products, those that are known already not again.
pub(crate) fn compile(products: &[&MatMul], level: Level) -> Result<Vec<Product>> {
    compile_checked(products, &|_| false, level)
}

/// The same, where the products of some numbers are to see results that are not finite or large.
pub(crate) fn compile_checked(
    products: &[&MatMul],
    checked: &dyn Fn(usize) -> bool,
    level: Level,
) -> Result<Vec<Product>> {
    let forms: Vec<Form> = products.iter().map(|p| Form::new(p, level)).collect();
    let mut pieces: Vec<Vec<Piece>> = forms.iter().map(|form| pieces(form, level)).collect();
    for pieces in pieces.iter_mut().enumerate().filter(|(i, _)| checked(*i)).map(|(_, pieces)| pieces) {
        // Only emitted kernels can.
        let all = pieces.iter().all(|piece| !matches!(piece.spec.kernel(), Kernel::Cranelift));
        pieces.iter_mut().for_each(|piece| piece.spec.checked = all);
    }
    let specs: Vec<&Spec> = pieces.iter().flatten().map(|piece| &piece.spec).collect();
    let mut compiled = KNOWN.compile(&specs, Spec::machine_code)?.into_iter();
    let product = |(form, pieces): (Form, Vec<Piece>)| {
        let part = |(piece, code): (Piece, Compiled)| Part { starts: piece.starts, code };
        let Form { matmul: MatMul { batch: pairs, .. }, turned, .. } = form;
        let checked = pieces.iter().all(|piece| piece.spec.checked);
        let parts = pieces.into_iter().zip(&mut compiled).map(part).collect();
        Product { pairs, turned, parts, checked, seen: AtomicBool::new(false) }
    };
    Ok(forms.into_iter().zip(pieces).map(product).collect())
}

impl Product {
    /// The number of parts that can be computed independently: those of all pairs.
    pub(crate) fn units(&self) -> usize {
        self.pairs.iter().map(|(size, _)| size).product::<usize>() * self.parts.len()
    }

    /// Computes some of the parts.
    ///
    /// # Safety
    ///
    /// `a` and `b` must point to matrices of the product's sizes and strides, `c` to room for the
    /// results, these parts of which nothing else uses, and `scratch` to as many elements as
    /// [`scratch`] says.
    pub(crate) unsafe fn run(&self, units: Range<usize>, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) {
        let (a, b) = if self.turned { (b, a) } else { (a, b) };
        for unit in units {
            let part = &self.parts[unit % self.parts.len()];
            let pair = self.starts(unit / self.parts.len());
            let [to_a, to_b, to_c] = std::array::from_fn(|i| pair[i] + part.starts[i]);
            // SAFETY: promised by the caller; the part is within the matrices.
            let sum = unsafe { part.run(a.offset(to_a), b.offset(to_b), c.offset(to_c), scratch) };
            // Where a number is not finite, neither is the sum.
            if self.checked && (sum.is_nan() || sum >= LARGE_SQUARES) {
                self.seen.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether its kernels see results that are not finite or large.
    pub(crate) fn is_checked(&self) -> bool {
        self.checked
    }

    /// Whether they have seen one since this was asked before.
    pub(crate) fn has_seen(&mut self) -> bool {
        std::mem::take(self.seen.get_mut())
    }

    /// Where the matrices of a pair are.
    fn starts(&self, mut pair: usize) -> [isize; 3] {
        let mut starts = [0; 3];
        for (size, strides) in self.pairs.iter().rev() {
            let place = (pair % size) as isize;
            pair /= size;
            for (start, stride) in starts.iter_mut().zip(strides) {
                *start += place * stride;
            }
        }
        starts
    }
}

impl Part {
    /// # Safety
    ///
    /// As [`Product::run`], with pointers to where this part starts.
    unsafe fn run(&self, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) -> f32 {
        // SAFETY: the code was compiled as a function of this signature and calling convention, and
        // lives as long as `self`; the caller answers for the memory.
        unsafe {
            let kernel: Function = std::mem::transmute(self.code.address());
            kernel(a, b, c, scratch)
        }
    }
}

impl Spec {
    /// All of a product of one pair.
    fn new(p: &MatMul, level: Level) -> Spec {
        let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
        // Nothing goes along an axis of size one: its strides are no reason for another kernel.
        let unless_one = |size: usize, strides: [isize; 2], other: isize| if size == 1 { [other; 2] } else { strides };
        let [a_row, c_row] = unless_one(p.m, [a_row, c_row], 0);
        let [b_column, c_column] = unless_one(p.n, [b_column, c_column], 1);
        let [a_column, b_row] = unless_one(p.k, [a_column, b_row], 1);
        let strides = [[a_row, a_column], [b_row, b_column], [c_row, c_column]];
        let far = strides.iter().flatten().any(|s| s.unsigned_abs() > FAR);
        // The loops around the inner dimension go over matrices as they are, without packing.
        let dots = a_column == 1 && b_row == 1;
        let packed = !p.sums.is_empty() && b_column != 1 && !dots || p.sums.len() > SUMS;
        let reach = |(size, strides): &(usize, [isize; 2])| strides.map(|s| 4 * *size as isize * s);
        let far = far || p.sums.iter().flat_map(reach).any(|bytes| i32::try_from(bytes).is_err());
        let level = if far || packed { Level::Portable } else { level };
        let large = p.sums.is_empty() && p.n * p.k.max(p.m) > LARGE;
        Spec { level, m: p.m, n: p.n, k: p.k, strides, sums: p.sums.clone(), block: None, checked: false, large }
    }

    /// The same with so many turns of one of the loops around the inner dimension.
    fn with_turns(mut self, turns: Option<(usize, usize)>) -> Spec {
        match turns {
            Some((_, 0)) => (self.k, self.sums) = (0, vec![]),
            Some((sum, turns)) => self.sums[sum].0 = turns,
            None => {}
        }
        self
    }

    /// The products of elements that are added up.
    fn terms(&self) -> usize {
        self.k * self.sums.iter().map(|(size, _)| size).product::<usize>()
    }

    /// Where row `i` starts in the left matrix and in the result.
    fn row(&self, i: usize) -> [isize; 2] {
        let [[a_row, _], _, [c_row, _]] = self.strides;
        let (rows, [a_block, c_block]) = self.block.unwrap_or((usize::MAX, [0; 2]));
        let (block, i) = ((i / rows) as isize, (i % rows) as isize);
        [block * a_block + i * a_row, block * c_block + i * c_row]
    }

    /// The rows of a tile in fours that lie one behind the other in each column of the result, and what is left
    /// one by one: where each starts and how many they are.
    fn runs(&self, rows: usize) -> Vec<(usize, usize)> {
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

    /// How many times its rows one tile may have.
    fn blocks(&self) -> usize {
        match self.kernel() {
            Kernel::Cranelift => 1,
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => blocking::blocks(self),
        }
    }

    /// Roughly how many vector instructions there are.
    fn cost(&self) -> usize {
        match self.kernel() {
            Kernel::Cranelift => portable::cost(self),
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => blocking::Blocking::new(self).cost(self),
        }
    }

    fn kernel(&self) -> Kernel {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => Kernel::Emitted,
            _ => Kernel::Cranelift,
        }
    }

    fn machine_code(&self) -> Result<Vec<u8>> {
        match self.kernel() {
            Kernel::Cranelift => code::machine_code(4, |b, fma| portable::emit(b, self, fma)),
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => x86::machine_code(self),
        }
    }

    /// Columns that the kernel computes together.
    fn panel(&self) -> usize {
        match self.kernel() {
            Kernel::Cranelift => portable::PANEL,
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => blocking::width(self),
        }
    }

    /// The elements of scratch memory that the kernel needs.
    fn scratch(&self) -> usize {
        match self.kernel() {
            Kernel::Cranelift => portable::scratch(self),
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => blocking::Blocking::new(self).scratch(),
        }
    }
}
