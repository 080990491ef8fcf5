//! Which numbers the elements of a value may be.
//!
//! An interval holds every element that the kernels may compute, in single precision and with whole numbers that wrap
//! around; it may be wider than that, never narrower. What is not known is all numbers.

use crate::graph::{Graph, Node, Op, Rows, Var};
use crate::ops::elementwise::{Binary, Compare, Unary};
use crate::ops::multiply_add::Fma;
use crate::ops::reduce::Reduce;
use crate::reference::element;
use crate::shape::DType;

/// Whole numbers up to here are single-precision numbers.
const EXACT: f64 = (1 << 24) as f64;

/// The numbers from one to another, perhaps with one more beside them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    low: f64,
    high: f64,
    /// A whole number that may stand in place of one in between, as [`Rows::other`] does.
    other: Option<i32>,
    /// Whether an element may be no number.
    nan: bool,
    /// Whether all are whole numbers.
    whole: bool,
}

/// The intervals of all nodes that are `live`, by number; the others have any.
pub(super) fn ranges(graph: &Graph, live: &[bool]) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(graph.nodes().len());
    ranges_from(graph, live, &|_| None, &mut ranges);
    ranges
}

/// The same in place of what is in `ranges`, where the intervals of some inputs are known.
pub(crate) fn ranges_from(
    graph: &Graph,
    live: &[bool],
    source: &dyn Fn(Var) -> Option<Range>,
    ranges: &mut Vec<Range>,
) {
    ranges.clear();
    for (v, node) in graph.vars() {
        let known = || source(v).unwrap_or_else(|| range(graph, node, ranges));
        let next = if live[v.index()] { known() } else { Range::any(node.dtype) };
        ranges.push(next);
    }
}

fn range(graph: &Graph, node: &Node, of: &[Range]) -> Range {
    let arg = |i: usize| of[node.args[i].index()];
    match &node.op {
        Op::Const(bits) => Range::exactly(element(*bits, node.dtype)),
        Op::Data(bits) => {
            let elements = bits.iter().map(|&bits| Range::exactly(element(bits, node.dtype)));
            elements.reduce(Range::hull).unwrap_or(Range::any(node.dtype))
        }
        Op::Iota => Range::whole(0.0, node.len() as f64 - 1.0),
        // Multiples of 2⁻²⁴.
        Op::Random(_) => Range { whole: false, ..Range::whole(0.0, 1.0 - 1.0 / EXACT) },
        Op::Unary(op) => arg(0).unary(*op, node.dtype),
        Op::Binary(Binary::Mul) if node.args[0] == node.args[1] => arg(0).squared().rounded(node.dtype),
        Op::Binary(op) => arg(0).binary(*op, arg(1), node.dtype),
        Op::Fma(op) => {
            let product = if node.args[0] == node.args[1] { arg(0).squared() } else { arg(0).times(arg(1)) };
            let c = arg(2);
            match op {
                Fma::MulAdd => product.plus(c),
                Fma::MulSub => product.plus(c.negative()),
                Fma::SubMul => c.plus(product.negative()),
            }
            .near()
        }
        Op::Compare(_) => Range::any(DType::Bool),
        Op::Select => selected(graph, node, 1, arg(1)).hull(selected(graph, node, 2, arg(2))),
        Op::Cast => arg(0).cast(graph[node.args[0]].dtype, node.dtype),
        // Behind a promise it holds: it is proved, or what breaks it is refused.
        Op::Within(rows) | Op::Checked(rows) => arg(0).within(*rows),
        Op::Reduce(op, _) => {
            let count = graph[node.args[0]].len() / node.len().max(1);
            match op {
                Reduce::Max | Reduce::Min => arg(0),
                Reduce::Sum => arg(0).sum(count as f64),
                Reduce::Prod => Range::any(node.dtype),
            }
        }
        Op::Slice(window) => match (&graph[node.args[0]].op, &window[..]) {
            (Op::Iota, &[(start, step)]) => {
                let (first, last) = (start as f64, start as f64 + (node.len() as f64 - 1.0) * step as f64);
                Range::whole(first.min(last), first.max(last))
            }
            _ => arg(0),
        },
        Op::Reshape | Op::Broadcast | Op::Transpose(_) | Op::Windows { .. } | Op::Gather => arg(0),
        Op::Pad(_) => arg(0).hull(Range::exactly(0.0)),
        Op::Concat(_) => {
            let parts = node.args.iter().map(|v| of[v.index()]);
            parts.reduce(Range::hull).unwrap_or(Range::any(node.dtype))
        }
        Op::Input(_) | Op::Param(_) | Op::Seed | Op::MatMul(..) | Op::Contract(_) | Op::ScatterAdd => {
            Range::any(node.dtype)
        }
    }
}

