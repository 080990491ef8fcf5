//! Losses that are likelihoods of numbers. Each comes as `…_terms`, one number for each element, and as
//! their mean. No target adds elements to what is predicted.

use crate::network;
use crate::nn::statistic::mean;
use crate::ops::*;

/// 2π.
const TAU: f32 = std::f32::consts::TAU;
/// ½ ln 2π.
const HALF_LN_TAU: f32 = 0.918_938_5;

/// The negative logarithm of the Poisson likelihood of a count. With `log_input` (PyTorch: yes),
/// `prediction` is the logarithm of the rate; without, it is the rate, and `eps` (PyTorch: 1e-8) keeps its
/// logarithm finite. With `full` (PyTorch: no), Stirling's approximation of ln target! is added for counts
/// above one. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = poisson_nll_terms::stage(&mut g, 0.0, 1.0, true, false, 1e-8);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn poisson_nll_terms(prediction: Tensor, target: Tensor, log_input: bool, full: bool, eps: f32) -> Tensor {
    let target = same_shape("poisson_nll", target, prediction);
    let terms =
        if log_input { exp(prediction) - target * prediction } else { prediction - target * log(prediction + eps) };
    if full {
        let many = select(target > 1.0, target, 1.0);
        let factorial = many * log(many) - many + 0.5 * log(TAU * many);
        terms + select(target > 1.0, factorial, 0.0)
    } else {
        terms
    }
}

/// The mean over all elements of [`poisson_nll_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = poisson_nll::stage(&mut g, 0.0, 1.0, true, false, 1e-8);
/// assert_eq!(g.value(y)?.data(), [1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn poisson_nll(prediction: Tensor, target: Tensor, log_input: bool, full: bool, eps: f32) -> Tensor {
    mean(poisson_nll_terms(prediction, target, log_input, full, eps))
}

/// The negative logarithm of the normal likelihood, with `full` (PyTorch: no) also its constant ½ ln 2π. Target and
/// variance broadcast to the shape of `prediction`. The variance counts as at least `eps` (PyTorch: 1e-6), with the
/// gradient passing as if it did not, as PyTorch has it. One number for each element.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gaussian_nll_terms::stage(&mut g, 3.0, 1.0, 1.0, false, 1e-6);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gaussian_nll_terms(prediction: Tensor, target: Tensor, variance: Tensor, full: bool, eps: f32) -> Tensor {
    let target = fitting_shape("gaussian_nll", target, prediction);
    let variance = fitting_shape("gaussian_nll", variance, prediction);
    // The bound itself, with the gradient of the variance.
    let bounded = select(variance < eps, eps + (variance - stop_gradient(variance)), variance);
    let error = prediction - target;
    let terms = 0.5 * (log(bounded) + error * error / bounded);
    if full { terms + HALF_LN_TAU } else { terms }
}

/// The mean over all elements of [`gaussian_nll_terms`].
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let y = gaussian_nll::stage(&mut g, 3.0, 1.0, 1.0, false, 1e-6);
/// assert_eq!(g.value(y)?.data(), [2.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn gaussian_nll(prediction: Tensor, target: Tensor, variance: Tensor, full: bool, eps: f32) -> Tensor {
    mean(gaussian_nll_terms(prediction, target, variance, full, eps))
}
