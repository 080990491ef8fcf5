//! Rows that a mask leaves out have no part in a gradient, whatever numbers they are made of.

use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// Rows of numbers that are missing, left out behind a layer.
#[network]
struct Missing {
    hidden: Linear<2, 3>,
    act: Tanh,
    norm: LayerNorm<3>,
    middle: Linear<3, 3>,
    out: Linear<3, 1>,
}

#[network]
impl Missing {
    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        let there = x == x;
        let rows = min_axes(float(there), [-1]) > 0.0;
        let y = self.norm(self.act(self.hidden(x)));
        let y = self.middle(y / sqrt(mean_keepdim(y * y, -1) + 1.0));
        let y = squeeze(self.out(softmax(gelu(y), -1)), -1);
        sum(select(rows, y * y, 0.0))
    }
}

#[test]
fn rows_that_are_left_out_touch_no_weight() -> downhill::Result<()> {
    let mut model = Missing::init(3);
    let mut step = Step::new(&model, Missing::loss, Sgd::new(0.1))?;
    let all = Tensor::new([3, 2], [0.5, -1.0, NAN, 1.0, 2.0, 0.25])?;
    let some = Tensor::new([2, 2], [0.5, -1.0, 2.0, 0.25])?;
    let grads = |step: &Step<Missing>| {
        ["hidden.weight", "hidden.bias", "norm.weight", "middle.weight", "out.weight", "out.bias"]
            .map(|name| step.grad(name).unwrap())
    };
    let loss = step.differentiate(&mut model, &all)?;
    let found = grads(&step);
    assert_eq!(step.differentiate(&mut model, &some)?, loss);
    for (a, b) in found.iter().zip(grads(&step)) {
        for (a, b) in a.data().iter().zip(b.data()) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a}, expected {b}");
        }
    }
    Ok(())
}

#[test]
fn attention_that_sees_nothing_is_guarded() -> downhill::Result<()> {
    #[network]
    struct Net {
        #[init(ones)]
        x: Param<2, 3, 2>,
    }
    #[network]
    impl Net {
        fn masked(&self, seen: Tensor<3>) -> Tensor {
            let mask = unsqueeze(seen > 0.0, -1) & (seen > 0.0);
            sum(masked_attention(self.x, self.x, self.x, mask, 1.0, 0.0))
        }

        fn biased(&self, seen: Tensor<3>) -> Tensor {
            let rows = unsqueeze(seen > 0.0, -1);
            let bias = select(rows & (seen > 0.0), 0.0, f32::NEG_INFINITY);
            let y = biased_attention(self.x, self.x, self.x, bias, 1.0, 0.0);
            sum(select(rows, y, 0.0))
        }

        fn hidden(&self, seen: Tensor<3>) -> Tensor {
            let bias = select(unsqueeze(seen > 0.0, -1) & (seen > 0.0), 0.0, f32::NEG_INFINITY);
            sum(biased_attention(self.x, self.x, self.x, bias, 1.0, 0.0))
        }
    }
    let mut model = Net::init(0);
    model.set("x", &Tensor::new([2, 3, 2], (0..12).map(|i| i as f32 * 0.25 - 1.0).collect::<Vec<_>>())?)?;
    let mut found = vec![];
    for f in [Net::masked, Net::biased, Net::hidden] {
        let mut step = Step::new(&model, f, Sgd::new(0.1))?;
        let loss = step.differentiate(&mut model, &Tensor::new([3], [1.0, 0.0, 1.0])?)?;
        let grad = step.grad("x")?;
        assert!(loss.is_finite() && grad.data().iter().all(|x| x.is_finite()), "{loss}, {grad:?}");
        assert_eq!((&grad.data()[2..4], &grad.data()[8..10]), (&[0.0; 2][..], &[0.0; 2][..]));
        found.push(grad);
    }
    for other in &found[1..] {
        for (a, b) in found[0].data().iter().zip(other.data()) {
            assert!((a - b).abs() <= 1e-5, "{a}, expected {b}");
        }
    }
    Ok(())
}

