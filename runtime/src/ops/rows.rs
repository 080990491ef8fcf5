//! Rows by number: lookup tables and counting.

use super::{admitted, axes_fit, number, numbers};
use crate::graph::{Grad, Stage, Value};
use crate::shape::Rows;
use crate::shape::check::{Check, Holds, Message, TensorType, Type};
use crate::shape::{DType, Dim, Shape};

/// `gather(table, index)`:
/// The rows of `table` that `index` names: `[V, D]` and `[B, T]` give `[B, T, D]`. Every entry of
/// `index` must be below V: those of an input are compared before a step runs, but for those that a [`select`](super::select)
/// replaces, as in `select(ids == -1, 0, ids)`; one that is computed must have such a
/// range, as `argmax`, `iota`, a clamp or arithmetic of such give it, or be promised by [`within`]. Where sizes are
/// constants, an index beyond the table is a compile error.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let table = g.constant(&Tensor::new([3, 1], [5.0, 6.0, 7.0])?);
/// let rows = iota::stage(&mut g, 2);
/// let y = gather::stage(&mut g, table, rows);
/// assert_eq!(g.value(y)?, Tensor::new([2, 1], [5.0, 6.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum gather {}

impl gather {
    /// Stages the lookup.
    pub fn stage(g: &mut Stage, table: impl Into<Value>, index: impl Into<Value>) -> Value {
        let (table, index) = (table.into(), index.into());
        let (tt, ti) = (g.ty(table), g.ty(index));
        admitted(g, |cx| Self::shape(cx, tt, ti), &[table, index], |g, v| g.gather(v[0], v[1]))
    }

    /// Stages the gradient of the table: rows that were looked up several times get the sum.
    pub fn grad(g: &mut Stage, table: impl Into<Value>, index: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (table, index) = (table.into(), index.into());
        let (tt, ti) = (g.ty(table), g.ty(index));
        let dout = super::fitting(g, "gather", |cx| Self::shape(cx, tt, ti), dout);
        let (Some(table), Some(index), Some(dout)) = (g.operand(table), g.operand(index), dout) else {
            return (None, None);
        };
        let rows = g[table].shape[0];
        (Some(g.scatter_add(index, dout, rows)), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, table: Type, index: Type) -> Type {
        let (Some(table), Some(index)) = (numbers(cx, "gather", table), index.operand(cx, "gather")) else {
            return Type::Unknown;
        };
        if !index.dtype.same(DType::I32) {
            return cx.error(Message::new().str("gather: expected Index, found ").str(index.dtype.name()));
        }
        if table.shape.rank() == 0 {
            return cx.error(Message::new().str("gather: the table has no axes"));
        }
        if !axes_fit(cx, "gather", index.shape.rank() + table.shape.rank() - 1)
            || !index.holds.names_rows(cx, "gather", table.shape.dim(0), false)
        {
            return Type::Unknown;
        }
        let shape = index.shape.join(&table.shape.range(1, table.shape.rank()));
        Type::Tensor(table.part(shape).depends(index.cut()))
    }
}

/// Zeros of `n` rows, to which each row of `x` is added where `index`, a list, says: the other way round of [`gather`].
#[allow(non_camel_case_types)]
pub(crate) enum added_rows {}

impl added_rows {
    pub(crate) fn stage(g: &mut Stage, x: impl Into<Value>, index: impl Into<Value>, n: impl Into<Value>) -> Value {
        let (x, index, n) = (x.into(), index.into(), n.into());
        let [tx, ti, tn] = [x, index, n].map(|value| g.ty(value));
        let rows = super::integer(n) as usize;
        admitted(
            g,
            |cx| Self::shape(cx, tx, ti, tn),
            &[x, index],
            |g, v| {
                let x = g.cast(v[0], DType::F32);
                g.scatter_add(v[1], x, rows)
            },
        )
    }

    pub(crate) fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        index: impl Into<Value>,
        n: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let (x, index, n) = (x.into(), index.into(), n.into());
        let [tx, ti, tn] = [x, index, n].map(|value| g.ty(value));
        let dout = super::fitting(g, "add_rows", |cx| Self::shape(cx, tx, ti, tn), dout);
        let (Some(index), Some(dout)) = (g.operand(index), dout) else { return (None, None, None) };
        (Some(g.gather(dout, index)), None, None)
    }

    #[track_caller]
    pub(crate) const fn shape(cx: &mut Check, x: Type, index: Type, n: Type) -> Type {
        let (Some(x), Some(index), Some(n)) =
            (numbers(cx, "add_rows", x), index.operand(cx, "add_rows"), number(cx, "add_rows", n))
        else {
            return Type::Unknown;
        };
        if x.shape.rank() == 0 || index.shape.rank() != 1 || !x.shape.dim(0).same(index.shape.dim(0)) {
            let message = Message::new().str("add_rows: ").shape(index.shape).str(" places for the slices of ");
            return cx.error(message.shape(x.shape));
        }
        let n = if n.is_unknown() { Dim::UNKNOWN } else { n };
        let shape = Shape::of(&[n]).join(&x.shape.range(1, x.shape.rank()));
        Type::Tensor(x.like(DType::F32, shape).depends(index.cut()))
    }
}

/// `iota(n)`:
/// 0, 1, …, n − 1 as an `Index`, such as the positions of a sequence.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = iota::stage(&mut g, 3);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum iota {}

