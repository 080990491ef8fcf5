//! Few rows times the transpose of a matrix: each element of the result is the dot product of two contiguous vectors.
//! The right matrix is used too few times for packing to pay.

use super::emitter::{A, A_AT, A_TILE, B, B_AT, C, C_TILE, ITERATIONS, PANELS, ProductEmitter, TILES};
use crate::codegen::x86::asm::{Emit, Src, at};
use crate::ir::product::dots::{steps, tile};
use crate::ir::product::split;

impl ProductEmitter<'_> {
    /// The body of the function.
    pub(super) fn dots(&mut self) -> Emit {
        let (_, columns) = tile(self.spec);
        let [b_column, c_column] = [1, 2].map(|i| 4 * self.spec.strides[i][1] as i64);
        let rest = self.spec.k % self.asm.lanes();
        if rest > 0 {
            self.set_tail(rest)?;
        }
        if self.spec.n >= columns {
            let moves = [(B, columns as i64 * b_column), (C, columns as i64 * c_column)];
            self.repeat(PANELS, self.spec.n / columns, &moves, |e| e.dot_columns(columns))?;
        }
        if !self.spec.n.is_multiple_of(columns) {
            self.dot_columns(self.spec.n % columns)?;
        }
        Ok(())
    }

    /// All rows of some columns of the result.
    fn dot_columns(&mut self, columns: usize) -> Emit {
        let [[a_row, _], _, [c_row, _]] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        self.asm.code.mov(A_TILE, A)?;
        self.asm.code.mov(C_TILE, C)?;
        for (count, rows) in split(self.spec.m, tile(self.spec).0).into_iter().filter(|t| t.0 > 0) {
            let moves = [(A_TILE, rows as i64 * a_row), (C_TILE, rows as i64 * c_row)];
            self.repeat(TILES, count, &moves, |e| e.dot_tile(rows, columns))?;
        }
        Ok(())
    }

    /// A tile of the result.
    fn dot_tile(&mut self, rows: usize, columns: usize) -> Emit {
        let [c_row, c_column] = self.spec.strides[2].map(|s| 4 * s as i64);
        let bytes = 4 * self.asm.lanes() as i64;
        let (iterations, rest) = (self.spec.k / self.asm.lanes(), self.spec.k % self.asm.lanes());
        let sum = |i: usize, j: usize| (rows + 1 + i * columns + j) as u8;
        for r in sum(0, 0)..sum(rows, 0) {
            self.asm.zero(r)?;
        }
        self.asm.code.mov(A_AT, A_TILE)?;
        self.asm.code.mov(B_AT, B)?;
        let moved = iterations as i64 * bytes;
        self.sums_with_totals(sum(0, 0)..sum(rows, 0), steps(self.spec), (moved, moved), &|e, count, last| {
            let masked = last && rest > 0;
            let iterations = count - masked as usize;
            if iterations > 0 {
                e.repeat(ITERATIONS, iterations, &[(A_AT, bytes), (B_AT, bytes)], |e| {
                    e.dot_step(rows, columns, sum, false)
                })?;
            }
            if masked { e.dot_step(rows, columns, sum, true) } else { Ok(()) }
        })?;
        for i in 0..rows {
            for j in 0..columns {
                self.asm.add_lanes(sum(i, j), at(C_TILE, i as i64 * c_row + j as i64 * c_column))?;
                self.check_element()?;
            }
        }
        Ok(())
    }

    /// One vector of each row times one of each column.
    fn dot_step(&mut self, rows: usize, columns: usize, sum: impl Fn(usize, usize) -> u8, masked: bool) -> Emit {
        let [[a_row, _], [_, b_column], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        for i in 0..rows {
            self.load(i as u8, at(A_AT, i as i64 * a_row), masked)?;
        }
        for j in 0..columns {
            self.load(rows as u8, at(B_AT, j as i64 * b_column), masked)?;
            for i in 0..rows {
                self.asm.multiply_add(sum(i, j), i as u8, Src::Reg(rows as u8))?;
            }
        }
        Ok(())
    }
}
