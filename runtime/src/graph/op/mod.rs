//! Operations: what a node may compute, and all that is known of each before it is lowered.
//!
//! [`Op`] is the list of them. An operation answers the questions of [`Operation`] in one place, and [`Op::with`] leads
//! from one to the other: an operation that is added does not compile until it has answered all of them.

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
pub(crate) use routine::{ARGS, Routine};
pub(crate) use rule::{Rule, args, check_shape, like, of_type};

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
    /// Every element the same: the bits of a number, or a whole number, or a truth value.
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
    /// A function of two elements of the same place.
    Binary(Binary),
    /// The product of the first two arguments and the third, all elements of the same place. Graphs are staged
    /// without; it is what a product and a sum become before kernels are made.
    Fma(Fma),
    /// A comparison of two elements of the same place.
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
    /// The argument placed at these offsets into zeros.
    Pad(Vec<usize>),
    /// The arguments one behind the other along an axis.
    Concat(usize),
    /// Matrix products over equal outer axes; a flag says that the argument is transposed.
    MatMul(bool, bool),
    /// Products of the elements of both arguments, added up over the axes that the result lacks.
    Contract(Arc<Contraction>),
    /// The rows of the first argument that the second names.
    Gather,
    /// The third argument, or zeros, to whose rows, named by the first, those of the second are added.
    ScatterAdd,
    /// The same whole numbers, each of which is compared with these rows when it is computed. Graphs are staged
    /// without; it is what a promise becomes that no range proves.
    Checked(Rows),
    /// What a function of its own computes.
    Routine(RoutineOp),
}

/// Which axes of two arguments and their product belong together, by Einstein's convention: each axis has
/// a letter, and what the result lacks is summed over. Letters of an argument that the result has not are
/// in both arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// The letters of the axes of the left argument.
    pub left: Vec<u8>,
    /// Those of the right one.
    pub right: Vec<u8>,
    /// Those of the result.
    pub result: Vec<u8>,
}

/// How an operation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It is in memory of the caller before a program starts.
    Outside,
    /// It is in memory of the program before that starts.
    Known,
    /// Every element is the same number, which kernels have in their code.
    Constant,
    /// Each element is made of those of the same place.
    Elementwise,
    /// Elements along some axes become one.
    Reduction,
    /// Elements of another value in another order: nothing is computed.
    View,
    /// It is a kernel by itself, or several: a product, a copy, or a routine.
    Alone,
}

/// What holds of an operation whatever its arguments are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) class: Class,
    /// Whether arguments are read as if their elements were one behind the other, so that a view of others is copied.
    pub(crate) dense: bool,
    /// Whether two arguments may change places.
    pub(crate) commutes: bool,
    /// Whether computing it again costs less than reading it from memory.
    pub(crate) cheap: bool,
}

/// All that is known of an operation before it is lowered. No question has an answer by default.
pub(crate) trait Operation {
    /// The name, for people.
    fn name(&self) -> String;

    /// What holds of it whatever its arguments are.
    fn facts(&self) -> Facts;

    /// The index among the arguments, and what its entries may be.
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

    /// What holds of the operation whatever its arguments are.
    pub(crate) fn facts(&self) -> Facts {
        self.with(|op| op.facts())
    }

    /// How it is computed.
    pub(crate) fn class(&self) -> Class {
        self.facts().class
    }

    /// Whether it is computed in this way.
    pub(crate) fn is(&self, class: Class) -> bool {
        self.class() == class
    }

    /// Whether it is in memory before a program starts.
    pub(crate) fn is_source(&self) -> bool {
        matches!(self.class(), Class::Outside | Class::Known)
    }

    /// Whether it is computed in loops over elements, which may compute others as well.
    pub(crate) fn is_in_loops(&self) -> bool {
        matches!(self.class(), Class::Elementwise | Class::Reduction)
    }

    /// Whether its elements are given or the same whatever is computed, so that it has no scope.
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
