//! Update rules against trajectories that PyTorch computed in double precision.

use crate::given::{Given, numbers};
use anyhow::Result;
use downhill::Error;
use downhill::prelude::*;
use serde_json::Value as Json;

fn weights(json: &Json) -> [Tensor; 2] {
    [Tensor::new([2, 3], numbers(&json["w"])).unwrap(), Tensor::new([2], numbers(&json["b"])).unwrap()]
}

fn step(model: &Model<Given>, name: &str, kwargs: &Json) -> Result<Step<Given>> {
    let number = |key: &str| kwargs[key].as_f64().unwrap_or(0.0) as f32;
    let lr = number("lr");
    let step = match name {
        "SGD" => {
            let rule = Sgd::new(lr).momentum(number("momentum")).dampening(number("dampening"));
            let rule = rule.nesterov(kwargs["nesterov"] == true).weight_decay(number("weight_decay"));
            Step::new(model, Given::loss, rule)
        }
        "Adam" => {
            let rule = Adam::new(lr).weight_decay(number("weight_decay")).amsgrad(kwargs["amsgrad"] == true);
            Step::new(model, Given::loss, rule)
        }
        "AdamW" => Step::new(model, Given::loss, AdamW::new(lr).weight_decay(number("weight_decay"))),
        "RMSprop" => {
            let rule = RmsProp::new(lr).momentum(number("momentum")).weight_decay(number("weight_decay"));
            Step::new(model, Given::loss, rule.centered(kwargs["centered"] == true))
        }
        "Adagrad" => Step::new(model, Given::loss, Adagrad::new(lr)),
        other => panic!("unknown rule {other}"),
    };
    Ok(step?)
}

#[test]
fn trajectories_of_pytorch() -> Result<()> {
    let golden: Json = serde_json::from_str(include_str!("../golden/optim.json"))?;
    let optimizers = golden["optimizers"].as_array().unwrap();
    assert_eq!(optimizers.len(), 12);
    for entry in optimizers {
        let (name, kwargs) = (entry["optimizer"].as_str().unwrap(), &entry["kwargs"]);
        let mut model = Given::init(0);
        let [w, b] = weights(&golden["params0"]);
        model.set("w", &w)?;
        model.set("b", &b)?;
        let mut step = step(&model, name, kwargs)?;
        let steps = entry["trajectory"].as_array().unwrap();
        assert_eq!(steps.len(), 20);
        for (t, (grads, expected)) in golden["grads"].as_array().unwrap().iter().zip(steps).enumerate() {
            let [w, b] = weights(grads);
            step.run(&mut model, (&w, &b))?;
            for (key, expected) in ["w", "b"].into_iter().zip(weights(expected)) {
                for (x, y) in model.get(key)?.data().iter().zip(expected.data()) {
                    // Weights are near one, and each of up to 20 steps rounds a few times.
                    let tolerance = 4e-7 * (t + 2) as f32 * y.abs().max(0.5);
                    assert!((x - y).abs() <= tolerance, "{name} {kwargs} step {t}, `{key}`: {x}, expected {y}");
                }
            }
        }
    }
    Ok(())
}

/// The golden gradients of `w`, step by step.
fn gradients() -> Vec<[f64; 6]> {
    let golden: Json = serde_json::from_str(include_str!("../golden/optim.json")).unwrap();
    let row = |g: &Json| std::array::from_fn(|i| g["w"][i / 3][i % 3].as_f64().unwrap());
    golden["grads"].as_array().unwrap().iter().map(row).collect()
}

