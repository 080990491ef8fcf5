//! Loop transformations: tiling, interchange, unroll-and-jam, and merging a loop with the row.
//!
//! None of them changes the order in which the terms of a sum are added up.

use crate::ir::nest::LoopKernel;
use crate::ir::strip::{Effect, Inst, Walk};

/// The widths of tiles of a row; the first that divides the row is taken. A cache line has 16 elements.
const TILE_WIDTHS: [usize; 4] = [16, 32, 24, 8];

/// The shortest row that is tiled: the 64 cache lines that a shorter row goes across stay in a first cache.
const MIN_TILED_ROW: usize = 64;

/// Rows of a sum below this length are interchanged. In longer ones many additions lie between two to the same element.
const INTERCHANGE_BELOW: usize = 64;

/// The iterations of the outermost loop that transformations leave for threads to share.
const MIN_OUTER_ITERATIONS: usize = 8;

/// How many iterations of a loop are moved inside of a sum's own loops. Each addition waits for the one before it to
/// the same element: 4 cycles for the addition, and some more for the store and load around it.
const INTERCHANGED_ITERATIONS: std::ops::RangeInclusive<usize> = 4..=16;

/// The most rows that are unrolled and jammed, as each row needs registers for its folds.
const MAX_JAMMED_ROWS: usize = 4;

/// The most elements of the rows that are unrolled and jammed: longer rows keep the machine busy by themselves.
const MAX_JAMMED_ELEMENTS: usize = 512;

/// The largest distance of two jammed rows in elements. An x86-64 address has a signed offset of 31 bits in bytes,
/// which reaches across all jammed rows.
const MAX_ROW_STRIDE: usize = 1 << 24;

impl LoopKernel {
    /// Unrolls the innermost loop around the row and jams the copies, if the kernel has several passes: each pass
    /// handles all unrolled rows before the next pass starts, so that a pass need not wait for the fold of a single
    /// row.
    ///
    /// The iterations that are left of the outermost loop stay a multiple of `parts`. An operand that `is_scratch` is
    /// memory for one row and becomes memory for all unrolled rows. Returns the number of unrolled rows.
    pub(crate) fn unroll_and_jam(&mut self, parts: usize, is_scratch: impl Fn(usize) -> bool) -> usize {
        let Some(&size) = self.outer.last().filter(|_| self.passes.len() > 1) else { return 1 };
        let near =
            self.operands.iter().all(|strides| strides.last().is_none_or(|s| s.unsigned_abs() <= MAX_ROW_STRIDE));
        // Threads share the iterations that are left of the outermost loop.
        let fits = |&rows: &usize| {
            let left = size / rows;
            size.is_multiple_of(rows)
                && (self.outer.len() > 1 || left >= MIN_OUTER_ITERATIONS && left.is_multiple_of(parts))
        };
        let most = MAX_JAMMED_ROWS.min(MAX_JAMMED_ELEMENTS / self.row.max(1));
        let Some(rows) = (2..=most).rev().find(fits).filter(|_| near) else { return 1 };
        for (i, strides) in self.operands.iter_mut().enumerate() {
            let Some(last) = strides.last_mut() else { continue };
            let stride = if is_scratch(i) { self.row as isize } else { *last };
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

    /// Merges the innermost loop around the row with the row, if every operand that is written is then contiguous: the
    /// elements of an operand are interleaved, such as those of two halves. An operand that is fixed along that loop is
    /// repeated.
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

    /// Moves some iterations of the loop around a sum's own loops inside of these loops, if rows are short: otherwise
    /// each addition to an element in memory would wait for the addition before.
    pub(crate) fn interchanged(mut self) -> LoopKernel {
        let Some(depth) = self.sum_depth().filter(|_| self.row < INTERCHANGE_BELOW) else { return self };
        let size = self.outer[depth];
        // Threads share the iterations that are left of the outermost loop.
        let fits = |inner: &usize| size.is_multiple_of(*inner) && (depth > 0 || size / inner >= MIN_OUTER_ITERATIONS);
        let Some(inner) = INTERCHANGED_ITERATIONS.rev().find(fits) else { return self };
        for strides in &mut self.operands {
            strides.push(strides[depth]);
            strides[depth] *= inner as isize;
        }
        self.outer.push(inner);
        self.outer[depth] /= inner;
        if self.outer[depth] == 1 {
            self.outer.remove(depth);
            self.operands.iter_mut().for_each(|strides| {
                strides.remove(depth);
            });
        }
        self
    }

    /// The innermost loop along which the sums move, if loops inside of it add to the same elements and no row is
    /// folded.
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

    /// Tiles the row and the innermost loop around it. A transposing copy, which goes down a column for each row, then
    /// uses all elements of a cache line while the line is in the cache.
    pub(crate) fn tiled(mut self) -> LoopKernel {
        let Some(&size) = TILE_WIDTHS.iter().find(|&&size| self.row.is_multiple_of(size)) else { return self };
        if !self.goes_across() || self.row < MIN_TILED_ROW {
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

    /// Whether some operand is contiguous along the innermost loop around the row rather than along the row, and the
    /// kernel only stores elements that it does not read.
    fn goes_across(&self) -> bool {
        let [pass] = self.passes.as_slice() else { return false };
        let across = |operand: usize, walk: Walk| {
            let around = self.operands[operand].last().is_some_and(|stride| stride.abs() == 1);
            around && matches!(walk, Walk::Strided(stride) if stride.unsigned_abs() >= TILE_WIDTHS[0])
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
