//! What whole numbers and truth values have not: quotients, powers, fractions beside them.
use downhill::prelude::*;

const HALF: f32 = 0.5;

#[network]
struct Whole {
    #[option(0.5)]
    half: f32,
    #[option(2.0)]
    two: f32,
}

#[network]
impl Whole {
    fn quotient(&self, a: Index<B>, b: Index<B>) -> Index<B> {
        a / b
    }

    fn power(&self, a: Index<B>) -> Index<B> {
        pow(a, 2)
    }

    fn angle(&self, a: Index<B>) -> Index<B> {
        atan2(a, 2.0)
    }

    fn root(&self, a: Index<B>) -> Index<B> {
        sqrt(a)
    }

    fn average(&self, a: Index<B>) -> Tensor {
        mean(a)
    }

    fn product(&self, a: Index<B>) -> Index<B> {
        a * 0.5
    }

    fn below(&self, a: Index<B>) -> Mask<B> {
        a < 7.5
    }

    fn above(&self, a: Index<B>) -> Mask<B> {
        -0.5 < a
    }

    fn large(&self, a: Index<B>) -> Index<B> {
        a + 1e10
    }

    fn larger(&self, a: Index<B>) -> Index<B> {
        a + 10_000_000_000
    }

    fn infinite(&self, a: Index<B>) -> Mask<B> {
        a == f32::INFINITY
    }

    fn no_number(&self, a: Index<B>) -> Mask<B> {
        a != f64::NAN
    }

    fn constant(&self, a: Index<B>) -> Index<B> {
        a - HALF
    }

    fn option(&self, a: Index<B>) -> Index<B> {
        maximum(a, self.half) + self.two
    }

    fn named(&self, a: Index<B>) -> Index<B> {
        let quarter = 1.0 / 4.0;
        minimum(a, quarter)
    }

    fn passed_on(&self, a: Index<B>) -> Index<B> {
        times(a, 1.5)
    }

    fn chosen(&self, a: Index<B>) -> Index<B> {
        select(a > 0, a, 0.5)
    }

    fn padded(&self, a: Index<B>) -> Index<C> {
        pad_constant(a, 0, 1, 1, 0.5)
    }

    fn resized(&self, a: Index<B>) -> Index<C> {
        resize_linear(a, 0, 7, false, 0.0)
    }

    fn mixed(&self, a: Index<B>, x: Tensor<B>) -> Tensor<B> {
        a * x
    }

    fn masks(&self, a: Mask<B>) -> Mask<B> {
        a + a
    }

    fn equal_masks(&self, a: Mask<B>) -> Mask<B> {
        a == a
    }

    fn mask_and_number(&self, a: Mask<B>) -> Tensor<B> {
        a * 2.0
    }

    fn negative_mask(&self, a: Mask<B>) -> Mask<B> {
        -a
    }
}

#[network]
fn times(a: Index<B>, factor: f32) -> Index<B> {
    a * factor
}

fn main() {}
