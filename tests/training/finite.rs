//! A gradient that is infinite or not a number refuses the step, as a loss does, and names the parameter.

use downhill::optim::Norm;
use downhill::prelude::*;
use downhill::{Error, Result};

/// A loss whose gradient is finite, infinite or no number as the inputs will have it.
#[network]
struct Net {
    #[init(ones)]
    first: Param<3>,
    #[init(ones)]
    second: Param<2>,
    #[init(zeros)]
    seen: State,
}

#[network]
impl Net {
    fn loss(&self, a: Tensor<3>, b: Tensor<2>) -> Tensor {
        if training() {
            self.seen += 1.0;
        }
        let roots = sum(sqrt(abs(self.second) * b));
        sum(self.first * a) + roots
    }
}

fn tensors(a: [f32; 3], b: [f32; 2]) -> (Tensor, Tensor) {
    (Tensor::new([3], a).unwrap(), Tensor::new([2], b).unwrap())
}

fn good() -> (Tensor, Tensor) {
    tensors([1.0, 2.0, 3.0], [1.0, 4.0])
}

/// The loss is finite; the root at zero has an infinite slope, which times zero is no number.
fn bad() -> (Tensor, Tensor) {
    tensors([1.0, 2.0, 3.0], [1.0, 0.0])
}

fn all(model: &Model<Net>) -> Vec<f32> {
    ["first", "second", "seen"].iter().flat_map(|name| model.get(name).unwrap().data().to_vec()).collect()
}

/// What another good step does tells what the optimizer keeps.
fn next(step: &mut Step<Net>, model: &mut Model<Net>) -> Result<Vec<f32>> {
    let (a, b) = good();
    step.run(model, (&a, &b))?;
    Ok(all(model))
}

fn rule() -> Adam {
    Adam::new(0.01)
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing() -> Result<()> {
    for clip in 0..5 {
        let (mut model, mut other) = (Net::init(0), Net::init(0));
        let mut steps = [Step::new(&model, Net::loss, rule())?, Step::new(&other, Net::loss, rule())?];
        for step in &mut steps {
            match clip {
                1 => step.clip_norm(1.0)?,
                2 => step.clip_norm_of(Norm::Max, 1.0)?,
                3 => step.clip_norm_of(Norm::L1, 1.0)?,
                4 => step.clip_value(1.0)?,
                _ => {}
            }
        }
        let [step, straight] = &mut steps;
        assert_eq!(next(step, &mut model)?, next(straight, &mut other)?);
        let before = all(&model);
        let (a, b) = bad();
        let error = step.run(&mut model, (&a, &b)).unwrap_err();
        let Error::NotFiniteGrad { parameter, value, step: 2, epoch: 0 } = &error else { panic!("{error}") };
        assert_eq!(parameter.as_deref(), Some("second"));
        assert!(value.is_nan());
        assert!(error.to_string().starts_with("the gradient of `second` became NaN at step 2; "), "{error}");
        assert_eq!((all(&model), step.steps()), (before, 1));
        assert_eq!(next(step, &mut model)?, next(straight, &mut other)?);
    }
    Ok(())
}

#[test]
fn of_several_the_first_is_named() -> Result<()> {
    #[network]
    struct Lengths {
        #[init(ones)]
        good: Param<2>,
        #[init(zeros)]
        first: Param<2>,
        #[init(zeros)]
        second: Param<2>,
    }
    #[network]
    impl Lengths {
        fn loss(&self) -> Tensor {
            sqrt(sum(self.second * self.second)) + sqrt(sum(self.first * self.first)) + sum(self.good)
        }
    }
    let mut model = Lengths::init(0);
    let error = Step::new(&model, Lengths::loss, rule())?.run(&mut model, ()).unwrap_err();
    assert!(error.to_string().starts_with("the gradient of `first` became NaN"), "{error}");
    assert_eq!(model.get("good")?.data(), [1.0; 2]);
    Ok(())
}

#[network(sequential, loss = mse)]
struct Line {
    out: Linear<4, 2>,
}

#[test]
fn a_finite_loss_with_an_infinite_gradient_is_refused() -> Result<()> {
    let mut model = Line::init(0);
    model.set("out.weight", &Tensor::new([2, 4], vec![1e-25; 8])?)?;
    model.set("out.bias", &Tensor::new([2], vec![1e15; 2])?)?;
    let (x, y) = (Tensor::new([2, 4], vec![3e30; 8])?, Tensor::new([2, 2], vec![0.0; 4])?);
    let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
    let error = step.run(&mut model, (&x, &y)).unwrap_err();
    assert!(error.to_string().starts_with("the gradient of `out.weight` became inf at step 1"), "{error}");
    assert_eq!(model.get("out.weight")?.data(), [1e-25; 8]);
    assert_eq!(model.get("out.bias")?.data(), [1e15; 2]);
    Ok(())
}

#[network]
struct Length {
    #[init(zeros)]
    w: Param<2>,
}

#[network]
impl Length {
    fn loss(&self) -> Tensor {
        sqrt(sum(self.w * self.w))
    }
}

#[test]
fn the_root_of_nothing_is_refused() -> Result<()> {
    let mut model = Length::init(0);
    let mut step = Step::new(&model, Length::loss, Sgd::new(0.1))?;
    assert!(matches!(step.run(&mut model, ()), Err(Error::NotFiniteGrad { parameter: Some(_), .. })));
    assert_eq!(model.get("w")?.data(), [0.0; 2]);
    Ok(())
}

#[test]
fn what_is_frozen_has_no_gradient_to_refuse() -> Result<()> {
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, rule())?;
    step.freeze("second")?;
    let (a, b) = bad();
    step.run(&mut model, (&a, &b))?;
    assert_eq!(model.get("second")?.data(), [1.0; 2]);
    step.unfreeze("second")?;
    assert!(step.run(&mut model, (&a, &b)).is_err());
    Ok(())
}

