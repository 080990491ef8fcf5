//! Values and slopes where functions have a border, an end or no number: compiled kernels and the reference against
//! PyTorch 2.15, and against the limit where PyTorch has NaN.

use std::f32::consts::LN_2;

use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Error, Input};

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// The gradient of the first argument.
trait First {
    fn first(self) -> Grad;
}

impl First for Grad {
    fn first(self) -> Grad {
        self
    }
}

macro_rules! first {
    ($($rest:ident)*) => {
        impl First for (Grad, $($rest,)*) {
            fn first(self) -> Grad {
                self.0
            }
        }
    };
}
first! { Grad }
first! { Grad Grad }
first! { Grad Grad Grad }
first! { Grad Grad Grad Grad }

/// Whether a number is the expected one; the sign of zero does not count (see `zeros_have_their_sign`).
fn same(found: f32, expected: f32) -> bool {
    let close = (found as f64 - expected as f64).abs() <= 2e-6 * expected.abs() as f64;
    found == expected || found.is_nan() && expected.is_nan() || expected.is_finite() && close
}

/// Compares a value with the expected numbers, compiled and by the reference.
#[track_caller]
fn check(what: &str, g: &Stage, value: Value, inputs: &[Input<'_>], expected: &[f32]) {
    assert_eq!(g.error(), None, "{what}");
    let found = g.compute(&[value], inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    let reference = g.reference(&[value], inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    let rounded: Vec<f32> = reference[0].iter().map(|&x| x as f32).collect();
    for (by, found) in [("compiled", found[0].data()), ("the reference", &rounded[..])] {
        let right = found.len() == expected.len() && found.iter().zip(expected).all(|(&a, &b)| same(a, b));
        assert!(right, "{what}, {by}: {found:?}, expected {expected:?}");
    }
}

fn tensor(data: &[f32]) -> Tensor {
    Tensor::new([data.len()], data).unwrap()
}

/// A function of an input, its values, and its slopes.
fn check_function(
    what: &str,
    x: &Tensor,
    stage: impl Fn(&mut Stage, Value) -> Value,
    grad: impl Fn(&mut Stage, Value, Grad) -> Grad,
    values: &[f32],
    slopes: &[f32],
) {
    let mut g = Stage::new();
    let input = Value::Var(g.input(0, x.shape(), DType::F32));
    let y = stage(&mut g, input);
    check(what, &g, y, &[Input::from(x)], values);
    let Value::Var(y) = y else { panic!("{what}: no tensor") };
    let shape = g.graph()[y].shape.clone();
    let ones = g.fill(1.0, &shape);
    let Some(d) = grad(&mut g, input, Some(ones)) else {
        return assert!(slopes.is_empty(), "{what} has no gradient");
    };
    check(&format!("slope of {what}"), &g, Value::Var(d), &[Input::from(x)], slopes);
}

/// `name(x = [..], further arguments) => [values], [slopes];`
macro_rules! functions {
    ($($name:ident($x:expr $(, $arg:expr)*) => $values:expr, $slopes:expr;)*) => {$(
        check_function(
            concat!(stringify!($name), stringify!(($($arg),*))),
            &tensor(&$x),
            |g, x| $name::stage(g, x $(, $arg)*),
            |g, x, d| First::first($name::grad(g, x $(, $arg)*, d)),
            &$values,
            &$slopes,
        );
    )*};
}

#[test]
fn slopes_at_borders_are_pytorchs() {
    functions! {
        relu([0.0, -0.0]) => [0.0, 0.0], [0.0, 0.0];
        relu6([0.0, 6.0]) => [0.0, 6.0], [0.0, 0.0];
        hardtanh([-1.0, 1.0], -1.0, 1.0) => [-1.0, 1.0], [0.0, 0.0];
        hardsigmoid([-3.0, 3.0, 2.999_999_8, -2.999_999_8]) => [0.0, 1.0, 1.0, 3.973_643e-8], [0.0, 0.0, 1.0 / 6.0, 1.0 / 6.0];
        hardswish([-3.0, 3.0, 0.0]) => [0.0, 3.0, 0.0], [0.0, 1.0, 0.5];
        clamp([-1.0, 1.0, 0.0], -1.0, 1.0) => [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0];
        clamp([-1.0, 1.0, 0.0, 2.0], 1.0, -1.0) => [-1.0; 4], [0.0; 4];
        clamp_min([1.0, 2.0], 1.0) => [1.0, 2.0], [0.0, 1.0];
        clamp_max([1.0, 2.0], 1.0) => [1.0, 1.0], [0.0, 0.0];
        threshold([1.0], 1.0, 9.0) => [9.0], [0.0];
        softshrink([-0.5, 0.5], 0.5) => [0.0, 0.0], [0.0, 0.0];
        hardshrink([-0.5, 0.5], 0.5) => [0.0, 0.0], [0.0, 0.0];
        leaky_relu([0.0], 0.1) => [0.0], [0.1];
        prelu([0.0], 0.25) => [0.0], [0.25];
        elu([0.0], 2.0) => [0.0], [2.0];
        celu([0.0], 2.0) => [0.0], [1.0];
        selu([0.0]) => [0.0], [1.758_099_3];
        softplus([20.0], 1.0, 20.0) => [20.0], [1.0];
        log_sigmoid([0.0]) => [-LN_2], [0.5];
        softsign([0.0]) => [0.0], [1.0];
        abs([0.0, -0.0]) => [0.0, 0.0], [0.0, 0.0];
        maximum([1.0, 0.0], 1.0) => [1.0, 1.0], [0.5, 0.0];
        minimum([1.0, 0.0], 1.0) => [1.0, 0.0], [0.5, 1.0];
        max([1.0, 1.0, 0.0]) => [1.0], [0.5, 0.5, 0.0];
        min([1.0, 0.0, 0.0]) => [0.0], [0.0, 0.5, 0.5];
        huber_terms([1.0, -1.0, 0.0], 0.0, 1.0) => [0.5, 0.5, 0.0], [1.0, -1.0, 0.0];
        smooth_l1_terms([1.0, -1.0, 0.0], 0.0, 1.0) => [0.5, 0.5, 0.0], [1.0, -1.0, 0.0];
        l1_terms([0.0], 0.0) => [0.0], [0.0];
        bce_with_logits_terms([0.0, 0.0], 1.0) => [LN_2; 2], [-0.5; 2];
        margin_ranking_terms([1.5], 1.0, 1.0, 0.5) => [0.0], [0.0];
        hinge_terms([1.0], 1.0) => [0.0], [0.0];
        hinge_embedding_terms([1.0], -1.0, 1.0) => [0.0], [0.0];
        vector_norm([1.0, -1.0], INF, -1) => [1.0], [0.5, -0.5];
        vector_norm([0.0, -1.0], 1.0, -1) => [1.0], [0.0, -1.0];
        vector_norm([0.0, 0.0], 2.0, -1) => [0.0], [0.0, 0.0];
        normalize([1.0, 0.0], -1, 1.0) => [1.0, 0.0], [1.0, 1.0];
        logaddexp([0.0], 0.0) => [LN_2], [0.5];
    }
}

#[test]
fn bounds_that_are_tensors_share_the_gradient() {
    let x = tensor(&[-1.0, 1.0, 0.0, -2.0, 2.0]);
    let (low, high) = (tensor(&[-1.0; 5]), tensor(&[1.0; 5]));
    let mut g = Stage::new();
    let inputs = [0, 1, 2].map(|i| Value::Var(g.input(i, &[5], DType::F32)));
    let ones = g.fill(1.0, &[5]);
    let (dx, dlow, dhigh) = clamp::grad(&mut g, inputs[0], inputs[1], inputs[2], Some(ones));
    let given = [Input::from(&x), Input::from(&low), Input::from(&high)];
    let expected = [[0.5, 0.5, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.0, 1.0]];
    for ((d, expected), what) in [dx, dlow, dhigh].into_iter().zip(&expected).zip(["x", "low", "high"]) {
        check(what, &g, Value::Var(d.unwrap()), &given, expected);
    }
}

#[test]
fn ends_are_limits() {
    functions! {
        gelu_tanh([1e30, -1e30, 3e38]) => [1e30, 0.0, 3e38], [1.0, 0.0, 1.0];
        gelu([1e30, -1e30]) => [1e30, 0.0], [1.0, 0.0];
        silu([1e30, -1e30]) => [1e30, 0.0], [1.0, 0.0];
        mish([1e30, -1e30]) => [1e30, 0.0], [1.0, 0.0];
        softsign([1e30]) => [1.0], [0.0];
        hardswish([1e30, -1e30, INF, -INF, NAN]) => [1e30, 0.0, INF, 0.0, NAN], [1.0, 0.0, 1.0, 0.0, NAN];
        hardsigmoid([INF, -INF]) => [1.0, 0.0], [0.0, 0.0];
        hardtanh([INF, -INF], -1.0, 1.0) => [1.0, -1.0], [0.0, 0.0];
        relu6([INF, -INF]) => [6.0, 0.0], [0.0, 0.0];
        relu([INF, -INF]) => [INF, 0.0], [1.0, 0.0];
        leaky_relu([INF, -INF], 0.5) => [INF, -INF], [1.0, 0.5];
        hardshrink([INF, -INF], 0.5) => [INF, -INF], [1.0, 1.0];
        softshrink([INF, -INF], 0.5) => [INF, -INF], [1.0, 1.0];
        threshold([INF, -INF], 0.5, 3.0) => [INF, 3.0], [1.0, 0.0];
        elu([INF, -INF], 2.0) => [INF, -2.0], [1.0, 0.0];
        celu([INF, -INF], 2.0) => [INF, -2.0], [1.0, 0.0];
        tanhshrink([1e30]) => [1e30], [1.0];
        log_sigmoid([-INF, INF]) => [-INF, 0.0], [1.0, 0.0];
        softplus([-INF, INF], 1.0, 20.0) => [0.0, INF], [0.0, 1.0];
        logaddexp([INF, -INF], 1.0) => [INF, 1.0], [1.0, 0.0];
        logsumexp([-INF, -INF], -1) => [-INF], [0.0, 0.0];
        logsumexp([-INF, 1.0], -1) => [1.0], [0.0, 1.0];
        logsumexp([INF, 1.0], -1) => [INF], [1.0, 0.0];
        logsumexp([INF, INF], -1) => [INF], [0.5, 0.5];
        logsumexp([INF, -INF, INF, 3e38], -1) => [INF], [0.5, 0.0, 0.5, 0.0];
        logsumexp([NAN, 1.0], -1) => [NAN], [NAN, NAN];
        logsumexp([NAN, INF], -1) => [NAN], [NAN, NAN];
        logsumexp([3e38, -3e38], -1) => [3e38], [1.0, 0.0];
        logsumexp([1e-30, 0.0, LN_2], -1) => [2.0 * LN_2], [0.25, 0.25, 0.5];
        logaddexp([INF, -INF, 3e38], -INF) => [INF, -INF, 3e38], [1.0, 0.5, 1.0];
        logaddexp([INF, -INF, 3e38], INF) => [INF, INF, INF], [0.5, 0.0, 0.0];
        log_softmax([-INF, 0.0], -1) => [-INF, 0.0], [1.0, -1.0];
        log_softmax([-INF, -INF], -1) => [NAN, NAN], [NAN, NAN];
        log_softmax([INF, 1.0], -1) => [NAN, NAN], [NAN, NAN];
        softmax([-INF, 0.0], -1) => [0.0, 1.0], [0.0, 0.0];
        softmax([-INF, -INF], -1) => [NAN, NAN], [NAN, NAN];
        softmax([INF, 1.0], -1) => [NAN, NAN], [NAN, NAN];
        prod([0.0, 2.0, 3.0]) => [0.0], [6.0, 0.0, 0.0];
        prod([0.0, 0.0, 3.0]) => [0.0], [0.0, 0.0, 0.0];
        prod([0.0, INF]) => [NAN], [INF, 0.0];
        prod([-1.0, INF]) => [-INF], [INF, -1.0];
        bce_with_logits_terms([INF, -INF], 1.0) => [0.0, INF], [0.0, -1.0];
        bce_with_logits_terms([INF, -INF], 0.0) => [INF, 0.0], [1.0, 0.0];
        bce_with_logits_terms([INF, -INF, 0.0], 0.5) => [INF, INF, LN_2], [0.5, -0.5, 0.0];
        weighted_bce_with_logits_terms([INF, -INF], 1.0, 2.0, 3.0) => [0.0, INF], [0.0, -6.0];
        weighted_bce_with_logits_terms([INF, -INF], 0.0, 2.0, 3.0) => [INF, 0.0], [2.0, 0.0];
        weighted_bce_with_logits_terms([INF, -INF, 1.0], 1.0, 0.0, 3.0) => [0.0; 3], [0.0; 3];
        weighted_bce_with_logits_terms([INF, -INF, 1.0], 0.0, 0.0, 3.0) => [0.0; 3], [0.0; 3];
        weighted_bce_with_logits_terms([INF, -INF, 0.0], 0.5, 1.0, 2.0) => [INF, INF, 1.5 * LN_2], [0.5, -1.0, -0.25];
        gaussian_nll_terms([1.0, 3.0], 1.0, -1.0, false, 0.25) => [-LN_2, 8.0 - LN_2], [0.0, 8.0];
        soft_margin_terms([INF, -INF], 1.0) => [0.0, INF], [0.0, -1.0];
        multilabel_soft_margin_terms([INF, INF], 1.0, 1.0) => [0.0], [0.0, 0.0];
        kl_div_terms([-INF, -1.0], 0.0, false) => [0.0, 0.0], [0.0, 0.0];
        kl_div_terms([-INF, -1.0], -INF, true) => [0.0, 0.0], [0.0, 0.0];
        exp2([3.0, 127.0, -149.0, -200.0, INF, -INF]) => [8.0, 1.701_411_8e38, 1e-45, 0.0, INF, 0.0], [5.545_177_5, 1.179_328_8e38, 1e-45, 0.0, INF, 0.0];
        expm1([-INF, INF]) => [-1.0, INF], [0.0, INF];
        log1p([-1.0, INF]) => [-INF, INF], [INF, 0.0];
        atan([INF, -INF]) => [std::f32::consts::FRAC_PI_2, -std::f32::consts::FRAC_PI_2], [0.0, 0.0];
        round([2.5, INF, -INF]) => [2.0, INF, -INF], [];
    }
}

#[network]
fn zero_times(x: Tensor) -> Tensor {
    0.0 * x
}

#[network]
fn zero_over(x: Tensor) -> Tensor {
    0.0 / x
}

#[network]
fn less_itself(x: Tensor) -> Tensor {
    x - x
}

#[network]
fn over_itself(x: Tensor) -> Tensor {
    x / x
}

#[network]
fn hidden_by_zero(x: Tensor) -> Tensor {
    x + 0.0 * sum(x)
}

#[network]
fn row_of_zeros(x: Tensor<N>) -> Tensor {
    sum(matmul(broadcast_to(0.0, [3, N]), x))
}

#[network]
fn product_alone(x: Tensor<N>) -> Tensor<1, N> {
    addmm(x, broadcast_to(1.0, [1, 1]), broadcast_to(3.0, [1, N]), 0.0, 1.0)
}

#[network]
fn zero_of_logs(x: Tensor) -> Tensor {
    xlogy(0.0, x)
}

/// A constant zero is no reason to forget the other factor; but the slope of a product with zero is zero.
#[test]
fn zeros_hide_nothing() {
    functions! {
        mul([NAN, INF, -INF, 2.0], 0.0) => [NAN, NAN, NAN, 0.0], [0.0; 4];
        zero_times([NAN, INF, -INF, 2.0]) => [NAN, NAN, NAN, 0.0], [0.0; 4];
        div([NAN, INF, 2.0], INF) => [NAN, NAN, 0.0], [0.0; 3];
        zero_over([NAN, 0.0, INF, 2.0]) => [NAN, NAN, 0.0, 0.0], [NAN, NAN, 0.0, 0.0];
        less_itself([NAN, INF, 2.0]) => [NAN, NAN, 0.0], [0.0; 3];
        over_itself([NAN, INF, 0.0, 2.0]) => [NAN, NAN, NAN, 1.0], [NAN, NAN, NAN, 0.0];
        pow([NAN, INF, 0.0, 2.0], 0.0) => [1.0; 4], [0.0; 4];
        pow([NAN, INF, 0.0, 2.0], 1.0) => [NAN, INF, 0.0, 2.0], [1.0; 4];
        hidden_by_zero([NAN, 2.0]) => [NAN, NAN], [1.0, 1.0];
        row_of_zeros([NAN, 2.0]) => [NAN], [0.0, 0.0];
        row_of_zeros([INF, 2.0]) => [NAN], [0.0, 0.0];
        row_of_zeros([1.0, 2.0]) => [0.0], [0.0, 0.0];
        zero_of_logs([NAN, INF, 0.0, -1.0, 2.0]) => [NAN, 0.0, 0.0, 0.0, 0.0], [0.0; 5];
        product_alone([NAN, 2.0]) => [3.0, 3.0], [0.0, 0.0];
        addcmul([1.0], INF, 1.0, 0.0) => [NAN], [1.0];
        lerp([1.0, INF], 2.0, 0.0) => [1.0, NAN], [1.0, 1.0];
        weighted_bce_with_logits_terms([NAN, 1.0], 1.0, 0.0, 3.0) => [NAN, 0.0], [0.0, 0.0];
    }
}

/// Functions of two numbers: those of both, and what comes of them.
macro_rules! pairs {
    ($($name:ident $pairs:expr;)*) => {$(
        let pairs: &[(f32, f32, f32)] = &$pairs;
        let column = |pick: fn(&(f32, f32, f32)) -> f32| pairs.iter().map(pick).collect::<Vec<_>>();
        let (a, b, expected) = (column(|p| p.0), column(|p| p.1), column(|p| p.2));
        let (a, b) = (tensor(&a), tensor(&b));
        let mut g = Stage::new();
        let [x, y] = [0, 1].map(|i| Value::Var(g.input(i, a.shape(), DType::F32)));
        let z = $name::stage(&mut g, x, y);
        check(stringify!($name), &g, z, &[Input::from(&a), Input::from(&b)], &expected);
    )*};
}

#[test]
fn functions_of_two_numbers_have_their_ends() {
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    pairs! {
        fmod [(-1.0, INF, -1.0), (1e10, 3.0, 1.0), (1e9, 0.1, 0.098_839_03), (5.0, 0.0, NAN), (INF, 2.0, NAN), (NAN, 1.0, NAN), (1.0, NAN, NAN), (3e38, 1e-45, 0.0), (1e-45, 3e38, 1e-45), (-7.5, -2.0, -1.5)];
        remainder [(-1.0, INF, INF), (1.0, INF, 1.0), (1e10, 3.0, 1.0), (-1e9, 0.1, 0.001_160_971_8), (5.0, 0.0, NAN), (INF, 2.0, NAN), (1e-30, -INF, -INF), (-7.5, 2.0, 0.5), (7.5, -2.0, -0.5)];
        floor_divide [(1.0, 0.1, 9.0), (-1.0, INF, -1.0), (5.0, 0.0, INF), (INF, 2.0, NAN), (1e30, 1e-30, INF), (-1.0, 0.1, -10.0), (7.0, -2.0, -4.0), (6.0, -2.0, -3.0)];
        trunc_divide [(-1.0, INF, 0.0), (5.0, 0.0, INF), (INF, 2.0, INF), (-7.0, 2.0, -3.0)];
        logaddexp [(-INF, -INF, -INF), (INF, INF, INF), (INF, -INF, INF), (-INF, 1.0, 1.0), (NAN, 1.0, NAN), (NAN, INF, NAN)];
        xlogy [(0.0, 0.0, 0.0), (0.0, NAN, NAN), (0.0, INF, 0.0), (0.0, -1.0, 0.0), (1.0, 0.0, -INF), (0.0, 2.0, 0.0), (NAN, 1.0, NAN)];
        atan2 [(0.0, -0.0, PI), (-0.0, -0.0, -PI), (0.0, 0.0, 0.0), (INF, INF, FRAC_PI_4), (INF, -INF, 3.0 * FRAC_PI_4), (-INF, -INF, -3.0 * FRAC_PI_4), (1.0, INF, 0.0), (1.0, -INF, PI), (INF, 1.0, FRAC_PI_2), (0.0, -1.0, PI), (-0.0, -1.0, -PI), (NAN, 1.0, NAN), (1.0, NAN, NAN), (NAN, 0.0, NAN), (-0.0, NAN, NAN)];
        maximum [(NAN, 1.0, NAN), (1.0, NAN, NAN), (-INF, INF, INF)];
        minimum [(NAN, 1.0, NAN), (1.0, NAN, NAN), (-INF, INF, -INF)];
    }
    // The slope of x ln y over x is ln y, also where x is zero.
    functions! { xlogy([0.0, 1.0], 2.0) => [0.0, LN_2], [LN_2, LN_2]; }
}

/// Compares a function of one or two inputs with the expected numbers, compiled and by the reference, and the signs of
/// zeros too.
#[track_caller]
fn check_zeros(what: &str, args: &[&[f32]], stage: impl Fn(&mut Stage, &[Value]) -> Value, expected: &[f32]) {
    let args: Vec<Tensor> = args.iter().map(|x| tensor(x)).collect();
    let mut g = Stage::new();
    let inputs: Vec<Value> =
        args.iter().enumerate().map(|(i, x)| Value::Var(g.input(i, x.shape(), DType::F32))).collect();
    let values = [stage(&mut g, &inputs)];
    let given: Vec<Input<'_>> = args.iter().map(Input::from).collect();
    let found = g.compute(&values, &given).unwrap_or_else(|e| panic!("{what}: {e}"));
    let reference = g.reference(&values, &given).unwrap_or_else(|e| panic!("{what}: {e}"));
    let rounded: Vec<f32> = reference[0].iter().map(|&x| x as f32).collect();
    for (by, found) in [("compiled", found[0].data()), ("the reference", &rounded[..])] {
        let right = found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits()));
        assert!(right, "{what}, {by}: {found:?}, expected {expected:?}");
    }
}

/// PyTorch's signs of zeros.
#[test]
fn zeros_have_their_sign() {
    macro_rules! of_one {
        ($($name:ident($x:expr) => $y:expr;)*) => {
            $(check_zeros(stringify!($name), &[&$x], |g, v| $name::stage(g, v[0]), &$y);)*
        };
    }
    macro_rules! of_two {
        ($($name:ident($a:expr, $b:expr) => $y:expr;)*) => {
            $(check_zeros(stringify!($name), &[&$a, &$b], |g, v| $name::stage(g, v[0], v[1]), &$y);)*
        };
    }
    let zeros = [0.0, -0.0];
    of_one! {
        neg(zeros) => [-0.0, 0.0];
        abs(zeros) => [0.0, 0.0];
        sqrt(zeros) => zeros;
        tanh(zeros) => zeros;
        erf(zeros) => zeros;
        sin(zeros) => zeros;
        tan(zeros) => zeros;
        expm1(zeros) => zeros;
        log1p(zeros) => zeros;
        asin(zeros) => zeros;
        atan(zeros) => zeros;
        sinh(zeros) => zeros;
        asinh(zeros) => zeros;
        atanh(zeros) => zeros;
        log([1.0]) => [0.0];
        acos([1.0]) => [0.0];
        acosh([1.0]) => [0.0];
        exp([-INF]) => [0.0];
        reciprocal([INF, -INF]) => zeros;
        square(zeros) => [0.0, 0.0];
        sign(zeros) => [0.0, 0.0];
        floor([0.0, -0.0, 0.5]) => [0.0, -0.0, 0.0];
        ceil([0.0, -0.0, -0.5]) => [0.0, -0.0, -0.0];
        trunc([0.0, -0.0, 0.5, -0.5]) => [0.0, -0.0, 0.0, -0.0];
        round([0.0, -0.0, 0.5, -0.5, -0.4]) => [0.0, -0.0, 0.0, -0.0, -0.0];
        frac([0.0, -0.0, 2.0, -2.0]) => [0.0; 4];
        softsign(zeros) => zeros;
        silu(zeros) => zeros;
        gelu(zeros) => zeros;
        selu(zeros) => zeros;
        mish(zeros) => zeros;
    }
    of_two! {
        fmod([2.0, -2.0, 2.0, -2.0, 0.0, -0.0], [2.0, 2.0, -1.0, -1.0, -3.0, INF]) => [0.0, -0.0, 0.0, -0.0, 0.0, -0.0];
        remainder([2.0, -2.0, 2.0, -2.0, 0.0, -0.0], [2.0, 2.0, -1.0, -1.0, -3.0, 3.0]) => [0.0, -0.0, 0.0, -0.0, 0.0, -0.0];
        floor_divide([1.0, -1.0, 0.0, -0.0, 0.0, -0.0], [3.0, -3.0, 3.0, 3.0, -3.0, -3.0]) => [0.0, 0.0, 0.0, -0.0, -0.0, 0.0];
        trunc_divide([1.0, -1.0, -1.0, -0.0], [3.0, -3.0, 3.0, 3.0]) => [0.0, 0.0, -0.0, -0.0];
        atan2([0.0, -0.0, 1.0, -1.0], [1.0, 1.0, INF, INF]) => [0.0, -0.0, 0.0, -0.0];
        pow([-0.0, -0.0, -0.0, -INF, -INF], [3.0, 2.0, 0.5, -3.0, -2.0]) => [-0.0, 0.0, 0.0, -0.0, 0.0];
        mul([0.0, 0.0, -0.0], [-1.0, 1.0, 1.0]) => [-0.0, 0.0, -0.0];
        div([0.0, -1.0, -0.0], [-1.0, INF, 1.0]) => [-0.0, -0.0, -0.0];
        add([0.0, -0.0, -0.0], [-0.0, -0.0, 0.0]) => [0.0, -0.0, 0.0];
        sub([0.0, -0.0, 1.0], [0.0, 0.0, 1.0]) => [0.0, -0.0, 0.0];
    }
}

#[test]
fn interpolation_is_exact_at_both_ends() {
    let data: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) * 10f32.powi(i % 20 - 10)).collect();
    let (a, b) = (tensor(&data), tensor(&data.iter().rev().copied().collect::<Vec<_>>()));
    for (weight, expected) in [(0.0, &a), (1.0, &b)] {
        let mut g = Stage::new();
        let [x, y] = [0, 1].map(|i| Value::Var(g.input(i, &[64], DType::F32)));
        let z = lerp::stage(&mut g, x, y, weight);
        let found = g.compute(&[z], &[Input::from(&a), Input::from(&b)]).unwrap();
        assert_eq!(found[0].data(), expected.data(), "at {weight}");
    }
}

