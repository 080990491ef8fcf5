//! Features in equal parts: heads of attention, and the two halves that rotary embedding turns.

use super::{admitted, integer, number, numbers};
use crate::graph::{Grad, Stage, Value};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{DType, Dim};

/// One of `parts` equal parts of a size; `None` where it is known that there are none. Of a symbol that is
/// only known when the network runs.
const fn part(whole: Dim, parts: Dim) -> Option<Dim> {
    match whole.over(parts) {
        None if whole.get().is_none() || parts.get().is_none() => Some(Dim::UNKNOWN),
        part => part,
    }
}

/// `split_heads(x, heads)`:
/// The features of each place as `heads` parts: `[B, T, D]` to `[B, heads, T, D / heads]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 2, 6], vec![0.0; 12])?);
/// let y = split_heads::stage(&mut g, x, 3);
/// assert_eq!(g.value(y)?.shape(), [1, 3, 2, 2]);
/// split_heads::stage(&mut g, x, 4);
/// assert_eq!(g.error(), Some("heads 4 do not divide width 6"));
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum split_heads {}

impl split_heads {
    /// Stages the parts.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, heads: impl Into<Value>) -> Value {
        let (x, heads) = (x.into(), heads.into());
        let (tx, th) = (g.ty(x), g.ty(heads));
        admitted(
            g,
            |cx| Self::shape(cx, tx, th),
            &[x],
            |g, v| {
                let (shape, heads) = (g[v[0]].shape.clone(), integer(heads) as usize);
                let parts = g.reshape(v[0], &[shape[0], shape[1], heads, shape[2] / heads]);
                g.transpose(parts, &[0, 2, 1, 3])
            },
        )
    }

    /// Stages the gradient: the parts put together.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, heads: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (x, heads) = (x.into(), heads.into());
        let (tx, th) = (g.ty(x), g.ty(heads));
        let dout = super::fitting(g, "split_heads", |cx| Self::shape(cx, tx, th), dout);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None) };
        let shape = g[x].shape.clone();
        let parts = g.transpose(dout, &[0, 2, 1, 3]);
        (Some(g.reshape(parts, &shape)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, heads: Type) -> Type {
        let Some(x) = x.operand(cx, "split_heads") else { return Type::Unknown };
        let Some(heads) = number(cx, "split_heads", heads) else { return Type::Unknown };
        if x.shape.rank() != 3 {
            let message = Message::new().str("split_heads: expected [batch, time, width], found ");
            return cx.error(message.shape(x.shape));
        }
        let width = x.shape.dim(2);
        let Some(part) = part(width, heads) else {
            return cx.error(Message::new().str("heads ").dim(heads).str(" do not divide width ").dim(width));
        };
        let shape = x.shape.with(2, heads).push(part);
        Type::Tensor(x.permuted(shape.with(1, heads).with(2, x.shape.dim(1))))
    }
}

/// `group_heads(x, groups)`:
/// Heads of queries that share keys and values, as rows of one matrix: `[B, H, T, D]` to
/// `[B, groups, H / groups T, D]`. Each group is a run of heads, as PyTorch's `enable_gqa` has it, and no
/// element moves.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 4, 3, 2], vec![0.0; 24])?);
/// let y = group_heads::stage(&mut g, x, 2);
/// assert_eq!(g.value(y)?.shape(), [1, 2, 6, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum group_heads {}

