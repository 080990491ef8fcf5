//! Lists of tensors: one tensor as several, and several as one.
//!
//! In a body the list is taken apart where it is made, `let [q, k, v] = chunk(x, -1);`, and the number of
//! names says how many parts there are.

use super::{admitted, axis, axis_of, concat, list, number, squeeze, unsqueeze};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::Dim;
use crate::shape::check::{Check, Message, TensorType, Type};

/// The parts of an axis with these sizes, one behind the other.
fn cut<const N: usize>(g: &mut Stage, x: Var, axis: usize, sizes: [usize; N]) -> [Value; N] {
    let mut window = vec![(0, 1); g[x].shape.len()];
    let mut shape = g[x].shape.clone();
    sizes.map(|size| {
        shape[axis] = size;
        let part = g.slice(x, &window, &shape);
        window[axis].0 += size;
        Value::Var(part)
    })
}

/// The gradient of [`cut`]: those of the parts put together, zeros where a part has none.
fn join<const N: usize>(g: &mut Stage, x: Var, axis: usize, sizes: [usize; N], douts: [Grad; N]) -> Grad {
    if douts.iter().all(Option::is_none) {
        return None;
    }
    let mut shape = g[x].shape.clone();
    let mut parts = Vec::with_capacity(N);
    for (dout, size) in douts.into_iter().zip(sizes) {
        shape[axis] = size;
        parts.push(dout.unwrap_or_else(|| g.fill(0.0, &shape)));
    }
    Some(g.concat(&parts, axis))
}

/// The tensor that is taken apart, if the rule admits the arguments.
fn whole<const N: usize>(g: &mut Stage, x: Value, rule: impl FnOnce(&mut Check) -> [Type; N]) -> Option<Var> {
    g.checked(|cx| rule(cx).first().copied().unwrap_or(Type::Unknown))?;
    g.operand(x)
}

/// Stages the parts of an axis if the rule admits the arguments; `sizes` are those of the parts of an axis of
/// so many elements.
fn parts<const N: usize>(
    g: &mut Stage,
    x: Value,
    axis: Value,
    rule: impl FnOnce(&mut Check) -> [Type; N],
    sizes: impl FnOnce(usize) -> [usize; N],
) -> [Value; N] {
    let Some(x) = whole(g, x, rule) else { return [Value::Unknown; N] };
    let axis = axis_of(g, x, axis);
    let sizes = sizes(g[x].shape[axis]);
    cut(g, x, axis, sizes)
}

/// `chunk(x, axis)`:
/// The tensor as equal parts along an axis, as many as there are names: `let [q, k, v] = chunk(x, -1);`.
///
/// ```
/// use downhill::prelude::*;
///
/// /// The first half of each row times the second.
/// #[network]
/// pub fn halves(x: Tensor) -> Tensor {
///     let [a, b] = chunk(x, -1);
///     a * b
/// }
///
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = halves::stage(&mut g, x);
/// assert_eq!(g.value(y)?.data(), [3.0, 8.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum chunk {}

impl chunk {
    /// Stages the parts.
    pub fn stage<const N: usize>(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> [Value; N] {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        parts(g, x, axis, |cx| Self::shape(cx, tx, ta), |n| [n / N; N])
    }

    /// Stages the gradient: those of the parts put together.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        douts: [Grad; N],
    ) -> (Grad, Grad) {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        let Some(x) = whole(g, x, |cx| Self::shape::<N>(cx, tx, ta)) else { return (None, None) };
        let axis = axis_of(g, x, axis);
        let size = g[x].shape[axis] / N;
        (join(g, x, axis, [size; N], douts), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, x: Type, at: Type) -> [Type; N] {
        let Some(x) = x.operand(cx, "chunk") else { return [Type::Unknown; N] };
        let Some(axis) = axis(cx, "chunk", &x, at) else { return [Type::Unknown; N] };
        match if N == 0 { None } else { x.shape.dim(axis).over(Dim::n(N)) } {
            Some(size) => {
                let (mut parts, mut i) = ([Type::Unknown; N], 0);
                while i < N {
                    parts[i] = Type::Tensor(x.slice(axis, size.times(Dim::n(i)), 1, size));
                    i += 1;
                }
                parts
            }
            None => {
                let message = Message::new().str("chunk: ").num(N as isize).str(" parts do not divide ");
                cx.error(message.dim(x.shape.dim(axis)));
                [Type::Unknown; N]
            }
        }
    }
}

/// `split(x, sizes, axis)`:
/// The tensor as parts of these sizes along an axis: `let [a, b] = split(x, [2, 3], -1);`. One size in
/// place of a list is that of all parts; the last may be smaller.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([3], [1.0, 2.0, 3.0])?);
/// let [a, b] = split::stage(&mut g, x, [1, 2], 0);
/// assert_eq!(g.value(a)?.data(), [1.0]);
/// assert_eq!(g.value(b)?.data(), [2.0, 3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum split {}

impl split {
    /// The sizes of `N` parts of an axis of `n` elements, which the shape rule has accepted.
    fn sizes<const N: usize>(sizes: Value, n: usize) -> [usize; N] {
        match sizes {
            Value::Ints { .. } => std::array::from_fn(|i| list(sizes)[i] as usize),
            one => {
                let size = super::integer(one) as usize;
                std::array::from_fn(|i| size.min(n - i * size))
            }
        }
    }

