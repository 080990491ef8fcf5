//! Losses of probabilities. Each comes as `…_terms`, one number for each element, and as their mean.

use crate::network;
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
    let yes = maximum(log(prediction), -100.0);
    let no = maximum(log1p(-prediction), -100.0);
    -(target * yes + (1.0 - target) * no)
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

/// The binary cross-entropy of logits, without overflow. One number for each element.
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
    (1.0 - target) * logits - minimum(logits, 0.0) + log1p(exp(-abs(logits)))
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

/// The Kullback-Leibler divergence target · (ln target − prediction), where `prediction` holds logarithms of
/// probabilities. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = kl_div_terms::stage(&mut g, -1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn kl_div_terms(prediction: Tensor, target: Tensor) -> Tensor {
    let safe = select(target > 0.0, target, 1.0);
    select(target > 0.0, target * (log(safe) - prediction), 0.0)
}

/// The mean over all elements of [`kl_div_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = kl_div::stage(&mut g, -1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn kl_div(prediction: Tensor, target: Tensor) -> Tensor {
    mean(kl_div_terms(prediction, target))
}
