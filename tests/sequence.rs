//! Attention, rotary embedding and recurrent layers: their numbers against plain loops in double
//! precision, as compiled kernels; their parameters; and that they learn.

mod common;

use std::time::Instant;

use common::noise;
use downhill::prelude::*;

fn tensor(shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::new(shape, data.iter().map(|&x| x as f32).collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &[f64]) {
    assert_eq!(found.data().len(), expected.len());
    for (i, (&a, &b)) in found.data().iter().zip(expected).enumerate() {
        assert!((a as f64 - b).abs() <= 2e-6 * (1.0 + b.abs()), "element {i}: {a}, expected {b}");
    }
}

/// Attention of one head in loops: queries `[t, d]`, keys `[s, d]`, values `[s, e]`; a place is seen where
/// `score` gives more than minus infinity for query `i`, key `j` and their product.
fn attend(q: &[f64], k: &[f64], v: &[f64], d: usize, e: usize, score: impl Fn(usize, usize, f64) -> f64) -> Vec<f64> {
    let s = k.len() / d;
    let mut out = Vec::new();
    for (i, q) in q.chunks(d).enumerate() {
        let scores = k.chunks(d).enumerate().map(|(j, k)| score(i, j, q.iter().zip(k).map(|(q, k)| q * k).sum()));
        let weights: Vec<f64> = scores.map(f64::exp).collect();
        let sum: f64 = weights.iter().sum();
        for c in 0..e {
            let mixed: f64 = (0..s).map(|j| weights[j] * v[j * e + c]).sum();
            out.push(if sum > 0.0 { mixed / sum } else { 0.0 });
        }
    }
    out
}

/// Heads, queries, keys, features of queries and keys, features of values.
const SIZES: (usize, usize, usize, usize, usize) = (2, 4, 6, 3, 5);

/// Every kind of attention as a network, so that it runs as compiled kernels.
#[network]
struct Kinds {
    #[init(zeros)]
    unused: Param<1>,
}

#[network]
impl Kinds {
    fn causal(&self, q: Tensor<H, T, D>, k: Tensor<H, S, D>, v: Tensor<H, S, E>) -> Tensor<H, T, E> {
        dot_product_attention(q, k, v, 0.3, true, 0.0)
    }

    fn causal_by_mask(&self, q: Tensor<H, T, D>, k: Tensor<H, S, D>, v: Tensor<H, S, E>) -> Tensor<H, T, E> {
        masked_attention(q, k, v, causal_mask(T, S), 0.3, 0.0)
    }

    fn masked(&self, q: Tensor<H, T, D>, k: Tensor<H, S, D>, v: Tensor<H, S, E>, m: Tensor<T, S>) -> Tensor<H, T, E> {
        masked_attention(q, k, v, m > 0.0, 0.3, 0.0)
    }

    fn biased(&self, q: Tensor<H, T, D>, k: Tensor<H, S, D>, v: Tensor<H, S, E>, m: Tensor<T, S>) -> Tensor<H, T, E> {
        biased_attention(q, k, v, m, 0.3, 0.0)
    }

    fn grouped(&self, q: Tensor<B, H, T, D>, k: Tensor<B, G, S, D>, v: Tensor<B, G, S, E>) -> Tensor<B, H, T, E> {
        grouped_query_attention(q, k, v, 0.3, true, 0.0)
    }

    fn turned(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        rotary(x, 10_000.0, 3)
    }

    fn turned_interleaved(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        rotary_interleaved(x, 10_000.0, 3)
    }

    /// The product of every query with every key, both turned.
    fn products(&self, q: Tensor<T, D>, k: Tensor<T, D>) -> Tensor<T, T> {
        matmul(rotary(q, 100.0, 0), transpose(rotary(k, 100.0, 0), 0, 1))
    }
}

#[test]
fn attention_agrees_with_loops() -> downhill::Result<()> {
    let (h, t, s, d, e) = SIZES;
    let model = Kinds::init(0);
    let (q, k, v) = (noise(1, h * t * d), noise(2, h * s * d), noise(3, h * s * e));
    let bias = noise(4, t * s);
    // The second row sees nothing.
    let mask: Vec<f64> = (0..t * s).map(|i| if i / s == 1 || i % 4 == 1 { -1.0 } else { 1.0 }).collect();
    let tensors = (tensor(&[h, t, d], &q), tensor(&[h, s, d], &k), tensor(&[h, s, e], &v));
    let (x, y, z) = (&tensors.0, &tensors.1, &tensors.2);
    let expected = |score: &dyn Fn(usize, usize, f64) -> f64| -> Vec<f64> {
        let heads = (0..h)
            .map(|n| attend(&q[n * t * d..][..t * d], &k[n * s * d..][..s * d], &v[n * s * e..][..s * e], d, e, score));
        heads.collect::<Vec<_>>().concat()
    };
    let hidden = f64::NEG_INFINITY;
    let causal = expected(&|i, j, x| if j <= i { 0.3 * x } else { hidden });
    assert_close(&model.call(Kinds::causal, (x, y, z))?[0], &causal);
    assert_close(&model.call(Kinds::causal_by_mask, (x, y, z))?[0], &causal);
    let masked = expected(&|i, j, x| if mask[i * s + j] > 0.0 { 0.3 * x } else { hidden });
    assert!(masked[e..2 * e].iter().all(|&x| x == 0.0));
    assert_close(&model.call(Kinds::masked, (x, y, z, &tensor(&[t, s], &mask)))?[0], &masked);
    let biased = expected(&|i, j, x| 0.3 * x + bias[i * s + j]);
    assert_close(&model.call(Kinds::biased, (x, y, z, &tensor(&[t, s], &bias)))?[0], &biased);
    Ok(())
}

#[test]
fn a_run_of_heads_shares_keys_and_values() -> downhill::Result<()> {
    let (_, t, s, d, e) = SIZES;
    let (batch, heads) = (2, 4);
    let q = noise(1, batch * heads * t * d);
    for groups in [1, 2, 4] {
        let (k, v) = (noise(2, batch * groups * s * d), noise(3, batch * groups * s * e));
        let mut expected = Vec::new();
        for (n, q) in q.chunks(t * d).enumerate() {
            let group = n / heads * groups + n % heads * groups / heads;
            let (k, v) = (&k[group * s * d..][..s * d], &v[group * s * e..][..s * e]);
            expected.extend(attend(q, k, v, d, e, |i, j, x| if j <= i { 0.3 * x } else { f64::NEG_INFINITY }));
        }
        let q = tensor(&[batch, heads, t, d], &q);
        let (k, v) = (tensor(&[batch, groups, s, d], &k), tensor(&[batch, groups, s, e], &v));
        assert_close(&Kinds::init(0).call(Kinds::grouped, (&q, &k, &v))?[0], &expected);
    }
    Ok(())
}

#[test]
fn rotary_embedding_turns_pairs() -> downhill::Result<()> {
    let (batch, times, width) = (2, 5, 6);
    let x = noise(1, batch * times * width);
    // As a product of complex numbers.
    let turned = |pair: &dyn Fn(usize) -> (usize, usize)| {
        let mut y = x.clone();
        for (row, y) in y.chunks_mut(width).enumerate() {
            for i in 0..width / 2 {
                let angle = (row % times + 3) as f64 * 10_000f64.powf(-2.0 * i as f64 / width as f64);
                let (a, b) = pair(i);
                let (re, im) = (y[a], y[b]);
                (y[a], y[b]) = (re * angle.cos() - im * angle.sin(), re * angle.sin() + im * angle.cos());
            }
        }
        y
    };
    let (model, input) = (Kinds::init(0), tensor(&[batch, times, width], &x));
    assert_close(&model.call(Kinds::turned, &input)?[0], &turned(&|i| (i, i + width / 2)));
    assert_close(&model.call(Kinds::turned_interleaved, &input)?[0], &turned(&|i| (2 * i, 2 * i + 1)));
    Ok(())
}

#[test]
fn products_of_turned_vectors_depend_on_the_distance() -> downhill::Result<()> {
    let (times, width) = (7, 4);
    let same = |seed| noise(seed, width).repeat(times);
    let (q, k) = (tensor(&[times, width], &same(1)), tensor(&[times, width], &same(2)));
    let products = &Kinds::init(0).call(Kinds::products, (&q, &k))?[0];
    for i in 1..times {
        for j in 1..times {
            let (a, b) = (products.data()[i * times + j], products.data()[(i - 1) * times + j - 1]);
            assert!((a - b).abs() < 1e-5, "{i}, {j}: {a} and {b}");
        }
    }
    assert!((products.data()[0] - products.data()[1]).abs() > 1e-2);
    Ok(())
}

#[network]
struct Layers {
    #[layer(dropout = 0.5)]
    attention: MultiHeadAttention<4, 2>,
    #[layer(causal = true)]
    past: MultiHeadAttention<4, 2>,
    same: GroupedQueryAttention<4, 2, 2>,
}

#[network]
impl Layers {
    fn own(&self, x: Tensor<B, T, 4>) -> Tensor<B, T, 4> {
        self.attention(x)
    }

    fn crossed(&self, x: Tensor<B, T, 4>) -> Tensor<B, T, 4> {
        self.attention.cross(x, x)
    }

    fn causal(&self, x: Tensor<B, T, 4>) -> Tensor<B, T, 4> {
        self.past(x)
    }

    fn masked(&self, x: Tensor<B, T, 4>) -> Tensor<B, T, 4> {
        self.past.masked(x, causal_mask(T, T))
    }

    fn grouped(&self, x: Tensor<B, T, 4>) -> Tensor<B, T, 4> {
        self.same(x)
    }

    fn loss(&self, x: Tensor<B, T, 4>) -> Tensor {
        sum(self.attention(x)) + 0.0 * sum(self.past(x) + self.same(x))
    }
}

#[test]
fn attention_layers_agree_with_each_other() -> downhill::Result<()> {
    let mut model = Layers::init(1);
    let x = tensor(&[2, 5, 4], &noise(1, 40));
    let wide = |y: &Tensor| y.data().iter().map(|&x| x as f64).collect::<Vec<_>>();
    // A sequence that attends to itself as to another one, without dropout.
    let own = model.call(Layers::own, &x)?.remove(0);
    assert_close(&model.call(Layers::crossed, &x)?[0], &wide(&own));
    assert_close(&model.call(Layers::masked, &x)?[0], &wide(&model.call(Layers::causal, &x)?[0]));
    // As many heads of keys as of queries, with the same weights.
    for (part, name) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        for (kind, len) in [("weight", 16), ("bias", 4)] {
            let all = model.get(&format!("attention.qkv.{kind}"))?;
            let shape = if kind == "weight" { vec![4, 4] } else { vec![4] };
            let own = Tensor::new(shape, &all.data()[part * len..(part + 1) * len])?;
            model.set(&format!("same.{name}.{kind}"), &own)?;
        }
    }
    for kind in ["weight", "bias"] {
        let proj = model.get(&format!("attention.proj.{kind}"))?;
        model.set(&format!("same.o_proj.{kind}"), &proj)?;
    }
    assert_close(&model.call(Layers::grouped, &x)?[0], &wide(&own));
    // In training weights are dropped, other ones in every run.
    let mut step = Step::new(&model, Layers::loss, Sgd::new(0.0))?;
    assert_ne!(step.run(&mut model, &x)?, step.run(&mut model, &x)?);
    Ok(())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

const INPUTS: usize = 3;
const HIDDEN: usize = 4;

/// The parameters of a recurrent layer in double precision.
struct Weights {
    ih: Vec<f64>,
    hh: Vec<f64>,
    bias_ih: Vec<f64>,
    bias_hh: Vec<f64>,
}

impl Weights {
    fn of<N: downhill::network::Network>(model: &Model<N>, suffix: &str) -> downhill::Result<Weights> {
        let read = |name: &str| -> downhill::Result<Vec<f64>> {
            Ok(model.get(&format!("{name}{suffix}"))?.data().iter().map(|&x| x as f64).collect())
        };
        Ok(Weights {
            ih: read("weight_ih")?,
            hh: read("weight_hh")?,
            bias_ih: read("bias_ih")?,
            bias_hh: read("bias_hh")?,
        })
    }

    /// Row `row` of both products, each with its bias.
    fn row(&self, row: usize, x: &[f64], h: &[f64]) -> (f64, f64) {
        let dot = |w: &[f64], x: &[f64]| w[row * x.len()..][..x.len()].iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        (dot(&self.ih, x) + self.bias_ih[row], dot(&self.hh, h) + self.bias_hh[row])
    }

    fn gate(&self, gate: usize, i: usize, x: &[f64], h: &[f64]) -> f64 {
        let (a, b) = self.row(gate * HIDDEN + i, x, h);
        a + b
    }
}

/// All states of a layer in loops, and the last ones; a step is given the input, h and c.
fn unrolled(
    x: &[f64],
    times: usize,
    first: [&[f64]; 2],
    step: impl Fn(&[f64], &[f64], &[f64]) -> (Vec<f64>, Vec<f64>),
) -> [Vec<f64>; 3] {
    let (mut all, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    for (n, x) in x.chunks(times * INPUTS).enumerate() {
        let of_sample = |state: &[f64]| state[n * HIDDEN..][..HIDDEN].to_vec();
        let (mut h, mut c) = (of_sample(first[0]), of_sample(first[1]));
        for x in x.chunks(INPUTS) {
            (h, c) = step(x, &h, &c);
            all.extend(&h);
        }
        last_h.extend(h);
        last_c.extend(c);
    }
    [all, last_h, last_c]
}

#[test]
fn recurrent_layers_agree_with_loops() -> downhill::Result<()> {
    let (lstm, gru) = (Lstm::<INPUTS, HIDDEN>::init(1), Gru::<INPUTS, HIDDEN>::init(2));
    let rnn = Rnn::<INPUTS, HIDDEN>::init(3);
    // The same models at two lengths.
    for times in [6, 3] {
        let x = noise(4, 2 * times * INPUTS);
        let (h, c, zero) = (noise(5, 2 * HIDDEN), noise(6, 2 * HIDDEN), vec![0.0; 2 * HIDDEN]);
        let input = tensor(&[2, times, INPUTS], &x);
        let (h0, c0) = (tensor(&[2, HIDDEN], &h), tensor(&[2, HIDDEN], &c));

        let w = Weights::of(&lstm, "_l0")?;
        let step = |x: &[f64], h: &[f64], c: &[f64]| {
            let next = (0..HIDDEN).map(|i| {
                let gate = |n| w.gate(n, i, x, h);
                let c = sigmoid(gate(1)) * c[i] + sigmoid(gate(0)) * gate(2).tanh();
                (sigmoid(gate(3)) * c.tanh(), c)
            });
            next.unzip()
        };
        let expected = unrolled(&x, times, [&h, &c], step);
        for (found, expected) in
            lstm.call(Lstm::<INPUTS, HIDDEN>::forward_from, (&input, &h0, &c0))?.iter().zip(&expected)
        {
            assert_close(found, expected);
        }
        assert_close(&lstm.forward(&input)?, &unrolled(&x, times, [&zero, &zero], step)[0]);

        let w = Weights::of(&gru, "_l0")?;
        let step = |x: &[f64], h: &[f64], c: &[f64]| {
            let next = (0..HIDDEN).map(|i| {
                let (reset, keep) = (sigmoid(w.gate(0, i, x, h)), sigmoid(w.gate(1, i, x, h)));
                let (a, b) = w.row(2 * HIDDEN + i, x, h);
                (1.0 - keep) * (a + reset * b).tanh() + keep * h[i]
            });
            (next.collect(), c.to_vec())
        };
        let expected = unrolled(&x, times, [&h, &c], step);
        for (found, expected) in gru.call(Gru::<INPUTS, HIDDEN>::forward_from, (&input, &h0))?.iter().zip(&expected) {
            assert_close(found, expected);
        }
        assert_close(&gru.forward(&input)?, &unrolled(&x, times, [&zero, &zero], step)[0]);

        let w = Weights::of(&rnn, "_l0")?;
        let step =
            |x: &[f64], h: &[f64], c: &[f64]| ((0..HIDDEN).map(|i| w.gate(0, i, x, h).tanh()).collect(), c.to_vec());
        let expected = unrolled(&x, times, [&h, &c], step);
        for (found, expected) in rnn.call(Rnn::<INPUTS, HIDDEN>::forward_from, (&input, &h0))?.iter().zip(&expected) {
            assert_close(found, expected);
        }
        assert_close(&rnn.forward(&input)?, &unrolled(&x, times, [&zero, &zero], step)[0]);
    }
    Ok(())
}

/// The parameters of one model under the names of another.
fn copy<A, B>(from: &Model<A>, to: &mut Model<B>) -> downhill::Result<()>
where
    A: downhill::network::Network,
    B: downhill::network::Network,
{
    for name in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
        to.set(name, &from.get(&format!("{name}_l0"))?)?;
    }
    Ok(())
}

#[test]
fn cells_are_layers_of_one_time() -> downhill::Result<()> {
    let x = noise(4, 2 * INPUTS);
    let (time, cell) = (tensor(&[2, 1, INPUTS], &x), tensor(&[2, INPUTS], &x));
    let (h, c) = (tensor(&[2, HIDDEN], &noise(5, 2 * HIDDEN)), tensor(&[2, HIDDEN], &noise(6, 2 * HIDDEN)));
    let wide = |y: &Tensor| y.data().iter().map(|&x| x as f64).collect::<Vec<_>>();

    let (layer, mut one) = (Lstm::<INPUTS, HIDDEN>::init(1), LstmCell::<INPUTS, HIDDEN>::init(9));
    copy(&layer, &mut one)?;
    let expected = layer.call(Lstm::<INPUTS, HIDDEN>::forward_from, (&time, &h, &c))?;
    let found = one.call(LstmCell::<INPUTS, HIDDEN>::forward, (&cell, &h, &c))?;
    assert_close(&found[0], &wide(&expected[1]));
    assert_close(&found[1], &wide(&expected[2]));

    let (layer, mut one) = (Gru::<INPUTS, HIDDEN>::init(1), GruCell::<INPUTS, HIDDEN>::init(9));
    copy(&layer, &mut one)?;
    let expected = layer.call(Gru::<INPUTS, HIDDEN>::forward_from, (&time, &h))?;
    assert_close(&one.call(GruCell::<INPUTS, HIDDEN>::forward, (&cell, &h))?[0], &wide(&expected[1]));

    let (layer, mut one) = (Rnn::<INPUTS, HIDDEN>::init(1), RnnCell::<INPUTS, HIDDEN>::init(9));
    copy(&layer, &mut one)?;
    let expected = layer.call(Rnn::<INPUTS, HIDDEN>::forward_from, (&time, &h))?;
    assert_close(&one.call(RnnCell::<INPUTS, HIDDEN>::forward, (&cell, &h))?[0], &wide(&expected[1]));
    Ok(())
}

#[test]
fn parameters_are_named_and_laid_out_as_in_pytorch() {
    let names = |shapes: Vec<(String, Vec<usize>)>| shapes;
    let lstm = Lstm::<3, 4>::init(0);
    let found = names(lstm.params().map(|p| (p.name.to_owned(), p.shape.to_vec())).collect());
    let expected = [
        ("weight_ih_l0", vec![16, 3]),
        ("weight_hh_l0", vec![16, 4]),
        ("bias_ih_l0", vec![16]),
        ("bias_hh_l0", vec![16]),
    ];
    assert_eq!(found, expected.map(|(name, shape)| (name.to_owned(), shape)));
    assert_eq!(Gru::<3, 4>::init(0).param_count(), 12 * 3 + 12 * 4 + 2 * 12);
    // Uniform within one over the root of the width of the state.
    let weight = Lstm::<64, 16>::init(0).get("weight_ih_l0").unwrap();
    let largest = weight.data().iter().fold(0f32, |m, x| m.max(x.abs()));
    assert!((0.24..=0.25).contains(&largest), "{largest}");
}

/// Which token came first, said behind the last one.
macro_rules! recall {
    ($($test:ident $net:ident $layer:ty;)*) => {$(
        #[network]
        struct $net {
            tokens: Embedding<4, 8>,
            memory: $layer,
            out: Linear<16, 4>,
        }

        #[network]
        impl $net {
            fn forward(&self, tokens: Index<B, T>) -> Tensor<B, 4> {
                let states = self.memory(self.tokens(tokens));
                self.out(reshape(slice(states, 1, T - 1, T), [B, 16]))
            }

            fn loss(&self, tokens: Index<B, T>, first: Index<B>) -> Tensor {
                cross_entropy(self.forward(tokens), first)
            }
        }

        #[test]
        fn $test() -> downhill::Result<()> {
            let (batch, times) = (32, 8);
            let sample = |seed, times: usize| -> downhill::Result<(Index, Index)> {
                let tokens: Vec<i32> = noise(seed, batch * times).iter().map(|x| ((x + 1.0) * 2.0) as i32 % 4).collect();
                let first: Vec<i32> = tokens.chunks(times).map(|row| row[0]).collect();
                Ok((Index::new([batch, times], tokens)?, Index::new([batch], first)?))
            };
            let mut model = $net::init(1);
            let mut step = Step::new(&model, $net::loss, Adam::new(0.01))?;
            for i in 0..400 {
                let (tokens, first) = sample(i, times)?;
                step.run(&mut model, (&tokens, &first))?;
            }
            // Sequences that were not trained on, and shorter ones.
            for times in [times, times - 2] {
                let (tokens, first) = sample(10_000, times)?;
                let logits = model.forward(&tokens)?;
                let right = logits.data().chunks(4).zip(first.data()).filter(|(row, first)| {
                    row.iter().enumerate().all(|(i, x)| i == **first as usize || *x < row[**first as usize])
                });
                assert_eq!(right.count(), batch, "of {times} tokens");
            }
            Ok(())
        }
    )*};
}

recall! {
    an_lstm_remembers RecallLstm Lstm<8, 16>;
    a_gru_remembers RecallGru Gru<8, 16>;
}

#[network]
struct Long {
    memory: Lstm<32, 64>,
}

#[network]
impl Long {
    fn loss(&self, x: Tensor<B, T, 32>) -> Tensor {
        let y = self.memory(x);
        sum(y * y)
    }
}

#[test]
fn a_loop_of_64_times_compiles_in_reasonable_time() -> downhill::Result<()> {
    let mut model = Long::init(1);
    let mut step = Step::new(&model, Long::loss, Sgd::new(0.0))?;
    let mut milliseconds = |times: usize| -> downhill::Result<f64> {
        let x = tensor(&[16, times, 32], &noise(1, 16 * times * 32));
        let start = Instant::now();
        step.run(&mut model, &x)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let (short, long) = (milliseconds(8)?, milliseconds(64)?);
    println!("8 times: {short:.0} ms, 64 times: {long:.0} ms");
    assert!(long < 20_000.0, "{long} ms");
    Ok(())
}

/// A recurrent layer in a network, with what is written on it.
macro_rules! recomputed {
    ($net:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $net {
            $(#[$attribute])*
            memory: Lstm<3, 4>,
            out: Linear<4, 2>,
        }

        #[network]
        impl $net {
            fn loss(&self, x: Tensor<B, T, 3>) -> Tensor {
                let y = self.out(self.memory(x));
                sum(y * y)
            }
        }
    };
}

recomputed!(Kept);
recomputed!(Again #[checkpoint]);

#[test]
fn a_loop_that_is_computed_again_gives_the_same_bits() -> downhill::Result<()> {
    fn bits<N: downhill::network::Network>(
        mut model: Model<N>,
        loss: downhill::network::Function<N>,
    ) -> downhill::Result<Vec<u32>> {
        let x = tensor(&[2, 5, 3], &noise(1, 30));
        let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
        let mut bits = vec![step.differentiate(&mut model, &x)?.to_bits()];
        for param in model.params() {
            bits.extend(step.grad(param.name)?.data().iter().map(|x| x.to_bits()));
        }
        Ok(bits)
    }
    assert_eq!(bits(Kept::init(1), Kept::loss)?, bits(Again::init(1), Again::loss)?);
    Ok(())
}
