//! Times of one training step, as one line of JSON, or the kernels of a step in a table.
//!
//! ```text
//! cargo run --release --example bench_step -- --workload mlp_small
//! cargo run --release --example bench_step -- --workload chargpt --profile
//! cargo run --release --example bench_step -- --chart examples/bench_step/xeon.jsonl --out steps.svg
//! ```
//!
//! One step is the forward pass, the loss, the backward pass and the optimizer's update, on one fixed
//! random batch in memory. The batch is learned by heart, so that the loss falls.
//!
//! | workload | model | batch | optimizer |
//! |---|---|---|---|
//! | `mlp_tiny` | 64 → 32 relu → 10, cross entropy | 32 | SGD, lr 0.1 |
//! | `mlp_small` | 784 → 128 relu → 10 | 64 | SGD, lr 0.1 |
//! | `mlp_wide` | 784 → 512 relu → 512 relu → 10 | 128 | SGD, lr 0.01, momentum 0.9 |
//! | `lenet` | two convolutions with pooling, 400 → 120 → 84 → 10 | 64 | SGD, lr 0.01, momentum 0.9 |
//! | `chargpt` | 4 layers, 4 heads, width 128, 65 characters, 64 places | 12 x 64 | AdamW, lr 1e-3, decay 0.1 |
//! | `gpt2_124m` | 12 layers, 12 heads, width 768, 50257 tokens, tied head | 4 x 64 | AdamW, lr 3e-4, decay 0.1 |
//! | `elementwise_16k`, `elementwise_16m` | no network: gelu(1.3 x + 0.1) · sigmoid(x) and its derivative | | |

mod chart;
mod models;
mod protocol;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// Times a training step and prints one line of JSON.
#[derive(Parser)]
struct Args {
    /// What is measured: mlp_tiny, mlp_small, mlp_wide, lenet, chargpt, gpt2_124m, elementwise_16k or
    /// elementwise_16m. Any other name ends with status 3.
    #[arg(long, required_unless_present = "chart")]
    workload: Option<String>,
    /// Threads that a step may use, 1 or more.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// The name that the line of JSON bears.
    #[arg(long, default_value = "downhill")]
    peer: String,
    /// Print what each kernel takes, the worst first, over so many steps (20 if no number is given).
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    profile: Option<u32>,
    /// Draw the lines in this file, of this program and others, as bars in the picture `--out`.
    #[arg(long, value_name = "LINES", requires = "out")]
    chart: Option<PathBuf>,
    /// The picture, an SVG file.
    #[arg(long, value_name = "SVG")]
    out: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let (Some(lines), Some(picture)) = (&args.chart, &args.out) {
        chart::draw(lines, picture, &args.peer, args.threads)?;
        return Ok(ExitCode::SUCCESS);
    }
    let workload = args.workload.unwrap_or_default();
    let Some(build) = models::workload(&workload) else {
        eprintln!("no workload {workload:?}, expected one of {}", models::NAMES.join(", "));
        return Ok(ExitCode::from(3));
    };
    let build = build.context(workload.clone())?;
    let threads = threads(args.threads);
    match args.profile {
        Some(runs) => {
            let mut bench = build()?;
            bench.step()?;
            println!("{}", bench.profile(runs as usize)?);
        }
        None => println!("{}", protocol::measure(&args.peer, &workload, threads, build)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets how many threads the steps to come may use.
fn threads(count: u16) -> usize {
    downhill::set_threads(usize::from(count));
    usize::from(count)
}
