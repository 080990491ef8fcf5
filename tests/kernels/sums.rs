//! Long sums: right to a millionth wherever they are, and the same bits whatever is computed beside them.

use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

/// What a sum of positive numbers may be off, relative to what it is in double precision, and a product over a long
/// inner axis.
const SUM: f64 = 1e-6;
const PRODUCT: f64 = 1e-5;

/// Numbers from 0 to 1, the same for the same seed.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| next()).collect()
}

fn tensor(shape: &[usize], data: Vec<f32>) -> Tensor {
    Tensor::new(shape.to_vec(), data).expect("as many numbers as the shape has")
}

/// Results of a graph of inputs with these values.
fn compute(inputs: &[&Tensor], build: impl Fn(&mut Stage, &[Value]) -> Vec<Value>) -> Vec<Tensor> {
    let mut g = Stage::new();
    let places: Vec<Value> = inputs.iter().enumerate().map(|(i, x)| g.input(i, x.shape(), DType::F32).into()).collect();
    let results = build(&mut g, &places);
    let inputs: Vec<downhill::Input<'_>> = inputs.iter().map(|&x| x.into()).collect();
    g.compute(&results, &inputs).expect("a graph of plain inputs")
}

/// A sum over the axes whose bit is set, which stay with size one.
fn add_up(g: &mut Stage, x: Value, axes: u8) -> Value {
    let Value::Var(x) = x else { panic!("a tensor is expected, not {x:?}") };
    g.reduce(Reduce::Sum, x, axes).into()
}

/// The sums of a tensor over the axes whose bit is set, in double precision.
fn exact(x: &Tensor, axes: u8) -> Vec<f64> {
    let shape = x.shape();
    let mut strides = vec![0; shape.len()];
    let mut len = 1;
    for i in (0..shape.len()).rev().filter(|i| axes >> i & 1 == 0) {
        strides[i] = len;
        len *= shape[i];
    }
    let mut sums = vec![0.0; len];
    let mut place = vec![0; shape.len()];
    let mut at = 0;
    for &x in x.data() {
        sums[at] += f64::from(x);
        for i in (0..shape.len()).rev() {
            place[i] += 1;
            at += strides[i];
            if place[i] < shape[i] {
                break;
            }
            at -= strides[i] * shape[i];
            place[i] = 0;
        }
    }
    sums
}

fn assert_close(found: &Tensor, exact: &[f64], most: f64, what: &str) {
    assert_eq!(found.data().len(), exact.len(), "{what}");
    for (i, (&found, exact)) in found.data().iter().zip(exact).enumerate() {
        let error = (f64::from(found) / exact - 1.0).abs();
        assert!(error <= most, "{what}, element {i}: {found} instead of {exact}, off by {error:.1e}");
    }
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.data().iter().map(|x| x.to_bits()).collect()
}

/// Shapes, and the axes that are added up.
const PLACES: [(&[usize], u8); 18] = [
    (&[1], 1),
    (&[33], 1),
    (&[513], 1),
    (&[200_003], 1),
    (&[2, 3], 0b11),
    (&[30_011, 3], 0b01),
    (&[30_011, 3], 0b10),
    (&[30_011, 3], 0b11),
    (&[3, 30_011], 0b01),
    (&[3, 30_011], 0b10),
    (&[3, 30_011], 0b11),
    (&[2048, 65], 0b01),
    (&[769, 65], 0b10),
    (&[3, 10_007, 5], 0b010),
    (&[3, 10_007, 5], 0b110),
    (&[257, 10, 33], 0b101),
    (&[31, 17, 9, 23], 0b0101),
    (&[31, 17, 9, 23], 0b1010),
];

#[test]
fn sums_over_all_axes_are_right_to_a_millionth() {
    for (shape, axes) in PLACES {
        let len = shape.iter().product();
        for (what, data) in [("tenths", vec![0.1; len]), ("thirds", vec![1.0 / 3.0; len]), ("noise", noise(len, 7))] {
            let x = tensor(shape, data);
            let found = compute(&[&x], |g, x| vec![add_up(g, x[0], axes)]);
            assert_close(&found[0], &exact(&x, axes), SUM, &format!("{what}, {shape:?} over {axes:#b}"));
        }
    }
}

#[test]
fn a_sum_of_ten_million_is_right_to_a_millionth() {
    let x = tensor(&[10_000_019], vec![0.1; 10_000_019]);
    let found = compute(&[&x], |g, x| {
        let squares = square::stage(g, x[0]);
        vec![add_up(g, x[0], 1), add_up(g, squares, 1)]
    });
    let tenth = f64::from(0.1f32);
    assert_close(&found[0], &[tenth * 10_000_019.0], SUM, "tenths");
    assert_close(&found[1], &[f64::from(0.1f32 * 0.1f32) * 10_000_019.0], SUM, "their squares");
}