/// Compares a rule with its formula in double precision: given the step from one, a weight, its
/// gradient and three numbers of state that start at zero, it changes the weight and the state.
fn follows(rule: impl Optimizer + 'static, formula: impl Fn(i32, &mut f64, f64, &mut [f64; 3])) -> Result<()> {
    let mut model = Given::init(0);
    let mut weights = [0.5, -1.25, 2.0, 1.5, 0.0, -0.75];
    let mut states = [[0.0; 3]; 6];
    model.set("w", &Tensor::new([2, 3], weights.map(|x| x as f32))?)?;
    let mut step = Step::new(&model, Given::loss, rule)?;
    for (t, grads) in (1..).zip(gradients()) {
        let (w, b) = (Tensor::new([2, 3], grads.map(|x| x as f32))?, Tensor::new([2], [0.0; 2])?);
        step.run(&mut model, (&w, &b))?;
        for ((weight, grad), state) in weights.iter_mut().zip(grads).zip(&mut states) {
            formula(t, weight, grad, state);
        }
        for (x, y) in model.get("w")?.data().iter().zip(weights) {
            let tolerance = 4e-7 * (t + 1) as f64 * y.abs().max(0.5);
            assert!((*x as f64 - y).abs() <= tolerance, "step {t}: {x}, expected {y}");
        }
    }
    Ok(())
}

/// Averages of the gradient and of its square, and what is missing of each.
fn moments(t: i32, betas: (f64, f64), grad: f64, state: &mut [f64; 3]) -> (f64, f64) {
    state[0] = betas.0 * state[0] + (1.0 - betas.0) * grad;
    state[1] = betas.1 * state[1] + (1.0 - betas.1) * grad * grad;
    (1.0 - betas.0.powi(t), 1.0 - betas.1.powi(t))
}

#[test]
fn amsgrad_with_decoupled_weight_decay() -> Result<()> {
    follows(AdamW::new(0.01).weight_decay(0.1).betas(0.8, 0.5).amsgrad(true), |t, w, grad, s| {
        *w *= 1.0 - 0.01 * 0.1;
        let (c1, c2) = moments(t, (0.8, 0.5), grad, s);
        s[2] = s[2].max(s[1]);
        *w -= 0.01 / c1 * s[0] / (s[2].sqrt() / c2.sqrt() + 1e-8);
    })
}

#[test]
fn nadam() -> Result<()> {
    for decoupled in [false, true] {
        let rule = NAdam::new(0.01).weight_decay(0.1).decoupled_weight_decay(decoupled);
        follows(rule, |t, w, grad, s| {
            let grad = if decoupled { grad } else { grad + 0.1 * *w };
            *w *= if decoupled { 1.0 - 0.01 * 0.1 } else { 1.0 };
            let mu = |t: i32| 0.9 * (1.0 - 0.5 * 0.96f64.powf(t as f64 * 0.004));
            let product: f64 = (1..=t).map(mu).product();
            let (_, c2) = moments(t, (0.9, 0.999), grad, s);
            let denominator = (s[1] / c2).sqrt() + 1e-8;
            *w -= 0.01 * (1.0 - mu(t)) / (1.0 - product) * grad / denominator;
            *w -= 0.01 * mu(t + 1) / (1.0 - product * mu(t + 1)) * s[0] / denominator;
        })?;
    }
    Ok(())
}

#[test]
fn radam() -> Result<()> {
    for decoupled in [false, true] {
        let rule = RAdam::new(0.01).weight_decay(0.1).decoupled_weight_decay(decoupled);
        follows(rule, |t, w, grad, s| {
            let grad = if decoupled { grad } else { grad + 0.1 * *w };
            *w *= if decoupled { 1.0 - 0.01 * 0.1 } else { 1.0 };
            let (c1, c2) = moments(t, (0.9, 0.999), grad, s);
            let limit = 2.0 / (1.0 - 0.999) - 1.0;
            let rho = limit - 2.0 * t as f64 * 0.999f64.powi(t) / c2;
            let rect = ((rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho)).sqrt();
            let adaptive = if rho > 5.0 { rect * c2.sqrt() / (s[1].sqrt() + 1e-8) } else { 1.0 };
            *w -= 0.01 * s[0] / c1 * adaptive;
        })?;
    }
    Ok(())
}

