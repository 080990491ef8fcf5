//! Losses of distances and similarities.

use crate::network;
use crate::nn::statistic::mean;
use crate::ops::*;

/// The distance of a pair where `label` is 1, and how far it is below `margin` (PyTorch: 1) where it is −1.
/// One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hinge_embedding_terms::stage(&mut g, 0.25, -1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [0.75]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hinge_embedding_terms(distance: Tensor, label: Tensor, margin: f32) -> Tensor {
    let apart = margin - distance;
    let negative = select(label == 1.0, 0.0, select(apart > 0.0, apart, 0.0));
    let positive = select(label == -1.0, 0.0, distance);
    positive + negative
}

/// 1 less the cosine of vectors of the last axis where `label` is 1, and how far it is above `margin`
/// (PyTorch: 0) where it is −1. One number for each pair.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = cosine_embedding_terms::stage(&mut g, a, a, -1.0, 0.0);
/// assert!((g.value(y)?.data()[0] - 1.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cosine_embedding_terms(a: Tensor, b: Tensor, label: Tensor, margin: f32) -> Tensor {
    let product = sum_axes(a * b, [-1]);
    let length_a = sum_axes(a * a, [-1]) + 1e-12;
    let length_b = sum_axes(b * b, [-1]) + 1e-12;
    let cosine = product / sqrt(length_a * length_b);
    let beyond = cosine - margin;
    let positive = select(label == 1.0, 1.0 - cosine, 0.0);
    let negative = select(label == -1.0, select(beyond > 0.0, beyond, 0.0), 0.0);
    positive + negative
}

/// How far the anchor is nearer to the negative than to the positive example, with a margin (PyTorch: 1):
/// Euclidean distances along the last axis (Balntas et al., 2016). One number for each triplet.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [0.0, 0.0])?);
/// let n = g.constant(&Tensor::new([2], [0.0, 3.0])?);
/// let y = triplet_margin_terms::stage(&mut g, a, a, n, 5.0);
/// assert!((g.value(y)?.data()[0] - 2.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn triplet_margin_terms(anchor: Tensor, positive: Tensor, negative: Tensor, margin: f32) -> Tensor {
    let to_positive = anchor - positive + 1e-6;
    let to_negative = anchor - negative + 1e-6;
    let near = sqrt(sum_axes(to_positive * to_positive, [-1]));
    let far = sqrt(sum_axes(to_negative * to_negative, [-1]));
    let excess = near - far + margin;
    select(excess > 0.0, excess, 0.0)
}

/// The mean of [`triplet_margin_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [0.0, 0.0])?);
/// let n = g.constant(&Tensor::new([2], [0.0, 3.0])?);
/// let y = triplet_margin::stage(&mut g, a, a, n, 5.0);
/// assert!((g.value(y)?.data()[0] - 2.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn triplet_margin(anchor: Tensor, positive: Tensor, negative: Tensor, margin: f32) -> Tensor {
    mean(triplet_margin_terms(anchor, positive, negative, margin))
}
