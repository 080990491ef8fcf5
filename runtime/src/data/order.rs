//! Random orders that are the same on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// What an order is for: each purpose has random numbers of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The batches of an epoch.
    Epoch(u64),
    /// Which samples are held out.
    Split,
}

/// The samples in their own order.
///
/// # Errors
///
/// When there is no memory for the order of so many.
pub(super) fn in_order(samples: usize) -> Result<Vec<usize>> {
    let mut order = Vec::new();
    if order.try_reserve_exact(samples).is_err() {
        let message = format!("has {samples} samples, for whose order there is no memory");
        return Err(Error::Data { source_name: "the data set".into(), message });
    }
    order.extend(0..samples);
    Ok(order)
}

/// Shuffles by Fisher and Yates.
pub(super) fn shuffle(order: &mut [usize], seed: u64, purpose: Purpose) {
    // Parameters of a model with the same seed take the streams of the seed itself.
    const DATA: u64 = 0x6461_7461_7365_7473;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ DATA);
    rng.set_stream(match purpose {
        Purpose::Epoch(epoch) => epoch,
        Purpose::Split => u64::MAX,
    });
    for i in (1..order.len()).rev() {
        order.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
}

/// A whole number below `n`, each equally likely: Lemire, Fast random integer generation in an
/// interval (2019). Always of 64 bits, so that machines of 32 bits draw the same.
fn below(rng: &mut impl Rng, n: u64) -> u64 {
    let threshold = n.wrapping_neg() % n;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_fixed() {
        let order = |seed, purpose| {
            let mut order: Vec<usize> = (0..8).collect();
            shuffle(&mut order, seed, purpose);
            order
        };
        assert_eq!(order(1, Purpose::Epoch(0)), [5, 0, 7, 6, 4, 2, 1, 3]);
        assert_eq!(order(1, Purpose::Epoch(1)), [6, 5, 4, 3, 7, 2, 0, 1]);
        assert_eq!(order(2, Purpose::Epoch(0)), [4, 7, 3, 2, 1, 5, 6, 0]);
        assert_eq!(order(1, Purpose::Split), [2, 0, 6, 7, 5, 4, 3, 1]);
    }

    #[test]
    fn every_place_is_equally_likely() {
        let mut counts = [[0; 5]; 5];
        for seed in 0..5000 {
            let mut order: Vec<usize> = (0..5).collect();
            shuffle(&mut order, seed, Purpose::Split);
            order.iter().enumerate().for_each(|(place, &sample)| counts[place][sample] += 1);
        }
        // 1000 expected, with a deviation of 28.
        assert!(counts.iter().flatten().all(|count| (870..1130).contains(count)), "{counts:?}");
    }
}
