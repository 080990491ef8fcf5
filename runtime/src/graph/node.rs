//! Nodes of a graph, and the values that stand for them.

use std::sync::Arc;

use crate::error::Error;
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::multiply_add::Fma;
use crate::ir::reduce::Reduce;
use crate::shape::{DType, MAX_RANK, Rows, elements};

/// A node of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub(crate) u32);

impl Var {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The gradient of a value; `None` is zero.
pub type Grad = Option<Var>;

/// An argument of a network function while it is staged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A tensor.
    Var(Var),
    /// A size or an axis.
    Int(isize),
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A list of sizes or axes.
    Ints {
        /// The numbers; those from `len` on do not count.
        list: [isize; MAX_RANK],
        /// How many there are.
        len: usize,
    },
    /// The result of an operation that was refused; see [`Stage::error`].
    Unknown,
}

macro_rules! value_from {
    ($($ty:ty => |$x:ident| $value:expr),* $(,)?) => {$(
        impl From<$ty> for Value {
            fn from($x: $ty) -> Value {
                $value
            }
        }
    )*};
}
value_from! {
    Var => |x| Value::Var(x),
    isize => |x| Value::Int(x),
    usize => |x| Value::Int(isize::try_from(x).unwrap_or(isize::MAX)),
    i32 => |x| Value::Int(x as isize),
    f32 => |x| Value::Number(x as f64),
    f64 => |x| Value::Number(x),
    bool => |x| Value::Bool(x),
}

macro_rules! value_from_list {
    ($($ty:ty),*) => {$(
        impl<const N: usize> From<[$ty; N]> for Value {
            fn from(numbers: [$ty; N]) -> Value {
                const { assert!(N <= MAX_RANK, "a tensor has at most 8 axes") };
                let mut list = [0; MAX_RANK];
                for (to, from) in list.iter_mut().zip(numbers) {
                    *to = from as isize;
                }
                Value::Ints { list, len: N }
            }
        }
    )*};
}
value_from_list!(isize, usize, i32);

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

/// A node: an operation, its arguments, and what comes out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Of what.
    pub args: Vec<Var>,
    /// The sizes of the result, outermost first.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub dtype: DType,
    /// What is computed again has a scope of its own, in which nothing from before is found; zero
    /// for all else.
    pub scope: u32,
}

impl Node {
    /// The number of elements; where they are more than a tensor can have, the largest number
    /// there is.
    pub fn len(&self) -> usize {
        self.checked_len().unwrap_or(usize::MAX)
    }

    /// The number of elements; `None` where they are more than a tensor can have.
    pub(crate) fn checked_len(&self) -> Option<usize> {
        elements(&self.shape)
    }

    /// That it has more elements than a tensor can have.
    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { what: format!("the result of {}", self.name()), shape: self.shape.clone() }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the operation, for people.
    pub fn name(&self) -> String {
        match &self.op {
            Op::Unary(op) => op.name().into(),
            Op::Binary(op) => op.name().into(),
            Op::Fma(op) => op.name().into(),
            Op::Compare(op) => op.name().into(),
            Op::Reduce(op, _) => op.name().into(),
            Op::Input(i) => format!("input {i}"),
            Op::Param(id) => format!("parameter {id}"),
            Op::MatMul(..) => "matmul".into(),
            Op::Contract(_) => "contract".into(),
            Op::ScatterAdd => "scatter_add".into(),
            Op::Within(_) | Op::Checked(_) => "within".into(),
            other => {
                let text = format!("{other:?}");
                text.split(['(', ' ']).next().unwrap_or_default().to_lowercase()
            }
        }
    }
}

/// Nodes in an order in which arguments come before their users.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// What each node computes, as it was staged, as a number that does not depend on the scope.
    pub(crate) structure: Vec<u64>,
    /// The loss whose gradient is among them.
    pub(crate) loss: Option<Var>,
}

impl Graph {
    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether there is a node of this name.
    pub(crate) fn has(&self, v: Var) -> bool {
        v.index() < self.nodes.len()
    }

    /// Every node with its name, arguments first.
    pub fn vars(&self) -> impl Iterator<Item = (Var, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (Var(i as u32), node))
    }

    /// Marks the nodes that `roots` depend on.
    pub fn live(&self, roots: impl IntoIterator<Item = Var>) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        let mut stack: Vec<Var> = roots.into_iter().collect();
        while let Some(v) = stack.pop() {
            if live.get(v.index()) == Some(&false) {
                live[v.index()] = true;
                stack.extend(&self[v].args);
            }
        }
        live
    }
}

impl std::ops::Index<Var> for Graph {
    type Output = Node;

    fn index(&self, v: Var) -> &Node {
        &self.nodes[v.index()]
    }
}
