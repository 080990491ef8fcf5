//! Batch normalisation, with running statistics for evaluation.

use crate::check::{Check, Message, Type};
use crate::graph::{Stage, Value};
use crate::network;
use crate::ops::*;

/// n / (n − 1), by which the variance of `n` values becomes an estimate of that of all there could be. No
/// gradient passes through a state, so it needs none.
#[allow(non_camel_case_types)]
enum bessel {}

impl bessel {
    fn stage(g: &mut Stage, n: impl Into<Value>) -> Value {
        let n = match n.into() {
            Value::Int(n) => n as f64,
            Value::Number(n) => n,
            _ => return Value::Unknown,
        };
        let refuse = |cx: &mut Check| {
            cx.error(Message::new().str("batch normalisation: expected more than one value a channel while training"))
        };
        if n < 2.0 {
            g.checked(refuse);
            return Value::Unknown;
        }
        Value::Number(n / (n - 1.0))
    }

    const fn shape(_cx: &mut Check, _n: Type) -> Type {
        Type::Number
    }
}

/// A running mean, in which what is new counts `momentum`.
#[network]
fn blend(running: Tensor, new: Tensor, momentum: f32) -> Tensor {
    running * (1.0 - momentum) + new * momentum
}

/// Batch normalisation over features or sequences, `[B, C]` or `[B, C, L]` (Ioffe and Szegedy,
/// arXiv:1502.03167): each channel less its mean, over the square root of its variance plus `eps`
/// (1e-5), times a weight that starts at one, plus a bias that starts at zero; `#[layer(affine = false)]`
/// leaves both out.
///
/// Mean and variance are those of the batch while training, in which the running statistics take them
/// up by `momentum` (0.1); in evaluation they are the running statistics. As in PyTorch, the batch is
/// divided by its biased variance, and the running variance is the unbiased one. While training there
/// must be more than one value a channel.
///
/// The statistics are saved with the weights, under PyTorch's names. `num_batches_tracked` is kept as a
/// 32-bit float, which counts up to 2²⁴.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential, loss = mse)]
/// struct Net {
///     norm: BatchNorm1d<2>,
/// }
///
/// let mut model = Net::init(0);
/// let x = Tensor::new([2, 2], [1.0, 2.0, 3.0, 6.0])?;
/// Step::new(&model, Net::loss, Sgd::new(0.0))?.run(&mut model, (&x, &x))?;
/// assert_eq!(model.get("norm.running_mean")?.data(), [0.2, 0.4]);
/// assert_eq!(model.get("norm.num_batches_tracked")?.item()?, 1.0);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct BatchNorm1d<const C: usize> {
    /// `[C]`.
    #[init(ones)]
    pub weight: Option<Param<C>>,
    /// `[C]`.
    #[init(zeros)]
    pub bias: Option<Param<C>>,
    /// `[C]`.
    #[init(zeros)]
    pub running_mean: State<C>,
    /// `[C]`.
    #[init(ones)]
    pub running_var: State<C>,
    /// How many batches the statistics are of.
    #[init(zeros)]
    pub num_batches_tracked: State,
    /// Added to the variance.
    #[option(1e-5)]
    pub eps: f32,
    /// How much a batch counts in the running statistics.
    #[option(0.1)]
    pub momentum: f32,
}

#[network(track_caller)]
impl<const C: usize> BatchNorm1d<C> {
    /// `[B, C]` or `[B, C, L]`.
    pub fn forward(&self, x: Tensor) -> Tensor {
        transpose(self.rows(transpose(x, 1, -1)), 1, -1)
    }

    /// The same with the channels on the last axis.
    fn rows(&self, x: Tensor<[N], C>) -> Tensor<[N], C> {
        let (mean, variance) = if training() {
            let rows = flatten(x, 0, -2);
            let count = size(rows, 0);
            let mean = sum_axes(rows, [0]) / count;
            let centred = rows - mean;
            let variance = sum_axes(centred * centred, [0]) / count;
            self.running_mean = blend(self.running_mean, mean, self.momentum);
            self.running_var = blend(self.running_var, variance * bessel(count), self.momentum);
            self.num_batches_tracked = self.num_batches_tracked + 1.0;
            (mean, variance)
        } else {
            (self.running_mean, self.running_var)
        };
        let y = (x - mean) / sqrt(variance + self.eps);
        let y = if self.weight.is_some() { y * self.weight } else { y };
        if self.bias.is_some() { y + self.bias } else { y }
    }
}

impl BatchNorm1d {
    /// With or without weight and bias.
    pub const fn affine(self, present: bool) -> Self {
        self.weight(present).bias(present)
    }
}

/// Batch normalisation over images, `[B, C, H, W]`: [`BatchNorm1d`] with all pixels of a channel
/// together.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     conv: Conv2d<3, 8, 3>,
///     #[layer(momentum = 0.01)]
///     norm: BatchNorm2d<8>,
///     act: Relu,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 3, 4, 4], vec![0.5; 48])?)?;
/// assert_eq!(y.shape(), [1, 8, 2, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct BatchNorm2d<const C: usize> {
    /// `[C]`.
    #[init(ones)]
    pub weight: Option<Param<C>>,
    /// `[C]`.
    #[init(zeros)]
    pub bias: Option<Param<C>>,
    /// `[C]`.
    #[init(zeros)]
    pub running_mean: State<C>,
    /// `[C]`.
    #[init(ones)]
    pub running_var: State<C>,
    /// How many batches the statistics are of.
    #[init(zeros)]
    pub num_batches_tracked: State,
    /// Added to the variance.
    #[option(1e-5)]
    pub eps: f32,
    /// How much a batch counts in the running statistics.
    #[option(0.1)]
    pub momentum: f32,
}

#[network(track_caller)]
impl<const C: usize> BatchNorm2d<C> {
    /// `[B, C, H, W]`.
    pub fn forward(&self, x: Tensor<B, C, H, W>) -> Tensor<B, C, H, W> {
        let (mean, variance) = if training() {
            let count = B * H * W;
            let mean = sum_axes(x, [0, 2, 3]) / count as f32;
            let centred = x - reshape(mean, [C, 1, 1]);
            let variance = sum_axes(centred * centred, [0, 2, 3]) / count as f32;
            self.running_mean = blend(self.running_mean, mean, self.momentum);
            self.running_var = blend(self.running_var, variance * bessel(count), self.momentum);
            self.num_batches_tracked = self.num_batches_tracked + 1.0;
            (mean, variance)
        } else {
            (self.running_mean, self.running_var)
        };
        let y = (x - reshape(mean, [C, 1, 1])) / reshape(sqrt(variance + self.eps), [C, 1, 1]);
        let y = if self.weight.is_some() { y * reshape(self.weight, [C, 1, 1]) } else { y };
        if self.bias.is_some() { y + reshape(self.bias, [C, 1, 1]) } else { y }
    }
}

impl BatchNorm2d {
    /// With or without weight and bias.
    pub const fn affine(self, present: bool) -> Self {
        self.weight(present).bias(present)
    }
}
