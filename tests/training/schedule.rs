//! Learning-rate schedules against PyTorch's, and in a training.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use downhill::Error;
use downhill::data::Batches;
use downhill::prelude::*;
use downhill::train::evaluate;
use serde_json::Value as Json;

#[test]
fn rates_of_pytorch() -> Result<()> {
    let golden: Json = serde_json::from_str(include_str!("../golden/optim.json"))?;
    let schedules = golden["schedules"].as_array().unwrap();
    assert_eq!(schedules.len(), 6);
    for entry in schedules {
        let name = entry["name"].as_str().unwrap();
        let schedule: Box<dyn Schedule> = match name {
            "StepLR" => Box::new(StepDecay::new(10, 0.5)),
            "ExponentialLR" => Box::new(ExponentialDecay::new(0.95)),
            "LinearLR" => Box::new(Ramp::new(0.1, 1.0, 10)),
            "CosineAnnealingLR" => Box::new(Cosine::new().steps(20).min(0.01)),
            "OneCycleLR" => Box::new(OneCycle::new().steps(41)),
            "Sequential_LinearLR_then_Cosine" => Box::new(Ramp::new(0.01, 1.0, 5).then(5, Cosine::new())),
            other => panic!("unknown schedule {other}"),
        };
        schedule.check()?;
        let rates = entry["lr"].as_array().unwrap();
        assert_eq!(rates.len(), 40);
        for (n, rate) in rates.iter().enumerate() {
            let (x, y) = (0.1 * f64::from(schedule.at(n as u64, 40)), rate.as_f64().unwrap());
            // A factor near zero has the rounding of the numbers it is a difference of.
            assert!((x - y).abs() <= 2e-6 * y + 1e-9, "{name} at {n}: {x}, expected {y}");
        }
    }
    Ok(())
}

#[test]
fn settings_out_of_range() {
    let refused = |result: downhill::Result<()>, name: &str| match result {
        Err(Error::Setting { setting, .. }) => assert_eq!(setting, name),
        other => panic!("{name}: {other:?}"),
    };
    refused(Constant::new(-1.0).check(), "factor");
    refused(Ramp::new(f32::NAN, 1.0, 5).check(), "from");
    refused(Ramp::new(0.0, f32::INFINITY, 5).check(), "to");
    refused(StepDecay::new(0, 0.5).check(), "steps");
    refused(StepDecay::new(1, -0.5).check(), "gamma");
    refused(ExponentialDecay::new(1.5).check(), "gamma");
    refused(PolynomialDecay::new().power(-1.0).check(), "power");
    refused(PolynomialDecay::new().steps(0).check(), "steps");
    refused(Cosine::new().min(2.0).check(), "min");
    refused(Cosine::new().steps(0).warmup(5).check(), "steps");
    refused(CosineRestarts::new(0).check(), "steps");
    refused(CosineRestarts::new(5).growth(0).check(), "growth");
    refused(OneCycle::new().rise(f32::NAN).check(), "rise");
    refused(OneCycle::new().start(-0.1).then(5, Constant::new(1.0)).check(), "start");
}

/// Every schedule has a factor from 0 to 1 at every step, also past its end and for no steps at all.
#[test]
fn factors_stay_in_range() {
    let schedules: [Box<dyn Schedule>; 7] = [
        Box::new(Cosine::new().warmup(3)),
        Box::new(CosineRestarts::new(3).growth(3).min(0.2)),
        Box::new(CosineRestarts::new(7)),
        Box::new(OneCycle::new().warmup(0)),
        Box::new(OneCycle::new().rise(0.0)),
        Box::new(OneCycle::new().rise(1.0)),
        Box::new(PolynomialDecay::new().power(0.5)),
    ];
    for (i, schedule) in schedules.iter().enumerate() {
        for total in [0, 1, 2, 10] {
            for step in (0..30).chain([u64::MAX]) {
                let factor = schedule.at(step, total);
                assert!((0.0..=1.0).contains(&factor), "schedule {i} at {step} of {total}: {factor}");
            }
        }
    }
}

#[network(sequential, loss = mse)]
pub struct Line {
    line: Linear<1, 1>,
}

fn data() -> (Tensor, Tensor) {
    let x: Vec<f32> = (0..10).map(|i| i as f32 / 10.0).collect();
    (Tensor::new([10, 1], x.clone()).unwrap(), Tensor::new([10, 1], x).unwrap())
}

