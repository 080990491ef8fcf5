//! The evaluator of a graph in double precision: slow and simple, the oracle that gradients and compiled kernels are
//! tested against. The reference of each operation stands with the operation (`op`).

use std::collections::HashMap;

use super::{Graph, Node, Op, Var};
use crate::shape::DType;

/// Computes nodes of a graph. `source` gives the elements of inputs and parameters.
///
/// # Errors
///
/// Where an index is out of range: its value and the number of rows.
pub fn evaluate(graph: &Graph, roots: &[Var], source: &dyn Fn(&Op) -> Vec<f64>) -> Result<Vec<Vec<f64>>, OutOfRange> {
    let live = graph.live(roots.iter().copied());
    let mut values: HashMap<Var, Vec<f64>> = HashMap::new();
    for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
        let args: Vec<&[f64]> = node.args.iter().map(|a| values[a].as_slice()).collect();
        let value = node.op.with(|op| op.reference(&Evaluation { graph, node, args: &args, source }))?;
        debug_assert_eq!(value.len(), node.len(), "{node:?}");
        values.insert(v, value);
    }
    Ok(roots.iter().map(|v| values[v].clone()).collect())
}

/// A node while it is evaluated.
pub(crate) struct Evaluation<'a> {
    graph: &'a Graph,
    pub(crate) node: &'a Node,
    /// The elements of its arguments.
    pub(crate) args: &'a [&'a [f64]],
    /// The elements of inputs and parameters.
    pub(crate) source: &'a dyn Fn(&Op) -> Vec<f64>,
}

impl Evaluation<'_> {
    /// The shape of an argument.
    pub(crate) fn shape(&self, i: usize) -> &[usize] {
        &self.graph[self.node.args[i]].shape
    }
}

/// An index that names no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index {index} is out of range for {rows} rows")]
pub struct OutOfRange {
    /// The index.
    pub index: i64,
    /// The number of rows.
    pub rows: usize,
}

/// The element that 32 bits stand for.
pub(crate) fn element(bits: u32, dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::Bool => f32::from_bits(bits) as f64,
        DType::I32 => bits as i32 as f64,
    }
}

/// The indices of all elements of a shape, in order.
pub(crate) fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let len: usize = shape.iter().product();
    (0..len).map(|mut flat| {
        let mut at = vec![0; shape.len()];
        for (i, &size) in shape.iter().enumerate().rev() {
            at[i] = flat % size;
            flat /= size;
        }
        at
    })
}

/// The offset of the element at these indices in a tensor of a shape that is broadcast: axes of size one have one
/// element.
pub(crate) fn offset(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |flat, (&i, &size)| flat * size + if size == 1 { 0 } else { i })
}
