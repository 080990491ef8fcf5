//! Losses of classes with weights, targets that do not count, and targets that are probabilities.
//!
//! A `weight` is one number for each class, `[C]`, or 1.0 for all. A target that is `ignore_index`
//! (PyTorch: −100) costs nothing and does not count in the mean; any other one that names no class is
//! refused before a step runs. The mean is over the weights of the targets that count, as PyTorch has it;
//! where none counts it is NaN.

use crate::network;
use crate::nn::activation::log_softmax;
use crate::nn::math::{share, weighed};
use crate::nn::statistic::mean;
use crate::ops::*;

/// The weight of each target: zero where it is `ignore_index`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let weight = g.constant(&Tensor::new([2], [3.0, 5.0])?);
/// let targets = iota::stage(&mut g, 3);
/// let y = target_weights::stage(&mut g, targets, weight, 2, 2);
/// assert_eq!(g.value(y)?.data(), [3.0, 5.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn target_weights(targets: Index<[N]>, weight: Tensor, classes: usize, ignore_index: isize) -> Tensor<[N]> {
    let is_target = iota(classes) == unsqueeze(within_or(targets, classes, ignore_index), -1);
    select(targets == ignore_index, 0.0, sum_axes(select(is_target, weight, 0.0), [-1]))
}

/// [`nll_terms`](super::nll_terms) with a weight for each class and a target that does not count.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logs = g.constant(&Tensor::new([3, 2], [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])?);
/// let weight = g.constant(&Tensor::new([2], [1.0, 10.0])?);
/// let targets = iota::stage(&mut g, 3);
/// let y = weighted_nll_terms::stage(&mut g, logs, targets, weight, 2);
/// assert_eq!(g.value(y)?.data(), [1.0, 40.0, 0.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_nll_terms(
    logs: Tensor<[N], C>,
    targets: Index<[N]>,
    weight: Tensor,
    ignore_index: isize,
) -> Tensor<[N]> {
    let is_target = iota(C) == unsqueeze(within_or(targets, C, ignore_index), -1);
    let picked = sum_axes(select(is_target, logs, 0.0), [-1]);
    select(targets == ignore_index, 0.0, -weighed(target_weights(targets, weight, C, ignore_index), picked))
}

/// The sum of [`weighted_nll_terms`] over the sum of the weights of the targets that count: PyTorch's
/// `nll_loss`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logs = g.constant(&Tensor::new([3, 2], [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])?);
/// let weight = g.constant(&Tensor::new([2], [1.0, 3.0])?);
/// let targets = iota::stage(&mut g, 3);
/// let y = weighted_nll::stage(&mut g, logs, targets, weight, 2);
/// assert_eq!(g.value(y)?.data(), [3.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
#[doc(alias = "nll_loss")]
pub fn weighted_nll(logs: Tensor<[N], C>, targets: Index<[N]>, weight: Tensor, ignore_index: isize) -> Tensor {
    let terms = weighted_nll_terms(logs, targets, weight, ignore_index);
    sum(terms) / sum(target_weights(targets, weight, C, ignore_index))
}

/// The cross-entropy of logits and class numbers with a weight for each class, a target that does not
/// count, and a share `smoothing` of each target spread over all classes (PyTorch: 0). One number for
/// each target.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([3, 2], [0.0; 6])?);
/// let weight = g.constant(&Tensor::new([2], [1.0, 10.0])?);
/// let targets = iota::stage(&mut g, 3);
/// let y = weighted_cross_entropy_terms::stage(&mut g, logits, targets, weight, 2, 0.0);
/// assert!((g.value(y)?.data()[1] - 6.931_472).abs() < 1e-5);
/// assert_eq!(g.value(y)?.data()[2], 0.0);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_cross_entropy_terms(
    logits: Tensor<[N], C>,
    targets: Index<[N]>,
    weight: Tensor,
    ignore_index: isize,
    smoothing: f32,
) -> Tensor<[N]> {
    let logs = log_softmax(logits, -1);
    let at_target = weighted_nll_terms(logs, targets, weight, ignore_index);
    let spread = select(targets == ignore_index, 0.0, -sum_axes(weighed(weight, logs), [-1]));
    (1.0 - smoothing) * at_target + share(spread, smoothing / (C as f32))
}

/// The sum of [`weighted_cross_entropy_terms`] over the sum of the weights of the targets that count:
/// PyTorch's `cross_entropy` with all its options.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([3, 2], [0.0; 6])?);
/// let weight = g.constant(&Tensor::new([2], [1.0, 10.0])?);
/// let targets = iota::stage(&mut g, 3);
/// let y = weighted_cross_entropy::stage(&mut g, logits, targets, weight, 2, 0.0);
/// assert!((g.value(y)?.item()? - 0.693_147_2).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_cross_entropy(
    logits: Tensor<[N], C>,
    targets: Index<[N]>,
    weight: Tensor,
    ignore_index: isize,
    smoothing: f32,
) -> Tensor {
    let terms = weighted_cross_entropy_terms(logits, targets, weight, ignore_index, smoothing);
    sum(terms) / sum(target_weights(targets, weight, C, ignore_index))
}

/// The cross-entropy of logits and the probabilities of all classes, with a weight for each class and a
/// share `smoothing` of the targets spread over all of them (PyTorch: 0). One number for each row.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let targets = g.constant(&Tensor::new([1, 2], [0.25, 0.75])?);
/// let y = soft_cross_entropy_terms::stage(&mut g, logits, targets, 1.0, 0.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn soft_cross_entropy_terms(
    logits: Tensor<[N], C>,
    targets: Tensor<[N], C>,
    weight: Tensor,
    smoothing: f32,
) -> Tensor<[N]> {
    let smoothed = (1.0 - smoothing) * targets + smoothing / (C as f32);
    -sum_axes(weighed(weight * smoothed, log_softmax(logits, -1)), [-1])
}

/// The mean of [`soft_cross_entropy_terms`] over the rows: PyTorch's `cross_entropy` with probabilities as
/// targets.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let targets = g.constant(&Tensor::new([1, 2], [0.25, 0.75])?);
/// let y = soft_cross_entropy::stage(&mut g, logits, targets, 1.0, 0.0);
/// assert!((g.value(y)?.item()? - 0.693_147_2).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn soft_cross_entropy(logits: Tensor<[N], C>, targets: Tensor<[N], C>, weight: Tensor, smoothing: f32) -> Tensor {
    mean(soft_cross_entropy_terms(logits, targets, weight, smoothing))
}
