//! Matrix products: kernels for the exact sizes and strides.
//!
//! On x86-64 a kernel is emitted with vectors of 512 or 256 bits (`x86`), which Cranelift does not have. Elsewhere
//! Cranelift compiles one (`portable`). The files of `x86` in order; each imports only files before it:
//!
//! | file | |
//! |---|---|
//! | `emitter` | registers, masks, counted loops |
//! | `sums` | the registers of a tile's sums |
//! | `ahead` | prefetches |
//! | `check` | detects results that are not finite or large |
//! | `totals` | totals of sums of many terms |
//! | `pack` | packs panels and the left matrix |
//! | `store` | stores a tile |
//! | `tile` | the sums of a tile |
//! | `dots` | products of few rows, by dot products |
//! | `x86` | the function: chunks and panels |

#[cfg(target_arch = "x86_64")]
mod ahead;
#[cfg(target_arch = "x86_64")]
mod check;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod emitter;
#[cfg(target_arch = "x86_64")]
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod store;
#[cfg(target_arch = "x86_64")]
mod sums;
#[cfg(all(test, not(miri)))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod totals;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ir::product::{Canonical, MatMul, Piece, Spec, pieces};

use super::backend::Backend;
use super::code;
use super::code::{Cache, Compiled};
use crate::error::Result;
use crate::ir::Level;

/// A compiled product.
pub(crate) struct Product {
    /// The loops over pairs, and the strides of the operands along them.
    pairs: Vec<(usize, [isize; 3])>,
    /// Whether left and right are exchanged.
    transposed: bool,
    parts: Vec<Part>,
    /// Whether the kernels detect results that are not finite or large.
    checked: bool,
    /// Whether a kernel has stored such a result.
    seen: AtomicBool,
}

/// A part of every pair's product.
struct Part {
    starts: [isize; 3],
    code: Compiled,
}

/// The function of a kernel: left, right, result, scratch memory. A checked kernel returns the sum of the squares of
/// all results that it has stored, any other kernel an arbitrary number.
#[cfg(target_arch = "x86_64")]
type ProductFunction = unsafe extern "sysv64" fn(*const f32, *const f32, *mut f32, *mut f32) -> f32;
#[cfg(not(target_arch = "x86_64"))]
type ProductFunction = unsafe extern "C" fn(*const f32, *const f32, *mut f32, *mut f32) -> f32;

/// The least sum of squares that counts as large: results of 1e10 and more.
pub(crate) const LARGE_SQUARES: f32 = 1e20;

/// The kernels of all live programs.
static KNOWN: Cache<Spec> = Cache::new();

fn machine_code(spec: &Spec) -> Result<(Vec<u8>, Backend)> {
    match spec.level {
        #[cfg(target_arch = "x86_64")]
        level @ (Level::Avx2 | Level::Avx512) => Ok((x86::machine_code(spec)?, Backend::Emitter(level))),
        _ => {
            let bytes = code::machine_code(4, |b, fma| portable::emit(b, spec, fma))?;
            Ok((bytes, Backend::Cranelift(spec.fallback)))
        }
    }
}

/// Compiles products. Kernels that a live program has already are shared.
pub(crate) fn compile(products: &[&MatMul], level: Level) -> Result<Vec<Product>> {
    compile_checked(products, &|_| false, level)
}

/// The same, where the products that `checked` names by number detect results that are not finite or large.
pub(crate) fn compile_checked(
    products: &[&MatMul],
    checked: &dyn Fn(usize) -> bool,
    level: Level,
) -> Result<Vec<Product>> {
    let canonicals: Vec<Canonical> = products.iter().map(|p| Canonical::new(p, level)).collect();
    let mut pieces: Vec<Vec<Piece>> = canonicals.iter().map(|canonical| pieces(canonical, level)).collect();
    for pieces in pieces.iter_mut().enumerate().filter(|(i, _)| checked(*i)).map(|(_, pieces)| pieces) {
        // Cranelift's kernels do not check.
        let all = pieces.iter().all(|piece| !piece.spec.is_portable());
        pieces.iter_mut().for_each(|piece| piece.spec.checked = all);
    }
    let specs: Vec<&Spec> = pieces.iter().flatten().map(|piece| &piece.spec).collect();
    let mut compiled = KNOWN.compile(&specs, machine_code)?.into_iter();
    let product = |(canonical, pieces): (Canonical, Vec<Piece>)| {
        let part = |(piece, code): (Piece, Compiled)| Part { starts: piece.starts, code };
        let Canonical { matmul: MatMul { batch: pairs, .. }, transposed, .. } = canonical;
        let checked = pieces.iter().all(|piece| piece.spec.checked);
        let parts = pieces.into_iter().zip(&mut compiled).map(part).collect();
        Product { pairs, transposed, parts, checked, seen: AtomicBool::new(false) }
    };
    Ok(canonicals.into_iter().zip(pieces).map(product).collect())
}

impl Product {
    /// The number of parts, of all pairs, that can be computed independently.
    pub(crate) fn units(&self) -> usize {
        self.pairs.iter().map(|(size, _)| size).product::<usize>() * self.parts.len()
    }

    /// Computes some of the parts.
    ///
    /// # Safety
    ///
    /// `a` and `b` must point to matrices of the product's sizes and strides, `c` to memory for the
    /// results, these parts of which nothing else uses, and `scratch` to as many elements as
    /// [`scratch`] says.
    pub(crate) unsafe fn run(&self, units: Range<usize>, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) {
        let (a, b) = if self.transposed { (b, a) } else { (a, b) };
        for unit in units {
            let part = &self.parts[unit % self.parts.len()];
            let pair = self.starts(unit / self.parts.len());
            let [to_a, to_b, to_c] = std::array::from_fn(|i| pair[i] + part.starts[i]);
            // SAFETY: promised by the caller; the part is within the matrices.
            let sum = unsafe { part.run(a.offset(to_a), b.offset(to_b), c.offset(to_c), scratch) };
            // The sum is not finite if a result is not.
            if self.checked && (sum.is_nan() || sum >= LARGE_SQUARES) {
                self.seen.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The code of each part.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &Compiled> {
        self.parts.iter().map(|part| &part.code)
    }

    /// Whether the kernels detect results that are not finite or large.
    pub(crate) fn is_checked(&self) -> bool {
        self.checked
    }

    /// Whether a kernel has stored such a result since the last call.
    pub(crate) fn has_seen(&mut self) -> bool {
        std::mem::take(self.seen.get_mut())
    }

    /// Where the matrices of a pair start.
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
            let kernel: ProductFunction = std::mem::transmute(self.code.address());
            kernel(a, b, c, scratch)
        }
    }
}
