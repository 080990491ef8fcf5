//! Two operands broadcast against each other: the shape rule, and the way back.

use crate::graph::{Grad, Stage, Var};
use crate::shape::DType;
use crate::shape::check::{Check, Message, TensorType, Type};

/// The shape and element type of two operands broadcast against each other.
#[track_caller]
pub(super) const fn broadcast(cx: &mut Check, op: &str, a: Type, b: Type) -> Option<TensorType> {
    let (Some(ta), Some(tb)) = (a.operand(cx, op), b.operand(cx, op)) else { return None };
    let dtype = match (ta.dtype, tb.dtype, a, b) {
        // A number takes the type of the other side.
        (DType::F32, DType::I32, Type::Dim(_) | Type::Number(_), _)
        | (DType::I32, DType::F32, _, Type::Dim(_) | Type::Number(_)) => {
            if a.is_fraction() || b.is_fraction() {
                let message =
                    Message::new().str(op).str(": an Index beside a number that is not whole or out of its range");
                cx.error(message.str(": write `float(..)` around the Index"));
                return None;
            }
            DType::I32
        }
        (DType::F32, DType::F32, ..) => DType::F32,
        (DType::I32, DType::I32, ..) => DType::I32,
        (DType::F32, DType::I32, ..) | (DType::I32, DType::F32, ..) => {
            let message = Message::new().str(op).str(": cannot mix ").str(ta.dtype.name()).str(" and ");
            cx.error(message.str(tb.dtype.name()).str(": write `float(..)` around the Index"));
            return None;
        }
        (DType::Bool, ..) | (_, DType::Bool, ..) => {
            let message = Message::new().str(op).str(": expected Tensor or Index, found Mask");
            cx.error(message.str(": write `float(..)` around it"));
            return None;
        }
    };
    match ta.shape.broadcast(&tb.shape) {
        Some(shape) => Some(ta.like(dtype, shape).depends(tb)),
        None => {
            let message = Message::new().str(op).str(": ").shape(ta.shape).str(" and ").shape(tb.shape);
            cx.error(message.str(" do not broadcast"));
            None
        }
    }
}

/// The gradient of an operand that was broadcast.
pub(super) fn sum_back(g: &mut Stage, d: Var, operand: Var) -> Grad {
    let shape = g[operand].shape.clone();
    Some(g.unbroadcast(d, &shape))
}
