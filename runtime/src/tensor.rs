//! Tensors of numbers and indices on the user's side: inputs and results.

use crate::error::{Error, Result};
use crate::shape::{DType, MAX_RANK, elements};

/// Refuses a shape that does not have this many elements.
fn check_shape(shape: &[usize], found: usize) -> Result<()> {
    if shape.len() > MAX_RANK {
        let message = format!("a tensor has at most {MAX_RANK} axes, found {}: {shape:?}", shape.len());
        return Err(Error::Shape { function: "Tensor::new".into(), message });
    }
    let Some(expected) = elements(shape) else {
        return Err(Error::TooLarge { what: "a tensor of shape".into(), shape: shape.to_vec() });
    };
    if found != expected {
        return Err(Error::Elements { shape: shape.to_vec(), expected, found });
    }
    Ok(())
}

/// Memory for as many numbers as the shape has.
fn reserved(shape: &[usize]) -> Result<Vec<f32>> {
    let refused = || Error::TooLarge { what: "a result".into(), shape: shape.to_vec() };
    let elements = elements(shape).ok_or_else(refused)?;
    let mut data = Vec::new();
    data.try_reserve_exact(elements).map_err(|_| Error::Memory { what: "a result".into(), elements })?;
    Ok(data)
}

macro_rules! host_tensor {
    ($(#[doc = $doc:literal])* $name:ident $element:ty, $zero:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            shape: Vec<usize>,
            data: Vec<$element>,
        }

        impl $name {
            /// A tensor from its shape, outermost axis first, and its elements in row-major order.
            ///
            /// # Errors
            ///
            /// When the number of elements is not the product of the sizes, and for more than 8 axes.
            pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<Vec<$element>>) -> Result<$name> {
                let (shape, data) = (shape.into(), data.into());
                check_shape(&shape, data.len())?;
                Ok($name { shape, data })
            }

            /// The same elements in the same order under another shape.
            ///
            /// # Errors
            ///
            /// When the sizes have another product, and for more than 8 axes.
            ///
            /// ```
            #[doc = concat!("use downhill::", stringify!($name), ";")]
            #[doc = concat!("let x = ", stringify!($name), "::new([2, 2, 3], [", $zero, "; 12])?.reshape([2, 6])?;")]
            /// assert_eq!(x.shape(), [2, 6]);
            /// # Ok::<(), downhill::Error>(())
            /// ```
            pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<$name> {
                $name::new(shape, self.data)
            }

            /// The sizes, outermost first.
            pub fn shape(&self) -> &[usize] {
                &self.shape
            }

            /// The elements in row-major order.
            pub fn data(&self) -> &[$element] {
                &self.data
            }

            /// The elements, to change them.
            pub fn data_mut(&mut self) -> &mut [$element] {
                &mut self.data
            }

            /// The elements alone.
            pub fn into_data(self) -> Vec<$element> {
                self.data
            }
        }
    };
}

host_tensor! {
    /// Numbers with a shape: what a `Tensor` of a network function is at run time.
    ///
    /// ```
    /// use downhill::Tensor;
    /// let x = Tensor::new([2, 3], vec![0.0; 6])?;
    /// assert_eq!(x.shape(), [2, 3]);
    /// assert!(Tensor::new([2, 3], [1.0]).is_err());
    /// # Ok::<(), downhill::Error>(())
    /// ```
    Tensor f32, "0.0"
}

host_tensor! {
    /// Whole numbers with a shape: what an `Index` of a network function is at run time.
    ///
    /// ```
    /// use downhill::Index;
    /// let labels = Index::new([3], [7, 2, 1])?;
    /// assert_eq!(labels.data(), [7, 2, 1]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    Index i32, "0"
}

impl Tensor {
    /// Zeros.
    pub(crate) fn zeros(shape: &[usize]) -> Result<Tensor> {
        let mut data = reserved(shape)?;
        data.resize(elements(shape).unwrap_or(0), 0.0);
        Tensor::new(shape, data)
    }

    /// A copy of numbers.
    pub(crate) fn copied(shape: &[usize], numbers: &[f32]) -> Result<Tensor> {
        let mut data = reserved(shape)?;
        data.extend_from_slice(numbers);
        Tensor::new(shape, data)
    }