impl group_heads {
    /// Stages the groups.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, groups: impl Into<Value>) -> Value {
        let (x, groups) = (x.into(), groups.into());
        let (tx, tg) = (g.ty(x), g.ty(groups));
        admitted(
            g,
            |cx| Self::shape(cx, tx, tg),
            &[x],
            |g, v| {
                let (shape, groups) = (g[v[0]].shape.clone(), integer(groups) as usize);
                g.reshape(v[0], &[shape[0], groups, shape[1] / groups * shape[2], shape[3]])
            },
        )
    }

    /// Stages the gradient of the heads.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, _groups: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (Some(x), Some(dout)) = (g.operand(x.into()), dout) else { return (None, None) };
        let shape = g[x].shape.clone();
        (Some(g.reshape(dout, &shape)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, groups: Type) -> Type {
        let Some(x) = x.operand(cx, "group_heads") else { return Type::Unknown };
        let Some(groups) = number(cx, "group_heads", groups) else { return Type::Unknown };
        if x.shape.rank() != 4 {
            let message = Message::new().str("group_heads: expected [batch, heads, time, width], found ");
            return cx.error(message.shape(x.shape));
        }
        let heads = x.shape.dim(1);
        let Some(run) = part(heads, groups) else {
            let message = Message::new().dim(groups).str(" heads of keys and values do not divide ").dim(heads);
            return cx.error(message.str(" heads of queries"));
        };
        let shape = x.shape.with(1, groups).with(2, run.times(x.shape.dim(2)));
        Type::Tensor(x.shown(shape))
    }
}

/// `halves(x, interleaved)`:
/// The two halves of the last axis: the first and the second one, or with `interleaved` the elements
/// at even and at odd places.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let (a, b) = halves::stage(&mut g, x, false);
/// assert_eq!([g.value(a)?.data(), g.value(b)?.data()], [[1.0, 2.0], [3.0, 4.0]]);
/// let (a, b) = halves::stage(&mut g, x, true);
/// assert_eq!([g.value(a)?.data(), g.value(b)?.data()], [[1.0, 3.0], [2.0, 4.0]]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum halves {}

impl halves {
    /// Stages both halves.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, interleaved: bool) -> (Value, Value) {
        let x = x.into();
        let tx = g.ty(x);
        let mut half = |second: bool| {
            admitted(
                g,
                |cx| Self::shape(cx, tx, Type::Bool(interleaved)).0,
                &[x],
                |g, v| {
                    let mut shape = g[v[0]].shape.clone();
                    let last = shape.len() - 1;
                    shape[last] /= 2;
                    let mut window = vec![(0, 1); shape.len()];
                    let second = second as usize;
                    window[last] = if interleaved { (second, 2) } else { (second * shape[last], 1) };
                    g.slice(v[0], &window, &shape)
                },
            )
        };
        (half(false), half(true))
    }

    /// Stages the gradient: the halves put together.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, interleaved: bool, (da, db): (Grad, Grad)) -> (Grad, Grad) {
        let x = x.into();
        let tx = g.ty(x);
        let mut half = |d: Grad| super::fitting(g, "halves", |cx| Self::shape(cx, tx, Type::Unknown).0, d);
        let (da, db) = (half(da), half(db));
        let (Some(x), Some(some)) = (g.operand(x), da.or(db)) else { return (None, None) };
        let shape = g[x].shape.clone();
        let mut part = g[some].shape.clone();
        let last = part.len() - 1;
        let zeros = g.fill(0.0, &part);
        let mut parts = [da.unwrap_or(zeros), db.unwrap_or(zeros)];
        if interleaved {
            part.push(1);
            parts = parts.map(|d| g.reshape(d, &part));
            let pairs = g.concat(&parts, last + 1);
            (Some(g.reshape(pairs, &shape)), None)
        } else {
            (Some(g.concat(&parts, last)), None)
        }
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, _interleaved: Type) -> (Type, Type) {
        let Some(x) = numbers(cx, "halves", x) else { return (Type::Unknown, Type::Unknown) };
        let rank = x.shape.rank();
        if rank > 0
            && let Some(half) = part(x.shape.dim(rank - 1), Dim::n(2))
        {
            let half = Type::Tensor(x.like(DType::F32, x.shape.with(rank - 1, half)));
            return (half, half);
        }
        cx.error(Message::new().str("halves: the width of ").shape(x.shape).str(" is odd"));
        (Type::Unknown, Type::Unknown)
    }
}
