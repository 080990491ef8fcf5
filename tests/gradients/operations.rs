//! The gradient of every primitive and of every composed operation against finite differences.

use crate::common::{Argument, check_network, check_op, indices, numbers};
use downhill::prelude::*;

/// Operations of one number, where their argument must be, and their gradient.
macro_rules! unary_cases {
    ($($op:ident $low:literal..$high:literal),* $(,)?) => {$(
        #[test]
        fn $op() {
            for shape in [vec![1], vec![7], vec![3, 5]] {
                check_op(
                    stringify!($op),
                    &[numbers(3, &shape, $low, $high)],
                    &|g, x| vec![downhill::prelude::$op::stage(g, x[0])],
                    &|g, x, d| vec![downhill::prelude::$op::grad(g, x[0], d[0])],
                );
            }
        }
    )*};
}

unary_cases! {
    neg -2.0..2.0, abs -2.0..2.0, exp -2.0..2.0, log 0.1..3.0, sqrt 0.1..3.0, tanh -2.0..2.0, sigmoid -3.0..3.0,
    expm1 -2.0..2.0, log1p -0.5..3.0, erfc -2.0..2.0, tan -1.2..1.2, asin -0.9..0.9, acos -0.9..0.9, atan -3.0..3.0,
    sinh -2.0..2.0, cosh -2.0..2.0, asinh -3.0..3.0, acosh 1.2..4.0, atanh -0.9..0.9,
    erf -2.0..2.0, sin -4.0..4.0, cos -4.0..4.0, floor -4.0..4.0,
    sum -1.0..1.0, max -1.0..1.0, mean -1.0..1.0,
    relu -1.0..1.0, gelu -3.0..3.0, gelu_tanh -3.0..3.0,
    min -1.0..1.0, prod -2.0..2.0,
    relu6 -1.0..8.0, selu -2.0..2.0, silu -3.0..3.0, mish -3.0..3.0, log_sigmoid -3.0..3.0, softsign -2.0..2.0,
    tanhshrink -2.0..2.0, hardsigmoid -4.0..4.0, hardswish -4.0..4.0,
    square -2.0..2.0, reciprocal 0.5..2.0, rsqrt 0.5..2.0, exp2 -2.0..2.0, log2 0.5..3.0, log10 0.5..3.0, sign -2.0..2.0,
    trunc -3.0..3.0, logit 0.1..0.9, erfinv -0.9..0.9, lgamma 0.2..4.0, digamma 0.2..4.0,
}

#[test]
fn every_function_of_one_number_is_in_the_list() {
    let source = include_str!("operations.rs");
    let list = source.split("unary_cases! {").nth(1).and_then(|s| s.split('}').next()).unwrap();
    for op in downhill::ops::elementwise::Unary::ALL {
        assert!(list.contains(&format!("{} ", op.name())), "{} has no gradient test", op.name());
    }
}

/// Shapes of two operands that broadcast against each other.
const PAIRS: &[(&[usize], &[usize])] =
    &[(&[4], &[4]), (&[2, 3], &[3]), (&[2, 1, 3], &[4, 1]), (&[], &[2, 2]), (&[1, 5], &[3, 1]), (&[2, 3], &[])];

macro_rules! binary_cases {
    ($($op:ident $low:literal..$high:literal),* $(,)?) => {$(
        #[test]
        fn $op() {
            for (a, b) in PAIRS {
                check_op(
                    stringify!($op),
                    &[numbers(5, a, $low, $high), numbers(6, b, $low, $high)],
                    &|g, x| vec![downhill::prelude::$op::stage(g, x[0], x[1])],
                    &|g, x, d| {
                        let (da, db) = downhill::prelude::$op::grad(g, x[0], x[1], d[0]);
                        vec![da, db]
                    },
                );
            }
        }
    )*};
}

binary_cases! {
    add -2.0..2.0, sub -2.0..2.0, mul -2.0..2.0, div 0.5..2.0, maximum -2.0..2.0, minimum -2.0..2.0,
    pow 0.3..2.0, atan2 -2.0..2.0, logaddexp -2.0..2.0, prelu -1.0..1.0,
}

#[test]
fn equal_operands_share_the_gradient_of_an_extreme() {
    let mut g = Stage::new();
    let d = g.number(1.0);
    assert_eq!(
        {
            let (a, b) = maximum::grad(&mut g, 2.0, 2.0, Some(d));
            [a, b].map(|d| g.value(Value::Var(d.unwrap())).unwrap().data()[0])
        },
        [0.5, 0.5]
    );
}

