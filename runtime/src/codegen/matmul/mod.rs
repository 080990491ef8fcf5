//! Matrix products: kernels for the exact sizes and strides.
//!
//! On x86-64 a kernel is emitted with vectors of 512 or 256 bits (`x86`), which Cranelift does not
//! have. Elsewhere Cranelift compiles one (`portable`).

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

use crate::ir::product::{Form, MatMul, Piece, Spec, pieces};

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
        let all = pieces.iter().all(|piece| !piece.spec.is_portable());
        pieces.iter_mut().for_each(|piece| piece.spec.checked = all);
    }
    let specs: Vec<&Spec> = pieces.iter().flatten().map(|piece| &piece.spec).collect();
    let mut compiled = KNOWN.compile(&specs, machine_code)?.into_iter();
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

    /// The code of each part.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &Compiled> {
        self.parts.iter().map(|part| &part.code)
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
