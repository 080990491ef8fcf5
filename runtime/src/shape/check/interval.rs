//! Interval arithmetic: which numbers the elements of a value may be.
//!
//! An interval contains every element that the kernels may compute, in single precision and with whole numbers that
//! wrap around. It may be wider, never narrower; the interval of an unknown value is all numbers.
//!
//! The same intervals are computed twice: by shape rules during constant evaluation, and of a graph before it is
//! compiled (see `graph::verify`). So all functions here are `const`.

use crate::shape::{DType, Rows};

/// Whole numbers up to here are single-precision numbers.
const EXACT: f64 = (1 << 24) as f64;

/// The numbers from `low` to `high`, possibly with one more number outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// A whole number that may stand in place of one in between, as [`Rows::other`] does.
    pub(crate) other: Option<i32>,
    /// Whether an element may be NaN.
    pub(crate) nan: bool,
    /// Whether all are whole numbers.
    pub(crate) whole: bool,
    /// For each end, whether the function itself determines it; else it comes from an argument that may have narrower
    /// bounds.
    pub(crate) own: [bool; 2],
}

impl Interval {
    /// The empty interval.
    pub(crate) const NONE: Interval = Interval::whole(f64::INFINITY, f64::NEG_INFINITY);

    /// All numbers of a type.
    pub(crate) const fn any(dtype: DType) -> Interval {
        match dtype {
            DType::F32 => Interval { nan: true, whole: false, ..Interval::whole(f64::NEG_INFINITY, f64::INFINITY) },
            DType::I32 => Interval::whole(i32::MIN as f64, i32::MAX as f64),
            DType::Bool => Interval::whole(0.0, 1.0),
        }
    }

    /// All numbers of a type, of an argument that may have narrower bounds.
    pub(crate) const fn of_argument(dtype: DType) -> Interval {
        Interval { own: [false; 2], ..Interval::any(dtype) }
    }

    /// The whole numbers from one to another.
    pub(crate) const fn whole(low: f64, high: f64) -> Interval {
        Interval { low, high, other: None, nan: false, whole: true, own: [true; 2] }
    }

    /// All numbers of a type, as a result of operands with these intervals.
    const fn unknown(dtype: DType, of: Interval, and: Interval) -> Interval {
        let own = of.own[0] && of.own[1] && and.own[0] && and.own[1];
        Interval { own: [own; 2], ..Interval::any(dtype) }
    }

    /// The numbers from one to another.
    pub(crate) const fn from_to(low: f64, high: f64) -> Interval {
        Interval { whole: false, ..Interval::whole(low, high) }
    }

    /// The smallest interval that contains all of these numbers.
    pub(crate) fn of<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Interval {
        let none = Interval { whole: false, ..Interval::NONE };
        numbers.into_iter().fold(none, |interval, &x| Interval {
            low: interval.low.min(x.into()),
            high: interval.high.max(x.into()),
            nan: interval.nan || x.is_nan(),
            ..interval
        })
    }

    /// The interval that still holds these numbers when they grow by this factor; each side that is not zero reaches to
    /// 1 at least.
    pub(crate) fn widened(self, factor: f64) -> Interval {
        let low = if self.low < 0.0 { (self.low * factor).min(-1.0) } else { 0.0 };
        let high = if self.high > 0.0 { (self.high * factor).max(1.0) } else { 0.0 };
        Interval { low, high, ..self }
    }

    /// Whether no element is NaN or larger than this in size.
    pub(crate) fn is_at_most(self, size: f64) -> bool {
        let x = self.joined();
        !x.nan && -size <= x.low && x.high <= size
    }

    /// Whether all elements are in another interval.
    pub(crate) fn is_inside(self, other: Interval) -> bool {
        self.nan <= other.nan && other.low <= self.low && self.high <= other.high
    }

    /// One number.
    pub(crate) const fn exactly(x: f64) -> Interval {
        match x.is_nan() {
            true => Interval { nan: true, ..Interval::any(DType::F32) },
            false => Interval { whole: x.fract() == 0.0, ..Interval::whole(x, x) },
        }
    }

    /// Whether there is no element.
    pub(crate) const fn is_none(self) -> bool {
        self.low > self.high && self.other.is_none() && !self.nan
    }

    /// Whether all elements are the same number.
    pub(crate) const fn is_one(self) -> bool {
        self.low == self.high && self.other.is_none() && !self.nan
    }

