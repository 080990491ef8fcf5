//! Loop nests: what is compiled for elementwise operations and reductions.

use super::strip::{Effect, Strip, Walk};

/// A loop nest: loops around a row, and a few passes over each row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LoopKernel {
    /// The sizes of the loops around the row, outermost first.
    pub(crate) outer: Vec<usize>,
    /// The number of elements in the row.
    pub(crate) row: usize,
    /// Whether each pass may go over all rows of the innermost loop around the row before the next pass does.
    pub(crate) side_by_side: bool,
    /// For each operand, how many elements it moves with each loop around the row.
    pub(crate) operands: Vec<Vec<isize>>,
    /// Operands that are filled before the loops: which, how many elements, and the bits of each.
    pub(crate) fills: Vec<(usize, usize, u32)>,
    /// The number of scalars: values that are the same for the whole row.
    pub(crate) scalars: usize,
    /// The passes over a row.
    pub(crate) passes: Vec<Pass>,
}

/// A pass over a row, and what is computed once before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    /// Computed once for the row.
    pub(crate) once: Strip,
    /// Computed for each element.
    pub(crate) each: Strip,
}

impl LoopKernel {
    /// The iterations of the outermost loop, or the elements of the row if there is no loop around it: a call runs a
    /// range of them.
    pub(crate) fn iterations(&self) -> usize {
        self.outer.first().copied().unwrap_or(self.row)
    }

    /// Whether ranges of the iterations may run at the same time, apart from the fills: no two of them write the same
    /// elements. `is_private` says which operands are scratch memory of each thread.
    pub(crate) fn is_split(&self, is_private: impl Fn(usize) -> bool) -> bool {
        let around = !self.outer.is_empty();
        for pass in &self.passes {
            if !around && !pass.once.is_empty() {
                return false;
            }
            for effect in pass.once.effects().iter().chain(pass.each.effects()) {
                let (operand, walk) = match *effect {
                    Effect::Store(operand, walk, _) | Effect::Accumulate(operand, walk, ..) => (operand, walk),
                    Effect::Fold(..) if !around => return false,
                    Effect::Fold(..) | Effect::Define(..) => continue,
                };
                let moves = match self.operands[operand].first() {
                    Some(&stride) => stride != 0,
                    None => walk != Walk::Fixed,
                };
                if !moves && !is_private(operand) {
                    return false;
                }
            }
        }
        true
    }

    /// How many elements of an operand are read or written.
    pub(crate) fn extent(&self, operand: usize) -> usize {
        let around: usize =
            self.outer.iter().zip(&self.operands[operand]).map(|(&size, &s)| if s == 0 { 1 } else { size }).product();
        let along = |strip: &Strip| match strip.walk(operand) {
            None | Some(Walk::Fixed) => 1,
            Some(Walk::Repeated(times)) => self.row.div_ceil(times),
            Some(Walk::Contiguous | Walk::Strided(_)) => self.row,
        };
        around * self.passes.iter().map(|p| along(&p.each)).max().unwrap_or(1)
    }
}
