//! Elements in order, as the standard library sorts them.

use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

/// Numbers among which are equal ones, zeros of both signs, infinities and NaN.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (-3..3i8).prop_map(f32::from),
        4 => -1.0..1.0f32,
        1 => prop::sample::select(vec![-0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN]),
    ]
}

/// The places of a row in order: stable, with NaN above all numbers.
fn places(row: &[f32], descending: bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..row.len()).collect();
    let key = |i: usize| if row[i].is_nan() { (true, 0.0) } else { (false, row[i]) };
    places.sort_by(|&a, &b| {
        let order = key(a).partial_cmp(&key(b)).expect("no NaN is compared");
        if descending { order.reverse() } else { order }
    });
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn along_each_axis_of_any_view(
        (shape, data) in prop::collection::vec(1..7usize, 3).prop_flat_map(|shape| {
            let len = shape.iter().product::<usize>();
            (Just(shape), prop::collection::vec(number(), len))
        }),
        axis in 0..3usize,
        descending: bool,
        turned: bool,
    ) {
        let x = Tensor::new(shape.clone(), data.clone())?;
        let mut g = Stage::new();
        let mut value: Value = g.input(0, &shape, DType::F32).into();
        let mut shape = [shape[0], shape[1], shape[2]];
        let at = |i: [usize; 3], shape: [usize; 3]| (i[0] * shape[1] + i[1]) * shape[2] + i[2];
        let mut element: Box<dyn Fn([usize; 3]) -> f32> = Box::new(move |i| data[at(i, shape)]);
        if turned {
            value = transpose::stage(&mut g, value, 0, 2);
            shape.reverse();
            let before = element;
            element = Box::new(move |[i, j, k]| before([k, j, i]));
        }
        let results = [argsort::stage(&mut g, value, axis as isize, descending), sort::stage(&mut g, value, axis as isize, descending)];
        let found = g.compute(&results, &[Input::from(&x)])?;
        let reference = g.reference(&results, &[Input::from(&x)])?;
        for (i, &by_reference) in reference[0].iter().enumerate() {
            let mut place = [i / shape[2] / shape[1], i / shape[2] % shape[1], i % shape[2]];
            let along: Vec<f32> = (0..shape[axis]).map(|k| { let mut p = place; p[axis] = k; element(p) }).collect();
            let expected = places(&along, descending)[place[axis]];
            prop_assert_eq!(found[0].data()[i], expected as f32);
            prop_assert_eq!(by_reference, expected as f64);
            place[axis] = expected;
            let (x, y) = (element(place), found[1].data()[i]);
            prop_assert!(x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(), "{} and {}", x, y);
        }
    }
}

#[network]
struct Ranked {
    table: Embedding<6, 2>,
}

#[network]
impl Ranked {
    /// Rows of a table by places, which are known to be within it when this is compiled.
    pub fn forward(&self, x: Tensor<B, 6>) -> Tensor<B, 6, 2> {
        self.table(argsort(x, -1, true))
    }
}

#[test]
fn places_are_rows_of_a_table() -> downhill::Result<()> {
    let model = Ranked::init(1);
    let x = Tensor::new([1, 6], [0.0, 5.0, 1.0, 4.0, 2.0, 3.0])?;
    let table = model.get("table.weight")?.data().to_vec();
    let y = model.forward(&x)?;
    let rows: Vec<&[f32]> = [1, 3, 5, 4, 2, 0].iter().map(|&row| &table[2 * row..][..2]).collect();
    assert_eq!(y.data(), rows.concat());
    Ok(())
}

#[test]
fn between_guard_pages() {
    crate::guarded::run_tests_again(module_path!());
}
