//! Whole trainings against PyTorch's: every loss, the first gradients, the final weights.
//!
//! The vectors were computed by PyTorch 2.15 in double precision; see `golden/README.md`.

use std::path::Path;

use downhill::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// The classifier of the vectors, with PyTorch's names of its layers.
#[network(sequential, loss = cross_entropy)]
struct MlpDigits {
    #[layer(name = "0")]
    hidden: Linear<64, 32>,
    act: Tanh,
    #[layer(name = "2")]
    out: Linear<32, 10>,
}

/// A block of the character model, with PyTorch's names.
#[network]
struct Block<const D: usize, const H: usize> {
    ln1: LayerNorm<D>,
    qkv: Linear<D, { 3 * D }>,
    proj: Linear<D, D>,
    ln2: LayerNorm<D>,
    fc: Linear<D, { 4 * D }>,
    out: Linear<{ 4 * D }, D>,
}

#[network]
impl<const D: usize, const H: usize> Block<D, H> {
    fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        let qkv = self.qkv(self.ln1(x));
        let query = split_heads(slice(qkv, 2, 0, D), H);
        let key = split_heads(slice(qkv, 2, D, 2 * D), H);
        let value = split_heads(slice(qkv, 2, 2 * D, 3 * D), H);
        let mixed = merge_heads(scaled_dot_product_attention(query, key, value, true));
        let x = x + self.proj(mixed);
        x + self.out(gelu_tanh(self.fc(self.ln2(x))))
    }
}

/// The character model of the vectors.
#[network]
struct GptChar {
    tok: Embedding<80, 32>,
    pos: Embedding<16, 32>,
    blocks: [Block<32, 4>; 2],
    lnf: LayerNorm<32>,
    #[layer(bias = false)]
    head: Linear<32, 80>,
}

#[network]
impl GptChar {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, 80> {
        let mut x = self.tok(tokens) + self.pos(iota(T));
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.lnf(x))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

/// A file of golden vectors.
struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name);
        Golden(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    fn view(&self, key: &str) -> (Vec<usize>, Dtype, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.0).expect("a whole file");
        let view = file.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        (view.shape().to_vec(), view.dtype(), view.data().to_vec())
    }

    fn tensor(&self, key: &str) -> Tensor {
        let (shape, dtype, bytes) = self.view(key);
        assert_eq!(dtype, Dtype::F64, "{key}");
        let data: Vec<f32> =
            bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")) as f32).collect();
        Tensor::new(shape, data).expect("a whole tensor")
    }

    fn index(&self, key: &str) -> Index {
        let (shape, dtype, bytes) = self.view(key);
        assert_eq!(dtype, Dtype::I64, "{key}");
        let data: Vec<i32> =
            bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")) as i32).collect();
        Index::new(shape, data).expect("a whole tensor")
    }
}

fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let scale = expected.data().iter().fold(0f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.data().iter().zip(expected.data()).enumerate() {
        assert!((a - b).abs() <= tolerance * (b.abs() + 0.01 * scale), "{what}[{i}]: {a}, PyTorch has {b}");
    }
}

/// The loss of every step.
fn losses(model: &str) -> Vec<f64> {
    let json = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/models/models.json"));
    let json: serde_json::Value = serde_json::from_str(&json.expect("models.json")).expect("JSON");
    let losses = json[model]["losses"].as_array().expect("losses");
    losses.iter().map(|x| x.as_f64().expect("a number")).collect()
}

/// Sets all parameters of a model to the vectors' first ones; gives their names.
fn begin<N: downhill::network::Network>(model: &mut Model<N>, golden: &Golden) -> downhill::Result<Vec<String>> {
    let names: Vec<String> = model.params().map(|p| p.name.to_owned()).collect();
    for name in &names {
        model.set(name, &golden.tensor(&format!("init/{name}")))?;
    }
    Ok(names)
}

#[test]
fn mlp_digits_trains_like_pytorch() -> downhill::Result<()> {
    let golden = Golden::open("mlp_digits.safetensors");
    let losses = losses("mlp_digits");
    let mut model = MlpDigits::init(0);
    let names = begin(&mut model, &golden)?;
    assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    let logits = model.forward(&golden.tensor("batches/0/x"))?;
    assert_close("logits", &logits, &golden.tensor("step0/logits"), 1e-5);

    let mut step = Step::new(&model, MlpDigits::loss, Sgd::new(0.5).momentum(0.9))?;
    assert_eq!(losses.len(), 20);
    for (i, expected) in losses.iter().enumerate() {
        let batch = i % 4;
        let (x, y) = (golden.tensor(&format!("batches/{batch}/x")), golden.index(&format!("batches/{batch}/y")));
        let loss = step.run(&mut model, (&x, &y))?;
        assert!((loss as f64 - expected).abs() <= 1e-4 * expected, "loss {i}: {loss}, PyTorch has {expected}");
        for name in names.iter().filter(|_| i == 0) {
            assert_close(name, &step.grad(name)?, &golden.tensor(&format!("step0/grad/{name}")), 1e-4);
        }
        for name in names.iter().filter(|_| [0, 4, 19].contains(&i)) {
            let after = golden.tensor(&format!("after{}/{name}", i + 1));
            assert_close(&format!("{name} after {}", i + 1), &model.get(name)?, &after, 1e-3);
        }
    }
    Ok(())
}

#[test]
fn gpt_char_trains_like_pytorch() -> downhill::Result<()> {
    let golden = Golden::open("gpt_char.safetensors");
    let losses = losses("gpt_char");
    let mut model = GptChar::init(0);
    let names = begin(&mut model, &golden)?;
    assert_eq!(model.param_count(), 31_104);
    let x = golden.index("batches/0/x");
    assert_close("logits", &model.forward(&x)?, &golden.tensor("step0/logits"), 1e-4);

    let rule = AdamW::new(3e-3).betas(0.9, 0.95).weight_decay(0.1);
    let mut step = Step::new(&model, GptChar::loss, rule)?;
    step.clip_norm(1.0)?;
    assert_eq!(losses.len(), 20);
    for (i, expected) in losses.iter().enumerate() {
        let batch = i % 5;
        let (x, y) = (golden.index(&format!("batches/{batch}/x")), golden.index(&format!("batches/{batch}/y")));
        let loss = step.run(&mut model, (&x, &y))?;
        assert!((loss as f64 - expected).abs() <= 1e-4 * expected, "loss {i}: {loss}, PyTorch has {expected}");
        for name in names.iter().filter(|_| i == 0) {
            assert_close(name, &step.grad(name)?, &golden.tensor(&format!("step0/grad/{name}")), 2e-3);
        }
        for name in names.iter().filter(|_| [0, 4, 19].contains(&i)) {
            let after = golden.tensor(&format!("after{}/{name}", i + 1));
            let (what, found) = (format!("{name} after {}", i + 1), model.get(name)?);
            // Where a gradient is almost zero, Adam divides rounding by rounding. The bias of the keys, the
            // second third, has no other: it moves all scores of a row alike.
            if name.ends_with("qkv.bias") {
                for (part, tolerance) in [(0..32, 2e-2), (32..64, 1e-1), (64..96, 2e-2)] {
                    let cut = |x: &Tensor| Tensor::new([32], x.data()[part.clone()].to_vec());
                    assert_close(&format!("{what}, {part:?}"), &cut(&found)?, &cut(&after)?, tolerance);
                }
            } else {
                assert_close(&what, &found, &after, 2e-2);
            }
        }
    }
    Ok(())
}
