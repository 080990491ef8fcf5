//! Writes the function of a product: its registers, and its counted loops.

use iced_x86::MemoryOperand;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use crate::codegen::x86::asm::{Asm, Emit, Src};
use crate::ir::product::blocking::{Blocking, UNROLL};
use crate::ir::product::{MOST_SUM_LOOPS, Spec};

// The arguments: left, right and result matrix, scratch memory. `A` and `B` move on with the chunks.
pub(super) const A: AsmRegister64 = rdi;
pub(super) const B: AsmRegister64 = rsi;
pub(super) const C: AsmRegister64 = rdx;
pub(super) const SCRATCH_MEMORY: AsmRegister64 = rcx;
/// The chunks that are left, including the current one.
pub(super) const CHUNKS: AsmRegister64 = r15;
/// The panels that are left, including the current one, and where it is in the right matrix and in the result.
pub(super) const PANELS: AsmRegister64 = r13;
pub(super) const B_FROM: AsmRegister64 = rax;
pub(super) const C_PANEL: AsmRegister64 = rbp;
/// Where the current panel is read, packed or not.
pub(super) const PANEL: AsmRegister64 = r12;
/// The tiles that are left, including the current one, and where it is in the left matrix and in the result.
pub(super) const TILES: AsmRegister64 = r8;
pub(super) const A_TILE: AsmRegister64 = rbx;
pub(super) const C_TILE: AsmRegister64 = r9;
/// Pointers that move along the inner dimension, and the iterations that are left.
pub(super) const A_AT: AsmRegister64 = r10;
pub(super) const B_AT: AsmRegister64 = r11;
pub(super) const ITERATIONS: AsmRegister64 = r14;
/// A loop around the inner dimension, and the register that counts it.
type SumLoop = ((usize, [isize; 2]), AsmRegister64);

/// Writes the function of a product.
pub(super) struct ProductEmitter<'s> {
    pub(super) asm: Asm,
    pub(super) spec: &'s Spec,
    pub(super) blocking: Blocking,
    /// The mask of a tail in memory, with vectors of 256 bits.
    mask: CodeLabel,
}