#[test]
fn adamax() -> Result<()> {
    follows(Adamax::new(0.01).weight_decay(0.1), |t, w, grad, s| {
        let grad = grad + 0.1 * *w;
        s[0] = 0.9 * s[0] + 0.1 * grad;
        s[1] = (0.999 * s[1]).max(grad.abs() + 1e-8);
        *w -= 0.01 / (1.0 - 0.9f64.powi(t)) * s[0] / s[1];
    })
}

#[test]
fn adadelta() -> Result<()> {
    follows(Adadelta::new(1.0).weight_decay(0.1), |_, w, grad, s| {
        let grad = grad + 0.1 * *w;
        s[0] = 0.9 * s[0] + 0.1 * grad * grad;
        let delta = (s[1] + 1e-6).sqrt() / (s[0] + 1e-6).sqrt() * grad;
        s[1] = 0.9 * s[1] + 0.1 * delta * delta;
        *w -= delta;
    })
}

#[test]
fn adagrad_with_all_settings() -> Result<()> {
    let rule = Adagrad::new(0.1).lr_decay(0.1).weight_decay(0.1).initial_accumulator_value(0.5).eps(1e-3);
    follows(rule, |t, w, grad, s| {
        let grad = grad + 0.1 * *w;
        s[0] += grad * grad + if t == 1 { 0.5 } else { 0.0 };
        *w -= 0.1 / (1.0 + (t - 1) as f64 * 0.1) * grad / (s[0].sqrt() + 1e-3);
    })
}

#[test]
fn lion() -> Result<()> {
    follows(Lion::new(0.01).weight_decay(0.1), |_, w, grad, s| {
        let direction = 0.9 * s[0] + 0.1 * grad;
        *w -= 0.01 * (if direction == 0.0 { 0.0 } else { direction.signum() } + 0.1 * *w);
        s[0] = 0.99 * s[0] + 0.01 * grad;
    })
}

/// The formulas above hold the defaults of PyTorch; here every setting has another value.
#[test]
fn settings_other_than_the_defaults() -> Result<()> {
    follows(NAdam::new(0.02).betas(0.8, 0.95).eps(1e-3).momentum_decay(0.1), |t, w, grad, s| {
        let mu = |t: i32| 0.8 * (1.0 - 0.5 * 0.96f64.powf(t as f64 * 0.1));
        let product: f64 = (1..=t).map(mu).product();
        let (_, c2) = moments(t, (0.8, 0.95), grad, s);
        let denominator = (s[1] / c2).sqrt() + 1e-3;
        *w -= 0.02 * (1.0 - mu(t)) / (1.0 - product) * grad / denominator;
        *w -= 0.02 * mu(t + 1) / (1.0 - product * mu(t + 1)) * s[0] / denominator;
    })?;
    follows(RAdam::new(0.02).betas(0.8, 0.95).eps(1e-3), |t, w, grad, s| {
        let (c1, c2) = moments(t, (0.8, 0.95), grad, s);
        let limit = 2.0 / (1.0 - 0.95) - 1.0;
        let rho = limit - 2.0 * t as f64 * 0.95f64.powi(t) / c2;
        let rect = ((rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho)).sqrt();
        let adaptive = if rho > 5.0 { rect * c2.sqrt() / (s[1].sqrt() + 1e-3) } else { 1.0 };
        *w -= 0.02 * s[0] / c1 * adaptive;
    })?;
    follows(Adamax::new(0.02).betas(0.8, 0.95).eps(1e-3), |t, w, grad, s| {
        s[0] = 0.8 * s[0] + 0.2 * grad;
        s[1] = (0.95 * s[1]).max(grad.abs() + 1e-3);
        *w -= 0.02 / (1.0 - 0.8f64.powi(t)) * s[0] / s[1];
    })?;
    follows(Adadelta::new(0.5).rho(0.8).eps(1e-3), |_, w, grad, s| {
        s[0] = 0.8 * s[0] + 0.2 * grad * grad;
        let delta = (s[1] + 1e-3).sqrt() / (s[0] + 1e-3).sqrt() * grad;
        s[1] = 0.8 * s[1] + 0.2 * delta * delta;
        *w -= 0.5 * delta;
    })?;
    follows(Lion::new(0.02).betas(0.7, 0.9), |_, w, grad, s| {
        let direction = 0.7 * s[0] + 0.3 * grad;
        *w -= 0.02 * if direction == 0.0 { 0.0 } else { direction.signum() };
        s[0] = 0.9 * s[0] + 0.1 * grad;
    })
}

