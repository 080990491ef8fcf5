//! Lists and axes: what the shape rules say is what is computed, compiled as by the reference, and what
//! was taken apart can be put together again.

use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, check::Check, check::Type};
use proptest::prelude::*;

fn data(shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    Tensor::new(shape, (0..len).map(|i| i as f32).collect::<Vec<_>>()).expect("as many as the shape says")
}

/// The elements that a value has when it is compiled; the reference and the shape rule must agree.
fn computed(g: &Stage, y: Value, rule: Type, x: &Tensor) -> Tensor {
    assert_eq!(g.error(), None);
    let (Type::Tensor(said), Type::Tensor(found)) = (rule, g.ty(y)) else { panic!("{rule:?}, staged {y:?}") };
    assert_eq!(said.shape, found.shape, "the shape rule and what was staged");
    let found = g.compute(&[y], &[Input::from(x)]).unwrap().remove(0);
    let expected = g.reference(&[y], &[Input::from(x)]).unwrap().remove(0);
    assert!(found.data().iter().zip(expected).all(|(a, b)| *a as f64 == b), "{found:?}");
    found
}

/// Stages an operation of one input and computes it: `run!(x, name, plain…)`.
macro_rules! run {
    ($x:expr, $op:ident $(, $plain:expr)*) => {{
        let x: &Tensor = $x;
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, x.shape(), DType::F32));
        let mut cx = Check::record();
        let types = (g.ty(v), $(g.ty(Value::from($plain)),)*);
        let y = $op::stage(&mut g, v $(, $plain)*);
        let rule = apply!(cx, $op, types $(, $plain)*);
        computed(&g, y, rule, x)
    }};
}

/// The shape rule of an operation on types in a tuple.
macro_rules! apply {
    ($cx:ident, $op:ident, $t:ident) => {
        $op::shape(&mut $cx, $t.0)
    };
    ($cx:ident, $op:ident, $t:ident, $a:expr) => {
        $op::shape(&mut $cx, $t.0, $t.1)
    };
    ($cx:ident, $op:ident, $t:ident, $a:expr, $b:expr) => {
        $op::shape(&mut $cx, $t.0, $t.1, $t.2)
    };
    ($cx:ident, $op:ident, $t:ident, $a:expr, $b:expr, $c:expr) => {
        $op::shape(&mut $cx, $t.0, $t.1, $t.2, $t.3)
    };
}

/// The place of an element, from its number.
fn place(shape: &[usize], mut flat: usize) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (i, &size) in shape.iter().enumerate().rev() {
        at[i] = flat % size;
        flat /= size;
    }
    at
}

