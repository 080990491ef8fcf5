//! Losses that compare element by element, and what is not of one shape.
use downhill::prelude::*;

#[network]
struct Net {
    out: Linear<2, 1>,
}

#[network]
impl Net {
    fn squared(&self, x: Tensor<B, 2>, y: Tensor<B>) -> Tensor {
        mse(self.out(x), y)
    }

    fn terms(&self, x: Tensor<B, 2>, y: Tensor<B>) -> Tensor {
        huber_terms(self.out(x), y, 1.0)
    }

    fn logits(&self, x: Tensor<B, 2>, y: Tensor<B>) -> Tensor {
        bce_with_logits(self.out(x), y)
    }

    fn constants(&self, x: Tensor<4, 1>, y: Tensor<4>) -> Tensor {
        l1(x, y)
    }

    fn weights(&self, x: Tensor<B, 2>, weight: Tensor<B>) -> Tensor {
        weighted_bce(sigmoid(self.out(x)), 1.0, weight)
    }

    fn labels(&self, x: Tensor<B, 2>, label: Tensor<B, 1>) -> Tensor {
        cosine_embedding(x, x, label, 0.0)
    }

    fn count(&self, x: Tensor<B, 2>) -> Tensor {
        mse(self.out(x), mean(x))
    }
}

fn main() {}
