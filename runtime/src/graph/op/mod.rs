//! Operations: what a node may compute, and all properties of each operation before it is lowered.
//!
//! [`Op`] lists all operations. Each implements [`Operation`] in one place, and [`Op::with`] dispatches from one to the
//! other: a new operation does not compile until it has answered all questions of the trait.

mod assemble;
mod elementwise;
mod leaf;
mod product;
mod reduction;
mod routine;
mod rows;
mod rule;
mod view;

use std::sync::Arc;

pub use routine::RoutineOp;
pub(crate) use routine::{MAX_ARGS, Routine};
pub(crate) use rule::{Rule, args, check_shape, of_type, same};

use super::reference::Evaluation;
use super::{Graph, Node, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::multiply_add::Fma;
use crate::ir::reduce::Reduce;
use crate::shape::Rows;

/// What a node computes. Sizes are in the node's own shape; broadcasting is explicit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// An input of the function, by number.
    Input(usize),
    /// A parameter or state of the model, by number.
    Param(usize),
    /// A constant, the same for every element: the bits of a number, of a whole number or of a truth value.
    Const(u32),
    /// Elements known beforehand, as bits.
    Data(Arc<[u32]>),
    /// 0, 1, 2, … along the only axis.
    Iota,
    /// The seed of a run: one whole number.
    Seed,
    /// Random numbers from 0 to 1, less than 1, of the stream of this number; the argument is the
    /// seed.
    Random(u64),
    /// A function of one element.
    Unary(Unary),
    /// A function of two elements at the same index.
    Binary(Binary),
    /// The product of the first two arguments plus or minus the third, elementwise. Graphs are staged without; a
    /// product and a sum become one before kernels are made.
    Fma(Fma),
    /// A comparison of two elements at the same index.
    Compare(Compare),
    /// The second argument where the first holds, else the third.
    Select,
    /// The same elements as another type.
    Cast,
    /// The same whole numbers, which are promised to name one of these rows.
    Within(Rows),
    /// A reduction over the axes whose bit is set; they stay with size one.
    Reduce(Reduce, u8),
    /// Axes of size one repeated.
    Broadcast,
    /// The same elements in the same order under another shape.
    Reshape,
    /// Axis `i` of the result is axis `[i]` of the argument.
    Transpose(Vec<usize>),
    /// Every axis from its start on, in steps that may be negative.
    Slice(Vec<(usize, isize)>),
    /// An axis cut into windows, which may overlap: element `j` of window `i`, on two axes in place of
    /// one, is the element `start + i step + j dilation`.
    Windows {
        /// The axis.
        axis: usize,
        /// The first element of the first window.
        start: usize,
        /// How far the next window is.
        step: isize,
        /// How far the next element of a window is.
        dilation: isize,
    },
    /// The argument padded with zeros, so that it starts at these offsets.
    Pad(Vec<usize>),
    /// The arguments concatenated along an axis.
    Concat(usize),
    /// Matrix products over equal outer axes; a flag says that the argument is transposed.
    MatMul(bool, bool),
    /// Products of the elements of both arguments, added up over the axes that the result lacks.
    Contract(Arc<Contraction>),
    /// The rows of the first argument that the second names.
    Gather,
    /// The third argument, or zeros, to whose rows, named by the first, those of the second are added.
    ScatterAdd,
    /// The same whole numbers, each of which is compared with these rows when the program runs. Graphs are staged
    /// without; a promise that no interval proves becomes one.
    Checked(Rows),
    /// A function of the library that is no kernel computes the result.
    Routine(RoutineOp),
}

/// The axes of two arguments and their product, by Einstein's convention: each axis has a letter, equal letters belong
/// together, and letters that the result lacks are summed over. A letter that the result lacks is in both arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// The letters of the axes of the left argument.
    pub left: Vec<u8>,
    /// The letters of the right argument.
    pub right: Vec<u8>,
    /// The letters of the result.
    pub result: Vec<u8>,
}

/// How an operation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Input: it is in memory of the caller before a program starts.
    Outside,
    /// Data known at compile time: it is in memory of the program before the program starts.
    Known,
    /// Constant: every element is the same number, which kernels have in their code.
    Constant,
    /// Each element is computed from the elements at the same index.
    Elementwise,
    /// Elements along some axes are combined to one.
    Reduction,
    /// Elements of another value, differently indexed: nothing is computed.
    View,
    /// It is a kernel by itself, or several: a product, a copy, or a routine.
    Alone,
}

