//! Loop kernels as functions: compiled by the emitter of a level.

use super::backend::Backend;
use super::code;
use super::code::{Cache, Compiled};
use super::portable;
use crate::error::Result;
use crate::ir::Level;
use crate::ir::nest::LoopKernel;

/// The kernels of all live programs.
static KNOWN: Cache<(LoopKernel, Level)> = Cache::new();

/// A compiled loop kernel.
pub(crate) struct CompiledLoop {
    code: Compiled,
}

/// The function of a kernel: its operands, and the range of the outermost loop.
#[cfg(target_arch = "x86_64")]
type LoopFunction = unsafe extern "sysv64" fn(*const *mut u8, usize, usize);
#[cfg(not(target_arch = "x86_64"))]
type LoopFunction = unsafe extern "C" fn(*const *mut u8, usize, usize);

/// Compiles loop nests. Kernels that a live program has already are shared.
pub(crate) fn compile(kernels: &[&LoopKernel], level: Level) -> Result<Vec<CompiledLoop>> {
    let keys: Vec<(LoopKernel, Level)> = kernels.iter().map(|&kernel| (kernel.clone(), level)).collect();
    let keys: Vec<&(LoopKernel, Level)> = keys.iter().collect();
    let compiled = KNOWN.compile(&keys, |(kernel, level)| machine_code(kernel, *level))?;
    Ok(compiled.into_iter().map(|code| CompiledLoop { code }).collect())
}

/// Compiles a loop nest as on a machine that has no instruction for a product and a sum.
#[cfg(all(test, not(miri)))]
pub(super) fn compile_without_fma(kernel: &LoopKernel) -> Result<CompiledLoop> {
    static KNOWN: Cache<LoopKernel> = Cache::new();
    let code = KNOWN.compile(&[kernel], |kernel| {
        Ok((code::machine_code(3, |b, _| portable::emit(b, kernel, false))?, Backend::Cranelift(None)))
    })?;
    Ok(CompiledLoop { code: code[0].clone() })
}

fn machine_code(kernel: &LoopKernel, level: Level) -> Result<(Vec<u8>, Backend)> {
    let portable = |fallback| {
        let bytes = code::machine_code(3, |b, fma| portable::emit(b, kernel, fma))?;
        Ok((bytes, Backend::Cranelift(fallback)))
    };
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => match super::x86::machine_code(kernel, level)? {
            Ok(bytes) => Ok((bytes, Backend::Emitter(level))),
            Err(reason) => portable(Some(crate::ir::Fallback { level, reason })),
        },
        _ => portable(None),
    }
}

impl CompiledLoop {
    pub(crate) fn code(&self) -> &Compiled {
        &self.code
    }

    /// Runs the iterations `from` to `to` of the outermost loop, or these elements of the row if there is no
    /// loop around it (see [`LoopKernel::iterations`] and [`LoopKernel::is_split`]). Each call fills the operands
    /// that the kernel fills before its loops.
    ///
    /// # Safety
    ///
    /// `operands` must point to as many pointers as the kernel has operands, each to memory that
    /// covers all that the kernel's loops reach, and what this range writes must not be in use elsewhere.
    /// The range must lie within the kernel's iterations.
    pub(crate) unsafe fn run(&self, operands: *const *mut u8, from: usize, to: usize) {
        // SAFETY: the code at this address was compiled as a function of this signature and calling
        // convention, and lives as long as `self`; the caller answers for the memory.
        unsafe {
            let kernel: LoopFunction = std::mem::transmute(self.code.address());
            kernel(operands, from, to);
        }
    }
}
