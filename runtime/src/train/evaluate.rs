//! Means over a data set, without training.

use crate::data::{Batch, Batches, Dataset};
use crate::error::{Error, Result};
use crate::exec::Model;
use crate::network::{Function, Network};

/// The mean over the samples of a data set of a function that is a mean over those of a batch, such
/// as a loss or an accuracy; `batch_size` samples are computed at a time.
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
    Ok(means.iter().sum())
}

/// The means of several functions over all samples.
pub(super) fn means<N: Network, D: Dataset>(
    model: &Model<N>,
    functions: &[Function<N>],
    batches: &mut Batches<'_, D>,
) -> Result<Vec<f32>> {
    let (mut sums, mut samples) = (vec![0.0; functions.len()], 0.0);
    batches.start(0);
    while let Some(batch) = batches.next_batch()? {
        let share = batch.len() as f64;
        for (sum, function) in sums.iter_mut().zip(functions) {
            *sum += share * f64::from(single(model, *function, batch)?);
        }
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
    functions.iter().try_for_each(|&function| single(model, function, batch).map(drop))
}

/// A function that must give a single number.
fn single<N: Network>(model: &Model<N>, function: Function<N>, batch: &Batch) -> Result<f32> {
    let results = model.call(function, batch)?;
    match &results[..] {
        [result] if result.data().len() == 1 => Ok(result.data()[0]),
        _ => {
            let shapes: Vec<String> = results.iter().map(|result| format!("{:?}", result.shape())).collect();
            Err(Error::NotALoss { function: function.name, found: shapes.join(", ") })
        }
    }
}
