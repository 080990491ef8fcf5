//! A step allocates nothing with clipping, micro-batches, groups and frozen parameters either.

use super::Net;
use super::counting::{allocations, runs_alone};
use downhill::prelude::*;

#[test]
fn a_step_with_all_settings_allocates_nothing() -> downhill::Result<()> {
    if runs_alone("no_alloc::settings::a_step_with_all_settings_allocates_nothing") {
        return Ok(());
    }
    let mut model = Net::init(0);
    let rule = AdamW::new(1e-3).amsgrad(true);
    let mut step = Step::new(&model, Net::loss, rule)?;
    step.clip_norm(0.1)?;
    step.clip_value(0.01)?;
    step.group("*.bias", rule.weight_decay(0.0))?;
    step.freeze("table.*")?;
    let schedule = Cosine::new().warmup(2);
    let x = Index::new([16, 40], (0..16 * 40).map(|i| i % 11).collect::<Vec<_>>())?;
    let mut before = 0;
    for n in 0..5 {
        if n == 1 {
            before = allocations();
        }
        step.set_lr(1e-3 * schedule.at(n, 5))?;
        step.run(&mut model, (&x, &x))?;
        step.accumulate(&mut model, (&x, &x))?;
        step.accumulate(&mut model, (&x, &x))?;
        step.update(&mut model)?;
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(step.steps(), 10);
    Ok(())
}
