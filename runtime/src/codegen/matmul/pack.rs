//! Packs operands: copies a chunk of a panel of the right matrix into scratch memory, row after row, and a chunk of the
//! left matrix, tile after tile and column after column.

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use super::emitter::{A, A_TILE, B_AT, B_FROM, ProductEmitter, SCRATCH_MEMORY, TILES};
use crate::codegen::x86::asm::{Emit, at};
use crate::ir::product::blocking::{Packing, Panel, UNROLL};

/// Where the copy is written, and the element that is copied. Tiles use these registers for `A_AT` and `C_TILE`.
const PACK_TO: AsmRegister64 = r10;
const PACKED: AsmRegister32 = r9d;

impl ProductEmitter<'_> {
    /// Packs the chunk of the panel at `B_FROM` into `SCRATCH_MEMORY`.
    pub(super) fn pack(&mut self, panel: &Panel) -> Emit {
        let [row, column] = self.spec.strides[1].map(|s| 4 * s as i64);
        let bytes = 4 * self.asm.lanes() as i64;
        let to_row = panel.vectors as i64 * bytes;
        let moves = [(B_AT, row), (PACK_TO, to_row)];
        if self.blocking.packing != Packing::Transposed {
            self.asm.code.mov(B_AT, B_FROM)?;
            self.asm.code.mov(PACK_TO, SCRATCH_MEMORY)?;
        }
        match self.blocking.packing {
            Packing::Direct | Packing::Dots => Ok(()),
            Packing::Rows => self.sweep(&moves, &|e, steps| {
                for step in 0..steps as i64 {
                    for i in 0..panel.vectors {
                        let place = i as i64 * bytes;
                        let masked = panel.masked && i + 1 == panel.vectors;
                        e.load(i as u8, at(B_AT, step * row + place), masked)?;
                        e.asm.store(at(PACK_TO, step * to_row + place), i as u8)?;
                    }
                }
                Ok(())
            }),
            Packing::Scattered => {
                self.sweep(&moves, &|e, steps| e.elements(steps, 0..panel.columns, row, column, to_row))
            }
            Packing::Transposed => {
                // One vector of columns after the other: the lines of more columns could conflict in a set of the
                // first-level cache.
                for i in 0..panel.vectors {
                    let lanes = self.asm.lanes();
                    let columns = lanes.min(panel.columns - i * lanes);
                    self.asm.code.lea(B_AT, B_FROM + (i * lanes) as i64 * column)?;
                    self.asm.code.lea(PACK_TO, SCRATCH_MEMORY + i as i64 * bytes)?;
                    self.sweep(&moves, &|e, steps| match steps {
                        UNROLL => e.four_steps(columns, column, to_row),
                        _ => e.elements(steps, 0..columns, row, column, to_row),
                    })?;
                }
                Ok(())
            }
        }
    }

    /// Packs the chunk of the left matrix into the memory after the panel, if it is to be packed: its columns are
    /// contiguous.
    pub(super) fn pack_left(&mut self) -> Emit {
        let Some(rows) = self.blocking.left else { return Ok(()) };
        let column = 4 * self.spec.strides[0][1] as i64;
        let (to_column, tile) = (4 * rows as i64, 4 * self.blocking.tile(rows) as i64);
        let tiles = self.blocking.panels.first().map_or(vec![], |p| p.tiles.clone());
        // Registers that panels use later.
        let (from, to) = (B_FROM, A_TILE);
        self.asm.code.mov(from, A)?;
        self.asm.code.lea(to, SCRATCH_MEMORY + 4 * self.blocking.panel() as i64)?;
        self.sweep(&[(from, column), (to, to_column)], &|e, steps| {
            e.asm.code.mov(B_AT, from)?;
            e.asm.code.mov(PACK_TO, to)?;
            tiles.iter().try_for_each(|&(count, rows)| {
                let moves = [(B_AT, 4 * rows as i64), (PACK_TO, tile)];
                e.repeat(TILES, count, &moves, |e| e.elements(steps, 0..rows, column, 4, to_column))
            })
        })
    }

    /// Copies some rows element by element.
    fn elements(&mut self, rows: usize, columns: std::ops::Range<usize>, row: i64, column: i64, to_row: i64) -> Emit {
        for step in 0..rows as i64 {
            for i in columns.clone() {
                self.asm.code.mov(PACKED, dword_ptr(B_AT + (step * row + i as i64 * column)))?;
                self.asm.code.mov(dword_ptr(PACK_TO + (step * to_row + 4 * i as i64)), PACKED)?;
            }
        }
        Ok(())
    }

    /// Transposes four elements of each column of a vector into four vectors.
    fn four_steps(&mut self, columns: usize, column: i64, to_row: i64) -> Emit {
        for r in 0..4u8 {
            let source = |quarter: usize| {
                let i = 4 * quarter + r as usize;
                (i < columns).then(|| at(B_AT, i as i64 * column))
            };
            let sources: Vec<_> = (0..self.asm.lanes() / 4).map(source).collect();
            self.asm.load_quarters(r, &sources)?;
        }
        self.asm.transpose([0, 1, 2, 3], [4, 5, 6, 7])?;
        for r in 0..4 {
            self.asm.store(at(PACK_TO, r as i64 * to_row), r)?;
        }
        Ok(())
    }
}
