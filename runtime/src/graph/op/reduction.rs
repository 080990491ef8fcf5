//! Reductions over axes, which stay with size one.

use super::rule::{args, ensure, of_rank, of_type, same};
use super::{Class, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::{Evaluation, offset, places};
use crate::graph::{Graph, Node, Var};
use crate::ir::reduce::Reduce;
use crate::shape::{DType, MAX_RANK, Rows};

/// A reduction over the axes whose bit is set.
pub(super) struct Reduction(pub(super) Reduce, pub(super) u8);

impl Operation for Reduction {
    fn name(&self) -> String {
        self.0.name().into()
    }

    fn facts(&self) -> Facts {
        Facts { class: Class::Reduction, dense: false, commutes: false, cheap: false }
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([x], axes, rank) = (args(graph, node)?, self.1, node.shape.len());
        of_type(node, DType::F32)?;
        of_type(x, DType::F32)?;
        of_rank(&node.shape, x.shape.len())?;
        let named = (0..MAX_RANK).filter(|axis| axes >> axis & 1 == 1);
        ensure(axes != 0 && named.clone().all(|axis| axis < rank), || {
            format!("axes {:?} of {:?}", named.clone().collect::<Vec<_>>(), x.shape)
        })?;
        let kept = |axis: usize| if axes >> axis & 1 == 1 { 1 } else { x.shape[axis] };
        same(&(0..rank).map(kept).collect::<Vec<_>>(), &node.shape)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let mut out = vec![self.0.identity() as f64; e.node.len()];
        for (at, &x) in places(e.shape(0)).zip(e.args[0]) {
            let to = &mut out[offset(&at, &e.node.shape)];
            *to = self.0.reference(*to, x);
        }
        Ok(out)
    }
}
