//! Means over a data set, without training.

use crate::data::{Batch, Batches, Dataset};
use crate::error::{Error, Result};
use crate::exec::Model;
use crate::network::{Function, Network};
use crate::tensor::Tensor;

/// The mean over the samples of a data set of a function that is a mean over those of a batch, such
/// as a loss or an accuracy; `batch_size` samples are computed at a time. Of a tuple it is the first.
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
    let (mut sums, mut samples) = (Vec::new(), 0.0);
    batches.start(0);
    while let Some(batch) = batches.next_batch()? {
        let share = batch.len() as f64;
        let values = values(model, functions, batch)?;
        sums.resize(values.len(), 0.0);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * f64::from(value));
        samples += share;
    }
    Ok(sums.into_iter().map(|sum| (sum / samples) as f32).collect())
}

/// Computes all functions of the first batch, to see that they can be.
pub(super) fn first<N: Network, D: Dataset>(
    model: &Model<N>,
    functions: &[Function<N>],
    batches: &mut Batches<'_, D>,
) -> Result<()> {
    batches.start(0);
    let Some(batch) = batches.next_batch()? else { return Ok(()) };
    values(model, functions, batch).map(drop)
}

/// What a loss and metrics give for a batch, and in between the single numbers behind the loss.
fn values<N: Network>(model: &Model<N>, functions: &[Function<N>], batch: &Batch) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    for (i, &function) in functions.iter().enumerate() {
        let results = model.call(function, batch)?;
        values.push(single(function, &results)?);
        if i == 0 {
            values.extend(numbers(&results[1..]));
        }
    }
    Ok(values)
}

/// The results that are single numbers.
pub(super) fn numbers(results: &[Tensor]) -> impl Iterator<Item = f32> {
    results.iter().filter_map(|result| result.item().ok())
}

/// The first result of a function, which must be a single number.
fn single<N: Network>(function: Function<N>, results: &[Tensor]) -> Result<f32> {
    match results {
        [result, ..] if result.data().len() == 1 => Ok(result.data()[0]),
        _ => {
            let shapes: Vec<String> = results.iter().map(|result| format!("{:?}", result.shape())).collect();
            Err(Error::NotALoss { function: function.name, found: shapes.join(", ") })
        }
    }
}
