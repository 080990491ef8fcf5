//! Values that are assembled from copies of others.

use super::rule::{args, ensure, has_axis, of_rank, of_type};
use super::{Class, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::{Evaluation, offset, places};
use crate::graph::{Graph, Node, Var};
use crate::shape::Rows;

const FACTS: Facts = Facts { class: Class::Alone, dense: false, commutes: false, cheap: false };

/// The argument padded with zeros, so that it starts at these offsets.
pub(super) struct Pad<'a>(pub(super) &'a [usize]);

impl Operation for Pad<'_> {
    fn name(&self) -> String {
        "pad".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], before, shape) = (args(graph, node)?, self.0, &node.shape);
        of_type(x, node.dtype)?;
        of_rank(shape, x.shape.len())?;
        ensure(before.len() == shape.len(), || format!("expected an offset for each axis of {:?}", x.shape))?;
        let fits = |axis: usize| before[axis].checked_add(x.shape[axis]).is_some_and(|end| end <= shape[axis]);
        ensure((0..shape.len()).all(fits), || format!("{:?} at {before:?} reaches beyond {shape:?}", x.shape))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let mut out = vec![0.0; e.node.len()];
        for (at, &x) in places(e.shape(0)).zip(e.args[0]) {
            let to: Vec<usize> = at.iter().zip(self.0).map(|(i, b)| i + b).collect();
            out[offset(&to, &e.node.shape)] = x;
        }
        Ok(out)
    }
}

/// The arguments concatenated along an axis.
pub(super) struct Concat(pub(super) usize);

impl Operation for Concat {
    fn name(&self) -> String {
        "concat".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let (axis, shape) = (self.0, &node.shape[..]);
        ensure(!node.args.is_empty(), || "expected at least one tensor".into())?;
        has_axis(node, axis)?;
        let mut total = Some(0usize);
        for &arg in &node.args {
            let x = &graph[arg];
            of_type(x, node.dtype)?;
            let others = |s: &[usize]| [&s[..axis], &s[axis + 1..]].concat();
            let fits = x.shape.len() == shape.len() && others(&x.shape) == others(shape);
            ensure(fits, || format!("{:?} is no part of {shape:?} along axis {axis}", x.shape))?;
            total = total.and_then(|sum| sum.checked_add(x.shape[axis]));
        }
        ensure(total == Some(shape[axis]), || format!("the parts do not add up to axis {axis} of {shape:?}"))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let (mut out, mut start) = (vec![0.0; e.node.len()], 0);
        for (i, arg) in e.args.iter().enumerate() {
            for (mut at, &x) in places(e.shape(i)).zip(*arg) {
                at[self.0] += start;
                out[offset(&at, &e.node.shape)] = x;
            }
            start += e.shape(i)[self.0];
        }
        Ok(out)
    }
}
