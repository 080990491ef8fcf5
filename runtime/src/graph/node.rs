//! Nodes of a graph, and the values that stand for them.

use super::op::Op;
use crate::error::Error;
use crate::shape::{DType, MAX_RANK, elements};

/// A node of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub(crate) u32);

impl Var {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The gradient of a value; `None` stands for zero.
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
        /// The numbers; those from `len` on are unused.
        list: [isize; MAX_RANK],
        /// How many there are.
        len: usize,
    },
    /// The result of an operation that was refused; see [`Stage::error`](crate::Stage::error).
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

/// A node: an operation, its arguments, and the type of its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// The arguments of the operation.
    pub args: Vec<Var>,
    /// The sizes of the result, outermost first.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub dtype: DType,
    /// The scope in which equal nodes are one node; zero outside of checkpoints. Values that a checkpoint computes
    /// again have a scope of their own, so that they are not found among those of the forward pass.
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

    /// The error that the result has more elements than a tensor can have.
    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { what: format!("the result of {}", self.name()), shape: self.shape.clone() }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the operation, for people.
    pub fn name(&self) -> String {
        self.op.with(|op| op.name())
    }
}

/// Nodes in an order in which arguments come before their users.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// For each node a hash of what it computes, as it was staged; equal for equal computations in different scopes.
    pub(crate) structure: Vec<u64>,
    /// The loss, if its gradient is in the graph.
    pub(crate) loss: Option<Var>,
}

impl Graph {
    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether `v` is a node of this graph.
    pub(crate) fn has(&self, v: Var) -> bool {
        v.index() < self.nodes.len()
    }

    /// All nodes with their names, arguments before their users.
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
