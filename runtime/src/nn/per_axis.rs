//! Operations over the last axes of images and sequences, which take a number for all axes or a list with
//! one for each.

use crate::graph::Value;
use crate::ops::reach;
use crate::shape::check::{Check, Message, Type};
use crate::shape::{MAX_RANK, MOST};

/// Defines an operation by a network function that takes one number for each axis: `stride[0 1]` is the
/// argument `stride`, and stands for two arguments of that function. A check before it knows the
/// operation by name.
macro_rules! per_axis {
    (
        $(#[$doc:meta])*
        $name:ident($($x:ident . $place:tt),+; $($list:ident[$($i:literal)+]),+; $($flag:ident: $kind:ty),*)
        = $inner:path, $check:path;
    ) => {
        #[doc = concat!(" `", stringify!($name), "(", stringify!($($x),+ , $($list),+ $(, $flag)*), ")`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            #[doc = concat!("Stages `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments)]
            pub fn stage(
                g: &mut Stage,
                $($x: impl Into<Value>,)+
                $($list: impl Into<Value>,)+
                $($flag: $kind),*
            ) -> Value {
                use $inner as inner;
                $(let $x = $x.into();)+
                $(let $list = $list.into();)+
                let rule = {
                    $(let $x = g.ty($x);)+
                    $(let $list = g.ty($list);)+
                    move |cx: &mut Check| Self::shape(cx, $($x,)+ $($list,)+ $($crate::shape::check::Const($flag).arg()),*)
                };
                if g.checked(rule).is_none() {
                    return Value::Unknown;
                }
                inner::stage(g, $($x,)+ $($(part($list, $i),)+)+ $($flag),*)
            }

            #[doc = concat!("Stages the gradient of `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments, clippy::type_complexity)]
            pub fn grad(
                g: &mut Stage,
                $($x: impl Into<Value>,)+
                $($list: impl Into<Value>,)+
                $($flag: $kind,)*
                dout: Grad,
            ) -> ($(per_axis!(@ $x Grad),)+ $(per_axis!(@ $list Grad),)+ $(per_axis!(@ $flag Grad)),*) {
                use $inner as inner;
                $(let $list = $list.into();)+
                let dx = inner::grad(g, $($x,)+ $($(part($list, $i),)+)+ $($flag,)* dout);
                ($(dx.$place,)+ $(per_axis!(@ $list None),)+ $(per_axis!(@ $flag None)),*)
            }

            #[doc = concat!("The shape rule of `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments)]
            #[track_caller]
            pub const fn shape(cx: &mut Check, $($x: Type,)+ $($list: Type,)+ $($flag: Type),*) -> Type {
                use $inner as inner;
                let errors = cx.errors();
                $($crate::nn::per_axis::one_for_each(cx, stringify!($name), stringify!($list), $list, [$($i),+].len());)+
                $check(cx, stringify!($name), [$([$($i),+].len()),+][0], $($x,)+ $($list),+);
                if cx.errors() > errors {
                    return Type::Unknown;
                }
                inner::shape(cx, $($x,)+ $($(part_type($list, $i),)+)+ $($flag),*)
            }
        }
    };
    (@ $arg:ident $with:ident) => { $with };
}
pub(super) use per_axis;

/// The number for axis `i` of an argument that a shape rule has accepted.
pub(super) fn part(value: Value, i: usize) -> usize {
    let n = match value {
        Value::Int(n) => n,
        Value::Ints { list, len } if len <= MAX_RANK => list[i.min(MAX_RANK - 1)],
        _ => 0,
    };
    n.max(0) as usize
}

/// The number for axis `i` in shape rules.
pub(super) const fn part_type(ty: Type, i: usize) -> Type {
    match ty {
        Type::Dims(list) if i < list.rank() => Type::Dim(list.dim(i)),
        other => other,
    }
}

/// Refuses what is neither a number for all of `n` axes nor a list with one for each.
#[track_caller]
pub(super) const fn one_for_each(cx: &mut Check, op: &str, name: &str, ty: Type, n: usize) {
    let message = Message::new().str(op).str(": `").str(name).str("`: expected a whole number");
    let message = if n == 1 { message } else { message.str(", or a list of ").num(n as isize) };
    let fits = match ty {
        Type::Dim(_) | Type::Unknown => true,
        Type::Dims(list) => list.rank() == n,
        _ => false,
    };
    if !fits {
        cx.error(message);
        return;
    }
    let mut i = 0;
    while i < n {
        if let Type::Dim(dim) = part_type(ty, i)
            && let Some(size) = dim.get()
            && (size < 0 || size > MOST as isize)
        {
            cx.error(message.str(", found ").num(size));
            return;
        }
        i += 1;
    }
}

/// The number for axis `i`, if it is known and not one that was refused as too large.
pub(super) const fn known(ty: Type, i: usize) -> Option<isize> {
    match part_type(ty, i) {
        Type::Dim(dim) => match dim.get() {
            Some(n) if n.unsigned_abs() > MOST => None,
            n => n,
        },
        _ => None,
    }
}

/// What windows over the last `n` axes need: sizes of at least one, and room for the first of them.
#[track_caller]
#[allow(clippy::too_many_arguments)]
pub(super) const fn slides(
    cx: &mut Check,
    op: &str,
    n: usize,
    x: Type,
    size: Type,
    stride: Type,
    padding: Type,
    dilation: Type,
) {
    let Type::Tensor(x) = x else { return };
    let mut i = 0;
    while i < n && n <= x.shape.rank() {
        let axis = x.shape.rank() - n + i;
        let (size, stride, padding, dilation) =
            (known(size, i), known(stride, i), known(padding, i), known(dilation, i));
        if matches!(size, Some(0)) || matches!(stride, Some(0)) || matches!(dilation, Some(0)) {
            cx.error(Message::new().str(op).str(": a kernel, a stride and a dilation are at least 1"));
            return;
        }
        if let (Some(size), Some(padding), Some(dilation), Some(length)) =
            (size, padding, dilation, x.shape.dim(axis).get())
            && reach(size, dilation) > length + 2 * padding
        {
            let message = Message::new().str(op).str(": a kernel of ").num(size);
            let message = if dilation == 1 { message } else { message.str(" with a dilation of ").num(dilation) };
            let message = message.str(" does not fit axis ").num(axis as isize).str(" of ").shape(x.shape);
            cx.error(if padding == 0 { message } else { message.str(" with a padding of ").num(padding) });
            return;
        }
        i += 1;
    }
}
