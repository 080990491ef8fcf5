//! The path of a call in a network, as a number: calls with different paths draw different random numbers.

use super::Stage;

/// The numbers of the calls from the outermost function to the current one, and of the iterations of the loops around
/// them, hashed to 64 bits; zero outside of any call. A path depends on nothing else, so that a dropout mask keeps its
/// bits however the graph is simplified, fused or rematerialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(u64);

/// 2⁶⁴ divided by the golden ratio, the increment of SplitMix64.
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

/// A stage within a call or within a checkpoint, which ends when the scope is dropped.
pub struct Scope<'s> {
    stage: &'s mut Stage,
    outer: u32,
    caller: Path,
}

impl std::ops::Deref for Scope<'_> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

impl std::ops::DerefMut for Scope<'_> {
    fn deref_mut(&mut self) -> &mut Stage {
        self.stage
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.stage.scope = self.outer;
        self.stage.path = self.caller;
    }
}

impl Stage {
    /// A scope that restores the scope and path of its stage when it is dropped.
    fn enter(&mut self) -> Scope<'_> {
        Scope { outer: self.scope, caller: self.path, stage: self }
    }

    /// A scope in which values are staged anew even if equal nodes exist, so that earlier values need not be stored;
    /// without `anew` nothing changes.
    pub fn recompute(&mut self, anew: bool) -> Scope<'_> {
        let mut scope = self.enter();
        if anew && !scope.keeps_all {
            scope.scopes += 1;
            scope.scope = scope.scopes;
        }
        scope
    }

    /// A call, by its number in the function that makes it. `#[network]` numbers the calls of a body; by hand, each
    /// call gets a number of its own, and its gradient the same. Random numbers of calls with different numbers, on
    /// the way from the outermost function to the operation that draws them, have nothing to do with one another.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// g.set_training(true);
    /// let x = g.constant(&Tensor::new([100], vec![1.0; 100])?);
    /// let first = dropout::stage(&mut g.at(0), x, 0.5);
    /// assert_eq!(dropout::stage(&mut g.at(0), x, 0.5), first);
    /// assert_ne!(dropout::stage(&mut g.at(1), x, 0.5), first);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn at(&mut self, site: u32) -> Scope<'_> {
        let mut call = self.enter();
        call.path = call.path.then(site.into());
        call
    }

    /// An iteration of a loop, which has a number among the calls of its function.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// g.set_training(true);
    /// let x = g.constant(&Tensor::new([100], vec![1.0; 100])?);
    /// let [first, second] = [0, 1].map(|i| dropout::stage(&mut g.iteration(0, i), x, 0.5));
    /// assert_ne!(first, second);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn iteration(&mut self, site: u32, i: usize) -> Scope<'_> {
        let mut iteration = self.at(site);
        iteration.path = iteration.path.then(i as u64);
        iteration
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
