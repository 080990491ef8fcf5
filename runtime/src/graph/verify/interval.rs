//! Interval analysis of a graph: the interval of the elements of each value (see [`Interval`]).

use crate::graph::reference::element;
use crate::graph::{Graph, Node, Op, Var};
use crate::ir::elementwise::{Binary, Compare};
use crate::ir::multiply_add::Fma;
use crate::ir::reduce::Reduce;
use crate::shape::DType;
use crate::shape::check::{Interval, Refinement};

/// The most operations that a mask is followed through.
const MASK_DEPTH: usize = 8;

/// The intervals of all nodes, by number; of nodes that are not `live`, all numbers.
pub(crate) fn intervals(graph: &Graph, live: &[bool]) -> Vec<Interval> {
    let mut intervals = Vec::with_capacity(graph.nodes().len());
    intervals_from(graph, live, &|_| None, &mut intervals);
    intervals
}

/// Replaces the contents of `intervals` by the same, with the intervals of `source` for values that it knows.
pub(crate) fn intervals_from(
    graph: &Graph,
    live: &[bool],
    source: &dyn Fn(Var) -> Option<Interval>,
    intervals: &mut Vec<Interval>,
) {
    intervals.clear();
    for (v, node) in graph.vars() {
        let known = || source(v).unwrap_or_else(|| interval(graph, node, intervals));
        let next = if live[v.index()] { known() } else { Interval::any(node.dtype) };
        intervals.push(next);
    }
}

fn interval(graph: &Graph, node: &Node, of: &[Interval]) -> Interval {
    let arg = |i: usize| of[node.args[i].index()];
    match &node.op {
        Op::Const(bits) => Interval::exactly(element(*bits, node.dtype)),
        Op::Data(bits) => {
            let elements = bits.iter().map(|&bits| Interval::exactly(element(bits, node.dtype)));
            elements.reduce(Interval::hull).unwrap_or(Interval::any(node.dtype))
        }
        Op::Iota => Interval::whole(0.0, node.len() as f64 - 1.0),
        // Multiples of 2⁻²⁴.
        Op::Random(_) => Interval { whole: false, ..Interval::whole(0.0, 1.0 - 1.0 / (1 << 24) as f64) },
        Op::Unary(op) => op.interval(arg(0), node.dtype),
        Op::Binary(Binary::Mul) if node.args[0] == node.args[1] => arg(0).squared().rounded(node.dtype),
        Op::Binary(op) => op.interval(arg(0), arg(1), node.dtype),
        Op::Fma(op) => {
            let product = if node.args[0] == node.args[1] { arg(0).squared() } else { arg(0).times(arg(1)) };
            let c = arg(2);
            match op {
                Fma::MulAdd => product.plus(c),
                Fma::MulSub => product.plus(c.negative()),
                Fma::SubMul => c.plus(product.negative()),
            }
            .near()
        }
        Op::Compare(op) => op.interval(arg(0), arg(1)),
        Op::Select => selected(graph, node, 1, of).hull(selected(graph, node, 2, of)),
        Op::Cast => arg(0).cast(graph[node.args[0]].dtype, node.dtype),
        // A promise holds for what follows: it is proved, or an entry that breaks it is refused.
        Op::Within(rows) | Op::Checked(rows) => arg(0).within(*rows),
        Op::Routine(routine) => routine.0.interval(node, &(0..node.args.len()).map(arg).collect::<Vec<_>>()),
        Op::Reduce(op, _) => {
            let count = graph[node.args[0]].len() / node.len().max(1);
            match op {
                Reduce::Max | Reduce::Min => arg(0),
                Reduce::Sum => arg(0).sum(count as f64),
                Reduce::Prod => Interval::any(node.dtype),
            }
        }
        Op::Slice(window) => match (&graph[node.args[0]].op, &window[..]) {
            (Op::Iota, &[(start, step)]) => {
                let (first, last) = (start as f64, start as f64 + (node.len() as f64 - 1.0) * step as f64);
                Interval::whole(first.min(last), first.max(last))
            }
            _ => arg(0),
        },
        Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Windows { .. } | Op::Gather => arg(0),
        Op::Pad(_) => arg(0).hull(Interval::exactly(0.0)),
        Op::Concat(_) => {
            let parts = node.args.iter().map(|v| of[v.index()]);
            parts.reduce(Interval::hull).unwrap_or(Interval::any(node.dtype))
        }
        Op::Input(_) | Op::Param(_) | Op::Seed | Op::MatMul(..) | Op::Contract(_) | Op::ScatterAdd => {
            Interval::any(node.dtype)
        }
    }
}

