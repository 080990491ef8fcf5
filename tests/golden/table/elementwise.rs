//! Functions of elements.

use super::Builder;
use super::case::{Case, NO_PLACE};
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

/// Operations whose function takes the input alone.
macro_rules! plain {
    ($($name:literal $op:ident),* $(,)?) => {
        &[$(($name, |c| { let x = c.x(); vec![op!(c.t, $op(x))] })),*]
    };
}

const PLAIN: &[(&str, Builder)] = plain! {
    "abs" abs, "acos" acos, "acosh" acosh, "asin" asin, "asinh" asinh, "atan" atan, "atanh" atanh, "cos" cos,
    "cosh" cosh, "erf" erf, "erfc" erfc, "exp" exp, "exp2" exp2, "expm1" expm1, "log" log, "log10" log10,
    "log1p" log1p, "log2" log2, "neg" neg, "reciprocal" reciprocal, "rsqrt" rsqrt, "sigmoid" sigmoid, "sign" sign,
    "sin" sin, "sinh" sinh, "sqrt" sqrt, "square" square, "tan" tan, "tanh" tanh,
    "nn.functional.relu" relu, "nn.functional.relu6" relu6, "nn.functional.selu" selu, "nn.functional.silu" silu,
    "nn.functional.mish" mish, "nn.functional.logsigmoid" log_sigmoid, "nn.functional.softsign" softsign,
    "nn.functional.tanhshrink" tanhshrink, "nn.functional.hardsigmoid" hardsigmoid,
    "nn.functional.hardswish" hardswish,
};

/// Operations of the input and one other operand.
macro_rules! pairs {
    ($($name:literal $op:ident),* $(,)?) => {
        &[$(($name, |c| {
            let (x, y) = (c.x(), c.operand(0, "other").expect("another operand"));
            vec![op!(c.t, $op(x, y))]
        })),*]
    };
}

const PAIRS: &[(&str, Builder)] = pairs! {
    "atan2" atan2, "div.no_rounding_mode" div, "div.floor_rounding" floor_divide, "div.trunc_rounding" trunc_divide,
    "logaddexp" logaddexp, "max.binary" maximum, "maximum" maximum,
    "min.binary" minimum, "minimum" minimum, "mul" mul,
};

/// Operations of the input and numbers with their defaults.
macro_rules! numbers {
    ($($name:literal $op:ident($($place:literal $arg:literal $default:literal),*)),* $(,)?) => {
        &[$(($name, |c| {
            let x = c.x();
            let p = [$(c.number_or($place, $arg, $default)),*];
            let mut i = 0;
            $(let _ = $arg;)*
            vec![numbers!(@ c, $op, x, p, i, $($arg)*)]
        })),*]
    };
    (@ $c:ident, $op:ident, $x:ident, $p:ident, $i:ident, $a:literal) => {{ $i += 1; let a = $p[$i - 1]; op!($c.t, $op($x; a)) }};
    (@ $c:ident, $op:ident, $x:ident, $p:ident, $i:ident, $a:literal $b:literal) => {{
        $i += 2;
        let (a, b) = ($p[$i - 2], $p[$i - 1]);
        op!($c.t, $op($x; a, b))
    }};
}

const NUMBERS: &[(&str, Builder)] = numbers! {
    "nn.functional.celu" celu(0 "alpha" 1.0),
    "nn.functional.elu" elu(0 "alpha" 1.0),
    "nn.functional.leaky_relu" leaky_relu(0 "negative_slope" 0.01),
    "nn.functional.hardshrink" hardshrink(0 "lambd" 0.5),
    "nn.functional.softshrink" softshrink(0 "lambd" 0.5),
    "nn.functional.hardtanh" hardtanh(0 "min_val" -1.0, 1 "max_val" 1.0),
    "nn.functional.threshold" threshold(0 "threshold" 0.0, 1 "value" 0.0),
    "nn.functional.softplus" softplus(0 "beta" 1.0, 1 "threshold" 20.0),
};

