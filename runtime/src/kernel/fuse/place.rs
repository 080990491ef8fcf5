//! How values lie in memory.
//!
//! A value lies in its own memory, its elements in order, unless it is a product whose only reader wants
//! them elsewhere: as a part of a larger value, as what rows are added to, or in another order of axes. A product
//! is then written there at once, and what would have copied it is a view.

use std::collections::HashMap;

use super::access::{Access, shown};
use crate::graph::op::Class;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Graph, Op, Var};

/// Where each value lies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Views that are values in memory of their own.
    copied: Vec<bool>,
    placed: HashMap<Var, Place>,
}

/// Where a product is written.
#[derive(Clone, Debug)]
struct Place {
    /// A larger value that it is a part of, and where in it.
    within: Option<(Var, usize)>,
    strides: Vec<isize>,
}

impl Layout {
    /// The layout of the values that are `live`; `outputs` have places outside.
    pub(crate) fn new(graph: &Graph, live: &[bool], outputs: &[Var]) -> Layout {
        let mut readers = vec![0; graph.nodes().len()];
        for (_, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            node.args.iter().for_each(|arg| readers[arg.index()] += 1);
        }
        outputs.iter().for_each(|v| readers[v.index()] += 1);
        let mut layout = Layout { copied: vec![false; graph.nodes().len()], placed: HashMap::new() };
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            match (&node.op, &node.args[..]) {
                (Op::Concat(axis), _) => layout.place_parts(graph, v, *axis, &readers),
                (Op::ScatterAdd, [_, _, base]) => layout.place_part(graph, *base, v, 0, &readers),
                _ => {}
            }
        }
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            if node.op.is(Class::View) && shown(graph, v, &layout).is_none() {
                match product_behind(graph, v, dense(&node.shape), &readers) {
                    Some((product, strides)) if !layout.placed.contains_key(&product) => {
                        layout.placed.insert(product, Place { within: None, strides });
                    }
                    _ => layout.copied[v.index()] = true,
                }
            }
            if node.op.facts().dense {
                for &arg in &node.args {
                    let shape = &graph[arg].shape;
                    let view = shown(graph, arg, &layout).filter(|_| graph[arg].op.is(Class::View));
                    if view.is_some_and(|a| a.strides != dense(shape)) {
                        layout.copied[arg.index()] = true;
                    }
                }
            }
        }
        layout
    }

    /// Places the products behind the arguments of a concatenation within it.
    fn place_parts(&mut self, graph: &Graph, whole: Var, axis: usize, readers: &[usize]) {
        let whole_strides = dense(&graph[whole].shape);
        let mut offset = 0;
        for &arg in &graph[whole].args {
            self.place_part(graph, arg, whole, offset, readers);
            offset += graph[arg].shape[axis] * whole_strides[axis] as usize;
        }
    }

    /// Places the product behind a part of a value within it, if there is one.
    fn place_part(&mut self, graph: &Graph, part: Var, whole: Var, offset: usize, readers: &[usize]) {
        if readers[part.index()] == 1
            && let Some((product, strides)) = product_behind(graph, part, dense(&graph[whole].shape), readers)
        {
            self.placed.insert(product, Place { within: Some((whole, offset)), strides });
        }
    }

    /// Whether `v` is a view that is a value of its own.
    pub(crate) fn is_copied(&self, v: Var) -> bool {
        self.copied[v.index()]
    }

    /// The elements of a value that is in memory.
    pub(crate) fn own(&self, graph: &Graph, v: Var) -> Option<Access> {
        let strides = self.placed.get(&v).map_or_else(|| dense(&graph[v].shape), |place| place.strides.clone());
        Some(Access { base: v, offset: 0, strides })
    }

    /// The larger value that `v` is written into, if it is, and where in it.
    pub(crate) fn within(&self, v: Var) -> Option<(Var, usize)> {
        self.placed.get(&v)?.within
    }

    /// Whether the part of a concatenation that shows `base` is there already.
    pub(crate) fn is_part(&self, base: Var, whole: Var) -> bool {
        self.within(base).is_some_and(|(within, _)| within == whole)
    }
}

/// The product that `v` shows all elements of, if nothing else reads it, and how its elements must lie
/// for those of `v` to lie by these strides. A product writes runs of columns.
fn product_behind(graph: &Graph, v: Var, strides: Vec<isize>, readers: &[usize]) -> Option<(Var, Vec<isize>)> {
    let node = &graph[v];
    let behind = match &node.op {
        Op::MatMul(..) => {
            let along = *strides.last()?;
            return (along == 1 || node.shape.last() == Some(&1)).then_some((v, strides));
        }
        Op::Reshape => reshaped(&node.shape, &strides, &graph[node.args[0]].shape)?,
        Op::Transpose(axes) => {
            let mut behind = vec![0; strides.len()];
            axes.iter().zip(strides).for_each(|(&axis, stride)| behind[axis] = stride);
            behind
        }
        _ => return None,
    };
    let arg = node.args[0];
    (readers[arg.index()] == 1).then(|| product_behind(graph, arg, behind, readers)).flatten()
}
