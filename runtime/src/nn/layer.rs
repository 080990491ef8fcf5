//! Layers with parameters.

use super::norm::standardize;
use crate::network;
use crate::network::init::Init;
use crate::ops::*;

/// A linear layer, x Wᵀ + b, from `I` features to `O`. The weight is `[O, I]`, as PyTorch has it;
/// both start uniform within ±1/√I. `#[layer(bias = false)]` leaves the bias out.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(bias = false)]
///     only: Linear<3, 2>,
/// }
///
/// let mut model = Net::init(0);
/// model.set("only.weight", &Tensor::new([2, 3], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0])?)?;
/// let y = model.forward(&Tensor::new([1, 3], [1.0, 2.0, 3.0])?)?;
/// assert_eq!(y.data(), [1.0, 5.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Linear<const I: usize, const O: usize> {
    /// `[O, I]`.
    #[init(fan_in(I))]
    pub weight: Param<O, I>,
    /// `[O]`.
    #[init(fan_in(I))]
    pub bias: Option<Param<O>>,
}

#[network(track_caller)]
impl<const I: usize, const O: usize> Linear<I, O> {
    /// Any number of outer axes, then `I` features, to as many with `O` features.
    pub fn forward(&self, x: Tensor<[N], I>) -> Tensor<[N], O> {
        let y = matmul(x, transpose(self.weight, 0, 1));
        if self.bias.is_some() { y + self.bias } else { y }
    }
}

impl Linear {
    /// Another start of the weight: `#[layer(weight_init = init::normal(0.02))]`.
    pub const fn weight_init(mut self, init: Init) -> Self {
        self.weight = self.weight.starting(init);
        self
    }

    /// Another start of the bias: `#[layer(bias_init = init::zeros)]`.
    pub const fn bias_init(mut self, init: Init) -> Self {
        self.bias = self.bias.starting(init);
        self
    }
}

/// A table of `V` rows of `D` numbers, looked up by an `Index`. It starts normal with deviation
/// one, as PyTorch's does.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     table: Embedding<10, 4>,
/// }
///
/// let y = Net::init(0).forward(&Index::new([2, 3], vec![0, 1, 2, 9, 8, 7])?)?;
/// assert_eq!(y.shape(), [2, 3, 4]);
/// assert!(Net::init(0).forward(&Index::new([1], [10])?).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Embedding<const V: usize, const D: usize> {
    /// `[V, D]`.
    #[init(normal(1.0))]
    pub weight: Param<V, D>,
}

#[network(track_caller)]
impl<const V: usize, const D: usize> Embedding<V, D> {
    /// Row numbers below `V` to their rows.
    pub fn forward(&self, rows: Index<[N]>) -> Tensor<[N], D> {
        gather(self.weight, rows)
    }
}

impl Embedding {
    /// Another start of the table: `#[layer(weight_init = init::normal(0.02))]`.
    pub const fn weight_init(mut self, init: Init) -> Self {
        self.weight = self.weight.starting(init);
        self
    }
}

/// Layer normalisation over the last axis (Ba, Kiros and Hinton, arXiv:1607.06450): each row less
/// its mean, over the square root of its variance plus `eps` (1e-5, `#[layer(eps = ..)]`), times a
/// weight that starts at one, plus a bias that starts at zero.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     norm: LayerNorm<2>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 2], [1.0, 3.0])?)?;
/// assert!((y.data()[0] + 1.0).abs() < 1e-4 && (y.data()[1] - 1.0).abs() < 1e-4);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct LayerNorm<const D: usize> {
    /// `[D]`.
    #[init(ones)]
    pub weight: Param<D>,
    /// `[D]`.
    #[init(zeros)]
    pub bias: Option<Param<D>>,
    /// Added to the variance.
    #[option(1e-5)]
    pub eps: f32,
}

#[network(track_caller)]
impl<const D: usize> LayerNorm<D> {
    /// Any number of outer axes, then `D` features.
    pub fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
        let y = standardize(x, -1, self.eps) * self.weight;
        if self.bias.is_some() { y + self.bias } else { y }
    }
}
