//! Rows of a table, read and added to by number.

use super::rule::{args, has_axis, like, of_type, same};
use super::{Class, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::{Evaluation, OutOfRange};
use crate::graph::{Graph, Node, Var};
use crate::shape::{DType, Rows};

const FACTS: Facts = Facts { class: Class::Alone, dense: true, commutes: false, cheap: false };

/// The rows of the first argument that the second names.
pub(super) struct Gather;

impl Operation for Gather {
    fn name(&self) -> String {
        "gather".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, graph: &Graph, node: &Node) -> Option<(Var, Rows)> {
        Some((node.args[1], Rows::below(graph[node.args[0]].shape[0])))
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [table, index] = args(graph, node)?;
        of_type(table, node.dtype)?;
        of_type(index, DType::I32)?;
        has_axis(table, 0)?;
        same(&[&index.shape, &table.shape[1..]].concat(), &node.shape)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let (rows, width) = (e.shape(0)[0], e.shape(0)[1..].iter().product::<usize>());
        let mut out = Vec::with_capacity(e.node.len());
        for &index in e.args[1] {
            let row = named(index, rows)?;
            out.extend_from_slice(&e.args[0][row * width..(row + 1) * width]);
        }
        Ok(out)
    }
}

/// The third argument, or zeros, to whose rows, named by the first, those of the second are added.
pub(super) struct ScatterAdd;

impl Operation for ScatterAdd {
    fn name(&self) -> String {
        "scatter_add".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, node: &Node) -> Option<(Var, Rows)> {
        Some((node.args[0], Rows::below(node.shape[0])))
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([index, rows], base) = match node.args[..] {
            [index, rows] => ([index, rows], None),
            [index, rows, base] => ([index, rows], Some(base)),
            _ => return Err(format!("takes 2 or 3 arguments, found {}", node.args.len())),
        };
        let (index, rows) = (&graph[index], &graph[rows]);
        of_type(index, DType::I32)?;
        of_type(rows, DType::F32)?;
        of_type(node, DType::F32)?;
        has_axis(node, 0)?;
        same(&rows.shape, &[&index.shape, &node.shape[1..]].concat())?;
        base.map_or(Ok(()), |base| like(&graph[base], node))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let (rows, width) = (e.node.shape[0], e.node.shape[1..].iter().product::<usize>());
        let mut out = e.args.get(2).map_or_else(|| vec![0.0; e.node.len()], |base| base.to_vec());
        for (i, &index) in e.args[0].iter().enumerate() {
            let row = named(index, rows)?;
            for j in 0..width {
                out[row * width + j] += e.args[1][i * width + j];
            }
        }
        Ok(out)
    }
}

fn named(index: f64, rows: usize) -> Result<usize, OutOfRange> {
    if index >= 0.0 && index < rows as f64 { Ok(index as usize) } else { Err(OutOfRange { index: index as i64, rows }) }
}
