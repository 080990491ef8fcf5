//! Data sets, splits and batches: every sample once, the same order everywhere, and errors that name
//! what does not fit.

use std::collections::BTreeSet;

use anyhow::Result;
use downhill::data::{Batch, Batches, Column, Dataset, Subset, split};
use downhill::shape::DType;
use downhill::{Elements, Index, Inputs, Tensor};
use proptest::prelude::*;

/// `n` samples that carry their own number.
fn numbered(n: usize) -> (Tensor, Index) {
    let x = (0..2 * n).map(|i| (i / 2) as f32).collect::<Vec<_>>();
    (Tensor::new([n, 2], x).unwrap(), Index::new([n], (0..n as i32).collect::<Vec<_>>()).unwrap())
}

/// The labels of a batch, after a look at its columns.
fn labels(batch: &Batch) -> Vec<i32> {
    let inputs = batch.all();
    let [first, second] = inputs.as_ref() else { panic!("other columns") };
    let (Elements::Tensor(x), Elements::Index(y)) = (first.elements(), second.elements()) else {
        panic!("columns of other kinds")
    };
    assert_eq!(first.shape(), [batch.len(), 2]);
    assert!(x.chunks(2).zip(y).all(|(x, &y)| x == [y as f32; 2]), "{x:?} belong to other samples than {y:?}");
    y.to_vec()
}

fn pass(batches: &mut Batches<'_, impl Dataset>, epoch: u64) -> Vec<Vec<i32>> {
    batches.start(epoch);
    let mut all = vec![];
    while let Some(batch) = batches.next_batch().unwrap() {
        all.push(labels(batch));
    }
    all
}

#[test]
fn batches_in_order() -> Result<()> {
    let data = numbered(7);
    let mut batches = Batches::new(&data, 3)?;
    assert_eq!(batches.count(), 3);
    let expected = vec![vec![0, 1, 2], vec![3, 4, 5], vec![6]];
    assert_eq!(pass(&mut batches, 0), expected);
    assert_eq!(pass(&mut batches, 5), expected);
    Ok(())
}

#[test]
fn the_order_depends_on_seed_and_epoch_alone() -> Result<()> {
    let data = numbered(50);
    let fresh = |seed, epoch| pass(&mut Batches::new(&data, 8).unwrap().shuffled(seed), epoch);
    let mut used = Batches::new(&data, 8)?.shuffled(3);
    (0..4).for_each(|epoch| assert_eq!(pass(&mut used, epoch), fresh(3, epoch)));
    let orders: BTreeSet<_> = [fresh(3, 0), fresh(3, 1), fresh(4, 0), fresh(4, 1)].into();
    assert_eq!(orders.len(), 4);
    Ok(())
}

proptest! {
    #[test]
    fn a_pass_takes_each_sample_once(n in 1usize..60, size in 1usize..70, seed: u64, epoch: u64) {
        let data = numbered(n);
        let batches = pass(&mut Batches::new(&data, size).unwrap().shuffled(seed), epoch);
        prop_assert!(batches[..batches.len() - 1].iter().all(|batch| batch.len() == size));
        let mut samples = batches.concat();
        samples.sort_unstable();
        prop_assert_eq!(samples, (0..n as i32).collect::<Vec<_>>());
    }

    #[test]
    fn a_split_is_a_partition(n in 0usize..60, fraction in 0.0..=1.0, seed: u64) {
        let data = numbered(n);
        let (first, second) = split(&data, fraction, seed).unwrap();
        prop_assert_eq!(first.len(), (fraction * n as f64).round() as usize);
        let mut samples = [first.samples(), second.samples()].concat();
        samples.sort_unstable();
        prop_assert_eq!(samples, (0..n).collect::<Vec<_>>());
        let (again, _) = split(&data, fraction, seed).unwrap();
        prop_assert_eq!(first.samples(), again.samples());
    }
}

#[test]
fn columns_of_different_lengths() {
    let data = (Tensor::new([3, 2], [0.0; 6]).unwrap(), Index::new([4], [0; 4]).unwrap());
    let error = Batches::new(&data, 2).unwrap_err().to_string();
    assert_eq!(error, "column 1: Index [4] has 4 samples, column 0 [3, 2] has 3");
    assert!(split(&data, 0.5, 0).is_err());
}

#[test]
fn what_is_no_data_set() -> Result<()> {
    let error = |data: &dyn Fn() -> downhill::Result<()>| data().unwrap_err().to_string();
    let scalar = (Tensor::new([], [1.0])?,);
    assert!(error(&|| Batches::new(&scalar, 1).map(drop)).contains("a single number has no samples"));
    let empty = numbered(0);
    assert_eq!(error(&|| Batches::new(&empty, 1).map(drop)), "the data set: has no samples");
    let data = numbered(3);
    assert_eq!(error(&|| Batches::new(&data, 0).map(drop)), "batch_size: expected at least 1, found 0");
    assert_eq!(error(&|| split(&data, f64::NAN, 0).map(drop)), "fraction: expected from 0 to 1, found NaN");
    assert!(error(&|| split(&data, 1.5, 0).map(drop)).contains("found 1.5"));
    assert_eq!(error(&|| Subset::new(&data, [0, 3]).map(drop)), "the data set: has 3 samples, number 3 was asked for");
    Ok(())
}

#[test]
fn a_row_of_another_kind_is_refused() -> Result<()> {
    let data = numbered(3);
    let column = |dtype, shape: &[usize]| Column::new(dtype, shape);
    let fill = |columns: &[Column], sample| Batch::new(columns, 1)?.fill(&data, &[sample]);
    let right = [column(DType::F32, &[2]), column(DType::I32, &[])];
    fill(&right, 2)?;
    let error = |columns: &[Column], sample| fill(columns, sample).unwrap_err().to_string();
    assert_eq!(error(&right, 3), "column 0: [3, 2] has no sample 3 of 2 elements");
    let wide = [column(DType::F32, &[3]), right[1].clone()];
    assert_eq!(error(&wide, 0), "column 0: [3, 2] has no sample 0 of 3 elements");
    assert_eq!(error(&[column(DType::I32, &[2])], 0), "column 0: does not hold Tensor");
    assert_eq!(error(&right[..1], 0), "column 1: the data set has 1 columns");
    assert!(Batch::new(&[column(DType::Bool, &[2])], 1).is_err());
    assert!(Batch::new(&[column(DType::F32, &[usize::MAX, 2])], 1).is_err());
    Ok(())
}

#[test]
fn tensors_that_cannot_be() {
    assert!(Tensor::new([usize::MAX, usize::MAX], []).is_err());
    let error = Tensor::new([1; 9], [0.0]).unwrap_err().to_string();
    assert!(error.contains("at most 8 axes"), "{error}");
    let x = Index::new([2, 3], [1, 2, 3, 4, 5, 6]).unwrap();
    assert!(x.clone().reshape([4]).is_err());
    assert_eq!(x.reshape([6]).unwrap().shape(), [6]);
}
