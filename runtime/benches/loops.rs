//! Loop kernels without matrix products: training steps of parameters alone, and a transposing copy.
//!
//! | workload | what is computed | elements |
//! |---|---|---|
//! | `gated` | gelu(1.3 w + 0.1) · sigmoid(w), its sum and gradient | 16 Ki |
//! | `softmax` | rows of 64 and 4096 with their gradient | 64 Ki |
//! | `layer_norm` | rows of 128 and 768 with their gradient | 48 Ki |
//! | `transpose` | a matrix of 512 × 512 | 256 Ki |
//!
//! `DOWNHILL_SIMD` says with which vectors (see the README).

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downhill::network::{Function, Network};
use downhill::prelude::*;

#[network]
struct Gated {
    #[init(ones)]
    weight: Param<16384>,
}

#[network]
impl Gated {
    fn loss(&self, scale: Tensor) -> Tensor {
        sum(gelu_tanh(1.3 * self.weight + 0.1) * sigmoid(self.weight)) * scale
    }
}

#[network]
struct Rows<const R: usize, const D: usize> {
    #[init(ones)]
    weight: Param<R, D>,
}

#[network]
impl<const R: usize, const D: usize> Rows<R, D> {
    fn softmax(&self, scale: Tensor) -> Tensor {
        sum(square(softmax(self.weight, 1))) * scale
    }
}

#[network]
struct Normed<const R: usize, const D: usize> {
    #[init(ones)]
    weight: Param<R, D>,
    norm: LayerNorm<D>,
}

#[network]
impl<const R: usize, const D: usize> Normed<R, D> {
    fn loss(&self, scale: Tensor) -> Tensor {
        sum(square(self.norm(self.weight))) * scale
    }
}

#[network]
struct Turn {}

#[network]
impl Turn {
    fn forward(&self, x: Tensor<M, N>) -> Tensor<N, M> {
        transpose(x, 0, 1)
    }
}

fn step<N: Network>(c: &mut Criterion, name: &str, elements: usize, mut model: Model<N>, loss: Function<N>) {
    let scale = Tensor::new([], [1e-3]).unwrap();
    let mut step = Step::new(&model, loss, Sgd::new(1e-6)).unwrap();
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function("step", |b| b.iter(|| black_box(step.run(&mut model, &scale).unwrap())));
}

fn loops(c: &mut Criterion) {
    step(c, "gated", 16 << 10, Gated::init(1), Gated::loss);
    step(c, "softmax_64", 64 << 10, Rows::<1024, 64>::init(1), Rows::<1024, 64>::softmax);
    step(c, "softmax_4096", 64 << 10, Rows::<16, 4096>::init(1), Rows::<16, 4096>::softmax);
    step(c, "layer_norm_128", 48 << 10, Normed::<384, 128>::init(1), Normed::<384, 128>::loss);
    step(c, "layer_norm_768", 48 << 10, Normed::<64, 768>::init(1), Normed::<64, 768>::loss);
    let turn = Turn::init(1);
    let x = Tensor::new([512, 512], vec![1.0; 512 * 512]).unwrap();
    let mut group = c.benchmark_group("transpose");
    group.throughput(Throughput::Elements(512 * 512));
    group.bench_function("call", |b| b.iter(|| black_box(turn.forward(&x).unwrap())));
}

criterion_group!(benches, loops);
criterion_main!(benches);
