//! Where in a network a call stands, as a number: what random numbers of different calls are told apart by.

/// The numbers of the calls on the way to the one at hand, and of the iterations of loops around them, as one number
/// of 64 bits, zero outside of any call. It depends on these alone, so that a mask stays what it is whatever is computed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(u64);

/// 2⁶⁴ over the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Path {
    /// The path that goes on with this number: a step of SplitMix64 (Steele, Lea and Flood, Fast splittable
    /// pseudorandom number generators, 2014) from a start that the number chooses.
    pub const fn then(self, number: u64) -> Path {
        let mut x = self.0.wrapping_add(number.wrapping_add(1).wrapping_mul(GOLDEN));
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Path(x ^ x >> 31)
    }

    /// The stream of random numbers of the call.
    pub const fn stream(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Path;

    #[test]
    fn streams_stay_what_they_are() {
        let streams = [&[][..], &[0], &[1], &[0, 0], &[3, 1, 4, 1, 5]]
            .map(|numbers| numbers.iter().fold(Path::default(), |path, &number| path.then(number)).stream());
        let expected = [0, 0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0xa706_dd2f_4d19_7e6f, 0x8582_3fe8_1422_c023];
        assert_eq!(streams, expected);
    }

    #[test]
    fn paths_of_different_calls_are_different() {
        let mut seen = HashSet::new();
        let mut paths = vec![Path::default()];
        for _ in 0..4 {
            paths = paths.iter().flat_map(|path| (0..24).map(|number| path.then(number))).collect();
            assert!(paths.iter().all(|path| seen.insert(path.stream())));
        }
    }
}
