//! The cross-entropy of two classes: costs, of which a certain target leaves one out, and gradients in closed form.

use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::nn::math::weighed;
use crate::nn::operation::operation;
use crate::ops::*;
use crate::shape::check::{Check, Type};

operation! {
    /// The binary cross-entropy of probabilities, one number for each element. Its gradient is PyTorch's, which is
    /// finite also where a probability is 0 or 1.
    of_probabilities(prediction, target;) = forward::of_probabilities;
    |g, dout| { gradients(g, prediction, target, dout, [probability_slope::stage, probability_target_slope::stage]) }
}

operation! {
    /// The binary cross-entropy of logits, one number for each element.
    of_logits(logits, target;) = forward::of_logits;
    |g, dout| { gradients(g, logits, target, dout, [logit_slope::stage, logit_target_slope::stage]) }
}

mod forward {
    use super::*;

    #[network(track_caller)]
    pub fn of_probabilities(prediction: Tensor, target: Tensor) -> Tensor {
        let yes = maximum(log(prediction), -100.0);
        let no = maximum(log1p(-prediction), -100.0);
        -(target * yes + (1.0 - target) * no)
    }

    #[network(track_caller)]
    pub fn of_logits(logits: Tensor, target: Tensor) -> Tensor {
        let cost = weighed(1.0 - target, maximum(logits, 0.0)) + weighed(target, maximum(-logits, 0.0));
        cost + log1p(exp(-abs(logits)))
    }
}

#[network]
fn probability_slope(prediction: Tensor, target: Tensor) -> Tensor {
    (prediction - target) / maximum(prediction * (1.0 - prediction), 1e-12)
}

#[network]
fn probability_target_slope(prediction: Tensor, _target: Tensor) -> Tensor {
    maximum(log1p(-prediction), -100.0) - maximum(log(prediction), -100.0)
}

#[network]
fn logit_slope(logits: Tensor, target: Tensor) -> Tensor {
    sigmoid(logits) - target
}

#[network]
fn logit_target_slope(logits: Tensor, _target: Tensor) -> Tensor {
    -logits
}

/// The gradients of two arguments that were broadcast against each other, by the slopes over each.
fn gradients(
    g: &mut Stage,
    a: Value,
    b: Value,
    dout: Grad,
    slopes: [fn(&mut Stage, Value, Value) -> Value; 2],
) -> (Grad, Grad) {
    let (Some(dout), Some(va), Some(vb)) = (dout, g.operand(a), g.operand(b)) else { return (None, None) };
    let [da, db] = [(va, slopes[0]), (vb, slopes[1])].map(|(argument, slope)| {
        let slope = slope(g, a, b);
        let slope = g.operand(slope)?;
        let d = g.scale(dout, slope);
        let shape = g[argument].shape.clone();
        Some(g.unbroadcast(d, &shape))
    });
    (da, db)
}
