//! What is computed together, as `explain` tells it.

use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;

#[network(sequential, loss = cross_entropy)]
struct Classifier {
    hidden: Linear<6, 8>,
    norm: LayerNorm<8>,
    act: Gelu,
    out: Linear<8, 3>,
}

fn explain() -> downhill::Result<Vec<String>> {
    let mut model = Classifier::init(0);
    let mut step = Step::new(&model, Classifier::loss, Sgd::new(0.1))?;
    let (x, y) = (Tensor::new([4, 6], vec![0.5; 24])?, Index::new([4], [0, 1, 2, 0])?);
    step.run(&mut model, (&x, &y))?;
    Ok(step.explain().lines().map(str::to_owned).collect())
}

/// The kernels whose operations include all of these.
fn with<'l>(lines: &'l [String], operations: &[&str]) -> Vec<&'l String> {
    lines.iter().filter(|line| operations.iter().all(|op| line.split_whitespace().any(|word| word == *op))).collect()
}

#[test]
fn cross_entropy_and_its_gradient_are_one_kernel() -> downhill::Result<()> {
    let lines = explain()?;
    assert_eq!(with(&lines, &["max", "log"]).len(), 1, "{lines:#?}");
    let kernel = with(&lines, &["max", "log", "div", "select"]);
    assert_eq!(kernel.len(), 1, "the maximum, the loss and the gradient: {lines:#?}");
    Ok(())
}

#[test]
fn layer_norm_and_the_activation_behind_it_are_one_kernel() -> downhill::Result<()> {
    let lines = explain()?;
    assert_eq!(with(&lines, &["sqrt", "erf"]).len(), 1, "{lines:#?}");
    Ok(())
}

#[test]
fn the_gradient_of_a_weight_is_a_product_and_no_copy() -> downhill::Result<()> {
    let lines = explain()?;
    assert_eq!(with(&lines, &["transpose"]).len() + with(&lines, &["reshape"]).len(), 0, "{lines:#?}");
    // Two forward, and for each layer one for the weight; the first layer's input has no gradient.
    assert_eq!(with(&lines, &["matmul"]).len(), 5, "{lines:#?}");
    Ok(())
}

#[test]
fn the_update_is_one_kernel() -> downhill::Result<()> {
    fn update(rule: impl Optimizer + 'static) -> downhill::Result<String> {
        let step = Step::new(&Classifier::init(0), Classifier::loss, rule)?;
        Ok(step.explain())
    }
    for text in [update(Sgd::new(0.1).momentum(0.9))?, update(AdamW::new(0.1))?, update(Lion::new(0.1))?] {
        assert!(text.contains("update: 1 kernels"), "{text}");
    }
    Ok(())
}

#[network(sequential, loss = mse)]
struct Attentive {
    attention: MultiHeadAttention<8, 2>,
}

#[test]
fn heads_are_cut_and_merged_without_copies() -> downhill::Result<()> {
    let mut model = Attentive::init(0);
    let mut step = Step::new(&model, Attentive::loss, Sgd::new(0.1))?;
    let x = Tensor::new([2, 5, 8], (0..80).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
    step.run(&mut model, (&x, &x))?;
    let lines: Vec<String> = step.explain().lines().map(str::to_owned).collect();
    for copy in ["reshape", "transpose", "pad"] {
        assert_eq!(with(&lines, &[copy]).len(), 0, "{lines:#?}");
    }
    Ok(())
}

#[test]
fn long_sums_over_rows_are_added_up_in_parts() -> downhill::Result<()> {
    let shape = [600, 130];
    let x = Tensor::new(shape, (0..600 * 130).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>())?;
    let mut g = Stage::new();
    let input = g.input(0, &shape, DType::F32);
    let y = sin::stage(&mut g, input);
    let total = sum_axes::stage(&mut g, y, [0]);
    let largest = max_axes::stage(&mut g, y, [0]);
    let inputs = [downhill::Input::from(&x)];
    let found = g.compute(&[total, largest], &inputs)?;
    let expected = g.reference(&[total, largest], &inputs)?;
    for (found, expected) in found.iter().zip(&expected) {
        for (i, (&x, y)) in found.data().iter().zip(expected).enumerate() {
            assert!((x as f64 - y).abs() < 1e-5 * (1.0 + y.abs()), "column {i}: {x}, the reference has {y}");
        }
    }
    Ok(())
}

/// Why the last kernel of a graph of one input is not a part of the kernel before it.
fn refused(shape: &[usize], value: impl Fn(&mut Stage, Value) -> Value) -> downhill::Result<String> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, shape, DType::F32));
    let value = value(&mut g, x);
    let text = g.compile(&[value])?.explain();
    let (_, why) = text.trim_end().rsplit_once("  (not in ").unwrap_or_else(|| panic!("nothing was refused: {text}"));
    Ok(why.trim_end_matches(')').to_owned())
}

