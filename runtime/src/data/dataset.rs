//! What a data set is, and tuples of tensors as data sets.

use super::Row;
use crate::error::{Error, Result};
use crate::shape::DType;
use crate::tensor::{Index, Tensor};

/// Samples that a network can be trained on.
///
/// A sample has one column for each input of the loss. Tuples of one to four [`Tensor`]s and
/// [`Index`]es are data sets whose samples lie along the first axis. Others are a few lines:
///
/// ```
/// use downhill::data::{Batches, Column, Dataset, Row};
/// use downhill::shape::DType;
///
/// /// Windows of eight characters, and the same one further: what comes next.
/// struct Text(Vec<i32>);
///
/// impl Dataset for Text {
///     fn len(&self) -> usize {
///         self.0.len().saturating_sub(8)
///     }
///
///     fn columns(&self) -> downhill::Result<Vec<Column>> {
///         Ok(vec![Column::new(DType::I32, [8]), Column::new(DType::I32, [8])])
///     }
///
///     fn read(&self, sample: usize, row: &mut Row<'_>) -> downhill::Result<()> {
///         row.index(0)?.copy_from_slice(&self.0[sample..sample + 8]);
///         row.index(1)?.copy_from_slice(&self.0[sample + 1..sample + 9]);
///         Ok(())
///     }
/// }
///
/// let text = Text((0..20).collect());
/// let mut batches = Batches::new(&text, 4)?;
/// assert_eq!(batches.next_batch()?.unwrap().shape(1), [4, 8]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub trait Dataset {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a sample consists of: one column for each input of the loss, in their order.
    ///
    /// # Errors
    ///
    /// When the data do not fit each other.
    fn columns(&self) -> Result<Vec<Column>>;

    /// Copies a sample, below [`Dataset::len`], into a row of a batch.
    ///
    /// # Errors
    ///
    /// When the sample cannot be read.
    fn read(&self, sample: usize, row: &mut Row<'_>) -> Result<()>;
}

/// One column of a data set: the type and shape that it has in each sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What the elements are: numbers or whole numbers.
    pub dtype: DType,
    /// The sizes in one sample, outermost first; none for a single number.
    pub shape: Vec<usize>,
}

impl Column {
    /// A column of elements of this type and of this shape in each sample.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Column {
        Column { dtype, shape: shape.into() }
    }
}

/// One column in memory, samples along the first axis: a [`Tensor`] or an [`Index`].
pub trait Samples {
    /// The sizes, the number of samples first.
    fn sizes(&self) -> &[usize];

    /// What the elements are.
    fn dtype(&self) -> DType;

    /// Copies a sample into a column of a row.
    ///
    /// # Errors
    ///
    /// When there is no such sample, or the row has another type or size there.
    fn copy(&self, sample: usize, column: usize, row: &mut Row<'_>) -> Result<()>;
}

macro_rules! samples {
    ($name:ident $dtype:ident $row:ident) => {
        impl Samples for $name {
            fn sizes(&self) -> &[usize] {
                self.shape()
            }

            fn dtype(&self) -> DType {
                DType::$dtype
            }

            fn copy(&self, sample: usize, column: usize, row: &mut Row<'_>) -> Result<()> {
                let to = row.$row(column)?;
                let samples = self.shape().first().copied().unwrap_or(0);
                if sample >= samples || to.len() * samples != self.data().len() {
                    return Err(misfit(sample, column, self.shape(), to.len()));
                }
                to.copy_from_slice(&self.data()[sample * to.len()..][..to.len()]);
                Ok(())
            }
        }
    };
}
samples!(Tensor F32 tensor);
samples!(Index I32 index);

fn misfit(sample: usize, column: usize, shape: &[usize], width: usize) -> Error {
    let message = format!("{shape:?} has no sample {sample} of {width} elements");
    Error::Data { source_name: format!("column {column}"), message }
}

impl<S: Samples> Samples for &S {
    fn sizes(&self) -> &[usize] {
        (**self).sizes()
    }

    fn dtype(&self) -> DType {
        (**self).dtype()
    }

    fn copy(&self, sample: usize, column: usize, row: &mut Row<'_>) -> Result<()> {
        (**self).copy(sample, column, row)
    }
}

/// Columns of one length, or an error that names those that differ.
fn columns(parts: &[(DType, &[usize])]) -> Result<Vec<Column>> {
    let refused = |i: usize, message| Err(Error::Data { source_name: format!("column {i}"), message });
    let mut columns = Vec::with_capacity(parts.len());
    for (i, (dtype, shape)) in parts.iter().enumerate() {
        let Some((samples, sample)) = shape.split_first() else {
            return refused(i, "a single number has no samples; they are counted by the first axis".into());
        };
        let (_, first) = &parts[0];
        if *samples != first[0] {
            let kind = dtype.name();
            return refused(i, format!("{kind} {shape:?} has {samples} samples, column 0 {first:?} has {}", first[0]));
        }
        columns.push(Column::new(*dtype, sample));
    }
    Ok(columns)
}

macro_rules! tuple_dataset {
    ($($name:ident $i:tt)*) => {
        impl<$($name: Samples),*> Dataset for ($($name,)*) {
            fn len(&self) -> usize {
                self.0.sizes().first().copied().unwrap_or(0)
            }

            fn columns(&self) -> Result<Vec<Column>> {
                columns(&[$((self.$i.dtype(), self.$i.sizes())),*])
            }

            fn read(&self, sample: usize, row: &mut Row<'_>) -> Result<()> {
                $(self.$i.copy(sample, $i, row)?;)*
                Ok(())
            }
        }
    };
}
tuple_dataset!(A 0);
tuple_dataset!(A 0 B 1);
tuple_dataset!(A 0 B 1 C 2);
tuple_dataset!(A 0 B 1 C 2 D 3);

/// No samples: training without validation is `trainer.fit(&train, &(), epochs)`.
impl Dataset for () {
    fn len(&self) -> usize {
        0
    }

    fn columns(&self) -> Result<Vec<Column>> {
        Ok(vec![])
    }

    fn read(&self, sample: usize, _row: &mut Row<'_>) -> Result<()> {
        Err(Error::Data { source_name: "()".into(), message: format!("has no samples, {sample} was asked for") })
    }
}
