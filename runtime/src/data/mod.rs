//! Data sets, and the batches that training steps take from them.
//!
//! A [`Dataset`] gives one sample at a time, as one row for each input of the loss. Tuples of tensors
//! in memory are data sets; anything else becomes one with three functions. [`split`] holds samples
//! out for validation, and [`Batches`] goes through all of them in an order that depends on the seed
//! and the epoch alone.
//!
//! ```
//! use downhill::data::{Batches, split};
//! use downhill::{Index, Tensor};
//!
//! let data = (Tensor::new([10, 4], vec![0.5; 40])?, Index::new([10], vec![1; 10])?);
//! let (train, valid) = split(&data, 0.8, 1)?;
//! let mut batches = Batches::new(&train, 3)?.shuffled(1);
//! for epoch in 0..2 {
//!     batches.start(epoch);
//!     let mut sizes = vec![];
//!     while let Some(batch) = batches.next_batch()? {
//!         sizes.push(batch.len()); // step.run(&mut model, batch)?
//!     }
//!     assert_eq!(sizes, [3, 3, 2]);
//! }
//! # assert_eq!(downhill::data::Dataset::len(&valid), 2);
//! # Ok::<(), downhill::Error>(())
//! ```

mod batch;
mod dataset;
#[cfg(feature = "data")]
pub mod idx;
mod order;
mod subset;

pub use batch::{Batch, Batches, Row};
pub use dataset::{Column, Dataset, Samples};
pub use subset::{Subset, split};
