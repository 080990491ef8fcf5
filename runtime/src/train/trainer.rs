//! The loop over epochs and batches.

use std::sync::Arc;
use std::time::Instant;

use super::evaluate::Mean;
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

impl From<u64> for Epochs {
    fn from(epochs: u64) -> Epochs {
        Epochs(epochs)
    }
}

/// Trains a model on a data set, epoch by epoch.
///
/// | setting | default |
/// |---|---|
/// | `optimizer` | `AdamW::new(1e-3)` |
/// | `schedule` | the same learning rate at all steps |
/// | `epochs` | those of the first `fit` |
/// | `group`, `freeze` | none |
/// | `clip_norm`, `clip_value` | no clipping |
/// | `batch_size` | 32 |
/// | `drop_last` | a last batch of fewer samples is trained on |
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
    /// How many epochs there will be over all calls of `fit`, where that was said.
    planned: Option<u64>,
    /// The step at which the schedule ends.
    total: Option<u64>,
    batch_size: usize,
    drop_last: bool,
    accumulate: usize,
    seed: u64,
    names: Vec<String>,
    metrics: Vec<Function<N>>,
    progress: Option<bool>,
    step: Option<Step<N>>,
    /// The steps that were taken with optimizers before this one.
    steps_before: u64,
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
            planned: None,
            total: None,
            batch_size: 32,
            drop_last: false,
            accumulate: 1,
            seed: 0,
            names: vec![],
            metrics: vec![],
            progress: None,
            step: None,
            steps_before: 0,
            epochs: 0,
        }
    }

    /// The update rule, with its state at zero.
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Self {
        self.rules.optimizer = Arc::new(optimizer);
        self.steps_before = self.steps();
        self.step = None;
        self
    }

    /// The factor of the optimizer's learning rate at every step. Steps are counted over all calls of `fit`. What has
    /// no length of its own ends with the [`epochs`](Trainer::epochs) that were told, or else with the first call of
    /// `fit` from here on. It never begins anew: a `fit` that goes on for an epoch or more after that end is refused
    /// if the schedule would be another by then.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Some(Box::new(schedule));
        self.total = None;
        self
    }

    /// How many epochs there will be over all calls of `fit`, for a [`schedule`](Trainer::schedule): where `fit` is
    /// called epoch by epoch, for example to stop early. `fit` may end before, and the data set may change its size
    /// between calls: the schedule then ends with the last epoch all the same.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Line {
    ///     line: Linear<1, 1>,
    /// }
    ///
    /// let x = Tensor::new([4, 1], [0.0, 1.0, 2.0, 3.0])?;
    /// let data = (x.clone(), x);
    /// let mut model = Line::init(0);
    /// let mut trainer = Trainer::new(&mut model, Line::loss).schedule(Cosine::new()).epochs(Epochs(20));
    /// let mut best = f32::INFINITY;
    /// for _ in 0..20 {
    ///     let loss = trainer.fit(&data, &data, Epochs(1))?.last().and_then(|epoch| epoch.valid_loss).unwrap();
    ///     if loss > best {
    ///         break;
    ///     }
    ///     best = loss;
    /// }
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn epochs(mut self, all: impl Into<Epochs>) -> Self {
        self.planned = Some(all.into().0);
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
    /// in the memory of one. The last step of an epoch may have fewer. Of targets with weights, or of which some are
    /// ignored, it is the mean over those that count; see [`Step::weight`].
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.accumulate = batches;
        self
    }

    /// Samples a batch. The last one of an epoch may be shorter.
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// Whether a last batch of fewer samples than the others is left out of each epoch of training, as PyTorch's
    /// `drop_last`: batch normalisation, for example, cannot train on a single sample. Validation takes all samples.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Net {
    ///     line: Linear<1, 2>,
    ///     norm: BatchNorm1d<2>,
    ///     out: Linear<2, 1>,
    /// }
    ///
    /// let x = Tensor::new([5, 1], [0.0, 1.0, 2.0, 3.0, 4.0])?;
    /// let data = (x.clone(), x);
    /// let mut model = Net::init(0);
    /// // Batches of 4 and 1.
    /// let mut trainer = Trainer::new(&mut model, Net::loss).batch_size(4);
    /// assert!(trainer.fit(&data, &(), Epochs(1)).unwrap_err().to_string().contains("drop_last"));
    /// trainer = trainer.drop_last(true);
    /// trainer.fit(&data, &(), Epochs(2))?;
    /// assert_eq!(trainer.steps(), 2);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn drop_last(mut self, drop: bool) -> Self {
        self.drop_last = drop;
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
    /// - [`Error::Setting`] for a setting out of its range and for a schedule that has ended, [`Error::Data`] for
    ///   data without samples or with columns of different lengths, and shape errors of the loss and the metrics, for
    ///   the last batch of an epoch too: all before the first step;
    /// - [`Error::IndexRange`] and errors of the data set when a batch has a bad sample;
    /// - [`Error::NotFinite`] when the loss of a step is infinite or not a number, and
    ///   [`Error::NotFiniteGrad`] when the gradient of a parameter is, or their norm where it is clipped by that. The
    ///   parameters are then those after the step before;
    /// - [`Error::NotFiniteState`] when a parameter or a state would become infinite or not a number.
    pub fn fit<T: Dataset, V: Dataset>(&mut self, train: &T, valid: &V, epochs: Epochs) -> Result<Report> {
        self.schedule.as_ref().map_or(Ok(()), |schedule| schedule.check())?;
        let mut batches = Batches::new(train, self.batch_size)?.drop_last(self.drop_last).shuffled(self.seed);
        if batches.count() == 0 {
            let message = format!("has {} samples, drop_last leaves no batch of {}", train.len(), self.batch_size);
            return Err(Error::Data { source_name: "the data set".into(), message });
        }
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
        let steps = batches.count().div_ceil(self.accumulate) as u64;
        let total = self.schedule_end(epochs.0, steps)?;
        self.prepare(&mut batches)?;
        let measured: Vec<Function<N>> = std::iter::once(self.loss).chain(self.metrics.iter().copied()).collect();
        if let Some(batches) = &mut held_out {
            // A metric that cannot be measured is noticed now, not after the first epoch.
            evaluate::first(self.model, &measured, batches)?;
        }
        let mut report = Report { metrics: self.metric_names(), epochs: vec![] };
        let last = self.epochs.saturating_add(epochs.0).max(self.planned.unwrap_or(0));
        let mut progress = Progress::new(self.progress, last, batches.count());
        self.total = Some(total);
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
                samples_per_second: batches.samples() as f64 / training,
                seconds: start.elapsed().as_secs_f64(),
            };
            report.metrics = self.metric_names();
            progress.end(&report.metrics, &epoch);
            report.epochs.push(epoch);
        }
        Ok(report)
    }

    /// The step at which the schedule ends, where a `fit` has `epochs` epochs of `steps` steps.
    fn schedule_end(&self, epochs: u64, steps: u64) -> Result<u64> {
        let taken = self.steps();
        let after = |epochs: u64| epochs.saturating_mul(steps).saturating_add(taken);
        let end = after(epochs);
        let left = self.planned.map(|planned| planned.saturating_sub(self.epochs));
        let total = match (left, self.total) {
            (Some(left), _) if left > 0 => after(left),
            (_, Some(total)) => total,
            (Some(_), None) => taken,
            (None, None) => end,
        };
        if let Some(schedule) = &self.schedule
            && end >= total.saturating_add(steps)
            && end > taken
        {
            let step = total.max(taken);
            if schedule.at(step, total).to_bits() != schedule.at(step, end).to_bits() {
                return Err(Error::Setting {
                    setting: "schedule",
                    expected: "a length for all calls of `fit`, by `Trainer::epochs` or in steps of its own",
                    found: format!("one that ended at step {total}, and steps up to {end}"),
                });
            }
        }
        Ok(total)
    }

    /// Compiles the step for the batches of an epoch, so that shapes that it refuses are noticed before the first step.
    fn prepare<T: Dataset>(&mut self, batches: &mut Batches<'_, T>) -> Result<()> {
        let Some(step) = &mut self.step else { return Ok(()) };
        step.prepare(self.model, batches.blank(None)?)?;
        let Some(last) = batches.last() else { return Ok(()) };
        let (samples, size) = (batches.samples(), self.batch_size);
        step.prepare(self.model, batches.blank(Some(last))?).map_err(|error| match error {
            Error::Shape { function, message } => Error::Shape {
                function,
                message: format!(
                    "{message}; the last batch of an epoch has {last} of {samples} samples: leave it out by \
                     `drop_last(true)`, or choose another batch_size than {size}"
                ),
            },
            other => other,
        })
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
        let (mut mean, mut samples, mut steps) = (Mean::default(), 0, 0);
        let mut means: Vec<Mean> = Vec::with_capacity(self.loss.outputs.len());
        let (together, count) = (self.accumulate as u64, batches.count() as u64);
        let start = Instant::now();
        progress.start(self.epochs + 1);
        batches.start(self.epochs);
        // What an epoch that failed has left.
        step.discard();
        while let Some(batch) = batches.next_batch()? {
            if let Some(schedule) = &self.schedule {
                let taken = self.steps_before + step.steps();
                step.set_lr(self.rules.optimizer.lr() * factor(&**schedule, taken, total)?)?;
            }
            let loss = if together == 1 {
                step.run(self.model, batch)
            } else {
                let loss = step.accumulate(self.model, batch);
                let complete = (steps + 1) % together == 0 || steps + 1 == count;
                loss.and_then(|loss| if complete { step.update(self.model).map(|()| loss) } else { Ok(loss) })
            };
            let loss = loss.map_err(|error| error.in_epoch(self.epochs + 1))?;
            samples += batch.len();
            steps += 1;
            mean.add(loss, step.weight());
            let outputs = step.outputs().iter().enumerate();
            let numbers = outputs.filter_map(|(i, output)| Some((output.item().ok()?, step.output_weight(i + 1))));
            means.resize(numbers.clone().count(), Mean::default());
            means.iter_mut().zip(numbers).for_each(|(mean, (number, weight))| mean.add(number, weight));
            progress.step(steps, mean.get(), samples, start);
        }
        Ok((mean.get() as f32, means.into_iter().map(|mean| mean.get() as f32).collect()))
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model<N> {
        self.model
    }

    /// The number of steps taken, over all calls of `fit`.
    pub fn steps(&self) -> u64 {
        self.steps_before + self.step.as_ref().map_or(0, Step::steps)
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
