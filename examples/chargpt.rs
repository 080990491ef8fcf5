//! A small GPT learns to write, character by character: nanoGPT's configuration for a CPU (4
//! layers, 4 heads, width 128, context 64, batch 12) on Shakespeare's plays or a text of your own.
//! After 2,000 steps its validation loss is 1.909 on the plays that ship with the project, and 1.874
//! on nanoGPT's own text, for which nanoGPT's documentation has 1.88.
//!
//! ```text
//! cargo run --release --example chargpt
//! cargo run --release --example chargpt -- --text FILE --steps 2000 --save gpt.safetensors
//! cargo run --release --example chargpt -- --text FILE --load gpt.safetensors --steps 0
//! ```

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use downhill::prelude::*;
use downhill::{ParamInfo, init};
use flate2::read::GzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LAYERS: usize = 4;
const HEADS: usize = 4;
const WIDTH: usize = 128;
const CONTEXT: usize = 64;
const BATCH: usize = 12;
/// Projections onto the residual path start smaller, by the number of their additions.
const RESIDUAL_STD: f32 = 0.02 / 2.828_427; // √(2 · LAYERS)

#[network]
struct Block {
    norm1: LayerNorm<WIDTH>,
    #[layer(weight_init = init::normal(0.02), bias_init = init::zeros)]
    qkv: Linear<WIDTH, { 3 * WIDTH }>,
    #[layer(weight_init = init::normal(RESIDUAL_STD), bias_init = init::zeros)]
    proj: Linear<WIDTH, WIDTH>,
    norm2: LayerNorm<WIDTH>,
    #[layer(weight_init = init::normal(0.02), bias_init = init::zeros)]
    up: Linear<WIDTH, { 4 * WIDTH }>,
    #[layer(weight_init = init::normal(RESIDUAL_STD), bias_init = init::zeros)]
    down: Linear<{ 4 * WIDTH }, WIDTH>,
}

#[network]
impl Block {
    fn forward(&self, x: Tensor<B, T, WIDTH>) -> Tensor<B, T, WIDTH> {
        let qkv = self.qkv(self.norm1(x));
        let query = split_heads(slice(qkv, 2, 0, WIDTH), HEADS);
        let key = split_heads(slice(qkv, 2, WIDTH, 2 * WIDTH), HEADS);
        let value = split_heads(slice(qkv, 2, 2 * WIDTH, 3 * WIDTH), HEADS);
        let mixed = scaled_dot_product_attention(query, key, value, true);
        let x = x + self.proj(merge_heads(mixed));
        x + self.down(gelu_tanh(self.up(self.norm2(x))))
    }
}

/// The model, for an alphabet of `V` characters.
#[network]
struct Gpt<const V: usize> {
    #[layer(weight_init = init::normal(0.02))]
    tokens: Embedding<V, WIDTH>,
    #[layer(weight_init = init::normal(0.02))]
    positions: Embedding<CONTEXT, WIDTH>,
    blocks: [Block; LAYERS],
    norm: LayerNorm<WIDTH>,
    #[layer(bias = false, weight_init = init::normal(0.02))]
    head: Linear<WIDTH, V>,
}

#[network]
impl<const V: usize> Gpt<V> {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, V> {
        let mut x = self.tokens(tokens) + self.positions(iota(T));
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.norm(x))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

/// Learns to write like a text.
#[derive(Parser)]
struct Args {
    /// The text, plain or compressed with gzip.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/shakespeare.txt.gz"))]
    text: PathBuf,
    /// Batches of 12 sequences to learn from.
    #[arg(long, default_value_t = 2000)]
    steps: u64,
    /// The highest learning rate; it falls to a tenth of it.
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,
    /// Decides the first weights, the batches and the characters that are sampled.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Characters to write at the end.
    #[arg(long, default_value_t = 500)]
    sample: usize,
    /// Begin with these weights.
    #[arg(long)]
    load: Option<PathBuf>,
    /// Keep the weights in this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// A few steps, to see that everything runs.
    #[arg(long)]
    quick: bool,
}

/// A text as numbers of its characters.
struct Text {
    alphabet: Vec<char>,
    train: Vec<i32>,
    valid: Vec<i32>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let text = read(&args.text)?;
    let steps = if args.quick { 5 } else { args.steps };
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);

