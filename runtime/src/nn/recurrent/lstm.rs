//! Long short-term memory.

use super::project;
use crate::network;
use crate::ops::*;

/// One time of a long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et
/// al. 2000), PyTorch's `nn.LSTMCell`: of the sums W_ih x + b_ih + W_hh h + b_hh, in the order i, f, g, o,
/// c' = σ(f) c + σ(i) tanh(g) and h' = σ(o) tanh(c'). Everything starts uniform within ±1/√H.
/// `#[layer(bias = false)]` leaves both biases out.
///
/// ```
/// use downhill::prelude::*;
///
/// let cell = LstmCell::<3, 4>::init(0);
/// let (x, zero) = (Tensor::new([2, 3], [0.5; 6])?, Tensor::new([2, 4], [0.0; 8])?);
/// let state = cell.call(LstmCell::<3, 4>::forward, (&x, &zero, &zero))?;
/// assert_eq!([state[0].shape(), state[1].shape()], [[2, 4], [2, 4]]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct LstmCell<const I: usize, const H: usize> {
    /// `[4 H, I]`.
    #[init(fan_in(H))]
    pub weight_ih: Param<{ 4 * H }, I>,
    /// `[4 H, H]`.
    #[init(fan_in(H))]
    pub weight_hh: Param<{ 4 * H }, H>,
    /// `[4 H]`.
    #[init(fan_in(H))]
    pub bias_ih: Option<Param<{ 4 * H }>>,
    /// `[4 H]`.
    #[init(fan_in(H))]
    pub bias_hh: Option<Param<{ 4 * H }>>,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> LstmCell<I, H> {
    /// The state `(h, c)` behind `x`, given the one before it.
    pub fn forward(&self, x: Tensor<B, I>, h: Tensor<B, H>, c: Tensor<B, H>) -> (Tensor<B, H>, Tensor<B, H>) {
        let mut sums = project(x, self.weight_ih) + project(h, self.weight_hh);
        if self.bias_ih.is_some() {
            sums = sums + self.bias_ih;
        }
        if self.bias_hh.is_some() {
            sums = sums + self.bias_hh;
        }
        let (h, c) = gates(sums, c);
        (h, c)
    }
}

impl LstmCell {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih = self.bias_ih.optional(present);
        self.bias_hh = self.bias_hh.optional(present);
        self
    }
}

/// A long short-term memory, PyTorch's `nn.LSTM` with one layer and `batch_first`: [`LstmCell`] at every
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
///     memory: Lstm<3, 4>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 7, 3], [0.5; 42])?)?;
/// assert_eq!(y.shape(), [2, 7, 4]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Lstm<const I: usize, const H: usize> {
    /// `[4 H, I]`.
    #[init(fan_in(H))]
    pub weight_ih_l0: Param<{ 4 * H }, I>,
    /// `[4 H, H]`.
    #[init(fan_in(H))]
    pub weight_hh_l0: Param<{ 4 * H }, H>,
    /// `[4 H]`.
    #[init(fan_in(H))]
    pub bias_ih_l0: Option<Param<{ 4 * H }>>,
    /// `[4 H]`.
    #[init(fan_in(H))]
    pub bias_hh_l0: Option<Param<{ 4 * H }>>,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> Lstm<I, H> {
    /// The states h at all times.
    pub fn forward(&self, x: Tensor<B, T, I>) -> Tensor<B, T, H> {
        let zero = broadcast_to(0.0, [B, H]);
        let (states, _, _) = self.forward_from(x, zero, zero);
        states
    }

    /// The states h at all times and the last h and c, from a first state `(h, c)`.
    pub fn forward_from(
        &self,
        x: Tensor<B, T, I>,
        h: Tensor<B, H>,
        c: Tensor<B, H>,
    ) -> (Tensor<B, T, H>, Tensor<B, H>, Tensor<B, H>) {
        let mut inputs = project(x, self.weight_ih_l0);
        if self.bias_ih_l0.is_some() {
            inputs = inputs + self.bias_ih_l0;
        }
        if self.bias_hh_l0.is_some() {
            inputs = inputs + self.bias_hh_l0;
        }
        let mut h = h;
        let mut c = c;
        let states = for input in unbind(inputs, 1) {
            (h, c) = gates(input + project(h, self.weight_hh_l0), c);
            h
        };
        (states, h, c)
    }
}

impl Lstm {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih_l0 = self.bias_ih_l0.optional(present);
        self.bias_hh_l0 = self.bias_hh_l0.optional(present);
        self
    }
}

/// The state `(h, c)` that the sums of all gates make of `c`.
#[network(track_caller)]
fn gates(sums: Tensor<B, { 4 * H }>, c: Tensor<B, H>) -> (Tensor<B, H>, Tensor<B, H>) {
    let input = sigmoid(slice(sums, 1, 0, H));
    let forget = sigmoid(slice(sums, 1, H, 2 * H));
    let update = tanh(slice(sums, 1, 2 * H, 3 * H));
    let output = sigmoid(slice(sums, 1, 3 * H, 4 * H));
    let c = forget * c + input * update;
    (output * tanh(c), c)
}
