//! Training steps on one batch in memory, each beside its loss alone. The workloads are those of the
//! example `bench_step`, which says what they are.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use models::{Bench, NAMES};

#[path = "../../examples/bench_step/models/mod.rs"]
#[allow(dead_code, reason = "losses and profiles are for the example")]
mod models;

/// Workloads of which a step takes long: a few runs have to do.
const LARGE: [&str; 3] = ["chargpt", "gpt2_124m", "elementwise_16m"];

fn steps(c: &mut Criterion) {
    for name in NAMES {
        let mut group = c.benchmark_group(name);
        if LARGE.contains(&name) {
            group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(300));
        }
        // Only what a filter leaves is made.
        let mut made = None;
        group.bench_function("forward", |b| {
            let bench = made.get_or_insert_with(|| make(name));
            b.iter(|| bench.forward().unwrap());
        });
        group.bench_function("step", |b| {
            let bench = made.get_or_insert_with(|| make(name));
            b.iter(|| bench.step().unwrap());
        });
    }
}

fn make(name: &str) -> Box<dyn Bench> {
    let build = models::workload(name).expect("NAMES has this name").unwrap();
    build().unwrap()
}

criterion_group!(benches, steps);
criterion_main!(benches);
