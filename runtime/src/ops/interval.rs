//! Which numbers the results of elementwise operations may be, given those of the operands.
//!
//! What is said here holds for what the kernels compute, so that a function without an exact result has all numbers.

use crate::ir::elementwise::{Binary, Compare, Unary, unary_functions};
use crate::shape::DType;
use crate::shape::check::Interval;

/// Reads what the rows of functions say of intervals.
macro_rules! intervals {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident $name:ident ($x:literal => $y:literal)
            interval $at:ident => $interval:expr;
            reference $reference:expr;
            grad $grad:expr;
            lower $lower:expr;
    )*) => {
        impl Unary {
            /// The interval of the results; `None` for one that may be any number.
            #[allow(unused_variables)]
            const fn exact(self, x: Interval) -> Option<Interval> {
                match self {
                    $(Unary::$variant => {
                        let $at = x;
                        $interval
                    })*
                }
            }
        }
    };
}
unary_functions!(intervals);

impl Unary {
    /// The interval of the results.
    pub(crate) const fn interval(self, x: Interval, dtype: DType) -> Interval {
        match self.exact(x) {
            Some(interval) => interval.rounded(dtype),
            None if x.is_none() => Interval::NONE,
            None => Interval { own: [x.is_own(); 2], ..Interval::any(dtype) },
        }
    }
}

impl Binary {
    /// The interval of the results; `None` for one that may be any number.
    const fn exact(self, a: Interval, b: Interval) -> Option<Interval> {
        match self {
            Binary::Add => Some(a.plus(b)),
            Binary::Sub => Some(a.plus(b.negative())),
            Binary::Mul => Some(a.times(b)),
            Binary::Div => Some(a.over(b)),
            Binary::Max => Some(a.larger(b)),
            Binary::Min => Some(a.smaller(b)),
            Binary::Fmod => Some(a.rest(b)),
            Binary::Pow | Binary::Atan2 => None,
        }
    }

    /// The interval of the results.
    pub(crate) const fn interval(self, a: Interval, b: Interval, dtype: DType) -> Interval {
        match self.exact(a, b) {
            Some(interval) => interval.rounded(dtype),
            None if a.is_none() || b.is_none() => Interval::NONE,
            None => Interval { own: [a.is_own() && b.is_own(); 2], ..Interval::any(dtype) },
        }
    }

    /// Whether results grow, or fall, with one operand where the other one is a number.
    pub(crate) const fn is_monotonic(self) -> bool {
        match self {
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Max | Binary::Min => true,
            Binary::Fmod | Binary::Pow | Binary::Atan2 => false,
        }
    }
}

impl Compare {
    /// The interval of the mask.
    pub(crate) const fn interval(self, a: Interval, b: Interval) -> Interval {
        let low = if self.left(a, b, false).is_none() { 1.0 } else { 0.0 };
        let high = if self.left(a, b, true).is_none() { 0.0 } else { 1.0 };
        if low > high { Interval::NONE } else { Interval::whole(low, high) }
    }

    /// What is left of `a` where the comparison with `b` holds, or where it does not.
    pub(crate) const fn left(self, a: Interval, b: Interval, holds: bool) -> Interval {
        match (self, holds) {
            (Compare::Lt, true) => a.numbers().below(b, true),
            (Compare::Le, true) => a.numbers().below(b, false),
            (Compare::Eq, true) | (Compare::Ne, false) => a.numbers().equal(b),
            // What is no number is below none, and equal to none.
            _ if b.nan => a,
            (Compare::Lt, false) => a.above(b, false),
            (Compare::Le, false) => a.above(b, true),
            (Compare::Eq, false) | (Compare::Ne, true) => a.unequal(b),
        }
    }

    /// What is left of `b`.
    pub(crate) const fn right(self, a: Interval, b: Interval, holds: bool) -> Interval {
        match (self, holds) {
            (Compare::Lt, true) => b.numbers().above(a, true),
            (Compare::Le, true) => b.numbers().above(a, false),
            (Compare::Eq, true) | (Compare::Ne, false) => b.numbers().equal(a),
            _ if a.nan => b,
            (Compare::Lt, false) => b.below(a, false),
            (Compare::Le, false) => b.below(a, true),
            (Compare::Eq, false) | (Compare::Ne, true) => b.unequal(a),
        }
    }
}
