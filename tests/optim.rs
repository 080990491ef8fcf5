//! Update rules against trajectories that PyTorch computed in double precision.

use anyhow::Result;
use downhill::Error;
use downhill::prelude::*;
use serde_json::Value as Json;

/// A loss whose gradient is what it is given.
#[network]
pub struct Given {
    #[init(zeros)]
    w: Param<2, 3>,
    #[init(zeros)]
    b: Param<2>,
}

#[network]
impl Given {
    pub fn loss(&self, w: Tensor<2, 3>, b: Tensor<2>) -> Tensor {
        sum(self.w * w) + sum(self.b * b)
    }
}

fn numbers(json: &Json) -> Vec<f32> {
    match json {
        Json::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

fn weights(json: &Json) -> [Tensor; 2] {
    [Tensor::new([2, 3], numbers(&json["w"])).unwrap(), Tensor::new([2], numbers(&json["b"])).unwrap()]
}

fn step(model: &Model<Given>, name: &str, kwargs: &Json) -> Result<Step<Given>> {
    let number = |key: &str| kwargs[key].as_f64().map(|x| x as f32);
    let lr = number("lr").unwrap();
    let step = match name {
        "SGD" => {
            let rule = Sgd::new(lr).momentum(number("momentum").unwrap()).dampening(number("dampening").unwrap());
            let rule = rule.nesterov(kwargs["nesterov"] == true).weight_decay(number("weight_decay").unwrap());
            Step::new(model, Given::loss, rule)
        }
        "Adam" => Step::new(model, Given::loss, Adam::new(lr).weight_decay(number("weight_decay").unwrap())),
        "AdamW" => Step::new(model, Given::loss, AdamW::new(lr).weight_decay(number("weight_decay").unwrap())),
        other => panic!("unknown rule {other}"),
    };
    Ok(step?)
}

#[test]
fn trajectories_of_pytorch() -> Result<()> {
    let golden: Json = serde_json::from_str(include_str!("golden/optim.json"))?;
    let optimizers = golden["optimizers"].as_array().unwrap();
    assert_eq!(optimizers.len(), 8);
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

#[test]
fn a_learning_rate_of_its_own_for_each_step() -> Result<()> {
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, Sgd::new(1.0))?;
    let (w, b) = (Tensor::new([2, 3], [1.0; 6])?, Tensor::new([2], [2.0; 2])?);
    step.run(&mut model, (&w, &b))?;
    step.set_lr(0.5);
    step.run(&mut model, (&w, &b))?;
    assert_eq!(model.get("w")?.data(), [-1.5; 6]);
    assert_eq!(model.get("b")?.data(), [-3.0; 2]);
    assert_eq!(step.steps(), 2);
    Ok(())
}

#[test]
fn settings_out_of_range() {
    let model = Given::init(0);
    let refused = |rule: &dyn Fn() -> Result<(), Error>, name: &str| match rule() {
        Err(Error::Setting { setting, .. }) => assert_eq!(setting, name),
        other => panic!("{name}: {other:?}"),
    };
    let sgd = |rule: Sgd, name| refused(&|| Step::new(&model, Given::loss, rule).map(drop), name);
    for lr in [-0.1, f32::NAN, f32::INFINITY] {
        sgd(Sgd::new(lr), "lr");
    }
    sgd(Sgd::new(0.1).momentum(-0.9), "momentum");
    sgd(Sgd::new(0.1).momentum(f32::NAN), "momentum");
    sgd(Sgd::new(0.1).weight_decay(-1.0), "weight_decay");
    sgd(Sgd::new(0.1).dampening(f32::INFINITY), "dampening");
    sgd(Sgd::new(0.1).nesterov(true), "nesterov");
    sgd(Sgd::new(0.1).momentum(0.9).dampening(0.1).nesterov(true), "nesterov");
    let adam = |rule: Adam, name| refused(&|| Step::new(&model, Given::loss, rule).map(drop), name);
    adam(Adam::new(f32::NAN), "lr");
    adam(Adam::new(0.1).betas(1.0, 0.9), "betas.0");
    adam(Adam::new(0.1).betas(0.9, -0.1), "betas.1");
    adam(Adam::new(0.1).betas(0.9, f32::NAN), "betas.1");
    adam(Adam::new(0.1).eps(-1e-8), "eps");
    let adamw = |rule: AdamW, name| refused(&|| Step::new(&model, Given::loss, rule).map(drop), name);
    adamw(AdamW::new(-1.0), "lr");
    adamw(AdamW::new(0.1).weight_decay(f32::NAN), "weight_decay");
    assert!(Step::new(&model, Given::loss, Adam::new(0.0).betas(0.0, 0.0).eps(0.0)).is_ok());
}
