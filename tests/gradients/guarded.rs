//! A branch that was not taken counts nothing in a gradient, whatever it is made of.

use std::f32::consts::FRAC_1_SQRT_2;

use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

/// The gradient of the sum of `f` at `x`, compiled and by the reference, which must agree.
#[track_caller]
fn gradient(
    shape: &[usize],
    x: &[f32],
    stage: impl Fn(&mut Stage, Value) -> Value,
    grad: impl Fn(&mut Stage, Value, Grad) -> Grad,
) -> Vec<f32> {
    let mut g = Stage::new();
    let input = Value::Var(g.input(0, shape, DType::F32));
    let Value::Var(y) = stage(&mut g, input) else { panic!("{:?}", g.error()) };
    let shape_of_y = g.graph()[y].shape.clone();
    let ones = g.fill(1.0, &shape_of_y);
    let dx = Value::Var(grad(&mut g, input, Some(ones)).expect("a gradient"));
    let x = Tensor::new(shape, x).unwrap();
    let found = g.compute(&[dx], &[Input::from(&x)]).unwrap()[0].data().to_vec();
    let expected = &g.reference(&[dx], &[Input::from(&x)]).unwrap()[0];
    for (&a, &b) in found.iter().zip(expected) {
        let close = (f64::from(a) - b).abs() <= 1e-4 * b.abs() + 1e-8;
        assert!(f64::from(a) == b || a.is_nan() && b.is_nan() || close, "{found:?}, the reference has {expected:?}");
    }
    found
}

/// Gradients of functions at points where a branch that is not taken has none.
macro_rules! rows {
    ($($test:ident $shape:expr, $x:expr => $expected:expr; |$arg:ident| $body:expr;)*) => {$(
        #[test]
        fn $test() {
            #[network]
            fn f($arg: Tensor) -> Tensor {
                $body
            }
            let found = gradient(&$shape, &$x, |g, x| f::stage(g, x), |g, x, d| f::grad(g, x, d));
            let expected: &[f32] = &$expected;
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(expected) {
                assert!(a == b || (a - b).abs() <= 1e-5 * b.abs(), "{found:?}, expected {expected:?}");
            }
        }
    )*};
}

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