#[test]
fn a_group_is_refused_with_all_others() -> Result<()> {
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, rule())?;
    step.group("first", Adam::new(0.5))?;
    let before = all(&model);
    let (a, b) = bad();
    assert!(step.run(&mut model, (&a, &b)).is_err());
    assert_eq!(all(&model), before);
    Ok(())
}

#[test]
fn a_micro_batch_is_refused_alone() -> Result<()> {
    let (mut model, mut other) = (Net::init(0), Net::init(0));
    let mut steps = [Step::new(&model, Net::loss, rule())?, Step::new(&other, Net::loss, rule())?];
    let [step, straight] = &mut steps;
    let ((a, b), (c, d)) = (good(), bad());
    step.accumulate(&mut model, (&a, &b))?;
    let error = step.accumulate(&mut model, (&c, &d)).unwrap_err();
    assert!(matches!(error, Error::NotFiniteGrad { step: 1, .. }), "{error}");
    // A run that takes what was accumulated along is a micro-batch too.
    assert!(step.run(&mut model, (&c, &d)).is_err());
    step.accumulate(&mut model, (&a, &b))?;
    step.update(&mut model)?;
    for _ in 0..2 {
        straight.accumulate(&mut other, (&a, &b))?;
    }
    straight.update(&mut other)?;
    assert_eq!(all(&model), all(&other));
    Ok(())
}

#[test]
fn a_sum_of_micro_batches_that_is_too_large_is_refused() -> Result<()> {
    let mut model = Net::init(0);
    model.set("first", &Tensor::new([3], [1e-30; 3])?)?;
    let mut step = Step::new(&model, Net::loss, rule())?;
    let (a, b) = tensors([3e38, 0.0, 0.0], [1.0, 1.0]);
    step.accumulate(&mut model, (&a, &b))?;
    step.accumulate(&mut model, (&a, &b))?;
    let before = all(&model);
    let error = step.update(&mut model).unwrap_err();
    let Error::NotFiniteGrad { parameter, value, .. } = &error else { panic!("{error}") };
    assert_eq!((parameter.as_deref(), *value), (Some("first"), f32::INFINITY));
    assert_eq!(all(&model), before);
    Ok(())
}

#[test]
fn a_trainer_says_in_which_epoch() -> Result<()> {
    #[network]
    struct Root {
        #[init(ones)]
        w: Param,
    }
    #[network]
    impl Root {
        fn loss(&self, x: Tensor<B>, y: Tensor<B>) -> Tensor {
            mean(sqrt(abs(self.w) * x) + y)
        }
    }
    let mut model = Root::init(0);
    let data = (Tensor::new([4], [1.0, 1.0, 0.0, 1.0])?, Tensor::new([4], [0.0; 4])?);
    let mut trainer = Trainer::new(&mut model, Root::loss).optimizer(Sgd::new(0.0)).batch_size(4);
    let error = trainer.fit(&data, &(), Epochs(2)).unwrap_err();
    let Error::NotFiniteGrad { parameter, step: 1, epoch: 1, .. } = &error else { panic!("{error}") };
    assert_eq!(parameter.as_deref(), Some("w"));
    Ok(())
}

#[test]
fn every_place_of_a_large_gradient_is_looked_at() -> Result<()> {
    #[network]
    struct Wide {
        #[init(ones)]
        w: Param<5000>,
    }
    #[network]
    impl Wide {
        fn loss(&self, x: Tensor<5000>) -> Tensor {
            sum(select(x > 1.0, 0.0, self.w * x) + select(x > 1.0, log(self.w) * x, 0.0) * 1e10)
        }
    }
    let mut model = Wide::init(0);
    let mut step = Step::new(&model, Wide::loss, Sgd::new(0.0))?;
    for at in [0, 1, 15, 16, 1023, 1024, 3000, 4095, 4999] {
        let mut x = vec![0.5; 5000];
        step.run(&mut model, &Tensor::new([5000], x.clone())?)?;
        x[at] = 1e30;
        let error = step.run(&mut model, &Tensor::new([5000], x)?).unwrap_err();
        assert!(matches!(error, Error::NotFiniteGrad { .. }), "{at}: {error}");
    }
    Ok(())
}

#[test]
fn numbers_whose_sum_is_too_large_are_finite() -> Result<()> {
    let mut model = Net::init(0);
    model.set("first", &Tensor::new([3], [1e-30; 3])?)?;
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.0))?;
    let (a, b) = tensors([3e38, 3e38, 0.0], [1.0, 1.0]);
    step.run(&mut model, (&a, &b))?;
    Ok(())
}