    /// Whether these are all numbers of a type.
    pub(crate) const fn is_any(self, dtype: DType) -> bool {
        let any = Interval::any(dtype);
        self.low <= any.low && self.high >= any.high
    }

    /// Whether the function itself determines both ends.
    pub(crate) const fn is_own(self) -> bool {
        self.own[0] && self.own[1]
    }

    /// Whether both are the same interval.
    pub(crate) const fn same(self, with: Interval) -> bool {
        let beside = match (self.other, with.other) {
            (Some(a), Some(b)) => a == b,
            (None, None) => true,
            _ => false,
        };
        self.low == with.low && self.high == with.high && beside && self.nan == with.nan && self.whole == with.whole
    }

    /// Whether each entry of an index with this interval names one of the rows.
    pub(crate) const fn is_within(self, rows: Rows) -> bool {
        let rest = self.low > self.high || 0.0 <= self.low && self.high < rows.count as f64;
        match self.other {
            Some(x) => rest && rows.admits(x),
            None => rest,
        }
    }

    /// The smallest interval that contains these numbers.
    const fn around(numbers: [f64; 4]) -> Interval {
        let (mut low, mut high, mut i) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        while i < numbers.len() {
            low = low.min(numbers[i]);
            high = high.max(numbers[i]);
            i += 1;
        }
        Interval::whole(low, high)
    }

    /// The interval that includes the number outside.
    const fn joined(self) -> Interval {
        match self.other {
            Some(x) => {
                let x = x as f64;
                let own = [self.own[0] || x < self.low, self.own[1] || x > self.high];
                Interval { low: self.low.min(x), high: self.high.max(x), other: None, own, ..self }
            }
            None => self,
        }
    }

    /// The smallest interval that contains two intervals.
    pub(crate) const fn hull(self, with: Interval) -> Interval {
        let (a, b) = match (self.other, with.other) {
            (Some(x), Some(y)) if x != y => (self.joined(), with.joined()),
            _ => (self, with),
        };
        Interval {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            other: if a.other.is_some() { a.other } else { b.other },
            nan: a.nan || b.nan,
            whole: a.whole && b.whole,
            own: [
                (a.own[0] || a.low > b.low) && (b.own[0] || b.low > a.low),
                (a.own[1] || a.high < b.high) && (b.own[1] || b.high < a.high),
            ],
        }
    }

    /// The intersection.
    pub(crate) const fn and(self, with: Interval) -> Interval {
        let other = match (self.other, with.other) {
            (Some(x), _) if with.has(x) => Some(x),
            (_, Some(x)) if self.has(x) => Some(x),
            _ => None,
        };
        let (nan, whole) = (self.nan && with.nan, self.whole || with.whole);
        Interval { other, nan, whole, ..self }.between(with.ends())
    }

    const fn ends(self) -> [End; 2] {
        [End { at: self.low, own: self.own[0] }, End { at: self.high, own: self.own[1] }]
    }

    /// The part of the interval between these ends.
    const fn between(self, [low, high]: [End; 2]) -> Interval {
        let own = [
            low.own && low.at >= self.low || self.own[0] && self.low >= low.at,
            high.own && high.at <= self.high || self.own[1] && self.high <= high.at,
        ];
        let (low, high) = (self.low.max(low.at), self.high.min(high.at));
        let (low, high) = if self.whole { (low.ceil(), high.floor()) } else { (low, high) };
        let (low, high) = if low > high { (f64::INFINITY, f64::NEG_INFINITY) } else { (low, high) };
        Interval { low, high, own, ..self }
    }

    const fn has(self, x: i32) -> bool {
        let beside = match self.other {
            Some(other) => other == x,
            None => false,
        };
        beside || self.low <= x as f64 && x as f64 <= self.high
    }

    /// The elements between these ends; NaN stays.
    const fn inside(self, ends: [End; 2]) -> Interval {
        let other = match self.other {
            Some(x) if ends[0].at <= x as f64 && x as f64 <= ends[1].at => Some(x),
            _ => None,
        };
        Interval { other, ..self }.between(ends)
    }

    /// The elements that are not NaN.
    pub(crate) const fn numbers(self) -> Interval {
        Interval { nan: false, ..self }
    }