rows! {
    a_root [3], [0.0, -1.0, 4.0] => [0.0, 0.0, 0.25]; |x| select(x > 0.0, sqrt(x), 0.0);
    a_root_against_one [3], [0.0, -1.0, 4.0] => [0.0, 0.0, 0.25]; |x| select(x > 0.0, sqrt(x), 1.0);
    the_other_side [3], [0.0, -1.0, 4.0] => [0.0, 0.0, 0.25]; |x| select(x <= 0.0, 0.0, sqrt(x));
    x_log_x [3], [0.0, -1.0, 1.0] => [0.0, 0.0, 1.0]; |x| select(x > 0.0, x * log(x), 0.0);
    used_twice [2], [0.0, 4.0] => [0.0, 1.25]; |x| {
        let y = sqrt(x);
        select(x > 0.0, y + y * y, 0.0)
    };
    used_under_two_masks [3], [0.0, 1.0, 4.0] => [0.0, 0.5, 1.25]; |x| {
        let y = sqrt(x);
        select(x > 0.0, y, 0.0) + select(x > 2.0, y * y, 0.0)
    };
    an_infinite_gradient_of_what_was_not_taken_twice [2], [-1.0, 4.0] => [0.0, 1.0062306]; |x|
        sqrt(select(x > 0.0, x, 0.0) + select(x > -0.5, x * x, 0.0));
    nested [4], [-1.0, 0.0, 1.0, 4.0] => [0.0, 0.0, 0.0, 0.125]; |x|
        select(x > 0.0, select(x > 1.0, log(sqrt(x)), 0.0), 0.0);
    deeply_nested [2], [0.0, 16.0] => [0.0, 0.125]; |x| {
        let y = sqrt(x);
        let y = select(x > 0.0, y, 0.0);
        let y = select(x > 0.1, y, 0.0);
        let y = select(x > 0.2, y, 0.0);
        let y = select(x > 0.3, y, 0.0);
        let y = select(x > 0.4, y, 0.0);
        let y = select(x > 0.5, y, 0.0);
        y
    };
    a_maximum [3], [0.0, 1e-30, 1.0] => [0.0, 1e30, 1.0]; |x| maximum(log(x), -100.0);
    a_minimum [2], [0.0, 4.0] => [0.0, -0.0625]; |x| minimum(1.0 / sqrt(x), 5.0);
    a_relu [3], [0.0, 1.0, 4.0] => [0.0, 0.0, 0.25]; |x| relu(log(x));
    a_clamp [3], [0.0, 0.25, 1.0] => [0.0, 1.0, 0.0]; |x| clamp(sqrt(x), 0.1, 0.9);
    a_mask_that_multiplies [3], [0.0, -4.0, 4.0] => [0.0, 0.25, 0.25]; |x| float(x != 0.0) * sqrt(abs(x)) * sign(x);
    a_root_of_a_mask_that_multiplies [2], [-4.0, 4.0] => [0.0, 0.25]; |x| sqrt(x * float(x > 0.0));
    a_root_of_a_size [3], [0.0, -4.0, 4.0] => [0.0, -0.25, 0.25]; |x| sqrt(abs(x));
    a_root_of_a_largest [1, 3], [0.0, -4.0, -2.0] => [INF, 0.0, 0.0]; |x| sqrt(max_axes(x, [-1]));
    a_root_of_a_smallest [1, 3], [0.0, 4.0, 2.0] => [INF, 0.0, 0.0]; |x| sqrt(min_axes(x, [-1]));
    a_power [3], [0.0, -1.0, 4.0] => [0.0, 0.0, 0.25]; |x| select(x > 0.0, pow(x, 0.5), 0.0);
    a_power_of_nothing [2], [0.0, 2.0] => [0.0, 0.0]; |x| pow(x, 0.0);
    a_root_of_a_power_of_nothing [2], [0.0, 2.0] => [0.0, 0.0]; |x| sqrt(pow(x, 0.0) - 1.0);
    a_quotient [3], [0.0, 1.0, 2.0] => [0.0, -1.0, -0.25]; |x| select(x == 0.0, 0.0, 1.0 / x);
    a_part [3], [0.0, 1.0, 4.0] => [0.0, 0.5, 0.25]; |x| slice(sqrt(x), 0, 1, 3);
    behind_a_sum [2, 2], [0.0, 0.0, 1.0, 4.0] => [0.0, 0.0, 0.223_606_8, 0.223_606_8]; |x| {
        let total = sum_axes(x, [-1]);
        select(total > 0.0, sqrt(total), 0.0)
    };
    before_a_sum [2, 2], [0.0, 0.0, 1.0, 4.0] => [0.0, 0.0, 0.5, 0.25]; |x|
        select(sum_axes(x, [-1]) > 0.0, sum_axes(sqrt(x), [-1]), 0.0);
    spread_over_a_row [2, 1], [0.0, 4.0] => [0.0, 0.75]; |x| {
        let row = sqrt(x) * float(iota(3) + 1);
        select((x > 0.0) & (iota(3) < 2), row, 0.0)
    };
    under_another_shape [2, 2], [0.0, 1.0, 4.0, 0.0] => [0.0, 0.5, 0.25, 0.0]; |x| {
        let flat = reshape(transpose(sqrt(x), 0, 1), [4]);
        select(flat > 0.0, flat, 0.0)
    };
    a_row_of_a_table [2, 2], [0.0, 0.0, 1.0, 4.0] => [0.0, 0.0, 1.0, 0.5]; |x| gather(sqrt(x), iota(1) + 1) * 2.0;
    normalised_nothing [2, 2], [0.0, 0.0, 3.0, 4.0] => [1e12, 1e12, 0.032, -0.024]; |x| normalize(x, -1, 1e-12);
    the_cosine_with_nothing [2], [0.0, 0.0] => [4.472_136e7, 8.944_272e7]; |x|
        cosine_similarity(x, select(iota(2) == 0, 1.0, 2.0), -1, 1e-8);
    the_length_of_nothing [2, 2], [0.0, 0.0, 3.0, 4.0] => [0.0, 0.0, 0.6, 0.8]; |x| vector_norm(x, 2.0, -1);
    the_cubic_length_of_nothing [1, 2], [0.0, 0.0] => [0.0, 0.0]; |x| vector_norm(x, 3.0, -1);
    the_deviation_of_equal_numbers [2, 2], [2.0, 2.0, 1.0, 3.0] => [0.0, 0.0, -FRAC_1_SQRT_2, FRAC_1_SQRT_2]; |x|
        deviation(x, -1, 1.0);
    the_angle_of_the_origin [2], [0.0, 1.0] => [0.0, 0.5]; |x| atan2(x, stop_gradient(x));
    absolute_errors_as_smooth_ones [3], [0.0, 2.0, -2.0] => [0.0, 1.0, -1.0]; |x| smooth_l1_terms(x, 0.0, 0.0);
    odds [3], [0.0, 0.5, 1.0] => [INF, 4.0, INF]; |x| logit(x);
    odds_where_there_are_some [3], [0.0, 0.5, 1.0] => [0.0, 4.0, 0.0]; |x|
        select((x > 0.0) & (x < 1.0), logit(x), 0.0);
    exponentials_of_nothing_visible [2, 2], [-INF, -INF, 0.0, 0.0] => [0.0, 0.0, 0.5, 0.5]; |x| logsumexp(x, -1);
    a_smooth_unit_far_out [4], [1e30, -1e30, 3e38, -3e38] => [1.0, 0.0, 1.0, 0.0]; |x| gelu_tanh(x);
    smooth_units_far_out [2], [1e30, -1e30] => [3.0, 0.0]; |x| gelu(x) + silu(x) + mish(x);
    a_certain_sigmoid [2], [20.0, -200.0] => [0.0, 0.0]; |x| bce_terms(sigmoid(x), float(iota(2) == 0));
    a_nearly_certain_sigmoid [2], [-92.0, -100.0] => [0.0, 0.0]; |x| bce_terms(sigmoid(x), 0.0);
    certain_probabilities [4], [0.0, 1.0, 1.0, 0.0] => [0.0, 0.0, 1e12, -1e12]; |x|
        bce_terms(x, float((iota(4) == 1) | (iota(4) == 3)));
    infinite_logits [2], [INF, -INF] => [0.0, 0.0]; |x| bce_with_logits_terms(x, float(iota(2) == 0));
    infinite_weighted_logits [2], [INF, -INF] => [0.0, 0.0]; |x|
        weighted_bce_with_logits_terms(x, float(iota(2) == 0), 2.0, 3.0);
    a_class_of_no_probability [1, 3], [-INF, 0.0, 1.0] => [0.0, -0.23105858, 0.23105858]; |x|
        soft_cross_entropy_terms(x, unsqueeze(float(iota(3) != 0) * 0.5, 0), 1.0, 0.0);
    a_class_that_is_ignored [2, 3], [-INF, 0.0, 1.0, 0.0, 1.0, 2.0]
        => [0.0, 0.0, 0.0, 0.09003057, 0.24472847, -0.33475904]; |x|
        weighted_cross_entropy_terms(x, iota(2) * 2, 1.0, 0, 0.0);
    a_divergence_from_nothing [2], [-INF, 0.0] => [0.0, 1.0]; |x| kl_div_terms(-1.0, x, true) * 0.5;
    a_softmax_of_nothing_visible [2, 2], [1.0, 2.0, 0.0, 0.0] => [0.0, 0.0, 0.25, -0.25]; |x| {
        let seen = (iota(2) == 1) & (unsqueeze(iota(2), -1) == 1) | (unsqueeze(iota(2), -1) == 1);
        let weights = softmax(select(seen, x, f32::NEG_INFINITY), -1);
        select(seen & (iota(2) == 0), weights, 0.0)
    };
    logarithms_of_a_softmax_of_nothing_visible [2, 2], [-INF, -INF, 0.0, 0.0] => [0.0, 0.0, -0.5, 0.5]; |x|
        select(max_keepdim(x, [-1]) > f32::NEG_INFINITY, log_softmax(x, -1) * float(iota(2)), 0.0);
    a_running_sum [3], [4.0, 1.0, 0.0] => [0.5, 0.5, 0.0]; |x| select(iota(3) < 2, cumsum(sqrt(x), 0), 0.0);
    a_row_product [2, 2], [0.0, 0.0, 1.0, 4.0] => [0.0, 0.0, 1.0, 0.25]; |x| {
        let product = prod_axes(sqrt(x), [-1]);
        select(product > 0.0, product, 0.0)
    };
    a_variance_by_hand [2, 2], [1.0, 1.0, 1.0, 3.0] => [0.0, 0.0, 0.0, 0.0]; |x| {
        let centred = x - mean_keepdim(x, -1);
        let y = centred / sqrt(mean_keepdim(centred * centred, -1));
        select(x > 1.0, y, 0.0) + select(x == 1.0, 0.0, 0.0)
    };
    rows_without_a_variance [2, 2], [2.0, 2.0, 1.0, 3.0] => [0.0, 0.0, 0.0, 0.0]; |x|
        select(unsqueeze(max_axes(x, [-1]), -1) > 2.0, standardize(x, -1, 0.0), 0.0);
    rows_of_zeros [2, 2], [0.0, 0.0, 1.0, 1.0] => [0.0, 0.0, 0.0, 0.0]; |x|
        select(x != 0.0, rms_norm(x, -1, 0.0), 0.0);
}

