//! An update that would make a weight or a state infinite or no number is refused, whatever the rule is.

use downhill::optim::Updated;
use downhill::prelude::*;
use downhill::{Error, Result};
use proptest::prelude::*;

const INF: f32 = f32::INFINITY;

/// A loss whose gradient is what it is given.
#[network]
struct Given {
    #[init(ones)]
    first: Param<3>,
    #[init(ones)]
    second: Param<40>,
    #[init(zeros)]
    seen: State,
}

#[network]
impl Given {
    fn loss(&self, a: Tensor<3>, b: Tensor<40>) -> Tensor {
        if training() {
            self.seen += 1.0;
        }
        // The value of the loss is always finite.
        sum(only_grad(self.first, a)) + sum(only_grad(self.second, b))
    }
}

/// Zero, with the gradient `d` of each element of x that is finite.
#[network]
fn only_grad(x: Tensor, d: Tensor) -> Tensor {
    select(isinf(x), 0.0, (x - stop_gradient(x)) * d)
}

/// A gradient of ones, but for one element.
fn gradient(at: usize, x: f32) -> (Tensor, Tensor) {
    let mut b = vec![1.0; 40];
    b[at] = x;
    (Tensor::new([3], [1.0; 3]).unwrap(), Tensor::new([40], b).unwrap())
}

fn all(model: &Model<Given>) -> Vec<f32> {
    ["first", "second", "seen"].iter().flat_map(|name| model.get(name).unwrap().data().to_vec()).collect()
}

/// A rule of one's own: a function of weight, gradient, state and rate.
#[derive(Clone, Copy)]
struct Own(fn(&mut Stage, [Value; 4]) -> (Value, Value));

impl Optimizer for Own {
    fn state(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn numbers(&self) -> usize {
        1
    }

    fn at(&self, _: u64, lr: f32, numbers: &mut [f32]) {
        numbers[0] = lr;
    }

    fn lr(&self) -> f32 {
        0.1
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let (weight, state) = self.0(g, [weight, grad, state[0], numbers[0]]);
        Updated { weight, state: vec![state] }
    }
}

#[network]
fn newton(weight: Tensor, grad: Tensor, memory: Tensor, lr: Tensor) -> (Tensor, Tensor) {
    (weight - lr / grad, memory + 1.0)
}

#[network]
fn logarithms(weight: Tensor, grad: Tensor, memory: Tensor, lr: Tensor) -> (Tensor, Tensor) {
    (weight - lr * grad, memory + log(grad))
}

#[network]
fn exponentials(weight: Tensor, grad: Tensor, memory: Tensor, lr: Tensor) -> (Tensor, Tensor) {
    (weight - lr * grad, 0.5 * memory + exp(grad))
}

#[network]
fn bounded(weight: Tensor, grad: Tensor, memory: Tensor, lr: Tensor) -> (Tensor, Tensor) {
    (weight - lr * tanh(grad), 0.5 * memory + grad)
}

/// Takes a step by each bad gradient, and others around it: whatever is refused has changed nothing.
fn refuses(rule: Own, bad: &[f32], expected: (&str, &str, f32)) -> Result<()> {
    for &x in bad {
        let (mut model, mut other) = (Given::init(0), Given::init(0));
        let mut steps = [Step::new(&model, Given::loss, rule)?, Step::new(&other, Given::loss, rule)?];
        let [step, straight] = &mut steps;
        for at in [0, 7, 39] {
            let (a, b) = gradient(at, 0.5);
            step.run(&mut model, (&a, &b))?;
            straight.run(&mut other, (&a, &b))?;
            let ((a, b), steps) = (gradient(at, x), step.steps());
            let error = step.run(&mut model, (&a, &b)).unwrap_err();
            let Error::NotFiniteState { state, parameter, value, step: number, epoch: 0 } = &error else {
                panic!("{error}")
            };
            assert_eq!((*state, &**parameter, *number), (expected.0, expected.1, steps + 1));
            assert!(*value == expected.2 || value.is_nan() && expected.2.is_nan(), "{error}");
            assert_eq!((all(&model), step.steps()), (all(&other), steps));
            // Also by micro-batches.
            step.accumulate(&mut model, (&a, &b))?;
            straight.accumulate(&mut other, (&a, &b))?;
            assert!(matches!(step.update(&mut model), Err(Error::NotFiniteState { .. })));
            straight.discard();
            assert_eq!(all(&model), all(&other));
        }
    }
    Ok(())
}

#[test]
fn a_rule_of_ones_own_that_makes_no_number() -> Result<()> {
    refuses(Own(|g, [w, d, m, lr]| newton::stage(g, w, d, m, lr)), &[0.0], ("weight", "second", -INF))?;
    refuses(Own(|g, [w, d, m, lr]| logarithms::stage(g, w, d, m, lr)), &[-1.0], ("memory", "second", f32::NAN))?;
    refuses(Own(|g, [w, d, m, lr]| logarithms::stage(g, w, d, m, lr)), &[0.0], ("memory", "second", -INF))?;
    refuses(Own(|g, [w, d, m, lr]| exponentials::stage(g, w, d, m, lr)), &[90.0, 1e20], ("memory", "second", INF))?;
    Ok(())
}

#[test]
fn a_rule_of_ones_own_that_stays_finite() -> Result<()> {
    let rule = Own(|g, [w, d, m, lr]| bounded::stage(g, w, d, m, lr));
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, rule)?;
    let mut expected = 1.0;
    for n in 0..20 {
        let (a, b) = gradient(5, n as f32);
        step.run(&mut model, (&a, &b))?;
        expected -= 0.1 * (n as f32).tanh();
        assert!((model.get("second")?.data()[5] - expected).abs() < 1e-5);
    }
    Ok(())
}

