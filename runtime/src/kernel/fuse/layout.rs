//! Where and with which strides values are stored.
//!
//! A value has memory of its own with its elements in order, except for a matrix product that would only be copied:
//! into a concatenation, into the base of a `ScatterAdd`, or transposed. Such a product writes its result to the
//! destination directly, and the copy becomes a view.

use std::collections::HashMap;

use super::view::{View, resolve_view};
use crate::graph::op::Class;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Graph, Op, Var};

/// How each value is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Views that are copied to memory of their own.
    copied: Vec<bool>,
    /// Products that are written elsewhere than to dense memory of their own.
    redirected: HashMap<Var, Destination>,
}

/// Where a product is written.
#[derive(Clone, Debug)]
struct Destination {
    /// The larger value that the product becomes a part of, and the offset in it.
    within: Option<(Var, usize)>,
    strides: Vec<isize>,
}

impl Layout {
    /// The layout of the values that are `live`; `outputs` are stored by the caller.
    pub(crate) fn new(graph: &Graph, live: &[bool], outputs: &[Var]) -> Layout {
        let mut readers = vec![0; graph.nodes().len()];
        for (_, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            node.args.iter().for_each(|arg| readers[arg.index()] += 1);
        }
        outputs.iter().for_each(|v| readers[v.index()] += 1);
        let mut layout = Layout { copied: vec![false; graph.nodes().len()], redirected: HashMap::new() };
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            match (&node.op, &node.args[..]) {
                (Op::Concat(axis), _) => layout.redirect_parts(graph, v, *axis, &readers),
                (Op::ScatterAdd, [_, _, base]) => layout.redirect_part(graph, *base, v, 0, &readers),
                _ => {}
            }
        }
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            if node.op.is(Class::View) && resolve_view(graph, v, &layout).is_none() {
                match product_of_view(graph, v, dense(&node.shape), &readers) {
                    Some((product, strides)) if !layout.redirected.contains_key(&product) => {
                        layout.redirected.insert(product, Destination { within: None, strides });
                    }
                    _ => layout.copied[v.index()] = true,
                }
            }
            if node.op.facts().dense {
                for &arg in &node.args {
                    let shape = &graph[arg].shape;
                    let view = resolve_view(graph, arg, &layout).filter(|_| graph[arg].op.is(Class::View));
                    if view.is_some_and(|a| a.strides != dense(shape)) {
                        layout.copied[arg.index()] = true;
                    }
                }
            }
        }
        layout
    }

    /// Redirects the products among the arguments of a concatenation, or behind views of them, into its memory.
    fn redirect_parts(&mut self, graph: &Graph, whole: Var, axis: usize, readers: &[usize]) {
        let whole_strides = dense(&graph[whole].shape);
        let mut offset = 0;
        for &arg in &graph[whole].args {
            self.redirect_part(graph, arg, whole, offset, readers);
            offset += graph[arg].shape[axis] * whole_strides[axis] as usize;
        }
    }

    /// Redirects the product that `part` is or is a view of into the memory of `whole`, if there is one.
    fn redirect_part(&mut self, graph: &Graph, part: Var, whole: Var, offset: usize, readers: &[usize]) {
        if readers[part.index()] == 1
            && let Some((product, strides)) = product_of_view(graph, part, dense(&graph[whole].shape), readers)
        {
            self.redirected.insert(product, Destination { within: Some((whole, offset)), strides });
        }
    }

    /// Whether `v` is a view that is copied.
    pub(crate) fn is_copied(&self, v: Var) -> bool {
        self.copied[v.index()]
    }

    /// A stored value as a view of itself.
    pub(crate) fn own(&self, graph: &Graph, v: Var) -> Option<View> {
        let strides =
            self.redirected.get(&v).map_or_else(|| dense(&graph[v].shape), |destination| destination.strides.clone());
        Some(View { base: v, offset: 0, strides })
    }

    /// The larger value that `v` is written into, if there is one, and the offset in it.
    pub(crate) fn within(&self, v: Var) -> Option<(Var, usize)> {
        self.redirected.get(&v)?.within
    }

    /// Whether the product `base` is written into the memory of `whole`.
    pub(crate) fn is_part(&self, base: Var, whole: Var) -> bool {
        self.within(base).is_some_and(|(within, _)| within == whole)
    }
}

/// The product that `v` is, or is a view of all elements of, if nothing else reads the product; and the strides that
/// the product must be written with for `v` to have these `strides`. The columns of a product must be contiguous.
fn product_of_view(graph: &Graph, v: Var, strides: Vec<isize>, readers: &[usize]) -> Option<(Var, Vec<isize>)> {
    let node = &graph[v];
    let arg_strides = match &node.op {
        Op::MatMul(..) => {
            let along = *strides.last()?;
            return (along == 1 || node.shape.last() == Some(&1)).then_some((v, strides));
        }
        Op::Reshape => reshaped(&node.shape, &strides, &graph[node.args[0]].shape)?,
        Op::Transpose(axes) => {
            let mut before = vec![0; strides.len()];
            axes.iter().zip(strides).for_each(|(&axis, stride)| before[axis] = stride);
            before
        }
        _ => return None,
    };
    let arg = node.args[0];
    (readers[arg.index()] == 1).then(|| product_of_view(graph, arg, arg_strides, readers)).flatten()
}