#[test]
fn select_and_comparisons() {
    for (a, b) in PAIRS {
        check_op(
            "select",
            &[numbers(5, a, -1.0, 1.0), numbers(6, b, -1.0, 1.0)],
            &|g, x| {
                let mask = gt::stage(g, x[0], 0.25);
                vec![select::stage(g, mask, x[0], x[1])]
            },
            &|g, x, d| {
                let mask = gt::stage(g, x[0], 0.25);
                let (dm, da, db) = select::grad(g, mask, x[0], x[1], d[0]);
                assert_eq!(dm, None);
                vec![da, db]
            },
        );
    }
}

/// Operations of a tensor and constants: the shape of the tensor, and the constants.
macro_rules! layout_cases {
    ($($test:ident $op:ident $shape:expr, ($($arg:expr),*), $first:pat => $grad:ident;)*) => {$(
        #[test]
        fn $test() {
            check_op(
                stringify!($op),
                &[numbers(8, &$shape, -1.0, 1.0)],
                &|g, x| vec![$op::stage(g, x[0], $($arg),*)],
                &|g, x, d| {
                    let $first = $op::grad(g, x[0], $($arg,)* d[0]);
                    vec![$grad]
                },
            );
        }
    )*};
}

layout_cases! {
    reshape_merges reshape [2, 3, 4], ([6, 4]), (d, _) => d;
    reshape_with_open_size reshape [2, 3, 4], ([-1, 2]), (d, _) => d;
    broadcast_of_inner_axis broadcast_to [3, 1], ([3, 4]), (d, _) => d;
    broadcast_to_more_axes broadcast_to [3, 1], ([2, 3, 4]), (d, _) => d;
    permute_three permute [2, 3, 4], ([2, 0, 1]), (d, _) => d;
    transpose_last transpose [2, 3, 4], (-1, -2), (d, _, _) => d;
    transpose_far transpose [2, 3, 4], (0, 2), (d, _, _) => d;
    slice_middle slice [2, 5], (1, 1, 4), (d, _, _, _) => d;
    slice_outer slice [5, 2], (0, 2, 3), (d, _, _, _) => d;
    pad_both pad [2, 3], (1, 2, 1), (d, _, _, _) => d;
    pad_outer pad [2, 3], (0, 0, 2), (d, _, _, _) => d;
    flatten_inner flatten [2, 3, 4], (1, -1), (d, _, _) => d;
    flatten_outer flatten [2, 3, 4], (0, 1), (d, _, _) => d;
    unsqueeze_end unsqueeze [2, 3], (-1), (d, _) => d;
    unsqueeze_start unsqueeze [2, 3], (0), (d, _) => d;
    sum_of_one_axis sum_axes [2, 3, 4], ([1]), (d, _) => d;
    sum_of_two_axes sum_axes [2, 3, 4], ([0, -1]), (d, _) => d;
    sum_that_stays sum_keepdim [2, 3, 4], ([0, 1]), (d, _) => d;
    max_of_one_axis max_axes [2, 3, 4], ([1]), (d, _) => d;
    max_that_stays max_keepdim [2, 3, 4], ([-1, 0]), (d, _) => d;
    min_of_one_axis min_axes [2, 3, 4], ([1]), (d, _) => d;
    product_of_two_axes prod_axes [2, 3, 4], ([0, 2]), (d, _) => d;
    product_that_stays prod_keepdim [2, 3], ([-1]), (d, _) => d;
    sums_up_to_each_place cumsum [2, 5], (1), (d, _) => d;
    sums_along_the_first_axis cumsum [4, 2], (0), (d, _) => d;
    flip_inner flip [2, 3], (-1), (d, _) => d;
    sorted_inner sort [3, 5], (-1, false), (d, _, _) => d;
    sorted_outer sort [5, 2], (0, true), (d, _, _) => d;
    roll_forwards roll [2, 5], (1, 2), (d, _, _) => d;
    roll_backwards roll [3, 2], (0, -1), (d, _, _) => d;
    repeat_outer repeat [2, 3], (0, 3), (d, _, _) => d;
    windows_that_overlap windows [2, 7], (1, 3, 1, 1), (d, _, _, _, _) => d;
    windows_with_steps windows [8, 2], (0, 3, 2, 1), (d, _, _, _, _) => d;
    windows_with_dilation windows [2, 9], (-1, 3, 2, 2), (d, _, _, _, _) => d;
    windows_apart windows [2, 11], (1, 2, 4, 1), (d, _, _, _, _) => d;
    overlap_of_windows overlap [2, 3, 2], (1, 4, 1, 1), (d, _, _, _, _) => d;
    overlap_with_steps overlap [3, 2, 2], (0, 9, 3, 2), (d, _, _, _, _) => d;
    leaky leaky_relu [2, 3], (0.1), (d, _) => d;
    elu_below_zero elu [2, 3], (1.5), (d, _) => d;
    celu_below_zero celu [2, 3], (1.5), (d, _) => d;
    clamped hardtanh [2, 3], (-0.5, 0.25), (d, _, _) => d;
    bounded_below threshold [2, 3], (0.25, 0.5), (d, _, _) => d;
    softplus_with_a_bound softplus [2, 3], (2.0, 1.0), (d, _, _) => d;
    shrunk hardshrink [2, 3], (0.25), (d, _) => d;
    shrunk_softly softshrink [2, 3], (0.25), (d, _) => d;
    log_of_a_sum logsumexp [2, 3, 2], (1), (d, _) => d;
    variance_of_a_sample variance [2, 4], (-1, 1.0), (d, _, _) => d;
    deviation_of_all deviation [4, 2], (0, 0.0), (d, _, _) => d;
    standardized standardize [2, 4], (-1, 1e-5), (d, _, _) => d;
    root_mean_square rms_norm [4, 2], (0, 1e-5), (d, _, _) => d;
    normalized normalize [2, 4], (-1, 1e-12), (d, _, _) => d;
    lower_triangle tril [2, 3, 4], (1), (d, _) => d;
    upper_triangle triu [3, 3], (0), (d, _) => d;
    mean_that_stays mean_keepdim [2, 3, 4], (1), (d, _) => d;
    softmax_of_last_axis softmax [3, 4], (-1), (d, _) => d;
    softmax_of_first_axis softmax [3, 4], (0), (d, _) => d;
    log_softmax_of_last_axis log_softmax [2, 2, 4], (-1), (d, _) => d;
    log_softmax_of_middle_axis log_softmax [2, 3, 2], (1), (d, _) => d;
}

