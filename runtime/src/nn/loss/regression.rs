//! Losses of numbers. Each comes as `…_terms`, one number for each element, and as their mean. Prediction and target
//! have the same shape, or one of them is a constant.

use crate::network;
use crate::nn::statistic::mean;
use crate::ops::*;

/// The squared error, one number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = mse_terms::stage(&mut g, 3.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mse_terms(prediction: Tensor, target: Tensor) -> Tensor {
    let error = prediction - same_shape("mse", target, prediction);
    error * error
}

/// The mean squared error, averaged over all elements.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = mse::stage(&mut g, 3.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn mse(prediction: Tensor, target: Tensor) -> Tensor {
    mean(mse_terms(prediction, target))
}

/// The absolute error. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = l1_terms::stage(&mut g, 3.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn l1_terms(prediction: Tensor, target: Tensor) -> Tensor {
    abs(prediction - same_shape("l1", target, prediction))
}

/// The mean over all elements of [`l1_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = l1::stage(&mut g, 3.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn l1(prediction: Tensor, target: Tensor) -> Tensor {
    mean(l1_terms(prediction, target))
}

/// The squared error over 2β below β (PyTorch: 1), and straight beyond it (Girshick, arXiv:1504.08083). One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = smooth_l1_terms::stage(&mut g, 3.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn smooth_l1_terms(prediction: Tensor, target: Tensor, beta: f32) -> Tensor {
    let error = abs(prediction - same_shape("smooth_l1", target, prediction));
    select(error < beta, 0.5 * error * error / beta, error - 0.5 * beta)
}

/// The mean over all elements of [`smooth_l1_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = smooth_l1::stage(&mut g, 3.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn smooth_l1(prediction: Tensor, target: Tensor, beta: f32) -> Tensor {
    mean(smooth_l1_terms(prediction, target, beta))
}

/// Half the squared error below δ (PyTorch: 1), and straight beyond it (Huber, 1964). One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = huber_terms::stage(&mut g, 3.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn huber_terms(prediction: Tensor, target: Tensor, delta: f32) -> Tensor {
    let error = abs(prediction - same_shape("huber", target, prediction));
    select(error < delta, 0.5 * error * error, delta * (error - 0.5 * delta))
}

/// The mean over all elements of [`huber_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = huber::stage(&mut g, 3.0, 1.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn huber(prediction: Tensor, target: Tensor, delta: f32) -> Tensor {
    mean(huber_terms(prediction, target, delta))
}