/// One number a row, made in a pass over the row.
type Row = fn(&mut Stage, Value) -> Value;

const ROWS: [(&str, Row); 5] = [
    ("sum", |g, x| sum_axes::stage(g, x, [-1])),
    ("logsumexp", |g, x| logsumexp::stage(g, x, [-1])),
    ("largest", |g, x| max_axes::stage(g, x, [-1])),
    ("norm", |g, x| vector_norm::stage(g, x, 2.0, [-1])),
    ("variance", |g, x| variance::stage(g, x, -1, 0.0)),
];

#[test]
fn the_sum_of_what_rows_give_is_right_and_does_not_depend_on_the_rows_kernel() {
    for shape in [[4096, 4], [33, 70], [5000, 33], [301, 700]] {
        let x = tensor(&shape, noise(shape.iter().product(), 3));
        for (name, row) in ROWS {
            let both = compute(&[&x], |g, x| {
                let terms = row(g, x[0]);
                vec![terms, sum::stage(g, terms)]
            });
            let alone = compute(&[&both[0]], |g, x| vec![add_up(g, x[0], 1)]);
            let what = format!("{name} of {shape:?}");
            assert_close(&both[1], &exact(&both[0], 1), SUM, &what);
            assert_eq!(bits(&both[1]), bits(&alone[0]), "{what}");
        }
    }
}

#[test]
fn sums_over_one_of_the_axes_of_what_rows_give_do_not_depend_on_the_rows_kernel() {
    for shape in [[1824, 18, 2], [700, 5, 9], [70, 900, 3], [4096, 3, 17]] {
        let x = tensor(&shape, vec![0.1; shape.iter().product()]);
        for (name, row) in ROWS {
            let both = compute(&[&x], |g, x| {
                let terms = row(g, x[0]);
                vec![terms, add_up(g, terms, 1)]
            });
            let alone = compute(&[&both[0]], |g, x| vec![add_up(g, x[0], 1)]);
            assert_eq!(bits(&both[1]), bits(&alone[0]), "{name} of {shape:?}");
        }
    }
}

/// Values that are computed in the same loops.
fn companions(g: &mut Stage, x: Value, rank: usize, axes: u8) -> Vec<Value> {
    let all = (1 << rank) - 1;
    let mut others = Vec::new();
    let mut y = x;
    for i in 0..4 {
        y = mul::stage(g, y, 0.75 + 0.125 * f64::from(i));
        others.push(add_up(g, y, axes));
    }
    let more = tanh::stage(g, y);
    let results = [add_up(g, more, all), add_up(g, more, axes ^ all), exp::stage(g, x)];
    others.extend(results);
    others
}

#[test]
fn a_sum_has_the_same_bits_beside_others_and_on_any_number_of_threads() {
    for (shape, axes) in PLACES {
        let x = tensor(shape, noise(shape.iter().product(), 5));
        let alone = |threads| {
            downhill::set_threads(threads);
            compute(&[&x], |g, x| {
                let y = square::stage(g, x[0]);
                vec![add_up(g, y, axes)]
            })
        };
        let [one, two] = [1, 2].map(alone);
        let beside = compute(&[&x], |g, x| {
            let y = square::stage(g, x[0]);
            let others = companions(g, y, shape.len(), axes);
            [vec![add_up(g, y, axes)], others].concat()
        });
        let after = compute(&[&x], |g, x| {
            let y = square::stage(g, x[0]);
            let others = companions(g, x[0], shape.len(), axes);
            [vec![add_up(g, y, axes)], others, vec![y]].concat()
        });
        let stored = compute(&[&after[after.len() - 1]], |g, y| vec![add_up(g, y[0], axes)]);
        for (what, other) in
            [("2 threads", two), ("others", beside), ("others before", after), ("a stored argument", stored)]
        {
            assert_eq!(bits(&one[0]), bits(&other[0]), "{shape:?} over {axes:#b}, {what}");
        }
    }
}

#[test]
fn a_sum_that_is_infinite_stays_so() {
    for (shape, axes) in PLACES {
        let mut data = noise(shape.iter().product(), 9);
        let end = data.len() - 1;
        data[end / 2] = f32::INFINITY;
        let x = tensor(shape, data);
        let found = compute(&[&x], |g, x| vec![add_up(g, x[0], axes)]);
        for (&found, exact) in found[0].data().iter().zip(exact(&x, axes)) {
            assert_eq!(found.is_infinite(), exact.is_infinite(), "{shape:?} over {axes:#b}: {found}, not {exact}");
            assert!(!found.is_nan());
        }
    }
}

