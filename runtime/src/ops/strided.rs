//! Elements in steps: every n-th of an axis, and the diagonal of two.

use super::{admitted, axis, axis_of, integer, number};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{Dim, Shape};

/// `stride(x, axis, step)`:
/// Every `step`-th element of an axis, from the first on: PyTorch's `x[::step]`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([5], [1.0, 2.0, 3.0, 4.0, 5.0])?);
/// let y = stride::stage(&mut g, x, 0, 2);
/// assert_eq!(g.value(y)?.data(), [1.0, 3.0, 5.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum stride {}

impl stride {
    /// Stages the steps.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>, step: impl Into<Value>) -> Value {
        let (x, axis, step) = (x.into(), axis.into(), step.into());
        let [tx, ta, ts] = [x, axis, step].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta, ts),
            &[x],
            |g, v| {
                let (axis, step) = (axis_of(g, v[0], axis), integer(step));
                let mut shape = g[v[0]].shape.clone();
                let mut window = vec![(0, 1); shape.len()];
                window[axis].1 = step;
                shape[axis] = shape[axis].div_ceil(step as usize);
                g.slice(v[0], &window, &shape)
            },
        )
    }

    /// Stages the gradient: zeros where nothing was taken.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        step: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let (x, axis, step) = (x.into(), axis.into(), step.into());
        let [tx, ta, ts] = [x, axis, step].map(|value| g.ty(value));
        let dout = super::fitting(g, "stride", |cx| Self::shape(cx, tx, ta, ts), dout);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None) };
        let (axis, step) = (axis_of(g, x, axis), integer(step) as usize);
        let shape = g[x].shape.clone();
        // Each element in front of `step - 1` zeros, of which the last may be too many.
        let mut spread = g[dout].shape.clone();
        spread.insert(axis + 1, 1);
        let d = g.reshape(dout, &spread);
        spread[axis + 1] = step;
        let d = g.pad(d, &vec![0; spread.len()], &spread);
        spread.remove(axis + 1);
        spread[axis] *= step;
        let d = g.reshape(d, &spread);
        (Some(g.slice(d, &vec![(0, 1); shape.len()], &shape)), None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type, step: Type) -> Type {
        let Some(x) = x.operand(cx, "stride") else { return Type::Unknown };
        let (Some(axis), Some(step)) = (axis(cx, "stride", &x, at), number(cx, "stride", step)) else {
            return Type::Unknown;
        };
        let size = match (x.shape.dim(axis).get(), step.get()) {
            (_, Some(step)) if step < 1 => {
                return cx.error(Message::new().str("stride: expected a step of at least 1, found ").num(step));
            }
            (Some(n), Some(step)) => Dim::int((n + step - 1) / step),
            _ => Dim::UNKNOWN,
        };
        let step = match step.get() {
            Some(step) => step,
            None => return Type::Tensor(x.like(x.dtype, x.shape.with(axis, size))),
        };
        Type::Tensor(x.slice(axis, Dim::n(0), step, size))
    }
}

/// `diagonal(x, offset, a, b)`:
/// The diagonal of the axes `a` and `b`, which both go and come back as one at the end. `offset` is how
/// far above the main diagonal it lies, below it when negative.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let y = diagonal::stage(&mut g, x, 0, 0, 1);
/// assert_eq!(g.value(y)?.data(), [1.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
#[doc(alias = "diag")]
pub enum diagonal {}

/// Where a diagonal lies in a matrix: its first element and how many there are.
const fn place(rows: isize, columns: isize, offset: isize) -> (isize, isize, isize) {
    let (row, column) = if offset < 0 { (-offset, 0) } else { (0, offset) };
    let (below, beside) = (rows - row, columns - column);
    (row, column, if below < beside { below } else { beside })
}

impl diagonal {
    /// The axes other than `a` and `b`, then these.
    fn order(g: &Stage, x: Var, a: usize, b: usize) -> Vec<usize> {
        (0..g[x].shape.len()).filter(|&axis| axis != a && axis != b).chain([a, b]).collect()
    }

    /// The diagonal of two axes, as a view where the matrices lie in memory row by row.
    pub(super) fn build(g: &mut Stage, x: Var, offset: isize, a: usize, b: usize) -> Var {
        let order = Self::order(g, x, a, b);
        let turned = g.transpose(x, &order);
        let mut shape = g[turned].shape.clone();
        let last = shape.len() - 2;
        let (rows, columns) = (shape[last], shape[last + 1]);
        let (row, column, count) = place(rows as isize, columns as isize, offset);
        shape.truncate(last);
        shape.push(rows * columns);
        let flat = g.reshape(turned, &shape);
        let start = row as usize * columns + column as usize;
        let windows = g.windows(flat, last, start, (count as usize, columns as isize + 1), (1, 1));
        shape[last] = count as usize;
        g.reshape(windows, &shape)
    }

