//! Losses of classes: targets that do not count, weights and smoothing, by a plain formula and at run time.

use anyhow::Result;
use downhill::Error;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, Trainer};

const ROWS: usize = 4;
const CLASSES: usize = 3;
const LOGITS: [f32; ROWS * CLASSES] = [0.5, -1.0, 2.0, 1.5, 0.0, -0.5, -2.0, 1.0, 0.25, 0.75, 3.0, -1.25];
const WEIGHT: [f32; CLASSES] = [0.5, 2.0, 1.25];

/// The cross-entropy as the documentation of PyTorch has it: the terms, and their mean.
fn formula(targets: &[i32; ROWS], ignored: i32, smoothing: f64) -> (Vec<f64>, f64) {
    let (mut terms, mut weights) = (vec![], 0.0);
    for (row, &target) in LOGITS.chunks(CLASSES).zip(targets) {
        let total: f64 = row.iter().map(|&x| (x as f64).exp()).sum();
        let log = |c: usize| row[c] as f64 - total.ln();
        if target == ignored {
            terms.push(0.0);
            continue;
        }
        let weight = |c: usize| WEIGHT[c] as f64;
        let at_target = -weight(target as usize) * log(target as usize);
        let spread: f64 = (0..CLASSES).map(|c| -weight(c) * log(c)).sum();
        terms.push((1.0 - smoothing) * at_target + smoothing / CLASSES as f64 * spread);
        weights += weight(target as usize);
    }
    let mean = terms.iter().sum::<f64>() / weights;
    (terms, mean)
}

#[test]
fn weights_smoothing_and_what_does_not_count() -> Result<()> {
    for (targets, ignored) in [([2, 0, 1, 1], -100), ([2, -100, 1, 0], -100), ([2, 0, 1, 1], 1), ([9, 0, 9, 1], 9)] {
        for smoothing in [0.0, 0.1, 1.0] {
            let mut g = Stage::new();
            let weight = g.constant(&Tensor::new([CLASSES], WEIGHT)?);
            let x = g.input(0, &[ROWS, CLASSES], DType::F32);
            let t = g.input(1, &[ROWS], DType::I32);
            let other = ignored as isize;
            let terms = weighted_cross_entropy_terms::stage(&mut g, x, t, weight, other, smoothing);
            let mean = weighted_cross_entropy::stage(&mut g, x, t, weight, other, smoothing);
            let inputs = (Tensor::new([ROWS, CLASSES], LOGITS)?, Index::new([ROWS], targets)?);
            let found = g.compute(&[terms, mean], &[Input::from(&inputs.0), Input::from(&inputs.1)])?;
            let expected = formula(&targets, ignored, smoothing as f64);
            for (a, b) in found[0].data().iter().zip(&expected.0) {
                assert!((*a as f64 - b).abs() < 1e-5, "{targets:?}, {smoothing}: {a}, expected {b}");
            }
            let mean = found[1].item()? as f64;
            assert!((mean - expected.1).abs() < 1e-5, "{targets:?}, {smoothing}: {mean}, expected {}", expected.1);
        }
    }
    Ok(())
}

#[network]
struct Tagger {
    out: Linear<2, 3>,
}

#[network]
impl Tagger {
    /// Padding is −100.
    pub fn loss(&self, x: Tensor<B, T, 2>, tags: Index<B, T>) -> Tensor {
        weighted_cross_entropy(self.out(x), tags, 1.0, -100, 0.0)
    }

    /// What stands for no row in one place stands for none in all.
    pub fn both(&self, x: Tensor<B, T, 2>, tags: Index<B, T>) -> Tensor {
        let logits = self.out(x);
        weighted_cross_entropy(logits, tags, 1.0, -100, 0.0) + cross_entropy(logits, tags)
    }
}

fn tags(tags: [i32; 4]) -> (Tensor, Index) {
    let x = Tensor::new([2, 2, 2], [0.5, 1.0, -1.0, 2.0, 0.0, 1.0, -0.5, 0.25]).expect("eight numbers");
    (x, Index::new([2, 2], tags).expect("four tags"))
}

#[test]
fn one_value_passes_and_no_other() -> Result<()> {
    let mut model = Tagger::init(1);
    let mut step = Step::new(&model, Tagger::loss, Sgd::new(0.1))?;
    let (x, y) = tags([2, -100, 0, 1]);
    let loss = step.run(&mut model, (&x, &y))?;
    assert!(loss.is_finite());
    for wrong in [3, -1, -101, i32::MAX, i32::MIN] {
        let (x, y) = tags([2, -100, wrong, 1]);
        let before = model.get("out.weight")?;
        match step.run(&mut model, (&x, &y)) {
            Err(Error::IndexRange { input, position, value, rows, .. }) => {
                assert_eq!((input.as_str(), position, value, rows), ("tags", 2, wrong, 3));
            }
            other => panic!("{wrong}: {other:?}"),
        }
        assert_eq!(model.get("out.weight")?, before, "nothing has run");
    }
    Ok(())
}

/// Rows that do not count change nothing.
#[test]
fn padding_has_no_influence() -> Result<()> {
    let run = |last: [f32; 2]| -> Result<(f32, Tensor)> {
        let mut model = Tagger::init(1);
        let mut step = Step::new(&model, Tagger::loss, Sgd::new(0.1))?;
        let (mut x, y) = tags([2, 1, 0, -100]);
        x.data_mut()[6..].copy_from_slice(&last);
        let loss = step.run(&mut model, (&x, &y))?;
        Ok((loss, model.get("out.weight")?))
    };
    assert_eq!(run([0.0, 0.0])?, run([7.0, -3.0])?);
    Ok(())
}

#[test]
fn a_value_that_only_one_use_admits_is_refused() -> Result<()> {
    let mut model = Tagger::init(1);
    let mut step = Step::new(&model, Tagger::both, Sgd::new(0.1))?;
    let (x, y) = tags([2, 1, 0, 1]);
    step.run(&mut model, (&x, &y))?;
    let (x, y) = tags([2, -100, 0, 1]);
    let error = step.run(&mut model, (&x, &y)).unwrap_err().to_string();
    assert_eq!(error, "Tagger::both: `tags` holds -100 at position 1, expected 0 to 2");
    Ok(())
}

/// A table has no row for it, also where that is staged by hand.
#[test]
fn a_table_has_no_row_for_what_is_ignored() -> Result<()> {
    let mut g = Stage::new();
    let (table, tags) = (g.input(0, &[3, 1], DType::F32), g.input(1, &[2], DType::I32));
    let named = within_or::stage(&mut g, tags, 3, -100);
    let rows = gather::stage(&mut g, table, named);
    let (table, tags) = (Tensor::new([3, 1], [5.0, 6.0, 7.0])?, Index::new([2], [2, 1])?);
    let error = g.compute(&[rows], &[Input::from(&table), Input::from(&tags)]).unwrap_err().to_string();
    assert!(error.contains("gather: an index from 0 to 2 or -100 reaches a table of 3 rows"), "{error}");
    Ok(())
}

#[test]
fn a_trainer_takes_padded_targets() -> Result<()> {
    let mut model = Tagger::init(1);
    let data = tags([2, -100, 0, 1]);
    let mut trainer = Trainer::new(&mut model, Tagger::loss).optimizer(Adam::new(0.1)).batch_size(2);
    let report = trainer.fit(&data, &(), Epochs(200))?;
    assert!(report.epochs.last().is_some_and(|epoch| epoch.train_loss < 0.1), "{report:?}");
    Ok(())
}
