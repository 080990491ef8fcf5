//! A step with states, and with results behind the loss, allocates nothing.

use super::counting::{allocations, runs_alone};
use downhill::prelude::*;

#[network]
struct Net {
    hidden: Linear<8, 24>,
    norm: BatchNorm1d<24>,
    out: Linear<24, 1>,
}

#[network]
impl Net {
    fn loss(&self, x: Tensor<B, 8>, y: Tensor<B, 1>) -> (Tensor, Tensor, Tensor<B, 1>) {
        let found = self.out(self.norm(self.hidden(x)));
        (mse(found, y), l1(found, y), found)
    }
}

#[test]
fn a_step_with_states_and_outputs_allocates_nothing() -> downhill::Result<()> {
    if runs_alone("no_alloc::state::a_step_with_states_and_outputs_allocates_nothing") {
        return Ok(());
    }
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, AdamW::new(1e-3))?;
    let (x, y) = (Tensor::new([16, 8], vec![0.5; 128])?, Tensor::new([16, 1], vec![1.0; 16])?);
    let mut before = 0;
    for n in 0..4 {
        if n == 1 {
            before = allocations();
        }
        step.run(&mut model, (&x, &y))?;
        step.accumulate(&mut model, (&x, &y))?;
        step.update(&mut model)?;
        assert_eq!(step.outputs()[1].data().len(), 16);
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(model.get("norm.num_batches_tracked")?.item()?, 8.0);
    Ok(())
}
