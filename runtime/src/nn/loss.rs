//! Losses: one number for a batch.

use super::statistic::mean;
use crate::network;
use crate::ops::*;

/// The cross-entropy of logits and class numbers, in nats, averaged over the batch:
/// the negative logarithm of the softmax at the target. PyTorch's `cross_entropy` with its defaults.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let targets = iota::stage(&mut g, 1);
/// let y = cross_entropy::stage(&mut g, logits, targets);
/// assert!((g.value(y)?.item()? - 0.693_147_2).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cross_entropy(logits: Tensor<[N], C>, targets: Index<[N]>) -> Tensor {
    let shifted = logits - stop_gradient(max_keepdim(logits, [-1]));
    let total = log(sum_axes(exp(shifted), [-1]));
    let is_target = iota(C) == unsqueeze(within(targets, C), -1);
    let picked = sum_axes(select(is_target, shifted, 0.0), [-1]);
    mean(total - picked)
}

/// The mean squared error, averaged over all elements.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = mse::stage(&mut g, 3.0, 1.0);
/// assert_eq!(g.value(y)?.item()?, 4.0);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mse(prediction: Tensor, target: Tensor) -> Tensor {
    let error = prediction - target;
    mean(error * error)
}
