//! What is computed together, as `explain` tells it.

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
