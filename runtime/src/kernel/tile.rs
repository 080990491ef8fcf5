//! Loops in another order where elements that lie together are far apart in time.

use super::LoopKernel;
use crate::codegen::strip::{Effect, Inst, Walk};

/// Elements of a row that are computed before the loop around it moves on; the first that divides the row
/// is taken.
const TILES: [usize; 4] = [16, 32, 24, 8];

/// Rows below this length stay in the cache as they are.
const SHORT: usize = 64;

impl LoopKernel {
    /// The kernel with its rows cut into tiles, and the loop over the tiles around all others but one. So a
    /// transposing copy, which goes down a column for each row, uses a cache line for its neighbours while
    /// it is there.
    pub(crate) fn tiled(mut self) -> LoopKernel {
        let Some(&size) = TILES.iter().find(|&&size| self.row.is_multiple_of(size)) else { return self };
        if !self.goes_across() || self.row < SHORT {
            return self;
        }
        let depth = self.outer.len() - 1;
        for (i, strides) in self.operands.iter_mut().enumerate() {
            let walk = self.passes.iter().find_map(|pass| pass.each.walk(i));
            let step = match walk {
                Some(Walk::Contiguous) => 1,
                Some(Walk::Strided(stride)) => stride,
                Some(Walk::Fixed) | None => 0,
            };
            strides.insert(depth, size as isize * step);
        }
        self.outer.insert(depth, self.row / size);
        self.row = size;
        self
    }

    /// Whether every element is computed for itself, and those of some operand lie together along the loop
    /// around the row rather than along the row.
    fn goes_across(&self) -> bool {
        let [pass] = self.passes.as_slice() else { return false };
        let across = |operand: usize, walk: Walk| {
            let around = self.operands[operand].last().is_some_and(|stride| stride.abs() == 1);
            around && matches!(walk, Walk::Strided(stride) if stride.unsigned_abs() >= TILES[0])
        };
        let loads = pass.each.insts().iter().any(|inst| match *inst {
            Inst::Load(operand, walk, _) => across(operand, walk),
            _ => false,
        });
        let stores = |effect: &Effect| matches!(*effect, Effect::Store(operand, walk, _) if across(operand, walk));
        let alone = pass.each.effects().iter().all(|effect| matches!(effect, Effect::Store(..)));
        pass.once.is_empty() && alone && (loads || pass.each.effects().iter().any(stores))
    }
}
