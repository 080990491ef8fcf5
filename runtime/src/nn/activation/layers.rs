//! Layers that apply an activation function.

use crate::nn::activation::*;

macro_rules! activation_layers {
    ($($(#[doc = $doc:literal])* $layer:ident $function:ident;)*) => {$(
        $(#[doc = $doc])*
        ///
        /// ```
        /// use downhill::prelude::*;
        ///
        /// #[network(sequential)]
        /// struct Net {
        ///     hidden: Linear<2, 3>,
        #[doc = concat!("    act: ", stringify!($layer), ",")]
        /// }
        ///
        /// let y = Net::init(0).forward(&Tensor::new([1, 2], [0.5, -0.5])?)?;
        /// assert_eq!(y.shape(), [1, 3]);
        /// # Ok::<(), downhill::Error>(())
        /// ```
        #[network(track_caller)]
        pub struct $layer;

        #[network(track_caller)]
        impl $layer {
            /// Applies the function to every element.
            pub fn forward(&self, x: Tensor) -> Tensor {
                $function(x)
            }
        }
    )*};
}

activation_layers! {
    /// [`relu`] as a layer.
    Relu relu;
    /// [`tanh`](crate::ops::tanh) as a layer.
    Tanh tanh;
    /// [`sigmoid`](crate::ops::sigmoid) as a layer.
    Sigmoid sigmoid;
    /// [`gelu`] as a layer.
    Gelu gelu;
    /// [`silu`] as a layer.
    Silu silu;
    /// [`mish`] as a layer.
    Mish mish;
    /// [`selu`] as a layer.
    Selu selu;
    /// [`relu6`] as a layer.
    Relu6 relu6;
    /// [`hardswish`] as a layer.
    Hardswish hardswish;
    /// [`softsign`] as a layer.
    Softsign softsign;
    /// [`hardsigmoid`] as a layer.
    Hardsigmoid hardsigmoid;
    /// [`log_sigmoid`] as a layer.
    LogSigmoid log_sigmoid;
    /// [`tanhshrink`] as a layer.
    Tanhshrink tanhshrink;
    /// [`gelu_tanh`] as a layer.
    GeluTanh gelu_tanh;
}

/// Layers of functions with options: their name, the function, and each option with its type and default.
macro_rules! layers_with_options {
    ($($(#[doc = $doc:literal])* $layer:ident $function:ident($($(#[doc = $about:literal])* $option:ident: $ty:ident = $default:literal),*);)*) => {$(
        $(#[doc = $doc])*
        ///
        /// ```
        /// use downhill::prelude::*;
        ///
        /// #[network(sequential)]
        /// struct Net {
        ///     hidden: Linear<2, 4>,
        #[doc = concat!("    #[layer(", $(stringify!($option), " = ", stringify!($default), ", ",)* ")]")]
        #[doc = concat!("    act: ", stringify!($layer), ",")]
        /// }
        ///
        /// let y = Net::init(0).forward(&Tensor::new([1, 2], [0.5, -0.5])?)?;
        /// assert!(y.data().iter().all(|y| y.is_finite()));
        /// # Ok::<(), downhill::Error>(())
        /// ```
        #[network(track_caller)]
        pub struct $layer {
            $($(#[doc = $about])* #[option($default)] pub $option: $ty,)*
        }

        #[network(track_caller)]
        impl $layer {
            /// Applies the function.
            pub fn forward(&self, x: Tensor) -> Tensor {
                $function(x, $(self.$option),*)
            }
        }
    )*};
}

layers_with_options! {
    /// [`leaky_relu`] as a layer.
    LeakyRelu leaky_relu(
        /// The slope below zero.
        negative_slope: f32 = 0.01
    );
    /// [`elu`] as a layer.
    Elu elu(
        /// The value that is approached far below zero, negated.
        alpha: f32 = 1.0
    );
    /// [`celu`] as a layer.
    Celu celu(
        /// The value that is approached far below zero, negated.
        alpha: f32 = 1.0
    );
    /// [`softplus`] as a layer.
    Softplus softplus(
        /// The sharpness of the bend.
        beta: f32 = 1.0,
        /// The number itself is taken where beta times it is above.
        threshold: f32 = 20.0
    );
    /// [`hardtanh`] as a layer.
    Hardtanh hardtanh(
        /// The lower bound.
        min_val: f32 = -1.0,
        /// The upper bound.
        max_val: f32 = 1.0
    );
    /// [`hardshrink`] as a layer.
    Hardshrink hardshrink(
        /// Numbers within ± this become zero.
        lambd: f32 = 0.5
    );
    /// [`softshrink`] as a layer.
    Softshrink softshrink(
        /// Numbers come nearer to zero by this.
        lambd: f32 = 0.5
    );
    /// [`threshold`] as a layer.
    Threshold threshold(
        /// Numbers above this stay.
        threshold: f32 = 0.0,
        /// What the others become.
        value: f32 = 0.0
    );
    /// [`softmax`] as a layer.
    Softmax softmax(
        /// The axis.
        dim: isize = -1
    );
    /// [`log_softmax`] as a layer.
    LogSoftmax log_softmax(
        /// The axis.
        dim: isize = -1
    );
    /// [`softmin`] as a layer.
    Softmin softmin(
        /// The axis.
        dim: isize = -1
    );
    /// [`glu`] as a layer, which halves an axis.
    Glu glu(
        /// The axis.
        dim: isize = -1
    );
}

/// [`prelu`] as a layer, with one slope for each of `C` channels on the second axis, or one for all with
/// `C` = 1. They start at 0.25.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     hidden: Linear<2, 4>,
///     act: Prelu<4>,
/// }
///
/// let y = Net::init(0).forward(&Tensor::new([1, 2], [0.5, -0.5])?)?;
/// assert_eq!(y.shape(), [1, 4]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub struct Prelu<const C: usize> {
    /// `[C]`.
    #[init(constant(0.25))]
    pub weight: Param<C>,
}

#[network(track_caller)]
impl<const C: usize> Prelu<C> {
    /// Any tensor with `C` channels on its second axis; any at all with `C` = 1.
    pub fn forward(&self, x: Tensor) -> Tensor {
        if C == 1 {
            prelu(x, squeeze(self.weight, 0))
        } else {
            transpose(prelu(transpose(x, 1, -1), self.weight), 1, -1)
        }
    }
}

impl Prelu {
    /// Another start of the slopes: `#[layer(weight_init = init::constant(0.1))]`.
    pub const fn weight_init(mut self, init: crate::network::init::Init) -> Self {
        self.weight = self.weight.starting(init);
        self
    }
}
