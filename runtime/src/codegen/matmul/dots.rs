//! Few rows times the transpose of a matrix: each element of the result is the product of two
//! contiguous vectors. There are too few uses of the right matrix to pay for turning it around.

use super::simd::Emit;
use super::x86::{A, A_AT, A_TILE, B, B_AT, C, C_TILE, Emitter, PANELS, TILES, TURNS, at};
use crate::ir::product::dots::{steps, tile};
use crate::ir::product::split;

impl Emitter<'_> {
    /// The body of the function.
    pub(super) fn dots(&mut self) -> Emit {
        let (_, columns) = tile(self.spec);
        let [b_column, c_column] = [1, 2].map(|i| 4 * self.spec.strides[i][1] as i64);
        let rest = self.spec.k % self.simd.lanes();
        if rest > 0 {
            self.simd.set_mask(rest)?;
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

    /// Some columns of the result.
    fn dot_columns(&mut self, columns: usize) -> Emit {
        let [[a_row, _], _, [c_row, _]] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        self.simd.code.mov(A_TILE, A)?;
        self.simd.code.mov(C_TILE, C)?;
        for (count, rows) in split(self.spec.m, tile(self.spec).0).into_iter().filter(|t| t.0 > 0) {
            let moves = [(A_TILE, rows as i64 * a_row), (C_TILE, rows as i64 * c_row)];
            self.repeat(TILES, count, &moves, |e| e.dot_tile(rows, columns))?;
        }
        Ok(())
    }

    /// Some rows and columns of the result.
    fn dot_tile(&mut self, rows: usize, columns: usize) -> Emit {
        let [c_row, c_column] = self.spec.strides[2].map(|s| 4 * s as i64);
        let bytes = 4 * self.simd.lanes() as i64;
        let (turns, rest) = (self.spec.k / self.simd.lanes(), self.spec.k % self.simd.lanes());
        let sum = |i: usize, j: usize| rows + 1 + i * columns + j;
        for r in 0..rows * columns {
            self.simd.zero(sum(0, 0) + r)?;
        }
        self.simd.code.mov(A_AT, A_TILE)?;
        self.simd.code.mov(B_AT, B)?;
        let moved = turns as i64 * bytes;
        self.sums_with_totals(sum(0, 0)..sum(rows, 0), steps(self.spec), (moved, moved), &|e, count, last| {
            let masked = last && rest > 0;
            let turns = count - masked as usize;
            if turns > 0 {
                e.repeat(TURNS, turns, &[(A_AT, bytes), (B_AT, bytes)], |e| e.dot_step(rows, columns, sum, false))?;
            }
            if masked { e.dot_step(rows, columns, sum, true) } else { Ok(()) }
        })?;
        for i in 0..rows {
            for j in 0..columns {
                self.simd.add_lanes(sum(i, j), at(C_TILE, i as i64 * c_row + j as i64 * c_column))?;
                self.check_element()?;
            }
        }
        Ok(())
    }

    /// One vector of each row times one of each column.
    fn dot_step(&mut self, rows: usize, columns: usize, sum: impl Fn(usize, usize) -> usize, masked: bool) -> Emit {
        let [[a_row, _], [_, b_column], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        for i in 0..rows {
            self.simd.load(i, at(A_AT, i as i64 * a_row), masked)?;
        }
        for j in 0..columns {
            self.simd.load(rows, at(B_AT, j as i64 * b_column), masked)?;
            for i in 0..rows {
                self.simd.fma(sum(i, j), i, rows)?;
            }
        }
        Ok(())
    }
}
