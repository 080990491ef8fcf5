//! Tensors under a shape that another one decides, to which no gradient goes.

use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{Dim, Shape};

primitive! {
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
    reshape_as(x, like)
    stage |g| {
        let shape = g[like].shape.clone();
        g.reshape(x, &shape)
    },
    grad |g, d| [Some(undone(g, x, d)), None],
    shape |cx, x, like| reshaped(cx, "reshape_as", x, like, like.shape),
}

primitive! {
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
    per_channel(x, like)
    stage |g| {
        let mut shape = vec![1; g[like].shape.len() - 1];
        shape[0] = g[like].shape[1];
        g.reshape(x, &shape)
    },
    grad |g, d| [Some(undone(g, x, d)), None],
    shape |cx, x, like| {
        if like.shape.rank() < 2 {
            return cx.error(Message::new().str("per_channel: no channels in ").shape(like.shape));
        }
        let mut shape = Shape::of(&[like.shape.dim(1)]);
        while shape.rank() + 1 < like.shape.rank() {
            shape = shape.push(Dim::n(1));
        }
        reshaped(cx, "per_channel", x, like, shape)
    },
}

/// The gradient under the shape of the argument.
fn undone(g: &mut Stage, x: Var, d: Var) -> Var {
    let shape = g[x].shape.clone();
    g.reshape(d, &shape)
}

/// The shape rule: as many elements under this shape.
#[track_caller]
const fn reshaped(cx: &mut Check, op: &str, x: TensorType, like: TensorType, shape: Shape) -> Type {
    if !shape.len().same(x.shape.len()) {
        let message = Message::new().str(op).str(": the shape ").shape(x.shape);
        return cx.error(message.str(" does not go with ").shape(like.shape));
    }
    Type::Tensor(x.shown(shape))
}
