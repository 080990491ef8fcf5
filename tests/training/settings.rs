//! Clipping, accumulation, groups and frozen parameters.

use crate::given::{Given, numbers};
use anyhow::Result;
use downhill::prelude::*;
use downhill::{Error, ParamInfo};
use serde_json::Value as Json;

fn pair(json: &Json) -> Result<(Tensor, Tensor)> {
    Ok((Tensor::new([2, 3], numbers(&json["w"]))?, Tensor::new([2], numbers(&json["b"]))?))
}

/// A step of size one, so that the parameters become what is left of the gradient, negative.
fn plain() -> Result<(Model<Given>, Step<Given>)> {
    let model = Given::init(0);
    let step = Step::new(&model, Given::loss, Sgd::new(1.0))?;
    Ok((model, step))
}

fn near(found: &Tensor, expected: &[f32]) {
    assert_eq!(found.data().len(), expected.len());
    for (x, y) in found.data().iter().zip(expected) {
        assert!((x - y).abs() <= 1e-6 * y.abs().max(1e-2), "{found:?}, expected {expected:?}");
    }
}

#[test]
fn clipped_as_by_pytorch() -> Result<()> {
    let golden: Json = serde_json::from_str(include_str!("../golden/optim.json"))?;
    let cases = golden["clip_grad_norm"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let max = case["max_norm"].as_f64().unwrap() as f32;
        let (mut model, mut step) = plain()?;
        match case["norm_type"].as_str().unwrap() {
            "1.0" => step.clip_norm_of(Norm::L1, max)?,
            "2.0" => step.clip_norm(max)?,
            "inf" => step.clip_norm_of(Norm::Max, max)?,
            other => panic!("unknown norm {other}"),
        }
        assert_eq!(step.grad_norm(), None);
        let (w, b) = pair(&case["grads"])?;
        step.run(&mut model, (&w, &b))?;
        let norm = case["total_norm"].as_f64().unwrap() as f32;
        assert!((step.grad_norm().unwrap() - norm).abs() <= 1e-6 * norm);
        let clipped = pair(&case["clipped"])?;
        near(&model.get("w")?, &clipped.0.data().iter().map(|x| -x).collect::<Vec<_>>());
        near(&model.get("b")?, &clipped.1.data().iter().map(|x| -x).collect::<Vec<_>>());
        assert_eq!(step.grad("w")?, w);
    }
    Ok(())
}

#[test]
fn clipped_by_value() -> Result<()> {
    let (mut model, mut step) = plain()?;
    step.clip_value(0.5)?;
    let w = Tensor::new([2, 3], [3.0, -3.0, 0.25, -0.25, 0.5, 0.0])?;
    let b = Tensor::new([2], [1e30, -0.75])?;
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [-0.5, 0.5, -0.25, 0.25, -0.5, 0.0]);
    assert_eq!(model.get("b")?.data(), [-0.5, 0.5]);
    Ok(())
}

/// More elements than a row of the norm has, and padding behind them.
#[network(sequential, loss = mse)]
pub struct Wide {
    first: Linear<3, 700>,
    act: Tanh,
    last: Linear<700, 2>,
}

fn wide_data(n: usize) -> Result<(Tensor, Tensor)> {
    let x: Vec<f32> = (0..3 * n).map(|i| (i as f32 * 0.7).sin()).collect();
    let y: Vec<f32> = (0..2 * n).map(|i| 3.0 * (i as f32 * 0.3).cos()).collect();
    Ok((Tensor::new([n, 3], x)?, Tensor::new([n, 2], y)?))
}

fn params<N: downhill::network::Network>(model: &Model<N>) -> Vec<Tensor> {
    model.params().map(|p| model.get(p.name).unwrap()).collect()
}

fn close<N: downhill::network::Network>(a: &Model<N>, b: &Model<N>) {
    for (x, y) in params(a).iter().flat_map(|t| t.data()).zip(params(b).iter().flat_map(|t| t.data())) {
        assert!((x - y).abs() <= 2e-6 * y.abs().max(0.1), "{x}, expected {y}");
    }
}

