//! The loop over epochs and batches.

use std::sync::Arc;
use std::time::Instant;

use super::progress::Progress;
use super::{Epoch, Report, evaluate};
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::exec::{Model, Rules, Step};
use crate::network::{Function, Network};
use crate::optim::{AdamW, Norm, Optimizer, Params, Schedule};

/// How long to train: passes over the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs(
    /// The number of passes.
    pub u64,
);

/// Trains a model on a data set, epoch by epoch.
///
/// | setting | default |
/// |---|---|
/// | `optimizer` | `AdamW::new(1e-3)` |
/// | `schedule` | the same learning rate at all steps |
/// | `group`, `freeze` | none |
/// | `clip_norm`, `clip_value` | no clipping |
/// | `batch_size` | 32 |
/// | `accumulate` | 1 batch a step |
/// | `seed` | 0 |
/// | `metric` | none |
/// | `progress` | shown where the standard error is a terminal |
///
/// The same seed, model and data give the same parameters, bit for bit.
///
/// ```
/// use downhill::data::split;
/// use downhill::prelude::*;
///
/// #[network(sequential, loss = mse)]
/// struct Line {
///     line: Linear<1, 1>,
/// }
///
/// let x: Vec<f32> = (0..50).map(|i| i as f32 / 50.0).collect();
/// let y: Vec<f32> = x.iter().map(|x| 2.0 * x + 1.0).collect();
/// let data = (Tensor::new([50, 1], x)?, Tensor::new([50, 1], y)?);
/// let (train, valid) = split(&data, 0.8, 1)?;
///
/// let mut model = Line::init(0);
/// let mut trainer = Trainer::new(&mut model, Line::loss).optimizer(Sgd::new(0.3)).batch_size(8).seed(1);
/// let report = trainer.fit(&train, &valid, Epochs(60))?;
/// assert!(report.last().unwrap().valid_loss.unwrap() < 1e-3, "{report}");
/// # Ok::<(), downhill::Error>(())
/// ```
pub struct Trainer<'m, N: Network> {
    model: &'m mut Model<N>,
    loss: Function<N>,
    rules: Rules,
    /// Whether the step does not know of the rules yet.
    changed: bool,
    schedule: Option<Box<dyn Schedule>>,
    batch_size: usize,
    accumulate: usize,
    seed: u64,
    names: Vec<String>,
    metrics: Vec<Function<N>>,
    progress: Option<bool>,
    step: Option<Step<N>>,
    epochs: u64,
}

impl<'m, N: Network> Trainer<'m, N> {
    /// A trainer that lowers `loss` of a model; it is compiled at the first step. If the function returns a
    /// tuple, the first is the loss; the others that are single numbers are metrics of the training, and of the
    /// validation.
    pub fn new(model: &'m mut Model<N>, loss: Function<N>) -> Trainer<'m, N> {
        Trainer {
            model,
            loss,
            rules: Rules::new(Arc::new(AdamW::new(1e-3))),
            changed: false,
            schedule: None,
            batch_size: 32,
            accumulate: 1,
            seed: 0,
            names: vec![],
            metrics: vec![],
            progress: None,
            step: None,
            epochs: 0,
        }
    }

    /// The update rule, with its state at zero.
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Self {
        self.rules.optimizer = Arc::new(optimizer);
        self.step = None;
        self
    }

    /// The factor of the optimizer's learning rate at every step. What has no length of its own ends
    /// with the steps of `fit`; the steps of calls before count as taken.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// Other settings of the same optimizer for some parameters; see [`Step::group`].
    ///
    /// ```
    /// use downhill::ParamInfo;
    /// use downhill::prelude::*;
    /// # #[network(sequential, loss = mse)]
    /// # struct Net { line: Linear<1, 1> }
    /// # let mut model = Net::init(0);
    ///
    /// let rule = AdamW::new(1e-3).weight_decay(0.1);
    /// let trainer = Trainer::new(&mut model, Net::loss)
    ///     .optimizer(rule)
    ///     .group(|p: ParamInfo| p.shape.len() < 2, rule.weight_decay(0.0))
    ///     .clip_norm(1.0);
    /// ```
    pub fn group(self, params: impl Params + 'static, optimizer: impl Optimizer + 'static) -> Self {
        self.change(|rules| rules.group(params, optimizer))
    }

    /// Keeps parameters as they are; see [`Step::freeze`]. Between calls of `fit` too.
    pub fn freeze(self, params: impl Params + 'static) -> Self {
        self.change(|rules| rules.freeze(params, true))
    }

    /// Trains parameters again that were frozen.
    pub fn unfreeze(self, params: impl Params + 'static) -> Self {
        self.change(|rules| rules.freeze(params, false))
    }

    /// Clips the gradient by its Euclidean norm; see [`Step::clip_norm`].
    pub fn clip_norm(self, max: f32) -> Self {
        self.change(|rules| rules.clip_norm = Some((Norm::L2, max)))
    }

    /// Clips each element of the gradient; see [`Step::clip_value`].
    pub fn clip_value(self, max: f32) -> Self {
        self.change(|rules| rules.clip_value = Some(max))
    }

    fn change(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self.changed = true;
        self
    }

    /// Batches a step: the gradient is the mean over the samples of all, as if they were one batch,
    /// in the memory of one. The last step of an epoch may have fewer.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.accumulate = batches;
        self
    }