#[test]
fn images_that_are_left_out_touch_no_weight() -> downhill::Result<()> {
    #[network]
    struct Net {
        conv: Conv2d<1, 2, 3>,
        act: Gelu,
        out: Linear<8, 1>,
    }
    #[network]
    impl Net {
        fn loss(&self, x: Tensor<B, 1, 4, 4>, there: Tensor<B>) -> Tensor {
            let y = squeeze(self.out(flatten(self.act(self.conv(x)), 1, -1)), -1);
            sum(select(there > 0.0, y * y, 0.0))
        }
    }
    let mut model = Net::init(1);
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let image: Vec<f32> = (0..16).map(|i| (i as f32).sin()).collect();
    let both = Tensor::new([2, 1, 4, 4], [vec![NAN; 16], image.clone()].concat())?;
    let names = ["conv.weight", "conv.bias", "out.weight", "out.bias"];
    step.differentiate(&mut model, (&both, &Tensor::new([2], [0.0, 1.0])?))?;
    let found = names.map(|name| step.grad(name).unwrap());
    step.differentiate(&mut model, (&Tensor::new([1, 1, 4, 4], image)?, &Tensor::new([1], [1.0])?))?;
    for (name, found) in names.iter().zip(found) {
        for (a, b) in found.data().iter().zip(step.grad(name)?.data()) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{name}: {a}, expected {b}");
        }
    }
    Ok(())
}

#[test]
fn einsum_leaves_out_what_linear_does() -> downhill::Result<()> {
    #[network]
    struct Net {
        #[init(ones)]
        w: Param<2, 3>,
        #[init(ones)]
        v: Param<3>,
    }
    #[network]
    impl Net {
        fn loss(&self, x: Tensor<B, 3>) -> Tensor {
            let there = min_axes(float(x == x), [-1]) > 0.0;
            let y = einsum("bi,oi->bo", [x, self.w]);
            let z = einsum("bi,i->bi", [log(x), self.v]);
            sum(select(unsqueeze(there, -1), y * y, 0.0)) + sum(select(x > 0.0, z, 0.0))
        }
    }
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let all = Tensor::new([3, 3], [1.0, 2.0, 3.0, NAN, 1.0, 0.0, -1.0, 0.5, 4.0])?;
    step.differentiate(&mut model, &all)?;
    // The rows without a number that is missing are (1, 2, 3) and (-1, 0.5, 4), of sums 6 and 3.5.
    assert_eq!(step.grad("w")?.data(), [5.0, 27.5, 64.0, 5.0, 27.5, 64.0]);
    let expected = [0.0, 2f32.ln() + 0.5f32.ln(), 3f32.ln() + 4f32.ln()];
    for (a, b) in step.grad("v")?.data().iter().zip(expected) {
        assert!((a - b).abs() < 1e-6, "{a}, expected {b}");
    }
    Ok(())
}

/// Samples with missing numbers, left out of each of several branches or parts, or as queries and keys of attention.
#[test]
fn rows_are_left_out_of_all_that_is_made_of_them() -> downhill::Result<()> {
    #[network]
    struct Net {
        #[init(ones)]
        w: Param<2, 2>,
    }
    #[network]
    impl Net {
        fn branches(&self, x: Tensor<B, 2>) -> Tensor {
            let there = unsqueeze(min_axes(float(x == x), [-1]) > 0.0, -1);
            let y = matmul(x, self.w);
            sum(select(there, y, 0.0) * 2.0 + select(there, sqrt(abs(y)), 0.0))
        }

        fn attention(&self, x: Tensor<B, 2>) -> Tensor {
            let there = min_axes(float(x == x), [-1]) > 0.0;
            let rows = unsqueeze(there, -1);
            let scores = matmul(matmul(x, self.w), transpose(x, 0, 1));
            let weights = masked_softmax(scores, rows & there);
            sum(matmul(weights, select(rows, x, 0.0)))
        }

        fn hidden(&self, x: Tensor<B, 2>) -> Tensor {
            let absent = min_axes(float(x == x), [-1]) == 0.0;
            let rows = unsqueeze(absent, -1);
            let scores = matmul(matmul(x, self.w), transpose(x, 0, 1));
            let weights = softmax(select(rows | absent, -1e9, scores), -1);
            sum(select(rows, 0.0, matmul(weights, select(rows, 0.0, x))))
        }

        fn parts(&self, x: Tensor<B, 2>) -> Tensor {
            let there = unsqueeze(min_axes(float(x == x), [-1]) > 0.0, -1);
            let y = matmul(x, self.w);
            let first = select(slice(there, 0, 0, 1), slice(y, 0, 0, 1), 0.0);
            let rest = select(slice(there, 0, 1, B), slice(y, 0, 1, B), 0.0);
            sum(first * first) + sum(rest)
        }
    }
    let all = Tensor::new([4, 2], [0.5, -1.0, NAN, 1.0, 2.0, 0.25, 3.0, NAN])?;
    let some = Tensor::new([2, 2], [0.5, -1.0, 2.0, 0.25])?;
    for loss in [Net::branches, Net::attention, Net::hidden, Net::parts] {
        let mut model = Net::init(0);
        model.set("w", &Tensor::new([2, 2], [0.5, -0.25, 0.75, 1.0])?)?;
        let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
        let mut grad = |x| {
            step.differentiate(&mut model, x)?;
            step.grad("w")
        };
        let (found, expected) = (grad(&all)?, grad(&some)?);
        for (a, b) in found.data().iter().zip(expected.data()) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{found:?}, expected {expected:?}");
        }
    }
    Ok(())
}