#[test]
fn a_kernel_says_why_it_is_one_of_its_own() -> downhill::Result<()> {
    let product = refused(&[4, 4], |g, x| {
        let y = matmul::stage(g, x, x);
        tanh::stage(g, y)
    })?;
    assert_eq!(product, "0, which is no loop");

    let sizes = refused(&[4, 6], |g, x| {
        let y = exp::stage(g, x);
        let y = slice::stage(g, y, 1, 0, 3);
        tanh::stage(g, y)
    })?;
    assert_eq!(sizes, "0, which has other loops");

    let order = refused(&[4, 6], |g, x| {
        let y = exp::stage(g, x);
        let y = transpose::stage(g, y, 0, 1);
        tanh::stage(g, y)
    })?;
    assert_eq!(order, "0, which has an argument in another order");

    let steps = refused(&[2, 4, 4], |g, x| {
        let most = max_axes::stage(g, x, [1, 2]);
        let most = reshape::stage(g, most, [2, 1, 1]);
        let y = sub::stage(g, x, most);
        let turned = transpose::stage(g, x, 1, 2);
        mul::stage(g, y, turned)
    })?;
    assert_eq!(steps, "0, where a row is not read in equal steps");

    let incomplete = refused(&[4, 6], |g, x| {
        let y = exp::stage(g, x);
        let columns = sum_axes::stage(g, y, [0]);
        sub::stage(g, y, columns)
    })?;
    assert_eq!(incomplete, "0, which completes an argument only at its end");

    let again = refused(&[4, 6], |g, x| {
        let y = exp::stage(g, x);
        tanh::stage(&mut g.recompute(true), y)
    })?;
    assert_eq!(again, "0, which is computed at another time");
    Ok(())
}

/// A function of the 128 x 96 elements between two layers.
macro_rules! between_layers {
    ($($name:ident $function:expr;)*) => {$(
        #[network]
        struct $name {
            up: Linear<64, 96>,
            down: Linear<96, 32>,
        }

        #[network]
        impl $name {
            fn loss(&self, x: Tensor<B, 64>, targets: Index<B>) -> Tensor {
                let h = self.up(x);
                cross_entropy(self.down($function), targets)
            }
        }
    )*};
}
between_layers! {
    WithGelu gelu(h);
    WithGeluTanh gelu_tanh(h);
    WithSilu silu(h);
    WithMish mish(h);
    WithElu elu(h, 1.0);
    WithSoftplus softplus(h, 1.0, 20.0);
    WithProduct tanh(h) * sigmoid(1.3 * h);
    WithTanh tanh(h);
    WithSigmoid sigmoid(h);
    WithCube h * h * h;
}

