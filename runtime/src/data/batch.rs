//! Batches: chosen samples side by side, in buffers that are used again and again.

use super::{Column, Dataset, order};
use crate::error::{Error, Result};
use crate::shape::DType;
use crate::tensor::{Input, Inputs};

/// Some samples of a data set, one row each: the inputs of a step.
#[derive(Clone, Debug)]
pub struct Batch {
    columns: Vec<Rows>,
    len: usize,
}

/// One column of a batch.
#[derive(Clone, Debug)]
struct Rows {
    /// The sizes, the number of samples first.
    shape: Vec<usize>,
    /// The elements of one sample.
    width: usize,
    data: Elements,
}

#[derive(Clone, Debug)]
enum Elements {
    Tensor(Vec<f32>),
    Index(Vec<i32>),
}

impl Batch {
    /// An empty batch with room for `capacity` samples of these columns.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for a column that is neither of numbers nor of whole numbers, or too large.
    pub fn new(columns: &[Column], capacity: usize) -> Result<Batch> {
        let rows = |(i, column): (usize, &Column)| {
            let refused = |message| Error::Data { source_name: format!("column {i}"), message };
            let width = column.shape.iter().try_fold(1, |product: usize, &size| product.checked_mul(size));
            let (Some(width), Some(room)) = (width, width.and_then(|width| width.checked_mul(capacity))) else {
                return Err(refused(format!("samples of {:?} are too large", column.shape)));
            };
            let data = match column.dtype {
                DType::F32 => Elements::Tensor(Vec::with_capacity(room)),
                DType::I32 => Elements::Index(Vec::with_capacity(room)),
                other => return Err(refused(format!("holds {}, expected Tensor or Index", other.name()))),
            };
            Ok(Rows { shape: [&[0], &column.shape[..]].concat(), width, data })
        };
        Ok(Batch { columns: columns.iter().enumerate().map(rows).collect::<Result<_>>()?, len: 0 })
    }

    /// Fills the batch with samples of a data set; allocates nothing up to its capacity.
    ///
    /// # Errors
    ///
    /// When a sample cannot be read.
    pub fn fill(&mut self, data: &impl Dataset, samples: &[usize]) -> Result<()> {
        self.len = samples.len();
        for rows in &mut self.columns {
            rows.shape[0] = samples.len();
            match &mut rows.data {
                Elements::Tensor(data) => data.resize(samples.len() * rows.width, 0.0),
                Elements::Index(data) => data.resize(samples.len() * rows.width, 0),
            }
        }
        samples.iter().enumerate().try_for_each(|(row, &sample)| data.read(sample, &mut Row { batch: self, row }))
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sizes of a column, the number of samples first; empty when there is no such column.
    pub fn shape(&self, column: usize) -> &[usize] {
        self.columns.get(column).map_or(&[], |rows| &rows.shape)
    }
}

impl Inputs for &Batch {
    fn count(&self) -> usize {
        self.columns.len()
    }

    fn input(&self, i: usize) -> Input<'_> {
        let Rows { shape, data, .. } = &self.columns[i];
        match data {
            Elements::Tensor(data) => Input::Tensor(shape, data),
            Elements::Index(data) => Input::Index(shape, data),
        }
    }
}

/// A row of a batch, to be filled with one sample.
#[derive(Debug)]
pub struct Row<'a> {
    batch: &'a mut Batch,
    row: usize,
}

macro_rules! row_elements {
    ($($(#[doc = $doc:literal])* $name:ident $variant:ident $element:ty),*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Errors
        ///
        /// When there is no such column, or it holds the other kind.
        pub fn $name(&mut self, column: usize) -> Result<&mut [$element]> {
            let count = self.batch.columns.len();
            let refused = |message| Error::Data { source_name: format!("column {column}"), message };
            match self.batch.columns.get_mut(column) {
                Some(Rows { width, data: Elements::$variant(data), .. }) => {
                    Ok(&mut data[self.row * *width..][..*width])
                }
                Some(_) => Err(refused(concat!("does not hold ", stringify!($variant)).into())),
                None => Err(refused(format!("the data set has {count} columns"))),
            }
        }
    )*};
}

impl Row<'_> {
    row_elements! {
        /// The numbers of this sample in a column of numbers.
        tensor Tensor f32,
        /// The whole numbers of this sample in a column of whole numbers.
        index Index i32
    }
}

/// All samples of a data set in batches, as often as one likes: every sample once in each pass, the
/// last batch shorter where their number asks for it.
///
/// ```
/// use downhill::data::Batches;
/// use downhill::Tensor;
///
/// let data = (Tensor::new([5, 2], vec![0.0; 10])?,);
/// let mut batches = Batches::new(&data, 2)?.shuffled(7);
/// batches.start(0);
/// assert_eq!(batches.next_batch()?.unwrap().len(), 2);
/// assert_eq!(batches.count(), 3);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Debug)]
pub struct Batches<'a, D: Dataset> {
    data: &'a D,
    batch: Batch,
    size: usize,
    seed: Option<u64>,
    order: Vec<usize>,
    next: usize,
}

impl<'a, D: Dataset> Batches<'a, D> {
    /// Batches of `size` samples in the order of the data set.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] when `size` is zero; [`Error::Data`] when there are no samples or the
    /// columns do not fit each other.
    pub fn new(data: &'a D, size: usize) -> Result<Batches<'a, D>> {
        if size == 0 {
            return Err(Error::Setting { setting: "batch_size", expected: "at least 1", found: "0".into() });
        }
        let (columns, samples) = (data.columns()?, data.len());
        if samples == 0 {
            return Err(Error::Data { source_name: "the data set".into(), message: "has no samples".into() });
        }
        let batch = Batch::new(&columns, size.min(samples))?;
        Ok(Batches { data, batch, size, seed: None, order: (0..samples).collect(), next: 0 })
    }

    /// The same in an order that depends on `seed` and the epoch alone, on any machine.
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.start(0);
        self
    }

    /// Begins a pass, the one of `epoch`: what came before does not matter.
    pub fn start(&mut self, epoch: u64) {
        self.next = 0;
        self.order.iter_mut().enumerate().for_each(|(i, sample)| *sample = i);
        if let Some(seed) = self.seed {
            order::shuffle(&mut self.order, seed, order::Purpose::Epoch(epoch));
        }
    }

    /// The next batch of this pass, or `None` at its end; allocates nothing.
    ///
    /// # Errors
    ///
    /// When a sample cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<&Batch>> {
        let samples = &self.order[self.next..];
        if samples.is_empty() {
            return Ok(None);
        }
        let samples = &samples[..self.size.min(samples.len())];
        self.next += samples.len();
        self.batch.fill(self.data, samples)?;
        Ok(Some(&self.batch))
    }

    /// The number of batches in a pass.
    pub fn count(&self) -> usize {
        self.order.len().div_ceil(self.size)
    }
}
