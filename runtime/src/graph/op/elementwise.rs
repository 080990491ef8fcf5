//! Elementwise operations: those that `ir` has a table of, and selections, casts and random numbers.

use super::rule::{args, ensure, like, number, of_rank, of_type, same};
use super::{Class, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::Evaluation;
use crate::graph::{Graph, Node, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::multiply_add::Fma;
use crate::ir::random;
use crate::shape::{DType, Rows};

/// The most random numbers of a value: their counter has 32 bits.
const MAX_RANDOM: usize = 1 << 32;

const fn facts(cheap: bool, commutes: bool) -> Facts {
    Facts { class: Class::Elementwise, dense: false, commutes, cheap }
}

impl Operation for Unary {
    fn name(&self) -> String {
        Unary::name(*self).into()
    }

    fn facts(&self) -> Facts {
        facts(matches!(self, Unary::Neg | Unary::Abs), false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [x] = args(graph, node)?;
        like(x, node)?;
        // Whole numbers have a negative, and no other function.
        if *self == Unary::Neg { number(node) } else { of_type(node, DType::F32) }
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok(e.args[0].iter().map(|&x| Unary::reference(*self, x)).collect())
    }
}

impl Operation for Binary {
    fn name(&self) -> String {
        Binary::name(*self).into()
    }

    fn facts(&self) -> Facts {
        facts(!matches!(self, Binary::Div | Binary::Fmod), matches!(self, Binary::Add | Binary::Mul))
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [a, b] = args(graph, node)?;
        like(a, node)?;
        like(b, node)?;
        if self.is_whole() { number(node) } else { of_type(node, DType::F32) }
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let pairs = e.args[0].iter().zip(e.args[1]);
        Ok(match e.node.dtype {
            DType::I32 => pairs.map(|(&a, &b)| self.whole(a as i32, b as i32).map_or(f64::NAN, f64::from)).collect(),
            _ => pairs.map(|(&a, &b)| Binary::reference(*self, a, b)).collect(),
        })
    }
}

impl Operation for Fma {
    fn name(&self) -> String {
        Fma::name(*self).into()
    }

    fn facts(&self) -> Facts {
        facts(true, false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [a, b, c] = args(graph, node)?;
        of_type(node, DType::F32)?;
        [a, b, c].into_iter().try_for_each(|x| like(x, node))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let [a, b, c] = [e.args[0], e.args[1], e.args[2]];
        Ok((0..e.node.len()).map(|i| Fma::reference(*self, a[i], b[i], c[i])).collect())
    }
}

impl Operation for Compare {
    fn name(&self) -> String {
        Compare::name(*self).into()
    }

    fn facts(&self) -> Facts {
        facts(false, false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [a, b] = args(graph, node)?;
        same(&a.shape, &node.shape)?;
        like(b, a)?;
        of_type(node, DType::Bool)?;
        match self {
            Compare::Lt | Compare::Le => number(a),
            Compare::Eq | Compare::Ne => Ok(()),
        }
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let pairs = e.args[0].iter().zip(e.args[1]);
        Ok(pairs.map(|(&a, &b)| Compare::reference(*self, a, b) as u8 as f64).collect())
    }
}

/// The second argument where the first holds, else the third.
pub(super) struct Select;

impl Operation for Select {
    fn name(&self) -> String {
        "select".into()
    }

    fn facts(&self) -> Facts {
        facts(true, false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [mask, a, b] = args(graph, node)?;
        of_type(mask, DType::Bool)?;
        same(&mask.shape, &node.shape)?;
        like(a, node)?;
        like(b, node)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let [mask, a, b] = [e.args[0], e.args[1], e.args[2]];
        Ok((0..e.node.len()).map(|i| if mask[i] != 0.0 { a[i] } else { b[i] }).collect())
    }
}

/// The same elements as another type.
pub(super) struct Cast;

impl Operation for Cast {
    fn name(&self) -> String {
        "cast".into()
    }

    fn facts(&self) -> Facts {
        facts(false, false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [x] = args(graph, node)?;
        same(&x.shape, &node.shape)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        Ok(match e.node.dtype {
            // As the machine does it: what no whole number is near becomes the nearest one, NaN becomes zero.
            DType::I32 => e.args[0].iter().map(|&x| f64::from(x as i32)).collect(),
            DType::Bool => e.args[0].iter().map(|&x| (x != 0.0) as u8 as f64).collect(),
            DType::F32 => e.args[0].to_vec(),
        })
    }
}

/// Random numbers of a stream; the argument is the seed.
pub(super) struct Random(pub(super) u64);

impl Operation for Random {
    fn name(&self) -> String {
        "random".into()
    }

    fn facts(&self) -> Facts {
        facts(false, false)
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [seed] = args(graph, node)?;
        of_type(seed, DType::I32)?;
        of_rank(&seed.shape, 0)?;
        of_type(node, DType::F32)?;
        let len = node.len();
        ensure(len <= MAX_RANDOM, || format!("expected at most {MAX_RANDOM} numbers, found {len}"))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let seed = e.args[0][0] as i64 as u32;
        Ok((0..e.node.len()).map(|i| random::reference(seed, self.0, i as u32)).collect())
    }
}