#[test]
fn the_norm_of_many_parameters() -> Result<()> {
    let data = wide_data(8)?;
    let mut model = Wide::init(0);
    let mut step = Step::new(&model, Wide::loss, Sgd::new(0.0))?;
    for norm in [Norm::L1, Norm::L2, Norm::Max] {
        step.clip_norm_of(norm, f32::INFINITY)?;
        step.run(&mut model, (&data.0, &data.1))?;
        let names: Vec<String> = model.params().map(|p| p.name.into()).collect();
        let grads: Vec<Tensor> = names.iter().map(|name| step.grad(name).unwrap()).collect();
        let all = grads.iter().flat_map(|grad| grad.data()).map(|&x| f64::from(x));
        let expected = match norm {
            Norm::L1 => all.map(f64::abs).sum(),
            Norm::L2 => all.map(|x| x * x).sum::<f64>().sqrt(),
            Norm::Max => all.map(f64::abs).fold(0.0, f64::max),
        };
        let found = f64::from(step.grad_norm().unwrap());
        assert!((found - expected).abs() <= 1e-6 * expected, "{norm:?}: {found}, expected {expected}");
    }
    Ok(())
}

#[test]
fn a_norm_that_is_no_number_updates_nothing() -> Result<()> {
    for (norm, bad) in [(Norm::L1, f32::NAN), (Norm::L2, f32::INFINITY), (Norm::Max, f32::NAN)] {
        let (mut model, mut step) = plain()?;
        step.clip_norm_of(norm, 1.0)?;
        let w = Tensor::new([2, 3], [bad; 6])?;
        let b = Tensor::new([2], [1.0; 2])?;
        match step.run(&mut model, (&w, &b)) {
            Err(Error::NotFinite { .. } | Error::NotFiniteGrad { .. }) => {}
            other => panic!("{other:?}"),
        }
        // Squares that are too large for the numbers there are, of a gradient that is not.
        let w = Tensor::new([2, 3], [1e25; 6])?;
        let result = step.run(&mut model, (&w, &b));
        match norm {
            Norm::L2 => assert!(matches!(result, Err(Error::NotFiniteGrad { step: 1, .. })), "{result:?}"),
            _ => assert!(result.is_ok()),
        }
        assert_eq!(step.steps(), u64::from(norm != Norm::L2));
    }
    Ok(())
}

#[test]
fn micro_batches_are_one_batch() -> Result<()> {
    let data = wide_data(12)?;
    let part = |from: usize, to: usize| {
        let x = Tensor::new([to - from, 3], &data.0.data()[3 * from..3 * to]).unwrap();
        (x, Tensor::new([to - from, 2], &data.1.data()[2 * from..2 * to]).unwrap())
    };
    for k in [1, 2, 3, 4] {
        let (mut whole, mut parts) = (Wide::init(1), Wide::init(1));
        let rule = Sgd::new(0.05).momentum(0.9);
        let mut large = Step::new(&whole, Wide::loss, rule)?;
        let mut small = Step::new(&parts, Wide::loss, rule)?;
        large.clip_norm(0.5)?;
        small.clip_norm(0.5)?;
        for _ in 0..4 {
            let loss = large.run(&mut whole, (&data.0, &data.1))?;
            let mut sum = 0.0;
            for i in 0..k {
                let (x, y) = part(i * 12 / k, (i + 1) * 12 / k);
                sum += small.accumulate(&mut parts, (&x, &y))?;
            }
            small.update(&mut parts)?;
            assert!((sum / k as f32 - loss).abs() < 1e-6 * loss);
            let (a, b) = (small.grad_norm().unwrap(), large.grad_norm().unwrap());
            assert!((a - b).abs() < 1e-5 * b, "{a}, expected {b}");
            close(&parts, &whole);
        }
        assert_eq!(small.steps(), 4);
    }
    Ok(())
}

#[test]
fn a_run_takes_what_was_accumulated_along() -> Result<()> {
    let (mut model, mut step) = plain()?;
    let (one, three) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2, 3], [3.0; 6])?);
    let b = Tensor::new([2], [0.0; 2])?;
    step.accumulate(&mut model, (&one, &b))?;
    step.run(&mut model, (&three, &b))?;
    assert_eq!(model.get("w")?.data(), [-2.0; 6]);
    step.run(&mut model, (&one, &b))?;
    assert_eq!(model.get("w")?.data(), [-3.0; 6]);
    step.accumulate(&mut model, (&three, &b))?;
    step.discard();
    let error = step.update(&mut model).unwrap_err().to_string();
    assert_eq!(error, "update: expected at least one micro-batch before it, found none");
    assert_eq!(model.get("w")?.data(), [-3.0; 6]);
    Ok(())
}