#[test]
fn the_first_parameter_is_named_and_frozen_ones_are_none() -> Result<()> {
    let rule = Own(|g, [w, d, m, lr]| newton::stage(g, w, d, m, lr));
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, rule)?;
    let (a, b) = (Tensor::new([3], [0.0; 3])?, Tensor::new([40], [0.0; 40])?);
    for (frozen, named) in [("first", "second"), ("second", "first")] {
        step.freeze(frozen)?;
        let error = step.run(&mut model, (&a, &b)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("weight of `{named}` became -inf at step 1;")), "{error}");
        step.unfreeze(frozen)?;
    }
    let error = step.run(&mut model, (&a, &b)).unwrap_err().to_string();
    assert!(error.starts_with("weight of `first` became -inf"), "{error}");
    assert_eq!(all(&model), [vec![1.0; 43], vec![0.0]].concat());
    Ok(())
}

/// A group whose rule divides by zero takes the others along.
#[test]
fn a_group_is_refused_with_all_others() -> Result<()> {
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, Own(|g, [w, d, m, lr]| bounded::stage(g, w, d, m, lr)))?;
    step.group("second", Own(|g, [w, d, m, lr]| newton::stage(g, w, d, m, lr)))?;
    let (a, b) = gradient(3, 0.0);
    assert!(step.run(&mut model, (&a, &b)).is_err());
    assert_eq!(all(&model), [vec![1.0; 43], vec![0.0]].concat());
    let (a, b) = gradient(3, 1.0);
    step.run(&mut model, (&a, &b))?;
    Ok(())
}

/// Weights whose decay has an infinite square.
#[test]
fn decay_of_very_large_weights() -> Result<()> {
    let (a, b) = gradient(0, 1.0);
    let large = Tensor::new([3], [1.0, 1e22, 1.0])?;
    let mut model = Given::init(0);
    model.set("first", &large)?;
    let mut step = Step::new(&model, Given::loss, Adam::new(0.1).weight_decay(0.01))?;
    let error = step.run(&mut model, (&a, &b)).unwrap_err();
    assert!(error.to_string().starts_with("exp_avg_sq of `first` became inf at step 1"), "{error}");
    assert_eq!((model.get("first")?, model.get("second")?), (large.clone(), Tensor::new([40], [1.0; 40])?));
    // Decoupled decay has no square.
    Step::new(&model, Given::loss, AdamW::new(0.1).weight_decay(0.01))?.run(&mut model, (&a, &b))?;
    Ok(())
}

/// What is known of weights does not hold for those that were set since, or for another model.
#[test]
fn weights_that_were_changed_in_between() -> Result<()> {
    let rule = Adam::new(1e-3).weight_decay(0.01);
    let (mut model, mut other) = (Given::init(0), Given::init(1));
    let mut step = Step::new(&model, Given::loss, rule)?;
    let (a, b) = gradient(0, 1.0);
    for _ in 0..3 {
        step.run(&mut model, (&a, &b))?;
        step.run(&mut other, (&a, &b))?;
    }
    let good = model.get("first")?;
    let large = Tensor::new([3], [1.0, 1e25, 1.0])?;
    model.set("first", &large)?;
    step.run(&mut other, (&a, &b))?;
    assert!(matches!(step.run(&mut model, (&a, &b)), Err(Error::NotFiniteState { .. })));
    assert_eq!(model.get("first")?, large);
    step.run(&mut other, (&a, &b))?;
    // By a file.
    let mut loaded = Given::init(0);
    step.run(&mut loaded, (&a, &b))?;
    let path = std::env::temp_dir().join(format!("downhill-updates-{}.safetensors", std::process::id()));
    model.save(&path)?;
    loaded.load(&path)?;
    std::fs::remove_file(&path).ok();
    assert!(matches!(step.run(&mut loaded, (&a, &b)), Err(Error::NotFiniteState { .. })));
    // By another step, while the first one foresees many more.
    model.set("first", &good)?;
    for _ in 0..3 {
        step.run(&mut model, (&a, &b))?;
    }
    Step::new(&model, Given::loss, Sgd::new(1e25))?.run(&mut model, (&a, &b))?;
    assert!(matches!(step.run(&mut model, (&a, &b)), Err(Error::NotFiniteState { .. })));
    Ok(())
}

