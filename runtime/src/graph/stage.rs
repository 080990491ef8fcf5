//! Staging: the graph under construction.
//!
//! Nodes are hash-consed: equal operations on equal arguments are one node. This eliminates common subexpressions. It
//! also replaces a tape: a backward function stages the forward values that it needs a second time, and gets the nodes
//! of the forward pass. Each node is simplified when it is made (see `simplify`), so that no later pass has to.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::guard::Taken;
use super::masked::Question;
use super::op::{check, check_shape};
use super::path::Path;
use super::simplify::simplify;
use super::structure::structure;
use super::{Contraction, Grad, Graph, Node, Op, Value, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::reduce::Reduce;
use crate::shape::Rows;
use crate::shape::check::{Check, TensorType, Type};
use crate::shape::{DType, Dim, MAX_RANK, Shape};

/// The most parameters, by number: more than any model has. It bounds the table of gradients.
const MAX_PARAMS: usize = 1 << 24;

/// A graph under construction, with the gradients that have reached its parameters.
#[derive(Default)]
pub struct Stage {
    graph: Graph,
    memo: HashMap<Node, Var>,
    grads: Vec<Grad>,
    error: Option<String>,
    /// The first node with more elements than a tensor can have.
    too_large: Option<Node>,
    /// The scope of the nodes that are staged next.
    pub(crate) scope: u32,
    /// The number of scopes so far.
    pub(crate) scopes: u32,
    /// The network call that is being staged.
    pub(crate) path: Path,
    training: bool,
    /// Whether checkpoints are ignored, so that all values are stored.
    pub(crate) keeps_all: bool,
    /// The new values of states that were assigned; `None` while assignments are ignored.
    pub(crate) updates: Option<Updates>,
    /// Gradients that are multiples: `scaled[v] = (d, s)` means v = d * s.
    pub(crate) scaled: HashMap<Var, (Var, Var)>,
    /// Sums of multiples of the same gradient: `sums[v] = (a, b)` means v = a + b.
    pub(crate) sums: HashMap<Var, (Var, Var)>,
    /// For the first nodes, where their elements are not masked by a branch (see `guard`).
    pub(crate) taken: Vec<Taken>,
    /// The masks `d != 0` by which `guard` keeps zeros of a gradient d.
    pub(crate) not_zero: HashSet<Var>,
    /// Questions about the rows of gradients, and the answers (see `masked`).
    pub(crate) rows: HashMap<Question, Option<Var>>,
    /// Scalars that were staged as the sum of all elements of a value, even if `simplify` made another node of the sum.
    pub(crate) totals: HashSet<Var>,
}

/// The new value of states, by number.
pub(crate) type Updates = BTreeMap<usize, Var>;

impl Stage {
    /// An empty graph.
    pub fn new() -> Stage {
        Stage::default()
    }

    /// Whether this is for a step of training, in which layers such as `Dropout` act.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// Sets whether this is for a step of training.
    pub fn set_training(&mut self, training: bool) {
        self.training = training;
    }

    /// Sets whether checkpoints recompute values for the gradient.
    pub(crate) fn set_checkpoints(&mut self, checkpoints: bool) {
        self.keeps_all = !checkpoints;
    }

    /// Sets whose gradient is staged from here on.
    pub(crate) fn set_loss(&mut self, loss: Var) {
        self.graph.loss = Some(loss);
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The gradients that have reached the parameters so far, by number.
    pub fn param_grads(&self) -> &[Grad] {
        &self.grads
    }

    /// The graph and the gradient of every parameter, by number.
    pub fn finish(self) -> (Graph, Vec<Grad>) {
        (self.graph, self.grads)
    }

    /// The first shape error of an operation that was staged by hand.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Refuses a graph with a node of more elements than a tensor can have, whatever depends on it: from its size other
    /// sizes may have been computed.
    pub(crate) fn check_sizes(&self) -> Result<(), crate::Error> {
        self.too_large.as_ref().map_or(Ok(()), |node| Err(node.too_large()))
    }

    /// An input, by number.
    pub fn input(&mut self, slot: usize, shape: &[usize], dtype: DType) -> Var {
        self.push(Op::Input(slot), vec![], shape.to_vec(), dtype)
    }

    /// A parameter or state, by number.
    pub fn param(&mut self, id: usize, sizes: &[usize]) -> Var {
        self.push(Op::Param(id), vec![], sizes.to_vec(), DType::F32)
    }

    pub(crate) fn add_param_grad(&mut self, id: usize, d: Grad) {
        if id >= MAX_PARAMS {
            return self.refuse("a parameter without a number was given a gradient");
        }
        if d.is_some_and(|d| !self.owns(d)) {
            return self.refuse("a gradient is a value of another graph");
        }
        if self.grads.len() <= id {
            self.grads.resize(id + 1, None);
        }
        self.grads[id] = self.add(self.grads[id], d);
    }

    /// The size of a tensor's axis, counted from the end when negative.
    pub fn dim(&self, x: Value, axis: isize) -> usize {
        let Value::Var(x) = x else { return 1 };
        let shape = &self[x].shape;
        let axis = if axis < 0 { axis + shape.len() as isize } else { axis };
        usize::try_from(axis).ok().and_then(|axis| shape.get(axis).copied()).unwrap_or(1)
    }

    /// A value as an argument of shape rules.
    pub fn ty(&self, value: Value) -> Type {
        match value {
            Value::Var(v) => Type::tensor(self[v].dtype, Shape::sizes(&self[v].shape)),
            Value::Int(n) => Type::Dim(Dim::int(n)),
            Value::Number(x) => Type::number(x),
            Value::Bool(b) => Type::Bool(b),
            Value::Ints { list, len } => {
                let mut dims = [Dim::int(0); MAX_RANK];
                for (dim, n) in dims.iter_mut().zip(list) {
                    *dim = Dim::int(n);
                }
                dims.get(..len).map_or(Type::Unknown, Type::dims)
            }
            Value::Unknown => Type::Unknown,
        }
    }

    /// Whether a value is one of this graph.
    pub(crate) fn owns(&self, v: Var) -> bool {
        self.graph.has(v)
    }

    /// Notes why an operation is refused; only the first reason is reported.
    pub(crate) fn refuse(&mut self, message: impl Into<String>) {
        self.error.get_or_insert_with(|| message.into());
    }

    /// Zeros in place of the result of an operation that is refused.
    fn refused(&mut self, message: String, shape: &[usize], dtype: DType) -> Var {
        self.refuse(message);
        let shape = if check_shape(shape).is_ok() { shape } else { &[] };
        self.push(Op::Const(0), vec![], shape.to_vec(), dtype)
    }

    /// Runs a shape rule. `None`, with the error noted, if the rule refuses.
    pub(crate) fn checked(&mut self, rule: impl FnOnce(&mut Check) -> Type) -> Option<TensorType> {
        let mut cx = Check::record();
        let ty = rule(&mut cx);
        // A result that is too large is refused here; `cargo check` refuses it as an operand of the next operation.
        let _ = ty.operand(&mut cx, "a result");
        if let Some(message) = cx.first() {
            self.refuse(message);
        }
        match ty {
            Type::Tensor(t) if cx.errors() == 0 => Some(t),
            _ => None,
        }
    }

    /// A value as a tensor; a number becomes a tensor without axes.
    pub(crate) fn operand(&mut self, value: Value) -> Option<Var> {
        match value {
            Value::Var(v) if self.owns(v) => Some(v),
            Value::Var(_) => {
                self.refuse("an argument is a value of another graph");
                None
            }
            Value::Number(x) => Some(self.number(x)),
            Value::Int(n) => Some(self.number(n as f64)),
            _ => None,
        }
    }

    /// The two operands of an elementwise operation: beside an `Index`, a whole number becomes an `Index` too.
    pub(crate) fn beside(&mut self, values: [Value; 2]) -> [Value; 2] {
        let is_index = |value: Value| matches!(value, Value::Var(v) if self[v].dtype == DType::I32);
        if !values.into_iter().any(is_index) {
            return values;
        }
        values.map(|value| match value {
            Value::Number(x) if !Type::number(x).is_fraction() => Value::Var(self.integer(x as i32)),
            Value::Int(n) => i32::try_from(n).map_or(value, |n| Value::Var(self.integer(n))),
            other => other,
        })
    }

    /// A whole number as an `Index` without axes.
    pub(crate) fn integer(&mut self, n: i32) -> Var {
        self.push(Op::Const(n as u32), vec![], vec![], DType::I32)
    }

    /// A number as a tensor without axes.
    pub fn number(&mut self, x: f64) -> Var {
        self.fill(x as f32, &[])
    }

    /// A tensor whose elements are all `x`.
    pub fn fill(&mut self, x: f32, shape: &[usize]) -> Var {
        self.push(Op::Const(x.to_bits()), vec![], shape.to_vec(), DType::F32)
    }

    /// A tensor whose elements are known beforehand.
    pub fn constant(&mut self, x: &crate::Tensor) -> Value {
        Value::Var(self.data(x.data(), x.shape()))
    }

    /// Numbers that are known beforehand, as a tensor of this shape.
    pub(crate) fn data(&mut self, data: &[f32], shape: &[usize]) -> Var {
        let data = data.iter().map(|x| x.to_bits()).collect();
        self.push(Op::Data(data), vec![], shape.to_vec(), DType::F32)
    }

    /// A value that depends on no input and no parameter, by the f64 reference.
    ///
    /// # Errors
    ///
    /// Where an operation on the way to it was refused, or an index is out of range.
    pub fn value(&self, x: Value) -> Result<crate::Tensor, crate::Error> {
        if let Value::Number(x) = x {
            return crate::Tensor::new([], [x as f32]);
        }
        let values = self.reference(&[x], &[])?;
        let shape = match x {
            Value::Var(v) => self[v].shape.clone(),
            _ => vec![],
        };
        crate::Tensor::new(shape, values[0].iter().map(|&x| x as f32).collect::<Vec<f32>>())
    }

    /// Random numbers from 0 to 1, less than 1, as many as `x` has elements: those of the call that is being staged
    /// (see [`Stage::at`]), the same ones whenever it is staged, also for its gradient and where it is computed again.
    pub fn random_for(&mut self, x: Var) -> Var {
        if !self.owns(x) {
            return self.refused("random: an argument is a value of another graph".into(), &[], DType::F32);
        }
        let seed = self.push(Op::Seed, vec![], vec![], DType::I32);
        let shape = self[x].shape.clone();
        self.push(Op::Random(self.path.stream()), vec![seed], shape, DType::F32)
    }

    /// 0, 1, …, n - 1.
    pub fn iota(&mut self, n: usize) -> Var {
        self.push(Op::Iota, vec![], vec![n], DType::I32)
    }

    /// `op` of every element; whole numbers and truth values become numbers.
    pub fn unary(&mut self, op: Unary, x: Var) -> Var {
        let x = self.cast(x, DType::F32);
        let shape = self[x].shape.clone();
        self.push(Op::Unary(op), vec![x], shape, DType::F32)
    }

    /// `op` of the elements of two tensors, broadcast against each other. Whole numbers become numbers where the
    /// operation has no others, or the other side is one.
    pub fn binary(&mut self, op: Binary, a: Var, b: Var) -> Var {
        let (mut a, mut b) = self.align(a, b);
        if self[a].dtype == DType::Bool || self[a].dtype == DType::I32 && !op.is_whole() {
            (a, b) = (self.cast(a, DType::F32), self.cast(b, DType::F32));
        }
        let (shape, dtype) = (self[a].shape.clone(), self[a].dtype);
        self.push(Op::Binary(op), vec![a, b], shape, dtype)
    }

    /// Compares the elements of two tensors, broadcast against each other.
    pub fn compare(&mut self, op: Compare, a: Var, b: Var) -> Var {
        let (mut a, mut b) = self.align(a, b);
        if self[a].dtype == DType::Bool && matches!(op, Compare::Lt | Compare::Le) {
            (a, b) = (self.cast(a, DType::F32), self.cast(b, DType::F32));
        }
        let shape = self[a].shape.clone();
        self.push(Op::Compare(op), vec![a, b], shape, DType::Bool)
    }

    /// Elements of `a` where `mask` holds, else of `b`, all broadcast against each other.
    pub fn select(&mut self, mask: Var, a: Var, b: Var) -> Var {
        let (a, b) = self.align(a, b);
        let (mask, a) = self.broadcast_both(mask, a);
        let (a, b) = self.broadcast_both(a, b);
        let (shape, dtype) = (self[a].shape.clone(), self[a].dtype);
        self.push(Op::Select, vec![mask, a, b], shape, dtype)
    }

    /// The same elements as another type: whole numbers are cut, truth values are zero and one.
    pub fn cast(&mut self, x: Var, dtype: DType) -> Var {
        let shape = self[x].shape.clone();
        self.push(Op::Cast, vec![x], shape, dtype)
    }

    /// The same whole numbers, with the promise that `rows` admits them: an input that breaks it is refused before
    /// anything runs, what is computed and may break it is compared when it is.
    pub fn within(&mut self, index: Var, rows: Rows) -> Var {
        let shape = self[index].shape.clone();
        self.push(Op::Within(rows), vec![index], shape, DType::I32)
    }

    /// A reduction over the axes whose bit is set; they stay with size one. Whole numbers and truth values become
    /// numbers.
    pub fn reduce(&mut self, op: Reduce, x: Var, axes: u8) -> Var {
        let x = self.cast(x, DType::F32);
        let mut shape = self[x].shape.clone();
        if axes == 0 && self.owns(x) {
            return x;
        }
        for (axis, size) in shape.iter_mut().enumerate() {
            if axes >> axis & 1 == 1 {
                *size = 1;
            }
        }
        let v = self.push(Op::Reduce(op, axes), vec![x], shape, DType::F32);
        if op == Reduce::Sum && self[v].len() == 1 {
            self.totals.insert(v);
        }
        v
    }

    /// The same elements under another shape of the same length.
    pub fn reshape(&mut self, x: Var, shape: &[usize]) -> Var {
        let dtype = self[x].dtype;
        self.push(Op::Reshape, vec![x], shape.to_vec(), dtype)
    }

    /// NumPy's broadcast: aligned at the innermost axis, axes of size one are repeated.
    pub fn broadcast(&mut self, x: Var, shape: &[usize]) -> Var {
        let missing = shape.len().saturating_sub(self[x].shape.len());
        let aligned = [&vec![1; missing][..], &self[x].shape].concat();
        let x = self.reshape(x, &aligned);
        let dtype = self[x].dtype;
        self.push(Op::Broadcast, vec![x], shape.to_vec(), dtype)
    }

    /// The sum of `d` over the axes along which a tensor of `shape` was broadcast to it.
    pub fn unbroadcast(&mut self, d: Var, shape: &[usize]) -> Var {
        let missing = self[d].shape.len().saturating_sub(shape.len());
        let mut axes = 0;
        for (axis, &size) in self[d].shape.iter().enumerate() {
            if size != 1 && (axis < missing || shape[axis - missing] == 1) {
                axes |= 1 << axis;
            }
        }
        let sum = self.reduce(Reduce::Sum, d, axes);
        self.reshape(sum, shape)
    }

    /// Axis `i` of the result is axis `axes[i]` of `x`.
    pub fn transpose(&mut self, x: Var, axes: &[usize]) -> Var {
        let size = |&axis: &usize| self[x].shape.get(axis).copied().unwrap_or(1);
        let shape = axes.iter().map(size).collect();
        let dtype = self[x].dtype;
        self.push(Op::Transpose(axes.to_vec()), vec![x], shape, dtype)
    }

    /// From the start of every axis on, in steps, as many elements as `shape` says.
    pub fn slice(&mut self, x: Var, window: &[(usize, isize)], shape: &[usize]) -> Var {
        let dtype = self[x].dtype;
        self.push(Op::Slice(window.to_vec()), vec![x], shape.to_vec(), dtype)
    }

    /// An axis cut into `count` windows of `size` elements each, on two axes in its place: element `j` of
    /// window `i` is the element `start + i step + j dilation`.
    pub fn windows(
        &mut self,
        x: Var,
        axis: usize,
        start: usize,
        (count, step): (usize, isize),
        (size, dilation): (usize, isize),
    ) -> Var {
        let mut shape = self[x].shape.clone();
        let at = axis.min(shape.len());
        shape.splice(at..(at + 1).min(shape.len()), [count, size]);
        let dtype = self[x].dtype;
        self.push(Op::Windows { axis, start, step, dilation }, vec![x], shape, dtype)
    }

    /// `x` placed at these offsets into zeros of `shape`.
    pub fn pad(&mut self, x: Var, before: &[usize], shape: &[usize]) -> Var {
        let dtype = self[x].dtype;
        self.push(Op::Pad(before.to_vec()), vec![x], shape.to_vec(), dtype)
    }

    /// Tensors concatenated along an axis.
    pub fn concat(&mut self, xs: &[Var], axis: usize) -> Var {
        let (mut shape, dtype) = xs.first().map_or((vec![], DType::F32), |&x| (self[x].shape.clone(), self[x].dtype));
        if let Some(size) = shape.get_mut(axis) {
            let sizes = xs.iter().map(|&x| self[x].shape.get(axis).copied().unwrap_or(0));
            *size = sizes.fold(0, usize::saturating_add);
        }
        self.push(Op::Concat(axis), xs.to_vec(), shape, dtype)
    }

    /// Matrix products over the last two axes; outer axes must be equal.
    pub fn matmul(&mut self, a: Var, b: Var, transpose_a: bool, transpose_b: bool) -> Var {
        let matrix = |v: Var| match &self[v].shape[..] {
            [outer @ .., rows, columns] => (outer.to_vec(), *rows, *columns),
            _ => (vec![], 1, 1),
        };
        let ((mut shape, ma, na), (_, mb, nb)) = (matrix(a), matrix(b));
        shape.push(if transpose_a { na } else { ma });
        shape.push(if transpose_b { mb } else { nb });
        self.push(Op::MatMul(transpose_a, transpose_b), vec![a, b], shape, DType::F32)
    }

    /// Products of the elements of `a` and `b`, added up: `axes` says which axes belong together, as in
    /// `"bik,bkj->bij"`. The arguments may be any views. An argument is copied only where the product is
    /// faster with contiguous elements for its vectors.
    pub fn contract(&mut self, a: Var, b: Var, axes: &str) -> Var {
        let letters = |text: &str| text.bytes().collect::<Vec<u8>>();
        let parts = axes.split_once("->").and_then(|(args, result)| Some((args.split_once(',')?, result)));
        let Some(((left, right), result)) = parts else {
            return self.refused(
                format!("contract: expected axes such as `ij,jk->ik`, found `{axes}`"),
                &[],
                DType::F32,
            );
        };
        let axes = Contraction { left: letters(left), right: letters(right), result: letters(result) };
        let size = |letter: &u8| {
            let of = |v: Var, letters: &[u8]| {
                letters.iter().position(|l| l == letter).and_then(|i| self[v].shape.get(i).copied())
            };
            of(a, &axes.left).or_else(|| of(b, &axes.right)).unwrap_or(1)
        };
        let shape = axes.result.iter().map(size).collect();
        self.push(Op::Contract(axes.into()), vec![a, b], shape, DType::F32)
    }

    /// The rows of `table` that `index` names.
    pub fn gather(&mut self, table: Var, index: Var) -> Var {
        let shape = [&self[index].shape, self[table].shape.get(1..).unwrap_or_default()].concat();
        let dtype = self[table].dtype;
        self.push(Op::Gather, vec![table, index], shape, dtype)
    }

    /// Zeros of `rows` rows to which the rows of `d` are added where `index` says.
    pub fn scatter_add(&mut self, index: Var, d: Var, rows: usize) -> Var {
        let rank = self[index].shape.len();
        let shape = [&[rows], self[d].shape.get(rank..).unwrap_or_default()].concat();
        self.push(Op::ScatterAdd, vec![index, d], shape, DType::F32)
    }

    /// The operands of an elementwise operation with one type, broadcast against each other: whole numbers become
    /// numbers, unless the other operand is a constant that is whole.
    fn align(&mut self, a: Var, b: Var) -> (Var, Var) {
        let (da, db) = (self[a].dtype, self[b].dtype);
        let number = |g: &Stage, x: Var| match g[x].op {
            Op::Const(bits) => !Type::number(f32::from_bits(bits).into()).is_fraction(),
            _ => false,
        };
        let (a, b) = match (da, db) {
            (DType::F32, DType::I32) if number(self, a) => (self.cast(a, DType::I32), b),
            (DType::I32, DType::F32) if number(self, b) => (a, self.cast(b, DType::I32)),
            (DType::F32, other) if other != DType::F32 => (a, self.cast(b, DType::F32)),
            (other, DType::F32) if other != DType::F32 => (self.cast(a, DType::F32), b),
            _ => (a, b),
        };
        self.broadcast_both(a, b)
    }

    pub(crate) fn broadcast_both(&mut self, a: Var, b: Var) -> (Var, Var) {
        let (sa, sb) = (&self[a].shape, &self[b].shape);
        if sa == sb {
            return (a, b);
        }
        let rank = sa.len().max(sb.len());
        let size = |s: &[usize], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
        let shape: Vec<usize> = (0..rank)
            .map(|axis| match (size(sa, axis), size(sb, axis)) {
                (1, n) => n,
                (n, _) => n,
            })
            .collect();
        (self.broadcast(a, &shape), self.broadcast(b, &shape))
    }

    /// Adds a node, simplified, unless an equal node exists. A node that breaks the rule of its operation is refused,
    /// so that no graph has such a node.
    pub(crate) fn push(&mut self, op: Op, args: Vec<Var>, shape: Vec<usize>, dtype: DType) -> Var {
        // Inputs, parameters and constants are the same in every scope.
        let scope = if op.is_leaf() { 0 } else { self.scope };
        let node = Node { op, args, shape, dtype, scope };
        if self.too_large.is_none() && node.checked_len().is_none() {
            self.too_large = Some(node.clone());
        }
        if let Err(message) = check(&self.graph, &node, self.graph.nodes.len()) {
            return self.refused(message, &node.shape, node.dtype);
        }
        match simplify(self, node) {
            Ok(v) => v,
            Err(node) => {
                let next = Var(self.graph.nodes.len() as u32);
                *self.memo.entry(node).or_insert_with_key(|node| {
                    self.graph.structure.push(structure(node, &self.graph.structure));
                    self.graph.nodes.push(node.clone());
                    next
                })
            }
        }
    }
}

/// The node of a value of another graph, which no operation accepts.
static FOREIGN: Node = Node { op: Op::Const(0), args: vec![], shape: vec![], dtype: DType::F32, scope: 0 };

impl std::ops::Index<Var> for Stage {
    type Output = Node;

    /// The node; a scalar constant for a value of another, larger graph.
    fn index(&self, v: Var) -> &Node {
        self.graph.nodes.get(v.index()).unwrap_or(&FOREIGN)
    }
}
