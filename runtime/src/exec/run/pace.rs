//! Whether threads pay: measured as a program runs.
//!
//! What is computed does not depend on the number of threads, so a program may try both: a few runs with
//! all threads, then a few alone, and then the faster way for a while. On a machine that other work keeps
//! busy, where threads wait for each other in vain, it so runs on one.

use std::time::Duration;

/// Runs of each kind in a trial, one behind the other: the first wakes the threads up.
const TRIAL: u32 = 4;

/// How long a trial of each kind goes on, in so many runs at most: a core that was idle may take a while to be as
/// fast as it can be.
const WHILE: Duration = Duration::from_millis(1);
const LONGEST: u32 = 32;

/// Runs of the faster kind until the next trial: so many at first, twice as many after each trial that ends
/// like the one before, up to the most.
const FIRST: u32 = 16;
const MOST: u32 = 1024;

/// What is known of a program's runs.
pub(crate) struct Pace {
    phase: Phase,
    /// Runs in this phase, and their time.
    runs: u32,
    time: Duration,
    /// The lowest times in a trial, alone and together.
    best: [Duration; 2],
    /// Runs between the last trial and the next.
    stretch: u32,
    /// How the trial before ended.
    before: Option<bool>,
}

/// What comes after each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    TryTogether,
    TryAlone,
    Settled,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace {
            phase: Phase::TryTogether,
            runs: 0,
            time: Duration::ZERO,
            best: [Duration::MAX; 2],
            stretch: FIRST,
            before: None,
        }
    }

    /// Whether the next run is to be one of all threads together.
    pub(crate) fn together(&self) -> bool {
        match self.phase {
            Phase::TryTogether => true,
            Phase::TryAlone => false,
            Phase::Settled => self.best[1] < self.best[0],
        }
    }

    /// Notes how long that run took.
    pub(crate) fn took(&mut self, time: Duration) {
        let kind = usize::from(self.together());
        (self.runs, self.time) = (self.runs + 1, self.time + time);
        let tried = self.runs >= TRIAL && (self.time >= WHILE || self.runs >= LONGEST);
        if self.phase != Phase::Settled {
            self.best[kind] = self.best[kind].min(time);
        }
        match self.phase {
            Phase::TryTogether if tried => self.enter(Phase::TryAlone),
            Phase::TryAlone if tried => {
                self.enter(Phase::Settled);
                let ended = Some(self.together());
                self.stretch = if self.before == ended { (2 * self.stretch).min(MOST) } else { FIRST };
                self.before = ended;
            }
            Phase::Settled if self.runs == self.stretch => {
                self.enter(Phase::TryTogether);
                self.best = [Duration::MAX; 2];
            }
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.runs, self.time) = (phase, 0, Duration::ZERO);
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
        assert_eq!(together(1000, 600, 200), 200 - 4 * 4);
        assert_eq!(together(1000, 1600, 200), 4 * 4);
    }

    #[test]
    fn short_runs_are_tried_for_a_while() {
        // The first trial: ten runs together, and twenty alone until a millisecond has passed.
        assert_eq!(together(50, 100, 40), 10);
        assert_eq!(together(1, 2, 80), 32);
    }

    #[test]
    fn another_trial_notices_a_change() {
        let mut pace = Pace::new();
        for i in 0..200 {
            let both = pace.together();
            let slow = if i < 100 { both } else { !both };
            pace.took(Duration::from_micros(if slow { 1000 } else { 500 }));
        }
        assert!(pace.together(), "threads became faster and were not tried again");
    }
}