/// Numbers of all kinds.
fn any_numbers(count: u32) -> Vec<f32> {
    (0..count).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9).rotate_left(i % 32))).collect()
}

#[test]
fn remainders_are_exact() {
    let a = any_numbers(20_000);
    let mut b = any_numbers(20_011);
    b.drain(..11);
    // Half of the pairs are near each other.
    for (i, b) in b.iter_mut().enumerate().filter(|(i, _)| i % 2 == 0) {
        *b = a[i] / (1 + i % 100) as f32;
    }
    let (x, y) = (tensor(&a), tensor(&b));
    let mut g = Stage::new();
    let [u, v] = [0, 1].map(|i| Value::Var(g.input(i, x.shape(), DType::F32)));
    let (rest, modulo) = (fmod::stage(&mut g, u, v), remainder::stage(&mut g, u, v));
    let found = g.compute(&[rest, modulo], &[Input::from(&x), Input::from(&y)]).unwrap();
    for (i, (&a, &b)) in a.iter().zip(&b).enumerate() {
        let rest = a % b;
        let modulo = if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest };
        for (name, found, expected) in [("fmod", found[0].data()[i], rest), ("remainder", found[1].data()[i], modulo)] {
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{name}({a:e}, {b:e}) is {found:e}, expected {expected:e}");
        }
    }
}