#[test]
fn values_of_what_nothing_is_counted_of() -> downhill::Result<()> {
    let mut g = Stage::new();
    let hidden = g.constant(&Tensor::new([1, 3], [-INF, 0.0, 1.0])?);
    let targets = g.constant(&Tensor::new([1, 3], [0.0, 0.5, 0.5])?);
    let soft = soft_cross_entropy::stage(&mut g, hidden, targets, 1.0, 0.0);
    assert!((g.value(soft)?.item()? - 0.813_261_7).abs() < 1e-6);
    let sure = g.constant(&Tensor::new([4], [INF, -INF, -INF, INF])?);
    let right = g.constant(&Tensor::new([4], [1.0, 0.0, 1.0, 0.0])?);
    let cost = bce_with_logits_terms::stage(&mut g, sure, right);
    assert_eq!(g.value(cost)?.data(), [0.0, 0.0, INF, INF]);
    let cost = weighted_bce_with_logits_terms::stage(&mut g, sure, right, 1.0, 2.0);
    assert_eq!(g.value(cost)?.data(), [0.0, 0.0, INF, INF]);
    let numbers = g.constant(&Tensor::new([3], [NAN, 0.0, 4.0])?);
    let root = deviation::stage(&mut g, numbers, -1, 0.0);
    assert!(g.value(root)?.item()?.is_nan());
    Ok(())
}

