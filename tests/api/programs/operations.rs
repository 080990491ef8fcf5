//! The operations that random programs are made of.

use downhill::check::{Check, Type};
use downhill::prelude::*;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A tensor of numbers, the one that other arguments refer to.
    X,
    /// The same, between 0 and 1.
    P,
    /// A tensor of numbers that broadcasts with it, or a number.
    Y,
    /// A tensor of indices.
    I,
    /// A mask.
    M,
    /// An axis of the first tensor.
    A,
    /// A list of axes.
    L,
    /// A list of sizes, with as many elements as the first tensor.
    S,
    /// A small whole number.
    N,
    /// A number.
    F,
    /// A truth value.
    B,
}

/// How a result depends on the rounding of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Whole numbers of exact arguments are exact.
    Exact,
    /// Continuous: small differences stay small.
    Smooth,
    /// Exact of exact arguments, else a small difference may make another result.
    Jumps,
}

pub struct Operation {
    pub kinds: &'static [Kind],
    pub grade: Grade,
    /// The shape rule.
    pub shape: fn(&mut Check, &[Type]) -> Type,
    pub stage: fn(&mut Stage, &[Value]) -> Vec<Value>,
    /// The gradients of the arguments.
    pub grad: fn(&mut Stage, &[Value], Grad) -> Vec<Grad>,
}

/// The gradients of one argument or several.
pub trait Grads {
    fn list(self) -> Vec<Grad>;
}

impl Grads for Grad {
    fn list(self) -> Vec<Grad> {
        vec![self]
    }
}

macro_rules! grads {
    ($($name:ident $i:tt),*) => {
        impl Grads for ($(grads!(@ $name),)*) {
            fn list(self) -> Vec<Grad> {
                vec![$(self.$i),*]
            }
        }
    };
    (@ $name:ident) => { Grad };
}
grads!(a 0, b 1);
grads!(a 0, b 1, c 2);
grads!(a 0, b 1, c 2, d 3);
grads!(a 0, b 1, c 2, d 3, e 4);
grads!(a 0, b 1, c 2, d 3, e 4, f 5);
grads!(a 0, b 1, c 2, d 3, e 4, f 5, g 6);
grads!(a 0, b 1, c 2, d 3, e 4, f 5, g 6, h 7);

/// An argument as the type that a function takes: in small letters, plain numbers of Rust's.
macro_rules! argument {
    (a $value:ident) => {
        int($value)
    };
    (i $value:ident) => {
        int($value)
    };
    (n $value:ident) => {
        int($value).unsigned_abs()
    };
    (f $value:ident) => {
        number($value)
    };
    (b $value:ident) => {
        $value == Value::Bool(true)
    };
    ($kind:ident $value:ident) => {
        $value
    };
}

macro_rules! kind {
    (a) => {
        Kind::A
    };
    (i) => {
        Kind::N
    };
    (n) => {
        Kind::N
    };
    (f) => {
        Kind::F
    };
    (b) => {
        Kind::B
    };
    ($kind:ident) => {
        Kind::$kind
    };
}

fn int(value: Value) -> isize {
    if let Value::Int(n) = value { n } else { 1 }
}

fn number(value: Value) -> f32 {
    match value {
        Value::Number(x) => x as f32,
        Value::Int(n) => n as f32,
        _ => f32::NAN,
    }
}

macro_rules! operations {
    ($($grade:ident: $($name:ident($($arg:ident $kind:ident),*))*;)*) => {
        &[$($(Operation {
            kinds: &[$(kind!($kind)),*],
            grade: Grade::$grade,
            shape: |cx, types| {
                let [$($arg),*] = *types else { panic!("{} arguments", types.len()) };
                $name::shape(cx, $($arg),*)
            },
            stage: |g, values| {
                let [$($arg),*] = *values else { panic!("{} arguments", values.len()) };
                vec![$name::stage(g, $(argument!($kind $arg)),*)]
            },
            grad: |g, values, dout| {
                let [$($arg),*] = *values else { panic!("{} arguments", values.len()) };
                $name::grad(g, $(argument!($kind $arg),)* dout).list()
            },
        }),*),*]
    };
}

