//! Every operation on whole numbers and on truth values: refused, or right.

use downhill::graph::Var;
use downhill::ops::elementwise::{Binary, Compare, Unary};
use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

/// What an operation can be given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Tensor,
    Index,
    Mask,
    Size(isize),
    Number(f64),
}

const GIVEN: [Given; 12] = [
    Given::Tensor,
    Given::Index,
    Given::Mask,
    Given::Size(2),
    Given::Size(1 << 40),
    Given::Number(2.0),
    Given::Number(-16_777_217.0),
    Given::Number(0.5),
    Given::Number(-0.5),
    Given::Number(f64::INFINITY),
    Given::Number(f64::NAN),
    Given::Number(1e10),
];

impl Given {
    fn value(self, g: &mut Stage, slot: usize, len: usize) -> Value {
        match self {
            Given::Tensor => Value::Var(g.input(slot, &[len], DType::F32)),
            Given::Index => Value::Var(g.input(slot, &[len], DType::I32)),
            Given::Mask => {
                let x = g.input(slot, &[len], DType::I32);
                gt::stage(g, x, 0)
            }
            Given::Size(n) => Value::Int(n),
            Given::Number(x) => Value::Number(x),
        }
    }

    /// The whole number that a constant is, if an `Index` can hold it.
    fn whole(self) -> Option<i32> {
        match self {
            Given::Size(n) => i32::try_from(n).ok(),
            Given::Number(x) => (x as i32 as f64 == x).then_some(x as i32),
            _ => None,
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Given::Size(_) | Given::Number(_))
    }

    /// Whether this and something else are whole numbers, of which one is no constant.
    fn is_whole_beside(self, other: Given) -> bool {
        let fits = |given: Given| given == Given::Index || given.whole().is_some();
        fits(self) && fits(other) && (self == Given::Index || other == Given::Index)
    }

    fn is_float_beside(self, other: Given) -> bool {
        let fits = |given: Given| given == Given::Tensor || given.is_number();
        fits(self) && fits(other)
    }
}

type Stage1 = fn(&mut Stage, Value) -> Value;
type Stage2 = fn(&mut Stage, Value, Value) -> Value;
type Whole2 = fn(i32, i32) -> i32;

/// Whole numbers near the ends of their range and near zero.
fn whole() -> impl Strategy<Value = i32> {
    prop_oneof![-4..5i32, any::<i32>(), Just(i32::MIN), Just(i32::MAX), (1 << 24) - 2..(1 << 24) + 3]
}

