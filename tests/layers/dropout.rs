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

/// The same with what is computed again written in front of the call.
#[network]
struct AgainByCall {
    blocks: [Block; 2],
}

#[network]
impl AgainByCall {
    fn loss(&self, x: Tensor<B, 16>) -> Tensor {
        let mut x = x;
        for block in &self.blocks {
            x = #[checkpoint]
            block(x);
        }
        sum(x * x)
    }
}

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
    let kept = bits(Kept::init(1), Kept::loss)?;
    assert_eq!(kept, bits(Again::init(1), Again::loss)?);
    assert_eq!(kept, bits(AgainByCall::init(1), AgainByCall::loss)?);
    Ok(())
}

/// Drops after a layer of its own, and once more in what it calls.
#[network]
struct Encoder {
    inner: Dropout,
    outer: Dropout,
}

#[network]
impl Encoder {
    fn forward(&self, x: Tensor) -> Tensor {
        self.inner(x) * 2.0 + self.late(x)
    }

    fn late(&self, x: Tensor) -> Tensor {
        halved(self.outer(x)) * 2.0
    }
}

#[network]
fn halved(x: Tensor) -> Tensor {
    x * 0.5
}

#[network]
fn free(x: Tensor) -> Tensor {
    dropout(x, 0.5)
}

const WIDTH: usize = 4096;

/// Every way to drop elements of one value: each call is a digit of the result.
macro_rules! many {
    ($name:ident, $($checkpoint:tt)*) => {
        #[network]
        struct $name {
            #[init(ones)]
            weight: Param<WIDTH>,
            encoder: Encoder,
            $($checkpoint)*
            other: Encoder,
            $($checkpoint)*
            layers: [Dropout; 3],
            single: Dropout,
        }

        #[network]
        impl $name {
            fn masks(&self, x: Tensor<WIDTH>) -> Tensor<WIDTH> {
                // One encoder twice, and another one: two digits each.
                let mut y = self.encoder(x) * 4.0 + self.encoder(x);
                y = y * 4.0 + self.other(x);
                for layer in &self.layers {
                    y = y * 2.0 + layer(x);
                }
                for layer in &self.layers {
                    y = y * 2.0 + layer(x);
                }
                // Rounds of a loop, with two calls in each.
                let rows = stack([x, x, x], 0);
                for row in unbind(rows, 0) {
                    y = y * 2.0 + self.single(row);
                    y = y * 2.0 + free(row);
                }
                y
            }

            fn loss(&self, x: Tensor<WIDTH>) -> (Tensor, Tensor<WIDTH>) {
                let y = self.masks(self.weight * x);
                (sum(y), y)
            }
        }
    };
}

many!(Many,);
many!(ManyAgain, #[checkpoint]);

/// How many calls draw a mask in [`Many`].
const CALLS: usize = 18;

/// The masks of each call in each of some steps, and the bits of loss and gradient.
fn masks<N: downhill::network::Network>(
    mut model: Model<N>,
    loss: downhill::network::Function<N>,
) -> downhill::Result<(Vec<Vec<bool>>, Vec<u32>)> {
    let x = Tensor::new([WIDTH], vec![1.0; WIDTH])?;
    let mut step = Step::new(&model, loss, Sgd::new(0.0))?;
    let (mut masks, mut bits) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        bits.push(step.differentiate(&mut model, &x)?.to_bits());
        let (y, grad) = (step.outputs()[0].clone(), step.grad("weight")?);
        // The result is linear in the weights, which are one: the gradient drops what the value does.
        assert_eq!(y, grad);
        bits.extend(grad.data().iter().map(|x| x.to_bits()));
        masks.extend((0..CALLS).map(|call| y.data().iter().map(|&y| y as u32 >> (call + 1) & 1 == 1).collect()));
    }
    Ok((masks, bits))
}

#[test]
fn every_call_of_every_step_drops_on_its_own() -> downhill::Result<()> {
    let (masks, _) = masks(Many::init(1), Many::loss)?;
    let sign = |kept: bool| if kept { 1.0 } else { -1.0 };
    let expected = (WIDTH as f64).sqrt();
    for (i, a) in masks.iter().enumerate() {
        let sum: f64 = a.iter().map(|&a| sign(a)).sum();
        assert!(sum.abs() < 4.5 * expected, "mask {i} keeps {sum} more than it drops");
        for (j, b) in masks.iter().enumerate().skip(i + 1) {
            let product: f64 = a.iter().zip(b).map(|(&a, &b)| sign(a == b)).sum();
            assert!(product.abs() < 4.5 * expected, "masks {i} and {j} agree in {product} more than they differ");
        }
    }
    Ok(())
}

#[test]
fn neighbours_are_dropped_independently() -> downhill::Result<()> {
    let (masks, _) = masks(Many::init(1), Many::loss)?;
    for (i, mask) in masks.iter().enumerate() {
        for distance in [1, 2, 3, 4, 7, 8, 16, 32, 64, 256] {
            let equal = mask.iter().zip(&mask[distance..]).filter(|(a, b)| a == b).count() as f64;
            let count = (WIDTH - distance) as f64;
            assert!((2.0 * equal - count).abs() < 4.5 * count.sqrt(), "mask {i}, {distance} apart: {equal} of {count}");
        }
    }
    Ok(())
}

#[test]
fn threads_and_checkpoints_do_not_matter() -> downhill::Result<()> {
    let expected = masks(Many::init(1), Many::loss)?;
    for threads in [1, 2, 5] {
        downhill::set_threads(threads);
        assert_eq!(masks(Many::init(1), Many::loss)?, expected);
        assert_eq!(masks(ManyAgain::init(1), ManyAgain::loss)?, expected);
    }
    downhill::set_threads(0);
    Ok(())
}

/// Masks are a promise: training of the same program and seed can be repeated with a later version.
#[test]
fn masks_stay_what_they_are() -> downhill::Result<()> {
    let (masks, _) = masks(Many::init(1), Many::loss)?;
    let word = |mask: &[bool]| mask.iter().take(32).fold(0u32, |word, &kept| word << 1 | kept as u32);
    assert_eq!([0, 1, 17, 18].map(|i| word(&masks[i])), [2117373768, 583166129, 1473725484, 4173933431]);
    Ok(())
}

/// Two passes through one network over the same input, as in SimCSE and R-Drop.
#[network]
struct Twice {
    #[layer(dropout = 0.5)]
    attention: MultiHeadAttention<8, 2>,
    block: Stack,
}

#[network(sequential)]
struct Stack {
    line: Linear<8, 8>,
    drop: Dropout,
    drops: [Dropout; 2],
}

#[network]
impl Twice {
    fn loss(&self, x: Tensor<B, T, 8>) -> (Tensor, Tensor, Tensor) {
        let attended = self.attention(x) - self.attention(x);
        let mapped = self.block(x) - self.block(x);
        (sum(attended * attended) + sum(mapped * mapped), mean(abs(attended)), mean(abs(mapped)))
    }
}

#[test]
fn two_passes_of_one_network_differ() -> downhill::Result<()> {
    let mut model = Twice::init(1);
    let x = Tensor::new([2, 5, 8], (0..80).map(|i| (i as f32).sin()).collect::<Vec<_>>())?;
    let mut step = Step::new(&model, Twice::loss, Sgd::new(0.0))?;
    step.differentiate(&mut model, &x)?;
    for difference in step.outputs() {
        assert!(difference.item()? > 0.01, "{difference:?}");
    }
    assert!(step.grad("block.line.weight")?.data().iter().any(|&d| d != 0.0));
    Ok(())
}