/// The interval of what a selection takes from argument `i`: narrower than that of the argument if the mask compares
/// the argument, or an operand that it is computed from.
fn selected(graph: &Graph, node: &Node, i: usize, of: &[Interval]) -> Interval {
    let (mask, v) = (node.args[0], node.args[i]);
    let left = |v: Var| {
        if of[v.index()].is_one() {
            return of[v.index()];
        }
        let refined = refinement(graph, of, mask, v, MASK_DEPTH);
        if i == 1 { refined.holds } else { refined.fails }
    };
    let direct = left(v);
    match (&graph[v].op, &graph[v].args[..]) {
        (Op::Binary(op), &[a, b]) => direct.and(op.interval(left(a), left(b), graph[v].dtype)),
        _ => direct,
    }
}

/// The interval of `v` refined by a mask over the same elements.
fn refinement(graph: &Graph, of: &[Interval], mask: Var, v: Var, deep: usize) -> Refinement {
    let (node, about) = (&graph[mask], of[v.index()]);
    let known = Refinement::of_mask(of[mask.index()], about);
    let Some(deep) = deep.checked_sub(1) else { return known };
    let of_arg = |mask: Var| refinement(graph, of, mask, v, deep);
    let more = match (&node.op, &node.args[..]) {
        // A negated mask is compared with false.
        (Op::Compare(Compare::Eq), &[inner, never]) if graph[never].op == Op::Const(0) && is_mask(graph, inner) => {
            of_arg(inner).not()
        }
        (Op::Compare(op), &[a, b]) => {
            let (x, y) = (of[a.index()], of[b.index()]);
            let left = |holds| if a == v { op.left(x, y, holds) } else { about };
            let right = |holds| if b == v { op.right(x, y, holds) } else { about };
            Refinement { holds: left(true).and(right(true)), fails: left(false).and(right(false)) }
        }
        // `select(mask, mask, b)`: where the mask selects itself, it holds.
        (Op::Select, &[choice, a, b]) => {
            let first = of_arg(choice);
            let always = Refinement::of_mask(Interval::exactly(1.0), about);
            first.choose(if a == choice { always } else { of_arg(a) }, of_arg(b))
        }
        (_, &[inner]) if shown_alike(graph, mask, v) => refinement(graph, of, inner, graph[v].args[0], deep),
        _ => known,
    };
    known.and(more)
}

/// Whether two values are the same view of two values of one shape.
pub(crate) fn shown_alike(graph: &Graph, a: Var, b: Var) -> bool {
    let is_view =
        matches!(graph[a].op, Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Slice(_) | Op::Windows { .. });
    is_view && graph[a].op == graph[b].op && graph[graph[a].args[0]].shape == graph[graph[b].args[0]].shape
}

pub(crate) fn is_mask(graph: &Graph, v: Var) -> bool {
    graph[v].dtype == DType::Bool
}

/// Whether both ends of the interval of `v` are elements of it: it is known at compile time, or a view of all elements
/// of such.
pub(crate) fn known(graph: &Graph, mut v: Var) -> bool {
    while let Op::Reshape | Op::Broadcast | Op::Transpose(_) = graph[v].op {
        v = graph[v].args[0];
    }
    matches!(graph[v].op, Op::Iota | Op::Const(_) | Op::Data(_))
}

#[cfg(test)]
mod tests;
