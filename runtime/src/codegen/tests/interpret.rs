//! What a loop kernel means, element by element.

use crate::ir::multiply_add::Fma;
use crate::ir::nest::LoopKernel;
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Op1, Op2, Reg, Strip, Walk};

/// Runs a kernel on memories, of which every operand starts at an element of one.
pub(super) fn interpret(kernel: &LoopKernel, memory: &mut [Vec<u32>], starts: &[usize]) {
    let mut machine = Machine { memory, at: starts.iter().map(|&s| s as isize).collect(), scalars: Vec::new() };
    machine.scalars = vec![0; kernel.scalars];
    for &(operand, len, bits) in &kernel.fills {
        let start = machine.at[operand] as usize;
        machine.memory[operand][start..start + len].fill(bits);
    }
    machine.nest(kernel, 0);
}

struct Machine<'m> {
    memory: &'m mut [Vec<u32>],
    /// Where the operands are.
    at: Vec<isize>,
    scalars: Vec<u32>,
}

fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

impl Machine<'_> {
    fn nest(&mut self, kernel: &LoopKernel, depth: usize) {
        let Some(&size) = kernel.outer.get(depth) else { return self.row(kernel) };
        let start = self.at.clone();
        for i in 0..size as isize {
            for (operand, strides) in kernel.operands.iter().enumerate() {
                self.at[operand] = start[operand] + i * strides[depth];
            }
            self.nest(kernel, depth + 1);
        }
        self.at = start;
    }

    fn row(&mut self, kernel: &LoopKernel) {
        for pass in &kernel.passes {
            self.place(&pass.once, 0, &mut []);
            let folds: Vec<(usize, Reduce)> = pass
                .each
                .effects()
                .iter()
                .filter_map(|e| if let Effect::Fold(s, op, _) = *e { Some((s, op)) } else { None })
                .collect();
            let mut totals: Vec<f64> = folds.iter().map(|(_, op)| op.identity() as f64).collect();
            for i in 0..kernel.row {
                self.place(&pass.each, i, &mut totals);
            }
            for ((scalar, _), total) in folds.iter().zip(totals) {
                self.scalars[*scalar] = (total as f32).to_bits();
            }
        }
    }

    fn element(&mut self, operand: usize, walk: Walk, i: usize) -> &mut u32 {
        let by = match walk {
            Walk::Fixed => 0,
            Walk::Contiguous => i as isize,
            Walk::Strided(stride) => i as isize * stride,
            Walk::Repeated(times) => (i / times) as isize,
        };
        &mut self.memory[operand][(self.at[operand] + by) as usize]
    }

    fn place(&mut self, strip: &Strip, i: usize, totals: &mut [f64]) {
        let mut regs: Vec<u32> = Vec::new();
        for inst in strip.insts() {
            let r = |r: Reg| regs[r.index()];
            let bits = match *inst {
                Inst::Const(bits, _) => bits,
                Inst::Load(operand, walk, _) => *self.element(operand, walk, i),
                Inst::Scalar(number) => self.scalars[number],
                Inst::Number(operand, walk) => {
                    let by = match walk {
                        Walk::Fixed => 0,
                        Walk::Contiguous => 1,
                        Walk::Strided(stride) => stride,
                        Walk::Repeated(_) => unreachable!("every element has a number of its own"),
                    };
                    (self.at[operand] + by * i as isize) as u32
                }
                Inst::One(op, x) => one(op, r(x)),
                Inst::Two(op, x, y) => two(op, r(x), r(y)),
                Inst::Fma(op, x, y, z) => {
                    let (x, y, z) = (f(r(x)), f(r(y)), f(r(z)));
                    match op {
                        Fma::MulAdd => x.mul_add(y, z),
                        Fma::MulSub => x.mul_add(y, -z),
                        Fma::SubMul => (-x).mul_add(y, z),
                    }
                    .to_bits()
                }
                Inst::Select(m, x, y) => r(m) & r(x) | !r(m) & r(y),
                Inst::Rare(function, m, x, y) if r(m) != 0 => function.of(f(r(x)), f(r(y))).to_bits(),
                Inst::Rare(_, _, x, _) => r(x),
            };
            regs.push(bits);
        }
        let mut total = totals.iter_mut();
        for effect in strip.effects() {
            let x = regs[effect.arg().index()];
            match *effect {
                Effect::Store(operand, walk, _) => *self.element(operand, walk, i) = x,
                Effect::Accumulate(operand, walk, op, _) => {
                    let old = self.element(operand, walk, i);
                    *old = match op {
                        Reduce::Sum => f(*old) + f(x),
                        Reduce::Prod => f(*old) * f(x),
                        _ => op.reference(f(*old) as f64, f(x) as f64) as f32,
                    }
                    .to_bits();
                }
                Effect::Fold(_, op, _) => {
                    if let Some(total) = total.next() {
                        *total = op.reference(*total, f(x) as f64);
                    }
                }
                Effect::Define(scalar, _) => self.scalars[scalar] = x,
            }
        }
    }
}

