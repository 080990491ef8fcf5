//! Same seed, same bits.

use downhill::prelude::*;

#[network(sequential, loss = cross_entropy)]
struct Net {
    hidden: Linear<13, 37>,
    act: Tanh,
    out: Linear<37, 5>,
}

fn train(seed: u64) -> downhill::Result<Vec<u32>> {
    let mut model = Net::init(seed);
    let mut step = Step::new(&model, Net::loss, AdamW::new(1e-2))?;
    let x = Tensor::new([9, 13], (0..117).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>())?;
    let y = Index::new([9], (0..9).map(|i| i % 5).collect::<Vec<_>>())?;
    let mut bits = Vec::new();
    for _ in 0..25 {
        bits.push(step.run(&mut model, (&x, &y))?.to_bits());
    }
    let names: Vec<String> = model.params().map(|p| p.name.to_owned()).collect();
    for name in names {
        bits.extend(model.get(&name)?.data().iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

#[test]
fn two_runs_of_one_seed_have_the_same_bits() -> downhill::Result<()> {
    assert_eq!(train(7)?, train(7)?);
    Ok(())
}

#[test]
fn another_seed_is_another_training() -> downhill::Result<()> {
    assert_ne!(train(7)?, train(8)?);
    Ok(())
}

#[test]
fn a_parameter_starts_the_same_whatever_stands_behind_it() -> downhill::Result<()> {
    #[network(sequential)]
    struct Longer {
        hidden: Linear<13, 37>,
        act: Tanh,
        out: Linear<37, 5>,
        more: Linear<5, 5>,
    }
    assert_eq!(Net::init(3).get("hidden.weight")?, Longer::init(3).get("hidden.weight")?);
    assert_eq!(Net::init(3).get("out.bias")?, Longer::init(3).get("out.bias")?);
    Ok(())
}

/// Large enough that its kernels are shared among threads.
#[network]
struct Wide {
    tokens: Embedding<65, 128>,
    attention: MultiHeadAttention<128, 4>,
    norm: LayerNorm<128>,
    head: Linear<128, 65>,
}

#[network]
impl Wide {
    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        let x = self.tokens(tokens);
        cross_entropy(self.head(gelu(self.norm(x + self.attention(x)))), targets)
    }
}

fn train_wide() -> downhill::Result<Vec<u32>> {
    let mut model = Wide::init(1);
    let mut step = Step::new(&model, Wide::loss, AdamW::new(1e-2))?;
    step.clip_norm(1.0)?;
    let tokens = Index::new([12, 64], (0..768).map(|i| i * i % 65).collect::<Vec<_>>())?;
    let mut bits = Vec::new();
    for _ in 0..3 {
        bits.push(step.run(&mut model, (&tokens, &tokens))?.to_bits());
    }
    let names: Vec<String> = model.params().map(|p| p.name.to_owned()).collect();
    for name in names {
        bits.extend(model.get(&name)?.data().iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() -> downhill::Result<()> {
    let mut runs = Vec::new();
    for threads in [1, 2, 3, 8] {
        downhill::set_threads(threads);
        runs.push(train_wide()?);
    }
    downhill::set_threads(0);
    assert!(runs.iter().all(|bits| *bits == runs[0]));
    Ok(())
}