#[test]
fn angles_of_any_size() {
    let x = any_numbers(30_000);
    let input = tensor(&x);
    let mut g = Stage::new();
    let v = Value::Var(g.input(0, input.shape(), DType::F32));
    let values = [sin::stage(&mut g, v), cos::stage(&mut g, v), tan::stage(&mut g, v)];
    let found = g.compute(&values, &[Input::from(&input)]).unwrap();
    let functions: [fn(f64) -> f64; 3] = [f64::sin, f64::cos, f64::tan];
    for (found, function) in found.iter().zip(functions) {
        for (&x, &y) in x.iter().zip(found.data()) {
            let exact = function(x as f64);
            let close = (y as f64 - exact).abs() <= 4.8e-7 * exact.abs() + 1e-44;
            assert!(close || y.is_nan() && exact.is_nan(), "of {x:e}: {y:e}, expected {exact:e}");
        }
    }
}

/// Functions whose result is NaN where their argument is, and nowhere else.
macro_rules! nan_passes {
    ($($name:ident($($arg:expr),*))*) => {$({
        let x = tensor(&[0.75, NAN, 1.0, 0.25, -NAN]);
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, x.shape(), DType::F32));
        let y = $name::stage(&mut g, v $(, $arg)*);
        let values = [y];
        let compiled = g.compute(&values, &[Input::from(&x)]).unwrap();
        let reference = g.reference(&values, &[Input::from(&x)]).unwrap();
        let name = stringify!($name);
        for (i, (y, exact)) in compiled[0].data().iter().zip(&reference[0]).enumerate() {
            assert_eq!([y.is_nan(), exact.is_nan()], [x.data()[i].is_nan(); 2], "{name}, element {i}");
        }
    })*};
}

