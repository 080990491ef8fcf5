//! Norms of the whole gradient.

use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::{abs, max_axes, sum_axes};

/// The squares of each row, added up.
#[network]
fn squares(x: Tensor) -> Tensor {
    sum_axes(x * x, [1])
}

/// The sizes in each row, added up.
#[network]
fn sizes(x: Tensor) -> Tensor {
    sum_axes(abs(x), [1])
}

/// The largest size in each row.
#[network]
fn largest(x: Tensor) -> Tensor {
    max_axes(abs(x), [1])
}

/// How the elements of a gradient, those of all parameters together, are made one number.
///
/// ```
/// use downhill::optim::Norm;
///
/// assert_eq!(Norm::default(), Norm::L2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// The sum of their sizes.
    L1,
    /// The root of the sum of their squares.
    #[default]
    L2,
    /// The largest size.
    Max,
}

impl Norm {
    /// Stages the part of the norm that each row of a matrix has.
    pub(crate) fn stage(self, g: &mut Stage, rows: Value) -> Value {
        match self {
            Norm::L1 => sizes::stage(g, rows),
            Norm::L2 => squares::stage(g, rows),
            Norm::Max => largest::stage(g, rows),
        }
    }

    /// The norm, from the parts of all rows.
    pub(crate) fn of(self, parts: &[f32]) -> f64 {
        let parts = parts.iter().map(|&part| f64::from(part));
        match self {
            Norm::L1 => parts.sum(),
            Norm::L2 => parts.sum::<f64>().sqrt(),
            // `f64::max` would pass over what is not a number.
            Norm::Max => parts.fold(0.0, |max, part| if part.is_nan() || part > max { part } else { max }),
        }
    }
}