    /// The elements that are below the largest of `bound`, or equal to it unless `strictly`.
    pub(crate) const fn below(self, bound: Interval, strictly: bool) -> Interval {
        let [_, high] = bound.joined().ends();
        let at = if strictly { before(high.at, self.whole) } else { high.at };
        self.inside([End::LOWEST, End { at, ..high }])
    }

    /// The elements that are above the smallest of `bound`, or equal to it unless `strictly`.
    pub(crate) const fn above(self, bound: Interval, strictly: bool) -> Interval {
        let [low, _] = bound.joined().ends();
        let at = if strictly { -before(-low.at, self.whole) } else { low.at };
        self.inside([End { at, ..low }, End::HIGHEST])
    }

    /// The elements that may be equal to one of `with`.
    pub(crate) const fn equal(self, with: Interval) -> Interval {
        self.and(Interval { nan: true, ..with })
    }

    /// The elements that may be unequal to one of `with`.
    pub(crate) const fn unequal(self, with: Interval) -> Interval {
        if !with.is_one() {
            return self;
        }
        let x = with.low;
        let other = match self.other {
            Some(other) if other as f64 == x => None,
            other => other,
        };
        let [mut low, mut high] = self.ends();
        if low.at == x {
            low.at = -before(-x, self.whole);
        }
        if high.at == x {
            high.at = before(x, self.whole);
        }
        Interval { other, ..self }.between([low, high])
    }

    /// The elements that are left if all are promised to name one of these rows.
    pub(crate) const fn within(self, rows: Rows) -> Interval {
        let same = match (self.other, rows.other) {
            (Some(a), Some(b)) => a == b,
            (None, None) => true,
            _ => false,
        };
        let from = if same { self } else { self.joined() };
        let other = match rows.other {
            Some(x) if from.has(x) => Some(x),
            _ => None,
        };
        Interval { other, ..Interval::whole(0.0, rows.count as f64 - 1.0) }.between(from.ends())
    }

    pub(crate) const fn negative(self) -> Interval {
        let x = self.joined();
        Interval { low: -x.high, high: -x.low, own: [x.own[1], x.own[0]], ..x }
    }

    /// The result where one of two operands is empty but for NaN: empty but for NaN.
    const fn without(a: Interval, b: Interval) -> Option<Interval> {
        if a.low > a.high || b.low > b.high { Some(Interval { nan: a.nan || b.nan, ..Interval::NONE }) } else { None }
    }

    /// The exact sums.
    pub(crate) const fn plus(self, with: Interval) -> Interval {
        let (a, b) = (self.joined(), with.joined());
        if let Some(none) = Interval::without(a, b) {
            return none;
        }
        // A sum of opposite infinities is NaN.
        let (low, high) = (a.low + b.low, a.high + b.high);
        let opposite = a.low.is_infinite() && b.high == -a.low || a.high.is_infinite() && b.low == -a.high;
        let own = [a.own[0] && b.own[0], a.own[1] && b.own[1]];
        match low.is_nan() || high.is_nan() {
            true => Interval::unknown(DType::F32, a, b),
            false => {
                Interval { low, high, other: None, nan: a.nan || b.nan || opposite, whole: a.whole && b.whole, own }
            }
        }
    }

    /// The exact products.
    pub(crate) const fn times(self, with: Interval) -> Interval {
        let (a, b) = (self.joined(), with.joined());
        if let Some(none) = Interval::without(a, b) {
            return none;
        }
        match (a.low == a.high, b.low == b.high) {
            (true, _) if a.low.abs() == 1.0 && !a.nan => return if a.low > 0.0 { b } else { b.negative() },
            (_, true) if b.low.abs() == 1.0 && !b.nan => return if b.low > 0.0 { a } else { a.negative() },
            _ => {}
        }
        let corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
        let any = Interval::unknown(DType::F32, a, b);
        match a.is_finite() && b.is_finite() {
            true => {
                Interval { nan: a.nan || b.nan, whole: a.whole && b.whole, own: any.own, ..Interval::around(corners) }
            }
            // Zero times infinity is NaN, and zeros may lie between the corners.
            false => any,
        }
    }

    /// The exact squares.
    pub(crate) const fn squared(self) -> Interval {
        let square = self.times(self);
        let own = [square.own[0] || square.low < 0.0, square.own[1]];
        Interval { low: square.low.max(0.0), own, ..square }
    }

