//! Dropout as a layer.

use crate::network;
use crate::ops::*;

/// [`dropout`] as a layer, with probability one half or `#[layer(p = 0.1)]`.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     hidden: Linear<2, 3>,
///     #[layer(p = 0.1)]
///     dropout: Dropout,
/// }
///
/// // A model that is not being trained drops nothing.
/// let (model, x) = (Net::init(0), Tensor::new([1, 2], [0.5, -0.5])?);
/// assert_eq!(model.forward(&x)?, model.forward(&x)?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Dropout {
    /// The probability with which an element is dropped.
    #[option(0.5)]
    pub p: f32,
}

#[network(track_caller)]
impl Dropout {
    /// Drops elements while training.
    pub fn forward(&self, x: Tensor) -> Tensor {
        dropout(x, self.p)
    }
}
