//! Asks for memory that is read soon. The machine sees by itself what comes next along a row, but not where every
//! step goes to another row: some processors then wait for it. What is asked for may lie behind a matrix, which does no
//! harm: nothing is read.

use iced_x86::code_asm::*;

use super::emitter::{A_AT, B_AT, PANELS, ProductEmitter, TILES};
use crate::codegen::x86::asm::Emit;
use crate::ir::product::blocking::{Packing, Panel};

/// Bytes that come from memory together.
const LINE: i64 = 64;

impl ProductEmitter<'_> {
    /// At some steps of the first tile of a panel: what they read of the next panel. At those of a tile of the first
    /// panel: what they read of the next tile.
    pub(super) fn ahead(&mut self, panel: &Panel, (tiles, rows): (usize, usize), steps: usize) -> Emit {
        let [[a_row, a_column], [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let steps = 0..steps as i64;
        if self.blocking.packing == Packing::Direct && b_row > 4 * panel.columns as i64 {
            self.at_first(TILES, tiles, |e| {
                for step in steps.clone() {
                    for byte in (0..4 * panel.columns as i64).step_by(LINE as usize) {
                        let next = B_AT + (step * b_row + 4 * panel.columns as i64 + byte);
                        e.asm.code.prefetcht1(byte_ptr(next))?;
                    }
                }
                Ok(())
            })?;
        }
        // Of a left matrix whose columns are contiguous, the next tile reads elements right behind.
        if self.blocking.left.is_none() && a_row == 4 && a_column >= LINE {
            let last = 4 * self.spec.row(2 * rows - 1)[0] as i64;
            self.at_first(PANELS, panel.count, |e| {
                steps.clone().try_for_each(|step| e.asm.code.prefetcht0(byte_ptr(A_AT + (step * a_column + last))))
            })?;
        }
        Ok(())
    }

    /// Only at the first of the turns that a counter counts.
    fn at_first(&mut self, counter: AsmRegister64, turns: usize, body: impl FnOnce(&mut Self) -> Emit) -> Emit {
        let mut others = self.asm.code.create_label();
        self.asm.code.cmp(counter, turns as i32)?;
        self.asm.code.jne(others)?;
        body(self)?;
        self.asm.set(&mut others)
    }
}