/// The interval of what a choice takes from argument `i`: where it is compared with what stands beside the interval,
/// that is not taken.
fn selected(graph: &Graph, node: &Node, i: usize, of: Range) -> Range {
    let mask = &graph[node.args[0]];
    let unequal = if i == 1 { Compare::Ne } else { Compare::Eq };
    let is = |v: Var, x: i32| graph[v].op == Op::Const(x as u32) && graph[v].dtype == DType::I32;
    let apart = |x: i32| match (&mask.op, &mask.args[..]) {
        (Op::Compare(op), &[a, b]) => {
            *op == unequal && (a == node.args[i] && is(b, x) || b == node.args[i] && is(a, x))
        }
        _ => false,
    };
    Range { other: of.other.filter(|&x| !apart(x)), ..of }
}

impl Range {
    /// All numbers of a type.
    fn any(dtype: DType) -> Range {
        match dtype {
            DType::F32 => Range { nan: true, whole: false, ..Range::whole(f64::NEG_INFINITY, f64::INFINITY) },
            DType::I32 => Range::whole(i32::MIN.into(), i32::MAX.into()),
            DType::Bool => Range::whole(0.0, 1.0),
        }
    }

    /// The numbers from one to another.
    pub(crate) fn between(low: f64, high: f64) -> Range {
        Range { whole: false, ..Range::whole(low, high) }
    }

    /// The smallest interval with all of these numbers in it.
    pub(crate) fn of<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Range {
        let none = Range::between(f64::INFINITY, f64::NEG_INFINITY);
        numbers.into_iter().fold(none, |range, &x| Range {
            low: range.low.min(x.into()),
            high: range.high.max(x.into()),
            nan: range.nan || x.is_nan(),
            ..range
        })
    }

    /// What holds these numbers when they are so many times larger, and all from 0 to 1 on each side that has one.
    pub(crate) fn with_room(self, factor: f64) -> Range {
        let low = if self.low < 0.0 { (self.low * factor).min(-1.0) } else { 0.0 };
        let high = if self.high > 0.0 { (self.high * factor).max(1.0) } else { 0.0 };
        Range { low, high, ..self }
    }

    /// Whether all are numbers, and of at most this size.
    pub(crate) fn is_at_most(self, size: f64) -> bool {
        let x = self.joined();
        !x.nan && -size <= x.low && x.high <= size
    }

    /// Whether all elements are in another interval.
    pub(crate) fn is_inside(self, other: Range) -> bool {
        self.nan <= other.nan && other.low <= self.low && self.high <= other.high
    }

    fn whole(low: f64, high: f64) -> Range {
        Range { low, high, other: None, nan: false, whole: true }
    }

    pub(crate) fn exactly(x: f64) -> Range {
        match x.is_nan() {
            true => Range { nan: true, ..Range::any(DType::F32) },
            false => Range { whole: x.fract() == 0.0, ..Range::whole(x, x) },
        }
    }

