//! Compiled kernels against the f64 reference: every primitive on random shapes, and random graphs.

use crate::common::{self, indices, noise};
use crate::guarded;
use downhill::ops::elementwise::{Binary, Compare, Unary};
use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, graph::Var};
use proptest::prelude::*;

/// Compiles the values and compares them with the reference.
#[track_caller]
fn compare(what: &str, g: &Stage, values: &[Var], inputs: &[Input<'_>], tolerance: f64) {
    let values: Vec<Value> = values.iter().map(|&v| Value::Var(v)).collect();
    let found = g.compute(&values, inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    let expected = g.reference(&values, inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let scale = expected.iter().filter(|x| x.is_finite()).fold(0f64, |m, x| m.max(x.abs()));
        for (j, (&a, &b)) in found.data().iter().zip(expected).enumerate() {
            let same = a as f64 == b || a.is_nan() && b.is_nan();
            let close = (a as f64 - b).abs() <= tolerance * (b.abs() + 0.01 * scale + 1e-30);
            assert!(same || close, "{what}: value {i}, element {j} is {a}, the reference has {b}");
        }
    }
}

/// What the rounding of a reduction is relative to: the sum of the sizes of what is added, which may be much
/// more than the sum; for the other reductions the size of the result.
fn magnitude(g: &mut Stage, op: Reduce, x: Var, reduced: Var, axes: u8) -> Var {
    match op {
        Reduce::Sum => {
            let sizes = g.unary(Unary::Abs, x);
            g.reduce(Reduce::Sum, sizes, axes)
        }
        _ => g.unary(Unary::Abs, reduced),
    }
}

/// Compiles a value and compares it with the reference: the error may be `tolerance` times `size`.
#[track_caller]
fn compare_to_size(what: &str, g: &Stage, value: Var, size: Var, inputs: &[Input<'_>], tolerance: f64) {
    let found = g.compute(&[Value::Var(value)], inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    let expected =
        g.reference(&[Value::Var(value), Value::Var(size)], inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (j, (&a, (&b, &size))) in found[0].data().iter().zip(expected[0].iter().zip(&expected[1])).enumerate() {
        // What is below the normal numbers has fewer digits.
        let bound = tolerance * size + f32::MIN_POSITIVE as f64;
        assert!((a as f64 - b).abs() <= bound, "{what}: element {j} is {a}, the reference has {b}, of {size}");
    }
}

fn tensor(seed: u64, shape: &[usize], low: f64, high: f64) -> Tensor {
    let data = common::numbers(seed, shape, low, high).data.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    Tensor::new(shape, data).expect("as many as the shape says")
}

/// Shapes with sizes that are one, odd, and not divisible by the vector width.
fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![Just(1usize), 1..9usize, Just(16), Just(19), Just(33)], 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn functions_of_one_number(shape in shapes(), seed in 0..1000u64) {
        for &op in Unary::ALL {
            let (low, high) = match op {
                Unary::Log | Unary::Sqrt => (1e-3, 30.0),
                Unary::Log1p => (-0.9, 30.0),
                Unary::Acosh => (1.0, 30.0),
                Unary::Asin | Unary::Acos | Unary::Atanh | Unary::Erfinv => (-0.999, 0.999),
                Unary::Tan => (-1.5, 1.5),
                Unary::Erfc => (-4.0, 8.0),
                _ => (-12.0, 12.0),
            };
            let x = tensor(seed, &shape, low, high);
            let mut g = Stage::new();
            let v = g.input(0, &shape, DType::F32);
            let y = g.unary(op, v);
            compare(op.name(), &g, &[y], &[Input::from(&x)], 1e-5);
        }
    }

    #[test]
    fn functions_of_two_numbers(a in shapes(), seed in 0..1000u64, drop in 0..3usize, ones in 0..8u8) {
        // The second shape is the first with axes dropped or set to one, so that both broadcast.
        let mut b: Vec<usize> = a.iter().skip(drop).copied().collect();
        for (i, size) in b.iter_mut().enumerate() {
            if ones >> i & 1 == 1 {
                *size = 1;
            }
        }
        let (x, y) = (tensor(seed, &a, -3.0, 3.0), tensor(seed + 1, &b, 0.5, 3.0));
        for &op in Binary::ALL {
            for swap in [false, true] {
                let mut g = Stage::new();
                let (va, vb) = (g.input(0, &a, DType::F32), g.input(1, &b, DType::F32));
                let out = if swap && op != Binary::Div { g.binary(op, vb, va) } else { g.binary(op, va, vb) };
                let tolerance = if let Binary::Pow | Binary::Atan2 = op { 1e-5 } else { 1e-6 };
                compare(op.name(), &g, &[out], &[Input::from(&x), Input::from(&y)], tolerance);
            }
        }
        for &op in Compare::ALL {
            let mut g = Stage::new();
            let (va, vb) = (g.input(0, &a, DType::F32), g.input(1, &b, DType::F32));
            let mask = g.compare(op, va, vb);
            let chosen = g.select(mask, va, vb);
            let number = g.cast(mask, DType::F32);
            compare(op.name(), &g, &[chosen, number, mask], &[Input::from(&x), Input::from(&y)], 1e-6);
        }
    }

    #[test]
    fn whole_numbers(shape in shapes(), seed in 0..1000u64) {
        let make = |seed| {
            let data = indices(seed, &shape, 9).data.into_iter().map(|x| x as i32 - 4).collect::<Vec<_>>();
            Index::new(shape.clone(), data).expect("as many as the shape says")
        };
        let (x, y) = (make(seed), make(seed + 1));
        let mut g = Stage::new();
        let (a, b) = (g.input(0, &shape, DType::I32), g.input(1, &shape, DType::I32));
        let mut values = Vec::new();
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min] {
            values.push(g.binary(op, a, b));
        }
        for &op in Compare::ALL {
            values.push(g.compare(op, a, b));
        }
        values.push(g.cast(a, DType::F32));
        values.push(g.unary(Unary::Neg, a));
        compare("whole numbers", &g, &values, &[Input::from(&x), Input::from(&y)], 0.0);
    }

    #[test]
    fn reductions(shape in shapes(), seed in 0..1000u64, axes in 0..16u8) {
        let x = tensor(seed, &shape, -3.0, 3.0);
        let axes = axes & ((1 << shape.len()) - 1) as u8;
        for &op in Reduce::ALL {
            // A product of many numbers stays in range where they are near one.
            let near = 1.0 / x.data().len() as f64;
            let x = if op == Reduce::Prod { tensor(seed, &shape, 1.0 - near, 1.0 + near) } else { x.clone() };
            let mut g = Stage::new();
            let v = g.input(0, &shape, DType::F32);
            let y = g.reduce(op, v, axes);
            // The same behind an elementwise operation, and one that reads the result.
            let e = g.unary(Unary::Tanh, v);
            let z = g.reduce(op, e, axes);
            let w = g.binary(Binary::Sub, e, z);
            let [size_y, size_z] = [(v, y), (e, z)].map(|(x, sum)| magnitude(&mut g, op, x, sum, axes));
            let size_e = g.unary(Unary::Abs, e);
            let size_w = g.binary(Binary::Add, size_e, size_z);
            let count = (g.graph()[v].len() / g.graph()[y].len()) as f64;
            let tolerance = match op {
                Reduce::Sum => 1e-6,
                Reduce::Max | Reduce::Min => 5e-7,
                // Every factor is rounded, and adds its own error to that of the product.
                Reduce::Prod => 1e-6 + 4e-7 * count,
            };
            for (value, size) in [(y, size_y), (z, size_z), (w, size_w)] {
                compare_to_size(op.name(), &g, value, size, &[Input::from(&x)], tolerance);
            }
        }
    }

    #[test]
    fn moved_elements(shape in prop::collection::vec(1..7usize, 3), seed in 0..1000u64, order in 0..6usize, cut in 0..3usize) {
        let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order];
        let x = tensor(seed, &shape, -3.0, 3.0);
        let mut g = Stage::new();
        let v = g.input(0, &shape, DType::F32);
        let turned = g.transpose(v, &order);
        let len = g.graph()[v].len();
        let flat = g.reshape(turned, &[len]);
        let size = shape[cut];
        let mut window = vec![(0, 1); 3];
        window[cut] = (size - 1, -1);
        let flipped = g.slice(v, &window, &shape);
        let mut before = vec![0; 3];
        before[cut] = 2;
        let mut wide = shape.clone();
        wide[cut] += 5;
        let padded = g.pad(flipped, &before, &wide);
        let joined = g.concat(&[v, padded, flipped], cut);
        let used = g.unary(Unary::Tanh, flat);
        let back = g.reshape(used, &shape);
        let sum = g.binary(Binary::Add, back, flipped);
        compare("moved elements", &g, &[turned, flat, flipped, padded, joined], &[Input::from(&x)], 0.0);
        // A sum that nearly cancels is off by the rounding of its terms.
        compare("moved elements in a sum", &g, &[sum], &[Input::from(&x)], 1e-4);
    }

    #[test]
    fn sliding_windows(
        shape in prop::collection::vec(1..4usize, 2),
        n in 1..12usize,
        size in 1..4usize,
        step in 1..4usize,
        dilation in 1..4usize,
        seed in 0..1000u64,
    ) {
        let n = n + (size - 1) * dilation;
        let shape = [shape[0], n, shape[1]];
        let x = tensor(seed, &shape, -3.0, 3.0);
        let mut g = Stage::new();
        let v = g.input(0, &shape, DType::F32);
        let seen = windows::stage(&mut g, v, 1, size, step, dilation);
        let back = overlap::stage(&mut g, seen, 1, n, step, dilation);
        let sums = sum_axes::stage(&mut g, seen, [2]);
        let values: Vec<Var> =
            [seen, back, sums].into_iter().filter_map(|x| if let Value::Var(x) = x { Some(x) } else { None }).collect();
        prop_assert_eq!(values.len(), 3);
        compare("sliding windows", &g, &values, &[Input::from(&x)], 1e-5);
    }

    #[test]
    fn products(m in 1..20usize, k in 1..20usize, n in 1..20usize, batch in 0..3usize, ta: bool, tb: bool, seed in 0..1000u64) {
        let outer = vec![2; batch];
        let shape = |rows: usize, columns: usize, turned: bool| {
            let matrix = if turned { [columns, rows] } else { [rows, columns] };
            [&outer[..], &matrix].concat()
        };
        let (sa, sb) = (shape(m, k, ta), shape(k, n, tb));
        let (x, y) = (tensor(seed, &sa, -1.0, 1.0), tensor(seed + 1, &sb, -1.0, 1.0));
        let mut g = Stage::new();
        let (a, b) = (g.input(0, &sa, DType::F32), g.input(1, &sb, DType::F32));
        let y1 = g.matmul(a, b, ta, tb);
        let z = g.unary(Unary::Sigmoid, y1);
        compare("matmul", &g, &[y1, z], &[Input::from(&x), Input::from(&y)], 1e-5);
    }

    #[test]
    fn rows(rows in 1..9usize, width in 1..9usize, count in 1..20usize, seed in 0..1000u64) {
        let table = tensor(seed, &[rows, width], -1.0, 1.0);
        let data = indices(seed, &[count], rows).data.into_iter().map(|x| x as i32).collect::<Vec<_>>();
        let index = Index::new([count], data).expect("as many as the shape says");
        let mut g = Stage::new();
        let (t, i) = (g.input(0, &[rows, width], DType::F32), g.input(1, &[count], DType::I32));
        let taken = g.gather(t, i);
        let added = g.scatter_add(i, taken, rows);
        compare("rows", &g, &[taken, added], &[Input::from(&table), Input::from(&index)], 1e-5);
    }

    /// Random graphs of everything that fusion decides about.
    #[test]
    fn graphs(rows in 1..9usize, columns in 1..20usize, choices in prop::collection::vec(any::<u32>(), 1..24), seed in 0..1000u64) {
        let shape = [rows, columns];
        let (x, bias) = (tensor(seed, &shape, -1.0, 1.0), tensor(seed + 1, &[columns], -1.0, 1.0));
        let mut g = Stage::new();
        let mut values = vec![g.input(0, &shape, DType::F32), g.input(1, &[columns], DType::F32)];
        for choice in choices {
            let pick = |by: u32| values[(choice >> by) as usize % values.len()];
            let (a, b) = (pick(4), pick(12));
            let made = match choice % 12 {
                0 => g.unary(Unary::Tanh, a),
                1 => g.unary(Unary::Sigmoid, a),
                2 => g.binary(Binary::Add, a, b),
                3 => g.binary(Binary::Mul, a, b),
                4 => g.binary(Binary::Max, a, b),
                5 => {
                    let axes = (choice >> 20) as u8 & ((1 << g.graph()[a].shape.len()) - 1) as u8;
                    let sum = g.reduce(Reduce::Sum, a, axes);
                    let scale = g.number(1.0 / 16.0);
                    g.binary(Binary::Mul, sum, scale)
                }
                6 => {
                    let axes = (choice >> 20) as u8 & ((1 << g.graph()[a].shape.len()) - 1) as u8;
                    g.reduce(Reduce::Max, a, axes)
                }
                7 => {
                    // Both sides meet where the mask flips, or rounding could decide.
                    let mask = g.compare(Compare::Lt, a, b);
                    g.select(mask, b, a)
                }
                8 if g.graph()[a].shape.len() == 2 => g.transpose(a, &[1, 0]),
                9 => {
                    let len = g.graph()[a].len();
                    g.reshape(a, &[len])
                }
                10 if g.graph()[a].shape == shape => {
                    let turned = g.transpose(a, &[1, 0]);
                    let y = g.matmul(a, turned, false, false);
                    let z = g.matmul(y, a, false, false);
                    g.unary(Unary::Tanh, z)
                }
                _ => g.unary(Unary::Neg, a),
            };
            // Only shapes that broadcast with all others are used further.
            let sizes = &g.graph()[made].shape;
            let fits = sizes.len() <= 2 && sizes.iter().rev().zip([columns, rows]).all(|(&s, of)| s == 1 || s == of);
            if fits {
                values.push(made);
            }
        }
        let small = |v: &Var| g.graph()[*v].len() <= rows * columns;
        let outputs: Vec<Var> = values.iter().copied().filter(small).skip(2).collect();
        compare("graph", &g, &outputs, &[Input::from(&x), Input::from(&bias)], 1e-3);
        let last: Vec<Var> = outputs.last().copied().into_iter().collect();
        compare("last value", &g, &last, &[Input::from(&x), Input::from(&bias)], 1e-3);
    }
}

#[test]
fn special_numbers() {
    let data = vec![0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-40, 3e38, -3e38];
    let x = Tensor::new([data.len()], data).expect("as many as the shape says");
    for &op in Unary::ALL {
        let mut g = Stage::new();
        let v = g.input(0, x.shape(), DType::F32);
        let y = g.unary(op, v);
        let values = [Value::Var(y)];
        let (found, expected) =
            (g.compute(&values, &[Input::from(&x)]).unwrap(), g.reference(&values, &[Input::from(&x)]).unwrap());
        for (i, (&a, &b)) in found[0].data().iter().zip(&expected[0]).enumerate() {
            let b = b as f32;
            let same = a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * b.abs() + 1e-44;
            let sign = a.is_nan() || a.is_sign_negative() == b.is_sign_negative();
            assert!(sign && same, "{}({}) is {a}, expected {b}", op.name(), x.data()[i]);
        }
    }
}

/// Units in the last place between a result and the exact value.
fn ulps(found: f32, exact: f64) -> f64 {
    let unit = (exact as f32).abs().max(f32::MIN_POSITIVE);
    let unit = f32::from_bits(unit.to_bits() + 1) as f64 - unit as f64;
    (found as f64 - exact).abs() / unit
}

#[test]
fn functions_are_within_their_stated_error() {
    // The bounds in units of the last place over the ranges where the functions vary.
    let cases = [
        (Unary::Exp, -87.0, 88.0, 2.0),
        (Unary::Log, 1e-6, 1e6, 2.0),
        (Unary::Tanh, -10.0, 10.0, 4.0),
        (Unary::Sigmoid, -80.0, 80.0, 4.0),
        (Unary::Erf, -5.0, 5.0, 4.0),
    ];
    for (op, low, high, bound) in cases {
        let data: Vec<f32> = noise(9, 20_000).iter().map(|x| (low + (x + 1.0) / 2.0 * (high - low)) as f32).collect();
        let x = Tensor::new([data.len()], data).expect("as many as the shape says");
        let mut g = Stage::new();
        let v = g.input(0, x.shape(), DType::F32);
        let y = g.unary(op, v);
        let found = g.compute(&[Value::Var(y)], &[Input::from(&x)]).unwrap();
        let mut worst = (0.0, 0.0);
        for (&x, &y) in x.data().iter().zip(found[0].data()) {
            let error = ulps(y, op.reference(x as f64));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= bound, "{}({}) is off by {:.2} units in the last place", op.name(), worst.1, worst.0);
    }
}

/// aᵇ is exp(b ln a): the error must not grow with the exponent of e.
#[test]
fn powers_are_within_their_stated_error() {
    let count = 40_000;
    let pick = |seed, low: f64, high: f64| -> Vec<f32> {
        noise(seed, count).iter().map(|x| (low + (x + 1.0) / 2.0 * (high - low)) as f32).collect()
    };
    let logs = pick(3, -8.0, 8.0);
    let bases: Vec<f32> = logs.iter().map(|x| x.exp()).collect();
    // Half of the powers are near the largest or the smallest number.
    let mut exponents = pick(4, -11.0, 11.0);
    for (i, b) in exponents.iter_mut().enumerate().filter(|(i, _)| i % 2 == 0) {
        *b = b.signum() * (if *b * logs[i] < 0.0 { 86.0 } else { 88.0 } + *b / 20.0) / logs[i].abs();
    }
    let (a, b) = (Tensor::new([count], bases).unwrap(), Tensor::new([count], exponents).unwrap());
    let mut g = Stage::new();
    let (x, y) = (g.input(0, &[count], DType::F32), g.input(1, &[count], DType::F32));
    let power = g.binary(Binary::Pow, x, y);
    let found = g.compute(&[Value::Var(power)], &[Input::from(&a), Input::from(&b)]).unwrap();
    for ((&a, &b), &y) in a.data().iter().zip(b.data()).zip(found[0].data()) {
        let exact = (a as f64).powf(b as f64);
        if exact as f32 == f32::INFINITY {
            assert_eq!(y, f32::INFINITY, "pow({a}, {b})");
            continue;
        }
        let error = ulps(y, exact);
        assert!(error <= 2.0, "pow({a}, {b}) is off by {error:.2} units in the last place");
    }
}

/// Where a power leaves the numbers it is infinite or zero, and never none.
#[test]
fn powers_at_the_ends_of_the_numbers() {
    let (count, mut bases, mut exponents) =
        (20_000, vec![f32::MAX, f32::MAX, 2.0, 0.5], vec![1.0, 1.000_000_1, 128.0, -128.0]);
    for i in 0..count {
        let part = |prime: usize| (i * prime % count) as f64 / count as f64;
        let base = (40.0 * (part(7919) - 0.5)).exp() as f32;
        let log = if i % 2 == 0 { 86.0 + 20.0 * part(6007) } else { -106.0 + 20.0 * part(6007) };
        bases.push(base);
        exponents.push((log / f64::from(base).ln()) as f32);
    }
    let (a, b) = (Tensor::new([bases.len()], &bases[..]).unwrap(), Tensor::new([bases.len()], &exponents[..]).unwrap());
    let mut g = Stage::new();
    let (x, y) = (g.input(0, a.shape(), DType::F32), g.input(1, b.shape(), DType::F32));
    let power = g.binary(Binary::Pow, x, y);
    let found = g.compute(&[Value::Var(power)], &[Input::from(&a), Input::from(&b)]).unwrap();
    let mut infinite = 0;
    for ((&a, &b), &y) in a.data().iter().zip(b.data()).zip(found[0].data()) {
        let exact = f64::from(a).powf(f64::from(b));
        let edge = exact / f64::from(f32::MAX);
        let right = match edge {
            _ if edge > 1.000_001 => y == f32::INFINITY,
            _ if edge > 0.999_999 => y > 3.4e38,
            _ => (f64::from(y) - exact).abs() <= 2e-6 * exact + 2.9e-45,
        };
        infinite += usize::from(y.is_infinite());
        assert!(right, "pow({a}, {b}) is {y}, expected {exact:e}");
    }
    assert!(infinite > 1000);
    assert_eq!(found[0].data()[0], f32::MAX);
}

#[test]
fn powers_of_special_numbers() {
    let inf = f32::INFINITY;
    let bases =
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.25, inf, -inf, f32::NAN, 1e-40, -1e-40, 3e38, f32::MIN_POSITIVE];
    let exponents = [0.0, 1.0, -1.0, 2.0, 3.0, -2.0, -3.0, 0.5, -0.5, 200.0, -200.0, 1e10, inf, -inf, f32::NAN];
    let pairs: Vec<(f32, f32)> = bases.iter().flat_map(|&a| exponents.iter().map(move |&b| (a, b))).collect();
    let side = |pick: fn(&(f32, f32)) -> f32| Tensor::new([pairs.len()], pairs.iter().map(pick).collect::<Vec<_>>());
    let (a, b) = (side(|pair| pair.0).unwrap(), side(|pair| pair.1).unwrap());
    let mut g = Stage::new();
    let (x, y) = (g.input(0, a.shape(), DType::F32), g.input(1, b.shape(), DType::F32));
    let power = g.binary(Binary::Pow, x, y);
    let found = g.compute(&[Value::Var(power)], &[Input::from(&a), Input::from(&b)]).unwrap();
    for (&(a, b), &y) in pairs.iter().zip(found[0].data()) {
        let exact = (a as f64).powf(b as f64) as f32;
        let sign = y.is_nan() || y.is_sign_negative() == exact.is_sign_negative();
        let same = y == exact || y.is_nan() && exact.is_nan() || (y - exact).abs() <= 1e-6 * exact.abs() + 1e-44;
        assert!(sign && same, "pow({a}, {b}) is {y}, expected {exact}");
    }
}

#[test]
fn between_guard_pages() {
    guarded::run_tests_again(module_path!());
}