#[test]
fn nan_passes_through_functions() {
    nan_passes! {
        relu() relu6() hardtanh(-1.0, 1.0) hardsigmoid() hardswish() hardshrink(0.5) softshrink(0.5) leaky_relu(0.1)
        prelu(0.1) threshold(0.5, 0.0) elu(1.0) celu(1.0) selu() silu() mish() softplus(1.0, 20.0) log_sigmoid()
        softsign() tanhshrink() gelu() gelu_tanh() sign() trunc() round() ceil() frac() floor() clamp(0.5, 0.8)
        clamp_min(0.5) clamp_max(0.5) maximum(0.5) minimum(0.5) square() reciprocal() rsqrt() exp2() log2() log10()
        logit() logaddexp(0.5) lerp(2.0, 0.5) fmod(0.3) remainder(0.3) floor_divide(0.3) trunc_divide(0.3) xlogy(2.0)
        pow(2.0) atan2(0.5) neg() abs() exp() log() sqrt() tanh() sigmoid() erf() erfc() sin() cos() tan() expm1() log1p()
        asin() acos() atan() sinh() cosh() asinh()
        mse_terms(0.5) l1_terms(0.5) smooth_l1_terms(0.5, 1.0) huber_terms(0.5, 1.0) bce_terms(0.5)
        bce_with_logits_terms(0.5) weighted_bce_with_logits_terms(0.5, 1.0, 2.0) kl_div_terms(0.5, false)
        kl_div_terms(-0.5, true) margin_ranking_terms(0.5, 1.0, 0.5) hinge_terms(1.0) soft_margin_terms(1.0)
        hinge_embedding_terms(1.0, 1.0) hinge_embedding_terms(-1.0, 1.0) poisson_nll_terms(0.0, true, false, 1e-8)
        gaussian_nll_terms(0.5, 1.0, false, 1e-6)
    }
}

