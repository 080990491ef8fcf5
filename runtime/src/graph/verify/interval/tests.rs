//! Intervals hold what kernels compute, and shape rules compute the same ones.

use crate::graph::verify::interval::*;
use crate::graph::{Stage, Value};
use crate::ir::elementwise::{Binary, Unary};
use crate::ir::random::hash;
use crate::nn::{argmax, clamp, remainder, round, sign, trunc};
use crate::ops::*;
use crate::shape::Rows;
use crate::shape::check::{Check, Type};
use crate::shape::{Dim, Shape};

/// The interval of a value.
fn of(g: &Stage, v: Var) -> Interval {
    intervals(g.graph(), &g.graph().live([v]))[v.index()]
}

fn ends(g: &Stage, v: Var) -> (f64, f64) {
    let Interval { low, high, .. } = of(g, v);
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
    assert_eq!(of(&g, cut), Interval { nan: true, whole: false, ..Interval::whole(3.0, 7.5) });
    let whole = g.cast(cut, DType::I32);
    assert_eq!(ends(&g, whole), (0.0, 7.0));
    let all = g.cast(x, DType::I32);
    assert_eq!(of(&g, all), Interval::any(DType::I32));
}

#[test]
fn one_number_may_stand_beside() {
    let mut g = Stage::new();
    let x = g.input(0, &[4], DType::I32);
    let marked = g.within(x, Rows { count: 8, other: Some(-100) });
    assert_eq!(of(&g, marked), Interval { other: Some(-100), ..Interval::whole(0.0, 7.0) });
    let (hole, zero) = (g.number(-100.0), g.number(0.0));
    let (hole, zero) = (g.cast(hole, DType::I32), g.cast(zero, DType::I32));
    let is_hole = g.compare(Compare::Eq, marked, hole);
    let filled = g.select(is_hole, zero, marked);
    assert_eq!(of(&g, filled), Interval::whole(0.0, 7.0));
    let swapped = g.select(is_hole, marked, zero);
    assert_eq!(beside(&g, swapped), (Some(-100), 0.0, 0.0));
    let next = g.binary(Binary::Add, marked, marked);
    assert_eq!(ends(&g, next), (-200.0, 14.0));
    let other = g.within(x, Rows { count: 3, other: Some(9) });
    let both = g.concat(&[marked, other], 0);
    assert_eq!(of(&g, both), Interval::whole(-100.0, 9.0));
    assert!(!of(&g, marked).is_within(Rows::below(8)));
    assert!(of(&g, marked).is_within(Rows { count: 8, other: Some(-100) }));
}

fn beside(g: &Stage, v: Var) -> (Option<i32>, f64, f64) {
    let interval = of(g, v);
    (interval.other, interval.low, interval.high)
}

/// A graph of operations at random; the same for the same seed.
struct Random {
    g: Stage,
    seed: u32,
    floats: Vec<Var>,
    wholes: Vec<Var>,
    masks: Vec<Var>,
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

    fn mask(&mut self) -> Var {
        let i = self.below(self.masks.len());
        self.masks[i]
    }

