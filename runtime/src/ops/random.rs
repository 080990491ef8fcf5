//! Random numbers that depend on a counter: element `i` of a stream is a hash of the seed of the
//! run, the stream and `i`. No state is kept, so a backward pass computes the numbers of the forward
//! pass again, and threads do not matter.

use super::numbers;
use crate::check::{Check, Message, Type};
use crate::codegen::strip::{Reg, Strip};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ops::elementwise::{Binary, Compare};

/// The finalizer `lowbias32` of Chris Wellons' hash prospector: shifts and multipliers.
const ROUNDS: [(u8, u32); 2] = [(16, 0x7feb_352d), (15, 0x846c_a68b)];
const LAST_SHIFT: u8 = 16;

/// Added between the two hashes, so that element zero of key zero is not zero.
const GOLDEN: u32 = 0x9e37_79b9;

/// Element `i` of a stream, from 0 to 1, less than 1.
pub(crate) fn reference(seed: u32, stream: u32, i: u32) -> f64 {
    let key = hash(seed.wrapping_add(stream));
    (hash((i ^ key).wrapping_add(GOLDEN)) >> 8) as f64 / (1 << 24) as f64
}

/// A hash of 32 bits.
pub(crate) fn hash(mut x: u32) -> u32 {
    for (shift, factor) in ROUNDS {
        x = (x ^ x >> shift).wrapping_mul(factor);
    }
    x ^ x >> LAST_SHIFT
}

/// The same in vector code.
pub(crate) fn lower(s: &mut Strip, seed: Reg, stream: u32, i: Reg) -> Reg {
    let stream = s.int(stream as i32);
    let start = s.iadd(seed, stream);
    let key = lower_hash(s, start);
    let mixed = s.ixor(i, key);
    let golden = s.int(GOLDEN as i32);
    let mixed = s.iadd(mixed, golden);
    let bits = lower_hash(s, mixed);
    let bits = s.shr_unsigned(bits, 8);
    let whole = s.to_float(bits);
    let scale = s.float(1.0 / (1 << 24) as f32);
    s.mul(whole, scale)
}

fn lower_hash(s: &mut Strip, mut x: Reg) -> Reg {
    for (shift, factor) in ROUNDS {
        let shifted = s.shr_unsigned(x, shift);
        let mixed = s.ixor(x, shifted);
        let factor = s.int(factor as i32);
        x = s.imul(mixed, factor);
    }
    let shifted = s.shr_unsigned(x, LAST_SHIFT);
    s.ixor(x, shifted)
}

/// Sets each element to zero with probability `p` and divides the others by 1 − p, while training
/// (Srivastava et al., JMLR 15, 2014); in evaluation it changes nothing. Two calls on the same value
/// drop the same elements.
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
            (Some(x), Type::Number | Type::Dim(_)) => Type::Tensor(x),
            (None, _) => Type::Unknown,
            _ => cx.error(Message::new().str("dropout: expected a number as probability")),
        }
    }
}