#[test]
fn products_over_a_long_axis_are_right() {
    for (rows, n) in [(12_500, 3), (20_000, 5), (50_257, 17)] {
        for (what, a, b) in
            [("tenths", vec![0.1; rows * 5], vec![0.7; rows * n]), ("noise", noise(rows * 5, 1), noise(rows * n, 2))]
        {
            let (a, b) = (tensor(&[rows, 5], a), tensor(&[rows, n], b));
            let mut exact = vec![0.0; 5 * n];
            for (a, b) in a.data().chunks(5).zip(b.data().chunks(n)) {
                for i in 0..5 {
                    for j in 0..n {
                        exact[i * n + j] += f64::from(a[i]) * f64::from(b[j]);
                    }
                }
            }
            let found = compute(&[&a, &b], |g, x| {
                let Value::Var(left) = x[0] else { panic!("a tensor") };
                let turned: Value = g.transpose(left, &[1, 0]).into();
                let product = matmul::stage(g, turned, x[1]);
                // Columns first, behind something else.
                let Value::Var(result) = product else { panic!("a tensor") };
                let part = g.transpose(result, &[1, 0]);
                let more = g.fill(1.0, &[1, 5]);
                vec![product, g.concat(&[more, part], 0).into(), einsum::stage(g, "ki,kj->ij", [x[0], x[1]])]
            });
            let what = format!("{what}, {rows} rows of 5 and {n}");
            assert_close(&found[0], &exact, PRODUCT, &what);
            assert_close(&found[2], &exact, PRODUCT, &what);
            let turned: Vec<f64> = [1.0; 5].into_iter().chain((0..5 * n).map(|i| exact[i % 5 * n + i / 5])).collect();
            assert_close(&found[1], &turned, PRODUCT, &what);
        }
    }
}

#[test]
fn contractions_over_several_long_axes_are_right() {
    let (n, h, w) = (13, 61, 57);
    for (what, a, b) in [
        ("tenths", vec![0.1; n * 3 * h * w], vec![0.7; n * 4 * h * w]),
        ("noise", noise(n * 3 * h * w, 1), noise(n * 4 * h * w, 2)),
    ] {
        let (a, b) = (tensor(&[n, 3, h, w], a), tensor(&[n, 4, h, w], b));
        let plane = h * w;
        let mut exact = vec![0.0; 12];
        for image in 0..n {
            for i in 0..3 {
                for j in 0..4 {
                    let a = &a.data()[(image * 3 + i) * plane..][..plane];
                    let b = &b.data()[(image * 4 + j) * plane..][..plane];
                    exact[i * 4 + j] += a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
                }
            }
        }
        let found = compute(&[&a, &b], |g, x| vec![einsum::stage(g, "nihw,njhw->ij", [x[0], x[1]])]);
        assert_close(&found[0], &exact, PRODUCT, what);
    }
}

/// Contractions of equal terms, for which rounding errors do not cancel: an equation, the arguments' shapes, and the
/// terms of each result.
const EQUAL_TERMS: [(&str, &[usize], &[usize], usize); 12] = [
    ("ik,kj->ij", &[64, 16_000], &[16_000, 80], 16_000),
    ("ik,kj->ij", &[400, 3000], &[3000, 500], 3000),
    ("ik,kj->ij", &[1, 9000], &[9000, 70], 9000),
    ("ik,kj->ji", &[64, 16_000], &[16_000, 80], 16_000),
    ("ik,kj->ji", &[7, 1301], &[1301, 3], 1301),
    ("ki,kj->ji", &[5003, 37], &[5003, 19], 5003),
    ("ik,jk->ij", &[3, 16_000], &[700, 16_000], 16_000),
    ("ik,jk->ij", &[40, 2500], &[300, 2500], 2500),
    ("nik,nkj->ij", &[90, 33, 50], &[90, 50, 60], 4500),
    ("nimk,nmkj->ij", &[300, 20, 7, 3], &[300, 7, 3, 30], 6300),
    ("nmik,nmjk->ij", &[20, 3, 30, 150], &[20, 3, 20, 150], 9000),
    ("nik,nkj->ji", &[2000, 9, 5], &[2000, 5, 9], 10_000),
];

