//! A small convolutional network on MNIST (LeCun et al., 1998), from a folder with its four IDX files.
//!
//! ```text
//! cargo run --release --example lenet -- FOLDER
//! ```
//!
//! After three epochs on MNIST it reads 99.0 % of the test images right.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use downhill::data::{Subset, idx};
use downhill::prelude::*;

#[network(sequential, loss = cross_entropy)]
struct LeNet {
    #[layer(padding = 2)]
    conv1: Conv2d<1, 6, 5>,
    act1: Relu,
    pool1: MaxPool2d<2>,
    conv2: Conv2d<6, 16, 5>,
    act2: Relu,
    pool2: MaxPool2d<2>,
    flat: Flatten,
    fc1: Linear<400, 120>,
    act3: Relu,
    fc2: Linear<120, 84>,
    act4: Relu,
    fc3: Linear<84, 10>,
}

#[network]
impl LeNet {
    fn accuracy(&self, images: Tensor<B, 1, 28, 28>, labels: Index<B>) -> Tensor {
        let h = self.pool1(relu(self.conv1(images)));
        let h = self.flat(self.pool2(relu(self.conv2(h))));
        let h = relu(self.fc2(relu(self.fc1(h))));
        accuracy(self.fc3(h), labels)
    }
}

/// Learns to read handwritten digits from their images.
#[derive(Parser)]
struct Args {
    /// A folder with train-images-idx3-ubyte and its three companions, plain or .gz.
    #[arg(default_value = idx::FASHION_MNIST)]
    folder: PathBuf,
    /// Passes over the training data.
    #[arg(long, default_value_t = 3)]
    epochs: u64,
    /// Decides the first weights and the order of the samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The highest learning rate; it falls along a cosine.
    #[arg(long, default_value_t = 2e-3)]
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
    let data = idx::mnist(&args.folder)?;
    let train = (data.train.0.reshape([data.train.1.data().len(), 1, 28, 28])?, data.train.1);
    let test = (data.test.0.reshape([data.test.1.data().len(), 1, 28, 28])?, data.test.1);
    let (most, epochs) = if args.quick { (640, 1) } else { (usize::MAX, args.epochs) };
    let train = Subset::new(&train, 0..train.1.data().len().min(most))?;
    let test = Subset::new(&test, 0..test.1.data().len().min(most))?;

    let mut model = LeNet::init(args.seed);
    let mut trainer = Trainer::new(&mut model, LeNet::loss)
        .optimizer(AdamW::new(args.lr))
        .schedule(Cosine::new())
        .batch_size(args.batch_size)
        .seed(args.seed)
        .metric("accuracy", LeNet::accuracy);
    let report = trainer.fit(&train, &test, Epochs(epochs))?;
    println!("{report}");
    println!("test accuracy: {:.1} %", 100.0 * report.metric("accuracy").unwrap_or(0.0));
    Ok(())
}
