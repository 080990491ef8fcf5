//! MNIST, or data of the same form such as Fashion-MNIST, from a folder with its four IDX files.
//!
//! ```text
//! cargo run --release --example mnist -- FOLDER
//! ```
//!
//! Without a folder it reads Fashion-MNIST from where Debian's package `dataset-fashion-mnist` puts
//! it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use downhill::data::{Subset, idx};
use downhill::prelude::*;

const PIXELS: usize = 28 * 28;
const CLASSES: usize = 10;

#[network]
struct Mnist {
    hidden: Linear<PIXELS, 128>,
    out: Linear<128, CLASSES>,
}

#[network]
impl Mnist {
    fn forward(&self, images: Tensor<B, PIXELS>) -> Tensor<B, CLASSES> {
        self.out(relu(self.hidden(images)))
    }

    fn loss(&self, images: Tensor<B, PIXELS>, labels: Index<B>) -> Tensor {
        cross_entropy(self.forward(images), labels)
    }

    fn accuracy(&self, images: Tensor<B, PIXELS>, labels: Index<B>) -> Tensor {
        accuracy(self.forward(images), labels)
    }
}

/// Learns to tell the classes of MNIST or Fashion-MNIST apart.
#[derive(Parser)]
struct Args {
    /// A folder with train-images-idx3-ubyte and its three companions, plain or .gz.
    #[arg(default_value = idx::FASHION_MNIST)]
    folder: PathBuf,
    /// Passes over the training data.
    #[arg(long, default_value_t = 5)]
    epochs: u64,
    /// Decides the first weights and the order of the samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The learning rate.
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,
    /// Images a step.
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// One pass over a few images, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let idx::Mnist { train, test } = idx::mnist(&args.folder)?;
    let (train, test) = (rows(train)?, rows(test)?);
    let few = |n: usize, of: usize| if args.quick { n.min(of) } else { of };
    let train = Subset::new(&train, 0..few(1000, train.len()))?;
    let test = Subset::new(&test, 0..few(200, test.len()))?;

    let mut model = Mnist::init(args.seed);
    let mut trainer = Trainer::new(&mut model, Mnist::loss)
        .optimizer(Adam::new(args.lr))
        .batch_size(args.batch_size)
        .seed(args.seed)
        .metric("accuracy", Mnist::accuracy);
    let report = trainer.fit(&train, &test, Epochs(if args.quick { 1 } else { args.epochs }))?;
    println!("{report}");
    println!("test accuracy: {:.1} %", 100.0 * report.metric("accuracy").unwrap_or(0.0));
    Ok(())
}

/// Images as rows of pixels.
fn rows((images, labels): (Tensor, Index)) -> Result<(Tensor, Index)> {
    let images = images.reshape([labels.shape()[0], PIXELS])?;
    Ok((images, labels))
}