/// A state that doubles with every step: all steps count for which there are numbers, and no other does.
#[test]
fn a_state_that_grows_without_end() -> Result<()> {
    let mut model = Given::init(0);
    let mut step = Step::new(&model, Given::loss, Sgd::new(0.0).momentum(2.0))?;
    let (a, b) = gradient(0, 1.0);
    let error = loop {
        if let Err(error) = step.run(&mut model, (&a, &b)) {
            break error;
        }
        assert!(step.steps() < 200);
    };
    // The sum of 2^i for i from 0 to 127 rounds to 2^128.
    assert_eq!(step.steps(), 127);
    assert!(error.to_string().starts_with("momentum_buffer of `first` became inf at step 128"), "{error}");
    assert_eq!(model.get("second")?.data(), [1.0; 40]);
    Ok(())
}

#[test]
fn what_is_infinite_from_the_start_may_stay_so() -> Result<()> {
    let mut model = Given::init(0);
    model.set("first", &Tensor::new([3], [-INF, 1.0, 1.0])?)?;
    let mut step = Step::new(&model, Given::loss, AdamW::new(0.1))?;
    let (a, b) = gradient(0, 1.0);
    step.run(&mut model, (&a, &b))?;
    assert_eq!(model.get("first")?.data()[0], -INF);
    // What becomes of it by a rule that takes it off is no number.
    let mut step = Step::new(&model, Given::loss, Adam::new(0.1).weight_decay(0.1))?;
    assert!(step.run(&mut model, (&a, &b)).is_err());
    Ok(())
}

/// The number of a rule, its rate, two settings of any size, and two shares.
type Settings = (usize, f32, f32, f32, f32, f32);

fn settings() -> impl Strategy<Value = Settings> {
    let setting = prop::sample::select(vec![0.0, 1e-8, 1e-3, 0.1, 1.0, 1e10, 1e30]);
    let rate = prop::sample::select(vec![0.0, 1e-30, 1e-3, 0.1, 1.0, 1e5, 1e20, 3e38]);
    let share = prop::sample::select(vec![0.0, 0.5, 0.9, 0.999]);
    (0..12usize, rate, setting.clone(), setting, share.clone(), share)
}

fn rule((rule, lr, decay, eps, b1, b2): Settings) -> Box<dyn Optimizer> {
    match rule {
        0 => Box::new(Sgd::new(lr).weight_decay(decay)),
        1 => Box::new(Sgd::new(lr).weight_decay(decay).momentum(2.0 * b1)),
        2 => Box::new(Adam::new(lr).weight_decay(decay).eps(eps).betas(b1, b2)),
        3 => Box::new(AdamW::new(lr).weight_decay(decay).eps(eps).betas(b1, b2)),
        4 => Box::new(Adam::new(lr).weight_decay(decay).eps(eps).amsgrad(true)),
        5 => Box::new(NAdam::new(lr).weight_decay(decay).eps(eps)),
        6 => Box::new(RAdam::new(lr).weight_decay(decay).eps(eps)),
        7 => Box::new(Adamax::new(lr).weight_decay(decay).eps(eps)),
        8 => Box::new(Adagrad::new(lr).weight_decay(decay).eps(eps)),
        9 => Box::new(RmsProp::new(lr).weight_decay(decay).eps(eps).momentum(b1).centered(b2 > 0.5)),
        10 => Box::new(Adadelta::new(lr).weight_decay(decay).eps(eps).rho(b1)),
        _ => Box::new(Lion::new(lr).weight_decay(decay).betas(b1, b2)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the rule, its settings, weights and gradients are: a step leaves numbers, or all as it was.
    #[test]
    fn a_step_leaves_numbers(
        settings in settings(),
        weights in prop::collection::vec(prop::sample::select(vec![0.0, 1.0, -1e-20, 1e10, -1e20, 3e38]), 3),
        grads in prop::collection::vec(prop::sample::select(vec![0.0f32, 1e-30, -1e-10, 1.0, -30.0, 9e9, 1e15, -3e38]), 60),
    ) {
        let mut model = Given::init(0);
        model.set("first", &Tensor::new([3], weights).unwrap()).unwrap();
        // Settings that no update can have are refused.
        let Ok(mut step) = Step::new(&model, Given::loss, rule(settings)) else { return Ok(()) };
        let mut refused = 0;
        for n in 0..20 {
            let a = Tensor::new([3], &grads[3 * n..3 * n + 3]).unwrap();
            let (_, b) = gradient(n, grads[n]);
            let (before, steps) = (all(&model), step.steps());
            match step.run(&mut model, (&a, &b)) {
                Ok(_) => prop_assert!(all(&model).iter().all(|x| x.is_finite())),
                Err(error) => {
                    refused += 1;
                    prop_assert!(matches!(error, Error::NotFiniteState { .. } | Error::Setting { .. }), "{}", error);
                    prop_assert_eq!((all(&model), step.steps()), (before, steps));
                }
            }
        }
        prop_assert!(refused <= 20);
    }
}