/// Values that are constants only when sums of gradients are simplified.
#[network]
struct Vanishing {
    #[init(ones)]
    w: Param<4>,
}

#[network]
impl Vanishing {
    fn quotient(&self) -> Tensor {
        let x = self.w;
        sum(x + (x - x) / (x - x))
    }

    fn entropy(&self) -> Tensor {
        let x = self.w;
        sum((x - x) * log(x - x) + x)
    }

    fn direction(&self) -> Tensor {
        let x = self.w;
        sum(normalize(x * 0.0, -1, 0.0) + x)
    }

    fn many(&self) -> Tensor {
        let x = self.w;
        let y = (x - x) / (x - x) + (x - x) * log(x - x) + x * 0.0 / (x * 0.0) + sqrt(x - x);
        sum(y * y + y / y + x * y)
    }
}

#[test]
fn a_constant_that_is_no_number_is_staged_like_any_other() -> downhill::Result<()> {
    for f in [Vanishing::quotient, Vanishing::entropy, Vanishing::direction, Vanishing::many] {
        let mut model = Vanishing::init(0);
        let mut step = Step::new(&model, f, Sgd::new(0.1))?;
        assert!(step.differentiate(&mut model, ())?.is_nan());
        assert!(matches!(step.run(&mut model, ()), Err(downhill::Error::NotFinite { .. })));
        assert_eq!(model.get("w")?.data(), [1.0; 4]);
    }
    Ok(())
}

