//! Losses that want a margin. Each comes as `…_terms`, one number for each element, and as their mean.
//! Scores and labels have the same shape, or one of them is a constant.

use crate::network;
use crate::nn::activation::{log_sigmoid, relu};
use crate::nn::math::weighed;
use crate::nn::statistic::{mean, mean_axes};
use crate::ops::*;

/// How far `a` is from being above `b` by `margin` (PyTorch: 0), where `label` is 1; where it is −1, `b` is
/// to be above `a`. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = margin_ranking_terms::stage(&mut g, 1.0, 3.0, 1.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [2.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn margin_ranking_terms(a: Tensor, b: Tensor, label: Tensor, margin: f32) -> Tensor {
    let (b, label) = (same_shape("margin_ranking", b, a), same_shape("margin_ranking", label, a));
    relu(margin - label * (a - b))
}

/// The mean of [`margin_ranking_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = margin_ranking::stage(&mut g, 1.0, 3.0, 1.0, 0.5);
/// assert_eq!(g.value(y)?.data(), [2.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn margin_ranking(a: Tensor, b: Tensor, label: Tensor, margin: f32) -> Tensor {
    mean(margin_ranking_terms(a, b, label, margin))
}

/// How far a score is below 1 on the side that `label`, 1 or −1, says: the hinge loss of support vector
/// machines (Cortes and Vapnik, 1995). One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hinge_terms::stage(&mut g, 0.25, -1.0);
/// assert_eq!(g.value(y)?.data(), [1.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hinge_terms(score: Tensor, label: Tensor) -> Tensor {
    relu(1.0 - same_shape("hinge", label, score) * score)
}

/// The mean of [`hinge_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hinge::stage(&mut g, 0.25, -1.0);
/// assert_eq!(g.value(y)?.data(), [1.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hinge(score: Tensor, label: Tensor) -> Tensor {
    mean(hinge_terms(score, label))
}

/// ln(1 + e^(−label · score)), the logistic loss of labels 1 and −1, without overflow. One number for each
/// element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = soft_margin_terms::stage(&mut g, 0.0, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn soft_margin_terms(score: Tensor, label: Tensor) -> Tensor {
    -log_sigmoid(same_shape("soft_margin", label, score) * score)
}

/// The mean of [`soft_margin_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = soft_margin::stage(&mut g, 0.0, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn soft_margin(score: Tensor, label: Tensor) -> Tensor {
    mean(soft_margin_terms(score, label))
}

/// How far the scores of the other classes come within `margin` (PyTorch: 1) of that of the target, to the
/// power `p` (1 or 2), times the `weight` of the target's class, `[C]` or 1.0 for all; averaged over all
/// classes (Crammer and Singer, 2001). One number for each target.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let scores = g.constant(&Tensor::new([1, 2], [2.0, 1.5])?);
/// let targets = iota::stage(&mut g, 1);
/// let y = multi_margin_terms::stage(&mut g, scores, targets, 1.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [0.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn multi_margin_terms(
    scores: Tensor<[N], C>,
    targets: Index<[N]>,
    p: f32,
    margin: f32,
    weight: Tensor,
) -> Tensor<[N]> {
    let is_target = iota(C) == unsqueeze(within(targets, C), -1);
    let at_target = sum_keepdim(select(is_target, scores, 0.0), [-1]);
    let excess = margin - at_target + scores;
    let costless = is_target | (excess <= 0.0);
    let powers = select(costless, 0.0, pow(select(costless, 1.0, excess), p));
    sum_axes(select(is_target, weight, 0.0), [-1]) * mean_axes(powers, [-1])
}

/// The mean of [`multi_margin_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let scores = g.constant(&Tensor::new([1, 2], [2.0, 1.5])?);
/// let targets = iota::stage(&mut g, 1);
/// let y = multi_margin::stage(&mut g, scores, targets, 1.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [0.25]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn multi_margin(scores: Tensor<[N], C>, targets: Index<[N]>, p: f32, margin: f32, weight: Tensor) -> Tensor {
    mean(multi_margin_terms(scores, targets, p, margin, weight))
}

/// The binary cross-entropy of several labels 0 or 1 at once, times a `weight` for each class, `[C]` or 1.0
/// for all, averaged over the classes: PyTorch's `multilabel_soft_margin_loss`. One number for each row.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let scores = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let labels = g.constant(&Tensor::new([1, 2], [0.0, 1.0])?);
/// let y = multilabel_soft_margin_terms::stage(&mut g, scores, labels, 1.0);
/// assert!((g.value(y)?.data()[0] - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn multilabel_soft_margin_terms(scores: Tensor<[N], C>, labels: Tensor<[N], C>, weight: Tensor) -> Tensor<[N]> {
    let cost = weighed(labels, log_sigmoid(scores)) + weighed(1.0 - labels, log_sigmoid(-scores));
    mean_axes(-weight * cost, [-1])
}

/// The mean of [`multilabel_soft_margin_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let scores = g.constant(&Tensor::new([1, 2], [0.0, 0.0])?);
/// let labels = g.constant(&Tensor::new([1, 2], [0.0, 1.0])?);
/// let y = multilabel_soft_margin::stage(&mut g, scores, labels, 1.0);
/// assert!((g.value(y)?.item()? - 0.693_147_2).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn multilabel_soft_margin(scores: Tensor<[N], C>, labels: Tensor<[N], C>, weight: Tensor) -> Tensor {
    mean(multilabel_soft_margin_terms(scores, labels, weight))
}
