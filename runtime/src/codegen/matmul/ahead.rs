//! Prefetches operands. The processor's own prefetcher follows a row, but not steps that each go to another row: some
//! processors then wait for memory. A prefetch may go beyond the end of a matrix: it never faults.

use iced_x86::code_asm::*;

use super::emitter::{A_AT, B_AT, PANELS, ProductEmitter, TILES};
use crate::codegen::x86::asm::Emit;
use crate::ir::LINE_BYTES;
use crate::ir::product::blocking::{Packing, Panel};

impl ProductEmitter<'_> {
    /// Some steps of a tile: in the first tile of a panel they prefetch what the same steps read of the next panel, in
    /// the first panel what they read of the next tile.
    pub(super) fn ahead(&mut self, panel: &Panel, (tiles, rows): (usize, usize), steps: usize) -> Emit {
        let [[a_row, a_column], [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let steps = 0..steps as i64;
        if self.blocking.packing == Packing::Direct && b_row > 4 * panel.columns as i64 {
            self.at_first(TILES, tiles, |e| {
                for step in steps.clone() {
                    for byte in (0..4 * panel.columns as i64).step_by(LINE_BYTES) {
                        let next = B_AT + (step * b_row + 4 * panel.columns as i64 + byte);
                        e.asm.code.prefetcht1(byte_ptr(next))?;
                    }
                }
                Ok(())
            })?;
        }
        // If the columns of the left matrix are contiguous, the next tile reads the elements that follow.
        if self.blocking.left.is_none() && a_row == 4 && a_column >= LINE_BYTES as i64 {
            let last = 4 * self.spec.row(2 * rows - 1)[0] as i64;
            self.at_first(PANELS, panel.count, |e| {
                steps.clone().try_for_each(|step| e.asm.code.prefetcht0(byte_ptr(A_AT + (step * a_column + last))))
            })?;
        }
        Ok(())
    }

    /// Code that runs only in the first iteration of a loop.
    fn at_first(&mut self, counter: AsmRegister64, iterations: usize, body: impl FnOnce(&mut Self) -> Emit) -> Emit {
        let mut others = self.asm.code.create_label();
        self.asm.code.cmp(counter, iterations as i32)?;
        self.asm.code.jne(others)?;
        body(self)?;
        self.asm.set(&mut others)
    }
}
