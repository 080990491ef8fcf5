//! A compiled step allocates nothing.

use super::Net;
use super::counting::{allocations, runs_alone};
use downhill::prelude::*;
use downhill::shape::DType;

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
