//! The building blocks of the rules of operations. No arithmetic of sizes wraps around.

use crate::graph::{Graph, Node, Var};
use crate::shape::{DType, MAX_RANK, elements};

/// Fine, or else what is expected and what was found.
pub(crate) type Rule = Result<(), String>;

/// Refuses a shape of too many axes or elements.
///
/// # Errors
///
/// The shape.
pub(crate) fn check_shape(shape: &[usize]) -> Rule {
    if shape.len() > MAX_RANK {
        return Err(format!("a tensor has at most {MAX_RANK} axes, found {}: {shape:?}", shape.len()));
    }
    match elements(shape) {
        Some(_) => Ok(()),
        None => Err(format!("a tensor of shape {shape:?} has more than 2^40 elements")),
    }
}

/// The arguments of a node, which must be so many.
pub(crate) fn args<'g, const N: usize>(graph: &'g Graph, node: &Node) -> Result<[&'g Node; N], String> {
    match <[Var; N]>::try_from(&node.args[..]) {
        Ok(args) => Ok(args.map(|v| &graph[v])),
        Err(_) => Err(format!("takes {N} arguments, found {}", node.args.len())),
    }
}

pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Rule {
    if holds { Ok(()) } else { Err(message()) }
}

pub(crate) fn of_type(x: &Node, dtype: DType) -> Rule {
    ensure(x.dtype == dtype, || format!("expected {}, found {}", dtype.name(), x.dtype.name()))
}

pub(crate) fn number(x: &Node) -> Rule {
    ensure(x.dtype != DType::Bool, || format!("expected numbers, found {}", x.dtype.name()))
}

pub(crate) fn same(found: &[usize], expected: &[usize]) -> Rule {
    ensure(found == expected, || format!("expected {expected:?}, found {found:?}"))
}

/// The shape and type of another node.
pub(crate) fn like(x: &Node, with: &Node) -> Rule {
    of_type(x, with.dtype)?;
    same(&x.shape, &with.shape)
}

pub(crate) fn of_rank(shape: &[usize], rank: usize) -> Rule {
    ensure(shape.len() == rank, || format!("expected {rank} axes, found {shape:?}"))
}

pub(crate) fn has_axis(x: &Node, axis: usize) -> Rule {
    ensure(axis < x.shape.len(), || format!("no axis {axis} in {:?}", x.shape))
}

/// Refuses a start and two loops of so many steps of a length that leave an axis.
pub(crate) fn inside(axis: usize, x: &Node, start: usize, steps: [(usize, isize); 2]) -> Rule {
    if steps.iter().any(|&(count, _)| count == 0) {
        return Ok(());
    }
    let reach = |pick: fn(i128, i128) -> i128| {
        let ends = steps.map(|(count, step)| (count as i128 - 1) * step as i128);
        ends.into_iter().fold(start as i128, |end, by| end + pick(by, 0))
    };
    let (first, last, size) = (reach(i128::min), reach(i128::max), x.shape[axis]);
    ensure(0 <= first && last < size as i128, || {
        format!("elements {first} to {last} of axis {axis} of {:?}, which has {size}", x.shape)
    })
}