/// A gradient of zero from the first step on divides zero by `eps` alone.
#[test]
fn no_gradient_moves_nothing() -> Result<()> {
    let rules: [Box<dyn Optimizer>; 9] = [
        Box::new(Adam::new(0.1).amsgrad(true)),
        Box::new(AdamW::new(0.1).weight_decay(0.0)),
        Box::new(NAdam::new(0.1)),
        Box::new(RAdam::new(0.1)),
        Box::new(Adamax::new(0.1)),
        Box::new(Adagrad::new(0.1)),
        Box::new(Adadelta::new(0.1)),
        Box::new(RmsProp::new(0.1).centered(true).momentum(0.5)),
        Box::new(Lion::new(0.1)),
    ];
    let still = (Tensor::new([2, 3], [0.0; 6])?, Tensor::new([2], [0.0; 2])?);
    for rule in rules {
        let mut model = Given::init(0);
        model.set("b", &Tensor::new([2], [0.5, -2.0])?)?;
        let state = rule.state();
        let mut step = Step::new(&model, Given::loss, rule)?;
        for _ in 0..8 {
            step.run(&mut model, (&still.0, &still.1))?;
        }
        assert_eq!(model.get("b")?.data(), [0.5, -2.0], "{state:?}");
        assert_eq!(model.get("w")?.data(), [0.0; 6], "{state:?}");
    }
    Ok(())
}

/// The numbers of a late step cost no more than those of an early one, and are finite.
#[test]
fn a_late_step() {
    for step in [1, 10_000, u64::MAX - 1] {
        for psi in [0.0, 0.004, 0.4, 10.0] {
            let mut numbers = [f32::NAN; 4];
            NAdam::new(0.1).momentum_decay(psi).at(step, 0.1, &mut numbers);
            assert!(numbers.iter().all(|x| x.is_finite()), "{numbers:?} at step {step}, momentum_decay {psi}");
        }
        let mut numbers = [f32::NAN; 3];
        RAdam::new(0.1).at(step, 0.1, &mut numbers);
        assert!(numbers.iter().all(|x| x.is_finite()), "{numbers:?} at step {step}");
    }
}

#[test]
fn a_learning_rate_of_its_own_for_each_step() -> Result<()> {
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, Sgd::new(1.0))?;
    let (w, b) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2], [2.0; 2])?);
    step.run(&mut model, (&w, &b))?;
    step.set_lr(0.5)?;
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [-1.5; 6]);
    assert_eq!(model.get("b")?.data(), [-3.0; 2]);
    assert_eq!(step.steps(), 2);
    Ok(())
}