/// One step of a random function of elements; numbers name earlier values.
#[derive(Clone, Debug)]
enum Act {
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    Div(usize, usize),
    Max(usize, usize),
    Min(usize, usize),
    Abs(usize),
    Sqrt(usize),
    Log(usize),
    Exp(usize),
    Tanh(usize),
    Neg(usize),
    Relu(usize),
    Pow(usize, f64),
    Atan2(usize, usize),
    /// The second where the first is above a number, else the third.
    Above(usize, f64, usize, usize),
    /// The second where the first is above a number, else that number.
    Guard(usize, f64, usize),
    /// The second where the first is not a number, else zero, as a mask that multiplies.
    Mask(usize, f64, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let v = || 0..64usize;
    let bound = || prop::sample::select(vec![0.0, 1.0, -1.0, 0.5]);
    prop_oneof![
        (v(), v()).prop_map(|(a, b)| Act::Add(a, b)),
        (v(), v()).prop_map(|(a, b)| Act::Sub(a, b)),
        (v(), v()).prop_map(|(a, b)| Act::Mul(a, b)),
        (v(), v()).prop_map(|(a, b)| Act::Div(a, b)),
        (v(), v()).prop_map(|(a, b)| Act::Max(a, b)),
        (v(), v()).prop_map(|(a, b)| Act::Min(a, b)),
        v().prop_map(Act::Abs),
        v().prop_map(Act::Sqrt),
        v().prop_map(Act::Log),
        v().prop_map(Act::Exp),
        v().prop_map(Act::Tanh),
        v().prop_map(Act::Neg),
        v().prop_map(Act::Relu),
        (v(), prop::sample::select(vec![0.0, 0.5, 1.0, 2.0, -1.0])).prop_map(|(a, p)| Act::Pow(a, p)),
        (v(), v()).prop_map(|(a, b)| Act::Atan2(a, b)),
        (v(), bound(), v(), v()).prop_map(|(m, c, a, b)| Act::Above(m, c, a, b)),
        (v(), bound(), v()).prop_map(|(m, c, a)| Act::Guard(m, c, a)),
        (v(), bound(), v()).prop_map(|(m, c, a)| Act::Guard(m, c, a)),
        (v(), bound(), v()).prop_map(|(m, c, a)| Act::Mask(m, c, a)),
    ]
}

/// A number with its derivative over both inputs, of the branches that are taken alone: `None` is zero because there is
/// no way, by which an infinite slope counts nothing.
#[derive(Clone, Copy, Debug)]
struct Dual {
    value: f64,
    slopes: [Option<f64>; 2],
    /// Whether single precision gives this very number.
    exact: bool,
}

impl Dual {
    fn constant(value: f64) -> Dual {
        Dual { value, slopes: [None; 2], exact: true }
    }