const OTHERS: &[(&str, Builder)] = &[
    ("add", |c| scaled_pair(c, |t, x, y| op!(t, add(x, y)))),
    ("sub", |c| scaled_pair(c, |t, x, y| op!(t, sub(x, y)))),
    ("nn.functional.gelu", |c| {
        let x = c.x();
        vec![if c.text(0, "approximate") == Some("tanh") { op!(c.t, gelu_tanh(x)) } else { op!(c.t, gelu(x)) }]
    }),
    ("nn.functional.glu", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").unwrap_or(-1));
        vec![op!(c.t, glu(x; axis))]
    }),
    ("nn.functional.prelu", |c| {
        let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
        let w = per_channel(&mut c.t, w, x);
        vec![op!(c.t, prelu(x, w))]
    }),
    ("pow", |c| {
        let (x, y) = (c.x(), c.operand(0, "exponent").expect("an exponent"));
        vec![op!(c.t, pow(x, y))]
    }),
    ("addcmul", |c| {
        let ((x, a, b), value) = (three(c), c.number_or(NO_PLACE, "value", 1.0));
        vec![op!(c.t, addcmul(x, a, b; value))]
    }),
    ("addcdiv", |c| {
        let ((x, a, b), value) = (three(c), c.number_or(NO_PLACE, "value", 1.0));
        vec![op!(c.t, addcdiv(x, a, b; value))]
    }),
    ("lerp", |c| {
        let (x, y) = (c.x(), c.operand(0, "end").expect("an end"));
        let w = c.operand(1, "weight").expect("a weight");
        vec![op!(c.t, lerp(x, y, w))]
    }),
    ("clamp", |c| bounded(c, 0, 1)),
    ("clamp_min", |c| bounded(c, 0, NO_PLACE)),
    ("clamp_max", |c| bounded(c, NO_PLACE, 0)),
    ("logit", |c| {
        let x = c.x();
        let x = match c.number(0, "eps") {
            Some(eps) => {
                let (low, high) = (eps as f32, 1.0 - eps as f32);
                op!(c.t, hardtanh(x; low, high))
            }
            None => x,
        };
        vec![op!(c.t, logit(x))]
    }),
    ("where", |c| {
        let (a, b) = (c.x(), c.operand(1, "other").expect("the other side"));
        let mask = mask(c, 0, "condition");
        vec![op!(c.t, select(mask, a, b))]
    }),
    ("masked_fill", |c| {
        let (x, mask) = (c.x(), mask(c, 0, "mask"));
        let value = c.operand(1, "value").expect("a value");
        vec![op!(c.t, masked_fill(x, mask, value))]
    }),
];

pub const TABLE: &[(&str, Builder)] = {
    const N: usize = PLAIN.len() + PAIRS.len() + NUMBERS.len() + OTHERS.len();
    const ALL: [(&str, Builder); N] = {
        let mut all = [PLAIN[0]; N];
        let (parts, mut at, mut part) = ([PLAIN, PAIRS, NUMBERS, OTHERS], 0, 0);
        while part < parts.len() {
            let mut i = 0;
            while i < parts[part].len() {
                all[at] = parts[part][i];
                at += 1;
                i += 1;
            }
            part += 1;
        }
        all
    };
    &ALL
};

fn scaled_pair(c: &mut Case<'_>, combine: fn(&mut Tape, T, T) -> T) -> Vec<T> {
    let (x, mut y) = (c.x(), c.operand(0, "other").expect("another operand"));
    if let Some(alpha) = c.number(NO_PLACE, "alpha") {
        y = scale(&mut c.t, y, alpha);
    }
    vec![combine(&mut c.t, x, y)]
}

fn three(c: &mut Case<'_>) -> (T, T, T) {
    (c.x(), c.tensor(0, "tensor1").expect("a factor"), c.tensor(1, "tensor2").expect("a factor"))
}

/// A truth value that comes as a number.
fn mask(c: &mut Case<'_>, place: usize, name: &str) -> T {
    let (mask, zero) = (c.tensor(place, name).expect("a mask"), c.t.push(0.0));
    op!(c.t, ne(mask, zero))
}

fn bounded(c: &mut Case<'_>, min: usize, max: usize) -> Vec<T> {
    let x = c.x();
    vec![match (c.operand(min, "min"), c.operand(max, "max")) {
        (Some(low), Some(high)) => op!(c.t, clamp(x, low, high)),
        (Some(low), None) => op!(c.t, clamp_min(x, low)),
        (None, Some(high)) => op!(c.t, clamp_max(x, high)),
        (None, None) => x,
    }]
}

/// x times a number.
pub fn scale(t: &mut Tape, x: T, by: f64) -> T {
    let by = t.push(by);
    op!(t, mul(x, by))
}

/// A vector of one number a channel, such that it is broadcast against the second axis of `x`.
pub fn per_channel(t: &mut Tape, w: T, x: T) -> T {
    let rank = t.rank(x);
    if rank < 2 || t.rank(w) == 0 || t.shape(w) == [1] && t.shape(x)[1] != 1 {
        return if t.shape(w) == [1] && rank == 0 { super::layout::reshaped(t, w, &[]) } else { w };
    }
    let mut shape = vec![1; rank - 1];
    shape[0] = t.shape(w)[0];
    super::layout::reshaped(t, w, &shape)
}