#[test]
fn settings_out_of_range() {
    let model = Given::init(0);
    let refused = |result: Result<(), Error>, name: &str| match result {
        Err(Error::Setting { setting, .. }) => assert_eq!(setting, name),
        other => panic!("{name}: {other:?}"),
    };
    let sgd = |rule: Sgd, name| refused(Step::new(&model, Given::loss, rule).map(drop), name);
    for lr in [-0.1, f32::NAN, f32::INFINITY] {
        sgd(Sgd::new(lr), "lr");
    }
    sgd(Sgd::new(0.1).momentum(-0.9), "momentum");
    sgd(Sgd::new(0.1).momentum(f32::NAN), "momentum");
    sgd(Sgd::new(0.1).weight_decay(-1.0), "weight_decay");
    sgd(Sgd::new(0.1).dampening(f32::INFINITY), "dampening");
    sgd(Sgd::new(0.1).nesterov(true), "nesterov");
    sgd(Sgd::new(0.1).momentum(0.9).dampening(0.1).nesterov(true), "nesterov");
    let adam = |rule: Adam, name| refused(Step::new(&model, Given::loss, rule).map(drop), name);
    adam(Adam::new(f32::NAN), "lr");
    adam(Adam::new(0.1).betas(1.0, 0.9), "betas.0");
    adam(Adam::new(0.1).betas(0.9, -0.1), "betas.1");
    adam(Adam::new(0.1).betas(0.9, f32::NAN), "betas.1");
    adam(Adam::new(0.1).eps(-1e-8), "eps");
    let adamw = |rule: AdamW, name| refused(Step::new(&model, Given::loss, rule).map(drop), name);
    adamw(AdamW::new(-1.0), "lr");
    adamw(AdamW::new(0.1).weight_decay(f32::NAN), "weight_decay");
    let rules: [(Result<(), Error>, &str); 16] = [
        (NAdam::new(0.1).betas(1.0, 0.9).check(), "betas.0"),
        (NAdam::new(0.1).momentum_decay(-0.1).check(), "momentum_decay"),
        (NAdam::new(0.1).weight_decay(f32::NAN).check(), "weight_decay"),
        (RAdam::new(-0.1).check(), "lr"),
        (RAdam::new(0.1).betas(0.9, 1.0).check(), "betas.1"),
        (Adamax::new(0.1).eps(f32::INFINITY).check(), "eps"),
        (RmsProp::new(0.1).alpha(-0.1).check(), "alpha"),
        (RmsProp::new(0.1).momentum(f32::NAN).check(), "momentum"),
        (RmsProp::new(f32::NAN).check(), "lr"),
        (Adagrad::new(0.1).lr_decay(-1.0).check(), "lr_decay"),
        (Adagrad::new(0.1).initial_accumulator_value(-1.0).check(), "initial_accumulator_value"),
        (Adadelta::new(1.0).rho(1.1).check(), "rho"),
        (Adadelta::new(1.0).eps(-1.0).check(), "eps"),
        (Lion::new(0.1).betas(0.9, f32::NAN).check(), "betas.1"),
        (Lion::new(0.1).weight_decay(-1.0).check(), "weight_decay"),
        (Adam::new(0.1).amsgrad(true).eps(-1.0).check(), "eps"),
    ];
    for (result, name) in rules {
        refused(result, name);
    }
    assert!(Step::new(&model, Given::loss, Adam::new(0.0).betas(0.0, 0.0).eps(0.0)).is_ok());
}

/// A gradient whose square is no number: the state would be infinite for ever, and the parameter never be trained again.
#[test]
fn a_state_that_would_become_infinite() -> Result<()> {
    fn refused(rule: impl Optimizer + Copy + 'static, name: &str) -> Result<()> {
        let (mut model, mut expected) = (Given::init(0), Given::init(0));
        let mut step = Step::new(&model, Given::loss, rule)?;
        let mut other = Step::new(&expected, Given::loss, rule)?;
        let (w, b) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2], [0.5; 2])?);
        let large = Tensor::new([2], [0.0, 1e25])?;
        for n in 0..4 {
            step.run(&mut model, (&w, &b))?;
            other.run(&mut expected, (&w, &b))?;
            match step.run(&mut model, (&w, &large)).unwrap_err() {
                Error::NotFiniteState { state, parameter, step, .. } => {
                    assert_eq!((state, &*parameter, step), (name, "b", n + 2));
                }
                other => panic!("{name}: {other}"),
            }
            // As if that step had not been.
            assert_eq!((model.get("w")?, model.get("b")?), (expected.get("w")?, expected.get("b")?), "{name}");
        }
        // Not clipped, but clipped it is a gradient as any other.
        step.clip_value(1.0)?;
        step.run(&mut model, (&w, &large))?;
        Ok(())
    }
    refused(Adam::new(0.1), "exp_avg_sq")?;
    refused(AdamW::new(0.1).amsgrad(true), "exp_avg_sq")?;
    refused(NAdam::new(0.1), "exp_avg_sq")?;
    refused(RAdam::new(0.1), "exp_avg_sq")?;
    refused(RmsProp::new(0.1), "square_avg")?;
    refused(Adadelta::new(0.1), "square_avg")?;
    refused(Adagrad::new(0.1), "sum")?;
    Ok(())
}