    /// Samples a batch. The last one of an epoch may be shorter.
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// What the order of the samples depends on, together with the number of the epoch, and what
    /// `Dropout` drops.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A function of the same inputs as the loss that gives one number a batch, a mean over its
    /// samples such as `Net::accuracy`: it is measured on the validation data after each epoch.
    pub fn metric(mut self, name: impl Into<String>, metric: Function<N>) -> Self {
        self.names.push(name.into());
        self.metrics.push(metric);
        self
    }

    /// Whether to show progress on the standard error: a bar on a terminal, else one line an epoch.
    pub fn progress(mut self, shown: bool) -> Self {
        self.progress = Some(shown);
        self
    }

    /// Trains for some epochs, and measures the loss and the metrics on `valid` after each one.
    ///
    /// Every epoch takes each sample of `train` once, in an order that depends on the seed and the
    /// number of the epoch. Another call goes on where this one ended. `&()` stands for no
    /// validation data. After its first batches a step allocates nothing.
    ///
    /// # Errors
    ///
    /// - [`Error::Setting`] for a setting out of its range, [`Error::Data`] for data without
    ///   samples or with columns of different lengths, and shape errors of the loss and the metrics:
    ///   all before the first step;
    /// - [`Error::IndexRange`] and errors of the data set when a batch has a bad sample;
    /// - [`Error::NotFinite`] when the loss of a step is infinite or not a number, and
    ///   [`Error::NotFiniteGrad`] when the gradient of a parameter is, or their norm where it is clipped by that. The parameters
    ///   are then those after the step before.
    pub fn fit<T: Dataset, V: Dataset>(&mut self, train: &T, valid: &V, epochs: Epochs) -> Result<Report> {
        self.schedule.as_ref().map_or(Ok(()), |schedule| schedule.check())?;
        let mut batches = Batches::new(train, self.batch_size)?.shuffled(self.seed);
        let mut held_out = if valid.is_empty() { None } else { Some(Batches::new(valid, self.batch_size)?) };
        if self.accumulate == 0 {
            let (setting, expected) = ("accumulate", "at least 1");
            return Err(Error::Setting { setting, expected, found: "0".into() });
        }
        match &mut self.step {
            None => {
                let mut step = Step::with(self.model, self.loss, self.rules.clone())?;
                step.set_seed(self.seed);
                self.step = Some(step);
            }
            Some(step) if self.changed => step.set_rules(self.rules.clone())?,
            Some(_) => {}
        }
        self.changed = false;
        let measured: Vec<Function<N>> = std::iter::once(self.loss).chain(self.metrics.iter().copied()).collect();
        if let Some(batches) = &mut held_out {
            // A metric that cannot be measured is noticed now, not after the first epoch.
            evaluate::first(self.model, &measured, batches)?;
        }
        let mut report = Report { metrics: self.metric_names(), epochs: vec![] };
        let mut progress = Progress::new(self.progress, self.epochs.saturating_add(epochs.0), batches.count());
        let total =
            self.steps().saturating_add(epochs.0.saturating_mul(batches.count().div_ceil(self.accumulate) as u64));
        for _ in 0..epochs.0 {
            let start = Instant::now();
            let (train_loss, train_metrics) = self.epoch(&mut batches, total, &mut progress)?;
            let training = start.elapsed().as_secs_f64();
            let means = match &mut held_out {
                Some(batches) => evaluate::means(self.model, &measured, batches)?,
                None => vec![],
            };
            self.epochs += 1;
            let epoch = Epoch {
                epoch: self.epochs,
                train_loss,
                train_metrics,
                valid_loss: means.first().copied(),
                metrics: means.into_iter().skip(1).collect(),
                samples_per_second: train.len() as f64 / training,
                seconds: start.elapsed().as_secs_f64(),
            };
            report.metrics = self.metric_names();
            progress.end(&report.metrics, &epoch);
            report.epochs.push(epoch);
        }
        Ok(report)
    }