#[test]
fn several_largest_elements_share_the_gradient() {
    let mut g = Stage::new();
    let x = g.constant(&Tensor::new([4], [1.0, 3.0, 3.0, 2.0]).unwrap());
    let one = g.number(1.0);
    let d = max::grad(&mut g, x, Some(one)).unwrap();
    assert_eq!(g.value(Value::Var(d)).unwrap().data(), [0.0, 0.5, 0.5, 0.0]);
}

#[test]
fn concat_of_three() {
    for axis in [0, 1] {
        let shapes: [&[usize]; 3] = if axis == 0 { [&[1, 3], &[2, 3], &[1, 3]] } else { [&[2, 1], &[2, 3], &[2, 2]] };
        check_op(
            "concat",
            &shapes.map(|shape| numbers(2, shape, -1.0, 1.0)),
            &|g, x| vec![concat::stage(g, [x[0], x[1], x[2]], axis)],
            &|g, x, d| concat::grad(g, [x[0], x[1], x[2]], axis, d[0]).0.to_vec(),
        );
    }
}

#[test]
fn products_of_matrices() {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[2, 3], &[3, 4]),
        (&[1, 1], &[1, 1]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[3], &[3]),
        (&[2, 2, 3], &[3, 2]),
        (&[2, 2, 3], &[2, 3, 1]),
        (&[2, 1, 2, 3], &[3, 3, 2]),
    ];
    for (a, b) in shapes {
        check_op(
            "matmul",
            &[numbers(1, a, -1.0, 1.0), numbers(2, b, -1.0, 1.0)],
            &|g, x| vec![matmul::stage(g, x[0], x[1])],
            &|g, x, d| {
                let (da, db) = matmul::grad(g, x[0], x[1], d[0]);
                vec![da, db]
            },
        );
    }
}

#[test]
fn rows_by_number() {
    check_op(
        "gather",
        &[numbers(1, &[5, 2], -1.0, 1.0), indices(2, &[3, 4], 5)],
        &|g, x| vec![gather::stage(g, x[0], x[1])],
        &|g, x, d| {
            let (dt, di) = gather::grad(g, x[0], x[1], d[0]);
            vec![dt, di]
        },
    );
}

