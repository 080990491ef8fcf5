//! The trainer allocates at the start of a fit and for its report, and nothing for its steps.

use super::counting::{allocations, runs_alone};
use downhill::data::split;
use downhill::prelude::*;

/// A line for each of eight features.
#[network]
struct Net {
    #[init(ones)]
    scale: Param<8>,
    #[init(zeros)]
    shift: Param<8>,
}

#[network]
impl Net {
    fn loss(&self, x: Tensor<B, 8>, y: Tensor<B, 8>) -> Tensor {
        mse(x * self.scale + self.shift, y)
    }
}

fn samples(n: usize) -> (Tensor, Tensor) {
    let x = (0..8 * n).map(|i| (i % 13) as f32 / 13.0).collect::<Vec<_>>();
    let y = x.iter().map(|x| 3.0 * x - 1.0).collect::<Vec<_>>();
    (Tensor::new([n, 8], x).unwrap(), Tensor::new([n, 8], y).unwrap())
}

#[test]
fn steps_of_a_trainer_allocate_nothing() -> downhill::Result<()> {
    if runs_alone("no_alloc::trainer::steps_of_a_trainer_allocate_nothing") {
        return Ok(());
    }
    let (few, many) = (samples(37), samples(997));
    let (few, many) = (split(&few, 1.0, 1)?.0, split(&many, 1.0, 1)?.0);
    let mut model = Net::init(0);
    let mut trainer = Trainer::new(&mut model, Net::loss).optimizer(Adam::new(1e-3)).batch_size(8).progress(false);
    // Compiles the step for eight samples and for the five that are left.
    trainer.fit(&few, &(), Epochs(1))?;
    let mut count = |data: &_| {
        let before = allocations();
        trainer.fit(data, &(), Epochs(1)).map(|_| allocations() - before)
    };
    assert_eq!(count(&few)?, count(&many)?, "5 and 125 steps");
    Ok(())
}