/// Properties of an operation that do not depend on its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) class: Class,
    /// Whether arguments must be contiguous, so that another view is copied first.
    pub(crate) dense: bool,
    /// Whether the two arguments commute.
    pub(crate) commutes: bool,
    /// Whether computing the result again costs less than reading it from memory.
    pub(crate) cheap: bool,
}

/// All properties of an operation before it is lowered. No method has a default.
pub(crate) trait Operation {
    /// The name, for people.
    fn name(&self) -> String;

    /// The properties that do not depend on the arguments.
    fn facts(&self) -> Facts;

    /// The index among the arguments, if there is one, and the rows that its entries may name.
    fn index(&self, graph: &Graph, node: &Node) -> Option<(Var, Rows)>;

    /// Refuses a node whose arguments, shape or type are not those of the operation.
    fn rule(&self, graph: &Graph, node: &Node) -> Rule;

    /// The elements in double precision.
    fn reference(&self, node: &Evaluation<'_>) -> Evaluated;
}

/// The elements of a node, or the entry of an index that names no row.
pub(crate) type Evaluated = Result<Vec<f64>, super::reference::OutOfRange>;

impl Op {
    /// Asks the operation.
    pub(crate) fn with<R>(&self, ask: impl FnOnce(&dyn Operation) -> R) -> R {
        match self {
            Op::Input(number) => ask(&leaf::Input(*number)),
            Op::Param(number) => ask(&leaf::Param(*number)),
            Op::Const(bits) => ask(&leaf::Const(*bits)),
            Op::Data(bits) => ask(&leaf::Data(bits)),
            Op::Iota => ask(&leaf::Iota),
            Op::Seed => ask(&leaf::Seed),
            Op::Random(stream) => ask(&elementwise::Random(*stream)),
            Op::Unary(op) => ask(op),
            Op::Binary(op) => ask(op),
            Op::Fma(op) => ask(op),
            Op::Compare(op) => ask(op),
            Op::Select => ask(&elementwise::Select),
            Op::Cast => ask(&elementwise::Cast),
            Op::Within(rows) => ask(&view::Within(*rows)),
            Op::Reduce(op, axes) => ask(&reduction::Reduction(*op, *axes)),
            Op::Broadcast => ask(&view::Broadcast),
            Op::Reshape => ask(&view::Reshape),
            Op::Transpose(axes) => ask(&view::Transpose(axes)),
            Op::Slice(window) => ask(&view::Slice(window)),
            &Op::Windows { axis, start, step, dilation } => ask(&view::Windows { axis, start, step, dilation }),
            Op::Pad(before) => ask(&assemble::Pad(before)),
            Op::Concat(axis) => ask(&assemble::Concat(*axis)),
            Op::MatMul(left, right) => ask(&product::MatMul(*left, *right)),
            Op::Contract(axes) => ask(&**axes),
            Op::Gather => ask(&rows::Gather),
            Op::ScatterAdd => ask(&rows::ScatterAdd),
            Op::Checked(rows) => ask(&view::Checked(*rows)),
            Op::Routine(routine) => ask(routine.0),
        }
    }

    /// The properties that do not depend on the arguments.
    pub(crate) fn facts(&self) -> Facts {
        self.with(|op| op.facts())
    }

    /// How the operation is computed.
    pub(crate) fn class(&self) -> Class {
        self.facts().class
    }

    /// Whether the operation is of this class.
    pub(crate) fn is(&self, class: Class) -> bool {
        self.class() == class
    }

    /// Whether the result is in memory before a program starts.
    pub(crate) fn is_source(&self) -> bool {
        matches!(self.class(), Class::Outside | Class::Known)
    }

    /// Whether a loop nest computes the operation, possibly together with others.
    pub(crate) fn is_in_loops(&self) -> bool {
        matches!(self.class(), Class::Elementwise | Class::Reduction)
    }

    /// Whether the operation has no arguments to be computed: an input, data or a constant. A leaf has no scope.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.class(), Class::Outside | Class::Known | Class::Constant)
    }
}

/// Refuses a node that breaks the rule of its operation. Its arguments are among the first `before` nodes.
///
/// # Errors
///
/// The name of the operation, what it expects, and what it has.
pub(crate) fn check(graph: &Graph, node: &Node, before: usize) -> Result<(), String> {
    let is_there = |v: &Var| v.index() < before.min(graph.nodes().len());
    let found = match node.args.iter().all(is_there) {
        true => check_shape(&node.shape).and_then(|()| node.op.with(|op| op.rule(graph, node))),
        false => Err("an argument is a value of another graph".into()),
    };
    found.map_err(|what| format!("{}: {what}", node.name()))
}

#[cfg(test)]
mod tests;
