//! How fast the machine multiplies and adds: what kernels are measured against.

use super::Backend;
use super::code::Cache;
use super::matmul;
use crate::error::Result;
use crate::ir::Level;

/// A computation at the highest rate: its floating-point operations, and a run of it.
pub(crate) type Peak = (usize, Box<dyn FnMut()>);

/// Multiply-adds at the highest rate of one thread: in registers, with the widest vectors of the machine; a small
/// product where there is no emitter for them.
pub(crate) fn peak() -> Result<Peak> {
    match Level::best() {
        #[cfg(target_arch = "x86_64")]
        level @ (Level::Avx2 | Level::Avx512) => chains(level),
        level => product(level),
    }
}

/// A product whose matrices stay in the first-level cache (18 KiB), many times.
fn product(level: Level) -> Result<Peak> {
    const N: usize = 48;
    const TIMES: usize = 100;
    let strides = [[N as isize, 1]; 3];
    let product =
        crate::ir::product::MatMul { m: N, n: N, k: N, strides, batch: vec![(TIMES, [0; 3])], ..Default::default() };
    let compiled = matmul::compile(&[&product], level)?;
    let (a, mut c) = (vec![0.0; N * N], vec![0.0; N * N]);
    let mut scratch = vec![0.0; crate::ir::product::scratch(&product, level)];
    let run = move || {
        for product in &compiled {
            // SAFETY: the matrices and the scratch memory are as large as the product says.
            unsafe { product.run(0..product.units(), a.as_ptr(), a.as_ptr(), c.as_mut_ptr(), scratch.as_mut_ptr()) };
        }
    };
    Ok((TIMES * 2 * N * N * N, Box::new(run)))
}

/// Independent chains of multiply-adds.
#[cfg(target_arch = "x86_64")]
fn chains(level: Level) -> Result<Peak> {
    const ITERATIONS: usize = 50_000;
    static KNOWN: Cache<Level> = Cache::new();
    let compiled = KNOWN.compile(&[&level], |&level| Ok((machine_code(level)?, Backend::Emitter(level))))?;
    let run = move || {
        for code in &compiled {
            // SAFETY: the code was written as a function of this signature, and lives as long as
            // `compiled`; it touches no memory.
            unsafe {
                let run: unsafe extern "sysv64" fn(usize) = std::mem::transmute(code.address());
                run(ITERATIONS);
            }
        }
    };
    Ok((ITERATIONS * 2 * CHAINS as usize * level.lanes(), Box::new(run)))
}

/// The independent chains. Two units with a latency of five cycles need ten.
#[cfg(target_arch = "x86_64")]
const CHAINS: u8 = 12;

/// A function of a number of iterations, each with one multiply-add for each chain.
#[cfg(target_arch = "x86_64")]
fn machine_code(level: Level) -> Result<Vec<u8>> {
    use super::x86::asm::{Asm, Src};
    use iced_x86::code_asm::registers::rdi;
    let emit = || {
        let mut asm = Asm::new(level)?;
        (0..CHAINS + 2).try_for_each(|r| asm.zero(r))?;
        let top = asm.here()?;
        (0..CHAINS).try_for_each(|r| asm.multiply_add(r, CHAINS, Src::Reg(CHAINS + 1)))?;
        asm.code.dec(rdi)?;
        asm.code.jne(top)?;
        asm.code.vzeroupper()?;
        asm.code.ret()?;
        asm.code.assemble(0)
    };
    emit().map_err(|error: iced_x86::IcedError| crate::error::Error::Compile {
        what: "chains of multiply-adds".into(),
        message: error.to_string(),
    })
}