/// Functions of rows, one after the other.
const ROWS: &[&str] = &[
    "log",
    "sqrt",
    "exp",
    "tanh",
    "square",
    "softmax",
    "log_softmax",
    "standardize",
    "rms_norm",
    "normalize",
    "matmul",
    "cumsum",
    "share",
    "largest",
    "deviation",
    "gelu",
    "logsumexp",
    "transposed",
];

#[network]
fn share(x: Tensor) -> Tensor {
    x / sum_keepdim(x, [-1])
}

#[network]
fn largest(x: Tensor) -> Tensor {
    x - max_keepdim(x, [-1])
}

#[network]
fn deviations(x: Tensor) -> Tensor {
    x * deviation_keepdim(x, [-1], 1.0)
}

#[network]
fn exponentials(x: Tensor) -> Tensor {
    x - logsumexp_keepdim(x, [-1])
}

#[network]
fn transposed(x: Tensor, w: Tensor) -> Tensor {
    transpose(matmul(w, transpose(x, 0, 1)), 0, 1)
}

fn row_function(g: &mut Stage, name: &str, x: Value, w: Value) -> Value {
    match name {
        "log" => log::stage(g, x),
        "sqrt" => sqrt::stage(g, x),
        "exp" => exp::stage(g, x),
        "tanh" => tanh::stage(g, x),
        "square" => square::stage(g, x),
        "softmax" => softmax::stage(g, x, -1),
        "log_softmax" => log_softmax::stage(g, x, -1),
        "standardize" => standardize::stage(g, x, -1, 1e-3),
        "rms_norm" => rms_norm::stage(g, x, -1, 0.0),
        "normalize" => normalize::stage(g, x, -1, 0.0),
        "matmul" => matmul::stage(g, x, w),
        "cumsum" => cumsum::stage(g, x, -1),
        "share" => share::stage(g, x),
        "largest" => largest::stage(g, x),
        "deviation" => deviations::stage(g, x),
        "gelu" => gelu::stage(g, x),
        "logsumexp" => exponentials::stage(g, x),
        _ => transposed::stage(g, x, w),
    }
}

fn row_gradient(g: &mut Stage, name: &str, x: Value, w: Value, d: Grad) -> (Grad, Grad) {
    let dx = match name {
        "log" => log::grad(g, x, d),
        "sqrt" => sqrt::grad(g, x, d),
        "exp" => exp::grad(g, x, d),
        "tanh" => tanh::grad(g, x, d),
        "square" => square::grad(g, x, d),
        "softmax" => softmax::grad(g, x, -1, d).0,
        "log_softmax" => log_softmax::grad(g, x, -1, d).0,
        "standardize" => standardize::grad(g, x, -1, 1e-3, d).0,
        "rms_norm" => rms_norm::grad(g, x, -1, 0.0, d).0,
        "normalize" => normalize::grad(g, x, -1, 0.0, d).0,
        "matmul" => return matmul::grad(g, x, w, d),
        "cumsum" => cumsum::grad(g, x, -1, d).0,
        "share" => share::grad(g, x, d),
        "largest" => largest::grad(g, x, d),
        "deviation" => deviations::grad(g, x, d),
        "gelu" => gelu::grad(g, x, d),
        "logsumexp" => exponentials::grad(g, x, d),
        _ => return transposed::grad(g, x, w, d),
    };
    (dx, None)
}

