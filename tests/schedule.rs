//! Learning-rate schedules against PyTorch's, and in a training.

use anyhow::Result;
use downhill::Error;
use downhill::data::Batches;
use downhill::prelude::*;
use serde_json::Value as Json;

#[test]
fn rates_of_pytorch() -> Result<()> {
    let golden: Json = serde_json::from_str(include_str!("golden/optim.json"))?;
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
    trainer.fit(&data, &(), Epochs(2))?;
    trainer.fit(&data, &(), Epochs(1))?;

    let mut other = Line::init(0);
    let mut step = Step::new(&other, Line::loss, Sgd::new(0.5))?;
    let mut batches = Batches::new(&data, 4)?.shuffled(0);
    // Of the three epochs, the first call knew of two.
    for (epoch, total) in [(0, 6), (1, 6), (2, 9)] {
        batches.start(epoch);
        while let Some(batch) = batches.next_batch()? {
            step.set_lr(0.5 * schedule.at(step.steps(), total));
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