    fn add(&mut self) {
        let (a, b, i, j) = (self.float(), self.float(), self.whole(), self.whole());
        let g = &mut self.g;
        match hash(self.seed) % 28 {
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
            20 => self.floats.push(g.binary(Binary::Fmod, a, b)),
            21 => {
                let op = Compare::ALL[a.index() % 4];
                self.masks.push(g.compare(op, a, b));
                self.masks.push(g.compare(op, j, i));
            }
            22 => {
                let (x, y) = (self.mask(), self.mask());
                let g = &mut self.g;
                let both = and::stage(g, x, y);
                let either = or::stage(g, x, y);
                let not = not::stage(g, x);
                self.masks.extend([both, either, not].map(|mask| g.operand(mask).expect("a mask")));
            }
            // A choice of what was compared.
            23.. => {
                let mask = self.mask();
                let g = &mut self.g;
                let (x, y) = (g[mask].args[0], g[mask].args[1]);
                let next = |g: &mut Stage, x: Var| g.binary(Binary::Add, x, x);
                match g[x].dtype {
                    DType::F32 => {
                        let x = if j.index() % 2 == 0 { next(g, x) } else { x };
                        self.floats.push(g.select(mask, x, b));
                        self.floats.push(g.select(mask, a, y));
                    }
                    DType::I32 => {
                        let x = if j.index() % 2 == 0 { next(g, x) } else { x };
                        self.wholes.push(g.select(mask, x, j));
                        self.wholes.push(g.select(mask, i, y));
                    }
                    DType::Bool => {
                        self.floats.push(g.select(mask, a, b));
                        self.wholes.push(g.select(mask, i, j));
                    }
                }
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
    for seed in 0..200 {
        let mut g = Stage::new();
        let data = [0.25, -3.0, 1e30, 7.75, 2.0, -0.5].map(|x: f32| x * (1 + seed % 3) as f32);
        let floats = vec![g.data(&data, &[6]), g.fill(2.5, &[6]), g.input(0, &[6], DType::F32)];
        let wholes = vec![g.iota(6), g.cast(floats[1], DType::I32), g.input(1, &[6], DType::I32)];
        let masks = vec![g.compare(Compare::Lt, floats[0], floats[1]), g.compare(Compare::Le, wholes[1], wholes[0])];
        let mut random = Random { g, seed, floats, wholes, masks };
        for _ in 0..16 {
            random.add();
        }
        let Random { g, floats, wholes, .. } = random;
        let x = crate::Tensor::new([6], [f32::NAN, 1.5, f32::INFINITY, -7.0, 1e-40, 3e9]).expect("six numbers");
        let i = crate::Index::new([6], [i32::MIN, -1, 0, 5, 1 << 20, i32::MAX]).expect("six numbers");
        let values: Vec<Value> = floats.iter().chain(&wholes).copied().map(Value::Var).collect();
        let found = g.compute(&values, &[(&x).into(), (&i).into()]).expect("no index is looked up");
        for (value, found) in values.into_iter().zip(found) {
            let Value::Var(v) = value else { unreachable!("a tensor") };
            let Interval { low, high, nan, .. } = of(&g, v);
            // Results are given in single precision.
            let (low, high) = (low as f32, high as f32);
            for &x in found.data() {
                let inside = if x.is_nan() { nan } else { low <= x && x <= high };
                assert!(inside, "{seed}: {x} is not in {low} to {high}: {:?}", g[v]);
            }
            all += 1;
            bounded += (of(&g, v) != Interval::any(g[v].dtype)) as usize;
        }
    }
    assert!(2 * bounded > all, "{bounded} of {all} values have an interval");
}

/// A value, and what shape rules know of it.
#[derive(Clone, Copy)]
struct Both {
    value: Value,
    ty: Type,
}

/// What a function stages and what its shape rules know, side by side.
struct Program {
    g: Stage,
    cx: Check,
    seed: u32,
    floats: Vec<Both>,
    wholes: Vec<Both>,
    masks: Vec<Both>,
    /// Whether a mask has chosen, of which rules know by the intervals alone what it has compared.
    chosen: bool,
}

/// Stages an operation, and runs its shape rule.
macro_rules! both {
    ($p:ident, $op:ident($($arg:expr),*)) => {{
        let args = [$(Both::from($arg)),*];
        let mut next = args.iter();
        let value = $op::stage(&mut $p.g $(, both!(@ $arg next.next().expect("an argument").value))*);
        let mut next = args.iter();
        let ty = $op::shape(&mut $p.cx $(, both!(@ $arg next.next().expect("an argument").ty))*);
        Both { value, ty }
    }};
    (@ $arg:expr, $with:expr) => { $with };
    (@ $arg:tt $with:expr) => { $with };
}

impl From<f64> for Both {
    fn from(x: f64) -> Both {
        Both { value: x.into(), ty: Type::number(x) }
    }
}

impl From<isize> for Both {
    fn from(n: isize) -> Both {
        Both { value: n.into(), ty: Type::Dim(Dim::int(n)) }
    }
}

impl<const N: usize> From<[isize; N]> for Both {
    fn from(list: [isize; N]) -> Both {
        Both { value: list.into(), ty: Type::dims(&list.map(Dim::int)) }
    }
}

impl Program {
    fn new(seed: u32) -> Program {
        let shape = Shape::sizes(&[6]);
        let mut p = Program {
            g: Stage::new(),
            cx: Check::record(),
            seed,
            floats: vec![],
            wholes: vec![],
            masks: vec![],
            chosen: false,
        };
        for dtype in [DType::F32, DType::I32] {
            let value = Value::Var(p.g.input(dtype as usize, &[6], dtype));
            p.push(Both { value, ty: Type::tensor(dtype, shape) });
        }
        let fill = both!(p, broadcast_to(2.5, [6]));
        let counts = both!(p, iota(6));
        let mask = both!(p, lt(counts, 3));
        let numbers = both!(p, float(counts));
        for value in [fill, counts, mask, numbers] {
            p.push(value);
        }
        p
    }

    fn below(&mut self, n: usize) -> usize {
        self.seed = hash(self.seed.wrapping_add(0x9e37_79b9));
        self.seed as usize % n
    }

    fn one_of(&mut self, values: fn(&Program) -> &Vec<Both>) -> Both {
        let i = self.below(values(self).len());
        values(self)[i]
    }

    /// Keeps a value for what comes, unless it was refused.
    fn push(&mut self, value: Both) {
        match (value.value, value.ty) {
            (Value::Var(_), Type::Tensor(t)) if t.dtype == DType::F32 => self.floats.push(value),
            (Value::Var(_), Type::Tensor(t)) if t.dtype == DType::I32 => self.wholes.push(value),
            (Value::Var(_), Type::Tensor(_)) => self.masks.push(value),
            _ => {}
        }
    }

    fn add(&mut self, chooses: bool) {
        let p = self;
        let (a, b) = (p.one_of(|p| &p.floats), p.one_of(|p| &p.floats));
        let (i, j) = (p.one_of(|p| &p.wholes), p.one_of(|p| &p.wholes));
        let (m, n) = (p.one_of(|p| &p.masks), p.one_of(|p| &p.masks));
        let whole = p.below(12) as isize - 4;
        let number = if p.below(2) == 0 { whole as f64 / 2.0 } else { whole as f64 };
        // Either type, and a second operand that is a number every other time.
        let (x, y) = if p.below(2) == 0 { (a, b) } else { (i, j) };
        let y = match (p.below(2), x.ty) {
            (0, _) => y,
            (_, Type::Tensor(t)) if t.dtype == DType::F32 => number.into(),
            _ => whole.into(),
        };
        let (x, y) = if p.below(4) == 0 { (y, x) } else { (x, y) };
        // What is shown otherwise, a mask among it.
        let shown = [a, i, m][p.below(3)];
        let op = p.below(if chooses { 46 } else { 38 });
        let made = match op {
            0 => both!(p, float(i)),
            1 => both!(p, integer(a)),
            2 => both!(p, float(m)),
            3 => both!(p, integer(m)),
            4 | 5 => both!(p, add(x, y)),
            6 | 7 => both!(p, sub(x, y)),
            8 | 9 => both!(p, mul(x, y)),
            10 | 11 => both!(p, maximum(x, y)),
            12 | 13 => both!(p, minimum(x, y)),
            14 => both!(p, div(a, number)),
            15 => both!(p, fmod(a, number)),
            16 => both!(p, div(a, b)),
            17 => both!(p, floor(a)),
            18 => both!(p, abs(a)),
            19 => both!(p, sqrt(a)),
            20 => both!(p, neg(a)),
            21 => both!(p, exp(a)),
            22 => both!(p, flip(shown, 0)),
            23 => both!(p, roll(shown, 0, 2)),
            24 => {
                let rows = both!(p, reshape(shown, [2, 3]));
                let turned = both!(p, transpose(rows, 0, 1));
                both!(p, flatten(turned, 0, 1))
            }
            25 => {
                let part = both!(p, slice(shown, 0, 2, 5));
                let twice = both!(p, repeat(part, 0, 2));
                both!(p, stop_gradient(twice))
            }
            26 => {
                let ends = [both!(p, slice(i, 0, 0, 2)), both!(p, slice(j, 0, 2, 6))];
                Both {
                    value: concat::stage(&mut p.g, ends.map(|x| x.value), 0),
                    ty: concat::shape(&mut p.cx, ends.map(|x| x.ty), Type::Dim(Dim::n(0))),
                }
            }
            27 => {
                let padded = both!(p, pad(shown, 0, 1, 5));
                both!(p, stride(padded, 0, 2))
            }
            28 => {
                let rows = both!(p, unflatten(a, 0, [2, 3]));
                let (low, sum) = (both!(p, min_keepdim(rows, [1])), both!(p, sum_keepdim(rows, [1])));
                let spread = both!(p, add(low, sum));
                let spread = both!(p, broadcast_to(spread, [2, 3]));
                both!(p, reshape(spread, [-1]))
            }
            29 => {
                let rows = both!(p, unflatten(a, 0, [3, 2]));
                let place = both!(p, argmax(rows));
                both!(p, repeat_interleave(place, 0, 2))
            }
            30 => {
                let table = both!(p, unsqueeze(a, 1));
                let index = both!(p, within(i, 6));
                let rows = both!(p, gather(table, index));
                both!(p, squeeze(rows, [1]))
            }
            31 => both!(p, within(i, 5)),
            32 => both!(p, within_or(i, 5, -3)),
            33 => both!(p, clamp(a, -1.0, number)),
            34 => both!(p, round(a)),
            35 => {
                let rows = both!(p, unflatten(shown, 0, [2, 3]));
                let [first, second]: [Value; 2] = unbind::stage(&mut p.g, rows.value, 0);
                let [tf, ts]: [Type; 2] = unbind::shape(&mut p.cx, rows.ty, Type::Dim(Dim::n(0)));
                let parts = [Both { value: second, ty: ts }, Both { value: first, ty: tf }];
                Both {
                    value: concat::stage(&mut p.g, parts.map(|x| x.value), 0),
                    ty: concat::shape(&mut p.cx, parts.map(|x| x.ty), Type::Dim(Dim::n(0))),
                }
            }
            36 => both!(p, trunc(a)),
            37 => both!(p, sign(a)),
            38 => match p.below(6) {
                0 => both!(p, lt(x, y)),
                1 => both!(p, le(x, y)),
                2 => both!(p, gt(x, y)),
                3 => both!(p, ge(x, y)),
                4 => both!(p, eq(x, y)),
                _ => both!(p, ne(x, y)),
            },
            39 => both!(p, and(m, n)),
            40 => both!(p, or(m, n)),
            41 => both!(p, not(m)),
            42 => both!(p, remainder(a, number)),
            // A choice of what was compared, or of what was made of it.
            43 => {
                let mask = both!(p, lt(x, y));
                let next = both!(p, add(x, 1));
                p.push(mask);
                both!(p, select(mask, next, x))
            }
            44 => {
                let mask = both!(p, ne(x, y));
                p.push(mask);
                both!(p, select(mask, x, y))
            }
            _ => both!(p, select(m, x, y)),
        };
        // Functions of the library choose by masks too.
        p.chosen |= chooses || matches!(op, 29 | 33 | 34 | 36 | 37);
        // Of a product with zero, or zero over something, the verifier knows nothing where it is no constant.
        p.chosen |= matches!((op, made.ty), (8 | 9 | 16, Type::Tensor(t)) if t.holds.known.is_one());
        p.push(made);
    }
}

/// What shape rules know is never more than the intervals of the graph hold, so that they refuse nothing that the graph
/// admits. Without masks it is the same.
#[test]
fn shape_rules_know_the_same_intervals() {
    let (mut same, mut all) = (0, 0);
    for seed in 0..1000 {
        let chooses = seed % 2 == 0;
        let mut p = Program::new(seed);
        for _ in 0..14 {
            p.add(chooses);
        }
        for both in p.floats.iter().chain(&p.wholes).chain(&p.masks) {
            let (Value::Var(v), Type::Tensor(ty)) = (both.value, both.ty) else { unreachable!("a tensor") };
            assert_eq!(p.g[v].dtype, ty.dtype);
            assert_eq!(Some(p.g[v].shape.clone()), ty.shape.concrete());
            let (found, holds) = (of(&p.g, v), ty.holds);
            let known = holds.known;
            let is_part = found.low <= known.low && known.high <= found.high || found.hull(known) == found;
            let beside = known
                .other
                .is_none_or(|x| found.hull(Interval::exactly(x.into())) == found || found.other == known.other);
            assert!(is_part && beside, "{seed}: {known:?} is not within {found:?}: {:?}", p.g[v]);
            assert!(!known.nan || found.nan, "{seed}: {known:?}, {found:?}: {:?}", p.g[v]);
            if holds.open.is_none() {
                let alike = (known.low, known.high, known.other) == (found.low, found.high, found.other);
                assert!(alike || p.chosen, "{seed}: {known:?} is not {found:?}: {:?}", p.g[v]);
                (same, all) = (same + alike as usize, all + 1);
            }
        }
        assert_eq!(p.g.error(), None, "{seed}");
    }
    assert!(10 * same > 9 * all && all > 3000, "{same} of {all} intervals are the same");
}