    /// Stages the parts.
    pub fn stage<const N: usize>(
        g: &mut Stage,
        x: impl Into<Value>,
        sizes: impl Into<Value>,
        axis: impl Into<Value>,
    ) -> [Value; N] {
        let (x, sizes, axis) = (x.into(), sizes.into(), axis.into());
        let [tx, ts, ta] = [x, sizes, axis].map(|value| g.ty(value));
        parts(g, x, axis, |cx| Self::shape(cx, tx, ts, ta), |n| Self::sizes(sizes, n))
    }

    /// Stages the gradient: those of the parts put together.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        x: impl Into<Value>,
        sizes: impl Into<Value>,
        axis: impl Into<Value>,
        douts: [Grad; N],
    ) -> (Grad, Grad, Grad) {
        let (x, sizes, axis) = (x.into(), sizes.into(), axis.into());
        let [tx, ts, ta] = [x, sizes, axis].map(|value| g.ty(value));
        let Some(x) = whole(g, x, |cx| Self::shape::<N>(cx, tx, ts, ta)) else { return (None, None, None) };
        let axis = axis_of(g, x, axis);
        let sizes = Self::sizes(sizes, g[x].shape[axis]);
        (join(g, x, axis, sizes, douts), None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, x: Type, sizes: Type, at: Type) -> [Type; N] {
        let mut parts = [Type::Unknown; N];
        let Some(x) = x.operand(cx, "split") else { return parts };
        let Some(axis) = axis(cx, "split", &x, at) else { return parts };
        let n = x.shape.dim(axis);
        let message = Message::new().str("split: ");
        let Type::Dims(sizes) = sizes else {
            let Some(size) = number(cx, "split", sizes) else { return parts };
            if n.is_unknown() || size.is_unknown() {
                return parts;
            }
            let (Some(whole), Some(size)) = (n.get(), size.get()) else {
                cx.error(message.str("parts of ").dim(size).str(" in an axis of ").dim(n).str(" are not known here"));
                return parts;
            };
            if size < 1 || (whole + size - 1) / size != N as isize {
                let message = message.str("parts of ").num(size).str(" in an axis of ").dim(n).str(" are not ");
                cx.error(message.num(N as isize));
                return parts;
            }
            let mut i = 0;
            while i < N {
                let rest = whole - i as isize * size;
                let start = Dim::int(i as isize * size);
                parts[i] = Type::Tensor(x.slice(axis, start, 1, Dim::int(if rest < size { rest } else { size })));
                i += 1;
            }
            return parts;
        };
        if sizes.rank() != N {
            let message = message.shape(sizes).str(" are ").num(sizes.rank() as isize).str(" sizes, and ");
            cx.error(message.num(N as isize).str(" parts are taken"));
            return parts;
        }
        let mut total = Dim::n(0);
        let mut i = 0;
        while i < N {
            if matches!(sizes.dim(i).get(), Some(size) if size < 0) {
                cx.error(message.dim(sizes.dim(i)).str(" is no size"));
                return [Type::Unknown; N];
            }
            parts[i] = Type::Tensor(x.slice(axis, total, 1, sizes.dim(i)));
            total = total.plus(sizes.dim(i));
            i += 1;
        }
        if !total.same(n) {
            cx.error(message.shape(sizes).str(" adds up to ").dim(total).str(", the axis has ").dim(n));
            return [Type::Unknown; N];
        }
        parts
    }
}

/// `unbind(x, axis)`:
/// The slices of an axis, which they lose; as many as there are names: `let [x, y] = unbind(points, -1);`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let points = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let [x, y] = unbind::stage(&mut g, points, -1);
/// assert_eq!(g.value(x)?.data(), [1.0, 3.0]);
/// assert_eq!(g.value(y)?.data(), [2.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum unbind {}

impl unbind {
    /// Stages the slices.
    pub fn stage<const N: usize>(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> [Value; N] {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        parts(g, x, axis, |cx| Self::shape(cx, tx, ta), |_| [1; N]).map(|part| squeeze::stage(g, part, axis))
    }

    /// Stages the gradient: those of the slices put together.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        x: impl Into<Value>,
        axis: impl Into<Value>,
        douts: [Grad; N],
    ) -> (Grad, Grad) {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        let Some(x) = whole(g, x, |cx| Self::shape::<N>(cx, tx, ta)) else { return (None, None) };
        let axis = axis_of(g, x, axis);
        let mut shape = g[x].shape.clone();
        shape[axis] = 1;
        let douts = douts.map(|dout| dout.map(|dout| g.reshape(dout, &shape)));
        (join(g, x, axis, [1; N], douts), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, x: Type, at: Type) -> [Type; N] {
        let Some(x) = x.operand(cx, "unbind") else { return [Type::Unknown; N] };
        let Some(axis) = axis(cx, "unbind", &x, at) else { return [Type::Unknown; N] };
        if !x.shape.dim(axis).same(Dim::n(N)) {
            let message = Message::new().str("unbind: axis ").num(axis as isize).str(" of ").shape(x.shape);
            cx.error(message.str(" has ").dim(x.shape.dim(axis)).str(" slices, ").num(N as isize).str(" are taken"));
            return [Type::Unknown; N];
        }
        let shape = x.shape.range(0, axis).join(&x.shape.range(axis + 1, x.shape.rank()));
        let (mut parts, mut i) = ([Type::Unknown; N], 0);
        while i < N {
            parts[i] = Type::Tensor(x.slice(axis, Dim::n(i), 1, Dim::n(1)).shown(shape));
            i += 1;
        }
        parts
    }
}

/// `stack(xs, axis)`:
/// Tensors of one shape side by side along a new axis: `stack([a, b], 0)`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
/// let y = stack::stage(&mut g, [x, x], 1);
/// assert_eq!(g.value(y)?, Tensor::new([2, 2], [1.0, 1.0, 2.0, 2.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum stack {}

impl stack {
    /// Stages the tensors.
    pub fn stage<const N: usize>(g: &mut Stage, xs: [Value; N], axis: impl Into<Value>) -> Value {
        let axis = axis.into();
        let (types, ta) = (xs.map(|x| g.ty(x)), g.ty(axis));
        admitted(
            g,
            |cx| Self::shape(cx, types, ta),
            &xs,
            |g, v| {
                let mut shape = g[v[0]].shape.clone();
                let at = super::integer(axis);
                let at = if at < 0 { at + shape.len() as isize + 1 } else { at } as usize;
                shape.insert(at, 1);
                let rows: Vec<Var> = v.iter().map(|&x| g.reshape(x, &shape)).collect();
                g.concat(&rows, at)
            },
        )
    }

