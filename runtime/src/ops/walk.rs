//! Tensors as their slices along an axis: what a loop over time walks.

use super::{axes_fit, axis, axis_of};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{Dim, Shape};

/// The slices of tensors along an axis, for a `for` to run over. The axis is gone in a slice, so that
/// `[B, T, I]` gives T slices `[B, I]` along axis 1. Several tensors in brackets are walked together,
/// and must have as many slices each.
///
/// What the body ends in is what the loop yields: the values of all rounds, along the same axis.
/// Variables that the body assigns go from one round to the next; they keep their shape.
///
/// The loop is unrolled when it is staged, so the size of the axis is a choice of every run; the
/// time to compile grows with it. `flip` in front and behind walks it backwards.
///
/// ```
/// use downhill::prelude::*;
///
/// /// A mean that forgets: y_t = (1 - a) y_{t-1} + a x_t along time, and the last one.
/// #[network]
/// fn smoothed(x: Tensor<B, T>, a: f32) -> (Tensor<B, T>, Tensor<B>) {
///     let mut mean = broadcast_to(0.0, [B]);
///     let all = for now in unbind(x, 1) {
///         mean = mean + a * (now - mean);
///         mean
///     };
///     (all, mean)
/// }
///
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 3], [8.0, 0.0, 4.0])?);
/// let (all, last) = smoothed::stage(&mut g, x, 0.5);
/// assert_eq!(g.value(all)?, Tensor::new([1, 3], [4.0, 2.0, 3.0])?);
/// assert_eq!(g.value(last)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum slices {}

impl slices {
    /// Stages the slices: one of every tensor, at each place of the axis.
    pub fn stage<const N: usize>(g: &mut Stage, xs: [Value; N], at: impl Into<Value>) -> Vec<[Value; N]> {
        let at = at.into();
        let (types, ta) = (xs.map(|x| g.ty(x)), g.ty(at));
        let mut fits = false;
        g.checked(|cx| {
            Self::shape(cx, types, ta);
            fits = cx.errors() == 0;
            Type::Unknown
        });
        let vars: Option<Vec<Var>> = xs.iter().map(|&x| g.operand(x)).collect();
        let (Some(vars), true) = (vars, fits) else { return vec![[Value::Unknown; N]] };
        let places = vars.first().map_or(0, |&x| g[x].shape[axis_of(g, x, at)]);
        (0..places)
            .map(|place| std::array::from_fn(|i| Value::Var(cut(g, vars[i], axis_of(g, vars[i], at), place))))
            .collect()
    }

    /// Stages the gradients of the tensors, given those of their slices, the last ones first.
    pub fn grad<const N: usize>(
        g: &mut Stage,
        xs: [Value; N],
        at: impl Into<Value>,
        dslices: &[[Grad; N]],
    ) -> [Grad; N] {
        let at = at.into();
        let ta = g.ty(at);
        std::array::from_fn(|i| {
            let (x, tx) = (g.operand(xs[i])?, g.ty(xs[i]));
            g.checked(|cx| Self::shape(cx, [tx], ta)[0])?;
            let axis = axis_of(g, x, at);
            let mut shape = g[x].shape.clone();
            shape.remove(axis);
            dslices.iter().any(|d| d[i].is_some()).then(|| {
                let slices: Vec<Var> =
                    dslices.iter().rev().map(|d| d[i].unwrap_or_else(|| g.fill(0.0, &shape))).collect();
                join(g, &slices, axis)
            })
        })
    }

    /// Stages what a loop yields: the values of its rounds as slices along a new axis.
    pub fn stack(g: &mut Stage, slices: &[Value], at: impl Into<Value>) -> Value {
        let vars: Option<Vec<Var>> = slices.iter().map(|&slice| g.operand(slice)).collect();
        match vars {
            Some(vars) if !vars.is_empty() => {
                let axis = new_axis(g[vars[0]].shape.len(), at.into());
                Value::Var(join(g, &vars, axis))
            }
            _ => Value::Unknown,
        }
    }

