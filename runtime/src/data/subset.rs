//! Parts of a data set.

use super::{Column, Dataset, Row, order};
use crate::error::{Error, Result};

/// Some samples of a data set; nothing is copied.
#[derive(Clone, Debug)]
pub struct Subset<'a, D> {
    data: &'a D,
    samples: Vec<usize>,
}

impl<'a, D: Dataset> Subset<'a, D> {
    /// The samples of these numbers, in this order.
    ///
    /// # Errors
    ///
    /// When one of them does not exist.
    ///
    /// ```
    /// use downhill::data::{Dataset, Subset};
    /// use downhill::Tensor;
    ///
    /// let data = (Tensor::new([10, 2], vec![0.0; 20])?,);
    /// assert_eq!(Subset::new(&data, 0..4)?.len(), 4);
    /// assert!(Subset::new(&data, [10]).is_err());
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn new(data: &'a D, samples: impl IntoIterator<Item = usize>) -> Result<Subset<'a, D>> {
        let (samples, len): (Vec<usize>, usize) = (samples.into_iter().collect(), data.len());
        match samples.iter().find(|&&sample| sample >= len) {
            Some(sample) => {
                let message = format!("has {len} samples, number {sample} was asked for");
                Err(Error::Data { source_name: "the data set".into(), message })
            }
            None => Ok(Subset { data, samples }),
        }
    }

    /// The numbers of the samples in the data set.
    pub fn samples(&self) -> &[usize] {
        &self.samples
    }
}

impl<D: Dataset> Dataset for Subset<'_, D> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn columns(&self) -> Result<Vec<Column>> {
        self.data.columns()
    }

    fn read(&self, sample: usize, row: &mut Row<'_>) -> Result<()> {
        match self.samples.get(sample) {
            Some(&sample) => self.data.read(sample, row),
            None => {
                let message = format!("has {} samples, number {sample} was asked for", self.samples.len());
                Err(Error::Data { source_name: "the subset".into(), message })
            }
        }
    }
}

/// Splits a data set at random: the first part has `fraction` of the samples, rounded, the second
/// the others. Which ones depends on `seed` alone.
///
/// # Errors
///
/// [`Error::Setting`] when `fraction` is not from 0 to 1; [`Error::Data`] when the columns do not
/// fit each other.
///
/// ```
/// use downhill::data::{Dataset, split};
/// use downhill::Tensor;
///
/// let data = (Tensor::new([10, 2], vec![0.0; 20])?,);
/// let (train, valid) = split(&data, 0.7, 1)?;
/// assert_eq!((train.len(), valid.len()), (7, 3));
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn split<D: Dataset>(data: &D, fraction: f64, seed: u64) -> Result<(Subset<'_, D>, Subset<'_, D>)> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::Setting { setting: "fraction", expected: "from 0 to 1", found: fraction.to_string() });
    }
    data.columns()?;
    let mut samples = order::in_order(data.len())?;
    order::shuffle(&mut samples, seed, order::Purpose::Split);
    let held_out = samples.split_off((fraction * samples.len() as f64).round() as usize);
    Ok((Subset { data, samples }, Subset { data, samples: held_out }))
}
