//! Losses of probabilities. Each comes as `…_terms`, one number for each element, and as their mean. Prediction and
//! target have the same shape, or one of them is a constant.

use super::binary::{of_logits, of_probabilities};
use crate::network;
use crate::nn::activation::log_sigmoid;
use crate::nn::math::weighed;
use crate::nn::statistic::mean;
use crate::ops::*;

/// The binary cross-entropy of probabilities; logarithms count as at least −100, as PyTorch has it. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = bce_terms::stage(&mut g, 0.5, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn bce_terms(prediction: Tensor, target: Tensor) -> Tensor {
    let target = same_shape("bce", target, prediction);
    of_probabilities(prediction, target)
}

/// The mean over all elements of [`bce_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = bce::stage(&mut g, 0.5, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn bce(prediction: Tensor, target: Tensor) -> Tensor {
    mean(bce_terms(prediction, target))
}

/// The binary cross-entropy of logits, without overflow; an infinite logit is certain, and costs nothing where it is
/// right. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = bce_with_logits_terms::stage(&mut g, 0.0, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn bce_with_logits_terms(logits: Tensor, target: Tensor) -> Tensor {
    let target = same_shape("bce_with_logits", target, logits);
    of_logits(logits, target)
}

/// The mean over all elements of [`bce_with_logits_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = bce_with_logits::stage(&mut g, 0.0, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn bce_with_logits(logits: Tensor, target: Tensor) -> Tensor {
    mean(bce_with_logits_terms(logits, target))
}

/// The binary cross-entropy of logits, where an element costs `weight` times as much, and a positive one
/// `pos_weight` times that (both PyTorch: 1); both broadcast to the shape of `logits`. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = weighted_bce_with_logits_terms::stage(&mut g, 0.0, 1.0, 2.0, 3.0);
/// assert!((g.value(y)?.data()[0] - 4.158_883).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_bce_with_logits_terms(logits: Tensor, target: Tensor, weight: Tensor, pos_weight: Tensor) -> Tensor {
    let target = same_shape("weighted_bce_with_logits", target, logits);
    let weight = fitting_shape("weighted_bce_with_logits", weight, logits);
    let pos_weight = fitting_shape("weighted_bce_with_logits", pos_weight, logits);
    let (yes, no) = (pos_weight * target, 1.0 - target);
    weighed(weight, -weighed(yes, log_sigmoid(logits)) - weighed(no, log_sigmoid(-logits)))
}

/// The mean over all elements of [`weighted_bce_with_logits_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = weighted_bce_with_logits::stage(&mut g, 0.0, 1.0, 2.0, 3.0);
/// assert!((g.value(y)?.data()[0] - 4.158_883).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_bce_with_logits(logits: Tensor, target: Tensor, weight: Tensor, pos_weight: Tensor) -> Tensor {
    mean(weighted_bce_with_logits_terms(logits, target, weight, pos_weight))
}

/// The mean over all elements of [`bce_terms`], each times its `weight`, which broadcasts to their shape.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = weighted_bce::stage(&mut g, 0.5, 1.0, 2.0);
/// assert!((g.value(y)?.data()[0] - 1.386_294_4).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn weighted_bce(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor {
    mean(fitting_shape("weighted_bce", weight, prediction) * bce_terms(prediction, target))
}

/// The Kullback-Leibler divergence target · (ln target − prediction), where `prediction` holds logarithms of
/// probabilities; `target` too, with `log_target`. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = kl_div_terms::stage(&mut g, -1.0, 1.0, false);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// let y = kl_div_terms::stage(&mut g, -1.0, 0.0, true);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn kl_div_terms(prediction: Tensor, target: Tensor, log_target: bool) -> Tensor {
    let target = same_shape("kl_div", target, prediction);
    if log_target {
        let share = exp(target);
        select(share == 0.0, 0.0, share * (target - prediction))
    } else {
        let safe = select(target == 0.0, 1.0, target);
        select(target == 0.0, 0.0, target * (log(safe) - prediction))
    }
}

/// The mean over all elements of [`kl_div_terms`]: PyTorch's `reduction="mean"`. The divergence itself is
/// [`kl_div_batchmean`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = kl_div::stage(&mut g, -1.0, 1.0, false);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn kl_div(prediction: Tensor, target: Tensor, log_target: bool) -> Tensor {
    mean(kl_div_terms(prediction, target, log_target))
}

/// The sum of [`kl_div_terms`] over the size of the first axis: PyTorch's `reduction="batchmean"`.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [-1.0; 4])?);
/// let y = kl_div_batchmean::stage(&mut g, x, 1.0, false);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn kl_div_batchmean(prediction: Tensor, target: Tensor, log_target: bool) -> Tensor {
    let terms = kl_div_terms(prediction, target, log_target);
    sum(terms) / size(terms, 0)
}