/// The gradients of `x` and `w` of the chain at rows of which only the given ones count.
fn of_rows(names: &[&str], added: &[bool], x: &[f32], counts: &[f32], w: &Tensor) -> [Vec<f64>; 2] {
    let mut g = Stage::new();
    let rows = counts.len();
    let (x, counts) = (Tensor::new([rows, 4], x).unwrap(), Tensor::new([rows, 1], counts).unwrap());
    let input = Value::Var(g.input(0, &[rows, 4], DType::F32));
    let weight = Value::Var(g.input(1, &[4, 4], DType::F32));
    let flags = Value::Var(g.input(2, &[rows, 1], DType::F32));
    let mut values = vec![input];
    for (name, &added) in names.iter().zip(added) {
        let before = values[values.len() - 1];
        let y = row_function(&mut g, name, before, weight);
        values.push(if added { add::stage(&mut g, y, before) } else { y });
    }
    let mask = gt::stage(&mut g, flags, 0.0);
    let y = select::stage(&mut g, mask, values[values.len() - 1], 0.0);
    let Value::Var(y) = y else { panic!("{:?}", g.error()) };
    let ones = g.fill(1.0, &[rows, 4]);
    // Elements count differently, or else the sums of a softmax have no gradient.
    let weights = g.constant(&Tensor::new([4], [0.5, -1.0, 0.25, 2.0]).unwrap());
    let (d, _) = mul::grad(&mut g, Value::Var(y), weights, Some(ones));
    let (_, mut d, _) = select::grad(&mut g, mask, values[values.len() - 1], 0.0, d);
    let mut dw = None;
    for (i, (name, &added)) in names.iter().zip(added).enumerate().rev() {
        let (dx, more) = row_gradient(&mut g, name, values[i], weight, d);
        dw = g.add(dw, more);
        d = if added { g.add(dx, d) } else { dx };
    }
    let zeros = g.fill(0.0, &[4, 4]);
    let grads = [d.unwrap(), dw.unwrap_or(zeros)].map(Value::Var);
    let inputs = [Input::from(&x), Input::from(w), Input::from(&counts)];
    let found = g.compute(&grads, &inputs).unwrap();
    [0, 1].map(|i| found[i].data().iter().map(|&x| f64::from(x)).collect())
}

/// How many random functions: a few, or as many as the environment asks for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn rows_that_do_not_count_change_nothing(
        names in prop::collection::vec(prop::sample::select(ROWS), 1..6),
        added in prop::collection::vec(any::<bool>(), 6),
        poison in prop::sample::select(vec![0.0, NAN, INF, -INF, -1.0, 1e30]),
        seed in 0..1000u64,
    ) {
        let noise = |seed: u64, n: usize| -> Vec<f32> {
            let next = |i: u64| (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (0..n as u64).map(|i| next(i * 77 + 1) as f32 / (1 << 24) as f32 + 0.25).collect()
        };
        let (good, w) = (noise(seed, 12), Tensor::new([4, 4], noise(seed + 7, 16)).unwrap());
        let bad = vec![poison; 4];
        let all = [&good[..4], &bad, &good[4..8], &bad, &good[8..]].concat();
        let some = of_rows(&names, &added, &good, &[1.0; 3], &w);
        let with_bad = of_rows(&names, &added, &all, &[1.0, 0.0, 1.0, 0.0, 1.0], &w);
        prop_assume!(some.iter().flatten().all(|x| x.is_finite() && x.abs() < 1e4));
        let size = some.iter().flatten().fold(1.0, |size: f64, x| size.max(x.abs()));
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * size;
        for (row, from) in [Some(0), None, Some(1), None, Some(2)].into_iter().enumerate() {
            for i in 0..4 {
                let (a, b) = (with_bad[0][4 * row + i], from.map_or(0.0, |from| some[0][4 * from + i]));
                prop_assert!(near(a, b), "{names:?} {added:?}, {poison}: element {i} of row {row} is {a}, expected {b}");
            }
        }
        for (a, b) in with_bad[1].iter().zip(&some[1]) {
            prop_assert!(near(*a, *b), "{names:?} {added:?}, {poison}: weights have {a}, expected {b}");
        }
    }
}
