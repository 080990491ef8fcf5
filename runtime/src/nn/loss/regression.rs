//! Losses of numbers. Each comes as `…_terms`, one number for each element, and as their mean.

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
    let error = prediction - target;
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
    abs(prediction - target)
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
    let error = abs(prediction - target);
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
    let error = abs(prediction - target);
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

/// The negative logarithm of the Poisson likelihood of a count, without its constant, where `prediction` is
/// the logarithm of the rate. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = poisson_nll_terms::stage(&mut g, 0.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn poisson_nll_terms(prediction: Tensor, target: Tensor) -> Tensor {
    exp(prediction) - target * prediction
}

/// The mean over all elements of [`poisson_nll_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = poisson_nll::stage(&mut g, 0.0, 1.0);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn poisson_nll(prediction: Tensor, target: Tensor) -> Tensor {
    mean(poisson_nll_terms(prediction, target))
}

/// The negative logarithm of the normal likelihood, without its constant; the variance counts as at least
/// `eps` (PyTorch: 1e-6), with the gradient passing as if it did not, as PyTorch has it. One number for
/// each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gaussian_nll_terms::stage(&mut g, 3.0, 1.0, 1.0, 1e-6);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gaussian_nll_terms(mean: Tensor, target: Tensor, variance: Tensor, eps: f32) -> Tensor {
    let bounded = variance + stop_gradient(select(variance < eps, eps - variance, 0.0));
    let error = mean - target;
    0.5 * (log(bounded) + error * error / bounded)
}
