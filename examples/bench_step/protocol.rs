//! How a workload is measured, and the line that tells of it.
//!
//! The first step includes building and compiling. Then single steps are timed after a warm-up, as
//! many again without looking at the clock in between, and the loss alone.

use std::fs;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::models::Build;

/// Measures a workload.
pub fn measure(peer: &str, workload: &str, threads: usize, build: Build) -> Result<Value> {
    let start = Instant::now();
    let mut bench = build()?;
    bench.step()?;
    let first_step_ms = start.elapsed().as_secs_f64() * 1e3;
    let loss_first = bench.loss();

    timed(|| bench.step(), 0.3, 3, 5.0)?;
    let steps = timed(|| bench.step(), 1.0, 30, 20.0)?;
    let count = steps.times.len().min((1e6 / steps.median()) as usize).max(1);
    let start = Instant::now();
    for _ in 0..count {
        bench.step()?;
    }
    let stream = start.elapsed().as_secs_f64() * 1e6 / count as f64;
    let loss_last = bench.loss();

    timed(|| bench.forward(), 0.2, 3, 5.0)?;
    let forward = timed(|| bench.forward(), 0.5, 15, 10.0)?;
    Ok(json!({
        "peer": peer,
        "version": env!("CARGO_PKG_VERSION"),
        "workload": workload,
        "threads": threads,
        "step_us_median": rounded(steps.median()),
        "step_us_min": rounded(steps.times[0].into()),
        "step_us_stream": rounded(stream),
        "forward_us_median": rounded(forward.median()),
        "first_step_ms": rounded(first_step_ms),
        "peak_rss_mb": peak_rss_mb().map(rounded),
        "loss_first": loss_first,
        "loss_last": loss_last,
        "steps_timed": steps.times.len(),
    }))
}

/// Times of single calls in microseconds, the lowest first. There may be hundreds of thousands, and they are a part of
/// the memory that is told of: single precision will do.
struct Times {
    times: Vec<f32>,
}

impl Times {
    fn median(&self) -> f64 {
        let middle = self.times.len() / 2;
        match self.times.len() % 2 {
            1 => self.times[middle].into(),
            _ => 0.5 * f64::from(self.times[middle - 1] + self.times[middle]),
        }
    }
}

/// Times single calls until so many seconds have passed and so many calls were made, `most` seconds
/// at most.
fn timed(mut call: impl FnMut() -> Result<()>, seconds: f64, least: usize, most: f64) -> Result<Times> {
    let mut times = Vec::new();
    let start = Instant::now();
    loop {
        let before = Instant::now();
        call()?;
        times.push(before.elapsed().as_secs_f32() * 1e6);
        let passed = start.elapsed().as_secs_f64();
        if passed >= seconds && times.len() >= least || passed >= most {
            times.sort_unstable_by(f32::total_cmp);
            return Ok(Times { times });
        }
    }
}

/// The most memory that the process has had, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
