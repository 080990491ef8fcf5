//! Views: elements of another value, differently indexed. Nothing is computed.

use super::rule::{args, ensure, has_axis, inside, like, of_rank, of_type, same};
use super::{Class, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::{Evaluation, OutOfRange, offset, places};
use crate::graph::{Graph, Node, Var};
use crate::shape::{DType, Rows};

const FACTS: Facts = Facts { class: Class::View, dense: false, commutes: false, cheap: false };

/// The elements of the argument, where `from` maps the indices of the result to those of the argument.
fn shown(e: &Evaluation<'_>, from: impl Fn(Vec<usize>) -> Vec<usize>) -> Evaluated {
    Ok(places(&e.node.shape).map(|at| e.args[0][offset(&from(at), e.shape(0))]).collect())
}

/// The elements of an index, each of which must name one of these rows.
fn admitted(rows: Rows, e: &Evaluation<'_>) -> Evaluated {
    match e.args[0].iter().find(|&&x| !rows.admits(x as i32)) {
        Some(&x) => Err(OutOfRange { index: x as i64, rows: rows.count }),
        None => Ok(e.args[0].to_vec()),
    }
}

fn index_rule(graph: &Graph, node: &Node, rows: Rows) -> Rule {
    let [index] = args(graph, node)?;
    of_type(node, DType::I32)?;
    like(index, node)?;
    ensure(rows.count > 0, || "expected at least one row".into())
}

/// The same whole numbers, which are promised to name one of these rows.
pub(super) struct Within(pub(super) Rows);

impl Operation for Within {
    fn name(&self) -> String {
        "within".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, node: &Node) -> Option<(Var, Rows)> {
        Some((node.args[0], self.0))
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        index_rule(graph, node, self.0)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        admitted(self.0, e)
    }
}

/// The same whole numbers, each of which is compared with these rows when the program runs.
pub(super) struct Checked(pub(super) Rows);

impl Operation for Checked {
    fn name(&self) -> String {
        "within".into()
    }

    fn facts(&self) -> Facts {
        // Entries are compared as contiguous elements.
        Facts { dense: true, ..FACTS }
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        index_rule(graph, node, self.0)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        admitted(self.0, e)
    }
}

/// Axes of size one repeated.
pub(super) struct Broadcast;

impl Operation for Broadcast {
    fn name(&self) -> String {
        "broadcast".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], shape) = (args(graph, node)?, &node.shape);
        of_type(x, node.dtype)?;
        let fits =
            x.shape.len() == shape.len() && x.shape.iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
        ensure(fits, || format!("{:?} does not broadcast to {shape:?}", x.shape))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        shown(e, |at| at)
    }
}

/// The same elements in the same order under another shape.
pub(super) struct Reshape;

impl Operation for Reshape {
    fn name(&self) -> String {
        "reshape".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], shape) = (args(graph, node)?, &node.shape);
        of_type(x, node.dtype)?;
        ensure(x.len() == node.len(), || {
            format!("{:?} has {} elements, {shape:?} has {}", x.shape, x.len(), node.len())
        })
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok(e.args[0].to_vec())
    }
}

/// Axis `i` of the result is axis `[i]` of the argument.
pub(super) struct Transpose<'a>(pub(super) &'a [usize]);

impl Operation for Transpose<'_> {
    fn name(&self) -> String {
        "transpose".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], axes) = (args(graph, node)?, self.0);
        of_type(x, node.dtype)?;
        let named = axes.iter().fold(0u32, |named, &axis| named | 1u32.checked_shl(axis as u32).unwrap_or(0));
        let all = axes.len() == x.shape.len() && axes.iter().all(|&axis| axis < axes.len());
        ensure(all && named == (1 << axes.len()) - 1, || {
            format!("expected each axis of {:?} once, found {axes:?}", x.shape)
        })?;
        same(&axes.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>(), &node.shape)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        shown(e, |at| {
            let mut from = vec![0; at.len()];
            self.0.iter().zip(at).for_each(|(&axis, i)| from[axis] = i);
            from
        })
    }
}

/// Every axis from its start on, in steps that may be negative.
pub(super) struct Slice<'a>(pub(super) &'a [(usize, isize)]);

impl Operation for Slice<'_> {
    fn name(&self) -> String {
        "slice".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], window, shape) = (args(graph, node)?, self.0, &node.shape);
        of_type(x, node.dtype)?;
        of_rank(shape, x.shape.len())?;
        ensure(window.len() == shape.len(), || format!("expected a start and a step for each axis of {:?}", x.shape))?;
        let along = |axis: usize| inside(axis, x, window[axis].0, [(shape[axis], window[axis].1), (1, 0)]);
        (0..shape.len()).try_for_each(along)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let along = |(i, &(start, step)): (usize, &(usize, isize))| (start as isize + i as isize * step) as usize;
        shown(e, |at| at.into_iter().zip(self.0).map(along).collect())
    }
}

/// An axis cut into windows, on two axes in place of one.
pub(super) struct Windows {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) dilation: isize,
}

impl Operation for Windows {
    fn name(&self) -> String {
        "windows".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], &Windows { axis, start, step, dilation }, shape) = (args(graph, node)?, self, &node.shape);
        of_type(x, node.dtype)?;
        has_axis(x, axis)?;
        of_rank(shape, x.shape.len() + 1)?;
        let mut others = shape.to_vec();
        others.splice(axis..axis + 2, [x.shape[axis]]);
        same(&others, &x.shape)?;
        inside(axis, x, start, [(shape[axis], step), (shape[axis + 1], dilation)])
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        shown(e, |mut at| {
            let j = at.remove(self.axis + 1) as isize;
            at[self.axis] = (self.start as isize + at[self.axis] as isize * self.step + j * self.dilation) as usize;
            at
        })
    }
}
