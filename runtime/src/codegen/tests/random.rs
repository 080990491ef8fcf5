//! Random kernels of everything that an emitter has to get right: many values at once, masks, all ways
//! to walk, several passes, and lengths that no vector divides.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::codegen::tests::*;
use crate::ir::multiply_add::Fma;
use crate::ir::rare::{COSINE, REMAINDER, SINE};

/// Random choices.
struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.next_u32() as usize % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Numbers of all kinds, most of them of ordinary size.
    fn word(&mut self, kind: Kind) -> u32 {
        let bits = self.0.next_u32();
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, 3e38, -3e9, 0.5, 2.5];
        match (kind, self.below(8)) {
            (Kind::Float, 0) => self.one(&special).to_bits(),
            (Kind::Float, 1) => bits,
            (Kind::Float, _) => (bits as i32 as f32 / (1 << 29) as f32).to_bits(),
            (_, 0..4) => bits % 64,
            _ => bits,
        }
    }
}

/// A kernel while it is made.
struct Maker {
    dice: Dice,
    kernel: LoopKernel,
    /// How each operand is walked, what it holds, and how exact it is.
    operands: Vec<(Walk, Kind, f32)>,
    nowhere: Vec<usize>,
    /// Scalars whose value is exact.
    exact: Vec<usize>,
    /// Operands for each element that earlier passes wrote.
    kept: Vec<usize>,
}

