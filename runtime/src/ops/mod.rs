//! The primitives: the only operations whose gradient is written by hand.
//!
//! Each family is one file, and in it each primitive is one place with its four rules: the shape
//! (`shape`, a `const fn`), the gradient (`grad`), the f64 reference (`reference`) and the lowering
//! to vector code. Every other operation is written with `#[network]` (see [`crate::nn`]).
//!
//! An operation is a type without values, so that its name stays free for local variables;
//! `exp::stage` puts it into a graph, `exp::grad` puts its gradient there.

/// Defines a primitive of tensors and, behind a semicolon, plain arguments: the type that bears its name, and its
/// functions. What is written says
/// - `args`, if it is there, how the values of the tensors are changed before anything else,
/// - `stage` what is staged: here tensors are nodes of the graph and plain arguments values,
/// - `grad` the gradient of each tensor, a list, given that of the result,
/// - `shape` the shape rule: here all are types, but those that are named beside the check are tensors already.
macro_rules! primitive {
    (
        $(#[$doc:meta])*
        $name:ident($($x:ident),+ $(; $($arg:ident),+)?)
        $(args |$ag:ident| $args:expr,)?
        stage |$g:ident| $stage:expr,
        grad |$gg:ident, $d:ident| $grad:expr,
        shape |$cx:ident $(, $tensor:ident)*| $shape:expr $(,)?
    ) => {
        #[doc = concat!(" `", stringify!($name), "(", stringify!($($x),+ $(, $($arg),+)?), ")`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            #[doc = concat!("Stages `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments, unused_variables)]
            pub fn stage(
                $g: &mut Stage,
                $($x: impl Into<Value>,)+
                $($($arg: impl Into<Value>,)+)?
            ) -> Value {
                $(let $x = $x.into();)+
                $($(let $arg = $arg.into();)+)?
                primitive!(@args $g [$($x),+] $($ag $args)?);
                let values = [$($x),+];
                let rule = {
                    $(let $x = $g.ty($x);)+
                    $($(let $arg = $g.ty($arg);)+)?
                    move |cx: &mut Check| Self::shape(cx, $($x,)+ $($($arg),+)?)
                };
                $crate::ops::admitted($g, rule, &values, |$g, v| {
                    let [$($x),+] = *v else { unreachable!("as many nodes as values") };
                    $stage
                })
            }

            #[doc = concat!("Stages the gradient of `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments, unused_variables, unused_parens, clippy::type_complexity)]
            pub fn grad(
                $gg: &mut Stage,
                $($x: impl Into<Value>,)+
                $($($arg: impl Into<Value>,)+)?
                dout: Grad,
            ) -> ($(primitive!(@ $x Grad)),+ $(, $(primitive!(@ $arg Grad)),+)?) {
                $(let $x = $x.into();)+
                $($(let $arg = $arg.into();)+)?
                let rule = {
                    $(let $x = $gg.ty($x);)+
                    $($(let $arg = $gg.ty($arg);)+)?
                    move |cx: &mut Check| Self::shape(cx, $($x,)+ $($($arg),+)?)
                };
                let dout = $crate::ops::fitting($gg, stringify!($name), rule, dout);
                let [$($x),+] = match ([$($gg.operand($x)),+], dout) {
                    ([$(Some($x)),+], Some($d)) => $grad,
                    _ => [$(primitive!(@ $x None)),+],
                };
                ($($x),+ $(, $(primitive!(@ $arg None)),+)?)
            }

            #[doc = concat!("The shape rule of `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments)]
            #[track_caller]
            pub const fn shape($cx: &mut Check, $($x: Type,)+ $($($arg: Type),+)?) -> Type {
                $(let Some($tensor) = $tensor.operand($cx, stringify!($name)) else { return Type::Unknown };)*
                $shape
            }
        }
    };
    (@ $arg:ident $with:ident) => { $with };
    (@args $g:ident [$($x:ident),+]) => {};
    (@args $g:ident [$($x:ident),+] $ag:ident $args:expr) => {
        let [$($x),+] = {
            let $ag = &mut *$g;
            $args
        };
    };
}

mod agree;
mod axes;
mod border;
mod broadcast;
mod choice;
mod contraction;
pub mod convolution;
mod cut;
pub mod elementwise;
mod heads;
mod interval;
pub mod layout;
mod like;
mod list;
pub mod order;
pub mod product;
mod random;
pub mod reduce;
mod resample;
pub mod rows;
mod sliding;
mod sorting;
mod state;
mod strided;
mod walk;
pub mod window;

