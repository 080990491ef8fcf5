//! Tensors under a shape that another one decides.

use super::reshape;
use crate::graph::{Grad, Stage, Value};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{Dim, Shape};

/// Defines a reshape to a shape that another tensor decides, to which no gradient goes.
macro_rules! reshape_to {
    ($(#[$doc:meta])* $name:ident |$cx:ident, $x:ident, $like:ident| $shape:expr) => {
        #[doc = concat!(" `", stringify!($name), "(x, like)`:")]
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub enum $name {}

        impl $name {
            /// Stages the new shape.
            pub fn stage(g: &mut Stage, x: impl Into<Value>, like: impl Into<Value>) -> Value {
                let (x, like) = (x.into(), like.into());
                let (tx, tl) = (g.ty(x), g.ty(like));
                let Some(ty) = g.checked(|cx| Self::shape(cx, tx, tl)) else { return Value::Unknown };
                let (Some(x), Some(shape)) = (g.operand(x), ty.shape.concrete()) else { return Value::Unknown };
                Value::Var(g.reshape(x, &shape))
            }

            /// Stages the gradient in the old shape.
            pub fn grad(g: &mut Stage, x: impl Into<Value>, _like: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
                reshape::grad(g, x, Value::Unknown, dout)
            }

            /// The shape rule.
            #[track_caller]
            pub const fn shape($cx: &mut Check, x: Type, like: Type) -> Type {
                let (Some($x), Some($like)) = (x.operand($cx, stringify!($name)), like.operand($cx, stringify!($name)))
                else {
                    return Type::Unknown;
                };
                let shape = $shape;
                if !shape.len().same($x.shape.len()) {
                    let message = Message::new().str(stringify!($name)).str(": the shape ").shape($x.shape);
                    return $cx.error(message.str(" does not go with ").shape($like.shape));
                }
                Type::Tensor($x.shown(shape))
            }
        }
    };
}

reshape_to! {
    /// The same elements in the same order under the shape of another tensor: PyTorch's `reshape_as`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([4], [1.0, 2.0, 3.0, 4.0])?);
    /// let like = g.constant(&Tensor::new([2, 2], [0.0; 4])?);
    /// let y = reshape_as::stage(&mut g, x, like);
    /// assert_eq!(g.value(y)?, Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    reshape_as |cx, x, like| like.shape
}

reshape_to! {
    /// A number for each channel, `[C]`, with axes of size one behind it, so that it broadcasts along axis 1 of
    /// `[B, C, ..]`.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2], [1.0, 2.0])?);
    /// let like = g.constant(&Tensor::new([1, 2, 1], [0.0; 2])?);
    /// let y = per_channel::stage(&mut g, x, like);
    /// assert_eq!(g.value(y)?, Tensor::new([2, 1], [1.0, 2.0])?);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    per_channel |cx, x, like| {
        if like.shape.rank() < 2 {
            return cx.error(Message::new().str("per_channel: no channels in ").shape(like.shape));
        }
        let mut shape = Shape::of(&[like.shape.dim(1)]);
        while shape.rank() + 1 < like.shape.rank() {
            shape = shape.push(Dim::n(1));
        }
        shape
    }
}
