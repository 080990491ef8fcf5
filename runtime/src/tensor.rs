//! Tensors of numbers and indices on the user's side: inputs and results.

use crate::error::{Error, Result};
use crate::shape::{DType, MAX_RANK};

/// Refuses a shape that does not have this many elements.
fn check_shape(shape: &[usize], found: usize) -> Result<()> {
    if shape.len() > MAX_RANK {
        let message = format!("a tensor has at most {MAX_RANK} axes, found {}: {shape:?}", shape.len());
        return Err(Error::Shape { function: "Tensor::new".into(), message });
    }
    let expected = shape.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    if found != expected {
        return Err(Error::Elements { shape: shape.to_vec(), expected, found });
    }
    Ok(())
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

/// An input of a compiled function.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Numbers: shape and elements.
    Tensor(&'a [usize], &'a [f32]),
    /// Whole numbers: shape and elements.
    Index(&'a [usize], &'a [i32]),
}

impl<'a> Input<'a> {
    /// The sizes, outermost first.
    pub fn shape(&self) -> &'a [usize] {
        match self {
            Input::Tensor(shape, _) | Input::Index(shape, _) => shape,
        }
    }

    /// What the elements are.
    pub fn dtype(&self) -> DType {
        match self {
            Input::Tensor(..) => DType::F32,
            Input::Index(..) => DType::I32,
        }
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Input::Tensor(&x.shape, &x.data)
    }
}

impl<'a> From<&'a Index> for Input<'a> {
    fn from(x: &'a Index) -> Self {
        Input::Index(&x.shape, &x.data)
    }
}

/// The inputs of a compiled function: `&x`, `(&x, &y)`, or a slice of [`Input`].
pub trait Inputs {
    /// How many there are.
    fn count(&self) -> usize;
    /// One of them.
    fn input(&self, i: usize) -> Input<'_>;
}

impl Inputs for () {
    fn count(&self) -> usize {
        0
    }

    fn input(&self, _i: usize) -> Input<'_> {
        unreachable!("an input past their count")
    }
}

impl Inputs for &Tensor {
    fn count(&self) -> usize {
        1
    }

    fn input(&self, _i: usize) -> Input<'_> {
        Input::from(*self)
    }
}

impl Inputs for &Index {
    fn count(&self) -> usize {
        1
    }

    fn input(&self, _i: usize) -> Input<'_> {
        Input::from(*self)
    }
}

impl Inputs for &[Input<'_>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn input(&self, i: usize) -> Input<'_> {
        self[i]
    }
}

macro_rules! tuple_inputs {
    ($($name:ident $i:tt)*) => {
        impl<'a, $($name),*> Inputs for ($(&'a $name,)*)
        where
            $(Input<'a>: From<&'a $name>,)*
        {
            fn count(&self) -> usize {
                [$($i),*].len()
            }

            fn input(&self, i: usize) -> Input<'_> {
                match i {
                    $($i => Input::from(self.$i),)*
                    _ => unreachable!("an input past their count"),
                }
            }
        }
    };
}
tuple_inputs!(A 0);
tuple_inputs!(A 0 B 1);
tuple_inputs!(A 0 B 1 C 2);
tuple_inputs!(A 0 B 1 C 2 D 3);
tuple_inputs!(A 0 B 1 C 2 D 3 E 4);
tuple_inputs!(A 0 B 1 C 2 D 3 E 4 F 5);