    /// `value`, whose slopes over `parts` are given.
    fn of(value: f64, exact: bool, parts: &[(Dual, f64)]) -> Dual {
        let slope = |i: usize| {
            let terms = parts.iter().filter_map(|(part, slope)| part.slopes[i].map(|d| d * slope));
            terms.fold(None, |sum: Option<f64>, term| Some(sum.unwrap_or(0.0) + term))
        };
        let exact = exact && parts.iter().all(|(part, _)| part.exact) && f64::from(value as f32) == value;
        Dual { value, slopes: [slope(0), slope(1)], exact }
    }
}

/// The function for one element by dual numbers; `None` where a comparison is too close for single precision.
fn taken(acts: &[Act], x: [f64; 2]) -> Option<Vec<Dual>> {
    let input = |i: usize| {
        let mut slopes = [None; 2];
        slopes[i] = Some(1.0);
        Dual { value: x[i], slopes, exact: true }
    };
    let mut all = vec![input(0), input(1)];
    // Which is less; a difference that rounding may turn is none to tell.
    let order = |a: Dual, b: Dual| {
        let near = (a.value - b.value).abs() <= 1e-4 * (1.0 + a.value.abs());
        (!near || a.exact && b.exact).then_some(a.value.partial_cmp(&b.value))
    };
    use std::cmp::Ordering::*;
    for act in acts {
        let n = all.len();
        let v = |i: usize| all[i % n];
        let f = |a: Dual, value: f64, slope: f64, exact: bool| Dual::of(value, exact, &[(a, slope)]);
        let extreme = |a: Dual, b: Dual, largest: bool| {
            let nan = Dual::of(f64::NAN, false, &[(a, f64::NAN), (b, f64::NAN)]);
            Some(match order(a, b)? {
                None => nan,
                Some(Equal) => Dual::of(a.value, true, &[(a, 0.5), (b, 0.5)]),
                Some(Greater) if largest => a,
                Some(Less) if !largest => a,
                _ => b,
            })
        };
        let above = |m: Dual, c: f64| Some(order(m, Dual::constant(c))? == Some(Greater));
        let new = match *act {
            Act::Add(a, b) => Dual::of(v(a).value + v(b).value, true, &[(v(a), 1.0), (v(b), 1.0)]),
            Act::Sub(a, b) => Dual::of(v(a).value - v(b).value, true, &[(v(a), 1.0), (v(b), -1.0)]),
            Act::Mul(a, b) => Dual::of(v(a).value * v(b).value, true, &[(v(a), v(b).value), (v(b), v(a).value)]),
            Act::Div(a, b) => {
                let (p, q) = (v(a), v(b));
                let y = p.value / q.value;
                Dual::of(y, y * q.value == p.value, &[(p, 1.0 / q.value), (q, -y / q.value)])
            }
            Act::Max(a, b) => extreme(v(a), v(b), true)?,
            Act::Min(a, b) => extreme(v(a), v(b), false)?,
            Act::Abs(a) => match order(v(a), Dual::constant(0.0))? {
                Some(Greater) => v(a),
                Some(Less) => f(v(a), -v(a).value, -1.0, true),
                Some(Equal) => Dual { exact: v(a).exact, ..Dual::constant(0.0) },
                None => f(v(a), f64::NAN, f64::NAN, false),
            },
            Act::Sqrt(a) => {
                let y = v(a).value.sqrt();
                f(v(a), y, 0.5 / y, y * y == v(a).value)
            }
            Act::Log(a) => f(v(a), v(a).value.ln(), 1.0 / v(a).value, false),
            Act::Exp(a) => f(v(a), v(a).value.exp(), v(a).value.exp(), v(a).value == 0.0),
            Act::Tanh(a) => f(v(a), v(a).value.tanh(), 1.0 - v(a).value.tanh().powi(2), v(a).value == 0.0),
            Act::Neg(a) => f(v(a), -v(a).value, -1.0, true),
            Act::Relu(a) if v(a).value.is_nan() || above(v(a), 0.0)? => v(a),
            Act::Relu(_) => Dual::constant(0.0),
            Act::Pow(_, 0.0) => Dual::constant(1.0),
            Act::Pow(a, p) => {
                let x = v(a).value;
                f(v(a), x.powf(p), p * x.powf(p - 1.0), p == 1.0)
            }
            Act::Atan2(a, b) => {
                let (p, q) = (v(a), v(b));
                // Which way around depends on the sign of zero.
                if p.value.abs() < 1e-6 && q.value < 1e-6 {
                    return None;
                }
                let square = p.value * p.value + q.value * q.value;
                match square == 0.0 {
                    true => Dual { exact: false, ..Dual::constant(p.value.atan2(q.value)) },
                    false => Dual::of(p.value.atan2(q.value), false, &[(p, q.value / square), (q, -p.value / square)]),
                }
            }
            Act::Above(m, c, a, b) => v(if above(v(m), c)? { a } else { b }),
            Act::Guard(m, c, a) => {
                if above(v(m), c)? {
                    v(a)
                } else {
                    Dual::constant(c)
                }
            }
            // The value is a product: what is no number stays one.
            Act::Mask(m, c, a) => match order(v(m), Dual::constant(c))? == Some(Equal) {
                true if v(a).value.is_finite() => Dual::constant(0.0),
                true => f(v(a), f64::NAN, f64::NAN, false),
                false => v(a),
            },
        };
        all.push(new);
    }
    Some(all)
}

/// The same function staged, and the gradients of both inputs.
fn staged(g: &mut Stage, acts: &[Act], inputs: [Value; 2]) -> (Vec<Value>, [Grad; 2]) {
    let mut all = inputs.to_vec();
    let mask = |g: &mut Stage, m: Value, c: f64| gt::stage(g, m, c);
    for act in acts {
        let n = all.len();
        let v = |i: usize| all[i % n];
        let new = match *act {
            Act::Add(a, b) => add::stage(g, v(a), v(b)),
            Act::Sub(a, b) => sub::stage(g, v(a), v(b)),
            Act::Mul(a, b) => mul::stage(g, v(a), v(b)),
            Act::Div(a, b) => div::stage(g, v(a), v(b)),
            Act::Max(a, b) => maximum::stage(g, v(a), v(b)),
            Act::Min(a, b) => minimum::stage(g, v(a), v(b)),
            Act::Abs(a) => abs::stage(g, v(a)),
            Act::Sqrt(a) => sqrt::stage(g, v(a)),
            Act::Log(a) => log::stage(g, v(a)),
            Act::Exp(a) => exp::stage(g, v(a)),
            Act::Tanh(a) => tanh::stage(g, v(a)),
            Act::Neg(a) => neg::stage(g, v(a)),
            Act::Relu(a) => relu::stage(g, v(a)),
            Act::Pow(a, p) => pow::stage(g, v(a), p),
            Act::Atan2(a, b) => atan2::stage(g, v(a), v(b)),
            Act::Above(m, c, a, b) => {
                let mask = mask(g, v(m), c);
                select::stage(g, mask, v(a), v(b))
            }
            Act::Guard(m, c, a) => {
                let mask = mask(g, v(m), c);
                select::stage(g, mask, v(a), c)
            }
            Act::Mask(m, c, a) => {
                let mask = ne::stage(g, v(m), c);
                let mask = float::stage(g, mask);
                mul::stage(g, mask, v(a))
            }
        };
        all.push(new);
    }
    let mut grads: Vec<Grad> = vec![None; all.len()];
    let last = all.len() - 1;
    let Value::Var(y) = all[last] else { panic!("{:?}", g.error()) };
    let shape = g.graph()[y].shape.clone();
    grads[last] = Some(g.fill(1.0, &shape));
    for (i, act) in acts.iter().enumerate().rev() {
        let n = i + 2;
        let v = |i: usize| all[i % n];
        let Some(d) = grads[n].take() else { continue };
        let d = Some(d);
        let parts: Vec<(usize, Grad)> = match *act {
            Act::Add(a, b) => pair(a, b, add::grad(g, v(a), v(b), d)),
            Act::Sub(a, b) => pair(a, b, sub::grad(g, v(a), v(b), d)),
            Act::Mul(a, b) => pair(a, b, mul::grad(g, v(a), v(b), d)),
            Act::Div(a, b) => pair(a, b, div::grad(g, v(a), v(b), d)),
            Act::Max(a, b) => pair(a, b, maximum::grad(g, v(a), v(b), d)),
            Act::Min(a, b) => pair(a, b, minimum::grad(g, v(a), v(b), d)),
            Act::Abs(a) => vec![(a, abs::grad(g, v(a), d))],
            Act::Sqrt(a) => vec![(a, sqrt::grad(g, v(a), d))],
            Act::Log(a) => vec![(a, log::grad(g, v(a), d))],
            Act::Exp(a) => vec![(a, exp::grad(g, v(a), d))],
            Act::Tanh(a) => vec![(a, tanh::grad(g, v(a), d))],
            Act::Neg(a) => vec![(a, neg::grad(g, v(a), d))],
            Act::Relu(a) => vec![(a, relu::grad(g, v(a), d))],
            Act::Pow(a, p) => vec![(a, pow::grad(g, v(a), p, d).0)],
            Act::Atan2(a, b) => pair(a, b, atan2::grad(g, v(a), v(b), d)),
            Act::Above(m, c, a, b) => {
                let mask = mask(g, v(m), c);
                let (_, da, db) = select::grad(g, mask, v(a), v(b), d);
                vec![(a, da), (b, db)]
            }
            Act::Guard(m, c, a) => {
                let mask = mask(g, v(m), c);
                vec![(a, select::grad(g, mask, v(a), c, d).1)]
            }
            Act::Mask(m, c, a) => {
                let mask = ne::stage(g, v(m), c);
                let mask = float::stage(g, mask);
                vec![(a, mul::grad(g, mask, v(a), d).1)]
            }
        };
        for (argument, d) in parts {
            grads[argument % n] = g.add(grads[argument % n], d);
        }
    }
    let [dx, dy] = [grads[0], grads[1]];
    (all, [dx, dy])
}

fn pair(a: usize, b: usize, (da, db): (Grad, Grad)) -> Vec<(usize, Grad)> {
    vec![(a, da), (b, db)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn the_gradient_is_that_of_the_branches_taken(acts in prop::collection::vec(act(), 1..12)) {
        let points = [0.0, 1.0, -1.0, 0.5, 4.0, -0.25];
        let x: Vec<[f64; 2]> = points.iter().flat_map(|&a| points.map(|b| [a, b])).collect();
        let n = x.len();
        let tensors = [0, 1].map(|i| Tensor::new([n], x.iter().map(|x| x[i] as f32).collect::<Vec<_>>()).unwrap());
        let inputs = [Input::from(&tensors[0]), Input::from(&tensors[1])];
        let mut g = Stage::new();
        let arguments = [0, 1].map(|slot| Value::Var(g.input(slot, &[n], DType::F32)));
        let (_, grads) = staged(&mut g, &acts, arguments);
        for (i, grad) in grads.into_iter().enumerate() {
            let Some(grad) = grad else { continue };
            let grad = [Value::Var(grad)];
            let reference = g.reference(&grad, &inputs).unwrap().remove(0);
            let compiled = g.compute(&grad, &inputs).unwrap().remove(0);
            for (j, &x) in x.iter().enumerate() {
                let Some(all) = taken(&acts, x) else { continue };
                let expected = all[all.len() - 1].slopes[i].unwrap_or(0.0);
                if !expected.is_finite() {
                    continue;
                }
                // What is large on the way is rounded too much to be compared.
                let size = all.iter().flat_map(|v| [v.value, v.slopes[0].unwrap_or(0.0), v.slopes[1].unwrap_or(0.0)]);
                let size = size.filter(|x| x.is_finite()).fold(1.0, |size: f64, x| size.max(x.abs()));
                if size > 1e6 {
                    continue;
                }
                prop_assert!((reference[j] - expected).abs() <= 1e-9 * size * size, "{acts:?} at {x:?}, gradient {i}: {} in double precision, expected {expected}", reference[j]);
                let found = f64::from(compiled.data()[j]);
                prop_assert!((found - expected).abs() <= 1e-3 * size * size, "{acts:?} at {x:?}, gradient {i}: {found}, expected {expected}");
            }
        }
    }
}

/// So many random functions: a few, or as many as the environment asks for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

/// Guarded values in the layers that compute again and in loops over time.
#[network]
struct Guarded {
    #[layer(bias = false)]
    up: Linear<2, 2>,
}

#[network]
impl Guarded {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = self.up(x);
        select(y > 0.0, sqrt(y) * log(y), 0.0)
    }
}

macro_rules! loops {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $name {
            #[init(zeros)]
            start: Param<1, 2>,
            $(#[$attribute])*
            cells: [Guarded; 2],
        }

        #[network]
        impl $name {
            fn loss(&self, xs: Tensor<B, T, 2>, lengths: Tensor<B, 1>) -> Tensor {
                let mut state = self.start + lengths * 0.0;
                let mut time = 0.0 * lengths;
                for x in unbind(xs, 1) {
                    let mut new = state + x;
                    for cell in &self.cells {
                        new = cell(new);
                    }
                    state = select(time < lengths, new, state);
                    time = time + 1.0;
                }
                sum(state)
            }
        }
    };
}

loops!(Kept);
loops!(Again #[checkpoint]);

#[test]
fn loops_and_checkpoints_are_guarded() -> downhill::Result<()> {
    let x = Tensor::new([2, 3, 2], [0.0, 0.0, 0.5, 3.0, NAN, NAN, 4.0, -1.0, 0.0, 0.0, 2.0, 0.5])?;
    let lengths = Tensor::new([2, 1], [2.0, 3.0])?;
    let names = ["start", "cells.0.up.weight", "cells.1.up.weight"];
    let (mut kept, mut again) = (Kept::init(5), Again::init(5));
    let mut step = Step::new(&kept, Kept::loss, Sgd::new(0.1))?;
    let loss = step.differentiate(&mut kept, (&x, &lengths))?;
    let mut other = Step::new(&again, Again::loss, Sgd::new(0.1))?;
    assert_eq!(other.differentiate(&mut again, (&x, &lengths))?, loss);
    assert!(loss.is_finite());
    for name in names {
        let grad = step.grad(name)?;
        assert!(grad.data().iter().all(|x| x.is_finite()), "{name}: {grad:?}");
        assert_eq!(grad.data(), other.grad(name)?.data(), "{name}");
    }
    Ok(())
}