#[test]
fn nan_passes_through_reductions_and_pools() {
    for len in [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 70] {
        for place in (0..len).step_by(1 + len / 9) {
            let mut data: Vec<f32> = (0..2 * len).map(|i| (i * 7 % 5) as f32).collect();
            data[place] = NAN;
            let x = Tensor::new([2, len], data).unwrap();
            let mut g = Stage::new();
            let v = Value::Var(g.input(0, x.shape(), DType::F32));
            let values = [
                max_axes::stage(&mut g, v, [1]),
                min_axes::stage(&mut g, v, [1]),
                logsumexp::stage(&mut g, v, [1]),
                vector_norm::stage(&mut g, v, 2.0, 1),
                vector_norm::stage(&mut g, v, INF, 1),
                vector_norm::stage(&mut g, v, 3.0, 1),
                sum_axes::stage(&mut g, v, [1]),
            ];
            let found = g.compute(&values, &[Input::from(&x)]).unwrap();
            let reference = g.reference(&values, &[Input::from(&x)]).unwrap();
            for (i, (y, exact)) in found.iter().zip(&reference).enumerate() {
                let nans = [y.data()[0].is_nan(), exact[0].is_nan(), !y.data()[1].is_nan(), !exact[1].is_nan()];
                assert_eq!(nans, [true; 4], "value {i} of rows of {len} with NaN at {place}");
            }
            let places = [argmax::stage(&mut g, v), argmin::stage(&mut g, v)];
            for found in g.compute(&places, &[Input::from(&x)]).unwrap() {
                assert_eq!(found.data()[0], place as f32, "rows of {len} with NaN at {place}");
            }
            let columns = [argmax_axis::stage(&mut g, v, 0), argmin_axis::stage(&mut g, v, 0)];
            for found in g.compute(&columns, &[Input::from(&x)]).unwrap() {
                assert_eq!(found.data()[place], 0.0, "columns of {len} rows with NaN at {place}");
            }
        }
    }
    let mut data = vec![1.0; 36];
    data[14] = NAN;
    let x = Tensor::new([1, 1, 6, 6], data).unwrap();
    let mut g = Stage::new();
    let v = Value::Var(g.input(0, x.shape(), DType::F32));
    let pools = [
        max_pool2d::stage(&mut g, v, 2, 2, 0, 1, false),
        avg_pool2d::stage(&mut g, v, 2, 2, 0, false, true),
        adaptive_max_pool2d::stage(&mut g, v, 3, 3),
        adaptive_avg_pool2d::stage(&mut g, v, 3, 3),
    ];
    for (i, y) in g.compute(&pools, &[Input::from(&x)]).unwrap().iter().enumerate() {
        let nans: Vec<usize> = (0..9).filter(|&i| y.data()[i].is_nan()).collect();
        assert_eq!(nans, [4], "pool {i}");
    }
}

