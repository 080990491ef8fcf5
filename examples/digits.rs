//! Handwritten digits of 8×8 pixels: a small network learns to read them in about a second.
//!
//! ```text
//! cargo run --release --example digits
//! cargo run --release --example digits -- --epochs 10 --lr 0.01
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use downhill::data::{Subset, split};
use downhill::prelude::*;
use flate2::read::GzDecoder;

const PIXELS: usize = 64;
const CLASSES: usize = 10;

#[network]
struct Digits {
    hidden: Linear<PIXELS, 128>,
    out: Linear<128, CLASSES>,
}

#[network]
impl Digits {
    fn forward(&self, images: Tensor<B, PIXELS>) -> Tensor<B, CLASSES> {
        self.out(relu(self.hidden(images)))
    }

    fn loss(&self, images: Tensor<B, PIXELS>, digits: Index<B>) -> Tensor {
        cross_entropy(self.forward(images), digits)
    }

    fn accuracy(&self, images: Tensor<B, PIXELS>, digits: Index<B>) -> Tensor {
        accuracy(self.forward(images), digits)
    }
}

/// Learns to read handwritten digits.
#[derive(Parser)]
struct Args {
    /// Passes over the training data.
    #[arg(long, default_value_t = 30)]
    epochs: u64,
    /// Decides the first weights, the order of the samples and which are held out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The learning rate.
    #[arg(long, default_value_t = 3e-3)]
    lr: f32,
    /// Images a step.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// One pass over a few images, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// Rows of 64 pixels from 0 to 16 and the digit, compressed with gzip.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits.csv.gz"))]
    data: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let data = read(&args.data)?;
    let (samples, epochs) = if args.quick { (200, 1) } else { (data.len(), args.epochs) };
    let some = Subset::new(&data, 0..samples.min(data.len()))?;
    let (train, test) = split(&some, 0.8, args.seed)?;

    let mut model = Digits::init(args.seed);
    let mut trainer = Trainer::new(&mut model, Digits::loss)
        .optimizer(Adam::new(args.lr))
        .batch_size(args.batch_size)
        .seed(args.seed)
        .metric("accuracy", Digits::accuracy);
    let report = trainer.fit(&train, &test, Epochs(epochs))?;
    println!("{report}");
    println!("test accuracy: {:.1} %", 100.0 * report.metric("accuracy").unwrap_or(0.0));
    Ok(())
}

/// Images from 0 to 1 and their digits.
fn read(path: &Path) -> Result<(Tensor, Index)> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(file));
    let (mut pixels, mut digits) = (vec![], vec![]);
    for (row, cells) in rows.records().enumerate() {
        let row = format!("{}: row {}", path.display(), row + 1);
        let cells = cells.with_context(|| row.clone())?;
        ensure!(cells.len() == PIXELS + 1, "{row}: {} cells, expected {}", cells.len(), PIXELS + 1);
        for (column, cell) in cells.iter().enumerate() {
            let limit = if column < PIXELS { 16 } else { CLASSES as i32 - 1 };
            let number = cell.trim().parse::<i32>().ok().filter(|number| (0..=limit).contains(number));
            let number = number
                .with_context(|| format!("{row}, column {}: expected 0 to {limit}, found {cell:?}", column + 1))?;
            if column < PIXELS {
                pixels.push(number as f32 / 16.0);
            } else {
                digits.push(number);
            }
        }
    }
    let rows = digits.len();
    Ok((Tensor::new([rows, PIXELS], pixels)?, Index::new([rows], digits)?))
}
