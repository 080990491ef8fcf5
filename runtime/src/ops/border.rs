//! Padding by the elements themselves: mirrored, repeated, or from the other end.

use super::{axis, axis_of, integer, number};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::reduce::Reduce;
use crate::shape::check::{Check, Message, TensorType, Type};

/// What a border is made of.
#[derive(Clone, Copy, PartialEq)]
enum Border {
    Reflect,
    Replicate,
    Circular,
}

primitive! {
    /// An axis with its elements mirrored at both ends, the outermost not repeated: PyTorch's `pad` in the
    /// mode `reflect`. At most as many as there are elements less one.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
    /// let y = pad_reflect::stage(&mut g, x, 0, 2, 1);
    /// assert_eq!(g.value(y)?.data(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pad_reflect(x; axis, before, after)
    stage |g| framed(g, x, Border::Reflect, axis, before, after),
    grad |g, d| [Some(unframed(g, x, d, Border::Reflect, axis, before, after))],
    shape |cx, x| border(cx, "pad_reflect", x, axis, before, after, Some(1)),
}

primitive! {
    /// An axis with its first and last element repeated: PyTorch's `pad` in the mode `replicate`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let y = pad_replicate::stage(&mut g, x, 0, 2, 1);
    /// assert_eq!(g.value(y)?.data(), [1.0, 1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pad_replicate(x; axis, before, after)
    stage |g| framed(g, x, Border::Replicate, axis, before, after),
    grad |g, d| [Some(unframed(g, x, d, Border::Replicate, axis, before, after))],
    shape |cx, x| border(cx, "pad_replicate", x, axis, before, after, None),
}

primitive! {
    /// An axis that goes on at each end with the elements from the other: PyTorch's `pad` in the mode
    /// `circular`. At most as many as there are elements.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
    /// let y = pad_circular::stage(&mut g, x, 0, 1, 2);
    /// assert_eq!(g.value(y)?.data(), [3.0, 1.0, 2.0, 3.0, 1.0, 2.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pad_circular(x; axis, before, after)
    stage |g| framed(g, x, Border::Circular, axis, before, after),
    grad |g, d| [Some(unframed(g, x, d, Border::Circular, axis, before, after))],
    shape |cx, x| border(cx, "pad_circular", x, axis, before, after, Some(0)),
}

/// The shape rule. `less`: a border has at most as many elements as the axis, less this.
#[track_caller]
const fn border(
    cx: &mut Check,
    op: &str,
    x: TensorType,
    at: Type,
    before: Type,
    after: Type,
    less: Option<isize>,
) -> Type {
    let (Some(axis), Some(before), Some(after)) = (axis(cx, op, &x, at), number(cx, op, before), number(cx, op, after))
    else {
        return Type::Unknown;
    };
    let size = x.shape.dim(axis);
    if let (Some(first), Some(last)) = (before.get(), after.get()) {
        let most = if first > last { first } else { last };
        if first < 0 || last < 0 {
            let message = Message::new().str(op).str(": expected sizes, found ").num(first).str(" and ");
            return cx.error(message.num(last));
        }
        if let Some(n) = size.get()
            && (n == 0 || matches!(less, Some(less) if most > n - less))
        {
            let message = Message::new().str(op).str(": a border of ").num(most).str(" is too large for axis ");
            return cx.error(message.num(axis as isize).str(" of ").shape(x.shape));
        }
    }
    Type::Tensor(x.permuted(x.shape.with(axis, size.plus(before).plus(after))))
}

/// Where the `before` elements in front and the `after` behind are found: at which element each of them
/// starts, and how far apart the next one is.
fn sources(border: Border, n: usize, before: usize) -> [(usize, isize); 2] {
    match border {
        Border::Reflect => [(before, -1), (n.saturating_sub(2), -1)],
        Border::Replicate => [(0, 0), (n - 1, 0)],
        Border::Circular => [(n - before, 1), (0, 1)],
    }
}

fn framed(g: &mut Stage, x: Var, border: Border, axis: Value, before: Value, after: Value) -> Var {
    let axis = axis_of(g, x, axis);
    let (before, after) = (integer(before) as usize, integer(after) as usize);
    let shape = g[x].shape.clone();
    let [front, back] = sources(border, shape[axis], before);
    let part = |g: &mut Stage, (start, step): (usize, isize), len: usize| {
        let mut window = vec![(0, 1); shape.len()];
        window[axis] = (start, if step == 0 { 1 } else { step });
        let mut sizes = shape.clone();
        sizes[axis] = if step == 0 { 1 } else { len };
        let part = g.slice(x, &window, &sizes);
        sizes[axis] = len;
        g.broadcast(part, &sizes)
    };
    let mut parts = Vec::new();
    if before > 0 {
        parts.push(part(g, front, before));
    }
    parts.push(x);
    if after > 0 {
        parts.push(part(g, back, after));
    }
    if let [only] = parts[..] { only } else { g.concat(&parts, axis) }
}

/// The gradient: each border is added to the elements that it shows.
fn unframed(g: &mut Stage, x: Var, d: Var, border: Border, axis: Value, before: Value, after: Value) -> Var {
    let axis = axis_of(g, x, axis);
    let (before, after) = (integer(before) as usize, integer(after) as usize);
    let shape = g[x].shape.clone();
    let n = shape[axis];
    let cut = |g: &mut Stage, start: usize, step: isize, len: usize| {
        let mut window = vec![(0, 1); shape.len()];
        window[axis] = (start, step);
        let mut sizes = shape.clone();
        sizes[axis] = len;
        g.slice(d, &window, &sizes)
    };
    let mut sum = cut(g, before, 1, n);
    let parts = [(0, before), (before + n, after)];
    for ((start, step), (place, len)) in sources(border, n, before).into_iter().zip(parts) {
        if len == 0 {
            continue;
        }
        // The elements in the order of the axis, then placed on it.
        let (part, first) = match step {
            0 => {
                let part = cut(g, place, 1, len);
                (g.reduce(Reduce::Sum, part, 1 << axis), start)
            }
            -1 => (cut(g, place + len - 1, -1, len), start + 1 - len),
            _ => (cut(g, place, 1, len), start),
        };
        let mut offsets = vec![0; shape.len()];
        offsets[axis] = first;
        let part = g.pad(part, &offsets, &shape);
        sum = g.binary(crate::ir::elementwise::Binary::Add, sum, part);
    }
    sum
}
