//! Random numbers that depend on a counter: element `i` of a stream is a hash of the seed of the
//! run, the stream and `i`. No state is kept, so a backward pass computes the numbers of the forward
//! pass again, and threads do not matter.
//!
//! The stream identifies the call in the network, by 64 bits. Its lower half enters the hash before the first
//! multiplication, its upper half after it, each together with the seed, which is a hash already: numbers of two calls,
//! or of two runs, agree if the lower and the upper halves do.

use super::strip::{Reg, Strip};

/// The finalizer `triple32` of Chris Wellons' hash prospector: shifts and multipliers.
const ROUNDS: [(u8, u32); 3] = [(17, 0xed5a_d4bb), (11, 0xac4c_1b51), (15, 0x3184_8bab)];
const LAST_SHIFT: u8 = 14;

/// Element `i` of a stream, from 0 to 1, less than 1.
pub(crate) fn reference(seed: u32, stream: u64, i: u32) -> f64 {
    let [first, second] = halves(stream);
    let [(shift, factor), rounds @ ..] = ROUNDS;
    let x = i ^ seed ^ first;
    let x = (x ^ x >> shift).wrapping_mul(factor) ^ seed.wrapping_add(second);
    let x = rounds.iter().fold(x, |x, (shift, factor)| (x ^ x >> shift).wrapping_mul(*factor));
    ((x ^ x >> LAST_SHIFT) >> 8) as f64 / (1 << 24) as f64
}

fn halves(stream: u64) -> [u32; 2] {
    [stream as u32, (stream >> 32) as u32]
}

/// The same in vector code.
pub(crate) fn lower(s: &mut Strip, seed: Reg, stream: u64, i: Reg) -> Reg {
    let [first, second] = halves(stream).map(|half| s.int(half as i32));
    let [one, rounds @ ..] = ROUNDS;
    let key = s.ixor(seed, first);
    let x = s.ixor(i, key);
    let x = lower_round(s, x, one);
    let key = s.iadd(seed, second);
    let x = s.ixor(x, key);
    let x = rounds.into_iter().fold(x, |x, round| lower_round(s, x, round));
    let shifted = s.shr_unsigned(x, LAST_SHIFT);
    let bits = s.ixor(x, shifted);
    let bits = s.shr_unsigned(bits, 8);
    let whole = s.to_float(bits);
    let scale = s.float(1.0 / (1 << 24) as f32);
    s.mul(whole, scale)
}

fn lower_round(s: &mut Strip, x: Reg, (shift, factor): (u8, u32)) -> Reg {
    let shifted = s.shr_unsigned(x, shift);
    let mixed = s.ixor(x, shifted);
    let factor = s.int(factor as i32);
    s.imul(mixed, factor)
}

/// A hash of 32 bits, the finalizer `lowbias32` of Wellons' hash prospector: the seed of a run is a hash of the user's
/// seed and the number of the run.
pub(crate) fn hash(x: u32) -> u32 {
    let x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    let x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use crate::ir::random::reference;

    #[test]
    fn numbers_stay_what_they_are() {
        let number = |seed, stream, i| (reference(seed, stream, i) * (1 << 24) as f64) as u32;
        let numbers = [(0, 0, 1), (1, 0, 0), (7, 0x0123_4567_89ab_cdef, 42)];
        assert_eq!(numbers.map(|(seed, stream, i)| number(seed, stream, i)), [272_193, 5_293_231, 10_874_646]);
    }

    /// How two streams of signs agree, in deviations of what chance would give.
    fn agreement(a: impl Fn(u32) -> f64, b: impl Fn(u32) -> f64) -> f64 {
        const COUNT: u32 = 1 << 14;
        let sum: i32 = (0..COUNT).map(|i| if (a(i) < 0.5) == (b(i) < 0.5) { 1 } else { -1 }).sum();
        sum as f64 / (COUNT as f64).sqrt()
    }

    #[test]
    fn a_bit_of_the_seed_or_of_the_stream_changes_everything() {
        let (seed, stream) = (0x1234_5678, 0x9e37_79b9_7f4a_7c15);
        for bit in 0..96 {
            let (other_seed, other) =
                if bit < 64 { (seed, stream ^ 1 << bit) } else { (seed ^ 1 << (bit - 64), stream) };
            let found = agreement(|i| reference(seed, stream, i), |i| reference(other_seed, other, i));
            assert!(found.abs() < 4.5, "bit {bit}: {found}");
        }
        // What is added to the seed is taken from the stream.
        for by in [1, 2, 1 << 16] {
            let found = agreement(|i| reference(seed + by, stream, i), |i| reference(seed, stream + by as u64, i));
            assert!(found.abs() < 4.5, "{by}: {found}");
        }
    }
}
