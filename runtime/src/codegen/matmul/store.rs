//! Stores the sums of a tile in the result.

use iced_x86::MemoryOperand;

use super::emitter::{C_TILE, CHUNKS, ProductEmitter};
use super::sums::Sums;
use crate::codegen::x86::asm::{Emit, Src, at};
use crate::ir::product::blocking::Panel;

impl ProductEmitter<'_> {
    /// Stores the sums of a tile, or adds them to those of earlier chunks.
    pub(super) fn store_tile(&mut self, panel: &Panel, sums: &Sums) -> Emit {
        if self.spec.strides[2][1] == 1 { self.store_rows(panel, sums) } else { self.store_columns(panel, sums) }
    }

    /// Vectors go along the rows of the result.
    fn store_rows(&mut self, panel: &Panel, sums: &Sums) -> Emit {
        let bytes = 4 * self.asm.lanes() as i64;
        let places: Vec<(u8, MemoryOperand, bool)> = (0..sums.rows)
            .flat_map(|i| (0..panel.vectors).map(move |j| (i, j)))
            .map(|(i, j)| {
                let place = at(C_TILE, 4 * self.spec.row(i)[1] as i64 + j as i64 * bytes);
                (sums.at(0, i, j), place, panel.masked && j + 1 == panel.vectors)
            })
            .collect();
        if self.blocking.chunks > 1 {
            let mut first = self.asm.code.create_label();
            self.asm.code.cmp(CHUNKS, self.blocking.chunks as i32)?;
            self.asm.code.je(first)?;
            for &(sum, place, masked) in &places {
                self.load(sums.free, place, masked)?;
                self.asm.add(sum, Src::Reg(sums.free))?;
            }
            self.asm.set(&mut first)?;
        }
        self.check(panel, sums)?;
        places.into_iter().try_for_each(|(sum, place, masked)| self.store(place, sum, masked))
    }

    /// The columns of the result are apart: four sums that are contiguous in each column are transposed and stored
    /// together. There is one chunk.
    fn store_columns(&mut self, panel: &Panel, sums: &Sums) -> Emit {
        self.check(panel, sums)?;
        // The registers of sums of other sets and of the panel's row are free now.
        let other = std::array::from_fn(|i| sums.tile() + i as u8);
        for (row, count) in self.spec.runs(sums.rows) {
            for j in 0..panel.vectors {
                if count == 4 {
                    self.asm.transpose(std::array::from_fn(|i| sums.at(0, row + i, j)), other)?;
                }
                for (quarter, places) in self.column_places(panel, self.spec.row(row)[1], j).chunks(4).enumerate() {
                    if count == 1 {
                        self.asm.store_elements(places, sums.at(0, row, j), quarter, other[0])?;
                        continue;
                    }
                    for (i, &place) in places.iter().enumerate() {
                        self.asm.store_quarter(place, sums.at(0, row + i, j), quarter)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the columns of a panel's vector are in a row of the result.
    fn column_places(&self, panel: &Panel, row: isize, vector: usize) -> Vec<MemoryOperand> {
        let (column, lanes) = (self.spec.strides[2][1], self.asm.lanes());
        let columns = vector * lanes..panel.columns.min((vector + 1) * lanes);
        columns.map(|i| at(C_TILE, 4 * (row + i as isize * column) as i64)).collect()
    }
}
