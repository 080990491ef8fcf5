//! Recurrent layers against plain loops in double precision, as compiled kernels; their parameters; that
//! they learn, and how long they take to compile.

use std::time::Instant;

use crate::close::{assert_close, tensor};
use crate::common::noise;
use downhill::prelude::*;

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
    let lstm = Lstm::<3, 4>::init(0);
    let found: Vec<_> = lstm.params().map(|p| (p.name.to_owned(), p.shape.to_vec())).collect();
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
