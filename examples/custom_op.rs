//! An operation and a layer of one's own: three lines each, the gradient is generated, and the
//! example checks it against finite differences.
//!
//! ```text
//! cargo run --release --example custom_op
//! ```
//!
//! It ends with `largest difference: …`, which is below 1e-3.

use anyhow::{Result, ensure};
use downhill::prelude::*;

/// An operation: the swish with a sharpness, x · sigmoid(b x).
#[network]
fn sharp_swish(x: Tensor, sharpness: Tensor) -> Tensor {
    x * sigmoid(sharpness * x)
}

/// A layer: it learns how sharp the swish of each feature is.
#[network]
struct Swish<const D: usize> {
    #[init(ones)]
    sharpness: Param<D>,
}

#[network]
impl<const D: usize> Swish<D> {
    fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
        sharp_swish(x, self.sharpness)
    }
}

#[network(sequential, loss = mse)]
struct Net {
    hidden: Linear<3, 8>,
    act: Swish<8>,
    out: Linear<8, 1>,
}

fn main() -> Result<()> {
    let mut model = Net::init(1);
    let x = Tensor::new([4, 3], (0..12).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>())?;
    let y = Tensor::new([4, 1], [0.5, -0.5, 1.0, 0.0])?;

    // The gradient that was generated.
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    step.differentiate(&mut model, (&x, &y))?;

    // What the loss really does when a parameter changes a little.
    let names: Vec<String> = model.params().map(|p| p.name.to_owned()).collect();
    let mut largest = 0f32;
    for name in &names {
        let (kept, grad) = (model.get(name)?, step.grad(name)?);
        for i in 0..kept.data().len() {
            let mut loss_at = |delta: f32| -> Result<f32> {
                let mut moved = kept.clone();
                moved.data_mut()[i] += delta;
                model.set(name, &moved)?;
                Ok(model.call(Net::loss, (&x, &y))?[0].item()?)
            };
            let h = 1e-2;
            let difference = (loss_at(h)? - loss_at(-h)?) / (2.0 * h) - grad.data()[i];
            largest = largest.max(difference.abs());
        }
        model.set(name, &kept)?;
        println!("{name}: {} elements checked", kept.data().len());
    }

    for _ in 0..200 {
        step.run(&mut model, (&x, &y))?;
    }
    println!("sharpness after 200 steps: {:.3?}", model.get("act.sharpness")?.data());
    println!("largest difference: {largest:.1e}");
    ensure!(largest < 1e-3, "the gradient is wrong");
    Ok(())
}
