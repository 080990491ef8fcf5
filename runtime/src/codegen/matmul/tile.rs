//! The sums of a tile, along a chunk of the inner dimension.

use super::emitter::{A_AT, A_TILE, B_AT, PANEL, ProductEmitter};
use super::sums::Sums;
use crate::codegen::x86::asm::{Emit, Src, at};
use crate::ir::product::blocking::{Packing, Panel, UNROLL};

impl ProductEmitter<'_> {
    /// A tile, one of `tiles` with so many rows: its sums over the chunk, stored or added to those of earlier chunks.
    pub(super) fn tile(&mut self, panel: &Panel, (tiles, rows): (usize, usize)) -> Emit {
        let [_, [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let a_column = self.a_column();
        let bytes = 4 * self.asm.lanes() as i64;
        let packed = self.blocking.packing != Packing::Direct;
        let b_row = if packed { panel.vectors as i64 * bytes } else { b_row };
        let sums = Sums::new(self.spec, panel, rows);
        for r in 0..sums.registers() {
            self.asm.zero(r)?;
        }
        self.asm.code.mov(A_AT, A_TILE)?;
        self.asm.code.mov(B_AT, PANEL)?;
        let moves = [(A_AT, a_column), (B_AT, b_row)];
        let steps = |e: &mut Self, steps: usize| {
            e.ahead(panel, (tiles, rows), steps)?;
            (0..steps).try_for_each(|step| e.step(panel, &sums, step, b_row, panel.masked && !packed))
        };
        if self.blocking.chunks > 1 {
            self.sweep(&moves, &steps)?;
        } else {
            let looped = (self.spec.k / UNROLL * UNROLL) as i64;
            let moved = (looped * a_column, looped * b_row);
            self.sums_with_totals(0..sums.registers(), self.spec.k, moved, &|e, count, _| {
                e.iterations(count / UNROLL, &moves, &steps)?;
                if count.is_multiple_of(UNROLL) { Ok(()) } else { steps(e, count % UNROLL) }
            })?;
        }
        for set in 1..sums.sets as u8 {
            for r in 0..sums.tile() {
                self.asm.add(r, Src::Reg(set * sums.tile() + r))?;
            }
        }
        self.store_tile(panel, &sums)
    }

    /// Bytes from one column of a tile's left matrix to the next.
    fn a_column(&self) -> i64 {
        4 * self.blocking.left.map_or(self.spec.strides[0][1] as i64, |rows| rows as i64)
    }

    /// One step along the inner dimension, the `step`th of an iteration.
    fn step(&mut self, panel: &Panel, sums: &Sums, step: usize, b_row: i64, masked: bool) -> Emit {
        let a_column = self.a_column();
        let bytes = 4 * self.asm.lanes() as i64;
        for j in 0..panel.vectors {
            let place = at(B_AT, step as i64 * b_row + j as i64 * bytes);
            self.load(sums.free + j as u8, place, masked && j + 1 == panel.vectors)?;
        }
        for i in 0..sums.rows {
            let row = if self.blocking.left.is_some() { i as isize } else { self.spec.row(i)[0] };
            let bytes = step as i64 * a_column + 4 * row as i64;
            let set = step % sums.sets;
            if panel.vectors == 1 && self.asm.wide() {
                let element = self.asm.uniform(A_AT, bytes);
                self.asm.multiply_add(sums.at(set, i, 0), sums.free, Src::Mem(element))?;
                continue;
            }
            let left = sums.free + panel.vectors as u8;
            self.asm.broadcast(left, at(A_AT, bytes))?;
            for j in 0..panel.vectors {
                self.asm.multiply_add(sums.at(set, i, j), sums.free + j as u8, Src::Reg(left))?;
            }
        }
        Ok(())
    }
}