/// How many values of 128 x 96 elements a step keeps for the gradient.
fn kept<N: downhill::network::Network>(model: Model<N>, loss: downhill::network::Function<N>) -> downhill::Result<f64> {
    let mut model = model;
    let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
    let x = Tensor::new([128, 64], (0..128 * 64).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
    let targets = Index::new([128], (0..128).map(|i| i % 32).collect::<Vec<_>>())?;
    step.run(&mut model, (&x, &targets))?;
    let text = step.explain();
    let line = text.lines().find(|line| line.contains("bytes kept")).unwrap_or_else(|| panic!("{text}"));
    let bytes: f64 = line.split_whitespace().nth(1).and_then(|bytes| bytes.parse().ok()).unwrap();
    // The gradient of the logits and, for each row, a number or two of the loss.
    let loss_alone = 4.0 * 128.0 * 32.0;
    assert!(bytes >= loss_alone, "{line}");
    Ok(((bytes - loss_alone) / (4.0 * 128.0 * 96.0)).floor())
}

#[test]
fn a_function_of_elements_keeps_its_result_and_its_slope() -> downhill::Result<()> {
    assert_eq!(kept(WithGelu::init(0), WithGelu::loss)?, 2.0);
    assert_eq!(kept(WithGeluTanh::init(0), WithGeluTanh::loss)?, 2.0);
    assert_eq!(kept(WithSilu::init(0), WithSilu::loss)?, 2.0);
    assert_eq!(kept(WithMish::init(0), WithMish::loss)?, 2.0);
    assert_eq!(kept(WithElu::init(0), WithElu::loss)?, 2.0);
    assert_eq!(kept(WithSoftplus::init(0), WithSoftplus::loss)?, 2.0);
    assert_eq!(kept(WithProduct::init(0), WithProduct::loss)?, 2.0);
    Ok(())
}

#[test]
fn a_slope_that_is_cheap_to_make_of_what_is_kept_is_not_kept() -> downhill::Result<()> {
    // 1 - y², y (1 - y), and of the product before its bias 3 h².
    assert_eq!(kept(WithTanh::init(0), WithTanh::loss)?, 1.0);
    assert_eq!(kept(WithSigmoid::init(0), WithSigmoid::loss)?, 1.0);
    assert_eq!(kept(WithCube::init(0), WithCube::loss)?, 2.0);
    Ok(())
}

#[test]
fn what_is_computed_without_a_gradient_has_no_slope() -> downhill::Result<()> {
    let forward = |with_gradient: bool| {
        let mut g = Stage::new();
        let x = g.input(0, &[64], DType::F32);
        let d = g.input(1, &[64], DType::F32);
        let y = gelu::stage(&mut g, x);
        if with_gradient {
            assert!(gelu::grad(&mut g, x, Some(d)).is_some());
        }
        Ok::<_, downhill::Error>(g.compile(&[y])?.explain())
    };
    assert_eq!(forward(true)?, forward(false)?);
    Ok(())
}

#[test]
fn what_is_computed_again_is_so_with_all_that_it_is_made_of() -> downhill::Result<()> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[16, 16], DType::F32));
    let y = exp::stage(&mut g, x);
    // The product reads y in memory, the kernel behind it makes the rest of it: a sum, its mask, a choice.
    let sum = add::stage(&mut g, y, 1.0);
    let mask = gt::stage(&mut g, sum, 2.0);
    let half = mul::stage(&mut g, y, 0.5);
    let chosen = select::stage(&mut g, mask, half, y);
    let product = matmul::stage(&mut g, y, y);
    let result = add::stage(&mut g, product, chosen);
    let data = Tensor::new([16, 16], (0..256).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>())?;
    let inputs = [downhill::Input::from(&data)];
    let mut compiled = g.compile(&[result])?;
    // y, and nothing else, is in the arena beside the product.
    assert!(compiled.explain().contains("arena 2048 bytes"), "{}", compiled.explain());
    compiled.run(&data)?;
    for (found, expected) in compiled.data(0)?.iter().zip(&g.reference(&[result], &inputs)?[0]) {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.abs(), "{found}, the reference has {expected}");
    }
    Ok(())
}

/// A table of 40 rows that is read by number and used otherwise too: the kernels of its gradient.
fn gradient_of_a_table(product: bool) -> downhill::Result<String> {
    let mut g = Stage::new();
    let table = g.input(0, &[40, 24], DType::F32);
    let index = g.input(1, &[6], DType::I32);
    let [rows, d] = [2, 3].map(|slot| g.input(slot, &[6, if slot == 2 { 24 } else { 40 }], DType::F32));
    let looked_up = gather::grad(&mut g, table, index, Some(rows)).0;
    let other = match product {
        true => {
            let turned = transpose::stage(&mut g, table, 0, 1);
            let turned_grad = matmul::grad(&mut g, rows, turned, Some(d)).1;
            transpose::grad(&mut g, table, 0, 1, turned_grad).0
        }
        false => exp::grad(&mut g, table, Some(table)),
    };
    let sum = Value::Var(g.add(other, looked_up).unwrap());
    let noise = |len: usize| (0..len).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let (table, rows) = (Tensor::new([40, 24], noise(40 * 24))?, Tensor::new([6, 24], noise(6 * 24))?);
    let (index, d) = (Index::new([6], [3, 0, 39, 3, 7, 3])?, Tensor::new([6, 40], noise(6 * 40))?);
    let inputs = [(&table).into(), (&index).into(), (&rows).into(), (&d).into()];
    let found = g.compute(&[sum], &inputs)?;
    for (found, expected) in found[0].data().iter().zip(&g.reference(&[sum], &inputs)?[0]) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found}, the reference has {expected}");
    }
    Ok(g.compile(&[sum])?.explain())
}