    /// The gradient of [`build`](Self::build): zeros around the diagonal.
    pub(super) fn back(g: &mut Stage, x: Var, offset: isize, a: usize, b: usize, dout: Var) -> Var {
        let order = Self::order(g, x, a, b);
        let (rows, columns) = (g[x].shape[a], g[x].shape[b]);
        let (row, column, count) = place(rows as isize, columns as isize, offset);
        let mut shape = g[dout].shape.clone();
        let last = shape.len() - 1;
        // Element i of the diagonal stands first in row i of a matrix with one column more, whose elements
        // in order are those from the start of the diagonal on.
        shape.push(1);
        let d = g.reshape(dout, &shape);
        shape[last + 1] = columns + 1;
        let d = g.pad(d, &vec![0; last + 2], &shape);
        shape.truncate(last);
        shape.push(count as usize * (columns + 1));
        let d = g.reshape(d, &shape);
        let start = row as usize * columns + column as usize;
        let size = shape[last].min(rows * columns - start);
        shape[last] = size;
        let d = g.slice(d, &vec![(0, 1); last + 1], &shape);
        let mut before = vec![0; last + 1];
        before[last] = start;
        shape[last] = rows * columns;
        let d = g.pad(d, &before, &shape);
        shape[last] = rows;
        shape.push(columns);
        let d = g.reshape(d, &shape);
        let mut back = vec![0; order.len()];
        for (i, axis) in order.into_iter().enumerate() {
            back[axis] = i;
        }
        g.transpose(d, &back)
    }

    /// Stages the diagonal.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        offset: impl Into<Value>,
        a: impl Into<Value>,
        b: impl Into<Value>,
    ) -> Value {
        let (x, offset, a, b) = (x.into(), offset.into(), a.into(), b.into());
        let [tx, to, ta, tb] = [x, offset, a, b].map(|value| g.ty(value));
        admitted(
            g,
            |cx| Self::shape(cx, tx, to, ta, tb),
            &[x],
            |g, v| {
                let (a, b) = (axis_of(g, v[0], a), axis_of(g, v[0], b));
                Self::build(g, v[0], integer(offset), a, b)
            },
        )
    }

    /// Stages the gradient: zeros around the diagonal.
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        offset: impl Into<Value>,
        a: impl Into<Value>,
        b: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad) {
        let args = [x.into(), offset.into(), a.into(), b.into()];
        let types = args.map(|value| g.ty(value));
        let rule = |cx: &mut Check| Self::shape(cx, types[0], types[1], types[2], types[3]);
        let (dout, [x, offset, a, b]) = (super::fitting(g, "diagonal", rule, dout), args);
        let (Some(x), Some(dout)) = (g.operand(x), dout) else { return (None, None, None, None) };
        let (a, b) = (axis_of(g, x, a), axis_of(g, x, b));
        (Some(Self::back(g, x, integer(offset), a, b, dout)), None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, offset: Type, a: Type, b: Type) -> Type {
        let Some(x) = x.operand(cx, "diagonal") else { return Type::Unknown };
        let (Some(offset), Some(a), Some(b)) =
            (number(cx, "diagonal", offset), axis(cx, "diagonal", &x, a), axis(cx, "diagonal", &x, b))
        else {
            return Type::Unknown;
        };
        if a == b {
            return cx.error(Message::new().str("diagonal: axis ").num(a as isize).str(" is named twice"));
        }
        let (rows, columns) = (x.shape.dim(a), x.shape.dim(b));
        let size = match (rows.get(), columns.get(), offset.get()) {
            (Some(rows), Some(columns), Some(offset)) => {
                let (.., count) = place(rows, columns, offset);
                if count < 1 {
                    let message = Message::new().str("diagonal: ").num(offset).str(" is outside of ");
                    return cx.error(message.shape(x.shape));
                }
                Dim::int(count)
            }
            (None, None, Some(0)) if rows.same(columns) => rows,
            _ => Dim::UNKNOWN,
        };
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < x.shape.rank() {
            if i != a && i != b {
                shape = shape.push(x.shape.dim(i));
            }
            i += 1;
        }
        Type::Tensor(x.part(shape.push(size)))
    }
}
