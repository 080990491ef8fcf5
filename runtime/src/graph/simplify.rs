//! Simplification of nodes as they are made: constants are folded, identities removed, views composed.
//!
//! Every rule keeps the bits of the result, except for the sign of zero. So a product with a constant zero is not
//! folded: it is NaN where the other factor is infinite or NaN. Only zeros of gradients are absorbing (see `guard`).

use super::{Node, Op, Stage, Var};
use crate::ir::elementwise::{Binary, Unary};
use crate::ir::reduce::Reduce;
use crate::shape::DType;

/// The value that `node` simplifies to, or else the node to add.
pub(crate) fn simplify(g: &mut Stage, node: Node) -> Result<Var, Node> {
    match &node.op {
        Op::Unary(op) => unary(g, *op, node),
        Op::Binary(op) => binary(g, *op, node),
        Op::Cast => cast(g, node),
        Op::Select if node.args[1] == node.args[2] => Ok(node.args[1]),
        Op::Reduce(op, axes) => reduce(g, *op, *axes, node),
        Op::Reshape
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Windows { .. }
        | Op::Pad(_)
        | Op::Concat(_) => layout(g, node),
        // A weight is finite, so that its product with zero is zero: the first step of recurrent layers.
        &Op::MatMul(..) if g.is_zero(node.args[0]) && g.is_weight(node.args[1]) => Ok(g.fill(0.0, &node.shape)),
        Op::MatMul(..) => Err(matmul(g, node)),
        _ => Err(node),
    }
}

/// The value of `v` if it is a constant number.
fn constant(g: &Stage, v: Var) -> Option<f32> {
    match g[v].op {
        Op::Const(bits) if g[v].dtype == DType::F32 => Some(f32::from_bits(bits)),
        _ => None,
    }
}

fn unary(g: &mut Stage, op: Unary, node: Node) -> Result<Var, Node> {
    let x = node.args[0];
    if let Some(value) = constant(g, x) {
        return Ok(g.fill(op.reference(value as f64) as f32, &node.shape));
    }
    match (&op, &g[x].op) {
        (Unary::Neg, Op::Unary(Unary::Neg)) => Ok(g[x].args[0]),
        _ => Err(node),
    }
}

fn binary(g: &mut Stage, op: Binary, mut node: Node) -> Result<Var, Node> {
    let (a, b) = (node.args[0], node.args[1]);
    if node.dtype == DType::F32 {
        let (ca, cb) = (constant(g, a), constant(g, b));
        if let (Some(x), Some(y)) = (ca, cb) {
            return Ok(g.fill(op.reference(x as f64, y as f64) as f32, &node.shape));
        }
        match (op, ca, cb) {
            (Binary::Add | Binary::Sub, _, Some(0.0)) | (Binary::Mul | Binary::Div, _, Some(1.0)) => return Ok(a),
            (Binary::Add, Some(0.0), _) | (Binary::Mul, Some(1.0), _) => return Ok(b),
            (Binary::Sub, Some(0.0), _) | (Binary::Mul, Some(-1.0), _) => return Ok(g.unary(Unary::Neg, b)),
            (Binary::Mul | Binary::Div, _, Some(-1.0)) => return Ok(g.unary(Unary::Neg, a)),
            // A power of two has an exact reciprocal.
            (Binary::Div, _, Some(y)) if y.is_normal() && y.to_bits() << 9 == 0 && (1.0 / y).is_normal() => {
                let reciprocal = g.fill(1.0 / y, &node.shape);
                return Ok(g.binary(Binary::Mul, a, reciprocal));
            }
            _ => {}
        }
        if let Op::Unary(Unary::Neg) = g[b].op {
            let y = g[b].args[0];
            match op {
                Binary::Add => return Ok(g.binary(Binary::Sub, a, y)),
                Binary::Sub => return Ok(g.binary(Binary::Add, a, y)),
                _ => {}
            }
        }
    }
    if op == Binary::Add
        && let Some(joined) = joined(g, a, b).or_else(|| joined(g, b, a))
    {
        return Ok(joined);
    }
    if matches!(op, Binary::Add | Binary::Mul) {
        node.args.sort();
    }
    Err(node)
}

/// The sum of two values padded with zeros along one axis, if the second starts where the first ends: their
/// concatenation, padded. The gradients of adjacent slices are such values.
fn joined(g: &mut Stage, a: Var, b: Var) -> Option<Var> {
    let ((x, axis, start), (y, other, next)) = (padded(g, a)?, padded(g, b)?);
    if axis != other || start.checked_add(g[x].shape[axis]) != Some(next) {
        return None;
    }
    let both = g.concat(&[x, y], axis);
    let mut before = vec![0; g[a].shape.len()];
    before[axis] = start;
    let shape = g[a].shape.clone();
    Some(g.pad(both, &before, &shape))
}

/// If `v` is padded along a single axis: the value that is padded, the axis, and where on the axis the value starts.
fn padded(g: &Stage, v: Var) -> Option<(Var, usize, usize)> {
    let Op::Pad(before) = &g[v].op else { return None };
    let x = g[v].args[0];
    let mut axes = (0..before.len()).filter(|&axis| g[x].shape[axis] != g[v].shape[axis]);
    let axis = axes.next().filter(|_| axes.next().is_none())?;
    Some((x, axis, before[axis]))
}

fn cast(g: &mut Stage, node: Node) -> Result<Var, Node> {
    let x = node.args[0];
    if g[x].dtype == node.dtype {
        return Ok(x);
    }
    match (constant(g, x), node.dtype) {
        (Some(value), DType::I32) => Ok(g.push(Op::Const(value as i32 as u32), vec![], node.shape, DType::I32)),
        _ => Err(node),
    }
}