impl iota {
    /// Stages the numbers.
    pub fn stage(g: &mut Stage, n: impl Into<Value>) -> Value {
        let n = n.into();
        let ty = g.ty(n);
        admitted(g, |cx| Self::shape(cx, ty), &[], |g, _| g.iota(super::integer(n) as usize))
    }

    /// There is no gradient.
    pub fn grad(_g: &mut Stage, _n: impl Into<Value>, _dout: Grad) -> Grad {
        None
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, n: Type) -> Type {
        let Some(n) = number(cx, "iota", n) else { return Type::Unknown };
        match n.get() {
            Some(size) if size < 0 => cx.error(Message::new().str("iota: expected a size, found ").dim(n)),
            Some(size) if size > 1 << 31 => {
                let message =
                    Message::new().str("iota: ").dim(n).str(" numbers, of which the last ones are no `Index`");
                cx.error(message)
            }
            size => {
                let ty = TensorType::new(DType::I32, Shape::of(&[if n.is_unknown() { Dim::UNKNOWN } else { n }]));
                Type::Tensor(match size {
                    Some(size) => ty.holding(Holds::count(size)),
                    None => ty,
                })
            }
        }
    }
}

/// `within(index, n)`:
/// The same `Index`, with the promise that its entries are at least 0 and below `n`: entries of an
/// input that break it are refused before a step runs. Entries that are computed, of which that is not known, are
/// compared when they are: one that breaks the promise is an error, and no parameter or state changes.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let classes = iota::stage(&mut g, 3);
/// let y = within::stage(&mut g, classes, 3);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0]);
/// let y = within::stage(&mut g, classes, 2);
/// assert!(g.value(y).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum within {}

impl within {
    /// Stages the promise.
    pub fn stage(g: &mut Stage, index: impl Into<Value>, n: impl Into<Value>) -> Value {
        let (index, n) = (index.into(), n.into());
        let (ti, tn) = (g.ty(index), g.ty(n));
        let rows = Rows::below(super::integer(n) as usize);
        admitted(g, |cx| Self::shape(cx, ti, tn), &[index], |g, v| g.within(v[0], rows))
    }

    /// There is no gradient.
    pub fn grad(_g: &mut Stage, _index: impl Into<Value>, _n: impl Into<Value>, _dout: Grad) -> (Grad, Grad) {
        (None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, index: Type, n: Type) -> Type {
        match promised(cx, "within", index, n, None) {
            Some((index, n, ty)) if index.holds.names_rows(cx, "within", n, true) => ty,
            _ => Type::Unknown,
        }
    }
}

/// `within_or(index, n, other)`:
/// [`within`], where entries may also be `other`, which stands for no row: such as −100 for targets
/// that a loss leaves out.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let classes = iota::stage(&mut g, 3);
/// let y = within_or::stage(&mut g, classes, 2, 2);
/// assert_eq!(g.value(y)?.data(), [0.0, 1.0, 2.0]);
/// let y = within_or::stage(&mut g, classes, 2, -100);
/// assert!(g.value(y).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum within_or {}

impl within_or {
    /// Stages the promise.
    pub fn stage(g: &mut Stage, index: impl Into<Value>, n: impl Into<Value>, other: impl Into<Value>) -> Value {
        let (index, n, other) = (index.into(), n.into(), other.into());
        let [ti, tn, to] = [index, n, other].map(|value| g.ty(value));
        let rows = Rows { count: super::integer(n) as usize, other: i32::try_from(super::integer(other)).ok() };
        admitted(g, |cx| Self::shape(cx, ti, tn, to), &[index], |g, v| g.within(v[0], rows))
    }

    /// There is no gradient.
    pub fn grad(
        _g: &mut Stage,
        _index: impl Into<Value>,
        _n: impl Into<Value>,
        _other: impl Into<Value>,
        _dout: Grad,
    ) -> (Grad, Grad, Grad) {
        (None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, index: Type, n: Type, other: Type) -> Type {
        let Some(other) = number(cx, "within_or", other) else { return Type::Unknown };
        match promised(cx, "within_or", index, n, other.get()) {
            Some((.., ty)) => ty,
            None => Type::Unknown,
        }
    }
}

/// An index, below what it is promised to be, and what it is then; `other` is what may stand for no row.
#[track_caller]
const fn promised(
    cx: &mut Check,
    op: &str,
    index: Type,
    n: Type,
    other: Option<isize>,
) -> Option<(TensorType, Dim, Type)> {
    let (Some(index), Some(n)) = (index.operand(cx, op), number(cx, op, n)) else { return None };
    if matches!(n.get(), Some(n) if n < 1) {
        cx.error(Message::new().str(op).str(": expected at least one row, found ").dim(n));
        return None;
    }
    if !index.dtype.same(DType::I32) {
        cx.error(Message::new().str(op).str(": expected Index, found ").str(index.dtype.name()));
        return None;
    }
    let other = match other {
        Some(x) if i32::MIN as isize <= x && x <= i32::MAX as isize => Some(x as i32),
        _ => None,
    };
    let holds = match n.get() {
        Some(n) => index.holds.within(Rows { count: n as usize, other }),
        None => Holds::open(DType::I32),
    };
    Some((index, n, Type::Tensor(index.holding(holds).cut())))
}