/// Each of these gives one tensor.
pub const OPERATIONS: &[Operation] = operations! {
    Exact:
        neg(x X) add(x X, y Y) sub(x X, y Y) mul(x X, y Y)
        sum(x X) prod(x X) sum_axes(x X, l L) sum_keepdim(x X, l L) prod_axes(x X, l L) prod_keepdim(x X, l L)
        cumsum(x X, a A) flip(x X, a A) roll(x X, a A, n N) repeat(x X, a A, n N) repeat_interleave(x X, a A, n N)
        reshape(x X, s S) broadcast_to(x X, s S) permute(x X, l L) transpose(x X, a A, b A) unsqueeze(x X, a A)
        squeeze(x X, l L) unflatten(x X, a A, s S) movedim(x X, a A, b A) flatten(x X, a A, b A)
        reshape_as(x X, y Y) per_channel(x X, y Y) split_heads(x X, n N) group_heads(x X, n N)
        stride(x X, a A, n N) diagonal(x X, n N, a A, b A)
        slice(x X, a A, n N, m N) pad(x X, a A, n N, m N) narrow(x X, a a, n n, m n)
        pad_reflect(x X, a A, n N, m N) pad_replicate(x X, a A, n N, m N) pad_circular(x X, a A, n N, m N)
        pad_constant(x X, a A, n N, m N, f N) neighbours(x X, a A, n N)
        pad_windows(x X, a A, n N, m N, o N, p N, b B, f N)
        windows(x X, a A, n N, m N, o N) overlap(x X, a A, n N, m N, o N)
        resize_nearest(x X, a A, n N, f F) resize_nearest_exact(x X, a A, n N, f F)
        matmul(x X, y X) gather(x X, i I) stop_gradient(x X) square(x X) outer(x X, y X)
        take_last(x X, i I) take_along(x X, i I, a a) add_along(x X, i I, a a, n n) take_rows(x X, i I, a a)
        add_rows(x X, i I, a a, n n) scatter_add(x X, i I, y Y, a a) index_add(x X, i I, y Y, a a, f f)
        padded_gather(x X, i I, n n) one_hot(i I, n n) within(i I, n N) within_or(i I, n N, m N)
        and(m M, n M) or(m M, n M) not(m M) any(m M, l L) all(m M, l L) masked_fill(x X, m M, y Y)
        tril(x X, n i) iota(n N) count(x X) size(x X, a A);
    Smooth:
        exp(x X) tanh(x X) sigmoid(x X) erf(x X) sin(x X) cos(x X) expm1(x X) log1p(x P) erfc(x X) tan(x X) asin(x P)
        acos(x P) atan(x X) sinh(x X) cosh(x X) asinh(x X) atanh(x P) log(x P) sqrt(x P)
        div(x X, y Y) pow(x P, y Y) atan2(x X, y P) reciprocal(x P) rsqrt(x P) exp2(x X) log2(x P)
        silu(x X) mish(x X) log_sigmoid(x X) softsign(x X) tanhshrink(x X) gelu(x X) gelu_tanh(x X)
        softplus(x X, f f, h f) glu(x X, a a) softmax(x X, a a) log_softmax(x X, a a) softmin(x X, a a)
        mean(x X) mean_axes(x X, l L) mean_keepdim(x X, l L) logsumexp(x X, l L) logsumexp_keepdim(x X, l L)
        variance(x X, l L, f f) deviation(x X, l L, f f) vector_norm(x X, f f, l L)
        adaptive_avg(x X, a A, n N) resize_linear(x X, a A, n N, b B, f F) adaptive_avg_pool1d(x X, n n)
        upsample_bilinear2d(x X, n n, m n, b b) linear(x X, y X, z Y) lerp(x X, y Y, z Y) logaddexp(x X, y Y)
        cosine_similarity(x X, y Y, a a, f f) rotary(x X, f f, n n) cross_entropy(x X, i I) nll(x X, i I)
        smoothed_cross_entropy(x X, i I, f f) mse(x X, y X) bce_with_logits(x X, y X) kl_div(x X, y X, b b)
        addcmul(x X, y Y, z Y, f f) addcdiv(x X, y Y, z Y, f f) xlogy(x X, y Y) erfinv(x P) lgamma(x P) digamma(x P);
    Jumps:
        abs(x X) floor(x X) maximum(x X, y Y) minimum(x X, y Y) lt(x X, y Y) le(x X, y Y) gt(x X, y Y) ge(x X, y Y)
        eq(x X, y Y) ne(x X, y Y) select(m M, x X, y Y) integer(x X) max(x X) min(x X) max_axes(x X, l L)
        min_axes(x X, l L) max_keepdim(x X, l L) min_keepdim(x X, l L) adaptive_max(x X, a A, n N)
        adaptive_max_pool1d(x X, n n) argmax(x X) argmin(x X) argmax_axis(x X, a a) argmin_axis(x X, a a)
        hardsigmoid(x X) hardswish(x X) hardshrink(x X, f f) softshrink(x X, f f) relu(x X) relu6(x X)
        hardtanh(x X, f f, h f) leaky_relu(x X, f f) prelu(x X, y Y) threshold(x X, f f, h f) elu(x X, f f)
        celu(x X, f f) selu(x X) ceil(x X) round(x X) frac(x X) floor_divide(x X, y Y) trunc_divide(x X, y Y)
        remainder(x X, y Y) fmod(x X, y Y) clamp_min(x X, y Y) clamp_max(x X, y Y) clamp(x X, y Y, z Y) sign(x X)
        trunc(x X) isnan(x X) isinf(x X) isfinite(x X) l1(x X, y X) smooth_l1(x X, y X, f f) huber(x X, y X, f f)
        hinge(x X, y X) accuracy(x X, i I) masked_softmax(x X, m M) sort(x X, a A, b B) argsort(x X, a A, b B);
};