#[test]
fn a_micro_batch_that_fails_is_left_out() -> Result<()> {
    let (mut model, mut step) = plain()?;
    let (one, bad) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2, 3], [f32::NAN; 6])?);
    let b = Tensor::new([2], [0.0; 2])?;
    step.accumulate(&mut model, (&one, &b))?;
    assert!(matches!(step.accumulate(&mut model, (&bad, &b)), Err(Error::NotFinite { .. })));
    step.update(&mut model)?;
    assert_eq!(model.get("w")?.data(), [-1.0; 6]);
    Ok(())
}

#[test]
fn a_trainer_accumulates() -> Result<()> {
    // 14 samples in batches of 4, 4, 4 and 2, two or three a step, are batches of 8 or 12.
    let data = wide_data(14)?;
    for (k, steps) in [(2, 2), (3, 2), (4, 1), (9, 1)] {
        let (mut parts, mut whole) = (Wide::init(1), Wide::init(1));
        let rule = Sgd::new(0.05).momentum(0.9);
        let mut small = Trainer::new(&mut parts, Wide::loss).optimizer(rule).batch_size(4).accumulate(k).clip_norm(1.0);
        let report = small.fit(&data, &(), Epochs(3))?;
        assert_eq!(small.steps(), 3 * steps);
        let mut large = Trainer::new(&mut whole, Wide::loss).optimizer(rule).batch_size(4 * k).clip_norm(1.0);
        let expected = large.fit(&data, &(), Epochs(3))?;
        for (a, b) in report.epochs.iter().zip(&expected.epochs) {
            assert!((a.train_loss - b.train_loss).abs() < 1e-5 * b.train_loss);
        }
        close(&parts, &whole);
    }
    Ok(())
}

#[test]
fn groups_have_settings_of_their_own() -> Result<()> {
    let (w, b) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2], [1.0; 2])?);
    let (mut model, mut step) = plain()?;
    model.set("w", &Tensor::new([2, 3], [10.0; 6])?)?;
    model.set("b", &Tensor::new([2], [10.0; 2])?)?;
    step.group("*", Sgd::new(7.0))?;
    step.group("w", Sgd::new(1.0).weight_decay(0.5))?;
    step.group(|p: ParamInfo| p.shape.len() < 2, Sgd::new(2.0))?;
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [10.0 - (1.0 + 0.5 * 10.0); 6]);
    assert_eq!(model.get("b")?.data(), [10.0 - 2.0; 2]);
    // The rates keep their proportion.
    step.set_lr(0.5)?;
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [4.0 - 0.5 * (1.0 + 0.5 * 4.0); 6]);
    assert_eq!(model.get("b")?.data(), [8.0 - 1.0; 2]);
    Ok(())
}

#[test]
fn one_group_for_each_changes_nothing() -> Result<()> {
    let data = wide_data(6)?;
    let rule = AdamW::new(0.01).weight_decay(0.1);
    let (mut one, mut many) = (Wide::init(2), Wide::init(2));
    let mut trainer = Trainer::new(&mut one, Wide::loss).optimizer(rule).schedule(Cosine::new());
    trainer.fit(&data, &(), Epochs(5))?;
    let mut trainer = Trainer::new(&mut many, Wide::loss).optimizer(rule).schedule(Cosine::new());
    trainer = trainer.group("*.bias", rule).group("last.weight", rule);
    trainer.fit(&data, &(), Epochs(5))?;
    assert_eq!(params(&one), params(&many));
    Ok(())
}

#[test]
fn frozen_parameters_stay() -> Result<()> {
    let data = wide_data(6)?;
    let mut model = Wide::init(3);
    let before = params(&model);
    let mut step = Step::new(&model, Wide::loss, AdamW::new(0.01).weight_decay(0.1))?;
    step.clip_norm(f32::INFINITY)?;
    step.run(&mut model, (&data.0, &data.1))?;
    let (kernels, norm) = (step.explain().lines().count(), step.grad_norm().unwrap());
    let trained = params(&model);
    assert!(before.iter().zip(&trained).all(|(a, b)| a != b));

    step.freeze("first.*")?;
    step.run(&mut model, (&data.0, &data.1))?;
    let after = params(&model);
    assert_eq!((&after[0], &after[1]), (&trained[0], &trained[1]));
    assert!(after[2] != trained[2] && after[3] != trained[3]);
    assert_eq!(step.grad("first.weight")?.data().iter().filter(|x| **x != 0.0).count(), 0);
    assert!(step.grad_norm().unwrap() < norm);
    assert!(step.explain().lines().count() < kernels, "the gradient is not computed:\n{}", step.explain());

    step.unfreeze("first.bias")?;
    step.run(&mut model, (&data.0, &data.1))?;
    let last = params(&model);
    assert_eq!(last[0], after[0]);
    assert!(last[1] != after[1]);
    assert_eq!(step.steps(), 3);
    Ok(())
}

