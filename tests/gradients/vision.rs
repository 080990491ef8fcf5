//! Operations and layers for images against finite differences, and what they refuse.

use crate::common::{Argument, check_network, check_op, numbers};
use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;

type Build<'a> = &'a dyn Fn(&mut Stage, &[Value]) -> Vec<Value>;
type Differentiate<'a> = &'a dyn Fn(&mut Stage, &[Value], &[Grad]) -> Vec<Grad>;

/// Checks the gradients of an operation by the reference, then the compiled result and gradients against it.
#[track_caller]
fn check_both(name: &str, arguments: &[Argument], build: Build<'_>, differentiate: Differentiate<'_>) {
    check_op(name, arguments, build, differentiate);
    let mut g = Stage::new();
    let mut tensors = Vec::new();
    let mut input = |g: &mut Stage, x: &Argument| {
        let data = x.data.iter().map(|&x| x as f32).collect::<Vec<_>>();
        tensors.push(Tensor::new(x.shape.clone(), data).expect("as many"));
        g.input(tensors.len() - 1, &x.shape, DType::F32)
    };
    let xs: Vec<Value> = arguments.iter().map(|x| Value::Var(input(&mut g, x))).collect();
    let mut values = build(&mut g, &xs);
    let Value::Var(out) = values[0] else { panic!("{name}: {:?}", g.error()) };
    let shape = g.graph()[out].shape.clone();
    let d = input(&mut g, &numbers(9, &shape, -1.0, 1.0));
    values.extend(differentiate(&mut g, &xs, &[Some(d)]).into_iter().flatten().map(Value::Var));
    let inputs: Vec<Input<'_>> = tensors.iter().map(Input::from).collect();
    let found = g.compute(&values, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = g.reference(&values, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        for (j, (&a, &b)) in found.data().iter().zip(expected).enumerate() {
            assert!((a as f64 - b).abs() <= 1e-5 * (1.0 + b.abs()), "{name}: value {i}, element {j} is {a}, not {b}");
        }
    }
}

/// Operations of one tensor: its shape, and the constants.
macro_rules! cases {
    ($($test:ident $op:ident $shape:expr, ($($arg:expr),*);)*) => {$(
        #[test]
        fn $test() {
            check_both(
                stringify!($test),
                &[numbers(8, &$shape, -1.0, 1.0)],
                &|g, x| vec![$op::stage(g, x[0], $($arg),*)],
                &|g, x, d| vec![$op::grad(g, x[0], $($arg,)* d[0]).0],
            );
        }
    )*};
}

cases! {
    largest_of_windows max_pool2d [1, 2, 5, 5], (3, 2, 0, 1, false);
    largest_with_all_options max_pool2d [2, 5, 6], ([3, 2], [1, 2], [1, 0], [1, 2], true);
    largest_in_a_row max_pool1d [2, 2, 7], (3, 2, 1, 1, true);
    largest_in_a_dilated_row max_pool1d [2, 7], (3, 1, 1, 2, false);
    means_of_windows avg_pool2d [1, 2, 5, 4], (2, 1, 0, false, true);
    means_that_count_padding avg_pool2d [1, 2, 5, 4], ([3, 2], 2, 1, true, true);
    means_that_count_elements avg_pool2d [1, 2, 5, 4], ([3, 2], 2, 1, true, false);
    means_in_a_row avg_pool1d [2, 7], (3, 2, 1, false, true);
    means_in_a_row_of_elements avg_pool1d [2, 6], (3, 2, 1, true, false);
    sums_of_windows sum_pool2d [1, 4, 4], (3, 2, 1, true);
    adaptive_means adaptive_avg_pool2d [2, 5, 4], (3, 2);
    adaptive_means_that_grow adaptive_avg_pool2d [2, 2, 3], (3, 5);
    adaptive_means_in_a_row adaptive_avg_pool1d [2, 7], (3);
    one_mean adaptive_avg_pool2d [2, 3, 4], (1, 1);
    adaptive_largest adaptive_max_pool2d [2, 5, 4], (3, 2);
    adaptive_largest_in_a_row adaptive_max_pool1d [2, 7], (3);
    one_largest adaptive_max_pool2d [2, 3, 4], (1, 1);
    adaptive_means_of_an_outer_axis adaptive_avg [5, 2, 2], (0, 3);
    adaptive_largest_of_an_outer_axis adaptive_max [5, 2, 2], (0, 3);
    reflected pad_reflect [3, 4], (1, 3, 2);
    reflected_in_front pad_reflect [4, 2], (0, 2, 0);
    replicated pad_replicate [3, 4], (1, 5, 2);
    replicated_behind pad_replicate [4, 2], (0, 0, 3);
    circular pad_circular [3, 4], (1, 4, 2);
    circular_outer pad_circular [4, 2], (0, 1, 0);
    surrounded pad_constant [3, 4], (1, 1, 2, 1.5);
    not_surrounded pad_constant [3, 4], (1, 0, 0, 1.5);
    padded_for_windows pad_windows [2, 5], (1, 3, 2, 1, 1, true, 0.5);
    padded_outer_axis pad_windows [5, 2], (0, 2, 3, 1, 2, false, 0.0);
    around_each neighbours [2, 4], (1, 4);
    copies resize_nearest [2, 5, 2], (1, 3, 0.0);
    copies_by_scale resize_nearest [2, 5], (1, 8, 1.7);
    exact_copies resize_nearest_exact [2, 3], (-1, 5, 0.0);
    lines resize_linear [2, 3], (1, 5, false, 0.0);
    lines_by_scale resize_linear [2, 3], (1, 5, false, 1.7);
    lines_between_corners resize_linear [3, 2], (0, 5, true, 0.0);
    lines_to_one resize_linear [3, 2], (0, 1, true, 0.0);
    smaller_lines resize_linear [5, 2], (0, 2, false, 0.0);
    larger_images upsample_bilinear2d [2, 3, 2], (5, 4, false);
    larger_copies upsample_nearest2d [2, 3, 2], (6, 4);
    of_groups group_norm [2, 4, 3], (2, 1e-3);
    of_groups_of_channels group_norm [3, 4], (2, 1e-3);
    of_instances instance_norm [2, 2, 2, 3], (1e-3);
    of_responses local_response_norm [2, 4, 3], (3, 0.5, 0.75, 1.0);
}

#[test]
fn shape_of_another() {
    check_op(
        "reshape_as",
        &[numbers(1, &[2, 3], -1.0, 1.0), numbers(2, &[3, 2], -1.0, 1.0)],
        &|g, x| vec![reshape_as::stage(g, x[0], x[1])],
        &|g, x, d| vec![reshape_as::grad(g, x[0], x[1], d[0]).0, None],
    );
    check_op(
        "per_channel",
        &[numbers(1, &[3], -1.0, 1.0), numbers(2, &[2, 3, 1, 4], -1.0, 1.0)],
        &|g, x| vec![per_channel::stage(g, x[0], x[1])],
        &|g, x, d| vec![per_channel::grad(g, x[0], x[1], d[0]).0, None],
    );
}

/// Convolutions: the shapes of input and weight, and the constants.
macro_rules! convolutions {
    ($($test:ident $op:ident $x:expr, $weight:expr, ($($arg:expr),*);)*) => {$(
        #[test]
        fn $test() {
            check_both(
                stringify!($test),
                &[numbers(1, &$x, -1.0, 1.0), numbers(2, &$weight, -1.0, 1.0)],
                &|g, x| vec![$op::stage(g, x[0], x[1], $($arg),*)],
                &|g, x, d| {
                    let grads = $op::grad(g, x[0], x[1], $($arg,)* d[0]);
                    vec![grads.0, grads.1]
                },
            );
        }
    )*};
}

convolutions! {
    plain conv2d [2, 2, 5, 6], [3, 2, 3, 2], (1, 0, 1, 1);
    padded conv2d [2, 2, 5, 6], [3, 2, 3, 2], (1, 1, 1, 1);
    strided conv2d [2, 2, 5, 6], [3, 2, 3, 2], (2, 0, 1, 1);
    strided_and_padded conv2d [2, 2, 5, 6], [3, 2, 3, 2], (2, 2, 1, 1);
    uneven conv2d [1, 2, 5, 6], [3, 2, 2, 3], ([2, 1], [0, 2], [3, 1], 1);
    grouped conv2d [2, 4, 4, 4], [6, 2, 2, 3], ([1, 2], 1, 1, 2);
    depthwise conv2d [1, 3, 4, 4], [6, 1, 3, 3], (1, 1, 1, 3);
    in_a_row conv1d [2, 2, 7], [3, 2, 3], (2, 1, 2, 1);
    grouped_in_a_row conv1d [2, 4, 5], [4, 2, 2], (1, 0, 1, 2);
    transposed conv_transpose2d [2, 2, 3, 2], [2, 3, 2, 3], (1, 0, 0, 1, 1);
    transposed_with_options conv_transpose2d [1, 4, 3, 2], [4, 3, 2, 3], ([2, 3], [1, 0], [1, 2], 2, [1, 2]);
    transposed_in_a_row conv_transpose1d [2, 4, 3], [4, 2, 3], (2, 1, 1, 2, 1);
}

/// An image to images of another shape through every layer with parameters.
#[network(sequential, loss = mse)]
struct Images {
    #[layer(padding = 1, stride = 2)]
    conv: Conv2d<2, 4, 3>,
    norm: GroupNorm<2, 4>,
    act: Tanh,
    #[layer(groups = 2, bias = false)]
    grouped: Conv2d<4, 4, 1>,
    instance: InstanceNorm2d<4>,
    #[layer(stride = 1, padding = 1, ceil_mode = true)]
    pool: MaxPool2d<3>,
    #[layer(stride = 2, groups = 2, output_padding = 1)]
    up: ConvTranspose2d<4, 4, 2>,
    #[layer(bilinear = true)]
    larger: Upsample<2>,
    pad: ReflectionPad2d<1>,
    #[layer(count_include_pad = false, padding = 1)]
    means: AvgPool2d<3>,
    parts: AdaptiveAvgPool2d<2, 1>,
    flat: Flatten,
    rms: RmsNorm<8>,
    out: Linear<8, 1>,
}

#[network(sequential, loss = mse)]
struct Sequences {
    #[layer(dilation = 2, padding = 2, groups = 2)]
    conv: Conv1d<2, 4, 3>,
    act: Tanh,
    #[layer(stride = 2)]
    up: ConvTranspose1d<4, 2, 2>,
    norm: GroupNorm<1, 2>,
    pool: MaxPool1d<2>,
    means: AvgPool1d<2>,
    flat: Flatten,
    out: Linear<4, 1>,
}

#[network(sequential, loss = mse)]
struct Borders {
    zero: ZeroPad2d<1>,
    conv: Conv2d<1, 2, 3>,
    repeated: ReplicationPad2d<1>,
    around: CircularPad2d<1>,
    copies: Upsample<2>,
    largest: AdaptiveMaxPool2d<2, 2>,
    flat: Flatten,
    out: Linear<8, 1>,
}

#[test]
fn layers() {
    let target = numbers(2, &[2, 1], -1.0, 1.0);
    check_network(Images::new(), Images::loss, &[numbers(1, &[2, 2, 4, 5], -1.0, 1.0), target.clone()]);
    check_network(Sequences::new(), Sequences::loss, &[numbers(1, &[2, 2, 4], -1.0, 1.0), target.clone()]);
    check_network(Borders::new(), Borders::loss, &[numbers(1, &[2, 1, 4, 3], -1.0, 1.0), target]);
}

/// PyTorch's names and layouts: `state_dict()` of the same modules.
#[test]
fn parameters_are_pytorchs() -> downhill::Result<()> {
    let shapes = |names: &[(&str, &[usize])], get: &dyn Fn(&str) -> downhill::Result<Tensor>| -> downhill::Result<()> {
        for (name, shape) in names {
            assert_eq!(get(name)?.shape(), *shape, "{name}");
        }
        Ok(())
    };
    let images = Images::init(0);
    shapes(
        &[
            ("conv.weight", &[4, 2, 3, 3]),
            ("conv.bias", &[4]),
            ("norm.weight", &[4]),
            ("norm.bias", &[4]),
            ("grouped.weight", &[4, 2, 1, 1]),
            ("up.weight", &[4, 2, 2, 2]),
            ("up.bias", &[4]),
            ("rms.weight", &[8]),
        ],
        &|name| images.get(name),
    )?;
    assert!(images.get("grouped.bias").is_err());
    let sequences = Sequences::init(0);
    shapes(&[("conv.weight", &[4, 1, 3]), ("conv.bias", &[4]), ("up.weight", &[4, 2, 2]), ("up.bias", &[2])], &|name| {
        sequences.get(name)
    })
}

/// A weight starts within ±1/√n, n the elements that an output sees; `groups` lowers it, in any order of options.
#[network(sequential)]
struct Starts {
    #[layer(groups = 4)]
    own: Conv2d<16, 64, 3>,
    #[layer(weight_init = downhill::init::constant(2.0), groups = 4)]
    chosen: Conv2d<64, 8, 1>,
}

#[test]
fn starts() -> downhill::Result<()> {
    let model = Starts::init(0);
    let bound = 1.0 / (16.0 / 4.0 * 9.0f32).sqrt();
    let largest = model.get("own.weight")?.data().iter().fold(0f32, |m, x| m.max(x.abs()));
    assert!(largest <= bound && largest > 0.95 * bound, "{largest}, {bound}");
    assert!(model.get("chosen.weight")?.data().iter().all(|&x| x == 2.0));
    assert_eq!(model.get("chosen.weight")?.shape(), [8, 16, 1, 1]);
    Ok(())
}

/// What an operation says of arguments that do not fit.
#[test]
fn refusals() {
    type Build = fn(&mut Stage, Value, Value) -> Value;
    let cases: &[(Build, &str)] = &[
        (|g, x, w| conv2d::stage(g, x, w, 1, 0, 1, 3), "conv2d: 3 groups do not divide 4 channels"),
        (
            |g, x, w| conv2d::stage(g, x, w, 1, 0, 1, 2),
            "conv2d: the weight [6, 4, 3, 3] in 2 groups takes 8 channels, the input has 4",
        ),
        (
            |g, x, w| conv2d::stage(g, x, w, [1, 1, 1], 0, 1, 1),
            "conv2d: `stride`: expected a whole number, or a list of 2",
        ),
        (
            |g, x, w| conv2d::stage(g, x, w, 1, -1, 1, 1),
            "conv2d: `padding`: expected a whole number, or a list of 2, found -1",
        ),
        (
            |g, x, w| conv2d::stage(g, x, w, 1, 0, 4, 1),
            "conv2d: a kernel of 3 with a dilation of 4 does not fit axis 2 of [2, 4, 5, 5]",
        ),
        (|g, x, w| conv2d::stage(g, x, w, 0, 0, 1, 1), "conv2d: a kernel, a stride and a dilation are at least 1"),
        (
            |g, x, w| conv_transpose2d::stage(g, x, w, 1, 0, 0, 1, 1),
            "conv_transpose2d: the weight [6, 4, 3, 3] takes 6 channels, the input has 4",
        ),
        (
            |g, x, w| conv_transpose2d::stage(g, x, w, 1, 0, 1, 1, 1),
            "conv_transpose2d: an output padding of 1 must be below the stride, 1, or the dilation, 1",
        ),
        (
            |g, x, _| max_pool2d::stage(g, x, 2, 2, 2, 1, false),
            "max_pool2d: a padding of 2 is more than half of a window of 2",
        ),
        (|g, x, _| adaptive_avg_pool2d::stage(g, x, 0, 1), "adaptive_avg: from a size of 5 to 0: both are at least 1"),
        (
            |g, x, _| pad_reflect::stage(g, x, 2, 5, 0),
            "pad_reflect: a border of 5 is too large for axis 2 of [2, 4, 5, 5]",
        ),
        (|g, x, _| group_norm::stage(g, x, 3, 1e-5), "group_norm: 3 groups do not divide 4 channels"),
    ];
    for (build, expected) in cases {
        let mut g = Stage::new();
        let x = Value::Var(g.input(0, &[2, 4, 5, 5], DType::F32));
        let w = Value::Var(g.input(1, &[6, 4, 3, 3], DType::F32));
        assert!(matches!(build(&mut g, x, w), Value::Unknown), "{expected}");
        assert_eq!(g.error(), Some(*expected));
    }
}