    /// The smallest interval that holds these numbers.
    fn around(numbers: [f64; 4]) -> Range {
        let low = numbers.into_iter().fold(f64::INFINITY, f64::min);
        Range::whole(low, numbers.into_iter().fold(f64::NEG_INFINITY, f64::max))
    }

    /// Whether all are admitted.
    pub(super) fn is_within(self, rows: Rows) -> bool {
        let rest = self.low > self.high || 0.0 <= self.low && self.high < rows.count as f64;
        rest && self.other.is_none_or(|x| rows.admits(x))
    }

    /// The interval with what may stand beside it in it.
    fn joined(self) -> Range {
        match self.other.map(f64::from) {
            Some(x) => Range { low: self.low.min(x), high: self.high.max(x), other: None, ..self },
            None => self,
        }
    }

    /// What holds the elements of both.
    pub(crate) fn hull(self, with: Range) -> Range {
        let (a, b) = match (self.other, with.other) {
            (Some(x), Some(y)) if x != y => (self.joined(), with.joined()),
            _ => (self, with),
        };
        Range {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            other: a.other.or(b.other),
            nan: a.nan || b.nan,
            whole: a.whole && b.whole,
        }
    }

    /// What is left where these rows are promised.
    fn within(self, rows: Rows) -> Range {
        let from = if self.other == rows.other { self } else { self.joined() };
        let other = rows.other.filter(|&x| from.other == Some(x) || from.low <= x.into() && f64::from(x) <= from.high);
        Range { other, ..Range::whole(from.low.max(0.0), from.high.min(rows.count as f64 - 1.0)) }
    }

    fn negative(self) -> Range {
        let x = self.joined();
        Range { low: -x.high, high: -x.low, ..x }
    }

    /// The exact sums.
    fn plus(self, with: Range) -> Range {
        let (a, b) = (self.joined(), with.joined());
        // A sum of opposite infinities is no number.
        let (low, high) = (a.low + b.low, a.high + b.high);
        let opposite = a.low.is_infinite() && b.high == -a.low || a.high.is_infinite() && b.low == -a.high;
        match low.is_nan() || high.is_nan() {
            true => Range::any(DType::F32),
            false => Range { low, high, other: None, nan: a.nan || b.nan || opposite, whole: a.whole && b.whole },
        }
    }

    /// The exact products.
    fn times(self, with: Range) -> Range {
        let (a, b) = (self.joined(), with.joined());
        let corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
        let unbounded = [a.low, a.high, b.low, b.high].into_iter().any(f64::is_infinite);
        match unbounded {
            // Zero times infinity is no number, and zeros lie between the corners.
            true => Range::any(DType::F32),
            false => Range { nan: a.nan || b.nan, whole: a.whole && b.whole, ..Range::around(corners) },
        }
    }

    /// The exact squares.
    fn squared(self) -> Range {
        let square = self.times(self);
        Range { low: square.low.max(0.0), ..square }
    }

    fn over(self, by: Range) -> Range {
        let (a, b) = (self.joined(), by.joined());
        let corners = [a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high];
        match b.low > 0.0 || b.high < 0.0 {
            true if corners.into_iter().all(|x| x.is_finite()) => {
                Range { nan: a.nan || b.nan, whole: false, ..Range::around(corners) }
            }
            _ => Range::any(DType::F32),
        }
    }

    /// The sum of so many elements, however it is ordered and rounded.
    fn sum(self, count: f64) -> Range {
        let x = self.joined();
        let (low, high) = (x.low * count, x.high * count);
        let most = low.abs().max(high.abs());
        if x.whole && most <= EXACT {
            return Range { low, high, ..x };
        }
        // Each partial sum is off by half a unit in its last place at most.
        let off = count * most * f64::from(f32::EPSILON);
        Range { low: low - off, high: high + off, whole: false, ..x }.rounded(DType::F32)
    }