fn element(x: &Tensor, at: &[usize]) -> f32 {
    x.data()[at.iter().zip(x.shape()).fold(0, |flat, (i, n)| flat * n + i)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_diagonal(
        shape in prop::collection::vec(1..5usize, 2..4),
        offset in -4..5isize,
        a in 0..3usize,
        b in 0..3usize,
    ) {
        let (a, b) = (a % shape.len(), b % shape.len());
        let (row, column) = if offset < 0 { (-offset as usize, 0) } else { (0, offset as usize) };
        prop_assume!(a != b && row < shape[a] && column < shape[b]);
        let x = data(&shape);
        let y = run!(&x, diagonal, offset, a, b);
        for i in 0..y.data().len() {
            let mut at = place(y.shape(), i);
            let along = at.pop().expect("the diagonal");
            let mut at = at.into_iter();
            let from: Vec<usize> = (0..shape.len())
                .map(|axis| match axis {
                    axis if axis == a => row + along,
                    axis if axis == b => column + along,
                    _ => at.next().expect("an axis"),
                })
                .collect();
            prop_assert_eq!(y.data()[i], element(&x, &from));
        }
        let count = (shape[a] - row).min(shape[b] - column);
        prop_assert_eq!(*y.shape().last().expect("the diagonal"), count);
    }

    #[test]
    fn axes_moved(shape in prop::collection::vec(1..5usize, 1..4), from in 0..3usize, to in -3..3isize) {
        let rank = shape.len() as isize;
        let (from, to) = (from % shape.len(), if to < 0 { -1 - (-to - 1) % rank } else { to % rank });
        let x = data(&shape);
        let y = run!(&x, movedim, from, to);
        let target = if to < 0 { to + rank } else { to } as usize;
        let mut expected = shape.clone();
        let size = expected.remove(from);
        expected.insert(target, size);
        prop_assert_eq!(y.shape(), &expected[..]);
        prop_assert_eq!(run!(&y, movedim, target, from), x.clone());
        for i in 0..y.data().len() {
            let mut at = place(y.shape(), i);
            let along = at.remove(target);
            at.insert(from, along);
            prop_assert_eq!(y.data()[i], element(&x, &at));
        }
    }

    #[test]
    fn steps(n in 1..12usize, step in 1..5usize, inner in 1..3usize) {
        let x = data(&[n, inner]);
        let y = run!(&x, stride, 0, step);
        let rows: Vec<f32> = x.data().chunks(inner).step_by(step).flatten().copied().collect();
        prop_assert_eq!(y.data(), &rows[..]);
    }

    #[test]
    fn parts_put_together(outer in 1..4usize, size in 1..4usize, inner in 1..4usize, sizes in prop::array::uniform3(1..4usize)) {
        let x = data(&[outer, 3 * size, inner]);
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, x.shape(), DType::F32));
        let parts: [Value; 3] = chunk::stage(&mut g, v, 1);
        let back = concat::stage(&mut g, parts, 1);
        prop_assert_eq!(computed(&g, back, g.ty(v), &x), x.clone());
        let turned = stack::stage(&mut g, parts, 1);
        let turned = g.compute(&[turned], &[Input::from(&x)]).unwrap().remove(0);
        prop_assert_eq!(turned, x.clone().reshape([outer, 3, size, inner]).unwrap());
        let types: [Type; 3] = chunk::shape(&mut Check::record(), g.ty(v), Type::Dim(downhill::shape::Dim::n(1)));
        for (part, ty) in parts.into_iter().zip(types) {
            computed(&g, part, ty, &x);
        }

        let x = data(&[outer, sizes.iter().sum(), inner]);
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, x.shape(), DType::F32));
        let parts: [Value; 3] = split::stage(&mut g, v, sizes, -2);
        let back = concat::stage(&mut g, parts, 1);
        prop_assert_eq!(computed(&g, back, g.ty(v), &x), x.clone());

        let x = data(&[outer, 3, inner]);
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, x.shape(), DType::F32));
        let parts: [Value; 3] = unbind::stage(&mut g, v, 1);
        let back = stack::stage(&mut g, parts, 1);
        prop_assert_eq!(computed(&g, back, g.ty(v), &x), x);
    }

    #[test]
    fn statistics(shape in prop::collection::vec(1..5usize, 3), axes in 1..8u8, correction in 0..2u8) {
        let list: Vec<isize> = (0..3).filter(|i| axes >> i & 1 == 1).collect();
        let x = data(&shape);
        let mut all = [0; 8];
        all[..list.len()].copy_from_slice(&list);
        let axes = Value::Ints { list: all, len: list.len() };
        let kept = |at: &[usize]| -> Vec<usize> { (0..3).filter(|i| !list.contains(&(*i as isize))).map(|i| at[i]).collect() };
        let mut groups = std::collections::BTreeMap::<Vec<usize>, Vec<f64>>::new();
        for i in 0..x.data().len() {
            groups.entry(kept(&place(&shape, i))).or_default().push(x.data()[i] as f64);
        }
        let count = groups.values().next().expect("a group").len();
        prop_assume!(count > correction as usize);
        let mut g = Stage::new();
        let v = Value::Var(g.input(0, &shape, DType::F32));
        let (spread, mean) = var_mean::stage(&mut g, v, axes, correction as f32);
        let total = logsumexp::stage(&mut g, v, axes);
        let found = g.compute(&[spread, mean, total], &[Input::from(&x)]).unwrap();
        for (i, group) in groups.values().enumerate() {
            let mean = group.iter().sum::<f64>() / count as f64;
            let squares: f64 = group.iter().map(|x| (x - mean).powi(2)).sum();
            let total = group.iter().map(|x| x.exp()).sum::<f64>().ln();
            let expected = [squares / (count as f64 - correction as f64), mean, total];
            for (found, expected) in found.iter().zip(expected) {
                let error = (found.data()[i] as f64 - expected).abs();
                prop_assert!(error <= 1e-5 * expected.abs().max(1.0), "{found:?}, expected {expected}");
            }
        }
    }
}

