//! Calls: kernels with their operands, in the order in which a program runs them.

use super::Refusal;
use crate::graph::{RoutineOp, Var};
use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Strip};
use crate::shape::Rows;

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
    /// A function of its own: arguments, result.
    Routine(RoutineCall),
}

/// A routine with the sizes of what it is called for.
#[derive(Clone, Debug)]
pub(crate) struct RoutineCall {
    pub(crate) op: RoutineOp,
    /// The parts of the result.
    pub(crate) units: usize,
    /// The elements of each argument, and of the result.
    pub(crate) args: Vec<usize>,
    pub(crate) len: usize,
    pub(crate) flops: usize,
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
                Work::Routine(call) => call.flops,
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
            Work::Routine(call) => call.args.iter().sum::<usize>() + call.len,
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
