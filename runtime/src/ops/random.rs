//! What is left out at random.

use super::numbers;
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::{Binary, Compare};
use crate::shape::DType;
use crate::shape::check::{Check, Message, Type};

/// `dropout(x, p)`:
/// Sets each element to zero with probability `p` and divides the others by 1 − p, while training
/// (Srivastava et al., JMLR 15, 2014); in evaluation it changes nothing.
///
/// Each call draws a mask of its own in each step, also on the same value: two layers, one layer called twice, the
/// rounds of a loop, or two passes through one encoder drop independently of one another. The seed of the step, the
/// place of the call in the network and that of the element decide; neither threads nor `#[checkpoint]` matter.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// // Not in training:
/// let y = dropout::stage(&mut g, 3.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [3.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum dropout {}

impl dropout {
    /// `value` where nothing of `x` is dropped.
    fn apply(g: &mut Stage, x: Var, value: Var, p: f64) -> Var {
        let random = g.random_for(x);
        let bound = g.number(p);
        let dropped = g.compare(Compare::Lt, random, bound);
        let scale = g.number(1.0 / (1.0 - p));
        let scaled = g.binary(Binary::Mul, value, scale);
        let zero = g.number(0.0);
        g.select(dropped, zero, scaled)
    }

    fn probability(p: Value) -> f64 {
        match p {
            Value::Number(p) => p,
            Value::Int(p) => p as f64,
            _ => f64::NAN,
        }
    }

    /// Stages the dropping.
    pub fn stage(g: &mut Stage, x: impl Into<Value>, p: impl Into<Value>) -> Value {
        let (x, p) = (x.into(), p.into());
        let (tx, tp) = (g.ty(x), g.ty(p));
        let p = Self::probability(p);
        let rule = |cx: &mut Check| {
            if !(0.0..1.0).contains(&p) {
                return cx.error(Message::new().str("dropout: expected a probability from 0 to 1, less than 1"));
            }
            Self::shape(cx, tx, tp)
        };
        super::admitted(
            g,
            rule,
            &[x],
            |g, v| {
                if g.is_training() && p > 0.0 { Self::apply(g, v[0], v[0], p) } else { v[0] }
            },
        )
    }

    /// Stages the gradient: dropped where the value was.
    pub fn grad(g: &mut Stage, x: impl Into<Value>, p: impl Into<Value>, dout: Grad) -> (Grad, Grad) {
        let (Some(x), Some(dout)) = (g.operand(x.into()), dout) else { return (None, None) };
        let p = Self::probability(p.into());
        let dx = if g.is_training() && p > 0.0 { Self::apply(g, x, dout, p) } else { dout };
        (Some(dx), None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(cx: &mut Check, x: Type, p: Type) -> Type {
        match (numbers(cx, "dropout", x), p) {
            (Some(x), p) if p.is_number() => Type::Tensor(x.like(DType::F32, x.shape)),
            (None, _) => Type::Unknown,
            _ => cx.error(Message::new().str("dropout: expected a number as probability")),
        }
    }
}
