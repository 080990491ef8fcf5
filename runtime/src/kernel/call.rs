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
    /// The positions of an index, sorted by the row that the entry there names: index, positions, and for each row
    /// where its positions end.
    Sort { count: usize, rows: usize },
    /// Rows added to the rows of the result: positions and ends of a `Sort`, rows, result. Unless `added`, the result
    /// is zeroed first.
    ScatterAdd { count: usize, width: usize, rows: usize, added: bool },
    /// Entries of an index, compared with the rows that they may name: index.
    Check { count: usize, rows: Rows },
    /// A function of the library that is no kernel: arguments, result.
    Routine(RoutineCall),
}

/// A routine and the sizes that it is called with.
#[derive(Clone, Debug)]
pub(crate) struct RoutineCall {
    pub(crate) op: RoutineOp,
    /// The number of parts of the result, each computed by itself.
    pub(crate) units: usize,
    /// The elements of each argument, and of the result.
    pub(crate) args: Vec<usize>,
    pub(crate) len: usize,
    pub(crate) flops: usize,
}

/// Memory that a kernel reads or writes, by what is in it. A plan says where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Storage {
    /// The value of a node.
    Value(Var),
    /// A copy of a value as result `i` of the program, where the value itself lies elsewhere.
    Copy(usize),
    /// Scratch memory that each thread has for itself while a kernel runs, such as a row or a packed panel, by number.
    Scratch(usize),
    /// Scratch memory that all threads share, such as partial sums or a transposed argument of a product, by number.
    Shared(usize),
    /// No memory: the operand starts at address zero and is never read; the addresses of its elements are their
    /// numbers.
    Nowhere,
}

/// An operand of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    pub(crate) storage: Storage,
    /// The first element of the operand within `storage`.
    pub(crate) offset: usize,
}

impl Operand {
    /// Whether reading it moves data: scratch memory of a thread stays in its cache.
    fn is_in_memory(&self) -> bool {
        !matches!(self.storage, Storage::Scratch(_) | Storage::Nowhere)
    }
}

/// The lengths of all scratch memory of a program, in elements.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Of each [`Storage::Scratch`].
    pub(crate) of_thread: Vec<usize>,
    /// Of each [`Storage::Shared`].
    pub(crate) shared: Vec<usize>,
}

impl Scratch {
    /// More memory that each thread has for itself.
    pub(crate) fn add(&mut self, len: usize) -> Operand {
        self.of_thread.push(len);
        Operand { storage: Storage::Scratch(self.of_thread.len() - 1), offset: 0 }
    }

    /// More memory that all threads share.
    pub(crate) fn add_shared(&mut self, len: usize) -> Operand {
        self.shared.push(len);
        Operand { storage: Storage::Shared(self.shared.len() - 1), offset: 0 }
    }
}

/// One kernel of a program with its operands.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) work: Work,
    pub(crate) operands: Vec<Operand>,
    /// The nodes that the call computes, for descriptions.
    pub(crate) nodes: Vec<Var>,
    /// The kernel of an argument that this one could not be fused with, and why.
    pub(crate) refused: Option<(usize, Refusal)>,
    /// The loops around the call.
    pub(crate) shared_loops: SharedLoops,
}

/// Loops around a call that it shares with the other calls of a chain (see `schedule::chain`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedLoops {
    /// The sizes of the loops, outermost first; empty for a call that runs once.
    pub(crate) sizes: Vec<usize>,
    /// For each operand its stride in each loop, in elements; empty for a call that runs once.
    pub(crate) strides: Vec<Vec<isize>>,
}

impl SharedLoops {
    /// The number of iterations of all loops together.
    pub(crate) fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The number of iterations that access different elements of an operand.
    fn distinct(&self, operand: usize) -> usize {
        let strides = self.strides.get(operand).into_iter().flatten();
        self.sizes.iter().zip(strides).filter(|(_, stride)| **stride != 0).map(|(size, _)| size).product()
    }
}

impl Call {
    /// The loop nest to compile, if the call runs one.
    pub(crate) fn loop_kernel(&self) -> Option<&LoopKernel> {
        match &self.work {
            Work::Loop(kernel) => Some(kernel),
            _ => None,
        }
    }

    /// The matrix products to compile, if the call runs them.
    pub(crate) fn matmul(&self) -> Option<&MatMul> {
        match &self.work {
            Work::MatMul(product) => Some(product),
            _ => None,
        }
    }

    /// Floating-point operations; a function such as `exp` counts as its instructions.
    pub(crate) fn flops(&self) -> usize {
        self.shared_loops.count()
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

    /// Bytes read and written; each element of an operand counts once.
    pub(crate) fn bytes(&self) -> usize {
        4 * match &self.work {
            Work::Loop(kernel) => {
                let operands = self.operands.iter().enumerate().filter(|(_, o)| o.is_in_memory());
                operands.map(|(i, _)| kernel.extent(i) * self.shared_loops.distinct(i)).sum()
            }
            Work::MatMul(p) => {
                let elements = p.elements().into_iter().zip(&self.operands).enumerate();
                elements
                    .filter(|(_, (_, o))| o.is_in_memory())
                    .map(|(i, (len, _))| len * self.shared_loops.distinct(i))
                    .sum()
            }
            Work::Gather { count, width, .. } => 2 * count * width + count,
            Work::Sort { count, rows } => 3 * count + 2 * rows,
            Work::ScatterAdd { count, width, rows, .. } => count * width + count + rows * width,
            Work::Check { count, .. } => *count,
            Work::Routine(call) => call.args.iter().sum::<usize>() + call.len,
        }
    }

    /// Whether threads may run ranges of a loop kernel's outermost loop at the same time, once its fills are done.
    pub(crate) fn is_split(&self) -> bool {
        let is_scratch = |operand: usize| matches!(self.operands[operand].storage, Storage::Scratch(_));
        self.loop_kernel().is_some_and(|kernel| kernel.is_split(is_scratch))
    }

    /// The shortest calls that threads share, in nanoseconds. Starting a team and waiting at its barriers costs some
    /// microseconds; a program also measures whether threads pay (see `exec::run::pace`).
    const SHARED_NANOSECONDS: usize = 4000;

    /// Whether threads should share the calls of a phase.
    pub(crate) fn are_long(calls: &[Call]) -> bool {
        calls.iter().map(Call::nanoseconds).sum::<usize>() > Call::SHARED_NANOSECONDS
    }

    /// An estimate of the time on one core.
    fn nanoseconds(&self) -> usize {
        // Rough rates of one core: 32 operations or 16 bytes a nanosecond.
        self.flops() / 32 + self.bytes() / 16
    }
}

fn counts(inst: &Inst) -> bool {
    !matches!(inst, Inst::Const(..) | Inst::Load(..) | Inst::Scalar(_))
}

fn folds(strip: &Strip) -> usize {
    strip.effects().iter().filter(|e| matches!(e, Effect::Fold(..) | Effect::Accumulate(..))).count()
}
