//! Dropout: what is dropped, by how much the rest grows, and that the gradient drops the same.

use downhill::prelude::*;

#[network]
struct Dropped {
    #[init(uniform(0.5, 1.5))]
    weight: Param<40, 250>,
    #[layer(p = 0.25)]
    dropout: Dropout,
}

#[network]
impl Dropped {
    fn forward(&self, x: Tensor<250>) -> Tensor<40, 250> {
        self.dropout(self.weight * x)
    }

    fn loss(&self, x: Tensor<250>) -> Tensor {
        sum(self.forward(x))
    }
}

fn ones() -> Tensor {
    Tensor::new([250], vec![1.0; 250]).unwrap()
}

#[test]
fn the_gradient_drops_what_the_value_does() -> downhill::Result<()> {
    let mut model = Dropped::init(1);
    let mut step = Step::new(&model, Dropped::loss, Sgd::new(0.0))?;
    step.set_seed(3);
    let loss = step.differentiate(&mut model, &ones())?;
    let (weight, grad) = (model.get("weight")?, step.grad("weight")?);
    let kept = grad.data().iter().filter(|&&d| d != 0.0).count() as f64 / 10_000.0;
    assert!((kept - 0.75).abs() < 0.02, "{kept} of the elements are kept");
    assert!(grad.data().iter().all(|&d| d == 0.0 || (d - 1.0 / 0.75).abs() < 1e-6));
    // The loss is linear in the weights that are kept.
    let expected: f64 = weight.data().iter().zip(grad.data()).map(|(&w, &d)| w as f64 * d as f64).sum();
    assert!((loss as f64 / expected - 1.0).abs() < 1e-5, "{loss}, expected {expected}");
    Ok(())
}

#[test]
fn every_run_drops_others_and_a_seed_repeats_them() -> downhill::Result<()> {
    let mut model = Dropped::init(1);
    let mut step = Step::new(&model, Dropped::loss, Sgd::new(0.0))?;
    let mut masks = |seed: u64| -> downhill::Result<[Tensor; 2]> {
        step.set_seed(seed);
        step.differentiate(&mut model, &ones())?;
        let first = step.grad("weight")?;
        step.differentiate(&mut model, &ones())?;
        Ok([first, step.grad("weight")?])
    };
    let [a, b] = masks(5)?;
    assert_ne!(a, b);
    assert_eq!(masks(5)?, [a.clone(), b]);
    assert_ne!(masks(6)?[0], a);
    Ok(())
}

#[test]
fn evaluation_drops_nothing() -> downhill::Result<()> {
    let model = Dropped::init(1);
    assert_eq!(model.forward(&ones())?, model.get("weight")?);
    Ok(())
}

/// Two blocks, with what is written on them.
macro_rules! model {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $name {
            $(#[$attribute])*
            blocks: [Block; 2],
        }

        #[network]
        impl $name {
            fn loss(&self, x: Tensor<B, 16>) -> Tensor {
                let mut x = x;
                for block in &self.blocks {
                    x = block(x);
                }
                sum(x * x)
            }
        }
    };
}

#[network]
struct Block {
    line: Linear<16, 16>,
    first: Dropout,
    second: Dropout,
}

#[network]
impl Block {
    fn forward(&self, x: Tensor<B, 16>) -> Tensor<B, 16> {
        x + self.second(tanh(self.first(self.line(x)) + x * 0.5))
    }
}

model!(Kept);
model!(Again #[checkpoint]);

#[test]
fn what_is_computed_again_is_dropped_again() -> downhill::Result<()> {
    fn bits<N: downhill::network::Network>(
        mut model: Model<N>,
        loss: downhill::network::Function<N>,
    ) -> downhill::Result<Vec<u32>> {
        let x = Tensor::new([9, 16], (0..144).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
        let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
        let mut bits = vec![step.differentiate(&mut model, &x)?.to_bits()];
        for param in model.params() {
            bits.extend(step.grad(param.name)?.data().iter().map(|x| x.to_bits()));
        }
        Ok(bits)
    }
    assert_eq!(bits(Kept::init(1), Kept::loss)?, bits(Again::init(1), Again::loss)?);
    Ok(())
}
