//! What a graph must be before kernels are made of it.
//!
//! Whatever a graph was staged by, a program compiled from it touches declared memory only: each operation has a rule
//! that says which arguments and which shape it has (`op`), `interval` which numbers its elements may be, and `index` what
//! follows from that for the entries that name rows of a table. The rules hold for each node when it is staged, so that
//! nothing that reads a graph meets an ill-formed one, and once more for what is compiled, behind the last pass that
//! changes it.

mod entries;
mod index;
mod interval;

pub(crate) use index::{Bound, Indices};
pub(crate) use interval::intervals_from;

use super::op::check;
use super::{Graph, Op, Var};

/// A graph that keeps all rules, with what a run must compare.
pub(crate) struct Verified {
    pub(crate) graph: Graph,
    /// What the entries of inputs may be, by the number of the input.
    pub(crate) bounds: Vec<(usize, Bound)>,
}

/// Verifies what these roots depend on. Promises about indices that no interval proves become operations that compare
/// each entry when it is there.
///
/// # Errors
///
/// The operation that breaks a rule, what it expects, and what it has.
pub(crate) fn verify(mut graph: Graph, roots: &[Var]) -> Result<Verified, String> {
    let live = graph.live(roots.iter().copied());
    for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
        check(&graph, node, v.index())?;
        // Loops run at least once.
        if node.is_empty() {
            return Err(format!("the result of {} has no elements, its shape is {:?}", node.name(), node.shape));
        }
    }
    let Indices { bounds, checked } = Indices::new(&graph, &live)?;
    for v in checked {
        let node = &mut graph.nodes[v.index()];
        if let Op::Within(rows) = node.op {
            node.op = Op::Checked(rows);
        }
    }
    Ok(Verified { graph, bounds })
}
