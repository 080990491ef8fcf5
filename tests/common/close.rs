//! Tensors from numbers in double precision, and their comparison.

use downhill::prelude::*;

pub fn tensor(shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::new(shape, data.iter().map(|&x| x as f32).collect::<Vec<_>>()).unwrap()
}

#[track_caller]
pub fn assert_close(found: &Tensor, expected: &[f64]) {
    assert_eq!(found.data().len(), expected.len());
    for (i, (&a, &b)) in found.data().iter().zip(expected).enumerate() {
        assert!((a as f64 - b).abs() <= 2e-6 * (1.0 + b.abs()), "element {i}: {a}, expected {b}");
    }
}