#[test]
fn contractions_of_equal_terms_are_right_however_the_arguments_and_results_lie() {
    for (equation, left, right, terms) in EQUAL_TERMS {
        let full = |shape: &[usize], x: f32| tensor(shape, vec![x; shape.iter().product()]);
        let (a, b) = (full(left, 0.1), full(right, 0.7));
        let found = compute(&[&a, &b], |g, x| vec![einsum::stage(g, equation, [x[0], x[1]])]);
        let exact = vec![terms as f64 * f64::from(0.1f32) * f64::from(0.7f32); found[0].data().len()];
        assert_close(&found[0], &exact, PRODUCT, &format!("{equation} of {left:?} and {right:?}"));
    }
}

#[test]
fn convolutions_of_equal_terms_are_right() {
    for (images, channels, filters, size, filter) in
        [(2, 512, 40, 6, 3), (32, 16, 24, 14, 3), (300, 8, 8, 7, 2), (3, 700, 9, 9, 1)]
    {
        let full = |shape: &[usize], x: f32| tensor(shape, vec![x; shape.iter().product()]);
        let out = size - filter + 1;
        let image = full(&[images, 1, channels, size, size], 0.1);
        let weight = full(&[1, filters, channels, filter, filter], 0.7);
        let slope = full(&[images, 1, filters, out, out], 0.3);
        let found = compute(&[&image, &weight, &slope], |g, x| {
            let y = convolve::stage(g, x[0], x[1], 1, 1, 1, 1);
            let Value::Var(slope) = x[2] else { panic!("a tensor") };
            let (_, dweight, ..) = convolve::grad(g, x[0], x[1], 1, 1, 1, 1, Some(slope));
            vec![y, dweight.expect("a slope of the weight").into()]
        });
        let [tenth, weight, slope] = [0.1f32, 0.7, 0.3].map(f64::from);
        let exact = [(channels * filter * filter) as f64 * tenth * weight, (images * out * out) as f64 * tenth * slope];
        for ((found, exact), what) in found.iter().zip(exact).zip(["result", "slope"]) {
            let what = format!("{what}, {images} images of {channels} x {size} x {size}");
            assert_close(found, &vec![exact; found.data().len()], PRODUCT, &what);
        }
    }
}

/// A convolution over a long batch.
#[network]
struct Net {
    #[layer(padding = 1)]
    conv: Conv2d<1, 2, 3>,
}

#[network]
impl Net {
    fn tenths(&self, x: Tensor<B, 1, 6, 4>) -> Tensor {
        sum(self.conv(x) * 0.1)
    }

    fn loss(&self, x: Tensor<B, 1, 6, 4>) -> Tensor {
        let y = self.conv(x);
        mean(logsumexp(tanh(y) * y, [1, 2, 3])) + mean(y * y)
    }

    fn again(&self, x: Tensor<B, 1, 6, 4>) -> Tensor {
        let y = #[checkpoint]
        self.conv(x);
        let z = #[checkpoint]
        tanh(y);
        mean(logsumexp(z * y, [1, 2, 3])) + mean(y * y)
    }
}

#[test]
fn gradients_of_a_convolution_over_a_long_batch_are_right() -> downhill::Result<()> {
    let batch = 5003;
    for data in [vec![0.1; batch * 24], noise(batch * 24, 4)] {
        let x = tensor(&[batch, 1, 6, 4], data);
        let mut model = Net::init(0);
        let mut step = Step::new(&model, Net::tenths, Sgd::new(0.1))?;
        step.differentiate(&mut model, &x)?;
        let tenth = f64::from(0.1f32);
        let mut exact = vec![0.0; 18];
        for image in x.data().chunks(24) {
            for (at, sum) in exact.iter_mut().enumerate() {
                // The pixel under this weight is one up and left of the result's at most.
                for (row, column) in (0..24).map(|i| (i / 4 + at % 9 / 3, i % 4 + at % 3)) {
                    if (1..7).contains(&row) && (1..5).contains(&column) {
                        *sum += tenth * f64::from(image[(row - 1) * 4 + column - 1]);
                    }
                }
            }
        }
        assert_close(&step.grad("conv.weight")?, &exact, PRODUCT, "weights");
        assert_close(&step.grad("conv.bias")?, &[24.0 * batch as f64 * tenth; 2], SUM, "bias");
    }
    Ok(())
}

#[test]
fn long_sums_have_the_same_bits_under_checkpoints() -> downhill::Result<()> {
    let x = tensor(&[1009, 1, 6, 4], noise(1009 * 24, 6));
    let mut model = Net::init(0);
    let mut kept = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let mut again = Step::new(&model, Net::again, Sgd::new(0.1))?;
    let losses = [kept.differentiate(&mut model, &x)?, again.differentiate(&mut model, &x)?];
    assert_eq!(losses[0].to_bits(), losses[1].to_bits());
    for name in ["conv.weight", "conv.bias"] {
        assert_eq!(bits(&kept.grad(name)?), bits(&again.grad(name)?), "{name}");
    }
    Ok(())
}

