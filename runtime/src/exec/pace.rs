//! Whether threads pay: measured as a program runs.
//!
//! What is computed does not depend on the number of threads, so a program may try both: a few runs with
//! all threads, then a few alone, and then the faster way for a while. On a machine that other work keeps
//! busy, where threads wait for each other in vain, it so runs on one.

use std::time::Duration;

/// Runs of each kind in a trial, one behind the other: the first wakes the threads up.
const TRIAL: u32 = 4;

/// Runs of the faster kind until the next trial: so many at first, twice as many after each trial that ends
/// like the one before, up to the most.
const FIRST: u32 = 16;
const MOST: u32 = 1024;

/// What is known of a program's runs.
pub(super) struct Pace {
    /// Runs since the last trial began.
    runs: u32,
    /// The lowest times in it, alone and together.
    best: [Duration; 2],
    /// Runs between that trial and the next.
    stretch: u32,
    /// How the trial before ended.
    before: Option<bool>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { runs: 0, best: [Duration::MAX; 2], stretch: FIRST, before: None }
    }

    /// Whether the next run is to be one of all threads together.
    pub(super) fn together(&self) -> bool {
        if self.runs < 2 * TRIAL { self.runs < TRIAL } else { self.best[1] < self.best[0] }
    }

    /// Notes how long that run took.
    pub(super) fn took(&mut self, time: Duration) {
        let kind = usize::from(self.together());
        if self.runs < 2 * TRIAL {
            self.best[kind] = self.best[kind].min(time);
        }
        self.runs += 1;
        if self.runs == 2 * TRIAL {
            let ended = Some(self.together());
            self.stretch = if self.before == ended { (2 * self.stretch).min(MOST) } else { FIRST };
            self.before = ended;
        } else if self.runs == 2 * TRIAL + self.stretch {
            (self.runs, self.best) = (0, [Duration::MAX; 2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a program's runs are together if these are the times in microseconds.
    fn together(alone: u64, together: u64, runs: usize) -> usize {
        let mut pace = Pace::new();
        let mut count = 0;
        for _ in 0..runs {
            let both = pace.together();
            count += usize::from(both);
            pace.took(Duration::from_micros(if both { together } else { alone }));
        }
        count
    }

    #[test]
    fn the_faster_way_is_taken() {
        // Trials after 0, 24, 64 and 136 runs, each with four runs of the other kind.
        assert_eq!(together(100, 60, 200), 200 - 4 * 4);
        assert_eq!(together(100, 160, 200), 4 * 4);
    }

    #[test]
    fn another_trial_notices_a_change() {
        let mut pace = Pace::new();
        for i in 0..200 {
            let both = pace.together();
            let slow = if i < 100 { both } else { !both };
            pace.took(Duration::from_micros(if slow { 100 } else { 50 }));
        }
        assert!(pace.together(), "threads became faster and were not tried again");
    }
}
