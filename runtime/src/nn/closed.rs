//! Operations whose gradient has a closed form that needs less than the gradient of each step does.

/// Defines an operation of one tensor by two network functions: one for its result, and one for its gradient,
/// which takes the argument, the result and the result's gradient.
macro_rules! closed {
    ($(#[$doc:meta])* $name:ident($x:ident; $($flag:ident: $kind:ty),*) = $forward:path, $gradient:path;) => {
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            #[doc = concat!("Stages `", stringify!($name), "`.")]
            #[track_caller]
            pub fn stage(g: &mut Stage, $x: impl Into<Value>, $($flag: $kind),*) -> Value {
                use $forward as forward;
                forward::stage(g, $x, $($flag),*)
            }

            #[doc = concat!("Stages the gradient of `", stringify!($name), "`.")]
            pub fn grad(
                g: &mut Stage,
                $x: impl Into<Value>,
                $($flag: $kind,)*
                dout: Grad,
            ) -> (Grad, $(closed!(@ $flag Grad)),*) {
                use {$forward as forward, $gradient as gradient};
                let $x = $x.into();
                let dx = dout.and_then(|dout| {
                    let y = forward::stage(g, $x, $($flag),*);
                    let dx = gradient::stage(g, $x, y, Value::Var(dout), $($flag),*);
                    g.operand(dx)
                });
                (dx, $(closed!(@ $flag None)),*)
            }

            #[doc = concat!("The shape rule of `", stringify!($name), "`.")]
            #[track_caller]
            pub const fn shape(cx: &mut Check, $x: Type, $($flag: Type),*) -> Type {
                use $forward as forward;
                forward::shape(cx, $x, $($flag),*)
            }
        }
    };
    (@ $flag:ident $with:ident) => { $with };
}
pub(super) use closed;
