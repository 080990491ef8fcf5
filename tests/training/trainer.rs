//! The trainer: it learns, measures, reports, and stops where it should.

use anyhow::Result;
use downhill::Error;
use downhill::data::{Batches, split};
use downhill::prelude::*;
use downhill::train::evaluate;

/// Two classes of points.
#[network]
pub struct Net {
    hidden: Linear<2, 8>,
    out: Linear<8, 2>,
}

#[network]
impl Net {
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.out(tanh(self.hidden(x)))
    }

    pub fn loss(&self, x: Tensor<B, 2>, targets: Index<B>) -> Tensor {
        cross_entropy(self.forward(x), targets)
    }

    pub fn accuracy(&self, x: Tensor<B, 2>, targets: Index<B>) -> Tensor {
        accuracy(self.forward(x), targets)
    }

    pub fn both(&self, x: Tensor<B, 2>, targets: Index<B>) -> Tensor<B, 2> {
        self.forward(x) + 0.0 * cross_entropy(self.forward(x), targets)
    }
}

/// Points inside and outside of a circle.
fn circle(n: usize) -> (Tensor, Index) {
    let (mut x, mut y) = (vec![], vec![]);
    for i in 0..n {
        let (radius, angle) = (if i % 2 == 0 { 0.4 } else { 1.2 }, i as f32 * 0.7);
        x.extend([radius * angle.cos(), radius * angle.sin()]);
        y.push((i % 2) as i32);
    }
    (Tensor::new([n, 2], x).unwrap(), Index::new([n], y).unwrap())
}

fn weights(model: &Model<Net>) -> Vec<Tensor> {
    model.params().map(|p| model.get(p.name).unwrap()).collect()
}

#[test]
fn it_learns_and_reports() -> Result<()> {
    let data = circle(75);
    let (train, valid) = split(&data, 0.8, 1)?;
    let mut model = Net::init(0);
    let mut trainer = Trainer::new(&mut model, Net::loss)
        .optimizer(Adam::new(0.05))
        .batch_size(8)
        .seed(1)
        .metric("accuracy", Net::accuracy)
        .progress(false);
    let report = trainer.fit(&train, &valid, Epochs(30))?;
    assert_eq!(trainer.steps(), 30 * 8);
    assert_eq!(report.epochs.len(), 30);
    assert_eq!(report.metric("accuracy"), Some(1.0), "{report}");
    let (first, last) = (&report.epochs[0], report.last().unwrap());
    assert!(last.train_loss < 0.1 * first.train_loss, "{report}");
    assert!(first.samples_per_second > 0.0 && first.seconds > 0.0);
    let table = report.to_string();
    assert_eq!(table.lines().count(), 31);
    assert!(table.starts_with("epoch  train loss  valid loss  accuracy"), "{table}");
    Ok(())
}

#[test]
fn validation_is_the_mean_over_samples() -> Result<()> {
    let data = circle(10);
    let mut model = Net::init(3);
    // Batches of 4, 4 and 2: the short one counts half.
    let mut trainer =
        Trainer::new(&mut model, Net::loss).batch_size(4).metric("accuracy", Net::accuracy).optimizer(Sgd::new(0.0));
    let report = trainer.fit(&data, &data, Epochs(1))?;
    let whole = model.call(Net::loss, (&data.0, &data.1))?.remove(0).item()?;
    let epoch = report.last().unwrap();
    assert!((epoch.valid_loss.unwrap() - whole).abs() < 1e-6);
    assert!((epoch.train_loss - whole).abs() < 1e-6);
    let accuracy = model.call(Net::accuracy, (&data.0, &data.1))?.remove(0).item()?;
    assert!((epoch.metrics[0] - accuracy).abs() < 1e-6);
    assert!((evaluate(&model, Net::loss, &data, 3)? - whole).abs() < 1e-6);
    Ok(())
}

#[test]
fn a_trainer_does_what_a_loop_does() -> Result<()> {
    let data = circle(21);
    let mut model = Net::init(0);
    Trainer::new(&mut model, Net::loss).optimizer(Sgd::new(0.1).momentum(0.9)).batch_size(4).seed(5).fit(
        &data,
        &(),
        Epochs(3),
    )?;

    let mut other = Net::init(0);
    let mut step = Step::new(&other, Net::loss, Sgd::new(0.1).momentum(0.9))?;
    let mut batches = Batches::new(&data, 4)?.shuffled(5);
    for epoch in 0..3 {
        batches.start(epoch);
        while let Some(batch) = batches.next_batch()? {
            step.run(&mut other, batch)?;
        }
    }
    assert_eq!(weights(&model), weights(&other));
    Ok(())
}

#[test]
fn another_fit_goes_on() -> Result<()> {
    let data = circle(21);
    let rule = Adam::new(0.01);
    let mut whole = Net::init(0);
    Trainer::new(&mut whole, Net::loss).optimizer(rule).batch_size(4).fit(&data, &(), Epochs(4))?;
    let mut halves = Net::init(0);
    let mut trainer = Trainer::new(&mut halves, Net::loss).optimizer(rule).batch_size(4);
    trainer.fit(&data, &(), Epochs(2))?;
    let report = trainer.fit(&data, &(), Epochs(2))?;
    assert_eq!(report.epochs.iter().map(|e| e.epoch).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(weights(&halves), weights(&whole));
    Ok(())
}

#[test]
fn a_loss_that_is_no_number_stops() -> Result<()> {
    let (mut x, y) = circle(12);
    let mut model = Net::init(0);
    x.data_mut()[9] = f32::NAN;
    let data = (x, y);
    let mut trainer = Trainer::new(&mut model, Net::loss).optimizer(Sgd::new(0.1)).batch_size(12);
    let error = trainer.fit(&data, &(), Epochs(3)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 1, epoch: 1, .. }), "{error}");
    assert_eq!(weights(&model), weights(&Net::init(0)));

    // A learning rate so large that the second step leaves the numbers there are.
    let data = circle(12);
    let mut trainer = Trainer::new(&mut model, Net::loss).optimizer(Sgd::new(f32::MAX)).batch_size(6);
    let error = trainer.fit(&data, &(), Epochs(9)).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 2.., epoch: 1.., .. }), "{error}");
    assert!(error.to_string().contains("at step") && error.to_string().contains("(epoch "), "{error}");
    Ok(())
}