#[test]
fn losses() {
    check_op(
        "cross_entropy",
        &[numbers(1, &[2, 3, 5], -2.0, 2.0), indices(2, &[2, 3], 5)],
        &|g, x| vec![cross_entropy::stage(g, x[0], x[1])],
        &|g, x, d| {
            let (dl, dt) = cross_entropy::grad(g, x[0], x[1], d[0]);
            vec![dl, dt]
        },
    );
    check_op(
        "mse",
        &[numbers(1, &[3, 2], -2.0, 2.0), numbers(2, &[3, 2], -2.0, 2.0)],
        &|g, x| vec![mse::stage(g, x[0], x[1])],
        &|g, x, d| {
            let (dp, dt) = mse::grad(g, x[0], x[1], d[0]);
            vec![dp, dt]
        },
    );
}

#[test]
fn a_product_with_zeros_has_a_gradient() {
    let mut g = Stage::new();
    let x = g.constant(&Tensor::new([3], [2.0, 0.0, 3.0]).unwrap());
    let one = g.number(1.0);
    let d = prod::grad(&mut g, x, Some(one)).unwrap();
    assert_eq!(g.value(Value::Var(d)).unwrap().data(), [0.0, 6.0, 0.0]);
}

/// Losses of two tensors, where the second must be, and their plain arguments.
macro_rules! loss_cases {
    ($($op:ident $low:literal..$high:literal ($($arg:expr),*) $first:pat => $a:ident $b:ident;)*) => {
        #[test]
        fn losses_of_two_tensors() {
            $(check_op(
                stringify!($op),
                &[numbers(1, &[3, 4], $low, $high), numbers(2, &[3, 4], $low, $high)],
                &|g, x| vec![$op::stage(g, x[0], x[1], $($arg),*)],
                &|g, x, d| {
                    let $first = $op::grad(g, x[0], x[1], $($arg,)* d[0]);
                    vec![$a, $b]
                },
            );)*
        }
    };
}

loss_cases! {
    l1 -2.0..2.0 () (a, b) => a b;
    smooth_l1 -2.0..2.0 (0.5) (a, b, _) => a b;
    huber -2.0..2.0 (0.5) (a, b, _) => a b;
    poisson_nll 0.5..2.0 (true, false, 1e-8) (a, b, _, _, _) => a b;
    bce 0.1..0.9 () (a, b) => a b;
    bce_with_logits -2.0..2.0 () (a, b) => a b;
    kl_div 0.1..0.9 (false) (a, b, _) => a b;
    cosine_similarity -2.0..2.0 (-1, 1e-8) (a, b, _, _) => a b;
}

#[test]
fn elements_by_number() {
    let arguments = [numbers(1, &[3, 4], -1.0, 1.0), indices(2, &[3, 2], 4)];
    let (stage, grad) = (take_last::stage, take_last::grad);
    check_op("take_last", &arguments, &|g, x| vec![stage(g, x[0], x[1])], &|g, x, d| vec![grad(g, x[0], x[1], d[0]).0]);
    let arguments = [numbers(1, &[3, 2], -1.0, 1.0), indices(2, &[3, 2], 4)];
    check_op("add_along", &arguments, &|g, x| vec![add_along::stage(g, x[0], x[1], 0, 4)], &|g, x, d| {
        vec![add_along::grad(g, x[0], x[1], 0, 4, d[0]).0]
    });
    let arguments = [numbers(1, &[3, 2], -1.0, 1.0), indices(2, &[2], 4)];
    check_op("add_rows", &arguments, &|g, x| vec![add_rows::stage(g, x[0], x[1], 1, 4)], &|g, x, d| {
        vec![add_rows::grad(g, x[0], x[1], 1, 4, d[0]).0]
    });
}

#[test]
fn nothing_passes_a_stop() {
    let mut g = Stage::new();
    let one = g.number(1.0);
    assert_eq!(stop_gradient::grad(&mut g, 2.0, Some(one)), None);
    assert_eq!(integer::grad(&mut g, 2.0, Some(one)), None);
}

#[network(sequential, loss = mse)]
struct Layers {
    up: Linear<3, 4>,
    norm: LayerNorm<4>,
    act: Gelu,
    #[layer(bias = false)]
    down: Linear<4, 2>,
}

#[network(sequential, loss = cross_entropy)]
struct Table {
    rows: Embedding<5, 3>,
    out: Linear<3, 4>,
}

#[test]
fn layers() {
    check_network(Layers::new(), Layers::loss, &[numbers(1, &[2, 3], -1.0, 1.0), numbers(2, &[2, 2], -1.0, 1.0)]);
    let rows: Argument = indices(1, &[2, 3], 5);
    check_network(Table::new(), Table::loss, &[rows, indices(2, &[2, 3], 4)]);
}
