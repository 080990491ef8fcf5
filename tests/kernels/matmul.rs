//! Matrix products of views and batches, compiled and by the f64 reference.

use crate::{common, guarded};
use downhill::Input;
use downhill::graph::Var;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

/// How an operand of a product comes from what is in memory.
#[derive(Clone, Copy, Debug)]
enum View {
    Whole,
    /// The matrix is stored transposed, and turned by a node of its own.
    Turned,
    /// The two outer axes and the rows are stored in another order, as the heads of attention are.
    Heads,
    /// Every second row, from a place inside on.
    Slice,
    /// Rows and columns backward.
    Backward,
    /// One matrix for all.
    Broadcast,
}

const VIEWS: [View; 6] = [View::Whole, View::Turned, View::Heads, View::Slice, View::Backward, View::Broadcast];

/// Stages the input of a shape whose view has the shape `[2, 3, rows, columns]`.
fn operand(g: &mut Stage, slot: usize, view: View, rows: usize, columns: usize) -> (Var, Tensor) {
    let shape = [2, 3, rows, columns];
    let stored: &[usize] = match view {
        View::Whole | View::Backward => &shape,
        View::Turned => &[2, 3, columns, rows],
        View::Heads => &[2, rows, 3, columns],
        View::Slice => &[2, 3, 2 * rows + 1, columns + 3],
        View::Broadcast => &[rows, columns],
    };
    let data = common::numbers(slot as u64, stored, -1.0, 1.0).data.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let x = g.input(slot, stored, DType::F32);
    let operand = match view {
        View::Whole | View::Broadcast => x,
        View::Turned => g.transpose(x, &[0, 1, 3, 2]),
        View::Heads => g.transpose(x, &[0, 2, 1, 3]),
        View::Slice => g.slice(x, &[(0, 1), (0, 1), (1, 2), (2, 1)], &shape),
        View::Backward => g.slice(x, &[(0, 1), (2, -1), (rows - 1, -1), (columns - 1, -1)], &shape),
    };
    (operand, Tensor::new(stored, data).expect("as many as the shape says"))
}

#[track_caller]
fn compare(g: &Stage, results: &[Value], inputs: &[Input<'_>]) {
    let found = g.compute(results, inputs).expect("a product");
    let expected = g.reference(results, inputs).expect("a product");
    for (result, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.data().len(), expected.len());
        let largest = expected.iter().fold(1f64, |m, y| m.max(y.abs()));
        for (i, (&x, y)) in found.data().iter().zip(expected).enumerate() {
            assert!((x as f64 - y).abs() < 1e-5 * largest, "{result}: element {i} is {x}, the reference has {y}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn views(m in 1..40usize, n in 1..70usize, k in 1..40usize) {
        for left in VIEWS {
            for right in VIEWS {
                let mut g = Stage::new();
                let ((a, x), (b, y)) = (operand(&mut g, 0, left, m, k), operand(&mut g, 1, right, k, n));
                let product = matmul::stage(&mut g, a, b);
                prop_assert!(g.error().is_none(), "{left:?} {right:?}: {:?}", g.error());
                compare(&g, &[product], &[Input::from(&x), Input::from(&y)]);
            }
        }
    }

    #[test]
    fn products_of_products(m in 1..30usize, n in 1..40usize, k in 30..300usize) {
        // Two of them need a room for panels.
        let mut g = Stage::new();
        let ((a, x), (b, y)) = (operand(&mut g, 0, View::Heads, m, k), operand(&mut g, 1, View::Turned, k, n));
        let first = g.matmul(a, b, false, false);
        let back = g.matmul(first, b, false, true);
        let last = g.matmul(back, a, false, true);
        compare(&g, &[last.into()], &[Input::from(&x), Input::from(&y)]);
    }

    /// Products of heads, merged and put behind each other or added to what is around them: they are
    /// written where they are wanted.
    #[test]
    fn parts_of_a_larger_value(m in 1..20usize, n in 1..40usize, k in 1..20usize, twice in 0..3usize) {
        let mut g = Stage::new();
        let ((a, x), (b, y)) = (operand(&mut g, 0, View::Heads, m, k), operand(&mut g, 1, View::Whole, k, n));
        let halved = g.number(0.5);
        let half = g.broadcast(halved, &[2, 3, m, k]);
        let less = g.binary(downhill::ops::elementwise::Binary::Mul, a, half);
        let merged: Vec<Var> = [(a, false), (less, true)]
            .into_iter()
            .map(|(left, backward)| {
                let product = g.matmul(left, b, false, false);
                let rows = g.transpose(product, &[0, 2, 1, 3]);
                let merged = g.reshape(rows, &[2, m, 3 * n]);
                if backward { g.slice(merged, &[(0, 1), (m - 1, -1), (0, 1)], &[2, m, 3 * n]) } else { merged }
            })
            .collect();
        let whole = g.concat(&merged, 2);
        let shape = [2, m, 12 * n];
        let (before, after) = (g.pad(whole, &[0, 0, 0], &shape), g.pad(whole, &[0, 0, 6 * n], &shape));
        let sum = g.binary(downhill::ops::elementwise::Binary::Add, before, after);
        let total = g.reduce(downhill::ops::reduce::Reduce::Sum, sum, 0b011);
        let mut results = vec![sum.into(), total.into()];
        // What is read in its own order too stays there.
        let own: [Value; 2] = [whole.into(), merged[0].into()];
        results.extend(own.into_iter().take(twice));
        compare(&g, &results, &[Input::from(&x), Input::from(&y)]);
    }
}

#[network]
struct Constant {
    #[init(normal(1.0))]
    weight: Param<5, 7>,
}

#[network]
impl Constant {
    /// The product of a constant, between values that take and free memory before it.
    fn forward(&self, x: Tensor<3, 5>) -> Tensor<3, 7> {
        let y = tanh(matmul(x, self.weight));
        matmul(broadcast_to(2.0, [3, 5]), self.weight) + matmul(broadcast_to(0.0, [3, 5]), self.weight) + 0.0 * y
    }
}

#[test]
fn a_constant_is_a_factor() -> downhill::Result<()> {
    let model = Constant::init(1);
    let y = model.forward(&Tensor::new([3, 5], vec![0.5; 15])?)?;
    let weight = model.get("weight")?;
    for (i, &y) in y.data().iter().enumerate() {
        let sum: f32 = (0..5).map(|k| 2.0 * weight.data()[k * 7 + i % 7]).sum();
        assert!((y - sum).abs() < 1e-5, "element {i}: {y}, expected {sum}");
    }
    Ok(())
}

#[test]
fn between_guard_pages() {
    guarded::run_tests_again(module_path!());
}
