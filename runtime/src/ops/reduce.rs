//! Reductions over axes.

pub use crate::ir::reduce::Reduce;

use super::{admitted, axis_of, list, numbers};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::{Binary, Compare};
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{DType, Dim, Shape};

impl Reduce {
    /// The gradient of `x`, given that of its reduction `y`, both with `y`'s axes kept. Where
    /// several elements are the largest or smallest, they share it equally, as PyTorch's `amax` has it.
    fn grad(self, g: &mut Stage, x: Var, y: Var, axes: u8, dy: Var) -> Var {
        match self {
            Reduce::Sum => {
                let shape = g[x].shape.clone();
                g.broadcast(dy, &shape)
            }
            Reduce::Max | Reduce::Min => {
                let largest = g.compare(Compare::Eq, x, y);
                let ones = g.cast(largest, DType::F32);
                let count = g.reduce(Reduce::Sum, ones, axes);
                let share = g.guarded(Binary::Div, dy, count);
                let zero = g.number(0.0);
                g.select(largest, share, zero)
            }
            Reduce::Prod => {
                let rest = product_of_others(g, x, axes);
                g.guarded(Binary::Mul, dy, rest)
            }
        }
    }
}

/// For every element the product of all others along the axes: of those before it and those behind
/// it, so that zeros need no division.
fn product_of_others(g: &mut Stage, x: Var, axes: u8) -> Var {
    let shape = g[x].shape.clone();
    let (over, kept): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(|axis| axes >> axis & 1 == 1);
    let order: Vec<usize> = kept.iter().chain(&over).copied().collect();
    let mut flat: Vec<usize> = kept.iter().map(|&axis| shape[axis]).collect();
    flat.push(over.iter().map(|&axis| shape[axis]).product());
    let turned = g.transpose(x, &order);
    let turned_shape = g[turned].shape.clone();
    let rows = g.reshape(turned, &flat);
    let last = flat.len() - 1;
    let before = scan(g, Binary::Mul, rows, last, true, 1.0);
    let mirrored = flip_axis(g, rows, last);
    let behind = scan(g, Binary::Mul, mirrored, last, true, 1.0);
    let behind = flip_axis(g, behind, last);
    let rest = g.binary(Binary::Mul, before, behind);
    let rest = g.reshape(rest, &turned_shape);
    let mut back = vec![0; order.len()];
    for (i, axis) in order.into_iter().enumerate() {
        back[axis] = i;
    }
    g.transpose(rest, &back)
}

/// The elements of an axis in reverse order.
pub(super) fn flip_axis(g: &mut Stage, x: Var, axis: usize) -> Var {
    let shape = g[x].shape.clone();
    let mut window = vec![(0, 1); shape.len()];
    window[axis] = (shape[axis].saturating_sub(1), -1);
    g.slice(x, &window, &shape)
}

/// All elements up to each place along an axis combined, in a logarithmic number of steps (Hillis and
/// Steele, Data parallel algorithms, 1986); `identity` changes nothing. An exclusive scan leaves out
/// the place itself.
pub(super) fn scan(g: &mut Stage, op: Binary, x: Var, axis: usize, exclusive: bool, identity: f32) -> Var {
    let n = g[x].shape[axis];
    let mut total = if exclusive { shifted(g, x, axis, 1, identity) } else { x };
    let mut step = 1;
    while step < n {
        let moved = shifted(g, total, axis, step, identity);
        total = g.binary(op, total, moved);
        step *= 2;
    }
    total
}

/// The elements moved back along an axis, with `fill` in front.
fn shifted(g: &mut Stage, x: Var, axis: usize, by: usize, fill: f32) -> Var {
    let shape = g[x].shape.clone();
    let by = by.min(shape[axis]);
    let mut size = shape.clone();
    size[axis] = by;
    let front = g.fill(fill, &size);
    if by == shape[axis] {
        return front;
    }
    size[axis] = shape[axis] - by;
    let rest = g.slice(x, &vec![(0, 1); shape.len()], &size);
    g.concat(&[front, rest], axis)
}

