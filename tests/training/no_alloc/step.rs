//! A compiled step allocates nothing.

use super::counting::{allocations, runs_alone};
use downhill::prelude::*;
use downhill::shape::DType;

#[network]
struct Net {
    table: Embedding<11, 24>,
    norm: LayerNorm<24>,
    hidden: Linear<24, 300>,
    out: Linear<300, 11>,
}

#[network]
impl Net {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, 11> {
        self.out(gelu(self.hidden(self.norm(self.table(tokens)))))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

#[test]
fn a_step_allocates_nothing() -> downhill::Result<()> {
    if runs_alone("no_alloc::step::a_step_allocates_nothing") {
        return Ok(());
    }
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, AdamW::new(1e-3))?;
    let batch = |rows: usize| Index::new([rows, 40], (0..rows * 40).map(|i| (i % 11) as i32).collect::<Vec<_>>());
    let (full, short) = (batch(32)?, batch(5)?);
    for x in [&full, &short] {
        step.run(&mut model, (x, x))?;
    }
    let before = allocations();
    for x in [&full, &short, &full, &full, &short] {
        step.run(&mut model, (x, x))?;
    }
    assert_eq!(allocations() - before, 0);

    // Neither does a graph that was staged by hand.
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[100], DType::F32));
    let y = gelu::stage(&mut g, x);
    let (mut compiled, x) = (g.compile(&[y])?, Tensor::new([100], vec![0.5; 100])?);
    let before = allocations();
    compiled.run(&x)?;
    assert_eq!(allocations() - before, 0);
    Ok(())
}
