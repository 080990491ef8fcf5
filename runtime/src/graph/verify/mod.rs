//! Verification of a graph before it is compiled.
//!
//! A program accesses declared memory only, whatever code has staged its graph. Each operation has a rule for its
//! arguments and its shape (`op`). `interval` computes which numbers the elements of a value may be, and `index`
//! derives from that whether the entries of an index name rows of their table; `entries` are sets of such entries. The
//! rules are checked when a node is staged, and again for the graph that is compiled, after the last pass that changes
//! it.

mod entries;
mod index;
mod interval;

pub(crate) use index::{Bound, Indices};
pub(crate) use interval::intervals_from;

use super::op::check;
use super::{Graph, Op, Var};

/// A graph that keeps all rules, and the comparisons that are left for a run.
pub(crate) struct Verified {
    pub(crate) graph: Graph,
    /// The admitted entries of index inputs, by the number of the input.
    pub(crate) bounds: Vec<(usize, Bound)>,
}

/// Verifies what these roots depend on. A promise about an index (`Within`) that no interval proves becomes an
/// operation that compares each entry when the program runs (`Checked`).
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
