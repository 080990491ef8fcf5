//! Expands instructions that only some machines have into plain ones.

use super::strip::{Inst, Kind, Op1, Op2, Reg, Strip};

impl Strip {
    /// The strip without `Mantissa`, `Exponent` and `Scale`, which only AVX-512 has, and without `Max`
    /// and `Min` unless the emitter has them.
    pub(crate) fn plain(&self, has_max: bool) -> Strip {
        let mut plain = Strip::default();
        let mut regs: Vec<Reg> = Vec::with_capacity(self.insts().len());
        for (i, inst) in self.insts().iter().enumerate() {
            let reg = match inst.map(|r| regs[r.index()]) {
                Inst::One(Op1::Mantissa, x) => plain.plain_mantissa(x),
                Inst::Two(Op2::Exponent, x, m) => plain.plain_exponent(x, m),
                Inst::Two(Op2::Scale, x, n) => plain.plain_scale(x, n),
                Inst::Two(Op2::Max, a, b) if !has_max => plain.extreme(|s, x, y| s.lt(y, x), a, b),
                Inst::Two(Op2::Min, a, b) if !has_max => plain.extreme(|s, x, y| s.lt(x, y), a, b),
                inst => plain.push(inst, self.kind(Reg(i as u32))),
            };
            regs.push(reg);
        }
        for effect in self.effects() {
            plain.effect(effect.with(regs[effect.arg().index()]));
        }
        plain
    }

    /// Whether a register is a constant other than NaN.
    pub(crate) fn is_constant_number(&self, r: Reg) -> bool {
        matches!(self.insts()[r.index()], Inst::Const(bits, Kind::Float) if !f32::from_bits(bits).is_nan())
    }

    /// The argument that wins; NaN if either one is. `wins` tells whether the first argument wins, which NaN does not.
    fn extreme(&mut self, wins: impl Fn(&mut Strip, Reg, Reg) -> Reg, a: Reg, b: Reg) -> Reg {
        // A constant, which is not NaN, comes first: then one comparison is enough.
        let (a, b) = if self.is_constant_number(b) { (b, a) } else { (a, b) };
        let mut takes = wins(self, a, b);
        if !self.is_constant_number(a) {
            let nan = self.ne(a, a);
            takes = self.or(takes, nan);
        }
        self.select(takes, a, b)
    }

    /// A positive number scaled into the normal range, and whether it was subnormal.
    fn normal(&mut self, x: Reg) -> (Reg, Reg) {
        let tiny = self.float(f32::MIN_POSITIVE);
        let below = self.lt(x, tiny);
        let factor = self.float(8_388_608.0);
        let scaled = self.mul(x, factor);
        (self.select(below, scaled, x), below)
    }

    fn plain_mantissa(&mut self, x: Reg) -> Reg {
        let (normal, _) = self.normal(x);
        let bits = self.bits(normal);
        let lowest = self.int(0x3f40_0000);
        let above = self.isub(bits, lowest);
        let exponent = self.shr(above, 23);
        let whole = self.shl(exponent, 23);
        let mantissa = self.isub(bits, whole);
        let mantissa = self.from_bits(mantissa);
        let (zero, nan) = (self.float(0.0), self.float(f32::NAN));
        let has_one = self.le(zero, x);
        self.select(has_one, mantissa, nan)
    }

    fn plain_exponent(&mut self, x: Reg, mantissa: Reg) -> Reg {
        let (normal, below) = self.normal(x);
        let (bits, part) = (self.bits(normal), self.bits(mantissa));
        let whole = self.isub(bits, part);
        let exponent = self.shr(whole, 23);
        let exponent = self.to_float(exponent);
        let (zero, shift) = (self.float(0.0), self.float(-23.0));
        let extra = self.select(below, shift, zero);
        let exponent = self.add(exponent, extra);
        let (infinity, minus_infinity) = (self.float(f32::INFINITY), self.float(f32::NEG_INFINITY));
        let is_finite = self.lt(x, infinity);
        let exponent = self.select(is_finite, exponent, x);
        let is_zero = self.eq(x, zero);
        self.select(is_zero, minus_infinity, exponent)
    }

    /// x 2ⁿ, where 2ⁿ is two factors, so that a subnormal result is rounded once. A lower n than -252 counts as -252.
    fn plain_scale(&mut self, x: Reg, n: Reg) -> Reg {
        let n = self.to_int_in_range(n);
        let least = self.int(-252);
        let n = self.imax(n, least);
        let half = self.shr(n, 1);
        let rest = self.isub(n, half);
        let first = self.power_of_two(half);
        let x = self.mul(x, first);
        let second = self.power_of_two(rest);
        self.mul(x, second)
    }

    /// 2ⁿ for an integer n from -126 to 127.
    fn power_of_two(&mut self, n: Reg) -> Reg {
        let bias = self.int(127);
        let biased = self.iadd(n, bias);
        let bits = self.shl(biased, 23);
        self.from_bits(bits)
    }
}