    /// The only element of a tensor with one element.
    ///
    /// # Errors
    ///
    /// When there is not exactly one.
    pub fn item(&self) -> Result<f32> {
        match self.data[..] {
            [x] => Ok(x),
            _ => Err(Error::Elements { shape: vec![], expected: 1, found: self.data.len() }),
        }
    }
}

/// The elements of an input.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// Numbers.
    Tensor(&'a [f32]),
    /// Whole numbers.
    Index(&'a [i32]),
}

/// An input of a compiled function: a shape and as many elements. It is made of a `&Tensor` or an `&Index`, or of
/// elements that lie elsewhere, which are not copied.
///
/// ```
/// use downhill::prelude::*;
/// use downhill::Input;
///
/// #[network(sequential)]
/// struct Net {
///     out: Linear<4, 2>,
/// }
///
/// let (shape, data) = ([3, 4], vec![0.5; 12]);
/// let y = Net::init(0).forward(&[Input::tensor(&shape, &data)?][..])?;
/// assert_eq!(y.shape(), [3, 2]);
/// assert!(Input::tensor(&[1 << 26, 4], &data).is_err());
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    shape: &'a [usize],
    elements: Elements<'a>,
}

impl<'a> Input<'a> {
    /// No elements.
    pub(crate) const NONE: Input<'static> = Input { shape: &[0], elements: Elements::Tensor(&[]) };

    /// Numbers of this shape, in row-major order.
    ///
    /// # Errors
    ///
    /// As [`Tensor::new`].
    pub fn tensor(shape: &'a [usize], data: &'a [f32]) -> Result<Input<'a>> {
        check_shape(shape, data.len())?;
        Ok(Input { shape, elements: Elements::Tensor(data) })
    }

    /// Whole numbers of this shape, in row-major order.
    ///
    /// # Errors
    ///
    /// As [`Index::new`].
    pub fn index(shape: &'a [usize], data: &'a [i32]) -> Result<Input<'a>> {
        check_shape(shape, data.len())?;
        Ok(Input { shape, elements: Elements::Index(data) })
    }

    /// The sizes, outermost first.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// What the elements are.
    pub fn dtype(&self) -> DType {
        match self.elements {
            Elements::Tensor(_) => DType::F32,
            Elements::Index(_) => DType::I32,
        }
    }

    /// The elements.
    pub fn elements(&self) -> Elements<'a> {
        self.elements
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Input { shape: &x.shape, elements: Elements::Tensor(&x.data) }
    }
}

impl<'a> From<&'a Index> for Input<'a> {
    fn from(x: &'a Index) -> Self {
        Input { shape: &x.shape, elements: Elements::Index(&x.data) }
    }
}

/// The inputs of a compiled function: `&x`, `(&x, &y)`, a batch of a data set, or a slice of [`Input`].
///
/// The library alone implements it. A run takes the inputs once, and what it has checked is what it computes with.
pub trait Inputs: sealed::Known {
    /// All of them in order.
    fn all(&self) -> impl AsRef<[Input<'_>]>;
}

pub(crate) mod sealed {
    /// What the library alone implements.
    pub trait Known {}
}

macro_rules! inputs {
    ($([$($generic:tt)*] $ty:ty, |$self:ident| $all:expr, [$($bound:tt)*];)*) => {$(
        impl<$($generic)*> sealed::Known for $ty where $($bound)* {}

        impl<$($generic)*> Inputs for $ty where $($bound)* {
            fn all(&$self) -> impl AsRef<[Input<'_>]> {
                $all
            }
        }
    )*};
}
inputs! {
    [] (), |self| [], [];
    [] &Tensor, |self| [Input::from(*self)], [];
    [] &Index, |self| [Input::from(*self)], [];
    ['i] &[Input<'i>], |self| *self, [];
}

macro_rules! tuple_inputs {
    ($($name:ident $i:tt)*) => {
        inputs! {
            ['a, $($name),*] ($(&'a $name,)*), |self| [$(Input::from(self.$i)),*], [$(Input<'a>: From<&'a $name>,)*];
        }
    };
}
tuple_inputs!(A 0);
tuple_inputs!(A 0 B 1);
tuple_inputs!(A 0 B 1 C 2);
tuple_inputs!(A 0 B 1 C 2 D 3);
tuple_inputs!(A 0 B 1 C 2 D 3 E 4);
tuple_inputs!(A 0 B 1 C 2 D 3 E 4 F 5);