#[test]
fn rows_are_added_to_a_product_where_it_is() -> downhill::Result<()> {
    let text = gradient_of_a_table(true)?;
    // Memory for the places of an index and where those of each row end, none for a second table.
    assert!(text.contains("3 kernels") && text.contains("arena 256 bytes"), "{text}");
    Ok(())
}

#[test]
fn rows_are_added_to_a_copy_of_what_is_no_product() -> downhill::Result<()> {
    let text = gradient_of_a_table(false)?;
    assert!(text.contains("4 kernels"), "{text}");
    Ok(())
}

/// The bytes of the arena of a graph of products and what `between` makes of the first one's 16 x 16 elements;
/// what is computed agrees with the reference.
fn arena(between: impl Fn(&mut Stage, Value) -> Value) -> downhill::Result<String> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[16, 16], DType::F32));
    let product = matmul::stage(&mut g, x, x);
    let between = between(&mut g, product);
    let result = matmul::stage(&mut g, x, between);
    let data = Tensor::new([16, 16], (0..256).map(|i| (i as f32 * 0.7).sin() / 4.0).collect::<Vec<_>>())?;
    let mut compiled = g.compile(&[result])?;
    compiled.run(&data)?;
    for (found, expected) in compiled.data(0)?.iter().zip(&g.reference(&[result], &[(&data).into()])?[0]) {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found}, the reference has {expected}");
    }
    let text = compiled.explain();
    let (_, bytes) = text.split_once("arena ").unwrap_or_else(|| panic!("{text}"));
    Ok(bytes.split(" (").next().unwrap().to_owned())
}

#[test]
fn a_result_takes_the_place_of_what_nothing_reads_later() -> downhill::Result<()> {
    assert_eq!(arena(tanh::stage)?, "1024 bytes");
    let softmax = arena(|g, x| softmax::stage(g, x, -1))?;
    assert_eq!(softmax, "1024 bytes");
    // Elements are read in another order than they are written in.
    let turned = arena(|g, x| {
        let turned = transpose::stage(g, x, 0, 1);
        let sum = add::stage(g, x, turned);
        tanh::stage(g, sum)
    })?;
    assert_eq!(turned, "2048 bytes");
    // The second pass over a row reads again what the first one has read; only its own result is in that place.
    let twice = arena(|g, x| {
        let y = exp::stage(g, x);
        let most = max_keepdim::stage(g, y, [-1]);
        let z = sub::stage(g, x, most);
        matmul::stage(g, y, z)
    })?;
    assert_eq!(twice, "3072 bytes");
    Ok(())
}

/// What would take hours if it were looked at as often as it is used, or overflow the stack.
#[test]
fn what_is_deep_is_compiled_in_proportion() -> downhill::Result<()> {
    let built: [fn(&mut Stage, Value) -> Value; 3] = [
        |g, x| {
            let mut mask = lt::stage(g, x, 0.5);
            for i in 0..60 {
                let number = float::stage(g, mask);
                let (left, right) = (lt::stage(g, number, f64::from(i % 7) / 6.0), le::stage(g, x, number));
                let [left, right] = [left, right].map(|mask| float::stage(g, mask));
                mask = ne::stage(g, left, right);
            }
            float::stage(g, mask)
        },
        |g, mut x| {
            for _ in 0..5000 {
                x = transpose::stage(g, x, 0, 1);
                x = flip::stage(g, x, 0);
            }
            exp::stage(g, x)
        },
        |g, mut x| {
            for _ in 0..120 {
                let y = softmax::stage(g, x, -1);
                x = add::stage(g, x, y);
            }
            x
        },
    ];
    for stage in built {
        let mut g = Stage::new();
        let x = Value::Var(g.input(0, &[4, 4], DType::F32));
        let y = stage(&mut g, x);
        let x = Tensor::new([4, 4], (0..16).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
        let inputs = [Input::from(&x)];
        let (found, expected) = (g.compute(&[y], &inputs)?, g.reference(&[y], &inputs)?);
        for (&a, b) in found[0].data().iter().zip(&expected[0]) {
            assert!((f64::from(a) - b).abs() <= 1e-4 * b.abs(), "{a}, expected {b}");
        }
    }
    Ok(())
}
