//! A model whose gradients are those of the golden vectors.

use downhill::prelude::*;
use serde_json::Value as Json;

/// A loss whose gradient is what it is given.
#[network]
pub struct Given {
    #[init(zeros)]
    w: Param<2, 3>,
    #[init(zeros)]
    b: Param<2>,
}

#[network]
impl Given {
    pub fn loss(&self, w: Tensor<2, 3>, b: Tensor<2>) -> Tensor {
        sum(self.w * w) + sum(self.b * b)
    }
}

/// The numbers of nested lists in order.
pub fn numbers(json: &Json) -> Vec<f32> {
    match json {
        Json::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}