#[test]
fn a_trainer_does_what_a_loop_does() -> Result<()> {
    let schedule = Cosine::new().min(0.1).warmup(3);
    let data = data();
    let mut model = Line::init(0);
    let mut trainer = Trainer::new(&mut model, Line::loss).optimizer(Sgd::new(0.5)).batch_size(4).schedule(schedule);
    trainer = trainer.epochs(Epochs(3));
    trainer.fit(&data, &(), Epochs(2))?;
    trainer.fit(&data, &(), Epochs(1))?;

    let mut other = Line::init(0);
    let mut step = Step::new(&other, Line::loss, Sgd::new(0.5))?;
    let mut batches = Batches::new(&data, 4)?.shuffled(0);
    for epoch in 0..3 {
        batches.start(epoch);
        while let Some(batch) = batches.next_batch()? {
            step.set_lr(0.5 * schedule.at(step.steps(), 9))?;
            step.run(&mut other, batch)?;
        }
    }
    assert_eq!(model.get("line.weight")?, other.get("line.weight")?);
    Ok(())
}

#[test]
fn what_a_trainer_refuses() -> Result<()> {
    let data = data();
    let mut model = Line::init(0);
    let before = model.get("line.weight")?;
    let mut error = |schedule: Box<dyn Fn(u64, u64) -> f32 + Send + Sync>| {
        let mut trainer = Trainer::new(&mut model, Line::loss).schedule(schedule);
        trainer.fit(&data, &(), Epochs(1)).unwrap_err().to_string()
    };
    let nan = error(Box::new(|_, _| f32::NAN));
    assert_eq!(nan, "schedule: expected a finite factor of at least 0, found NaN at step 1");
    let mut trainer = Trainer::new(&mut model, Line::loss).schedule(Cosine::new().steps(0));
    let steps = trainer.fit(&data, &(), Epochs(1)).unwrap_err().to_string();
    assert_eq!(steps, "steps: expected at least 1, found 0");
    assert_eq!(model.get("line.weight")?, before);
    Ok(())
}

/// The factors that a trainer asked a schedule for.
#[derive(Clone, Default)]
struct Spy(Arc<Mutex<Vec<(u64, u64)>>>);

impl Spy {
    /// What was asked for during steps since the last call, each once.
    fn asked(&self) -> Vec<(u64, u64)> {
        let mut asked = std::mem::take(&mut *self.0.lock().unwrap());
        asked.dedup();
        asked
    }
}

impl Schedule for Spy {
    fn at(&self, step: u64, total: u64) -> f32 {
        self.0.lock().unwrap().push((step, total));
        Cosine::new().at(step, total)
    }
}

#[test]
fn epoch_by_epoch_is_one_schedule() -> Result<()> {
    let (data, spy) = (data(), Spy::default());
    let (mut whole, mut parts) = (Line::init(0), Line::init(0));
    let trainer = Trainer::new(&mut whole, Line::loss).optimizer(Sgd::new(0.5)).batch_size(4).progress(false);
    trainer.schedule(spy.clone()).fit(&data, &(), Epochs(5))?;
    let expected = spy.asked();
    assert_eq!(expected, (0..15).map(|step| (step, 15)).collect::<Vec<_>>());

    let trainer = Trainer::new(&mut parts, Line::loss).optimizer(Sgd::new(0.5)).batch_size(4).progress(false);
    let mut trainer = trainer.schedule(spy.clone()).epochs(5);
    for epoch in 0..5 {
        trainer.fit(&data, &data, Epochs(1))?;
        evaluate(trainer.model(), Line::loss, &data, 4)?;
        assert_eq!(spy.asked(), expected[3 * epoch..3 * epoch + 3]);
    }
    assert_eq!(whole.get("line.weight")?, parts.get("line.weight")?);
    Ok(())
}

#[test]
fn a_schedule_that_has_ended_does_not_begin_anew() -> Result<()> {
    let data = data();
    let ended = |trainer: &mut Trainer<'_, Line>| {
        let error = trainer.fit(&data, &(), Epochs(1)).unwrap_err();
        assert!(matches!(error, Error::Setting { setting: "schedule", .. }), "{error}");
        error.to_string()
    };
    for whole in [false, true] {
        let mut model = Line::init(0);
        let mut trainer = Trainer::new(&mut model, Line::loss).batch_size(4).progress(false).schedule(Cosine::new());
        if whole {
            trainer = trainer.epochs(Epochs(1));
        }
        trainer.fit(&data, &(), Epochs(1))?;
        let weight = trainer.model().get("line.weight")?;
        let expected = "schedule: expected a length for all calls of `fit`, by `Trainer::epochs` or in steps of its own, \
                        found one that ended at step 3, and steps up to 6";
        assert_eq!(ended(&mut trainer), expected);
        // Asked again it is refused again, and nothing was trained.
        ended(&mut trainer);
        assert_eq!(trainer.model().get("line.weight")?, weight);
        assert_eq!(trainer.steps(), 3);
        // More epochs, or another schedule, and it goes on.
        let mut trainer = if whole { trainer.epochs(2) } else { trainer.schedule(OneCycle::new()) };
        trainer.fit(&data, &(), Epochs(1))?;
        assert_eq!(trainer.steps(), 6);
        ended(&mut trainer);
    }
    Ok(())
}