    // The size of the alphabet is known at run time only: sizes are values.
    let mut model = Model::new(<Gpt>::new(text.alphabet.len()), args.seed);
    if let Some(path) = &args.load {
        model.load(path)?;
    }
    let rule = AdamW::new(args.lr).betas(0.9, 0.99).weight_decay(0.1);
    let mut step = Step::new(&model, <Gpt>::loss, rule)?;
    step.clip_norm(1.0)?;
    step.group(|p: ParamInfo| p.shape.len() < 2, rule.weight_decay(0.0))?;
    let schedule = Cosine::new().min(0.1).warmup(100);
    let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}")?);
    for n in 0..steps {
        step.set_lr(args.lr * schedule.at(n, steps))?;
        let (x, y) = batch(&text.train, &mut rng)?;
        let loss = step.run(&mut model, (&x, &y))?;
        bar.set_position(n + 1);
        if n % 10 == 0 {
            let speed = (n + 1) as f64 * (BATCH * CONTEXT) as f64 / bar.elapsed().as_secs_f64().max(1e-9);
            bar.set_message(format!("loss {loss:.3}  {speed:.0} characters/s"));
        }
        if !args.quick && (n + 1) % 500 == 0 {
            bar.suspend(|| -> Result<()> {
                println!(
                    "step {}: training loss {loss:.3}, validation loss {:.3}",
                    n + 1,
                    validate(&model, &text.valid, 20)?
                );
                Ok(())
            })?;
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &args.save {
        model.save(path)?;
    }
    println!("{}", sample(&model, &text, if args.quick { 20 } else { args.sample }, &mut rng)?);
    println!("validation loss: {:.3}", validate(&model, &text.valid, if args.quick { 2 } else { usize::MAX })?);
    Ok(())
}

/// Reads a text; its last tenth is held out.
fn read(path: &Path) -> Result<Text> {
    let context = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path).with_context(context)?.read_to_end(&mut bytes).with_context(context)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut plain).with_context(context)?;
        bytes = plain;
    }
    let text = String::from_utf8(bytes).with_context(|| format!("{}: expected UTF-8", path.display()))?;
    let mut alphabet: Vec<char> = text.chars().collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let all: Vec<i32> = text.chars().filter_map(|c| alphabet.binary_search(&c).ok()).map(|i| i as i32).collect();
    let (train, valid) = all.split_at(all.len() * 9 / 10);
    ensure!(
        valid.len() > CONTEXT,
        "{}: {} characters, expected more than {}",
        path.display(),
        all.len(),
        10 * CONTEXT + 10
    );
    Ok(Text { alphabet, train: train.to_vec(), valid: valid.to_vec() })
}

/// Sequences that begin anywhere, and the character behind each of theirs.
fn batch(text: &[i32], rng: &mut ChaCha8Rng) -> Result<(Index, Index)> {
    let starts: Vec<usize> = (0..BATCH).map(|_| rng.random_range(0..text.len() - CONTEXT)).collect();
    sequences(text, &starts)
}

fn sequences(text: &[i32], starts: &[usize]) -> Result<(Index, Index)> {
    let part = |shift: usize| -> Vec<i32> {
        starts.iter().flat_map(|&start| &text[start + shift..start + shift + CONTEXT]).copied().collect()
    };
    let shape = [starts.len(), CONTEXT];
    Ok((Index::new(shape, part(0))?, Index::new(shape, part(1))?))
}

/// The mean loss over whole sequences of a text one behind the other, `most` batches of them.
fn validate(model: &Model<Gpt>, text: &[i32], most: usize) -> Result<f64> {
    let starts: Vec<usize> = (0..text.len() - CONTEXT).step_by(CONTEXT).collect();
    let mut sum = 0.0;
    let batches = starts.chunks_exact(BATCH).take(most);
    let count = batches.len().max(1);
    for starts in batches {
        let (x, y) = sequences(text, starts)?;
        sum += model.call(<Gpt>::loss, (&x, &y))?[0].item()? as f64;
    }
    Ok(sum / count as f64)
}

/// Characters drawn one after the other, each from what the model expects behind those before.
fn sample(model: &Model<Gpt>, text: &Text, len: usize, rng: &mut ChaCha8Rng) -> Result<String> {
    let mut window = vec![text.train[0]];
    let mut written = String::new();
    for _ in 0..len {
        let logits = model.forward(&Index::new([1, window.len()], window.clone())?)?;
        let last = &logits.data()[(window.len() - 1) * text.alphabet.len()..];
        let most = last.iter().copied().fold(f32::MIN, f32::max);
        let next = WeightedIndex::new(last.iter().map(|x| ((x - most) / 0.8).exp()))?.sample(rng);
        written.push(text.alphabet[next]);
        window.push(next as i32);
        if window.len() > CONTEXT {
            window.remove(0);
        }
    }
    Ok(written)
}