/// The values of a strip while it is made.
#[derive(Default)]
struct Values {
    floats: Vec<Reg>,
    ints: Vec<Reg>,
    masks: Vec<Reg>,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let outer = (0..dice.below(3)).map(|_| 1 + dice.below(4)).collect();
        let row = if dice.below(4) == 0 { 1 + dice.below(300) } else { 1 + dice.below(70) };
        let side_by_side = dice.below(2) == 0;
        let kernel = LoopKernel { outer, row, side_by_side, ..LoopKernel::default() };
        Maker { dice, kernel, operands: Vec::new(), nowhere: Vec::new(), exact: Vec::new(), kept: Vec::new() }
    }

    fn operand(&mut self, walk: Walk, kind: Kind, tolerance: f32, strides: Vec<isize>) -> usize {
        self.kernel.operands.push(strides);
        self.operands.push((walk, kind, tolerance));
        self.operands.len() - 1
    }

    fn walk(&mut self, fixed: bool) -> Walk {
        match self.dice.below(6) {
            0 if fixed => Walk::Fixed,
            1 => Walk::Strided(self.dice.one(&[-7, -2, -1, 2, 3, 20])),
            _ => Walk::Contiguous,
        }
    }

    /// Strides that lead to elements of their own for every iteration of the loops but those that `shared` says.
    fn apart(&mut self, walk: Walk, shared: u8) -> Vec<isize> {
        let mut step = match walk {
            Walk::Fixed => 1,
            Walk::Contiguous => self.kernel.row as isize,
            Walk::Strided(stride) => self.kernel.row as isize * stride.abs(),
            Walk::Repeated(_) => unreachable!("repeated elements are only read"),
        };
        let mut strides = vec![0; self.kernel.outer.len()];
        for (depth, &size) in self.kernel.outer.iter().enumerate().rev() {
            if shared >> depth & 1 == 0 {
                strides[depth] = step;
                step *= size as isize;
            }
        }
        strides
    }

    fn load(&mut self, strip: &mut Strip, values: &mut Values) {
        let kind = self.dice.one(&[Kind::Float, Kind::Float, Kind::Int]);
        let repeated = self.dice.below(4) == 0 && !self.kernel.outer.is_empty();
        let walk = if repeated { Walk::Repeated(self.dice.one(&[2, 4])) } else { self.walk(true) };
        let strides = (0..self.kernel.outer.len()).map(|_| self.dice.below(80) as isize - 30).collect();
        let operand = self.operand(walk, kind, 0.0, strides);
        if self.dice.below(6) == 0 && !repeated {
            self.operands[operand].1 = Kind::Int;
            self.nowhere.push(operand);
            values.ints.push(strip.push(Inst::Number(operand, walk), Kind::Int));
            return;
        }
        let r = strip.push(Inst::Load(operand, walk, kind), kind);
        if kind == Kind::Float { values.floats.push(r) } else { values.ints.push(r) }
    }

    /// Something computed from what there is.
    fn compute(&mut self, s: &mut Strip, values: &mut Values) {
        let d = &mut self.dice;
        let [a, b, c] = [0; 3].map(|_| d.one(&values.floats));
        let [i, j] = [0; 2].map(|_| d.one(&values.ints));
        let [m, n] = [0; 2].map(|_| d.one(&values.masks));
        match d.below(13) {
            0 => {
                let op = d.one(&[Op1::Neg, Op1::Abs, Op1::Sqrt, Op1::Nearest, Op1::Floor]);
                values.floats.push(s.push(Inst::One(op, a), Kind::Float));
            }
            1 | 2 => {
                let op = d.one(&[Op2::Add, Op2::Sub, Op2::Mul, Op2::Div]);
                values.floats.push(s.push(Inst::Two(op, a, b), Kind::Float));
            }
            3 | 4 => {
                let op = d.one(&[Fma::MulAdd, Fma::MulSub, Fma::SubMul]);
                values.floats.push(s.push(Inst::Fma(op, a, b, c), Kind::Float));
            }
            5 => {
                // The sign of a zero is not specified.
                let x = if d.below(2) == 0 { s.max(a, b) } else { s.min(a, b) };
                let zero = s.float(0.0);
                values.floats.push(s.add(x, zero));
            }
            6 => {
                let number = self.number(s, a);
                let d = &mut self.dice;
                let x = match d.below(4) {
                    0 => s.to_int(a),
                    1 => s.bits(number),
                    _ => {
                        let op = [Op1::Shl, Op1::Shr, Op1::ShrUnsigned][d.below(3)](d.below(32) as u8);
                        s.push(Inst::One(op, i), Kind::Int)
                    }
                };
                values.ints.push(x);
            }
            7 => {
                let ops = [Op2::IAdd, Op2::ISub, Op2::IMul, Op2::IMin, Op2::IMax, Op2::And, Op2::Or, Op2::Xor];
                values.ints.push(s.push(Inst::Two(d.one(&ops), i, j), Kind::Int));
            }
            8 => {
                let float = Inst::Two(d.one(&[Op2::Lt, Op2::Le, Op2::Eq, Op2::Ne]), a, b);
                let int = Inst::Two(d.one(&[Op2::ILt, Op2::ILe, Op2::IEq]), i, j);
                let both = Inst::Two(d.one(&[Op2::And, Op2::Or, Op2::Xor]), m, n);
                values.masks.push(s.push(d.one(&[float, int, both]), Kind::Mask));
            }
            9 => match d.below(3) {
                0 => values.floats.push(s.select(m, a, b)),
                1 => values.ints.push(s.select(n, i, j)),
                _ => {
                    let k = d.one(&values.masks);
                    values.masks.push(s.select(k, m, n));
                }
            },
            10 => {
                let x = match d.below(3) {
                    0 => s.to_float(i),
                    1 => s.from_bits(i),
                    _ => s.mask_to_float(m),
                };
                values.floats.push(x);
            }
            11 => {
                let f = d.one(&[SINE, COSINE, REMAINDER]);
                values.floats.push(s.rare(f, m, a, b));
            }
            _ => {
                let number = self.number(s, a);
                let positive = s.abs(number);
                let mantissa = s.mantissa(positive);
                let exponent = s.exponent(positive, mantissa);
                let by = self.dice.below(400) as f32 - 200.0;
                let by = s.float(by);
                values.floats.extend([exponent, s.scale(mantissa, by)]);
            }
        }
    }

    /// A number, or one where it is none, since NaN has many forms.
    fn number(&mut self, s: &mut Strip, x: Reg) -> Reg {
        let one = s.float(1.0);
        let is_number = s.eq(x, x);
        s.select(is_number, x, one)
    }

    /// A strip up to its effects.
    fn values(&mut self, strip: &mut Strip, loads: usize, work: usize) -> Values {
        let mut values = Values::default();
        for _ in 0..3 {
            let (x, i) = (self.dice.word(Kind::Float), self.dice.word(Kind::Int));
            values.floats.push(strip.push(Inst::Const(x, Kind::Float), Kind::Float));
            values.ints.push(strip.int(i as i32));
        }
        let (x, y) = (values.floats[0], values.floats[1]);
        values.masks.extend([strip.mask(true), strip.mask(false), strip.lt(x, y)]);
        for i in 0..self.exact.len() {
            values.floats.push(strip.push(Inst::Scalar(self.exact[i]), Kind::Float));
        }
        for _ in 0..loads {
            self.load(strip, &mut values);
        }
        for _ in 0..work {
            self.compute(strip, &mut values);
        }
        values
    }

    /// Stores a value for each element, or for each row.
    fn store(&mut self, s: &mut Strip, values: &Values, each: bool) -> usize {
        let walk = if each { self.walk(false) } else { Walk::Fixed };
        let strides = self.apart(walk, 0);
        let (r, kind) = match self.dice.below(4) {
            0 => (*values.ints.last().unwrap_or(&values.ints[0]), Kind::Int),
            1 => {
                let mask = self.dice.one(&values.masks);
                (s.mask_to_float(mask), Kind::Float)
            }
            2 => (self.dice.one(&values.floats), Kind::Float),
            _ => (*values.floats.last().unwrap_or(&values.floats[0]), Kind::Float),
        };
        let operand = self.operand(walk, kind, 0.0, strides);
        s.effect(Effect::Store(operand, walk, r));
        operand
    }

    /// A number of moderate size, whose sums are exact enough to compare.
    fn moderate(&mut self, s: &mut Strip, x: Reg, low: f32, high: f32) -> Reg {
        let number = self.number(s, x);
        let (low, high) = (s.float(low), s.float(high));
        let x = s.max(number, low);
        s.min(x, high)
    }

    fn pass(&mut self, work: usize) {
        let mut once = Strip::default();
        if self.dice.below(2) == 0 {
            let loads = self.dice.below(3);
            let values = self.values(&mut once, loads, work / 4);
            self.store(&mut once, &values, false);
            let defined = self.kernel.scalars;
            self.kernel.scalars += 1;
            once.effect(Effect::Define(defined, self.dice.one(&values.floats)));
            self.exact.push(defined);
        }
        let mut each = Strip::default();
        let loads = 1 + self.dice.below(6);
        let mut values = self.values(&mut each, loads, 0);
        for i in 0..self.kept.len() {
            let (walk, kind, _) = self.operands[self.kept[i]];
            let r = each.push(Inst::Load(self.kept[i], walk, kind), kind);
            if kind == Kind::Float { values.floats.push(r) } else { values.ints.push(r) }
        }
        for _ in 0..work {
            self.compute(&mut each, &mut values);
        }
        let mut written = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            written.push(self.store(&mut each, &values, true));
        }
        if self.dice.below(2) == 0 {
            self.accumulate(&mut each, &values);
        }
        let folds = self.dice.below(4);
        let mut largest = Vec::new();
        let mut inexact = Vec::new();
        for _ in 0..folds {
            let scalar = self.kernel.scalars;
            self.kernel.scalars += 1;
            let x = self.dice.one(&values.floats);
            let op = self.dice.one(Reduce::ALL);
            let x = match op {
                Reduce::Sum => self.moderate(&mut each, x, 0.5, 4.0),
                Reduce::Prod => self.moderate(&mut each, x, 0.9, 1.1),
                _ => {
                    let zero = each.float(0.0);
                    each.add(x, zero)
                }
            };
            each.effect(Effect::Fold(scalar, op, x));
            if let Reduce::Max | Reduce::Min = op { largest.push(scalar) } else { inexact.push(scalar) }
        }
        self.kernel.passes.push(Pass { once, each });
        // What was folded is stored in a pass behind.
        let mut once = Strip::default();
        for scalar in inexact.into_iter().chain(largest.iter().copied()) {
            let strides = self.apart(Walk::Fixed, 0);
            let operand = self.operand(Walk::Fixed, Kind::Float, 1e-4, strides);
            let r = once.push(Inst::Scalar(scalar), Kind::Float);
            once.effect(Effect::Store(operand, Walk::Fixed, r));
        }
        self.kernel.passes.push(Pass { once, each: Strip::default() });
        self.exact.extend(largest);
        self.kept.extend(written);
    }

    fn accumulate(&mut self, s: &mut Strip, values: &Values) {
        let x = self.dice.one(&values.floats);
        let walk = self.walk(false);
        let shared = self.dice.below(4) as u8;
        let strides = self.apart(walk, shared);
        let operand = self.operand(walk, Kind::Float, 1e-5, strides);
        let op = self.dice.one(Reduce::ALL);
        let x = self.moderate(s, x, 0.5, 2.0);
        if shared > 0 && !self.kernel.outer.is_empty() && walk == Walk::Contiguous {
            self.kernel.fills.push((operand, self.kernel.row, op.identity().to_bits()));
        }
        s.effect(Effect::Accumulate(operand, walk, op, x));
    }

    fn finish(mut self) -> (LoopKernel, Vec<Memory>) {
        let mut memories = Vec::new();
        for (i, &(walk, kind, tolerance)) in self.operands.iter().enumerate() {
            let mut memory = Memory::new(&self.kernel, i, &[walk], kind, |_| 0);
            for word in &mut memory.words {
                *word = if tolerance > 0.0 { 1.5f32.to_bits() } else { self.dice.word(kind) };
            }
            memory.tolerance = tolerance;
            if self.nowhere.contains(&i) {
                (memory.start, memory.nowhere) = (0, true);
            }
            memories.push(memory);
        }
        (self.kernel, memories)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn kernels_of_all_kinds(seed: u64, passes in 1..4usize, work in 1..30usize) {
        let mut maker = Maker::new(seed);
        for _ in 0..passes {
            maker.pass(work);
        }
        let (kernel, memories) = maker.finish();
        check(&kernel, &memories);
    }

    #[test]
    fn more_values_than_registers(seed: u64, work in 60..200usize) {
        let mut maker = Maker::new(seed);
        maker.pass(work);
        let (kernel, memories) = maker.finish();
        check(&kernel, &memories);
    }
}

#[test]
fn every_length() {
    for row in 1..=70 {
        for outer in [vec![], vec![3]] {
            let mut maker = Maker::new(row as u64);
            (maker.kernel.row, maker.kernel.outer) = (row, outer);
            maker.pass(6);
            maker.pass(2);
            let (kernel, memories) = maker.finish();
            check(&kernel, &memories);
        }
    }
}
