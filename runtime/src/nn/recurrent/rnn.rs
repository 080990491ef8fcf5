//! The plain recurrent layer (Elman 1990).

use super::project;
use crate::network;
use crate::nn::relu;
use crate::ops::*;

/// One time of a plain recurrent network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), PyTorch's
/// `nn.RNNCell`. Everything starts uniform within ±1/√H. Options and their defaults: `relu = false`, relu
/// in place of tanh; `bias = true`.
///
/// ```
/// use downhill::prelude::*;
///
/// let cell = RnnCell::<3, 4>::init(0);
/// let (x, h) = (Tensor::new([2, 3], [0.5; 6])?, Tensor::new([2, 4], [0.0; 8])?);
/// assert_eq!(cell.call(RnnCell::<3, 4>::forward, (&x, &h))?[0].shape(), [2, 4]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct RnnCell<const I: usize, const H: usize> {
    /// `[H, I]`.
    #[init(fan_in(H))]
    pub weight_ih: Param<H, I>,
    /// `[H, H]`.
    #[init(fan_in(H))]
    pub weight_hh: Param<H, H>,
    /// `[H]`.
    #[init(fan_in(H))]
    pub bias_ih: Option<Param<H>>,
    /// `[H]`.
    #[init(fan_in(H))]
    pub bias_hh: Option<Param<H>>,
    /// Relu in place of tanh.
    #[option(false)]
    pub relu: bool,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> RnnCell<I, H> {
    /// The state behind `x`, given the one before it.
    pub fn forward(&self, x: Tensor<B, I>, h: Tensor<B, H>) -> Tensor<B, H> {
        let mut sum = project(x, self.weight_ih) + project(h, self.weight_hh);
        if self.bias_ih.is_some() {
            sum = sum + self.bias_ih;
        }
        if self.bias_hh.is_some() {
            sum = sum + self.bias_hh;
        }
        if self.relu { relu(sum) } else { tanh(sum) }
    }
}

impl RnnCell {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih = self.bias_ih.optional(present);
        self.bias_hh = self.bias_hh.optional(present);
        self
    }
}

/// A plain recurrent layer, PyTorch's `nn.RNN` with one layer and `batch_first`: [`RnnCell`] at every
/// time, from a state of zeros. Parameters start, and options are, as in the cell.
///
/// Layers are stacked by giving one what another gives; `flip(x, 1)` in front of a layer and behind it is the
/// other direction. The loop is unrolled: every length is compiled at its first use.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     #[layer(relu = true)]
///     first: Rnn<3, 4>,
///     second: Rnn<4, 5>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 7, 3], [0.5; 42])?)?;
/// assert_eq!(y.shape(), [2, 7, 5]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Rnn<const I: usize, const H: usize> {
    /// `[H, I]`.
    #[init(fan_in(H))]
    pub weight_ih_l0: Param<H, I>,
    /// `[H, H]`.
    #[init(fan_in(H))]
    pub weight_hh_l0: Param<H, H>,
    /// `[H]`.
    #[init(fan_in(H))]
    pub bias_ih_l0: Option<Param<H>>,
    /// `[H]`.
    #[init(fan_in(H))]
    pub bias_hh_l0: Option<Param<H>>,
    /// Relu in place of tanh.
    #[option(false)]
    pub relu: bool,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> Rnn<I, H> {
    /// The states at all times.
    pub fn forward(&self, x: Tensor<B, T, I>) -> Tensor<B, T, H> {
        let (states, _) = self.forward_from(x, broadcast_to(0.0, [B, H]));
        states
    }

    /// The states at all times and the last one, from a first state `h`.
    pub fn forward_from(&self, x: Tensor<B, T, I>, h: Tensor<B, H>) -> (Tensor<B, T, H>, Tensor<B, H>) {
        let mut inputs = project(x, self.weight_ih_l0);
        if self.bias_ih_l0.is_some() {
            inputs = inputs + self.bias_ih_l0;
        }
        if self.bias_hh_l0.is_some() {
            inputs = inputs + self.bias_hh_l0;
        }
        let mut h = h;
        let states = for input in unbind(inputs, 1) {
            let sum = input + project(h, self.weight_hh_l0);
            h = if self.relu { relu(sum) } else { tanh(sum) };
            h
        };
        (states, h)
    }
}

impl Rnn {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih_l0 = self.bias_ih_l0.optional(present);
        self.bias_hh_l0 = self.bias_hh_l0.optional(present);
        self
    }
}
