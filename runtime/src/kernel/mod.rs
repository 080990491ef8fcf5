//! From a graph to kernels: which nodes are computed together, in which loops, and where in
//! memory.
//!
//! `multiply_add` joins products and sums, `place` says how values lie in memory, `access` sees through views,
//! `border` knows what is zero around them, `fuse` groups nodes, `again` says what of them need not be in memory,
//! `lower` makes a loop nest of each group, `tile` puts its loops in order, `windows` makes straight lines of short
//! sums, `parts` and `blocks` cut long ones, `chain` lets kernels take turns, and `plan` gives every value that outlives
//! its kernel a place in the arena, where it may `replace` another. `sound` compares the plan with its kernels.

mod access;
mod again;
mod blocks;
mod border;
mod chain;
mod contract;
mod describe;
mod fuse;
mod loops;
mod lower;
mod multiply_add;
mod nest;
mod parts;
mod place;
mod plan;
mod refusal;
mod replace;
mod sound;
mod tile;
mod windows;

pub(crate) use chain::OPERANDS;
pub(crate) use describe::Description;
pub(crate) use fuse::is_outside;
pub(crate) use multiply_add::with_multiply_adds;
pub(crate) use plan::{Plan, Spot, plan};
pub(crate) use refusal::Refusal;
#[cfg(all(test, not(miri)))]
pub(crate) use windows::unrolled;

use std::ops::Range;

use crate::codegen::strip::{Effect, Inst, Strip, Walk};
use crate::graph::{Rows, Var};

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
    /// Operands that are set before the loops: which, how many elements, and the bits of each.
    pub(crate) fills: Vec<(usize, usize, u32)>,
    /// The number of values that are one for the whole row.
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

/// Matrix products over a number of pairs of matrices. Strides are in elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MatMul {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Row and column stride of the left, right and result matrix.
    pub(crate) strides: [[isize; 2]; 3],
    /// Loops around the inner dimension whose products are added up: sizes, outermost first, and the
    /// strides of the left and right matrix along them.
    pub(crate) sums: Vec<(usize, [isize; 2])>,
    /// Sizes of the loops over pairs, and the strides of the three operands along them.
    pub(crate) batch: Vec<(usize, [isize; 3])>,
    /// Which products may be other than zero.
    pub(crate) border: Option<Border>,
    /// Whether the product is a part of a larger one, and is not cut into parts itself.
    pub(crate) whole: bool,
}

/// Products that may be other than zero: those for which the place along a loop over pairs and the place along
/// a loop around the inner dimension, each times a step, add up to a number in this range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    /// Which loops, by number, and the steps.
    pub(crate) pairs: (usize, isize),
    pub(crate) sum: (usize, isize),
    pub(crate) range: Range<isize>,
}

impl MatMul {
    /// The products of elements that are added up in each result.
    pub(crate) fn terms(&self) -> usize {
        self.k * self.sums.iter().map(|(size, _)| size).product::<usize>()
    }

    /// Multiplications and additions of one pair.
    pub(crate) fn work(&self) -> usize {
        self.m * self.n * self.terms()
    }

    /// The elements of the left, right and result matrices, those that several pairs share only once.
    pub(crate) fn elements(&self) -> [usize; 3] {
        let sums = |i: usize| self.sums.iter().filter(move |(_, s)| s[i] != 0).map(|(size, _)| size).product::<usize>();
        let one = [self.m * self.k * sums(0), self.k * self.n * sums(1), self.m * self.n];
        std::array::from_fn(|i| {
            one[i] * self.batch.iter().filter(|(_, s)| s[i] != 0).map(|(size, _)| size).product::<usize>()
        })
    }

    /// For each place along the loop over pairs that a border is about, the places along the loop around the
    /// inner dimension that count.
    pub(crate) fn inside(&self, border: &Border) -> Vec<Range<usize>> {
        let ((pairs, pairs_step), (sum, sum_step)) = (border.pairs, border.sum);
        let places = 0..self.batch[pairs].0 as isize;
        let counts = |i: isize| {
            let mut counts =
                (0..self.sums[sum].0).filter(|&j| border.range.contains(&(i * pairs_step + j as isize * sum_step)));
            let first = counts.next();
            first.map_or(0..0, |first| first..first + 1 + counts.count())
        };
        places.map(counts).collect()
    }

    /// Multiplications and additions of all pairs, without those of zeros around an image.
    pub(crate) fn products(&self) -> usize {
        let all = self.work() * self.pairs();
        self.border.as_ref().map_or(all, |border| {
            let inside: usize = self.inside(border).iter().map(Range::len).sum();
            all / (self.batch[border.pairs.0].0 * self.sums[border.sum.0].0).max(1) * inside
        })
    }

    /// The number of pairs of matrices.
    pub(crate) fn pairs(&self) -> usize {
        self.batch.iter().map(|(size, _)| size).product()
    }
}

/// What a call runs.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A compiled loop nest.
    Loop(LoopKernel),
    /// Matrix products: left, right, result, and scratch memory if they need it.
    MatMul(MatMul),
    /// Rows by number: table, index, result.
    Gather { count: usize, width: usize, rows: usize },
    /// The places of an index, sorted by the row they name: index, places, and where those of each row end.
    Sort { count: usize, rows: usize },
    /// Rows added to those of the result, which are zeroed before unless they are `added` to: the places that name each
    /// and their ends, rows, result.
    ScatterAdd { count: usize, width: usize, rows: usize, added: bool },
    /// Row numbers that must be admitted: index.
    Check { count: usize, rows: Rows },
}

