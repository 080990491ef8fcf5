//! The matrix product.

use super::{admitted, numbers};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::DType;
use crate::shape::check::{Check, Message, Type};

/// `matmul(a, b)`:
/// The matrix product over the last two axes, by NumPy's rule: outer axes are broadcast, and an
/// operand with a single axis is a row on the left and a column on the right.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let b = g.constant(&Tensor::new([2, 1], [5.0, 6.0])?);
/// let y = matmul::stage(&mut g, a, b);
/// assert_eq!(g.value(y)?, Tensor::new([2, 1], [17.0, 39.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum matmul {}

impl matmul {
    /// Stages the product.
    pub fn stage(g: &mut Stage, a: impl Into<Value>, b: impl Into<Value>) -> Value {
        let (a, b) = (a.into(), b.into());
        let (ta, tb) = (g.ty(a), g.ty(b));
        admitted(
            g,
            |cx| Self::shape(cx, ta, tb),
            &[a, b],
            |g, v| {
                let p = Product::new(g, v[0], v[1]);
                let y = g.matmul(p.a, p.b, false, false);
                g.reshape(y, &p.result)
            },
        )
    }

    /// Stages the gradients: dA = dY Bᵀ and dB = Aᵀ dY, summed over the axes that were broadcast.
    pub fn grad(g: &mut Stage, a: impl Into<Value>, b: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (a, b) = (a.into(), b.into());
        let (ta, tb) = (g.ty(a), g.ty(b));
        let dout = super::fitting(g, "matmul", |cx| Self::shape(cx, ta, tb), dout);
        let (Some(a), Some(b), Some(dout)) = (g.operand(a), g.operand(b), dout) else {
            return (None, None);
        };
        let p = Product::new(g, a, b);
        let y = g.matmul(p.a, p.b, false, false);
        let shape = g[y].shape.clone();
        let dy = g.reshape(dout, &shape);
        let rank = shape.len();
        let rows = g.rows_taken(dy, 1 << (rank - 1));
        // A weight is finite, so that no part of it need be left out.
        let columns = if g.is_weight(p.b) { None } else { g.rows_taken(dy, 1 << (rank - 2)) };
        let right = g.only_taken(columns, p.b);
        let left = if g.is_weight(p.a) { p.a } else { g.only_taken(rows, p.a) };
        let da = g.gradient_product(dy, right, false, true);
        let da = g.only_taken(rows, da);
        let db = g.gradient_product(left, dy, true, false);
        let db = g.only_taken(columns, db);
        let back = |g: &mut Stage, d: Var, to: Var, matrix: &[usize]| {
            let sizes = g[to].shape.clone();
            let sum = g.unbroadcast(d, matrix);
            Some(g.reshape(sum, &sizes))
        };
        (back(g, da, a, &p.matrix_a), back(g, db, b, &p.matrix_b))
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, a: Type, b: Type) -> Type {
        let (Some(a), Some(b)) = (numbers(cx, "matmul", a), numbers(cx, "matmul", b)) else { return Type::Unknown };
        let (ra, rb) = (a.shape.rank(), b.shape.rank());
        if ra == 0 || rb == 0 {
            return cx.error(Message::new().str("matmul: an operand has no axes"));
        }
        let inner_a = a.shape.dim(ra - 1);
        let inner_b = b.shape.dim(if rb == 1 { 0 } else { rb - 2 });
        let outer_a = a.shape.range(0, ra.saturating_sub(2));
        let outer_b = b.shape.range(0, rb.saturating_sub(2));
        let outer = outer_a.broadcast(&outer_b);
        let (Some(mut shape), true) = (outer, inner_a.same(inner_b)) else {
            let message = Message::new().str("matmul: ").shape(a.shape).str(" times ").shape(b.shape);
            return cx.error(message.str(": inner sizes must be equal and outer ones broadcast"));
        };
        if ra > 1 {
            shape = shape.push(a.shape.dim(ra - 2));
        }
        if rb > 1 {
            shape = shape.push(b.shape.dim(rb - 1));
        }
        Type::Tensor(a.like(DType::F32, shape).computed().depends(b))
    }
}

/// Both operands with equal outer axes. Where the right one has a single matrix, all rows of the left one
/// make one tall matrix: one large product in place of many small ones.
struct Product {
    a: Var,
    b: Var,
    /// The operands' shapes as matrices, before outer axes were broadcast.
    matrix_a: Vec<usize>,
    matrix_b: Vec<usize>,
    result: Vec<usize>,
}

impl Product {
    fn new(g: &mut Stage, a: Var, b: Var) -> Product {
        let (sa, sb) = (g[a].shape.clone(), g[b].shape.clone());
        let ma = if let [n] = sa[..] { vec![1, n] } else { sa.clone() };
        let mb = if let [n] = sb[..] { vec![n, 1] } else { sb.clone() };
        let (outer_a, outer_b) = (&ma[..ma.len() - 2], &mb[..mb.len() - 2]);
        let rank = outer_a.len().max(outer_b.len());
        let size = |outer: &[usize], i: usize| (i + outer.len()).checked_sub(rank).map_or(1, |i| outer[i]);
        let outer: Vec<usize> = (0..rank)
            .map(|i| match (size(outer_a, i), size(outer_b, i)) {
                (1, n) => n,
                (n, _) => n,
            })
            .collect();
        let mut result = outer.clone();
        if sa.len() > 1 {
            result.push(ma[ma.len() - 2]);
        }
        if sb.len() > 1 {
            result.push(mb[mb.len() - 1]);
        }
        if outer_b.iter().all(|&n| n == 1) && !outer_a.is_empty() {
            let k = ma[ma.len() - 1];
            let matrix_a = vec![ma[..ma.len() - 1].iter().product(), k];
            let matrix_b = mb[mb.len() - 2..].to_vec();
            let (a, b) = (g.reshape(a, &matrix_a), g.reshape(b, &matrix_b));
            return Product { a, b, matrix_a, matrix_b, result };
        }
        let full = |m: &[usize]| [&outer[..], &m[m.len() - 2..]].concat();
        let (full_a, full_b) = (full(&ma), full(&mb));
        let (a, b) = (g.reshape(a, &ma), g.reshape(b, &mb));
        Product { a: g.broadcast(a, &full_a), b: g.broadcast(b, &full_b), matrix_a: ma, matrix_b: mb, result }
    }
}