/// A network with a part that only some of its values use.
#[network]
pub struct Partly {
    used: Linear<1, 1>,
    spare: Linear<1, 1>,
    #[option(true)]
    all: bool,
}

#[network]
impl Partly {
    pub fn loss(&self, x: Tensor<B, 1>) -> Tensor {
        mean(if self.all { self.spare(self.used(x)) } else { self.used(x) })
    }
}

#[test]
fn a_frozen_parameter_needs_no_gradient() -> Result<()> {
    let mut model = Model::new(Partly::new().all(false), 0);
    let x = Tensor::new([2, 1], [1.0, 2.0])?;
    let mut step = Step::new(&model, Partly::loss, Sgd::new(0.1))?;
    let error = step.run(&mut model, (&x,)).unwrap_err();
    assert!(matches!(error, Error::Gradient { .. }), "{error}");
    step.freeze("spare.*")?;
    step.run(&mut model, (&x,))?;
    Ok(())
}

#[test]
fn a_trainer_freezes_between_calls() -> Result<()> {
    let data = wide_data(6)?;
    let mut model = Wide::init(3);
    let before = params(&model);
    let mut trainer = Trainer::new(&mut model, Wide::loss).optimizer(Adam::new(0.01)).freeze("first.*");
    trainer.fit(&data, &(), Epochs(2))?;
    assert_eq!(trainer.model().get("first.weight")?, before[0]);
    let mut trainer = trainer.unfreeze("*");
    trainer.fit(&data, &(), Epochs(2))?;
    assert_eq!(trainer.steps(), 4);
    assert_ne!(trainer.model().get("first.weight")?, before[0]);
    Ok(())
}

#[test]
fn what_is_refused() -> Result<()> {
    let (mut model, mut step) = plain()?;
    let message = |result: downhill::Result<()>| result.unwrap_err().to_string();
    assert_eq!(message(step.clip_norm(0.0)), "clip_norm: expected a number above 0, found 0");
    assert_eq!(message(step.clip_norm(f32::NAN)), "clip_norm: expected a number above 0, found NaN");
    assert_eq!(message(step.clip_value(-1.0)), "clip_value: expected a number above 0, found -1");
    assert_eq!(message(step.freeze("v")), "no parameter `v`; the model has w, b");
    assert_eq!(message(step.group("*.bias", Sgd::new(1.0))), "no parameter `*.bias`; the model has w, b");
    let group = message(step.group("b", Sgd::new(1.0).momentum(0.9)));
    assert_eq!(
        group,
        "group: expected a rule with the same state as that of the step, found [\"momentum_buffer\"], not []"
    );
    assert_eq!(message(step.group("b", Sgd::new(-1.0))), "lr: expected a finite number of at least 0, found -1");
    assert_eq!(message(step.freeze("*")), "freeze: expected at least one parameter that is not frozen, found none");
    // What was refused is forgotten.
    let (w, b) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2], [1.0; 2])?);
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [-1.0; 6]);

    let mut zero = Step::new(&model, Given::loss, Sgd::new(0.0))?;
    let lr = message(zero.group("b", Sgd::new(1.0)));
    assert_eq!(lr, "lr: expected above 0, since a group has a rate in proportion to it, found 0");

    let data = wide_data(4)?;
    let mut model = Wide::init(0);
    let mut fit = |change: &dyn Fn(Trainer<'_, Wide>) -> Trainer<'_, Wide>| {
        message(change(Trainer::new(&mut model, Wide::loss)).fit(&data, &(), Epochs(1)).map(drop))
    };
    assert_eq!(fit(&|t| t.accumulate(0)), "accumulate: expected at least 1, found 0");
    assert_eq!(fit(&|t| t.clip_norm(-1.0)), "clip_norm: expected a number above 0, found -1");
    assert!(fit(&|t| t.freeze("second.*")).starts_with("no parameter `second.*`; the model has first.weight"));
    Ok(())
}
