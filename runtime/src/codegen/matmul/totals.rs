//! Totals of the sums of a tile that has many terms.
//!
//! The larger a sum in a register, the more a step is rounded. So after `SEGMENT` steps at most the registers are added
//! to totals on the stack, and start again at zero.

use std::ops::Range;

use iced_x86::MemoryOperand;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use super::emitter::ProductEmitter;
use crate::codegen::x86::asm::{Emit, Src, at};
use crate::ir::product::SEGMENT;

/// Bytes of the counter of sweeps along the inner dimension, or of segments of one, that are left.
const COUNTER: i32 = 8;

impl ProductEmitter<'_> {
    pub(super) fn start_totals(&mut self) -> Emit {
        if self.blocking.totals { self.asm.code.sub(rsp, self.totals_len()) } else { Ok(()) }
    }

    pub(super) fn end_totals(&mut self) -> Emit {
        if self.blocking.totals { self.asm.code.add(rsp, self.totals_len()) } else { Ok(()) }
    }

    /// Bytes of the counter and a total for each register.
    fn totals_len(&self) -> i32 {
        COUNTER + (self.spec.level.registers() * 4 * self.asm.lanes()) as i32
    }

    fn counter(&self) -> AsmMemoryOperand {
        qword_ptr(rsp + self.above_check())
    }

    fn total(&self, r: u8) -> MemoryOperand {
        at(rsp, self.above_check() + i64::from(COUNTER) + r as i64 * self.asm.bytes())
    }

    /// Sets the totals of registers to zero, which the registers are.
    fn clear_totals(&mut self, sums: Range<u8>) -> Emit {
        sums.into_iter().try_for_each(|r| self.asm.store(self.total(r), r))
    }

    /// Adds totals to their registers.
    fn take_totals(&mut self, sums: Range<u8>) -> Emit {
        sums.into_iter().try_for_each(|r| self.asm.add(r, Src::Mem(self.total(r))))
    }

    /// Adds registers to their totals, and sets them to zero.
    fn add_to_totals(&mut self, sums: Range<u8>) -> Emit {
        sums.into_iter().try_for_each(|r| {
            self.asm.add(r, Src::Mem(self.total(r)))?;
            self.asm.store(self.total(r), r)?;
            self.asm.zero(r)
        })
    }

    /// The loops around the inner dimension, as `ProductEmitter::sums`, for sweeps of so many steps. The registers
    /// `sums` must be zero. `along` writes some of the steps, and is told whether they are the last of a sweep.
    pub(super) fn sums_with_totals(
        &mut self,
        sums: Range<u8>,
        steps: usize,
        (a_moved, b_moved): (i64, i64),
        along: &dyn Fn(&mut Self, usize, bool) -> Emit,
    ) -> Emit {
        if !self.blocking.totals {
            return self.sums(a_moved, b_moved, &|e| along(e, steps, true));
        }
        // Short sweeps between two additions to the totals, or segments of a long one.
        let sweeps = (SEGMENT / steps.max(1)) as i32;
        let (segments, rest) = (steps.saturating_sub(1) / SEGMENT, (steps.max(1) - 1) % SEGMENT + 1);
        self.clear_totals(sums.clone())?;
        if segments == 0 {
            self.asm.code.mov(self.counter(), sweeps)?;
        }
        self.sums(a_moved, b_moved, &|e| {
            if segments > 0 {
                e.asm.code.mov(e.counter(), segments as i32)?;
                let top = e.asm.here()?;
                along(e, SEGMENT, false)?;
                e.add_to_totals(sums.clone())?;
                e.asm.code.dec(e.counter())?;
                e.asm.code.jne(top)?;
                along(e, rest, true)?;
                return e.add_to_totals(sums.clone());
            }
            along(e, steps, true)?;
            let mut later = e.asm.code.create_label();
            e.asm.code.dec(e.counter())?;
            e.asm.code.jne(later)?;
            e.asm.code.mov(e.counter(), sweeps)?;
            e.add_to_totals(sums.clone())?;
            e.asm.set(&mut later)
        })?;
        self.take_totals(sums)
    }
}
