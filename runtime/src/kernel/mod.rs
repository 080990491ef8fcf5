//! From a graph to kernels: which nodes are computed together, in which loops, and where in
//! memory.
//!
//! `access` sees through views, `fuse` groups nodes, `lower` makes a loop nest of each group, `tile`
//! puts its loops in order, and `plan` gives every value that outlives its kernel a place in the arena.

mod access;
mod fuse;
mod lower;
mod plan;
mod tile;

pub(crate) use plan::{Plan, Spot, plan};

use crate::codegen::strip::{Effect, Inst, Strip, Walk};
use crate::graph::{Graph, Var};

/// A loop nest: loops around a row, and a few passes over each row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LoopKernel {
    /// The sizes of the loops around the row, outermost first.
    pub(crate) outer: Vec<usize>,
    /// The number of elements in the row.
    pub(crate) row: usize,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatMul {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Row and column stride of the left, right and result matrix.
    pub(crate) strides: [[isize; 2]; 3],
    /// Sizes of the loops over pairs, and the strides of the three operands along them.
    pub(crate) batch: Vec<(usize, [isize; 3])>,
}

/// What a call runs.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A compiled loop nest.
    Loop(LoopKernel),
    /// Matrix products: left, right, result, and scratch memory if they need it.
    MatMul(MatMul),
    /// Rows by number: table, index, result.
    Gather { count: usize, width: usize },
    /// Rows added by number into zeros: index, rows, result.
    ScatterAdd { count: usize, width: usize, rows: usize },
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

/// One kernel of a program with its operands.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) work: Work,
    pub(crate) operands: Vec<Operand>,
    /// The nodes that it computes, for people to read.
    pub(crate) nodes: Vec<Var>,
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
        match &self.work {
            Work::Loop(kernel) => {
                let rows: usize = kernel.outer.iter().product();
                let count = |strip: &Strip| strip.insts().iter().filter(|i| counts(i)).count() + folds(strip);
                kernel.passes.iter().map(|p| rows * (count(&p.once) + kernel.row * count(&p.each))).sum()
            }
            Work::MatMul(p) => 2 * p.m * p.n * p.k * p.batch.iter().map(|(size, _)| size).product::<usize>(),
            Work::Gather { .. } => 0,
            Work::ScatterAdd { count, width, .. } => count * width,
        }
    }

    /// Bytes read and written, each element of an operand once.
    pub(crate) fn bytes(&self) -> usize {
        4 * match &self.work {
            Work::Loop(kernel) => {
                let operands = self.operands.iter().enumerate().filter(|(_, o)| o.home != Home::Nowhere);
                operands.map(|(i, _)| kernel.extent(i)).sum()
            }
            Work::MatMul(p) => {
                let batch: usize = p.batch.iter().map(|(size, _)| size).product();
                batch * (p.m * p.k + p.k * p.n + p.m * p.n)
            }
            Work::Gather { count, width } => 2 * count * width + count,
            Work::ScatterAdd { count, width, rows } => 2 * count * width + count + rows * width,
        }
    }

    /// One line for people: what is computed over which sizes.
    pub(crate) fn describe(&self, graph: &Graph) -> String {
        let names: Vec<String> = self.nodes.iter().map(|&v| graph[v].name()).collect();
        let (kind, sizes) = match &self.work {
            Work::Loop(kernel) => {
                let mut sizes: Vec<String> = kernel.outer.iter().map(usize::to_string).collect();
                sizes.push(kernel.row.to_string());
                (
                    format!("loop, {} passes", kernel.passes.iter().filter(|p| !p.each.is_empty()).count()),
                    sizes.join(" x "),
                )
            }
            Work::MatMul(p) => {
                let batch: String = p.batch.iter().map(|(size, _)| format!("{size} x ")).collect();
                ("matmul".into(), format!("{batch}{} x {} x {}", p.m, p.k, p.n))
            }
            Work::Gather { count, width } => ("gather".into(), format!("{count} x {width}")),
            Work::ScatterAdd { count, width, .. } => ("scatter".into(), format!("{count} x {width}")),
        };
        format!("{:<16} {:<20} {:>10} bytes {:>12} flops  {}", kind, sizes, self.bytes(), self.flops(), names.join(" "))
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

    /// Whether parts of the turns may run at the same time: the operands of which each part then needs
    /// memory of its own, which are rooms for a row. None if all turns must run after one another, because
    /// they add to the same elements, or something is filled before them.
    // Programs run whole kernels so far.
    #[cfg_attr(not(test), expect(dead_code))]
    pub(crate) fn split(&self) -> Option<Vec<usize>> {
        let around = !self.outer.is_empty();
        let mut rooms = Vec::new();
        for pass in &self.passes {
            if !around && !pass.once.is_empty() {
                return None;
            }
            for effect in pass.once.effects().iter().chain(pass.each.effects()) {
                let (operand, walk, adds) = match *effect {
                    Effect::Store(operand, walk, _) => (operand, walk, false),
                    Effect::Accumulate(operand, walk, ..) => (operand, walk, true),
                    Effect::Fold(..) if !around => return None,
                    Effect::Fold(..) | Effect::Define(..) => continue,
                };
                let moves = match self.operands[operand].first() {
                    Some(&stride) => stride != 0,
                    None => walk != Walk::Fixed,
                };
                match (moves, adds) {
                    (true, _) => {}
                    (false, false) if around => rooms.push(operand),
                    _ => return None,
                }
            }
        }
        rooms.sort_unstable();
        rooms.dedup();
        self.fills.is_empty().then_some(rooms)
    }

    /// How many elements of an operand are touched.
    fn extent(&self, operand: usize) -> usize {
        let around: usize =
            self.outer.iter().zip(&self.operands[operand]).map(|(&size, &s)| if s == 0 { 1 } else { size }).product();
        let walks = |strip: &Strip| strip.walk(operand).is_some_and(|walk| walk != Walk::Fixed);
        around * if self.passes.iter().any(|p| walks(&p.each)) { self.row } else { 1 }
    }
}