/// Memory that a kernel reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Home {
    /// The value of a node.
    Value(Var),
    /// Result number `i` of the program, where a value must be in more than one place.
    Copy(usize),
    /// Room for a row or a panel while a kernel runs, by number.
    Scratch(usize),
    /// Room for sums of some rows each, or for an argument in another order, by number.
    Parts(usize),
    /// No memory: an operand that starts at address zero, whose addresses are numbers of elements.
    Nowhere,
}

/// An operand of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    pub(crate) home: Home,
    /// Where in it, in elements.
    pub(crate) offset: usize,
}

impl Operand {
    /// Whether it is more than room that a thread has in its cache.
    fn is_in_memory(&self) -> bool {
        !matches!(self.home, Home::Scratch(_) | Home::Nowhere)
    }
}

/// One kernel of a program with its operands.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) work: Work,
    pub(crate) operands: Vec<Operand>,
    /// The nodes that it computes, for people to read.
    pub(crate) nodes: Vec<Var>,
    /// The kernel of an argument that it could not be a part of, and why.
    pub(crate) refused: Option<(usize, Refusal)>,
    /// How often it runs.
    pub(crate) turns: Turns,
}

/// Loops around a call that it shares with others (see `chain`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// The sizes of the loops, outermost first; none for a call that runs once.
    pub(crate) sizes: Vec<usize>,
    /// For each operand, how many elements it moves with each loop; nothing for a call that runs once.
    pub(crate) strides: Vec<Vec<isize>>,
}

impl Turns {
    pub(crate) fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The turns that touch elements of an operand that others do not.
    fn of(&self, operand: usize) -> usize {
        let strides = self.strides.get(operand).into_iter().flatten();
        self.sizes.iter().zip(strides).filter(|(_, stride)| **stride != 0).map(|(size, _)| size).product()
    }
}

impl Call {
    /// The loop nest to be compiled, if it is one.
    pub(crate) fn loop_kernel(&self) -> Option<&LoopKernel> {
        match &self.work {
            Work::Loop(kernel) => Some(kernel),
            _ => None,
        }
    }

    /// The matrix products to be compiled, if it is one.
    pub(crate) fn matmul(&self) -> Option<&MatMul> {
        match &self.work {
            Work::MatMul(product) => Some(product),
            _ => None,
        }
    }

    /// Floating-point operations, a function such as `exp` counted by its instructions.
    pub(crate) fn flops(&self) -> usize {
        self.turns.count()
            * match &self.work {
                Work::Loop(kernel) => {
                    let rows: usize = kernel.outer.iter().product();
                    let count = |strip: &Strip| strip.insts().iter().filter(|i| counts(i)).count() + folds(strip);
                    kernel.passes.iter().map(|p| rows * (count(&p.once) + kernel.row * count(&p.each))).sum()
                }
                Work::MatMul(p) => 2 * p.products(),
                Work::Gather { .. } | Work::Sort { .. } => 0,
                Work::ScatterAdd { count, width, .. } => count * width,
                Work::Check { .. } => 0,
            }
    }

    /// Bytes read and written, each element of an operand once.
    pub(crate) fn bytes(&self) -> usize {
        4 * match &self.work {
            Work::Loop(kernel) => {
                let operands = self.operands.iter().enumerate().filter(|(_, o)| o.is_in_memory());
                operands.map(|(i, _)| kernel.extent(i) * self.turns.of(i)).sum()
            }
            Work::MatMul(p) => {
                let elements = p.elements().into_iter().zip(&self.operands).enumerate();
                elements.filter(|(_, (_, o))| o.is_in_memory()).map(|(i, (len, _))| len * self.turns.of(i)).sum()
            }
            Work::Gather { count, width, .. } => 2 * count * width + count,
            Work::Sort { count, rows } => 3 * count + 2 * rows,
            Work::ScatterAdd { count, width, rows, .. } => count * width + count + rows * width,
            Work::Check { count, .. } => *count,
        }
    }

    /// Whether parts of a loop kernel's turns may run at the same time, but for what is filled before them.
    pub(crate) fn is_split(&self) -> bool {
        let is_room = |operand: usize| matches!(self.operands[operand].home, Home::Scratch(_));
        self.loop_kernel().is_some_and(|kernel| kernel.is_split(is_room))
    }

    /// Nanoseconds from which on threads gain more than they lose by waiting for each other.
    const LONG: usize = 4000;

    /// Whether threads should share calls that run one after the other.
    pub(crate) fn are_long(calls: &[Call]) -> bool {
        calls.iter().map(Call::nanoseconds).sum::<usize>() > Call::LONG
    }

    /// About how long it takes on one core.
    fn nanoseconds(&self) -> usize {
        // About 32 operations or 16 bytes a nanosecond.
        self.flops() / 32 + self.bytes() / 16
    }
}

fn counts(inst: &Inst) -> bool {
    !matches!(inst, Inst::Const(..) | Inst::Load(..) | Inst::Scalar(_))
}

fn folds(strip: &Strip) -> usize {
    strip.effects().iter().filter(|e| matches!(e, Effect::Fold(..) | Effect::Accumulate(..))).count()
}

impl LoopKernel {
    /// The turns of the outermost loop, or the elements of the row if there is no loop around it: what a
    /// call may run a range of.
    pub(crate) fn turns(&self) -> usize {
        self.outer.first().copied().unwrap_or(self.row)
    }

    /// Whether parts of the turns may run at the same time, but for what is filled before them: no two of
    /// them write the same elements. `is_room` says which operands are memory that every thread has for
    /// itself.
    pub(crate) fn is_split(&self, is_room: impl Fn(usize) -> bool) -> bool {
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
                if !moves && !is_room(operand) {
                    return false;
                }
            }
        }
        true
    }

    /// How many elements of an operand are touched.
    fn extent(&self, operand: usize) -> usize {
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