/// Which axes are reduced and whether they stay; the result's shape.
#[track_caller]
const fn reduced(cx: &mut Check, op: Reduce, name: &str, x: Type, axes: Option<Type>, keep: bool) -> Type {
    let Some(x) = numbers(cx, name, x) else { return Type::Unknown };
    let Some(mask) = mask(cx, name, &x, axes) else { return Type::Unknown };
    let (mut shape, mut over) = (Shape::SCALAR, Dim::n(1));
    let mut i = 0;
    while i < x.shape.rank() {
        if mask >> i & 1 == 0 {
            shape = shape.push(x.shape.dim(i));
        } else {
            over = over.times(x.shape.dim(i));
            if keep {
                shape = shape.push(Dim::n(1));
            }
        }
        i += 1;
    }
    let holds = match op {
        Reduce::Sum => x.holds.sum(over.get()),
        Reduce::Max | Reduce::Min => x.holds.part(),
        Reduce::Prod => x.holds.product(over.get()),
    };
    Type::Tensor(x.like(DType::F32, shape).holding(holds))
}

/// The axes of a list, or all of them, as bits.
#[track_caller]
pub(super) const fn mask(cx: &mut Check, op: &str, x: &TensorType, axes: Option<Type>) -> Option<u8> {
    let list = match axes {
        None => return Some(((1u16 << x.shape.rank()) - 1) as u8),
        Some(Type::Dims(list)) => list,
        Some(Type::Dim(dim)) => Shape::of(&[dim]),
        Some(Type::Unknown) => return None,
        Some(_) => {
            cx.error(Message::new().str(op).str(": expected a list of axes such as [0, 1]"));
            return None;
        }
    };
    let mut mask = 0;
    let mut i = 0;
    while i < list.rank() {
        let Some(axis) = super::axis(cx, op, x, Type::Dim(list.dim(i))) else { return None };
        if mask >> axis & 1 == 1 {
            cx.error(Message::new().str(op).str(": axis ").num(axis as isize).str(" is named twice"));
            return None;
        }
        mask |= 1 << axis;
        i += 1;
    }
    Some(mask)
}

pub(super) fn bits(g: &Stage, x: Var, axes: Value) -> u8 {
    list(axes).into_iter().fold(0, |bits, axis| bits | 1 << axis_of(g, x, Value::Int(axis)))
}

fn build(g: &mut Stage, op: Reduce, x: Var, axes: u8, keep: bool) -> Var {
    let y = g.reduce(op, x, axes);
    if keep {
        return y;
    }
    let shape: Vec<usize> = (0..g[x].shape.len()).filter(|i| axes >> i & 1 == 0).map(|i| g[x].shape[i]).collect();
    g.reshape(y, &shape)
}

fn gradient(g: &mut Stage, op: Reduce, x: Var, axes: u8, dout: Var) -> Var {
    let y = g.reduce(op, x, axes);
    let kept = g[y].shape.clone();
    let dy = g.reshape(dout, &kept);
    op.grad(g, x, y, axes, dy)
}