pub use agree::*;
pub use axes::*;
pub use border::*;
pub use choice::*;
pub use contraction::einsum;
pub use convolution::*;
pub use cut::*;
pub use elementwise::*;
pub use heads::*;
pub use layout::*;
pub use like::*;
pub use list::*;
pub use order::*;
pub use product::*;
pub use random::dropout;
pub use reduce::*;
pub use resample::*;
pub use rows::*;
pub use sliding::*;
pub use sorting::*;
pub use state::*;
pub use strided::*;
pub use walk::*;
pub use window::*;

use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{DType, Dim, MAX_RANK, MOST};

/// A number that an operation takes: an axis, an offset or a size.
#[track_caller]
const fn number(cx: &mut Check, op: &str, ty: Type) -> Option<Dim> {
    match ty {
        Type::Dim(dim) => match dim.get() {
            Some(n) if n.unsigned_abs() > MOST => {
                cx.error(Message::new().str(op).str(": ").num(n).str(" is too large a number"));
                None
            }
            _ => Some(dim),
        },
        Type::Unknown => None,
        _ => {
            cx.error(Message::new().str(op).str(": expected a whole number"));
            None
        }
    }
}

/// How many elements of an axis a window or kernel covers; the largest number there is where that is too large.
pub(crate) const fn reach(size: isize, dilation: isize) -> isize {
    (size - 1).saturating_mul(dilation).saturating_add(1)
}

/// Refuses a result of more axes than a tensor can have.
#[track_caller]
const fn axes_fit(cx: &mut Check, op: &str, rank: usize) -> bool {
    if rank > MAX_RANK {
        let message =
            Message::new().str(op).str(": a tensor has at most ").num(MAX_RANK as isize).str(" axes, the result ");
        cx.error(message.str("would have ").num(rank as isize));
    }
    rank <= MAX_RANK
}

/// An axis of `x`, counted from the end when negative.
#[track_caller]
const fn axis(cx: &mut Check, op: &str, x: &TensorType, ty: Type) -> Option<usize> {
    let Some(dim) = number(cx, op, ty) else { return None };
    let Some(n) = dim.get() else {
        cx.error(Message::new().str(op).str(": an axis is a constant"));
        return None;
    };
    let axis = x.shape.axis(n);
    if axis.is_none() {
        cx.error(Message::new().str(op).str(": no axis ").num(n).str(" in ").shape(x.shape));
    }
    axis
}

/// An argument that must be a tensor of numbers.
#[track_caller]
const fn numbers(cx: &mut Check, op: &str, ty: Type) -> Option<TensorType> {
    let Some(x) = ty.operand(cx, op) else { return None };
    if !x.dtype.same(DType::F32) {
        cx.error(Message::new().str(op).str(": expected Tensor, found ").str(x.dtype.name()));
        return None;
    }
    Some(x)
}

/// The integers of a list argument that a shape rule has accepted.
fn list(value: Value) -> Vec<isize> {
    match value {
        Value::Ints { list, len } => list[..len].to_vec(),
        Value::Int(n) => vec![n],
        _ => vec![],
    }
}

/// The integer of an argument that a shape rule has accepted.
fn integer(value: Value) -> isize {
    match value {
        Value::Int(n) => n,
        Value::Number(x) => x as isize,
        _ => 0,
    }
}

/// An axis that a shape rule has accepted.
fn axis_of(g: &Stage, x: Var, value: Value) -> usize {
    let n = integer(value);
    if n < 0 { (n + g[x].shape.len() as isize) as usize } else { n as usize }
}

/// The gradient of a result, where the shape rule of its operation admits the arguments and gives the result that
/// shape; any other is refused.
fn fitting(g: &mut Stage, op: &str, rule: impl FnOnce(&mut Check) -> Type, dout: Grad) -> Grad {
    let dout = g.operand(Value::Var(dout?))?;
    let result = g.checked(rule)?.shape;
    let found = &g[dout].shape;
    let fits = |(i, &size): (usize, &usize)| result.dim(i).get().is_none_or(|n| n as usize == size);
    if found.len() == result.rank() && found.iter().enumerate().all(fits) {
        return Some(dout);
    }
    let message = format!("{op}: the gradient has the shape {found:?}, another than the result");
    g.refuse(message);
    None
}

/// The result of an operation whose shape rule has been checked.
fn admitted(
    g: &mut Stage,
    rule: impl FnOnce(&mut Check) -> Type,
    args: &[Value],
    build: impl FnOnce(&mut Stage, &[Var]) -> Var,
) -> Value {
    if g.checked(rule).is_none() {
        return Value::Unknown;
    }
    let vars: Option<Vec<Var>> = args.iter().map(|&value| g.operand(value)).collect();
    vars.map_or(Value::Unknown, |vars| Value::Var(build(g, &vars)))
}