impl<'s> ProductEmitter<'s> {
    pub(super) fn new(spec: &'s Spec) -> Emit<ProductEmitter<'s>> {
        let mut asm = Asm::new(spec.level)?;
        let mask = asm.code.create_label();
        Ok(ProductEmitter { asm, spec, blocking: Blocking::new(spec), mask })
    }

    /// Sets the mask of a tail of so many elements.
    pub(super) fn set_tail(&mut self, lanes: usize) -> Emit {
        if self.asm.wide() {
            self.asm.code.mov(r10d, (1i32 << lanes) - 1)?;
            self.asm.code.kmovw(k1, r10d)
        } else {
            self.asm.code.vmovups(ymm15, ymmword_ptr(self.mask))
        }
    }

    /// The words that `set_tail` reads with vectors of 256 bits; they come after the code.
    pub(super) fn tail_data(&mut self, lanes: usize) -> Emit {
        if self.asm.wide() || lanes == 0 {
            return Ok(());
        }
        let words: [u32; 8] = std::array::from_fn(|i| if i < lanes { u32::MAX } else { 0 });
        self.asm.code.set_label(&mut self.mask)?;
        self.asm.code.dd(&words)
    }

    /// Loads a vector, or of a tail the lanes of its mask, the others zero.
    pub(super) fn load(&mut self, r: u8, from: MemoryOperand, tail: bool) -> Emit {
        if tail { self.asm.load_tail(r, from) } else { self.asm.copy(r, Src::Mem(from)) }
    }

    /// Stores a vector, or of a tail the lanes of its mask.
    pub(super) fn store(&mut self, to: MemoryOperand, r: u8, tail: bool) -> Emit {
        if tail { self.asm.store_tail(to, r) } else { self.asm.store(to, r) }
    }

    /// A loop of `count` iterations, after each of which some registers move on by bytes.
    pub(super) fn repeat(
        &mut self,
        counter: AsmRegister64,
        count: usize,
        moves: &[(AsmRegister64, i64)],
        body: impl FnOnce(&mut Self) -> Emit,
    ) -> Emit {
        self.asm.code.mov(counter, count as i64)?;
        let top = self.asm.here()?;
        body(self)?;
        for &(register, bytes) in moves {
            match i32::try_from(bytes) {
                Ok(0) => {}
                Ok(bytes) => self.asm.code.add(register, bytes)?,
                Err(_) => {
                    self.asm.code.mov(A_AT, bytes)?;
                    self.asm.code.add(register, A_AT)?;
                }
            }
        }
        if count > 1 {
            self.asm.code.dec(counter)?;
            self.asm.code.jne(top)?;
        }
        Ok(())
    }

    /// Whether chunks have different numbers of iterations.
    fn uneven(&self) -> bool {
        self.blocking.chunk / UNROLL != self.blocking.last / UNROLL
    }

    /// Puts the number of iterations in this chunk on top of the stack.
    pub(super) fn set_iterations(&mut self) -> Emit {
        if !self.uneven() {
            return Ok(());
        }
        let mut done = self.asm.code.create_label();
        self.asm.code.mov(ITERATIONS, (self.blocking.chunk / UNROLL) as i64)?;
        self.asm.code.cmp(CHUNKS, 1)?;
        self.asm.code.jne(done)?;
        self.asm.code.mov(ITERATIONS, (self.blocking.last / UNROLL) as i64)?;
        self.asm.set(&mut done)?;
        self.asm.code.mov(qword_ptr(rsp), ITERATIONS)
    }

    /// All steps of a chunk, `UNROLL` in an iteration and then the rest. The registers move on by so many bytes at each
    /// step.
    pub(super) fn sweep(&mut self, moves: &[(AsmRegister64, i64)], body: &dyn Fn(&mut Self, usize) -> Emit) -> Emit {
        let iterations = self.blocking.chunk / UNROLL;
        if self.uneven() {
            let mut done = self.asm.code.create_label();
            self.asm.code.mov(ITERATIONS, qword_ptr(rsp))?;
            self.asm.code.test(ITERATIONS, ITERATIONS)?;
            self.asm.code.je(done)?;
            self.repeat_iterations(moves, body)?;
            self.asm.set(&mut done)?;
        } else {
            self.iterations(iterations, moves, body)?;
        }
        let left = self.blocking.last % UNROLL;
        if left > 0 {
            let mut done = self.asm.code.create_label();
            if self.blocking.chunks > 1 {
                self.asm.code.cmp(CHUNKS, 1)?;
                self.asm.code.jne(done)?;
            }
            body(self, left)?;
            if self.blocking.chunks > 1 {
                self.asm.set(&mut done)?;
            }
        }
        Ok(())
    }

    /// So many iterations of `UNROLL` steps each.
    pub(super) fn iterations(
        &mut self,
        iterations: usize,
        moves: &[(AsmRegister64, i64)],
        body: &dyn Fn(&mut Self, usize) -> Emit,
    ) -> Emit {
        if iterations == 0 {
            return Ok(());
        }
        self.asm.code.mov(ITERATIONS, iterations as i64)?;
        self.repeat_iterations(moves, body)
    }

    /// As many iterations as `ITERATIONS` says, at least one.
    fn repeat_iterations(&mut self, moves: &[(AsmRegister64, i64)], body: &dyn Fn(&mut Self, usize) -> Emit) -> Emit {
        let top = self.asm.here()?;
        body(self, UNROLL)?;
        for &(register, bytes) in moves {
            self.asm.code.add(register, (bytes * UNROLL as i64) as i32)?;
        }
        self.asm.code.dec(ITERATIONS)?;
        self.asm.code.jne(top)
    }

    /// The loops around the inner dimension. `body` goes along the inner dimension, and moves `A_AT` and `B_AT` on by
    /// so many bytes.
    pub(super) fn sums(&mut self, a_moved: i64, b_moved: i64, body: &dyn Fn(&mut Self) -> Emit) -> Emit {
        // These registers are free: there are no chunks, and nothing is packed.
        let counters: [_; MOST_SUM_LOOPS] = [CHUNKS, SCRATCH_MEMORY];
        let loops: Vec<_> = self.spec.sums.iter().copied().zip(counters).collect();
        self.sum_loops(&loops, (a_moved, b_moved), body)
    }

    fn sum_loops(&mut self, loops: &[SumLoop], (a, b): (i64, i64), body: &dyn Fn(&mut Self) -> Emit) -> Emit {
        let [((size, strides), counter), inner @ ..] = loops else { return body(self) };
        let [a_step, b_step] = strides.map(|s| 4 * s as i64);
        // How far the pointers have moved at the end of an iteration.
        let moved = match inner.first() {
            Some(((size, [a, b]), _)) => (4 * *size as i64 * *a as i64, 4 * *size as i64 * *b as i64),
            None => (a, b),
        };
        let moves = [(A_AT, a_step - moved.0), (B_AT, b_step - moved.1)];
        self.repeat(*counter, *size, &moves, |e| e.sum_loops(inner, (a, b), body))
    }
}