/// The result of an instruction of one argument.
fn one(op: Op1, x: u32) -> u32 {
    match op {
        Op1::Neg => x ^ 1 << 31,
        Op1::Abs => x & !(1 << 31),
        Op1::Sqrt => f(x).sqrt().to_bits(),
        Op1::Nearest => f(x).round_ties_even().to_bits(),
        Op1::Floor => f(x).floor().to_bits(),
        Op1::ToInt | Op1::ToIntInRange => f(x) as i32 as u32,
        Op1::ToFloat => (x as i32 as f32).to_bits(),
        Op1::Bits | Op1::FromBits => x,
        Op1::Shl(by) => x << by,
        Op1::Shr(by) => ((x as i32) >> by) as u32,
        Op1::ShrUnsigned(by) => x >> by,
        Op1::MaskToFloat => x & 1f32.to_bits(),
        Op1::Mantissa => {
            let x = f(x);
            match x {
                _ if x.is_nan() || x < 0.0 => f32::NAN.to_bits(),
                _ if x == 0.0 || x == f32::INFINITY => 1f32.to_bits(),
                _ => (x as f64 / (exponent(x) as f64).exp2()).to_bits_of_f32(),
            }
        }
    }
}

trait ToBits {
    fn to_bits_of_f32(self) -> u32;
}

impl ToBits for f64 {
    fn to_bits_of_f32(self) -> u32 {
        (self as f32).to_bits()
    }
}

/// The e of x = 2ᵉ m with m from ¾ to 1½, of a positive number.
fn exponent(x: f32) -> i32 {
    let floor = (x as f64).log2().floor() as i32;
    let whole = x as f64 / (floor as f64).exp2();
    if whole >= 1.5 { floor + 1 } else { floor }
}

/// The result of an instruction of two arguments.
fn two(op: Op2, x: u32, y: u32) -> u32 {
    let number = |r: f32| r.to_bits();
    let mask = |holds: bool| if holds { u32::MAX } else { 0 };
    let (a, b) = (f(x), f(y));
    match op {
        Op2::Add => number(a + b),
        Op2::Sub => number(a - b),
        Op2::Mul => number(a * b),
        Op2::Div => number(a / b),
        Op2::Max => (Reduce::Max.reference(a as f64, b as f64)).to_bits_of_f32(),
        Op2::Min => (Reduce::Min.reference(a as f64, b as f64)).to_bits_of_f32(),
        Op2::Scale => (a as f64 * (b as f64).exp2()).to_bits_of_f32(),
        Op2::Exponent => match a {
            0.0 => f32::NEG_INFINITY.to_bits(),
            f32::INFINITY => x,
            _ => number(exponent(a) as f32),
        },
        Op2::IAdd => x.wrapping_add(y),
        Op2::ISub => x.wrapping_sub(y),
        Op2::IMul => x.wrapping_mul(y),
        Op2::IMin => (x as i32).min(y as i32) as u32,
        Op2::IMax => (x as i32).max(y as i32) as u32,
        Op2::And => x & y,
        Op2::Or => x | y,
        Op2::Xor => x ^ y,
        Op2::Lt => mask(a < b),
        Op2::Le => mask(a <= b),
        Op2::Eq => mask(a == b),
        Op2::Ne => mask(a != b),
        Op2::ILt => mask((x as i32) < y as i32),
        Op2::ILe => mask(x as i32 <= y as i32),
        Op2::IEq => mask(x == y),
    }
}

/// Whether two elements are the same, as numbers of their kind.
pub(super) fn same(kind: Kind, found: u32, expected: u32, tolerance: f32) -> bool {
    let (a, b) = (f(found), f(expected));
    let close = (a - b).abs() <= tolerance * b.abs();
    found == expected || kind == Kind::Float && (a == b || a.is_nan() && b.is_nan() || close)
}
