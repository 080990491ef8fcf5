//! Training steps of three networks on one batch in memory, each beside its loss alone.
//!
//! | workload | network | batch | optimizer |
//! |---|---|---|---|
//! | `mlp_tiny` | 64 → 32 relu → 10, cross entropy | 32 | SGD, lr 0.1 |
//! | `mlp_small` | 784 → 128 relu → 10 | 64 | SGD, lr 0.1 |
//! | `mlp_wide` | 784 → 512 relu → 512 relu → 10 | 128 | SGD, lr 0.01, momentum 0.9 |
//!
//! Weights start uniform within ±1/√(fan in), the default of `Linear`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downhill::network::{Function, Network};
use downhill::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[network(sequential, loss = cross_entropy)]
struct Tiny {
    hidden: Linear<64, 32>,
    act: Relu,
    out: Linear<32, 10>,
}

#[network(sequential, loss = cross_entropy)]
struct Small {
    hidden: Linear<784, 128>,
    act: Relu,
    out: Linear<128, 10>,
}

#[network(sequential, loss = cross_entropy)]
struct Wide {
    first: Linear<784, 512>,
    first_act: Relu,
    second: Linear<512, 512>,
    second_act: Relu,
    out: Linear<512, 10>,
}

/// Numbers from -1 to 1 and labels below 10.
fn batch(samples: usize, width: usize) -> (Tensor, Index) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let x: Vec<f32> = (0..samples * width).map(|_| rng.next_u32() as i32 as f32 / i32::MAX as f32).collect();
    let y: Vec<i32> = (0..samples).map(|_| (rng.next_u32() % 10) as i32).collect();
    (Tensor::new([samples, width], x).unwrap(), Index::new([samples], y).unwrap())
}

fn workload<N: Network>(
    c: &mut Criterion,
    name: &str,
    mut model: Model<N>,
    loss: Function<N>,
    rule: Sgd,
    (x, y): (Tensor, Index),
) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(y.data().len() as u64));
    group.bench_function("forward", |b| b.iter(|| black_box(model.call(loss, (&x, &y)).unwrap())));
    let mut step = Step::new(&model, loss, rule).unwrap();
    group.bench_function("step", |b| b.iter(|| black_box(step.run(&mut model, (&x, &y)).unwrap())));
}

fn steps(c: &mut Criterion) {
    workload(c, "mlp_tiny", Tiny::init(1), Tiny::loss, Sgd::new(0.1), batch(32, 64));
    workload(c, "mlp_small", Small::init(1), Small::loss, Sgd::new(0.1), batch(64, 784));
    workload(c, "mlp_wide", Wide::init(1), Wide::loss, Sgd::new(0.01).momentum(0.9), batch(128, 784));
}

criterion_group!(benches, steps);
criterion_main!(benches);