#[test]
fn the_first_of_several_nan_is_the_largest_and_the_smallest() {
    let x = Tensor::new([2, 4], [1.0, NAN, 3.0, NAN, 2.0, 5.0, 5.0, -1.0]).unwrap();
    let mut g = Stage::new();
    let v = Value::Var(g.input(0, x.shape(), DType::F32));
    let (largest, smallest) = (argmax::stage(&mut g, v), argmin::stage(&mut g, v));
    check("argmax", &g, largest, &[Input::from(&x)], &[1.0, 1.0]);
    check("argmin", &g, smallest, &[Input::from(&x)], &[1.0, 3.0]);
}

#[test]
fn losses_of_classes_have_their_ends() {
    let logits = Tensor::new([2, 3], [-INF, 0.0, 1.0, 0.0, 1.0, 2.0]).unwrap();
    let targets = Index::new([2], [0, 2]).unwrap();
    let weight = tensor(&[0.0, 1.0, 1.0]);
    let shares = Tensor::new([2, 3], [0.0, 0.5, 0.5, 0.0, 0.0, 1.0]).unwrap();
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[2, 3], DType::F32));
    let t = Value::Var(g.input(1, &[2], DType::I32));
    let w = Value::Var(g.input(2, &[3], DType::F32));
    let s = Value::Var(g.input(3, &[2, 3], DType::F32));
    let given = [Input::from(&logits), Input::from(&targets), Input::from(&weight), Input::from(&shares)];
    let second = [0.090_030_58, 0.244_728_48, -0.334_759];
    let values: [(&str, Value, &[f32]); 3] = [
        ("an ignored class", weighted_cross_entropy::stage(&mut g, x, t, 1.0, 0, 0.0), &[0.407_605_94]),
        ("a class without weight", weighted_cross_entropy::stage(&mut g, x, t, w, -100, 0.0), &[0.407_605_94]),
        (
            "a class without probability",
            soft_cross_entropy_terms::stage(&mut g, x, s, 1.0, 0.0),
            &[0.813_261_7, 0.407_605_94],
        ),
    ];
    for (what, value, expected) in values {
        check(what, &g, value, &given, expected);
    }
    let one = g.fill(1.0, &[]);
    let ones = g.fill(1.0, &[2]);
    let grads: [(&str, Grad, &[f32]); 3] = [
        ("an ignored class", weighted_cross_entropy::grad(&mut g, x, t, 1.0, 0, 0.0, Some(one)).0, &[0.0; 3]),
        ("a class without weight", weighted_cross_entropy::grad(&mut g, x, t, w, -100, 0.0, Some(one)).0, &[0.0; 3]),
        (
            "a class without probability",
            soft_cross_entropy_terms::grad(&mut g, x, s, 1.0, 0.0, Some(ones)).0,
            &[0.0, 0.268_941_43 - 0.5, 0.731_058_6 - 0.5],
        ),
    ];
    for (what, grad, first) in grads {
        let expected = [first, &second].concat();
        check(&format!("slope of {what}"), &g, Value::Var(grad.unwrap()), &given, &expected);
    }
}