#[test]
fn what_is_refused_before_the_first_step() -> Result<()> {
    let data = circle(12);
    let mut model = Net::init(0);
    let before = weights(&model);
    let mut error = |change: &dyn Fn(Trainer<'_, Net>) -> downhill::Result<Report>| {
        change(Trainer::new(&mut model, Net::loss)).unwrap_err().to_string()
    };
    let fit = |mut trainer: Trainer<'_, Net>| trainer.fit(&data, &data, Epochs(1));
    assert_eq!(error(&|t| fit(t.batch_size(0))), "batch_size: expected at least 1, found 0");
    let lr = error(&|t| fit(t.optimizer(Sgd::new(f32::NAN))));
    assert_eq!(lr, "lr: expected a finite number of at least 0, found NaN");
    let metric = error(&|t| fit(t.metric("both", Net::both)));
    assert_eq!(metric, "Net::both gives [12, 2], a loss or metric is a single number");
    let empty = circle(0);
    assert_eq!(error(&|mut t| t.fit(&empty, &data, Epochs(1))), "the data set: has no samples");
    let columns = error(&|mut t| t.fit(&(&data.0,), &(), Epochs(1)));
    assert_eq!(columns, "Net::loss takes 2 inputs (x, targets), 1 were given");
    let mut wrong = data.clone();
    wrong.1.data_mut()[3] = 2;
    let label = error(&|mut t| t.fit(&data, &wrong, Epochs(1)));
    assert_eq!(label, "Net::loss: `targets` holds 2 at position 3, expected 0 to 1");
    assert_eq!(weights(&model), before);
    Ok(())
}

/// Batch normalisation cannot train on one sample.
#[network(sequential, loss = mse)]
pub struct Normed {
    a: Linear<3, 4>,
    norm: BatchNorm1d<4>,
    b: Linear<4, 1>,
}

fn normed_data(n: usize) -> (Tensor, Tensor) {
    let x = (0..3 * n).map(|i| (i as f32).sin()).collect::<Vec<_>>();
    (Tensor::new([n, 3], x).unwrap(), Tensor::new([n, 1], vec![0.5; n]).unwrap())
}

#[test]
fn a_last_batch_that_does_not_fit_is_noticed_before_the_first_step() -> Result<()> {
    let data = normed_data(9);
    for together in [1, 3] {
        let mut model = Normed::init(0);
        let names: Vec<String> = model.params().chain(model.states()).map(|p| p.name.into()).collect();
        let all = |model: &Model<Normed>| names.iter().map(|name| model.get(name).unwrap()).collect::<Vec<_>>();
        let before = all(&model);
        let mut trainer = Trainer::new(&mut model, Normed::loss).batch_size(4).accumulate(together).progress(false);
        let error = trainer.fit(&data, &data, Epochs(2)).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let expected = "batch normalisation: expected more than one value a channel while training; the last batch of an \
                        epoch has 1 of 9 samples: leave it out by `drop_last(true)`, or choose another batch_size than 4";
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(all(trainer.model()), before);
        // Two batches of four; validation takes all nine.
        let mut trainer = trainer.drop_last(true);
        let report = trainer.fit(&data, &data, Epochs(2))?;
        assert_eq!(trainer.steps(), if together == 1 { 4 } else { 2 });
        let valid = evaluate(trainer.model(), Normed::loss, &data, 9)?;
        assert!((report.last().unwrap().valid_loss.unwrap() - valid).abs() < 1e-6);
        // Sizes that leave two samples, or none.
        let mut trainer = trainer.drop_last(false).batch_size(7);
        trainer.fit(&data, &(), Epochs(1))?;
        trainer = trainer.batch_size(3);
        trainer.fit(&data, &(), Epochs(1))?;
    }
    Ok(())
}

#[test]
fn dropping_the_last_batch() -> Result<()> {
    let data = circle(10);
    let mut batches = Batches::new(&data, 4)?.drop_last(true);
    let mut sizes = |epoch| {
        batches.start(epoch);
        let mut sizes = vec![];
        while let Some(batch) = batches.next_batch()? {
            sizes.push(batch.len());
        }
        anyhow::Ok((sizes, batches.count()))
    };
    assert_eq!(sizes(0)?, (vec![4, 4], 2));
    assert_eq!(sizes(1)?, (vec![4, 4], 2));
    let mut model = Net::init(0);
    let mut trainer = Trainer::new(&mut model, Net::loss).batch_size(5).drop_last(true).progress(false);
    trainer.fit(&data, &(), Epochs(1))?;
    assert_eq!(trainer.steps(), 2, "nothing to drop");
    let mut trainer = trainer.batch_size(11);
    let error = trainer.fit(&data, &(), Epochs(1)).unwrap_err().to_string();
    assert_eq!(error, "the data set: has 10 samples, drop_last leaves no batch of 11");
    Ok(())
}