    /// Exact results as numbers of a type: sums and products of whole numbers wrap around, others are rounded.
    fn rounded(self, dtype: DType) -> Range {
        let (low, high) = (self.low, self.high);
        match dtype {
            DType::I32 if low < i32::MIN.into() || high > i32::MAX.into() => Range::any(DType::I32),
            DType::I32 | DType::Bool => self,
            // Rounding is monotonic, and of one operation to double precision first changes nothing.
            DType::F32 => Range { low: (low as f32).into(), high: (high as f32).into(), ..self },
        }
    }

    /// Results that double precision holds only nearly, as a product and a sum: wider by a number at each end.
    fn near(self) -> Range {
        match self.rounded(DType::F32) {
            exact if exact == self => self,
            _ => {
                // Rounding never goes beyond zero.
                let (low, high) = (f64::from((self.low as f32).next_down()), f64::from((self.high as f32).next_up()));
                let low = if self.low >= 0.0 { low.max(0.0) } else { low };
                Range { low, high: if self.high <= 0.0 { high.min(0.0) } else { high }, ..self }
            }
        }
    }

    fn binary(self, op: Binary, with: Range, dtype: DType) -> Range {
        let (a, b) = (self.joined(), with.joined());
        let extreme = |low: f64, high: f64| Range { low, high, nan: a.nan || b.nan, whole: a.whole && b.whole, ..a };
        match op {
            Binary::Add => a.plus(b).rounded(dtype),
            Binary::Sub => a.plus(b.negative()).rounded(dtype),
            Binary::Mul => a.times(b).rounded(dtype),
            Binary::Div => a.over(b).rounded(dtype),
            Binary::Max => extreme(a.low.max(b.low), a.high.max(b.high)),
            Binary::Min => extreme(a.low.min(b.low), a.high.min(b.high)),
            Binary::Pow | Binary::Atan2 | Binary::Fmod => Range::any(dtype),
        }
    }

    fn unary(self, op: Unary, dtype: DType) -> Range {
        let x = self.joined();
        match op {
            Unary::Neg => x.negative().rounded(dtype),
            Unary::Abs if x.low >= 0.0 => x,
            Unary::Abs if x.high <= 0.0 => x.negative(),
            Unary::Abs => Range { low: 0.0, high: x.high.max(-x.low), ..x },
            Unary::Floor => Range { low: x.low.floor(), high: x.high.floor(), whole: true, ..x },
            Unary::Sqrt if x.low >= 0.0 => {
                Range { low: x.low.sqrt(), high: x.high.sqrt(), whole: false, ..x }.rounded(dtype)
            }
            _ => Range::any(dtype),
        }
    }

    fn cast(self, from: DType, to: DType) -> Range {
        let x = self.joined();
        match (from, to) {
            (_, DType::Bool) => Range::any(DType::Bool),
            // What no whole number is near becomes the nearest one, and what is no number zero.
            (DType::F32, DType::I32) => {
                let cut = |x: f64| f64::from(x as i32);
                let cut = Range::whole(cut(x.low), cut(x.high));
                if x.nan { cut.hull(Range::exactly(0.0)) } else { cut }
            }
            (DType::I32, DType::F32) => Range { low: (x.low as f32).into(), high: (x.high as f32).into(), ..x },
            _ => self,
        }
    }

    /// The interval, for people: nothing if all whole numbers are in it.
    pub(super) fn named(self) -> Option<String> {
        if (Range { other: None, ..self }) == Range::any(DType::I32) {
            return None;
        }
        let beside = self.other.map(|x| format!(" or {x}")).unwrap_or_default();
        Some(format!("{} to {}{beside}", self.low, self.high))
    }
}