    /// Stages the gradient of each tensor: its own slice.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        xs: [Value; N],
        axis: impl Into<Value>,
        dout: Grad,
    ) -> ([Grad; N], Grad) {
        let axis = axis.into();
        let (types, ta) = (xs.map(|x| g.ty(x)), g.ty(axis));
        let Some(dout) = super::fitting(g, "stack", |cx| Self::shape(cx, types, ta), dout) else {
            return ([None; N], None);
        };
        let parts: [Value; N] = unbind::stage(g, dout, axis);
        (parts.map(|part| if let Value::Var(part) = part { Some(part) } else { None }), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, xs: [Type; N], at: Type) -> Type {
        let mut rows = [Type::Unknown; N];
        let mut first: Option<TensorType> = None;
        let mut i = 0;
        while i < N {
            let Some(x) = xs[i].operand(cx, "stack") else { return Type::Unknown };
            if let Some(first) = first {
                if !first.shape.same(&x.shape) || !first.dtype.same(x.dtype) {
                    let message = Message::new().str("stack: ").shape(first.shape).str(" and ").shape(x.shape);
                    return cx.error(message.str(" differ"));
                }
            } else {
                first = Some(x);
            }
            rows[i] = unsqueeze::shape(cx, xs[i], at);
            i += 1;
        }
        concat::shape(cx, rows, at)
    }
}