fn with_index(found: &Tensor, expected: &[i32], what: &str) {
    let expected: Vec<f32> = expected.iter().map(|&x| x as f32).collect();
    assert_eq!(found.data(), expected, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn functions_of_two_whole_numbers(pairs in prop::collection::vec((whole(), whole()), 1..40)) {
        let operations: [(&str, Stage2, Option<Whole2>); 15] = [
            ("add", |g, a, b| add::stage(g, a, b), Some(i32::wrapping_add)),
            ("sub", |g, a, b| sub::stage(g, a, b), Some(i32::wrapping_sub)),
            ("mul", |g, a, b| mul::stage(g, a, b), Some(i32::wrapping_mul)),
            ("maximum", |g, a, b| maximum::stage(g, a, b), Some(i32::max)),
            ("minimum", |g, a, b| minimum::stage(g, a, b), Some(i32::min)),
            ("div", |g, a, b| div::stage(g, a, b), None),
            ("pow", |g, a, b| pow::stage(g, a, b), None),
            ("atan2", |g, a, b| atan2::stage(g, a, b), None),
            ("fmod", |g, a, b| fmod::stage(g, a, b), None),
            ("lt", |g, a, b| lt::stage(g, a, b), Some(|a, b| (a < b) as i32)),
            ("le", |g, a, b| le::stage(g, a, b), Some(|a, b| (a <= b) as i32)),
            ("gt", |g, a, b| gt::stage(g, a, b), Some(|a, b| (a > b) as i32)),
            ("ge", |g, a, b| ge::stage(g, a, b), Some(|a, b| (a >= b) as i32)),
            ("eq", |g, a, b| eq::stage(g, a, b), Some(|a, b| (a == b) as i32)),
            ("ne", |g, a, b| ne::stage(g, a, b), Some(|a, b| (a != b) as i32)),
        ];
        assert_eq!(operations.len(), Binary::ALL.len() + Compare::ALL.len() + 2);
        let (a, b): (Vec<i32>, Vec<i32>) = pairs.iter().copied().unzip();
        let (x, y) = (Index::new([a.len()], a.clone()).unwrap(), Index::new([b.len()], b.clone()).unwrap());
        for (name, stage, function) in operations {
            for left in GIVEN {
                for right in GIVEN {
                    let mut g = Stage::new();
                    let what = format!("{name} of {left:?} and {right:?}");
                    let (l, r) = (left.value(&mut g, 0, a.len()), right.value(&mut g, 1, a.len()));
                    let result = stage(&mut g, l, r);
                    let admitted = left.is_float_beside(right) || left.is_whole_beside(right) && function.is_some();
                    assert_eq!(g.error().is_none(), admitted, "{what}: {:?}", g.error());
                    assert_eq!(result != Value::Unknown, admitted, "{what}");
                    let (Some(function), true) = (function, admitted && left.is_whole_beside(right)) else { continue };
                    let of = |given: Given, data: &[i32], i: usize| given.whole().unwrap_or(data[i]);
                    let expected: Vec<i32> =
                        (0..a.len()).map(|i| function(of(left, &a, i), of(right, &b, i))).collect();
                    // Inputs that the operation does not take need not be given.
                    let inputs = [downhill::Input::from(&x), downhill::Input::from(&y)];
                    let found = g.compute(&[result], &inputs).unwrap();
                    with_index(&found[0], &expected, &what);
                    let reference = g.reference(&[result], &inputs).unwrap();
                    let reference: Vec<i32> = reference[0].iter().map(|&x| x as i32).collect();
                    assert_eq!(reference, expected, "{what}");
                }
            }
        }
    }

    /// What is staged by hand is right for every type of elements.
    #[test]
    fn staged_by_hand(pairs in prop::collection::vec((whole(), whole()), 1..40)) {
        let (a, b): (Vec<i32>, Vec<i32>) = pairs.into_iter().unzip();
        let (x, y) = (Index::new([a.len()], a.clone()).unwrap(), Index::new([b.len()], b).unwrap());
        let inputs = [downhill::Input::from(&x), downhill::Input::from(&y)];
        let mut g = Stage::new();
        let (a, b) = (g.input(0, &[a.len()], DType::I32), g.input(1, &[a.len()], DType::I32));
        let masks = [Compare::Lt, Compare::Ne].map(|op| g.compare(op, a, b));
        let half = g.number(0.5);
        let (fa, fb) = (g.cast(a, DType::F32), g.cast(b, DType::F32));
        let floats = masks.map(|mask| g.cast(mask, DType::F32));
        // Each beside what it stands for in numbers.
        let mut same: Vec<[Var; 2]> = Vec::new();
        for &op in Unary::ALL {
            same.push([g.unary(op, a), g.unary(op, fa)]);
            same.push([g.unary(op, masks[0]), g.unary(op, floats[0])]);
        }
        for &op in Binary::ALL {
            if !op.is_whole() {
                same.push([g.binary(op, a, b), g.binary(op, fa, fb)]);
            }
            same.push([g.binary(op, a, half), g.binary(op, fa, half)]);
            same.push([g.binary(op, half, a), g.binary(op, half, fa)]);
            same.push([g.binary(op, masks[0], masks[1]), g.binary(op, floats[0], floats[1])]);
            same.push([g.binary(op, masks[0], fb), g.binary(op, floats[0], fb)]);
        }
        for &op in Compare::ALL {
            same.push([g.compare(op, a, half), g.compare(op, fa, half)]);
            same.push([g.compare(op, masks[0], masks[1]), g.compare(op, floats[0], floats[1])]);
        }
        for &op in Reduce::ALL {
            same.push([g.reduce(op, a, 1), g.reduce(op, fa, 1)]);
            same.push([g.reduce(op, masks[0], 1), g.reduce(op, floats[0], 1)]);
        }
        same.push([g.select(masks[0], a, half), g.select(masks[0], fa, half)]);
        for (i, [left, right]) in same.into_iter().enumerate() {
            let values = [Value::Var(left), Value::Var(right)];
            let found = g.compute(&values, &inputs).unwrap();
            let bits = |x: &Tensor| x.data().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found[0]), bits(&found[1]), "pair {i}: {} and {}", g.graph()[left].name(), g.graph()[right].name());
        }
    }
}

/// The functions of one value: their name, and how they are staged.
macro_rules! functions {
    ($($name:ident)*) => { [$((stringify!($name), |g: &mut Stage, x: Value| $name::stage(g, x))),*] };
}

#[test]
fn functions_of_numbers_take_no_others() {
    let unary: [(&str, Stage1); 25] = functions! {
        neg abs exp log sqrt tanh sigmoid erf sin cos expm1 log1p erfc tan asin acos atan sinh cosh asinh acosh exp2
        erfinv lgamma digamma
    };
    let more: [(&str, Stage1); 6] = functions! { atanh floor sum max min prod };
    assert_eq!(unary.len() + 2, Unary::ALL.len());
    for (name, stage) in unary.into_iter().chain(more) {
        for given in [Given::Index, Given::Mask] {
            let mut g = Stage::new();
            let x = given.value(&mut g, 0, 3);
            assert_eq!(stage(&mut g, x), Value::Unknown, "{name} of {given:?}");
            assert!(g.error().is_some_and(|error| error.contains("expected Tensor")), "{name}: {:?}", g.error());
        }
    }
}

