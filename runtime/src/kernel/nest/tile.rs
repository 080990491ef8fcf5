//! Loops in another order where elements that lie together are far apart in time.

use crate::ir::nest::LoopKernel;
use crate::ir::strip::{Effect, Inst, Walk};

/// Elements of a row that are computed before the loop around it moves on; the first that divides the row
/// is taken.
const TILES: [usize; 4] = [16, 32, 24, 8];

/// Rows below this length stay in the cache as they are.
const SHORT: usize = 64;

/// Turns of the outermost loop that are left for threads to share.
const THREADS: usize = 8;

/// The most and the fewest rows that sums take turns with.
const TURNS: std::ops::RangeInclusive<usize> = 4..=16;

/// The most rows side by side, and the most elements in them.
const ROWS: usize = 4;
const ELEMENTS: usize = 512;

/// Elements between two rows side by side up to which their addresses are offsets.
const NEAR: usize = 1 << 24;

impl LoopKernel {
    /// The kernel with some rows side by side, if it has several passes over them: so what a pass computes of
    /// one row need not wait for what the pass before folds of it. Sums of the rows keep their order.
    /// `parts` divide the turns of the outermost loop. Operands that are a room for a row become rooms for
    /// all rows side by side; gives how many rows these are.
    pub(crate) fn put_side_by_side(&mut self, parts: usize, is_room: impl Fn(usize) -> bool) -> usize {
        let Some(&size) = self.outer.last().filter(|_| self.passes.len() > 1) else { return 1 };
        let near = self.operands.iter().all(|strides| strides.last().is_none_or(|s| s.unsigned_abs() <= NEAR));
        // What is left of the outermost loop is for threads.
        let fits = |&rows: &usize| {
            let left = size / rows;
            size.is_multiple_of(rows) && (self.outer.len() > 1 || left >= THREADS && left.is_multiple_of(parts))
        };
        let most = ROWS.min(ELEMENTS / self.row.max(1));
        let Some(rows) = (2..=most).rev().find(fits).filter(|_| near) else { return 1 };
        for (i, strides) in self.operands.iter_mut().enumerate() {
            let Some(last) = strides.last_mut() else { continue };
            let stride = if is_room(i) { self.row as isize } else { *last };
            *last *= rows as isize;
            strides.push(stride);
        }
        if let Some(last) = self.outer.last_mut() {
            *last /= rows;
        }
        self.outer.push(rows);
        self.side_by_side = true;
        rows
    }

    /// The kernel with the loop around the row as part of the row, if all elements of an operand are then one
    /// behind the other. Those that are the same along that loop are repeated.
    pub(crate) fn interleaved(mut self) -> LoopKernel {
        let ([pass], [_, .., size]) = (self.passes.as_slice(), self.outer.as_slice()) else { return self };
        let (size, operands) = (*size, &self.operands);
        let along = |operand: usize, walk: Walk| match (walk, operands[operand].last()) {
            (Walk::Strided(stride), Some(1)) if stride == size as isize => Some(Walk::Contiguous),
            (Walk::Contiguous, Some(0)) if matches!(size, 2 | 4) => Some(Walk::Repeated(size)),
            (Walk::Fixed, Some(0)) => Some(Walk::Fixed),
            _ => None,
        };
        let written = |effect: &Effect| match *effect {
            Effect::Store(operand, walk, _) | Effect::Accumulate(operand, walk, ..) => {
                along(operand, walk) == Some(Walk::Contiguous)
            }
            Effect::Fold(..) | Effect::Define(..) => false,
        };
        if !pass.once.is_empty() || !pass.each.effects().iter().all(written) {
            return self;
        }
        let Some(each) = pass.each.clone().walking(along) else { return self };
        self.passes[0].each = each;
        self.row *= size;
        self.outer.pop();
        self.operands.iter_mut().for_each(|strides| strides.truncate(self.outer.len()));
        self
    }

    /// The kernel with some rows of the loop around a sum's own loops inside of these, if rows are short: else
    /// each addition to a sum in memory would wait for the one before. Each sum's additions keep their order.
    pub(crate) fn in_turns(mut self) -> LoopKernel {
        let Some(depth) = self.sum_depth().filter(|_| self.row < SHORT) else { return self };
        let size = self.outer[depth];
        // What is left of the outermost loop is for threads.
        let fits = |turns: &usize| size.is_multiple_of(*turns) && (depth > 0 || size / turns >= THREADS);
        let Some(turns) = TURNS.rev().find(fits) else { return self };
        for strides in &mut self.operands {
            strides.push(strides[depth]);
            strides[depth] *= turns as isize;
        }
        self.outer.push(turns);
        self.outer[depth] /= turns;
        if self.outer[depth] == 1 {
            self.outer.remove(depth);
            self.operands.iter_mut().for_each(|strides| {
                strides.remove(depth);
            });
        }
        self
    }

    /// The loop around those innermost loops that add to the same sums, if each element is computed for itself.
    fn sum_depth(&self) -> Option<usize> {
        let [pass] = self.passes.as_slice() else { return None };
        let filled = |operand: usize| self.fills.iter().any(|fill| fill.0 == operand);
        let sums = pass.each.effects().iter().filter_map(|effect| match *effect {
            Effect::Accumulate(operand, ..) => Some(&self.operands[operand]),
            Effect::Store(operand, ..) if filled(operand) => Some(&self.operands[operand]),
            _ => None,
        });
        let folds = pass.each.effects().iter().any(|effect| matches!(effect, Effect::Fold(..)));
        let depths: Vec<_> = sums.map(|strides| strides.iter().rposition(|&stride| stride != 0)).collect();
        let depth = (*depths.first()?)?;
        let same = depths.iter().all(|other| *other == Some(depth));
        (same && !folds && pass.once.is_empty() && depth + 1 < self.outer.len()).then_some(depth)
    }

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
                Some(Walk::Contiguous) => size as isize,
                Some(Walk::Strided(stride)) => size as isize * stride,
                Some(Walk::Repeated(times)) => (size / times) as isize,
                Some(Walk::Fixed) | None => 0,
            };
            strides.insert(depth, step);
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
        let is_read =
            |operand: usize| pass.each.insts().iter().any(|i| matches!(*i, Inst::Load(o, ..) if o == operand));
        let alone = pass.each.effects().iter().all(|e| matches!(*e, Effect::Store(operand, ..) if !is_read(operand)));
        pass.once.is_empty() && alone && (loads || pass.each.effects().iter().any(stores))
    }
}
