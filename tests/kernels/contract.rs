//! Contractions of views, compiled and by the f64 reference, and convolutions made of them.

use crate::common::{self, Argument, check_op, numbers};
use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    let data = numbers(seed, shape, -1.0, 1.0).data.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    Tensor::new(shape, data).expect("as many as the shape says")
}

/// Compares results of a graph of two inputs.
#[track_caller]
fn compare(g: &Stage, results: &[Value], (x, y): (&Tensor, &Tensor)) {
    assert!(g.error().is_none(), "{:?}", g.error());
    let inputs = [Input::from(x), Input::from(y)];
    let found = g.compute(results, &inputs).expect("a result");
    let expected = g.reference(results, &inputs).expect("a result");
    for (result, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.data().len(), expected.len());
        let largest = expected.iter().fold(1f64, |m, y| m.max(y.abs()));
        for (i, (&x, y)) in found.data().iter().zip(expected).enumerate() {
            assert!((x as f64 - y).abs() < 1e-5 * largest, "{result}: element {i} is {x}, the reference has {y}");
        }
    }
}

/// Letters in an order of their own.
fn shuffled(letters: &str, seed: u64) -> String {
    let mut letters: Vec<char> = letters.chars().collect();
    let order = common::noise(seed, letters.len());
    letters
        .sort_by(|a, b| order[*a as usize % order.len()].total_cmp(&order[*b as usize % order.len()]).then(a.cmp(b)));
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Letters of every kind in any order: `p` is of pairs, `m` and `n` of rows, `i` of columns, and the rest is
    /// summed over.
    #[test]
    fn any_order_of_axes(seed in 0..10_000u64, sizes in proptest::collection::vec(1..4usize, 7), wide in 1..33usize) {
        let letters = "pmniuvw";
        let mut sizes = sizes;
        sizes[seed as usize % 7] = wide;
        let size = |letter: char| sizes[letters.find(letter).expect("one of them")];
        let [left, right, result] = ["pmnuvw", "piuvw", "pmni"].map(|l| shuffled(l, seed ^ l.len() as u64));
        let shape = |letters: &str| letters.chars().map(size).collect::<Vec<_>>();
        let (x, y) = (tensor(1, &shape(&left)), tensor(2, &shape(&right)));
        let mut g = Stage::new();
        let (a, b) = (g.input(0, x.shape(), DType::F32), g.input(1, y.shape(), DType::F32));
        let product = g.contract(a, b, &format!("{left},{right}->{result}"));
        compare(&g, &[product.into()], (&x, &y));
    }

    #[test]
    fn convolutions(
        (groups, inner, outer) in (1..3usize, 1..4usize, prop_oneof![1..5usize, 8..34usize]),
        (height, width) in (1..9usize, 1..40usize),
        (size_h, size_w) in (1..4usize, 1..5usize),
        (stride, dilation) in ((1..3usize, 1..4usize), (1..3usize, 1..3usize)),
        (before, behind) in ((0..4usize, 0..3usize), (0..4usize, 0..3usize)),
    ) {
        let (height, width) = (height + (size_h - 1) * dilation.0, width + (size_w - 1) * dilation.1);
        let x = tensor(1, &[2, groups, inner, height, width]);
        let w = tensor(2, &[groups, outer, inner, size_h, size_w]);
        let mut g = Stage::new();
        let (a, b) = (g.input(0, x.shape(), DType::F32), g.input(1, w.shape(), DType::F32));
        let (tall, broad) = (before.0 + height + behind.0, before.1 + width + behind.1);
        let padded = g.pad(a, &[0, 0, 0, before.0, before.1], &[2, groups, inner, tall, broad]);
        let y = convolve::stage(&mut g, padded, b, stride.0, stride.1, dilation.0, dilation.1);
        let Value::Var(v) = y else { panic!("{:?}", g.error()) };
        // What comes back is a number of its own for each place.
        let d = g.unary(downhill::ops::elementwise::Unary::Tanh, v);
        let (dx, dw, ..) = convolve::grad(&mut g, padded, b, stride.0, stride.1, dilation.0, dilation.1, Some(d));
        compare(&g, &[y, dx.expect("a gradient").into(), dw.expect("a gradient").into()], (&x, &w));
    }
}

#[test]
fn the_gradients_of_a_convolution() {
    for (stride, dilation) in [((1, 1), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (1, 1)), ((2, 3), (1, 2)), ((1, 2), (2, 2))]
    {
        let arguments: [Argument; 2] =
            [numbers(1, &[2, 2, 2, 6, 8], -1.0, 1.0), numbers(2, &[2, 3, 2, 3, 2], -1.0, 1.0)];
        check_op(
            "convolve",
            &arguments,
            &move |g, x| vec![convolve::stage(g, x[0], x[1], stride.0, stride.1, dilation.0, dilation.1)],
            &move |g, x, d| {
                let (dx, dw, ..) = convolve::grad(g, x[0], x[1], stride.0, stride.1, dilation.0, dilation.1, d[0]);
                vec![dx, dw]
            },
        );
    }
}