    /// The names of the metrics: those of single numbers that the last step gave behind the loss, then the
    /// trainer's own.
    fn metric_names(&self) -> Vec<String> {
        let outputs = self.step.as_ref().map_or(&[][..], Step::outputs);
        let names = self.loss.outputs.iter().skip(1).zip(outputs);
        let names = names.filter(|(_, output)| output.item().is_ok()).map(|(name, _)| (*name).to_owned());
        names.chain(self.names.iter().cloned()).collect()
    }

    /// One pass over the training data; gives the means over the samples of the loss and of the single
    /// numbers behind it. The schedule ends at step `total`.
    fn epoch<T: Dataset>(
        &mut self,
        batches: &mut Batches<'_, T>,
        total: u64,
        progress: &mut Progress,
    ) -> Result<(f32, Vec<f32>)> {
        let Some(step) = &mut self.step else { return Ok((0.0, vec![])) };
        let (mut sum, mut samples, mut steps) = (0.0, 0, 0);
        let mut sums: Vec<f64> = Vec::with_capacity(self.loss.outputs.len());
        let (together, count) = (self.accumulate as u64, batches.count() as u64);
        let start = Instant::now();
        progress.start(self.epochs + 1);
        batches.start(self.epochs);
        // What an epoch that failed has left.
        step.discard();
        while let Some(batch) = batches.next_batch()? {
            if let Some(schedule) = &self.schedule {
                step.set_lr(self.rules.optimizer.lr() * factor(&**schedule, step.steps(), total)?);
            }
            let loss = if together == 1 {
                step.run(self.model, batch)
            } else {
                let loss = step.accumulate_weighted(self.model, batch, batch.len() as f32);
                let complete = (steps + 1) % together == 0 || steps + 1 == count;
                loss.and_then(|loss| if complete { step.update(self.model).map(|()| loss) } else { Ok(loss) })
            };
            let loss = loss.map_err(|error| error.in_epoch(self.epochs + 1))?;
            samples += batch.len();
            steps += 1;
            sum += f64::from(loss) * batch.len() as f64;
            sums.resize(evaluate::numbers(step.outputs()).count(), 0.0);
            for (sum, number) in sums.iter_mut().zip(evaluate::numbers(step.outputs())) {
                *sum += f64::from(number) * batch.len() as f64;
            }
            progress.step(steps, sum / samples as f64, samples, start);
        }
        let mean = |sum: f64| (sum / samples as f64) as f32;
        Ok((mean(sum), sums.into_iter().map(mean).collect()))
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model<N> {
        self.model
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step.as_ref().map_or(0, Step::steps)
    }

    /// The kernels of the compiled step: what was fused, bytes, flops. Empty before the first step.
    pub fn explain(&self) -> String {
        self.step.as_ref().map(Step::explain).unwrap_or_default()
    }
}

/// The factor that a schedule gives, which for a closure may be any number.
fn factor(schedule: &dyn Schedule, step: u64, total: u64) -> Result<f32> {
    let factor = schedule.at(step, total);
    if factor.is_finite() && factor >= 0.0 {
        return Ok(factor);
    }
    Err(Error::Setting {
        setting: "schedule",
        expected: "a finite factor of at least 0",
        found: format!("{factor} at step {}", step + 1),
    })
}