macro_rules! reductions {
    ($($(#[doc = $doc:literal])* $op:ident $all:ident $axes:ident $keep:ident ($sum:literal, $row:literal);)*) => {$(
        primitive! {
            $(#[doc = $doc])*
            /// This one reduces all axes and gives a tensor without axes.
            ///
            /// ```
            /// use downhill::prelude::*;
            /// let mut g = Stage::new();
            /// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
            #[doc = concat!("let y = ", stringify!($all), "::stage(&mut g, x);")]
            #[doc = concat!("assert_eq!(g.value(y)?, Tensor::new([], [", $sum, "])?);")]
            /// # Ok::<(), downhill::Error>(())
            /// ```
            $all(x)
            stage |g| {
                let all = every(g, x);
                build(g, Reduce::$op, x, all, false)
            },
            grad |g, d| {
                let all = every(g, x);
                [Some(gradient(g, Reduce::$op, x, all, d))]
            },
            shape |cx| reduced(cx, Reduce::$op, stringify!($all), x, None, false),
        }

        reductions!(@axes $(#[doc = $doc])* $op $axes false "This one takes a list of axes, counted from the end when negative, and removes them." concat!("Tensor::new([2], [", $row, "])?"));
        reductions!(@axes $(#[doc = $doc])* $op $keep true "This one takes a list of axes, counted from the end when negative, and keeps them with size one." concat!("Tensor::new([2, 1], [", $row, "])?"));
    )*};
    (@axes $(#[doc = $doc:literal])* $op:ident $name:ident $keep:literal $how:literal $expected:expr) => {
        primitive! {
            $(#[doc = $doc])*
            #[doc = $how]
            ///
            /// ```
            /// use downhill::prelude::*;
            /// let mut g = Stage::new();
            /// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
            #[doc = concat!("let y = ", stringify!($name), "::stage(&mut g, x, [-1]);")]
            #[doc = concat!("assert_eq!(g.value(y)?, ", $expected, ");")]
            /// # Ok::<(), downhill::Error>(())
            /// ```
            $name(x; axes)
            stage |g| {
                let axes = bits(g, x, axes);
                build(g, Reduce::$op, x, axes, $keep)
            },
            grad |g, d| {
                let axes = bits(g, x, axes);
                [Some(gradient(g, Reduce::$op, x, axes, d))]
            },
            shape |cx| reduced(cx, Reduce::$op, stringify!($name), x, Some(axes), $keep),
        }
    };
}

reductions! {
    /// The sum of elements.
    Sum sum sum_axes sum_keepdim ("10.0", "3.0, 7.0");
    /// The largest of elements, PyTorch's `amax`; equal ones share the gradient.
    Max max max_axes max_keepdim ("4.0", "2.0, 4.0");
    /// The smallest of elements, PyTorch's `amin`; equal ones share the gradient.
    Min min min_axes min_keepdim ("1.0", "1.0, 3.0");
    /// The product of elements; its gradient holds where elements are zero too.
    Prod prod prod_axes prod_keepdim ("24.0", "2.0, 12.0");
}

/// `cumsum(x, axis)`:
/// The sums of elements up to each place along an axis, its own included.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = cumsum::stage(&mut g, x, -1);
/// assert_eq!(g.value(y)?.data(), [1.0, 3.0, 6.0, 10.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum cumsum {}

impl cumsum {
    /// Stages the sums.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>) -> Value {
        let (x, axis) = (x.into(), axis.into());
        let (tx, ta) = (g.ty(x), g.ty(axis));
        admitted(
            g,
            |cx| Self::shape(cx, tx, ta),
            &[x],
            |g, v| {
                let axis = axis_of(g, v[0], axis);
                scan(g, Binary::Add, v[0], axis, false, 0.0)
            },
        )
    }

    /// Stages the gradient: the sums from the end.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, axis: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let axis = axis.into();
        let (tx, ta) = (g.ty(x.into()), g.ty(axis));
        let dx = super::fitting(g, "cumsum", |cx| Self::shape(cx, tx, ta), dout).map(|dout| {
            let axis = axis_of(g, dout, axis);
            let mirrored = flip_axis(g, dout, axis);
            let sums = scan(g, Binary::Add, mirrored, axis, false, 0.0);
            flip_axis(g, sums, axis)
        });
        (dx, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, at: Type) -> Type {
        let Some(x) = numbers(cx, "cumsum", x) else { return Type::Unknown };
        match super::axis(cx, "cumsum", &x, at) {
            Some(_) => Type::Tensor(x.like(DType::F32, x.shape)),
            None => Type::Unknown,
        }
    }
}

fn every(g: &Stage, x: Var) -> u8 {
    ((1u16 << g[x].shape.len()) - 1) as u8
}
