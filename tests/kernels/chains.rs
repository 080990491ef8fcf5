//! Kernels that take turns: the same numbers as by the f64 reference, and values that never are in memory.

use crate::common::numbers;
use downhill::Input;
use downhill::ops::elementwise::{Binary, Unary};
use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;
use proptest::prelude::*;

fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    let data = numbers(seed, shape, -1.0, 1.0).data.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    Tensor::new(shape, data).expect("as many as the shape says")
}

/// A graph of some inputs.
struct Graph {
    g: Stage,
    inputs: Vec<Tensor>,
}

impl Graph {
    fn new() -> Graph {
        Graph { g: Stage::new(), inputs: Vec::new() }
    }

    fn input(&mut self, shape: &[usize]) -> Value {
        let i = self.inputs.len();
        self.inputs.push(tensor(i as u64 + 1, shape));
        self.g.input(i, shape, DType::F32).into()
    }

    /// Compares results of kernels with those of the reference.
    #[track_caller]
    fn compare(&self, results: &[Value]) {
        assert!(self.g.error().is_none(), "{:?}", self.g.error());
        let inputs: Vec<Input<'_>> = self.inputs.iter().map(Input::from).collect();
        let found = self.g.compute(results, &inputs).expect("a result");
        let expected = self.g.reference(results, &inputs).expect("a result");
        for (result, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.data().len(), expected.len());
            let largest = expected.iter().fold(1e-3f64, |m, y| m.max(y.abs()));
            for (i, (&x, y)) in found.data().iter().zip(expected).enumerate() {
                assert!((x as f64 - y).abs() < 2e-5 * largest, "{result}: element {i} is {x}, the reference has {y}");
            }
        }
    }
}

/// Attention and its gradients; `mask` says which kind.
fn attention([b, h, t, s, d]: [usize; 5], kind: u8) {
    let mut graph = Graph::new();
    let [q, k, v] = [[b, h, t, d], [b, h, s, d], [b, h, s, d + 3]].map(|shape| graph.input(&shape));
    let bias = graph.input(&[h, t, s]);
    let dout = graph.input(&[b, h, t, d + 3]);
    let g = &mut graph.g;
    let Value::Var(dout) = dout else { panic!("an input") };
    let (y, grads) = match kind {
        0 | 1 => {
            let y = dot_product_attention::stage(g, q, k, v, 0.3, kind == 1, 0.0);
            let (dq, dk, dv, ..) = dot_product_attention::grad(g, q, k, v, 0.3, kind == 1, 0.0, Some(dout));
            (y, vec![dq, dk, dv])
        }
        2 => {
            let mask = lt::stage(g, bias, 0.5);
            let y = masked_attention::stage(g, q, k, v, mask, 0.3, 0.0);
            let (dq, dk, dv, ..) = masked_attention::grad(g, q, k, v, mask, 0.3, 0.0, Some(dout));
            (y, vec![dq, dk, dv])
        }
        _ => {
            let y = biased_attention::stage(g, q, k, v, bias, 0.3, 0.0);
            let (dq, dk, dv, dbias, ..) = biased_attention::grad(g, q, k, v, bias, 0.3, 0.0, Some(dout));
            (y, vec![dq, dk, dv, dbias])
        }
    };
    let grads = grads.into_iter().map(|d| Value::from(d.expect("a gradient")));
    let results: Vec<Value> = [y].into_iter().chain(grads).collect();
    graph.compare(&results);
}

#[test]
fn many_scores_are_computed_again() {
    for kind in 0..4 {
        attention([1, 2, 300, 260, 5], kind);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn attention_of_any_size(b in 1..5usize, h in 1..5usize, t in 40..80usize, s in 50..90usize, d in 1..20usize, kind in 0..4u8) {
        attention([b, h, t, s, d], kind);
    }

    /// What follows a product of matrices: some of it takes turns with the product, the rest cannot.
    #[test]
    fn behind_a_batch_of_products(
        (b, h) in (1..7usize, 1..4usize),
        (m, n, k) in (20..60usize, 30..70usize, 1..30usize),
        steps in proptest::collection::vec((0..8u8, 0..3usize), 1..7),
    ) {
        let mut graph = Graph::new();
        let (x, y) = (graph.input(&[b, h, m, k]), graph.input(&[b, h, k, n]));
        let others = [[b, h, m, n], [1, 1, m, n], [b, h, m, 1]].map(|shape| graph.input(&shape));
        let product = matmul::stage(&mut graph.g, x, y);
        let mut results = vec![product];
        let mut value = product;
        for (step, other) in steps {
            let g = &mut graph.g;
            let Value::Var(v) = value else { panic!("{:?}", g.error()) };
            let next = match step {
                0 => g.unary(Unary::Tanh, v).into(),
                1 => add::stage(g, v, others[other]),
                2 => mul::stage(g, v, others[other]),
                3 => softmax::stage(g, v, -1),
                4 => {
                    // A sum of each row, of each column, or over the batch.
                    let sum = g.reduce(Reduce::Sum, v, [1 << 3, 1 << 2, 1 << 0][other]);
                    results.push(sum.into());
                    mul::stage(g, v, 0.5)
                }
                5 => {
                    results.push(value);
                    g.binary(Binary::Max, v, v).into()
                }
                6 => {
                    // The transpose, as the left matrix of a product.
                    let turned = transpose::stage(g, v, -2, -1);
                    results.push(matmul::stage(g, turned, x));
                    value
                }
                _ => {
                    let turned = transpose::stage(g, y, -2, -1);
                    let back = matmul::stage(g, v, turned);
                    results.push(back);
                    matmul::stage(g, back, y)
                }
            };
            // So that numbers stay near one: softmax would show the rounding of large ones as errors.
            let scale = if step < 7 { 0.25 } else { 0.02 };
            value = mul::stage(&mut graph.g, next, scale);
        }
        results.push(value);
        graph.compare(&results);
    }
}

#[network]
struct Net {
    tokens: Embedding<17, 32>,
    attention: MultiHeadAttention<32, 4>,
    head: Linear<32, 17>,
}

#[network]
impl Net {
    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        let x = self.tokens(tokens);
        cross_entropy(self.head(x + self.attention(x)), targets)
    }
}

#[test]
fn scores_are_never_in_memory() -> downhill::Result<()> {
    let (b, t, h) = (2, 512, 4);
    let mut model = Net::init(1);
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let tokens = Index::new([b, t], (0..b * t).map(|i| (i * i % 17) as i32).collect::<Vec<_>>())?;
    step.run(&mut model, (&tokens, &tokens))?;
    let text = step.explain();
    let arena = text.split("arena ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok());
    let scores = 4 * b * h * t * t;
    assert!(arena < Some(scores / 2), "{scores} bytes of scores and an arena of {arena:?}\n{text}");
    Ok(())
}