/// No square, so only what does not fit is refused.
#[test]
fn large_gradients_that_fit() -> Result<()> {
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, Sgd::new(0.0).momentum(0.9))?;
    let (w, b) = (Tensor::new([2, 3], [0.0; 6])?, Tensor::new([2], [2e38, 1.0])?);
    step.run(&mut model, (&w, &b))?;
    let error = step.run(&mut model, (&w, &b)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "momentum_buffer of `b` became inf at step 2; the step before it was the last one kept"
    );
    assert_eq!(step.steps(), 1);
    Step::new(&model, Given::loss, Lion::new(0.1))?.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("b")?.data(), [-0.1; 2]);
    // A parameter may not leave the numbers either.
    let mut step = Step::new(&model, Given::loss, Sgd::new(1e3))?;
    let error = step.run(&mut model, (&w, &b)).unwrap_err();
    assert!(matches!(&error, Error::NotFiniteState { state: "weight", .. }), "{error}");
    assert_eq!(model.get("b")?.data(), [-0.1; 2]);
    Ok(())
}

/// A rate by which a gradient as any other takes the weights beyond all numbers.
#[test]
fn a_rate_that_is_too_large() -> Result<()> {
    let (w, b) = (Tensor::new([2, 3], [1e3; 6])?, Tensor::new([2], [1e10; 2])?);
    for rule in [Sgd::new(1e-3), Sgd::new(1e-3).momentum(0.9)] {
        let mut model = Given::init(0);
        let mut step = Step::new(&model, Given::loss, rule)?;
        step.run(&mut model, (&w, &b))?;
        let before = (model.get("w")?, model.get("b")?);
        step.set_lr(1e30)?;
        let error = step.run(&mut model, (&w, &b)).unwrap_err();
        assert!(matches!(&error, Error::NotFiniteState { state: "weight", .. }), "{error}");
        assert_eq!((model.get("w")?, model.get("b")?), before);
        step.set_lr(1e-3)?;
        step.run(&mut model, (&w, &b))?;
    }
    Ok(())
}

#[network(sequential, loss = cross_entropy)]
pub struct Classes {
    out: Linear<300, 2>,
}

/// The gradients of two classes are the same but for their sign, so their sum says nothing of their size; products see it
/// by squares.
#[test]
fn a_large_gradient_of_a_product() -> Result<()> {
    let mut model = Classes::init(0);
    model.set("out.weight", &Tensor::new([2, 300], vec![0.0; 600])?)?;
    let x = Tensor::new([2, 300], vec![1e25; 600])?;
    let t = Index::new([2], [0, 0])?;
    let before = model.get("out.bias")?;
    let mut step = Step::new(&model, Classes::loss, Adam::new(0.1))?;
    let error = step.run(&mut model, (&x, &t)).unwrap_err();
    assert!(matches!(&error, Error::NotFiniteState { state: "exp_avg_sq", .. }), "{error}");
    assert_eq!(model.get("out.bias")?, before);
    step.accumulate(&mut model, (&x, &t))?;
    assert!(matches!(step.update(&mut model), Err(Error::NotFiniteState { .. })));
    step.clip_norm(1.0)?;
    assert!(matches!(step.run(&mut model, (&x, &t)), Err(Error::NotFiniteGrad { .. })));
    Ok(())
}
