//! Means over a data set, without training.

use crate::data::{Batch, Batches, Dataset};
use crate::error::{Error, Result};
use crate::exec::Model;
use crate::network::{Function, Network};
use crate::tensor::Tensor;

/// The mean over the samples of a data set of a function that is a mean over those of a batch, such
/// as a loss or an accuracy; `batch_size` samples are computed at a time. Of a tuple it is the first.
///
/// Each batch counts what it [weighs](crate::Step::weight): where some targets are ignored, the mean is over all that
/// are not, as if the data set were one batch.
///
/// # Errors
///
/// [`Error::Setting`] when `batch_size` is zero, [`Error::Data`] when there are no samples,
/// [`Error::NotALoss`] when the function does not give a single number, and those of
/// [`Model::call`].
///
/// ```
/// use downhill::prelude::*;
/// use downhill::train::evaluate;
///
/// #[network(sequential, loss = mse)]
/// struct Line {
///     #[layer(bias = false)]
///     line: Linear<1, 1>,
/// }
///
/// let mut model = Line::init(0);
/// model.set("line.weight", &Tensor::new([1, 1], [1.0])?)?;
/// let data = (Tensor::new([3, 1], [1.0, 2.0, 3.0])?, Tensor::new([3, 1], [1.0, 2.0, 6.0])?);
/// assert_eq!(evaluate(&model, Line::loss, &data, 2)?, 3.0);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn evaluate<N: Network>(
    model: &Model<N>,
    function: Function<N>,
    data: &impl Dataset,
    batch_size: usize,
) -> Result<f32> {
    let means = means(model, &[function], &mut Batches::new(data, batch_size)?)?;
    Ok(means.into_iter().next().unwrap_or_default())
}

/// The means over all samples of a loss, the single numbers behind it, and metrics.
pub(super) fn means<N: Network, D: Dataset>(
    model: &Model<N>,
    functions: &[Function<N>],
    batches: &mut Batches<'_, D>,
) -> Result<Vec<f32>> {
    let mut means: Vec<Mean> = Vec::new();
    batches.start(0);
    while let Some(batch) = batches.next_batch()? {
        let values = values(model, functions, batch)?;
        means.resize(values.len(), Mean::default());
        means.iter_mut().zip(values).for_each(|(mean, (value, weight))| mean.add(value, weight));
    }
    Ok(means.into_iter().map(|mean| mean.get() as f32).collect())
}

/// A weighted mean.
#[derive(Clone, Copy, Default)]
pub(super) struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Adds a value. One without weight adds nothing, although it is not a number as a rule.
    pub(super) fn add(&mut self, value: f32, weight: f64) {
        if weight != 0.0 {
            self.sum += weight * f64::from(value);
            self.weight += weight;
        }
    }

    /// The mean; not a number if it is of nothing.
    pub(super) fn get(self) -> f64 {
        self.sum / self.weight
    }
}

/// Computes all functions of the first batch, to see that they can be, and compiles them for the last one.
pub(super) fn first<N: Network, D: Dataset>(
    model: &Model<N>,
    functions: &[Function<N>],
    batches: &mut Batches<'_, D>,
) -> Result<()> {
    batches.start(0);
    let Some(batch) = batches.next_batch()? else { return Ok(()) };
    values(model, functions, batch)?;
    match batches.last() {
        Some(last) => functions.iter().try_for_each(|&function| model.prepare(function, batches.blank(Some(last))?)),
        None => Ok(()),
    }
}

/// What a loss and metrics give for a batch, and in between the single numbers behind the loss.
/// Each has the weight of the batch in its mean.
fn values<N: Network>(model: &Model<N>, functions: &[Function<N>], batch: &Batch) -> Result<Vec<(f32, f64)>> {
    let mut values = Vec::new();
    for (i, &function) in functions.iter().enumerate() {
        let results = model.call_weighed(function, batch)?;
        values.push(single(function, &results)?);
        if i == 0 {
            values.extend(results[1..].iter().filter_map(number));
        }
    }
    Ok(values)
}

/// A result that is a single number.
fn number((result, weight): &(Tensor, f64)) -> Option<(f32, f64)> {
    result.item().ok().map(|number| (number, *weight))
}

/// The first result of a function, which must be a single number.
fn single<N: Network>(function: Function<N>, results: &[(Tensor, f64)]) -> Result<(f32, f64)> {
    match results.first().and_then(number) {
        Some(value) => Ok(value),
        None => {
            let shapes: Vec<String> = results.iter().map(|(result, _)| format!("{:?}", result.shape())).collect();
            Err(Error::NotALoss { function: function.name, found: shapes.join(", ") })
        }
    }
}
