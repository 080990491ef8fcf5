//! Leaves of a graph: inputs, parameters, constants, and data known at compile time.

use super::rule::{args, ensure, of_rank, of_type};
use super::{Class, Evaluated, Facts, Op, Operation, Rule};
use crate::graph::reference::{Evaluation, element};
use crate::graph::{Graph, Node, Var};
use crate::shape::{DType, Rows};

/// The most rows that the entries of an index, which are 32-bit integers, can name.
const MAX_ROWS: usize = 1 << 31;

const fn facts(class: Class) -> Facts {
    Facts { class, dense: false, commutes: false, cheap: false }
}

/// An input of a function.
pub(super) struct Input(pub(super) usize);

impl Operation for Input {
    fn name(&self) -> String {
        format!("input {}", self.0)
    }

    fn facts(&self) -> Facts {
        facts(Class::Outside)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [] = args(graph, node)?;
        Ok(())
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok((e.source)(&Op::Input(self.0)))
    }
}

/// A parameter or state of a model.
pub(super) struct Param(pub(super) usize);

impl Operation for Param {
    fn name(&self) -> String {
        format!("parameter {}", self.0)
    }

    fn facts(&self) -> Facts {
        facts(Class::Outside)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [] = args(graph, node)?;
        of_type(node, DType::F32)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok((e.source)(&Op::Param(self.0)))
    }
}

/// A constant.
pub(super) struct Const(pub(super) u32);

impl Operation for Const {
    fn name(&self) -> String {
        "const".into()
    }

    fn facts(&self) -> Facts {
        facts(Class::Constant)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([], bits) = (args(graph, node)?, self.0);
        ensure(node.dtype != DType::Bool || bits <= 1, || format!("expected 0 or 1, found {bits}"))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok(vec![element(self.0, e.node.dtype); e.node.len()])
    }
}

/// Elements known beforehand.
pub(super) struct Data<'a>(pub(super) &'a [u32]);

impl Operation for Data<'_> {
    fn name(&self) -> String {
        "data".into()
    }

    fn facts(&self) -> Facts {
        facts(Class::Known)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [] = args(graph, node)?;
        let (found, len, shape) = (self.0.len(), node.len(), &node.shape);
        ensure(found == len, || format!("shape {shape:?} has {len} elements, {found} were given"))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok(self.0.iter().map(|&bits| element(bits, e.node.dtype)).collect())
    }
}

/// 0, 1, 2, … along the only axis.
pub(super) struct Iota;

impl Operation for Iota {
    fn name(&self) -> String {
        "iota".into()
    }

    fn facts(&self) -> Facts {
        facts(Class::Known)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [] = args(graph, node)?;
        of_type(node, DType::I32)?;
        of_rank(&node.shape, 1)?;
        let len = node.shape[0];
        ensure(len <= MAX_ROWS, || format!("expected at most {MAX_ROWS} numbers, found {len}"))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok((0..e.node.len()).map(|i| i as f64).collect())
    }
}

/// The seed of a run.
pub(super) struct Seed;

impl Operation for Seed {
    fn name(&self) -> String {
        "seed".into()
    }

    fn facts(&self) -> Facts {
        facts(Class::Outside)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [] = args(graph, node)?;
        of_type(node, DType::I32)?;
        of_rank(&node.shape, 0)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok((e.source)(&Op::Seed))
    }
}