#[test]
fn axes_that_go_and_come() {
    let x = data(&[1, 6, 1]);
    assert_eq!(run!(&x, squeeze, [0, -1]).shape(), [6]);
    assert_eq!(run!(&x, squeeze, 2).shape(), [1, 6]);
    assert_eq!(run!(&x, unflatten, 1, [2, -1]).shape(), [1, 2, 3, 1]);
    assert_eq!(run!(&x, broadcast_to, [4, 1, -1, 2]).shape(), [4, 1, 6, 2]);
}

/// A logarithm of a sum of nothing but infinities is one.
#[test]
fn infinite_exponents() {
    let inf = f32::INFINITY;
    for (row, expected) in [([-inf, -inf], -inf), ([inf, 0.0], inf), ([-inf, 2.0], 2.0)] {
        let mut g = Stage::new();
        let x = g.constant(&Tensor::new([2], row).unwrap());
        let y = logsumexp::stage(&mut g, x, 0);
        assert_eq!(g.value(y).unwrap().data(), [expected], "{row:?}");
    }
}

#[test]
fn what_is_refused() {
    let refused = |build: &dyn Fn(&mut Stage, Value) -> Value| {
        let mut g = Stage::new();
        let x = Value::Var(g.input(0, &[2, 6], DType::F32));
        assert_eq!(build(&mut g, x), Value::Unknown);
        g.error().unwrap_or_default().to_owned()
    };
    let first = |parts: [Value; 2]| parts[0];
    assert_eq!(refused(&|g, x| squeeze::stage(g, x, 0)), "squeeze: axis 0 of [2, 6] has size 2, expected 1");
    assert_eq!(refused(&|g, x| movedim::stage(g, x, [0, 1], 0)), "movedim: 2 axes to 1 places");
    assert_eq!(refused(&|g, x| movedim::stage(g, x, 2, 0)), "movedim: no axis 2 in [2, 6]");
    assert_eq!(refused(&|g, x| stride::stage(g, x, 0, 0)), "stride: expected a step of at least 1, found 0");
    assert_eq!(refused(&|g, x| diagonal::stage(g, x, 6, 0, 1)), "diagonal: 6 is outside of [2, 6]");
    assert_eq!(refused(&|g, x| diagonal::stage(g, x, 0, 1, -1)), "diagonal: axis 1 is named twice");
    assert_eq!(refused(&|g, x| unflatten::stage(g, x, 1, [4, -1])), "reshape: [6] has 6 elements, [4, -1] has -4");
    assert_eq!(refused(&|g, x| first(split::stage(g, x, 4, 0))), "split: parts of 4 in an axis of 2 are not 2");
    assert_eq!(refused(&|g, x| first(split::stage(g, x, [7, -1], 1))), "split: -1 is no size");
    assert_eq!(refused(&|g, x| first(chunk::stage(g, x, 2))), "chunk: no axis 2 in [2, 6]");
    assert_eq!(
        refused(&|g, x| {
            let y = unsqueeze::stage(g, x, 0);
            stack::stage(g, [x, y], 0)
        }),
        "stack: [2, 6] and [1, 2, 6] differ"
    );
    assert_eq!(refused(&|g, x| vector_norm::stage(g, x, 2.0, [0, 0])), "sum_keepdim: axis 0 is named twice");
}