#[test]
fn what_is_put_together_is_of_one_kind() {
    for (given, name) in [(Given::Index, "Index"), (Given::Mask, "Mask")] {
        let mut g = Stage::new();
        let (x, y) = (Value::Var(g.fill(0.5, &[3])), given.value(&mut g, 0, 3));
        assert_eq!(concat::stage(&mut g, [x, y], 0), Value::Unknown);
        assert_eq!(g.error(), Some(&format!("concat: cannot mix Tensor and {name}")[..]));
    }
}

#[test]
fn what_computes_along_an_axis_takes_numbers_alone() {
    let operations: [(&str, Stage1); 10] = [
        ("cumsum", |g, x| cumsum::stage(g, x, 0)),
        ("resize_nearest", |g, x| resize_nearest::stage(g, x, 0, 5, 0.0)),
        ("resize_nearest_exact", |g, x| resize_nearest_exact::stage(g, x, 0, 5, 0.0)),
        ("resize_linear", |g, x| resize_linear::stage(g, x, 0, 5, false, 0.0)),
        ("adaptive_avg", |g, x| adaptive_avg::stage(g, x, 0, 2)),
        ("adaptive_max", |g, x| adaptive_max::stage(g, x, 0, 2)),
        ("matmul", |g, x| matmul::stage(g, x, x)),
        ("einsum", |g, x| einsum::stage(g, "a,a->", [x, x])),
        ("sum_axes", |g, x| sum_axes::stage(g, x, [0])),
        ("dropout", |g, x| dropout::stage(g, x, 0.5)),
    ];
    for (name, stage) in operations {
        for given in [Given::Index, Given::Mask] {
            let mut g = Stage::new();
            let x = given.value(&mut g, 0, 4);
            assert_eq!(stage(&mut g, x), Value::Unknown, "{name} of {given:?}");
            assert!(g.error().is_some(), "{name} of {given:?}");
        }
    }
}

#[network]
struct Options {
    #[init(zeros)]
    unused: State,
    #[option(2.0)]
    two: f32,
    #[option(0.5)]
    half: f32,
}

#[network]
impl Options {
    fn doubled(&self, a: Index<B>) -> Index<B> {
        let three = 3.0;
        select(a >= three, (a + 1) * self.two, maximum(a, -100) - 16_777_217)
    }

    fn around(&self, a: Index<2>) -> Index<6> {
        let padded = pad_constant(a, 0, 1, 2, 16_777_217.0);
        concat([padded, slice(padded, 0, 0, 1)], 0)
    }

    fn scaled(&self, a: Index<B>, factor: Tensor) -> Tensor<B> {
        float(a) * (self.half * factor)
    }
}

#[test]
fn whole_constants_and_options_count() -> downhill::Result<()> {
    let model = Options::init(0);
    let a = Index::new([4], [3, 16_777_216, -200, 2])?;
    let doubled = model.call(Options::doubled, &a)?;
    assert_eq!(doubled[0].data(), [8.0, 33_554_434.0, -16_777_317.0, -16_777_215.0]);
    // 16,777,217 is no f32: the nearest one is shown.
    let around = model.call(Options::around, &Index::new([2], [5, 6])?)?;
    assert_eq!(around[0].data(), [16_777_216.0, 5.0, 6.0, 16_777_216.0, 16_777_216.0, 16_777_216.0]);
    let scaled = model.call(Options::scaled, (&a, &Tensor::new([], [3.0])?))?;
    assert_eq!(scaled[0].data()[0], 4.5);
    Ok(())
}

/// A number that is known when the network runs is checked then.
#[network]
fn times(a: Index<B>, factor: f32) -> Index<B> {
    a * factor
}

#[network]
fn times_root(a: Index<B>, factor: f32) -> Index<B> {
    a * factor.sqrt()
}

#[test]
fn a_number_that_is_known_late_is_checked_late() {
    for (factor, whole) in [(2.25f32, false), (4.0, true), (f32::NAN, false), (-1.0, false)] {
        let mut g = Stage::new();
        let a = Given::Index.value(&mut g, 0, 2);
        assert_eq!(times_root::stage(&mut g, a, factor) != Value::Unknown, whole, "the root of {factor}");
        let mut g = Stage::new();
        let a = Given::Index.value(&mut g, 0, 2);
        assert_eq!(times::stage(&mut g, a, factor) != Value::Unknown, factor.fract() == 0.0, "{factor}");
    }
}
