//! Matrix products: kernels for the exact sizes and strides.
//!
//! On x86-64 a kernel is emitted with vectors of 512 or 256 bits (`x86`), which Cranelift does not
//! have; `blocking` chooses its tiles. Elsewhere Cranelift compiles one (`portable`).

#[cfg(target_arch = "x86_64")]
mod blocking;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

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
}

/// Rows of a product that one kernel computes. More are split, so that the rows of the left matrix
/// stay in the second-level cache while the kernel goes along the columns of the right one.
const ROWS: usize = 768;

/// Strides up to which all offsets in a kernel fit 32 bits: at most 256 of them are added up.
const FAR: usize = 1 << 21;

/// Splits `len` into parts of at most `most`, as equal as can be: numbers and sizes.
fn split(len: usize, most: usize) -> [(usize, usize); 2] {
    let parts = len.div_ceil(most).max(1);
    [(len % parts, len / parts + 1), (parts - len % parts, len / parts)]
}

/// A product of one column as the transposed product of one row, if its result is the same in
/// memory.
fn turned(p: &MatMul) -> Option<MatMul> {
    let [[a_row, a_column], [b_row, b_column], [c_row, _]] = p.strides;
    (p.n == 1 && p.m > 1 && c_row == 1).then(|| MatMul {
        m: 1,
        n: p.m,
        k: p.k,
        strides: [[b_column, b_row], [a_column, a_row], [p.m as isize, 1]],
        batch: p.batch.iter().map(|&(size, [a, b, c])| (size, [b, a, c])).collect(),
    })
}

/// The parts of a product that have kernels: how many after each other, and for what.
fn parts(p: &MatMul, level: Level) -> Vec<(usize, Spec)> {
    let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
    // Nothing goes along an axis of size one: its strides are no reason for another kernel.
    let unless_one = |size: usize, strides: [isize; 2], other: isize| if size == 1 { [other; 2] } else { strides };
    let [a_row, c_row] = unless_one(p.m, [a_row, c_row], 0);
    let [b_column, c_column] = unless_one(p.n, [b_column, c_column], 1);
    let [a_column, b_row] = unless_one(p.k, [a_column, b_row], 1);
    let strides = [[a_row, a_column], [b_row, b_column], [c_row, c_column]];
    let far = strides.iter().flatten().any(|s| s.unsigned_abs() > FAR);
    if level == Level::Portable || far || c_column != 1 {
        return vec![(1, Spec { level: Level::Portable, m: p.m, n: p.n, k: p.k, strides })];
    }
    let part = |(count, m)| (count, Spec { level, m, n: p.n, k: p.k, strides });
    split(p.m, ROWS).into_iter().filter(|&(count, m)| count * m * p.n > 0).map(part).collect()
}

/// The elements of scratch memory that a product needs.
pub(crate) fn scratch(p: &MatMul, level: Level) -> usize {
    parts(&turned(p).unwrap_or_else(|| p.clone()), level).iter().map(|(_, spec)| spec.scratch()).max().unwrap_or(0)
}

/// A compiled product.
pub(crate) struct Product {
    matmul: MatMul,
    /// Whether `matmul` is the transposed product, with left and right exchanged.
    turned: bool,
    parts: Vec<Part>,
}

/// Rows of a product.
struct Part {
    /// How many times, each over the next rows.
    count: usize,
    rows: usize,
    code: Compiled,
}

/// What writes a kernel.
#[derive(Clone, Copy)]
enum Kernel {
    Cranelift,
    #[cfg(target_arch = "x86_64")]
    Emitted,
}

/// The function that a kernel is: left, right, result, scratch memory.
#[cfg(target_arch = "x86_64")]
type Function = unsafe extern "sysv64" fn(*const f32, *const f32, *mut f32, *mut f32);
#[cfg(not(target_arch = "x86_64"))]
type Function = unsafe extern "C" fn(*const f32, *const f32, *mut f32, *mut f32);

/// Kernels that some program still holds.
static KNOWN: Cache<Spec> = Cache::new();

/// Compiles products, those that are known already not again.
pub(crate) fn compile(products: &[&MatMul], level: Level) -> Result<Vec<Product>> {
    let products: Vec<(MatMul, bool)> =
        products.iter().map(|&p| turned(p).map_or_else(|| (p.clone(), false), |p| (p, true))).collect();
    let parts: Vec<Vec<(usize, Spec)>> = products.iter().map(|(p, _)| parts(p, level)).collect();
    let specs: Vec<&Spec> = parts.iter().flatten().map(|(_, spec)| spec).collect();
    let mut compiled = KNOWN.compile(&specs, Spec::machine_code)?.into_iter();
    let product = |((matmul, turned), parts): ((MatMul, bool), Vec<(usize, Spec)>)| {
        let part = |((count, spec), code): ((usize, Spec), Compiled)| Part { count, rows: spec.m, code };
        Product { matmul, turned, parts: parts.into_iter().zip(&mut compiled).map(part).collect() }
    };
    Ok(products.into_iter().zip(parts).map(product).collect())
}

impl Product {
    /// Computes the product of every pair.
    ///
    /// # Safety
    ///
    /// `a` and `b` must point to matrices of the product's sizes and strides, `c` to room for the
    /// results that nothing else uses, and `scratch` to as many elements as [`scratch`] says.
    pub(crate) unsafe fn run(&self, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) {
        let (a, b) = if self.turned { (b, a) } else { (a, b) };
        // SAFETY: promised by the caller.
        unsafe { self.pairs(&self.matmul.batch, a, b, c, scratch) };
    }

    /// # Safety
    ///
    /// As `run`, for the pairs along `batch`.
    unsafe fn pairs(&self, batch: &[(usize, [isize; 3])], a: *const f32, b: *const f32, c: *mut f32, s: *mut f32) {
        if let [(size, [da, db, dc]), rest @ ..] = batch {
            for i in 0..*size as isize {
                // SAFETY: promised by the caller.
                unsafe { self.pairs(rest, a.offset(i * da), b.offset(i * db), c.offset(i * dc), s) };
            }
            return;
        }
        let mut row = 0;
        for part in &self.parts {
            for _ in 0..part.count {
                let [[a_row, _], _, [c_row, _]] = self.matmul.strides;
                // SAFETY: promised by the caller; the parts are one behind the other in the matrix.
                unsafe { part.run(a.offset(row * a_row), b, c.offset(row * c_row), s) };
                row += part.rows as isize;
            }
        }
    }
}

impl Part {
    /// # Safety
    ///
    /// As [`Product::run`], for these rows of one pair.
    unsafe fn run(&self, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) {
        // SAFETY: the code was compiled as a function of this signature and calling convention, and
        // lives as long as `self`; the caller answers for the memory.
        unsafe {
            let kernel: Function = std::mem::transmute(self.code.address());
            kernel(a, b, c, scratch);
        }
    }
}

impl Spec {
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

    /// The elements of scratch memory that the kernel needs.
    fn scratch(&self) -> usize {
        match self.kernel() {
            Kernel::Cranelift => portable::scratch(self),
            #[cfg(target_arch = "x86_64")]
            Kernel::Emitted => blocking::Blocking::new(self).scratch(),
        }
    }
}
