//! Losses of class numbers.

use crate::network;
use crate::nn::math::share;
use crate::nn::statistic::mean;
use crate::ops::*;

/// The cross-entropy of logits and class numbers, in nats, averaged over the batch:
/// the negative logarithm of the softmax at the target. PyTorch's `cross_entropy` with its defaults;
/// [`weighted_cross_entropy`](super::weighted_cross_entropy) has its options, and
/// [`soft_cross_entropy`](super::soft_cross_entropy) takes probabilities as targets.
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
    mean(cross_entropy_terms(logits, targets))
}

/// The terms whose mean is [`cross_entropy`], one number for each target.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let targets = iota::stage(&mut g, 1);
/// let y = cross_entropy_terms::stage(&mut g, logits, targets);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cross_entropy_terms(logits: Tensor<[N], C>, targets: Index<[N]>) -> Tensor<[N]> {
    let shifted = logits - stop_gradient(max_keepdim(logits, [-1]));
    let total = log(sum_axes(exp(shifted), [-1]));
    let is_target = iota(C) == unsqueeze(within(targets, C), -1);
    let picked = sum_axes(select(is_target, shifted, 0.0), [-1]);
    total - picked
}

/// The negative logarithm of the probability of each target, where `logs` holds logarithms of
/// probabilities, as [`log_softmax`](crate::nn::log_softmax) gives them. One number for each target.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logs = g.constant(&Tensor::new([2, 2], [-1.0, -2.0, -3.0, -4.0])?);
/// let targets = iota::stage(&mut g, 2);
/// let y = nll_terms::stage(&mut g, logs, targets);
/// assert_eq!(g.value(y)?.data(), [1.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn nll_terms(logs: Tensor<[N], C>, targets: Index<[N]>) -> Tensor<[N]> {
    let is_target = iota(C) == unsqueeze(within(targets, C), -1);
    -sum_axes(select(is_target, logs, 0.0), [-1])
}

/// The mean of [`nll_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logs = g.constant(&Tensor::new([2, 2], [-1.0, -2.0, -3.0, -4.0])?);
/// let targets = iota::stage(&mut g, 2);
/// let y = nll::stage(&mut g, logs, targets);
/// assert_eq!(g.value(y)?.data(), [2.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn nll(logs: Tensor<[N], C>, targets: Index<[N]>) -> Tensor {
    mean(nll_terms(logs, targets))
}

/// [`cross_entropy`] with a share of each target spread over all classes (Szegedy et al.,
/// arXiv:1512.00567): PyTorch's `label_smoothing`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let logits = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let targets = iota::stage(&mut g, 1);
/// let y = smoothed_cross_entropy::stage(&mut g, logits, targets, 0.1);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn smoothed_cross_entropy(logits: Tensor<[N], C>, targets: Index<[N]>, smoothing: f32) -> Tensor {
    let shifted = logits - stop_gradient(max_keepdim(logits, [-1]));
    let total = log(sum_axes(exp(shifted), [-1]));
    let is_target = iota(C) == unsqueeze(within(targets, C), -1);
    let picked = sum_axes(select(is_target, shifted, 0.0), [-1]);
    let rest = sum_axes(shifted, [-1]) / size(logits, -1);
    mean(total - (1.0 - smoothing) * picked - share(rest, smoothing))
}