fn reduce(g: &mut Stage, op: Reduce, axes: u8, mut node: Node) -> Result<Var, Node> {
    let x = node.args[0];
    let mut needed = 0;
    let mut count = 1;
    for (axis, &size) in g[x].shape.iter().enumerate() {
        if axes >> axis & 1 == 1 && size != 1 {
            needed |= 1 << axis;
            count = size.saturating_mul(count);
        }
    }
    if needed == 0 {
        return Ok(x);
    }
    if let Some(value) = constant(g, x).filter(|_| count > 0) {
        let value = match op {
            Reduce::Sum => value * count as f32,
            Reduce::Max | Reduce::Min => value,
            Reduce::Prod => value.powi(count as i32),
        };
        return Ok(g.fill(value, &node.shape));
    }
    node.op = Op::Reduce(op, needed);
    Err(node)
}

/// Views of constants become constants, views without effect are removed, and views of the same kind compose.
fn layout(g: &mut Stage, node: Node) -> Result<Var, Node> {
    let x = node.args[0];
    let fills = matches!(node.op, Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Slice(_) | Op::Windows { .. });
    if let (Op::Const(_), true) = (&g[x].op, fills) {
        return Ok(g.push(g[x].op.clone(), vec![], node.shape, node.dtype));
    }
    let unchanged = g[x].shape == node.shape
        && match &node.op {
            Op::Reshape | Op::Broadcast | Op::Pad(_) => true,
            Op::Concat(_) => node.args.len() == 1,
            Op::Transpose(axes) => axes.is_sorted(),
            Op::Slice(window) => window.iter().all(|&w| w == (0, 1)),
            _ => false,
        };
    if unchanged {
        return Ok(x);
    }
    if let Op::Concat(axis) = node.op
        && node.args.iter().any(|&arg| g[arg].op == node.op)
    {
        let parts = |&arg: &Var| if g[arg].op == node.op { g[arg].args.clone() } else { vec![arg] };
        let parts: Vec<Var> = node.args.iter().flat_map(parts).collect();
        return Ok(g.concat(&parts, axis));
    }
    match (&node.op, &g[x].op) {
        (Op::Reshape, Op::Reshape) => {
            let inner = g[x].args[0];
            Ok(g.reshape(inner, &node.shape))
        }
        (Op::Broadcast, Op::Broadcast) => {
            let inner = g[x].args[0];
            Ok(g.broadcast(inner, &node.shape))
        }
        (Op::Transpose(outer), Op::Transpose(first)) => {
            let axes: Vec<usize> = outer.iter().map(|&axis| first[axis]).collect();
            let inner = g[x].args[0];
            Ok(g.transpose(inner, &axes))
        }
        // Outermost axes of size one are removed before a transposition and added after it, so that a batch of one
        // matrix is handled as a matrix.
        (Op::Reshape, Op::Transpose(axes)) if let Some(ones) = ones_before(&g[x].shape, &node.shape) => {
            let Some(axes) = order_after(axes, ones) else { return Err(node) };
            let inner = g[x].args[0];
            let shape = g[inner].shape[ones..].to_vec();
            let inner = g.reshape(inner, &shape);
            Ok(g.transpose(inner, &axes))
        }
        (Op::Transpose(axes), Op::Reshape) if let Some(ones) = ones_before(&g[x].shape, &g[g[x].args[0]].shape) => {
            let Some(axes) = order_after(axes, ones) else { return Err(node) };
            let inner = g[x].args[0];
            let inner = g.transpose(inner, &axes);
            Ok(g.reshape(inner, &node.shape))
        }
        // (A B)ᵀ = Bᵀ Aᵀ: the gradient of a transposed weight needs no copy.
        (Op::Transpose(axes), Op::MatMul(ta, tb)) if swaps_last(axes) => {
            let (a, b, ta, tb) = (g[x].args[0], g[x].args[1], *ta, *tb);
            Ok(g.matmul(b, a, !tb, !ta))
        }
        _ => Err(node),
    }
}

/// The number n > 0 of axes of size one, if `shape` is n such axes followed by `inner`.
fn ones_before(shape: &[usize], inner: &[usize]) -> Option<usize> {
    let ones = shape.strip_suffix(inner)?;
    (!ones.is_empty() && ones.iter().all(|&n| n == 1)).then_some(ones.len())
}

/// The order of the axes after the first `n`, if a transposition keeps those in place.
fn order_after(axes: &[usize], n: usize) -> Option<Vec<usize>> {
    axes[..n].iter().copied().eq(0..n).then(|| axes[n..].iter().map(|axis| axis - n).collect())
}

/// Whether a transposition swaps the last two axes alone.
fn swaps_last(axes: &[usize]) -> bool {
    let rank = axes.len();
    rank >= 2 && axes[rank - 2] == rank - 1 && axes[rank - 1] == rank - 2 && axes[..rank - 2].is_sorted()
}

/// Folds transposed arguments of a matrix product into its flags.
fn matmul(g: &Stage, mut node: Node) -> Node {
    let Op::MatMul(mut ta, mut tb) = node.op else { return node };
    let swapped = |v: Var| match &g[v].op {
        Op::Transpose(axes) if swaps_last(axes) => Some(g[v].args[0]),
        _ => None,
    };
    if let Some(a) = swapped(node.args[0]) {
        node.args[0] = a;
        ta = !ta;
    }
    if let Some(b) = swapped(node.args[1]) {
        node.args[1] = b;
        tb = !tb;
    }
    node.op = Op::MatMul(ta, tb);
    node
}