/// What is added to one place reaches no other, whatever it is.
#[test]
fn rows_that_are_added_by_number() {
    let x = Tensor::new([3, 2], [INF, 1.0, 2.0, NAN, 3.0, -INF]).unwrap();
    let index = Index::new([3], [0, 3, 0]).unwrap();
    let mut g = Stage::new();
    let (v, i) = (Value::Var(g.input(0, &[3, 2], DType::F32)), Value::Var(g.input(1, &[3], DType::I32)));
    let given = [Input::from(&x), Input::from(&index)];
    let rows = add_rows::stage(&mut g, v, i, 0, 4);
    let expected = [INF, -INF, 0.0, 0.0, 0.0, 0.0, 2.0, NAN];
    check("add_rows", &g, rows, &given, &expected);
    let ones = g.fill(1.0, &[4, 2]);
    let added = index_add::stage(&mut g, Value::Var(ones), i, v, 0, 1.0);
    check("index_add", &g, added, &given, &expected.map(|x| x + 1.0));
    let factor = g.constant(&Tensor::new([4, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).unwrap());
    let Value::Var(factor) = factor else { panic!("no tensor") };
    let grad = add_rows::grad(&mut g, v, i, 0, 4, Some(factor)).0.unwrap();
    check("slope of add_rows", &g, Value::Var(grad), &given, &[1.0, 2.0, 7.0, 8.0, 1.0, 2.0]);
    let flat = Tensor::new([6], x.data()).unwrap();
    let places = Index::new([6], [0, 2, 2, 1, 3, 3]).unwrap();
    let mut g = Stage::new();
    let (v, i) = (Value::Var(g.input(0, &[6], DType::F32)), Value::Var(g.input(1, &[6], DType::I32)));
    let added = add_along::stage(&mut g, v, i, 0, 4);
    check("add_along", &g, added, &[Input::from(&flat), Input::from(&places)], &[INF, NAN, 3.0, -INF]);
}

#[test]
fn whole_numbers_of_any_number() {
    let x = tensor(&[NAN, INF, -INF, -1.9, 1.9, 3e9, -3e9, -0.0]);
    let mut g = Stage::new();
    let v = Value::Var(g.input(0, x.shape(), DType::F32));
    let whole = integer::stage(&mut g, v);
    let (most, least) = (i32::MAX as f32, i32::MIN as f32);
    check("integer", &g, whole, &[Input::from(&x)], &[0.0, most, least, -1.0, 1.0, most, least, 0.0]);
}

#[network(sequential, loss = mse)]
struct Net {
    hidden: Linear<2, 2>,
    act: Relu,
    out: Linear<2, 1>,
}

#[test]
fn a_loss_of_nan_refuses_the_step() -> downhill::Result<()> {
    let mut model = Net::init(0);
    let before = model.get("hidden.weight")?;
    let x = Tensor::new([2, 2], [NAN, 1.0, 0.5, 0.5])?;
    assert!(model.forward(&x)?.data()[0].is_nan());
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let refused = step.run(&mut model, (&x, &Tensor::new([2, 1], [1.0, 0.0])?));
    assert!(matches!(refused, Err(Error::NotFinite { .. })), "{refused:?}");
    assert_eq!(model.get("hidden.weight")?, before);
    Ok(())
}
