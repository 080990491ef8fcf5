//! Batch normalisation, with running statistics for evaluation.

use super::math::rsqrt;
use crate::graph::{Grad, Stage, Value};
use crate::network;
use crate::ops::*;
use crate::shape::check::{Check, Message, Type};

/// n / (n − 1), by which the variance of `n` values becomes an estimate of that of all there could be. No
/// gradient passes through a state, so it needs none.
#[allow(non_camel_case_types)]
enum bessel {}

impl bessel {
    fn stage(g: &mut Stage, n: usize) -> Value {
        let refuse = |cx: &mut Check| {
            cx.error(Message::new().str("batch normalisation: expected more than one value a channel while training"))
        };
        if n < 2 {
            g.checked(refuse);
            return Value::Unknown;
        }
        Value::Number(n as f64 / (n - 1) as f64)
    }

    const fn shape(_cx: &mut Check, _n: Type) -> Type {
        Type::Number(None)
    }
}

/// The elements of `x` under the shape of `like`, which has as many.
#[allow(non_camel_case_types)]
enum shaped {}

impl shaped {
    fn stage(g: &mut Stage, x: Value, like: Value) -> Value {
        match (x, like) {
            (Value::Var(x), Value::Var(like)) => {
                let shape = g[like].shape.clone();
                Value::Var(g.reshape(x, &shape))
            }
            _ => Value::Unknown,
        }
    }

    fn grad(g: &mut Stage, x: Value, _like: Value, dout: Grad) -> (Grad, Grad) {
        let Value::Var(x) = x else { return (None, None) };
        let shape = g[x].shape.clone();
        (dout.map(|dout| g.reshape(dout, &shape)), None)
    }

    const fn shape(_cx: &mut Check, x: Type, like: Type) -> Type {
        match (x, like) {
            (Type::Tensor(x), Type::Tensor(like)) => Type::Tensor(x.shown(like.shape)),
            _ => Type::Unknown,
        }
    }
}

/// A running mean, in which what is new counts `momentum`.
#[network]
fn blend(running: Tensor, new: Tensor, momentum: f32) -> Tensor {
    running * (1.0 - momentum) + new * momentum
}

/// Batch normalisations differ in the shape that they take.
macro_rules! batch_norm {
    ($(#[doc = $doc:literal])* $name:ident, $shape:literal, $tensor:ty) => {
        $(#[doc = $doc])*
        #[network(track_caller)]
        pub struct $name<const C: usize> {
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
        impl<const C: usize> $name<C> {
            #[doc = $shape]
            pub fn forward(&self, x: $tensor) -> $tensor {
                shaped(self.channels(flatten(unsqueeze(x, -1), 2, -1)), x)
            }

            /// All axes behind the channels as one.
            fn channels(&self, x: Tensor<B, C, M>) -> Tensor<B, C, M> {
                let (mean, variance) = if training() {
                    let count = B * M;
                    let mean = sum_axes(x, [0, 2]) / count as f32;
                    let centred = x - unsqueeze(mean, -1);
                    let variance = sum_axes(centred * centred, [0, 2]) / count as f32;
                    self.running_mean = blend(self.running_mean, mean, self.momentum);
                    self.running_var = blend(self.running_var, variance * bessel(count), self.momentum);
                    self.num_batches_tracked += 1.0;
                    (mean, variance)
                } else {
                    (self.running_mean, self.running_var)
                };
                let y = (x - unsqueeze(mean, -1)) * unsqueeze(rsqrt(variance + self.eps), -1);
                let y = if self.weight.is_some() { y * unsqueeze(self.weight, -1) } else { y };
                if self.bias.is_some() { y + unsqueeze(self.bias, -1) } else { y }
            }
        }

        impl $name {
            /// With or without weight and bias.
            pub const fn affine(self, present: bool) -> Self {
                self.weight(present).bias(present)
            }
        }
    };
}

batch_norm! {
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
    BatchNorm1d, " `[B, C]` or `[B, C, L]`.", Tensor
}

batch_norm! {
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
    BatchNorm2d, " `[B, C, H, W]`.", Tensor<B, C, H, W>
}