    const fn is_finite(self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// The exact quotients.
    pub(crate) const fn over(self, by: Interval) -> Interval {
        let (a, b) = (self.joined(), by.joined());
        if let Some(none) = Interval::without(a, b) {
            return none;
        }
        // Staging multiplies by the reciprocal of a power of two, which is exact.
        if b.low == b.high && b.low.to_bits() << 12 == 0 && b.low.is_normal() {
            return self.times(Interval { nan: b.nan, own: b.own, ..Interval::exactly(1.0 / b.low) });
        }
        let corners = [a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high];
        let finite =
            corners[0].is_finite() && corners[1].is_finite() && corners[2].is_finite() && corners[3].is_finite();
        let any = Interval::unknown(DType::F32, a, b);
        match b.low > 0.0 || b.high < 0.0 {
            true if finite => Interval { nan: a.nan || b.nan, whole: false, own: any.own, ..Interval::around(corners) },
            _ => any,
        }
    }

    /// The remainders of a division rounded towards zero: no larger than the dividend, smaller than the divisor, with
    /// the sign of the dividend.
    pub(crate) const fn rest(self, by: Interval) -> Interval {
        let (a, b) = (self.joined(), by.joined());
        if let Some(none) = Interval::without(a, b) {
            return none;
        }
        let whole = a.whole && b.whole;
        let divisor = b.high.max(-b.low);
        let most = before(divisor, whole);
        if most < 0.0 {
            return Interval::unknown(DType::F32, a, b);
        }
        Interval {
            low: a.low.max(-most).min(0.0),
            high: a.high.min(most).max(0.0),
            other: None,
            nan: a.nan || b.nan || !a.is_finite() || b.low <= 0.0 && b.high >= 0.0,
            whole,
            own: [
                a.own[0] && a.low >= -most || b.is_own() && -most >= a.low,
                a.own[1] && a.high <= most || b.is_own() && most <= a.high,
            ],
        }
    }

    pub(crate) const fn larger(self, with: Interval) -> Interval {
        let (a, b) = (self.joined(), with.joined());
        match Interval::without(a, b) {
            Some(none) => none,
            None => {
                let (low, high) = (a.low.max(b.low), a.high.max(b.high));
                // The maximum is no less than either operand, and no more than the larger one.
                let own = [a.own[0] && a.low >= b.low || b.own[0] && b.low >= a.low, a.hull(b).own[1]];
                Interval { low, high, own, ..a.hull(b) }
            }
        }
    }

    pub(crate) const fn smaller(self, with: Interval) -> Interval {
        self.negative().larger(with.negative()).negative()
    }

    /// The absolute values.
    pub(crate) const fn size(self) -> Interval {
        let x = self.joined();
        if x.low >= 0.0 {
            x
        } else if x.high <= 0.0 {
            x.negative()
        } else {
            Interval { low: 0.0, high: x.high.max(-x.low), own: [true, x.is_own()], ..x }
        }
    }

    pub(crate) const fn floor(self) -> Interval {
        let x = self.joined();
        Interval { low: x.low.floor(), high: x.high.floor(), whole: true, ..x }
    }

    pub(crate) const fn root(self) -> Interval {
        let x = self.joined();
        if x.low < 0.0 {
            return Interval::unknown(DType::F32, x, x);
        }
        Interval { low: root(x.low), high: root(x.high), whole: false, ..x }.near()
    }

    /// The sum of so many elements, however it is ordered and rounded.
    pub(crate) const fn sum(self, count: f64) -> Interval {
        let x = self.joined();
        if count == 1.0 || x.low > x.high {
            return x;
        }
        let (low, high) = (x.low * count, x.high * count);
        let most = low.abs().max(high.abs());
        if x.whole && most <= EXACT {
            return Interval { low, high, ..x };
        }
        // Each partial sum is off by half a unit in its last place at most.
        let off = count * most * f32::EPSILON as f64;
        // Partial sums that overflow are infinite, and opposite infinities add up to NaN.
        let is_finite = most + off < f32::MAX as f64;
        if !is_finite {
            return Interval::unknown(DType::F32, x, x);
        }
        Interval { low: low - off, high: high + off, whole: false, ..x }.rounded(DType::F32)
    }

    /// Exact results as numbers of a type: whole numbers wrap around, others are rounded.
    pub(crate) const fn rounded(self, dtype: DType) -> Interval {
        let (low, high) = (self.low, self.high);
        match dtype {
            DType::I32 if low < i32::MIN as f64 || high > i32::MAX as f64 => {
                if self.is_none() {
                    self
                } else {
                    Interval::unknown(DType::I32, self, self)
                }
            }
            DType::I32 | DType::Bool => self,
            // Rounding is monotonic, and to round one operation to double precision first does not change its result.
            DType::F32 => {
                let (low, high) = (low as f32 as f64, high as f32 as f64);
                Interval { low, high, whole: self.whole || low == high && low.fract() == 0.0, ..self }
            }
        }
    }

    /// Results that double precision does not hold exactly, such as those of a fused multiply-add: each end moves
    /// outwards by one number.
    pub(crate) const fn near(self) -> Interval {
        let (low, high) = (self.low as f32, self.high as f32);
        let low = if low as f64 == self.low { low } else { low.next_down() } as f64;
        let high = if high as f64 == self.high { high } else { high.next_up() } as f64;
        Interval {
            // Rounding never goes beyond zero.
            low: if self.low >= 0.0 { low.max(0.0) } else { low },
            high: if self.high <= 0.0 { high.min(0.0) } else { high },
            ..self
        }
    }

    /// The same elements as another type.
    pub(crate) const fn cast(self, from: DType, to: DType) -> Interval {
        let x = self.joined();
        match (from, to) {
            (DType::Bool, DType::Bool) => self,
            (_, DType::Bool) => Interval::any(DType::Bool),
            // A number out of range becomes the nearest whole number, and NaN becomes zero.
            (DType::F32, DType::I32) => {
                let ends = Interval::whole(x.low as i32 as f64, x.high as i32 as f64);
                let cut = if x.low > x.high { Interval::NONE } else { Interval { own: x.own, ..ends } };
                if x.nan { cut.hull(Interval::exactly(0.0)) } else { cut }
            }
            (DType::I32, DType::F32) => x.rounded(DType::F32),
            _ => self,
        }
    }
}

/// An end of an interval.
#[derive(Clone, Copy)]
struct End {
    at: f64,
    own: bool,
}

impl End {
    const LOWEST: End = End { at: f64::NEG_INFINITY, own: false };
    const HIGHEST: End = End { at: f64::INFINITY, own: false };
}

/// The largest number below x, of single precision or whole; x itself where it is infinite.
const fn before(x: f64, whole: bool) -> f64 {
    if x.is_infinite() {
        return x;
    }
    let single = x as f32;
    if whole {
        x.ceil() - 1.0
    } else if (single as f64) < x {
        single as f64
    } else {
        single.next_down() as f64
    }
}

/// The square root, by Newton's method.
const fn root(x: f64) -> f64 {
    if x == 0.0 || x.is_infinite() {
        return x;
    }
    // Half the exponent is a first guess.
    let (mut y, mut i) = (f64::from_bits((x.to_bits() >> 1) + (1023 << 51)), 0);
    while i < 6 {
        y = 0.5 * (y + x / y);
        i += 1;
    }
    y
}

/// The interval of a value refined by a mask: of the elements where the mask holds, and of those where it does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refinement {
    pub(crate) holds: Interval,
    pub(crate) fails: Interval,
}

impl Refinement {
    /// By a mask of which nothing is known.
    pub(crate) const fn none(about: Interval) -> Refinement {
        Refinement { holds: about, fails: about }
    }

    /// By a mask that may be known to hold everywhere or nowhere.
    pub(crate) const fn of_mask(mask: Interval, about: Interval) -> Refinement {
        Refinement {
            holds: if mask.high < 1.0 { Interval::NONE } else { about },
            fails: if mask.low > 0.0 { Interval::NONE } else { about },
        }
    }

    /// Where the mask does not hold.
    pub(crate) const fn not(self) -> Refinement {
        Refinement { holds: self.fails, fails: self.holds }
    }

    /// The mask that is `a` where this one holds, else `b`.
    pub(crate) const fn choose(self, a: Refinement, b: Refinement) -> Refinement {
        Refinement {
            holds: self.holds.and(a.holds).hull(self.fails.and(b.holds)),
            fails: self.holds.and(a.fails).hull(self.fails.and(b.fails)),
        }
    }

    /// The intersection of two refinements by the same mask.
    pub(crate) const fn and(self, with: Refinement) -> Refinement {
        Refinement { holds: self.holds.and(with.holds), fails: self.fails.and(with.fails) }
    }
}
