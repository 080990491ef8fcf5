//! Arguments that belong together element by element: what losses compare may not be broadcast against each other.

use crate::graph::{Grad, Stage, Value};
use crate::shape::Shape;
use crate::shape::check::{Check, Message, TensorType, Type};

/// Both as tensors, if there is something to compare.
#[track_caller]
const fn tensors(cx: &mut Check, name: &str, x: Type, like: Type) -> Option<(TensorType, TensorType)> {
    if x.is_number() || like.is_number() {
        return None;
    }
    match (x.operand(cx, name), like.operand(cx, name)) {
        (Some(x), Some(like)) => Some((x, like)),
        _ => None,
    }
}

/// Defines an operation that gives its second argument back if its shape goes with that of the third.
macro_rules! agreement {
    ($(#[$doc:meta])* $name:ident |$x:ident, $like:ident| $agrees:expr, $differ:literal, $advice:literal) => {
        #[doc = concat!(" `", stringify!($name), "(name, x, like)`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// The argument, if the shapes agree.
            pub fn stage(g: &mut Stage, name: &str, x: impl Into<Value>, like: impl Into<Value>) -> Value {
                let (x, like) = (x.into(), like.into());
                let (tx, tl) = (g.ty(x), g.ty(like));
                let mut refused = false;
                g.checked(|cx| {
                    let ty = Self::shape(cx, name, tx, tl);
                    refused = cx.errors() > 0;
                    ty
                });
                if refused { Value::Unknown } else { x }
            }

            /// The gradient goes to the argument.
            pub fn grad(
                _g: &mut Stage,
                _name: &str,
                _x: impl Into<Value>,
                _like: impl Into<Value>,
                dout: Grad,
            ) -> (Grad, Grad, Grad) {
                (None, dout, None)
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape(cx: &mut Check, name: &str, x: Type, like: Type) -> Type {
                let Some(($x, $like)) = tensors(cx, name, x, like) else { return x };
                if $agrees {
                    return x;
                }
                let message = Message::new().str(name).str(": ").shape($like.shape).str(" and ").shape($x.shape);
                cx.error(message.str($differ).str($advice))
            }
        }
    };
}

agreement! {
    /// `x`, which must have the shape of `like` if both are tensors: what a loss called `name` compares with it
    /// element by element. Broadcasting would compare each element with each, as it does with `[B, 1]` and `[B]`.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network]
    /// fn absolute(prediction: Tensor, target: Tensor) -> Tensor {
    ///     mean(abs(prediction - same_shape("absolute", target, prediction)))
    /// }
    ///
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 1], [1.0, 2.0])?);
    /// let y = absolute::stage(&mut g, x, 0.0);
    /// assert_eq!(g.value(y)?.item()?, 1.5);
    /// let target = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// absolute::stage(&mut g, x, target);
    /// assert!(g.error().is_some_and(|error| error.starts_with("absolute: [2, 1] and [2] differ")));
    /// # Ok::<(), downhill::Error>(())
    /// ```
    same_shape |x, like| like.shape.same(&x.shape),
    " differ, and are compared element by element",
    ": give both one shape, by `reshape`, `squeeze` or `unsqueeze`"
}

agreement! {
    /// `x`, which must broadcast to the shape of `like` if both are tensors: what a loss called `name` weighs its
    /// elements by. The result has no more elements than `like`.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network]
    /// fn weighted(terms: Tensor, weight: Tensor) -> Tensor {
    ///     mean(terms * fitting_shape("weighted", weight, terms))
    /// }
    ///
    /// let mut g = Stage::new();
    /// let terms = g.constant(&Tensor::new([1, 2], [1.0, 2.0])?);
    /// let weight = g.constant(&Tensor::new([2], [1.0, 3.0])?);
    /// let y = weighted::stage(&mut g, terms, weight);
    /// assert_eq!(g.value(y)?.item()?, 3.5);
    /// let weight = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
    /// weighted::stage(&mut g, terms, weight);
    /// assert!(g.error().is_some_and(|error| error.starts_with("weighted: [1, 2] and [2, 1]")));
    /// # Ok::<(), downhill::Error>(())
    /// ```
    fitting_shape |x, like| broadcasts_to(x.shape, like.shape),
    ": the second must broadcast to the first",
    ", as one number, or one for each element along its last axes"
}

/// Whether a tensor of shape `x` can be repeated to the shape `like`.
const fn broadcasts_to(x: Shape, like: Shape) -> bool {
    match x.broadcast(&like) {
        Some(shape) => shape.same(&like),
        None => false,
    }
}
