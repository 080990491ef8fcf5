//! Which registers hold the sums of a tile.

use crate::ir::Level;
use crate::ir::product::Spec;
use crate::ir::product::blocking::Panel;

/// The registers of the sums of a tile: one for each row and each vector of columns, in one or more sets.
pub(super) struct Sums {
    pub(super) rows: usize,
    vectors: usize,
    /// Consecutive steps along the inner dimension are added to different sets, so that a small tile too has enough
    /// additions that do not wait for each other.
    pub(super) sets: usize,
    /// The first register that holds no sum.
    pub(super) free: u8,
}

impl Sums {
    pub(super) fn new(spec: &Spec, panel: &Panel, rows: usize) -> Sums {
        let tile = rows * panel.vectors;
        let mask = (panel.masked && spec.level != Level::Avx512) as usize;
        let available = spec.level.registers() - panel.vectors - 1 - mask;
        let fits = |sets: &usize| sets * tile <= available && (sets / 2) * tile < 8;
        let sets = [4, 2].into_iter().find(fits).unwrap_or(1);
        Sums { rows, vectors: panel.vectors, sets, free: (sets * tile) as u8 }
    }

    /// The number of registers of one set.
    pub(super) fn tile(&self) -> u8 {
        (self.rows * self.vectors) as u8
    }

    /// The number of registers of all sets.
    pub(super) fn registers(&self) -> u8 {
        self.sets as u8 * self.tile()
    }

    /// The register of a sum.
    pub(super) fn at(&self, set: usize, row: usize, vector: usize) -> u8 {
        set as u8 * self.tile() + (row * self.vectors + vector) as u8
    }
}