/// Whether the ends of a node's interval are elements of it: its elements are known, or it shows all of such.
pub(super) fn known(graph: &Graph, mut v: Var) -> bool {
    while let Op::Reshape | Op::Broadcast | Op::Transpose(_) = graph[v].op {
        v = graph[v].args[0];
    }
    matches!(graph[v].op, Op::Iota | Op::Const(_) | Op::Data(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Stage, Value};
    use crate::ops::random::hash;

    /// The interval of a value.
    fn of(g: &Stage, v: Var) -> Range {
        ranges(g.graph(), &g.graph().live([v]))[v.index()]
    }

    fn ends(g: &Stage, v: Var) -> (f64, f64) {
        let Range { low, high, .. } = of(g, v);
        (low, high)
    }

    #[test]
    fn whole_numbers_wrap_around() {
        let mut g = Stage::new();
        let x = g.iota(10);
        let any = (i32::MIN.into(), i32::MAX.into());
        assert_eq!(ends(&g, x), (0.0, 9.0));
        let square = g.binary(Binary::Mul, x, x);
        assert_eq!(ends(&g, square), (0.0, 81.0));
        let below = g.binary(Binary::Sub, x, square);
        assert_eq!(ends(&g, below), (-81.0, 9.0));
        let mut power = square;
        for _ in 0..4 {
            power = g.binary(Binary::Mul, power, square);
        }
        assert_eq!(ends(&g, power), any);
        let unknown = g.input(0, &[10], DType::I32);
        let less = g.binary(Binary::Sub, x, unknown);
        assert_eq!(ends(&g, less), any);
    }

    #[test]
    fn what_is_no_number_becomes_zero() {
        let mut g = Stage::new();
        let x = g.input(0, &[4], DType::F32);
        let (low, high) = (g.number(3.0), g.number(7.5));
        let cut = g.binary(Binary::Max, x, low);
        let cut = g.binary(Binary::Min, cut, high);
        assert_eq!(of(&g, cut), Range { low: 3.0, high: 7.5, other: None, nan: true, whole: false });
        let whole = g.cast(cut, DType::I32);
        assert_eq!(ends(&g, whole), (0.0, 7.0));
        let all = g.cast(x, DType::I32);
        assert_eq!(of(&g, all), Range::any(DType::I32));
    }

    #[test]
    fn one_number_may_stand_beside() {
        let mut g = Stage::new();
        let x = g.input(0, &[4], DType::I32);
        let marked = g.within(x, Rows { count: 8, other: Some(-100) });
        assert_eq!(of(&g, marked), Range { other: Some(-100), ..Range::whole(0.0, 7.0) });
        let (hole, zero) = (g.number(-100.0), g.number(0.0));
        let (hole, zero) = (g.cast(hole, DType::I32), g.cast(zero, DType::I32));
        let is_hole = g.compare(Compare::Eq, marked, hole);
        let filled = g.select(is_hole, zero, marked);
        assert_eq!(of(&g, filled), Range::whole(0.0, 7.0));
        let swapped = g.select(is_hole, marked, zero);
        assert_eq!(beside(&g, swapped), (Some(-100), 0.0, 7.0));
        let next = g.binary(Binary::Add, marked, marked);
        assert_eq!(ends(&g, next), (-200.0, 14.0));
        let other = g.within(x, Rows { count: 3, other: Some(9) });
        let both = g.concat(&[marked, other], 0);
        assert_eq!(of(&g, both), Range::whole(-100.0, 9.0));
        assert!(!of(&g, marked).is_within(Rows::below(8)));
        assert!(of(&g, marked).is_within(Rows { count: 8, other: Some(-100) }));
    }

    fn beside(g: &Stage, v: Var) -> (Option<i32>, f64, f64) {
        let range = of(g, v);
        (range.other, range.low, range.high)
    }

    /// A graph of operations at random; the same for the same seed.
    struct Random {
        g: Stage,
        seed: u32,
        floats: Vec<Var>,
        wholes: Vec<Var>,
    }

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.seed = hash(self.seed.wrapping_add(0x9e37_79b9));
            self.seed as usize % n
        }

        fn float(&mut self) -> Var {
            let i = self.below(self.floats.len());
            self.floats[i]
        }

        fn whole(&mut self) -> Var {
            let i = self.below(self.wholes.len());
            self.wholes[i]
        }

        fn add(&mut self) {
            let (a, b, i, j) = (self.float(), self.float(), self.whole(), self.whole());
            let g = &mut self.g;
            match hash(self.seed) % 20 {
                0 => self.wholes.push(g.cast(a, DType::I32)),
                1 => self.floats.push(g.cast(i, DType::F32)),
                2 => self.floats.push(g.unary(Unary::Floor, a)),
                3 => self.floats.push(g.unary(Unary::Abs, a)),
                4 => self.floats.push(g.unary(Unary::Sqrt, a)),
                5 => self.floats.push(g.unary(Unary::Neg, i)),
                6 => self.floats.push(g.unary(Unary::Exp, a)),
                7 => {
                    let op = [Reduce::Sum, Reduce::Max, Reduce::Min][j.index() % 3];
                    let sum = g.reduce(op, a, 1);
                    let sum = g.broadcast(sum, &[6]);
                    self.floats.push(sum);
                }
                8 => {
                    let mask = g.compare(Compare::Lt, a, b);
                    self.floats.push(g.select(mask, a, b));
                    self.wholes.push(g.select(mask, i, j));
                }
                9 => {
                    let part = g.slice(i, &[(4, -2)], &[3]);
                    self.wholes.push(g.concat(&[part, part], 0));
                }
                10 => {
                    let part = g.slice(a, &[(1, 1)], &[4]);
                    self.floats.push(g.pad(part, &[1], &[6]));
                }
                n => {
                    let op = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min][n as usize % 5];
                    self.floats.push(g.binary(op, a, b));
                    self.wholes.push(g.binary(op, i, j));
                    if n == 19 {
                        self.floats.push(g.binary(Binary::Div, a, b));
                    }
                }
            }
        }
    }

    /// No element that the kernels compute is outside of its interval.
    #[test]
    fn elements_are_in_their_intervals() {
        let (mut bounded, mut all) = (0, 0);
        for seed in 0..60 {
            let mut g = Stage::new();
            let data = [0.25, -3.0, 1e30, 7.75, 2.0, -0.5].map(|x: f32| x * (1 + seed % 3) as f32);
            let floats = vec![g.data(&data, &[6]), g.fill(2.5, &[6]), g.input(0, &[6], DType::F32)];
            let wholes = vec![g.iota(6), g.cast(floats[1], DType::I32), g.input(1, &[6], DType::I32)];
            let mut random = Random { g, seed, floats, wholes };
            for _ in 0..12 {
                random.add();
            }
            let Random { g, floats, wholes, .. } = random;
            let x = crate::Tensor::new([6], [f32::NAN, 1.5, f32::INFINITY, -7.0, 1e-40, 3e9]).expect("six numbers");
            let i = crate::Index::new([6], [i32::MIN, -1, 0, 5, 1 << 20, i32::MAX]).expect("six numbers");
            let values: Vec<Value> = floats.iter().chain(&wholes).copied().map(Value::Var).collect();
            let found = g.compute(&values, &[(&x).into(), (&i).into()]).expect("no index is looked up");
            for (value, found) in values.into_iter().zip(found) {
                let Value::Var(v) = value else { unreachable!("a tensor") };
                let Range { low, high, nan, .. } = of(&g, v);
                // Results are given in single precision.
                let (low, high) = (low as f32, high as f32);
                for &x in found.data() {
                    let inside = if x.is_nan() { nan } else { low <= x && x <= high };
                    assert!(inside, "{seed}: {x} is not in {low} to {high}: {:?}", g[v]);
                }
                all += 1;
                bounded += (of(&g, v) != Range::any(g[v].dtype)) as usize;
            }
        }
        assert!(2 * bounded > all, "{bounded} of {all} values have an interval");
    }
}
