//! Detects results that are not finite or very large.
//!
//! A checked kernel adds up the squares of all results that it stores, one instruction for each vector, and returns the
//! sum. The sum is small only if each result is, since squares do not cancel; a NaN makes the sum NaN.

use iced_x86::code_asm::dword_ptr;
use iced_x86::code_asm::registers::*;

use super::emitter::{CHUNKS, ProductEmitter};
use super::sums::Sums;
use crate::codegen::x86::asm::{Emit, Src, at};
use crate::ir::product::blocking::{Packing, Panel};

/// Bytes on the stack for a vector of sums of squares.
const SQUARES: i32 = 64;

/// Where the sums of squares are from the top of the stack: below the number of iterations (see
/// `ProductEmitter::chunks`), or at the top.
const BELOW_ITERATIONS: i64 = 8;
const AT_TOP: i64 = 0;

/// The register in which the lanes of the sums are added up at the end.
const LAST: u8 = 2;

impl ProductEmitter<'_> {
    pub(super) fn start_check(&mut self) -> Emit {
        if !self.spec.checked {
            return Ok(());
        }
        self.asm.code.sub(rsp, SQUARES)?;
        self.asm.zero(LAST)?;
        self.asm.store(at(rsp, AT_TOP), LAST)
    }

    /// Where the stack goes on past the sums of squares, if there are any, while a tile is computed.
    pub(super) fn above_check(&self) -> i64 {
        let squares = if self.blocking.packing == Packing::Dots { AT_TOP } else { BELOW_ITERATIONS };
        squares + if self.spec.checked { i64::from(SQUARES) } else { 0 }
    }

    /// Leaves the sum of all squares in register 0, as the result of the function.
    pub(super) fn end_check(&mut self) -> Emit {
        if !self.spec.checked {
            return Ok(());
        }
        self.asm.copy(LAST, Src::Mem(at(rsp, AT_TOP)))?;
        self.asm.add_lanes(LAST, at(rsp, AT_TOP))?;
        self.asm.code.add(rsp, SQUARES)
    }

    /// Adds up the squares of the results of a tile: those of its sums in the last chunk.
    pub(super) fn check(&mut self, panel: &Panel, sums: &Sums) -> Emit {
        if !self.spec.checked {
            return Ok(());
        }
        let mut later = self.asm.code.create_label();
        if self.blocking.chunks > 1 {
            self.asm.code.cmp(CHUNKS, 1)?;
            self.asm.code.jne(later)?;
        }
        // The registers of the panel's row and of the left element are free now. They hold independent totals; with a
        // tail one of them holds masked numbers.
        let other = sums.free + panel.vectors as u8;
        let totals = if panel.masked { sums.free..other } else { sums.free..other + 1 };
        let total = totals.start;
        self.asm.copy(total, Src::Mem(at(rsp, BELOW_ITERATIONS)))?;
        totals.clone().skip(1).try_for_each(|r| self.asm.zero(r))?;
        let mut next = totals.clone().rev().cycle();
        for i in 0..sums.rows {
            for j in 0..panel.vectors {
                let (x, to) = (sums.at(0, i, j), next.next().unwrap_or(total));
                match panel.masked && j + 1 == panel.vectors {
                    true => self.asm.add_squares_of_tail(to, x, other)?,
                    false => self.asm.multiply_add(to, x, Src::Reg(x))?,
                }
            }
        }
        totals.skip(1).try_for_each(|r| self.asm.add(total, Src::Reg(r)))?;
        self.asm.store(at(rsp, BELOW_ITERATIONS), total)?;
        if self.blocking.chunks > 1 {
            self.asm.set(&mut later)?;
        }
        Ok(())
    }

    /// Adds the square of the result that was stored last, which is in register 0; overwrites it.
    pub(super) fn check_element(&mut self) -> Emit {
        if !self.spec.checked {
            return Ok(());
        }
        let squares = dword_ptr(rsp + AT_TOP);
        self.asm.code.vmulss(xmm0, xmm0, xmm0)?;
        self.asm.code.vaddss(xmm0, xmm0, squares)?;
        self.asm.code.vmovss(squares, xmm0)
    }
}