    /// The gradient of every round's value, given that of what the loop yields.
    pub fn unstack(g: &mut Stage, dout: Grad, rounds: usize, at: impl Into<Value>) -> Vec<Grad> {
        let (at, Some(dout)) = (at.into(), dout) else { return vec![None; rounds] };
        let (ty, ta) = (g.ty(Value::Var(dout)), g.ty(at));
        if g.checked(|cx| Self::shape(cx, [ty], ta)[0]).is_none() {
            return vec![None; rounds];
        }
        let axis = axis_of(g, dout, at);
        (0..rounds).map(|place| Some(cut(g, dout, axis, place))).collect()
    }

    /// The shape rule of the slices.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, xs: [Type; N], at: Type) -> [Type; N] {
        let mut slices = [Type::Unknown; N];
        let mut places = Dim::UNKNOWN;
        let mut i = 0;
        while i < N {
            if let Some(x) = xs[i].operand(cx, "unbind") {
                let Some(axis) = axis(cx, "unbind", &x, at) else { return [Type::Unknown; N] };
                let size = x.shape.dim(axis);
                if !size.same(places) {
                    let message = Message::new().str("unbind: ").dim(places).str(" slices of one tensor and ");
                    cx.error(message.dim(size).str(" of another"));
                    return [Type::Unknown; N];
                }
                places = size;
                let shape = x.shape.range(0, axis).join(&x.shape.range(axis + 1, x.shape.rank()));
                // Each round has another part of the elements.
                let slice = x.slice(axis, Dim::UNKNOWN, 1, Dim::n(1)).shown(shape);
                slices[i] = Type::Tensor(slice);
            }
            i += 1;
        }
        slices
    }

    /// The shape rule of what a loop over slices of `xs` yields.
    #[track_caller]
    pub const fn stack_shape<const N: usize>(cx: &mut Check, slice: Type, xs: [Type; N], at: Type) -> Type {
        let Some(slice) = slice.operand(cx, "unbind") else { return Type::Unknown };
        let mut places = Dim::UNKNOWN;
        let mut i = 0;
        while i < N {
            if let Type::Tensor(x) = xs[i] {
                let Some(axis) = axis(cx, "unbind", &x, at) else { return Type::Unknown };
                places = x.shape.dim(axis);
            }
            i += 1;
        }
        let rank = slice.shape.rank();
        if !axes_fit(cx, "unbind", rank + 1) {
            return Type::Unknown;
        }
        let whole = slice.shape.push(Dim::UNKNOWN);
        let Type::Dim(at) = at else { return Type::Unknown };
        let Some(axis) = (match at.get() {
            Some(n) => whole.axis(n),
            None => None,
        }) else {
            let message = Message::new().str("unbind: no axis ").dim(at).str(" to put slices of ");
            return cx.error(message.shape(slice.shape).str(" along"));
        };
        let shape = slice.shape.range(0, axis).join(&Shape::of(&[places])).join(&slice.shape.range(axis, rank));
        Type::Tensor(slice.part(shape))
    }
}

/// One slice, without its axis.
fn cut(g: &mut Stage, x: Var, axis: usize, place: usize) -> Var {
    let mut shape = g[x].shape.clone();
    let mut window = vec![(0, 1); shape.len()];
    window[axis].0 = place;
    shape[axis] = 1;
    let slice = g.slice(x, &window, &shape);
    shape.remove(axis);
    g.reshape(slice, &shape)
}

/// Slices along a new axis.
fn join(g: &mut Stage, slices: &[Var], axis: usize) -> Var {
    let mut shape = g[slices[0]].shape.clone();
    shape.insert(axis, 1);
    let slices: Vec<Var> = slices.iter().map(|&slice| g.reshape(slice, &shape)).collect();
    if let [only] = slices[..] { only } else { g.concat(&slices, axis) }
}

/// An axis of a tensor that has one more than `rank`; the shape rule has accepted it.
fn new_axis(rank: usize, at: Value) -> usize {
    let n = super::integer(at);
    if n < 0 { (n + rank as isize + 1) as usize } else { n as usize }
}
