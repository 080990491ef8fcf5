//! Sizes that no memory can hold: refused with an error that names them, wherever they come from.

use downhill::check::{Check, Type};
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Error, Input};
use proptest::prelude::*;

#[test]
fn sizes_by_hand_are_bounded() {
    let large = [[1 << 40, 1 << 40], [usize::MAX, 2], [1 << 63, 2], [(1 << 60) + 1, 16], [1 << 20, (1 << 20) + 1]];
    for shape in large {
        let mut g = Stage::new();
        let x = g.fill(1.0, &shape);
        let sum = g.reduce(downhill::ops::Reduce::Sum, x, 3);
        for value in [x, sum] {
            let found = [
                g.compile(&[value.into()]).map(drop),
                g.compute(&[value.into()], &[]).map(drop),
                g.value(value.into()).map(drop),
            ];
            assert!(found.iter().all(|found| matches!(found, Err(Error::TooLarge { .. }))), "{shape:?}: {found:?}");
        }
        let mut g = Stage::new();
        let x = g.input(0, &shape, DType::F32);
        let y = exp::stage(&mut g, x);
        assert!(g.compile(&[y]).is_err(), "{shape:?}");
        let mut g = Stage::new();
        let (x, y) = (g.input(0, &shape, DType::F32), g.input(1, &shape, DType::F32));
        let both = g.concat(&[x, y], 0);
        assert!(g.compile(&[both.into()]).is_err(), "{shape:?}");
    }
    let mut g = Stage::new();
    let x = g.input(usize::MAX, &[2], DType::F32);
    assert!(g.compile(&[x.into()]).is_err());
    let mut g = Stage::new();
    let (x, again) = (g.input(0, &[2], DType::F32), g.input(0, &[1 << 20], DType::F32));
    assert!(g.compile(&[x.into(), again.into()]).is_err());
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    // Four terabytes.
    let mut g = Stage::new();
    let x = broadcast_to::stage(&mut g, 2.0, [1 << 20, 1 << 20]);
    assert!(g.value(x).is_err());
    assert!(g.compile(&[x]).is_err() || cfg!(not(target_os = "linux")));
}

#[test]
fn shape_rules_bound_sizes_of_symbols() {
    let shape = downhill::shape::Shape::of(&[downhill::shape::Dim::symbol('B'), downhill::shape::Dim::n(1 << 41)]);
    let mut cx = Check::record();
    let ty = exp::shape(&mut cx, Type::tensor(DType::F32, shape));
    assert!(matches!(ty, Type::Unknown));
    assert_eq!(cx.first(), Some("exp: [B, 2199023255552] has more than 2^40 elements"));
}

/// Numbers around those at which products and sums of them leave 64 bits, and small ones.
fn number() -> impl Strategy<Value = isize> {
    let edge = (0u32..63, -2isize..3).prop_map(|(bit, more)| (1isize << bit).saturating_add(more));
    prop_oneof![
        -3isize..6,
        edge.clone(),
        edge.prop_map(|n| -n),
        Just(isize::MAX),
        Just(isize::MIN),
        Just(isize::MAX - 1)
    ]
}

/// An operation with these numbers.
fn staged(g: &mut Stage, op: usize, x: Value, n: [isize; 4]) -> Value {
    let [a, b, c, d] = n;
    match op {
        0 => broadcast_to::stage(g, x, [a, b, c]),
        1 => reshape::stage(g, x, [a, b]),
        2 => repeat::stage(g, x, a, b),
        3 => repeat_interleave::stage(g, x, 0, b),
        4 => pad::stage(g, x, 0, b, c),
        5 => pad_constant::stage(g, x, 0, b, c, 1.0),
        6 => windows::stage(g, x, 0, b, c, d),
        7 => pad_windows::stage(g, x, 0, a, b, c, d, true, 0.0),
        8 => neighbours::stage(g, x, 0, a),
        9 => slice::stage(g, x, 0, a, b),
        10 => stride::stage(g, x, 0, a),
        11 => diagonal::stage(g, x, a, 0, 1),
        12 => overlap::stage(g, x, 0, a, b, c),
        13 => roll::stage(g, x, 0, a),
        14 => iota::stage(g, a),
        15 => unflatten::stage(g, x, 0, [a, b]),
        // Parts are staged one by one.
        16 => adaptive_max::stage(g, x, 0, if a < 100 { a } else { a.max(1 << 17) }),
        17 => pad_reflect::stage(g, x, 0, a, b),
        18 => pad_circular::stage(g, x, 0, a, b),
        19 => pad_replicate::stage(g, x, 0, a, b),
        20 => max_pool1d::stage(g, x, a, b, c, d, true),
        21 => transpose::stage(g, x, a, b),
        22 => squeeze::stage(g, x, a),
        23 => unsqueeze::stage(g, x, a),
        24 => sum_axes::stage(g, x, [a]),
        _ => {
            let [y, z] = split::stage(g, x, a, 0);
            add::stage(g, y, z)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Two operations with sizes of any kind, one on the result of the other: what is staged can be computed, and
    /// the rest is refused. Nothing panics.
    #[test]
    fn sizes_of_operations((first, second) in (0usize..26, 0usize..26), a in [number(), number(), number(), number()], b in [number(), number(), number(), number()]) {
        let mut g = Stage::new();
        let x = g.input(0, &[3, 4], DType::F32);
        let y = staged(&mut g, first, x.into(), a);
        let z = staged(&mut g, second, y, b);
        let data = Tensor::new([3, 4], vec![1.0; 12]).unwrap();
        for value in [y, z] {
            let Value::Var(v) = value else { continue };
            prop_assert!(g[v].len() < 1 << 41, "{:?} was staged", g[v].shape);
            // What is large is not worth the time.
            if g.graph().nodes().iter().any(|node| node.len() >= 1 << 10) {
                continue;
            }
            let inputs = [Input::from(&data)];
            if let (Ok(found), Ok(expected)) = (g.compute(&[value], &inputs), g.reference(&[value], &inputs)) {
                prop_assert!(found[0].data().iter().zip(&expected[0]).all(|(&a, &b)| f64::from(a) == b));
            }
        }
    }

    /// Parameters of any sizes.
    #[test]
    fn sizes_of_parameters(a in number(), b in number()) {
        let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
        if a.checked_mul(b).is_none_or(|n| n > 1 << 24) && a.max(b) > 1 << 26 {
            // Either too large, or more than there is memory for here: not to be tried where there is.
            if a.checked_mul(b).is_none_or(|n| n > 1 << 40) {
                let refused = Model::try_new(Linear::new(a, b), 0).is_err();
                prop_assert!(refused);
                prop_assert!(Model::new(Embedding::new(a, b), 0).forward(&Index::new([1], [0]).unwrap()).is_err());
            }
        }
    }
}
