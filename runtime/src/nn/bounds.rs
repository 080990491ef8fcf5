//! Numbers between bounds.

use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Type};

/// x, but not below `low` and not above `high`; where the bounds cross, `high`. NaN stays. No gradient passes
/// where a bound is taken, nor at a bound that is a number. A bound that is a tensor gets the gradient where it is
/// taken, and half of it where it is equal to x: it is a [`maximum`] or [`minimum`] then.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = clamp::stage(&mut g, 5.0, 0.0, 3.0);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor {
    clamp_max(clamp_min(x, low), high)
}

/// The two ways to take a bound: a number, and a tensor.
macro_rules! bounds {
    ($($(#[$doc:meta])* $name:ident = $number:ident($x:ident, $bound:ident) $beyond:expr, $tensor:ident;)*) => {$(
        #[network(track_caller)]
        fn $number($x: Tensor, $bound: Tensor) -> Tensor {
            select($beyond, $bound, $x)
        }

        #[doc = concat!(" `", stringify!($name), "(", stringify!($x, $bound), ")`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// Stages the bounded elements.
            #[track_caller]
            pub fn stage(g: &mut Stage, x: impl Into<Value>, bound: impl Into<Value>) -> Value {
                let bound = bound.into();
                if is_number(bound) { $number::stage(g, x, bound) } else { $tensor::stage(g, x, bound) }
            }

            /// Stages the gradients of the elements and the bound.
            pub fn grad(g: &mut Stage, x: impl Into<Value>, bound: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
                let bound = bound.into();
                if is_number(bound) { $number::grad(g, x, bound, dout) } else { $tensor::grad(g, x, bound, dout) }
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape(cx: &mut Check, x: Type, bound: Type) -> Type {
                $tensor::shape(cx, x, bound)
            }
        }
    )*};
}

bounds! {
    /// x, but not below `low`, with the gradients of [`clamp`].
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let y = clamp_min::stage(&mut g, -1.0, 0.0);
    /// assert_eq!(g.value(y)?.data(), [0.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    clamp_min = not_below(x, low) x <= low, maximum;
    /// x, but not above `high`, with the gradients of [`clamp`].
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let y = clamp_max::stage(&mut g, 5.0, 3.0);
    /// assert_eq!(g.value(y)?.data(), [3.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    clamp_max = not_above(x, high) x >= high, minimum;
}

fn is_number(bound: Value) -> bool {
    matches!(bound, Value::Number(_) | Value::Int(_))
}
