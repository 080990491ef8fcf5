//! Gated recurrent units.

use super::project;
use crate::network;
use crate::ops::*;

/// One time of gated recurrent units (Cho et al., arXiv:1406.1078), PyTorch's `nn.GRUCell`. Of
/// a = W_ih x + b_ih and b = W_hh h + b_hh, each in the order r, z, n: r = σ(a_r + b_r), z = σ(a_z + b_z),
/// n = tanh(a_n + r b_n), and h' = (1 − z) n + z h. Everything starts uniform within ±1/√H.
/// `#[layer(bias = false)]` leaves both biases out.
///
/// ```
/// use downhill::prelude::*;
///
/// let cell = GruCell::<3, 4>::init(0);
/// let (x, h) = (Tensor::new([2, 3], [0.5; 6])?, Tensor::new([2, 4], [0.0; 8])?);
/// assert_eq!(cell.call(GruCell::<3, 4>::forward, (&x, &h))?[0].shape(), [2, 4]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct GruCell<const I: usize, const H: usize> {
    /// `[3 H, I]`.
    #[init(fan_in(H))]
    pub weight_ih: Param<{ 3 * H }, I>,
    /// `[3 H, H]`.
    #[init(fan_in(H))]
    pub weight_hh: Param<{ 3 * H }, H>,
    /// `[3 H]`.
    #[init(fan_in(H))]
    pub bias_ih: Option<Param<{ 3 * H }>>,
    /// `[3 H]`.
    #[init(fan_in(H))]
    pub bias_hh: Option<Param<{ 3 * H }>>,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> GruCell<I, H> {
    /// The state behind `x`, given the one before it.
    pub fn forward(&self, x: Tensor<B, I>, h: Tensor<B, H>) -> Tensor<B, H> {
        let mut input = project(x, self.weight_ih);
        if self.bias_ih.is_some() {
            input = input + self.bias_ih;
        }
        let mut state = project(h, self.weight_hh);
        if self.bias_hh.is_some() {
            state = state + self.bias_hh;
        }
        gates(input, state, h)
    }
}

impl GruCell {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih = self.bias_ih.optional(present);
        self.bias_hh = self.bias_hh.optional(present);
        self
    }
}

/// Gated recurrent units, PyTorch's `nn.GRU` with one layer and `batch_first`: [`GruCell`] at every time,
/// from a state of zeros. Parameters start, and options are, as in the cell.
///
/// Layers are stacked by giving one what another gives; `flip(x, 1)` in front of a layer and behind it is the
/// other direction. The loop is unrolled: every length is compiled at its first use.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     units: Gru<3, 4>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([2, 7, 3], [0.5; 42])?)?;
/// assert_eq!(y.shape(), [2, 7, 4]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Gru<const I: usize, const H: usize> {
    /// `[3 H, I]`.
    #[init(fan_in(H))]
    pub weight_ih_l0: Param<{ 3 * H }, I>,
    /// `[3 H, H]`.
    #[init(fan_in(H))]
    pub weight_hh_l0: Param<{ 3 * H }, H>,
    /// `[3 H]`.
    #[init(fan_in(H))]
    pub bias_ih_l0: Option<Param<{ 3 * H }>>,
    /// `[3 H]`.
    #[init(fan_in(H))]
    pub bias_hh_l0: Option<Param<{ 3 * H }>>,
}

#[network(track_caller)]
impl<const I: usize, const H: usize> Gru<I, H> {
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
        let mut h = h;
        let states = for input in unbind(inputs, 1) {
            let mut state = project(h, self.weight_hh_l0);
            if self.bias_hh_l0.is_some() {
                state = state + self.bias_hh_l0;
            }
            h = gates(input, state, h);
            h
        };
        (states, h)
    }
}

impl Gru {
    /// With or without both biases.
    pub const fn bias(mut self, present: bool) -> Self {
        self.bias_ih_l0 = self.bias_ih_l0.optional(present);
        self.bias_hh_l0 = self.bias_hh_l0.optional(present);
        self
    }
}

/// The state that the input's and the state's part of the gates make of `h`.
#[network(track_caller)]
fn gates(input: Tensor<B, { 3 * H }>, state: Tensor<B, { 3 * H }>, h: Tensor<B, H>) -> Tensor<B, H> {
    let both = input + state;
    let reset = sigmoid(slice(both, 1, 0, H));
    let keep = sigmoid(slice(both, 1, H, 2 * H));
    let new = tanh(slice(input, 1, 2 * H, 3 * H) + reset * slice(state, 1, 2 * H, 3 * H));
    new + keep * (h - new)
}