/// What does not depend on the number of all steps has no end.
#[test]
fn schedules_without_an_end() -> Result<()> {
    fn four_times(schedule: impl Schedule + 'static) -> Result<()> {
        let (data, mut model) = (data(), Line::init(0));
        let mut trainer = Trainer::new(&mut model, Line::loss).batch_size(4).progress(false).schedule(schedule);
        (0..4).try_for_each(|_| Ok(trainer.fit(&data, &(), Epochs(1)).map(drop)?))
    }
    four_times(Constant::new(0.5).warmup(2))?;
    four_times(StepDecay::new(2, 0.5))?;
    four_times(Cosine::new().steps(5))?;
    four_times(CosineRestarts::new(2))?;
    four_times(|n: u64, _: u64| 1.0 / (n + 1) as f32)
}

#[test]
fn the_last_epoch_is_the_end_whatever_the_data() -> Result<()> {
    let (x, y) = data();
    let half = (Tensor::new([5, 1], &x.data()[..5])?, Tensor::new([5, 1], &y.data()[..5])?);
    let (data, spy) = ((x, y), Spy::default());
    let mut model = Line::init(0);
    let trainer = Trainer::new(&mut model, Line::loss).batch_size(5).progress(false).accumulate(2);
    let mut trainer = trainer.schedule(spy.clone()).epochs(3);
    // One step an epoch of two batches, and one of one batch.
    trainer.fit(&data, &(), Epochs(1))?;
    assert_eq!(spy.asked(), [(0, 3)]);
    trainer = trainer.accumulate(1);
    trainer.fit(&data, &(), Epochs(1))?;
    assert_eq!(spy.asked(), [(1, 5), (2, 5)]);
    trainer.fit(&half, &(), Epochs(1))?;
    assert_eq!(spy.asked(), [(3, 4)]);
    // Steps of an optimizer before count as taken.
    let mut trainer = trainer.epochs(4).optimizer(Sgd::new(0.1));
    trainer.fit(&half, &(), Epochs(1))?;
    assert_eq!(spy.asked(), [(4, 5)]);
    assert_eq!(trainer.steps(), 5);
    Ok(())
}

/// An error in an epoch does not lose the place in the schedule, nor does the epoch that is begun again end it early.
#[test]
fn an_epoch_that_failed() -> Result<()> {
    let ((x, y), spy) = (data(), Spy::default());
    let mut bad = x.clone();
    bad.data_mut()[3] = f32::NAN;
    let mut model = Line::init(0);
    let mut trainer = Trainer::new(&mut model, Line::loss).batch_size(2).progress(false).schedule(spy.clone());
    assert!(trainer.fit(&(bad, y.clone()), &(), Epochs(2)).is_err());
    let taken = trainer.steps();
    assert!(taken < 5);
    spy.asked();
    trainer.fit(&(x, y), &(), Epochs(2))?;
    let asked: Vec<u64> = spy.asked().into_iter().filter(|(_, total)| *total == 10).map(|(step, _)| step).collect();
    assert_eq!(asked, (taken..taken + 10).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn rates_that_are_none_are_refused() -> Result<()> {
    let mut model = Line::init(0);
    let mut step = Step::new(&model, Line::loss, Sgd::new(1e-3))?;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1] {
        let error = step.set_lr(bad).unwrap_err().to_string();
        assert_eq!(error, format!("lr: expected a finite number of at least 0, found {bad}"));
    }
    // That of a group is in proportion.
    step.group("line.bias", Sgd::new(1.0))?;
    assert!(step.set_lr(1e37).is_err());
    step.set_lr(1e-3)?;
    let x = Tensor::new([1, 1], [1.0])?;
    let before = model.get("line.weight")?;
    step.run(&mut model, (&x, &x))?;
    assert_ne!(model.get("line.weight")?, before);
    // A rate that the schedule makes too large, at its step.
    let mut trainer = Trainer::new(&mut model, Line::loss).optimizer(Sgd::new(1e-30)).batch_size(10);
    trainer = trainer.progress(false).schedule(|n: u64, _: u64| if n == 2 { -1.0 } else { 1.0 });
    let error = trainer.fit(&data(), &(), Epochs(4)).unwrap_err().to_string();
    assert_eq!(error, "schedule: expected a finite factor of at least 0, found -1 at step 3");
    assert_eq!(trainer.steps(), 2);
    // Weight decay times the rate is no finite number.
    let rule = AdamW::new(1e30).weight_decay(1e30);
    let mut step = Step::new(&Line::init(0), Line::loss, rule)?;
    let (mut model, kept) = (Line::init(0), Line::init(0).get("line.weight")?);
    let error = step.run(&mut model, (&x, &x)).unwrap_err().to_string();
    assert!(error.starts_with("lr: expected a rate by which"), "{error}");
    assert_eq!(model.get("line.weight")?, kept);
    Ok(())
}
