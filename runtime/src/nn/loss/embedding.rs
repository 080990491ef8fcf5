//! Losses of distances and similarities.

use crate::network;
use crate::nn::activation::relu;
use crate::nn::length::vector_norm;
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
    let label = same_shape("hinge_embedding", label, distance);
    let negative = select(label == 1.0, 0.0, relu(margin - distance));
    let positive = select(label == -1.0, 0.0, distance);
    positive + negative
}

/// The mean of [`hinge_embedding_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = hinge_embedding::stage(&mut g, 0.25, -1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [0.75]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn hinge_embedding(distance: Tensor, label: Tensor, margin: f32) -> Tensor {
    mean(hinge_embedding_terms(distance, label, margin))
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
    let b = same_shape("cosine_embedding", b, a);
    let product = sum_axes(a * b, [-1]);
    let length_a = sum_axes(a * a, [-1]) + 1e-12;
    let length_b = sum_axes(b * b, [-1]) + 1e-12;
    let cosine = product / sqrt(length_a * length_b);
    let label = same_shape("cosine_embedding", label, cosine);
    let positive = select(label == 1.0, 1.0 - cosine, 0.0);
    let negative = select(label == -1.0, relu(cosine - margin), 0.0);
    positive + negative
}

/// The mean of [`cosine_embedding_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = cosine_embedding::stage(&mut g, a, a, -1.0, 0.0);
/// assert!((g.value(y)?.item()? - 1.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn cosine_embedding(a: Tensor, b: Tensor, label: Tensor, margin: f32) -> Tensor {
    mean(cosine_embedding_terms(a, b, label, margin))
}

/// The [`vector_norm`](crate::nn::vector_norm) of the difference of vectors of the last axis, to each element of which `eps` is added
/// (PyTorch: p is 2, eps 1e-6).
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [3.0, 4.0])?);
/// let y = pairwise_distance::stage(&mut g, a, 0.0, 2.0, 0.0);
/// assert_eq!(g.value(y)?.data(), [5.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn pairwise_distance(a: Tensor, b: Tensor, p: f32, eps: f32) -> Tensor {
    vector_norm(a - b + eps, p, -1)
}

/// How far the anchor is from being nearer to the positive than to the negative example by `margin`
/// (PyTorch: 1), as [`pairwise_distance`] of these `p` and `eps` has it (Balntas et al., 2016). With `swap`,
/// the negative example counts as being as near as it is to the positive one, where that is nearer
/// (PyTorch: no). One number for each triplet.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [0.0, 0.0])?);
/// let n = g.constant(&Tensor::new([2], [0.0, 3.0])?);
/// let y = triplet_margin_terms::stage(&mut g, a, a, n, 5.0, 2.0, 1e-6, false);
/// assert!((g.value(y)?.data()[0] - 2.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn triplet_margin_terms(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: f32,
    p: f32,
    eps: f32,
    swap: bool,
) -> Tensor {
    let positive = same_shape("triplet_margin", positive, anchor);
    let negative = same_shape("triplet_margin", negative, anchor);
    let near = pairwise_distance(anchor, positive, p, eps);
    let mut far = pairwise_distance(anchor, negative, p, eps);
    if swap {
        far = minimum(far, pairwise_distance(positive, negative, p, eps));
    }
    relu(near - far + margin)
}

/// The mean of [`triplet_margin_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let a = g.constant(&Tensor::new([2], [0.0, 0.0])?);
/// let n = g.constant(&Tensor::new([2], [0.0, 3.0])?);
/// let y = triplet_margin::stage(&mut g, a, a, n, 5.0, 2.0, 1e-6, false);
/// assert!((g.value(y)?.data()[0] - 2.0).abs() < 1e-5);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn triplet_margin(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: f32,
    p: f32,
    eps: f32,
    swap: bool,
) -> Tensor {
    mean(triplet_margin_terms(anchor, positive, negative, margin, p, eps, swap))
}
