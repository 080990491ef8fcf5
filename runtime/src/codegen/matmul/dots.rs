//! Few rows times the transpose of a matrix: each element of the result is the product of two
//! contiguous vectors. There are too few uses of the right matrix to pay for turning it around.

use super::blocking::{lanes, registers};
use super::simd::Emit;
use super::x86::{A, A_AT, A_TILE, B, B_AT, C, C_TILE, Emitter, PANELS, TILES, TURNS, at};
use super::{Spec, split};
use crate::codegen::Level;

/// The most rows of the left matrix.
const ROWS: usize = 32;

/// The least length of vectors, in multiples of the rows: for each column, adding up the lanes of so
/// many results takes as long as packing the column.
const LENGTH: usize = 12;

/// Vector instructions that add up the lanes of a result.
pub(super) const ADD_LANES: usize = 8;

/// Rows and columns of the result that are computed together: as many as let the fewest vectors be loaded.
fn tile(spec: &Spec) -> (usize, usize) {
    let (most, mask) = if spec.level == Level::Avx512 { (6, 0) } else { (3, 1) };
    let even = |len: usize, most: usize| len.div_ceil(len.div_ceil(most).max(1)).max(1);
    let tiles = (1..=most.min(spec.m)).map(|rows| {
        let rows = even(spec.m, rows);
        // Besides the sums there are a vector of each row, one of a column, and with AVX2 the mask.
        let columns = ((registers(spec.level) - rows - 1 - mask) / rows).min(8);
        (rows, even(spec.n, columns))
    });
    let loads = |&(rows, columns): &(usize, usize)| spec.m * spec.n.div_ceil(columns) + spec.n * spec.m.div_ceil(rows);
    tiles.rev().min_by_key(loads).unwrap_or((1, 1))
}

/// Steps along the vectors, the last one of which may be masked.
fn steps(spec: &Spec) -> usize {
    spec.k.div_ceil(lanes(spec.level))
}

/// Numbers that a lane adds up.
pub(super) fn terms(spec: &Spec) -> usize {
    spec.terms() / spec.k.max(1) * steps(spec)
}

/// Whether a product is computed like this.
pub(super) fn suits(spec: &Spec, lanes: usize) -> bool {
    let [[_, a_column], [b_row, _], _] = spec.strides;
    a_column == 1 && b_row == 1 && spec.k >= (LENGTH * spec.m).max(2 * lanes) && (1..=ROWS).contains(&spec.m)
}

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
