//! Batches: chosen samples side by side, in buffers that are used again and again.

use super::{Column, Dataset, order};
use crate::error::{Error, Result};
use crate::shape::{DType, elements};
use crate::tensor::{Input, Inputs, sealed};

/// The most columns of a batch.
const COLUMNS: usize = 16;

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
    /// [`Error::Data`] for a column that is neither of numbers nor of whole numbers, or too large for the memory there
    /// is, and for more than 16 columns.
    pub fn new(columns: &[Column], capacity: usize) -> Result<Batch> {
        if columns.len() > COLUMNS {
            let message = format!("has {} columns, expected at most {COLUMNS}", columns.len());
            return Err(Error::Data { source_name: "the data set".into(), message });
        }
        let rows = |(i, column): (usize, &Column)| {
            let refused = |message| Error::Data { source_name: format!("column {i}"), message };
            let data = match column.dtype {
                DType::F32 => Elements::Tensor(Vec::new()),
                DType::I32 => Elements::Index(Vec::new()),
                other => return Err(refused(format!("holds {}, expected Tensor or Index", other.name()))),
            };
            let Some(width) = elements(&column.shape) else {
                return Err(too_large(i, &column.shape, capacity));
            };
            let mut rows = Rows { shape: [&[0], &column.shape[..]].concat(), width, data };
            match rows.resize(capacity).and_then(|()| rows.resize(0)) {
                Some(()) => Ok(rows),
                None => Err(too_large(i, &column.shape, capacity)),
            }
        };
        Ok(Batch { columns: columns.iter().enumerate().map(rows).collect::<Result<_>>()?, len: 0 })
    }

    /// Fills the batch with samples of a data set; allocates nothing up to its capacity.
    ///
    /// # Errors
    ///
    /// When a sample cannot be read, or there is no memory for so many.
    pub fn fill(&mut self, data: &impl Dataset, samples: &[usize]) -> Result<()> {
        self.resize(samples.len())?;
        samples.iter().enumerate().try_for_each(|(row, &sample)| data.read(sample, &mut Row { batch: self, row }))
    }

    fn resize(&mut self, samples: usize) -> Result<()> {
        for (i, rows) in self.columns.iter_mut().enumerate() {
            if rows.resize(samples).is_none() {
                return Err(too_large(i, &rows.shape[1..], samples));
            }
        }
        self.len = samples;
        Ok(())
    }

    /// As many samples of zeros, for what depends on the shapes alone.
    fn blank(&mut self, samples: usize) -> Result<()> {
        self.resize(samples)?;
        for rows in &mut self.columns {
            match &mut rows.data {
                Elements::Tensor(data) => data.fill(0.0),
                Elements::Index(data) => data.fill(0),
            }
        }
        Ok(())
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

fn too_large(column: usize, shape: &[usize], samples: usize) -> Error {
    let message = format!("{samples} samples of {shape:?} are more than memory can hold");
    Error::Data { source_name: format!("column {column}"), message }
}

impl Rows {
    /// Takes so many samples, those that are new zeros. `None` if there is no memory for them; then it is as before.
    fn resize(&mut self, samples: usize) -> Option<()> {
        fn resize<T: Copy + Default>(data: &mut Vec<T>, len: usize) -> Option<()> {
            data.try_reserve_exact(len.saturating_sub(data.len())).ok()?;
            data.resize(len, T::default());
            Some(())
        }
        let before = std::mem::replace(&mut self.shape[0], samples);
        let resized = elements(&self.shape).and_then(|len| match &mut self.data {
            Elements::Tensor(data) => resize(data, len),
            Elements::Index(data) => resize(data, len),
        });
        if resized.is_none() {
            self.shape[0] = before;
        }
        resized
    }

    /// The column as an input: it always has as many elements as its shape says.
    fn input(&self) -> Result<Input<'_>> {
        match &self.data {
            Elements::Tensor(data) => Input::tensor(&self.shape, data),
            Elements::Index(data) => Input::index(&self.shape, data),
        }
    }
}

/// The inputs that a batch is, without an allocation.
struct List<'a> {
    inputs: [Input<'a>; COLUMNS],
    len: usize,
}

impl<'a> AsRef<[Input<'a>]> for List<'a> {
    fn as_ref(&self) -> &[Input<'a>] {
        &self.inputs[..self.len]
    }
}

impl sealed::Known for &Batch {}

impl Inputs for &Batch {
    fn all(&self) -> impl AsRef<[Input<'_>]> {
        let column = |i: usize| self.columns.get(i).and_then(|rows| rows.input().ok());
        let inputs = std::array::from_fn(|i| column(i).unwrap_or(Input::NONE));
        List { inputs, len: self.columns.len() }
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
    drop_last: bool,
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
        Ok(Batches { data, batch, size, drop_last: false, seed: None, order: order::in_order(samples)?, next: 0 })
    }

    /// The same in an order that depends on `seed` and the epoch alone, on any machine.
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.start(0);
        self
    }

    /// Whether a last batch of fewer samples is left out, as PyTorch's `drop_last`; it is not by default. In shuffled
    /// passes other samples are left out each time.
    ///
    /// ```
    /// use downhill::data::Batches;
    /// use downhill::Tensor;
    ///
    /// let data = (Tensor::new([5, 2], vec![0.0; 10])?,);
    /// assert_eq!(Batches::new(&data, 2)?.drop_last(true).count(), 2);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn drop_last(mut self, drop: bool) -> Self {
        self.drop_last = drop;
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
        if samples.is_empty() || self.drop_last && samples.len() < self.size {
            return Ok(None);
        }
        let samples = &samples[..self.size.min(samples.len())];
        self.next += samples.len();
        self.batch.fill(self.data, samples)?;
        Ok(Some(&self.batch))
    }

    /// The number of batches in a pass.
    pub fn count(&self) -> usize {
        if self.drop_last { self.order.len() / self.size } else { self.order.len().div_ceil(self.size) }
    }

    /// The samples of a pass.
    pub(crate) fn samples(&self) -> usize {
        self.order.len().min(self.count().saturating_mul(self.size))
    }

    /// How many samples the last batch has, where these are fewer than in those before.
    pub(crate) fn last(&self) -> Option<usize> {
        let samples = self.samples() % self.size;
        Some(samples).filter(|&samples| samples > 0 && self.count() > 1)
    }

    /// A batch of the shapes of the first one, or of as many samples as given, whose elements are zeros.
    pub(crate) fn blank(&mut self, samples: Option<usize>) -> Result<&Batch> {
        self.batch.blank(samples.unwrap_or(self.size.min(self.order.len())))?;
        Ok(&self.batch)
    }
}
