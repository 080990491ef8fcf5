//! Attention and rotary embedding against plain loops in double precision, as compiled kernels, and the
//! layers against each other.

use crate::close::{assert_close, tensor};
use crate::common::noise;
use downhill::prelude::*;

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
    // A mask of numbers hides the same places.
    let bias: Vec<f64> = mask.iter().map(|&x| if x > 0.0 { 0.0 } else { hidden }).collect();
    assert_close(&model.call(Kinds::biased, (x, y, z, &tensor(&[t, s], &bias)))?[0], &masked);
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
