//! Sets of whole numbers: the admitted entries of an index.

use crate::shape::Rows;
use crate::shape::check::Interval;

/// Whole numbers as intervals, in ascending order and apart from one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entries(Vec<(i32, i32)>);

impl Entries {
    pub(crate) fn none() -> Entries {
        Entries(vec![])
    }

    pub(crate) fn all() -> Entries {
        Entries(vec![(i32::MIN, i32::MAX)])
    }

    pub(crate) fn one(x: i32) -> Entries {
        Entries(vec![(x, x)])
    }

    /// The numbers of rows, and the number that may stand in place of a row, as [`Rows::other`].
    pub(crate) fn of(rows: Rows) -> Entries {
        let last = rows.count.checked_sub(1).map(|last| i32::try_from(last).unwrap_or(i32::MAX));
        let numbers = Entries(last.map(|last| (0, last)).into_iter().collect());
        rows.other.map_or(numbers.clone(), |other| numbers.or(&Entries::one(other)))
    }

    /// The whole numbers from `low` to `high`.
    pub(crate) fn from(low: f64, high: f64) -> Entries {
        match low.ceil() <= high.floor() {
            true => Entries(vec![(low.ceil() as i32, high.floor() as i32)]),
            false => Entries::none(),
        }
    }

    /// The intervals.
    pub(crate) fn intervals(&self) -> &[(i32, i32)] {
        &self.0
    }

    pub(crate) fn has(&self, x: i32) -> bool {
        self.0.iter().any(|&(low, high)| low <= x && x <= high)
    }

    /// Whether the set has all numbers of an interval.
    pub(crate) fn hold(&self, interval: Interval) -> bool {
        let among = |&(low, high): &(i32, i32)| f64::from(low) <= interval.low && interval.high <= f64::from(high);
        (interval.low > interval.high || self.0.iter().any(among)) && interval.other.is_none_or(|x| self.has(x))
    }

    /// The union of two sets.
    pub(crate) fn or(&self, with: &Entries) -> Entries {
        let mut all: Vec<(i32, i32)> = self.0.iter().chain(&with.0).copied().collect();
        all.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(all.len());
        for (low, high) in all {
            match joined.last_mut() {
                Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
                _ => joined.push((low, high)),
            }
        }
        Entries(joined)
    }

    /// The complement.
    pub(crate) fn not(&self) -> Entries {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(i32::MIN);
        for &(low, high) in &self.0 {
            if let Some(first) = next.filter(|&first| first < low) {
                gaps.push((first, low - 1));
            }
            next = high.checked_add(1);
        }
        gaps.extend(next.map(|first| (first, i32::MAX)));
        Entries(gaps)
    }

    /// The intersection of two sets.
    pub(crate) fn and(&self, with: &Entries) -> Entries {
        self.not().or(&with.not()).not()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_is_in_them() {
        let edges = [i32::MIN, i32::MIN + 1, -101, -100, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, i32::MAX - 1, i32::MAX];
        let sets = [
            Entries::none(),
            Entries::all(),
            Entries::one(-100),
            Entries::one(i32::MIN),
            Entries::one(i32::MAX),
            Entries::of(Rows::below(4)),
            Entries::of(Rows { count: 4, other: Some(4) }),
            Entries::of(Rows { count: 4, other: Some(-100) }),
            Entries::from(2.5, 6.5),
            Entries::from(5.0, f64::INFINITY),
            Entries::from(2.1, 2.9),
        ];
        for a in &sets {
            assert_eq!(a.not().not(), *a);
            for b in &sets {
                let (or, and) = (a.or(b), a.and(b));
                for x in edges {
                    assert_eq!(a.not().has(x), !a.has(x));
                    assert_eq!(or.has(x), a.has(x) || b.has(x));
                    assert_eq!(and.has(x), a.has(x) && b.has(x));
                }
            }
        }
        assert_eq!(Entries::of(Rows { count: 4, other: Some(4) }), Entries::from(0.0, 4.0));
        assert_eq!(Entries::of(Rows { count: usize::MAX, other: None }), Entries::from(0.0, f64::INFINITY));
    }
}