/// A table whose few rows are read often.
#[network]
struct Table {
    rows: Embedding<5, 3>,
}

#[network]
impl Table {
    fn loss(&self, x: Index<B>) -> Tensor {
        sum(self.rows(x) * 0.1)
    }
}

#[test]
fn gradients_of_rows_that_are_read_often_are_right() -> downhill::Result<()> {
    let names: Vec<i32> = (0..300_007).map(|i| i % 7 % 5).collect();
    let x = Index::new([names.len()], names.clone())?;
    let mut model = Table::init(0);
    let mut step = Step::new(&model, Table::loss, Sgd::new(0.1))?;
    step.differentiate(&mut model, &x)?;
    let found = step.grad("rows.weight")?;
    for (i, &found) in found.data().iter().enumerate() {
        let exact = names.iter().filter(|&&name| name as usize == i / 3).count() as f64 * f64::from(0.1f32);
        assert!((f64::from(found) - exact).abs() <= SUM * exact, "row {}: {found} instead of {exact}", i / 3);
    }
    Ok(())
}

/// A table with more rows than are read.
#[network]
struct LargeTable {
    rows: Embedding<30_000, 20>,
}

#[network]
impl LargeTable {
    fn loss(&self, x: Index<B>) -> Tensor {
        sum(self.rows(x) * 0.1)
    }
}

#[test]
fn gradients_of_a_row_among_many_that_is_read_often_are_right() -> downhill::Result<()> {
    let names: Vec<i32> = (0..20_000).map(|i| if i % 3 == 0 { i } else { 7 }).collect();
    let x = Index::new([names.len()], names.clone())?;
    let mut model = LargeTable::init(0);
    let mut step = Step::new(&model, LargeTable::loss, Sgd::new(0.1))?;
    step.differentiate(&mut model, &x)?;
    let found = step.grad("rows.weight")?;
    let exact = |row: usize| names.iter().filter(|&&name| name as usize == row).count() as f64 * f64::from(0.1f32);
    for row in [0, 1, 3, 7, 29_999] {
        for &found in &found.data()[row * 20..(row + 1) * 20] {
            let error = (f64::from(found) - exact(row)).abs();
            assert!(error <= SUM * exact(row), "row {row}: {found} instead of {}", exact(row));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sums over any axes of what a function makes of numbers, alone, stored and beside others.
    #[test]
    fn sums_of_any_shape(
        sizes in prop::collection::vec(1usize..40, 1..4),
        (long, place) in (1usize..3000, 0usize..4),
        (axes, other, kind, seed) in (1u8..16, 1u8..16, 0usize..4, any::<u32>()),
    ) {
        let mut shape = sizes;
        shape.insert(place.min(shape.len()), long);
        let all = (1 << shape.len()) - 1;
        let (axes, other) = (axes & all, other & all);
        let len: usize = shape.iter().product();
        prop_assume!(axes != 0 && len <= 100_000);
        let x = tensor(&shape, if seed % 3 == 0 { vec![0.1; len] } else { noise(len, seed) });
        let terms = |g: &mut Stage, x: Value| match kind {
            0 => x,
            1 => exp::stage(g, x),
            2 => softmax::stage(g, x, -1),
            _ => {
                let row = max_keepdim::stage(g, x, [-1]);
                sub::stage(g, 1.5, row)
            }
        };
        let both = compute(&[&x], |g, x| {
            let y = terms(g, x[0]);
            vec![add_up(g, y, axes), y]
        });
        let alone = compute(&[&x], |g, x| {
            let y = terms(g, x[0]);
            vec![add_up(g, y, axes)]
        });
        let beside = compute(&[&x], |g, x| {
            let y = terms(g, x[0]);
            let z = tanh::stage(g, y);
            vec![add_up(g, y, other), add_up(g, z, other), add_up(g, y, axes), add_up(g, z, axes)]
        });
        let stored = compute(&[&both[1]], |g, y| vec![add_up(g, y[0], axes)]);
        let what = format!("kind {kind}, {shape:?} over {axes:#b}");
        assert_close(&both[0], &exact(&both[1], axes), SUM, &what);
        prop_assert_eq!(bits(&both[0]), bits(&alone[0]), "{} alone", what);
        prop_assert_eq!(bits(&both[0]), bits(&stored[0]), "{} stored", what);
        prop_assert_eq!(bits(&both[0]), bits(&beside[2]), "{} beside sums over {:#b}", what, other);
    }
}
