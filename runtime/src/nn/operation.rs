//! Operations that have another gradient than that of each of their steps.

/// Defines an operation by a network function for its result and a block that stages the gradients of all
/// arguments, given the result's.
macro_rules! operation {
    (
        $(#[$doc:meta])*
        $name:ident($($x:ident),+; $($flag:ident: $kind:ty),*) = $forward:path;
        |$g:ident, $dout:ident| $gradient:block
    ) => {
        #[doc = concat!(" `", stringify!($name), "(", stringify!($($x),+ $(, $flag)*), ")`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            #[doc = concat!("Stages `", stringify!($name), "`.")]
            #[track_caller]
            #[allow(clippy::too_many_arguments)]
            pub fn stage(g: &mut Stage, $($x: impl Into<Value>,)+ $($flag: $kind),*) -> Value {
                use $forward as forward;
                forward::stage(g, $($x,)+ $($flag),*)
            }

            #[doc = concat!("Stages the gradient of `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments, clippy::type_complexity)]
            pub fn grad(
                $g: &mut Stage,
                $($x: impl Into<Value>,)+
                $($flag: $kind,)*
                $dout: Grad,
            ) -> ($(operation!(@ $x),)+ $(operation!(@ $flag)),*) {
                $(let $x = $x.into();)+
                $gradient
            }

            #[doc = concat!("The shape rule of `", stringify!($name), "`.")]
            #[track_caller]
            #[allow(clippy::too_many_arguments)]
            pub const fn shape(cx: &mut Check, $($x: Type,)+ $($flag: Type),*) -> Type {
                use $forward as forward;
                forward::shape(cx, $($x,)+ $($flag),*)
            }
        }
    };
    (@ $arg:ident) => { Grad };
}

/// Defines an operation of one tensor by two network functions: one for its result, and one for its gradient in
/// closed form, which takes the argument, the result and the result's gradient, and needs less than the gradient of
/// each step does.
macro_rules! closed {
    ($(#[$doc:meta])* $name:ident($x:ident; $axis:ident: isize $(, $flag:ident: $kind:ty)*) = $forward:path, $closed:path;) => {
        operation! {
            $(#[$doc])*
            $name($x; $axis: isize $(, $flag: $kind)*) = $forward;
            |g, dout| {
                use {$forward as forward, $closed as gradient};
                let dx = dout.and_then(|dout| {
                    let y = forward::stage(g, $x, $axis $(, $flag)*);
                    let dx = gradient::stage(g, $x, y, Value::Var(dout), $axis $(, $flag)*);
                    let dx = g.operand(dx)?;
                    Some(g.only_rows_taken(dx, dout, $axis))
                });
                (dx, None $(, closed!(@ $flag))*)
            }
        }
    };
    (@ $flag:ident) => { None };
}

pub(super) use {closed, operation};
