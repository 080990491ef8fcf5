//! The instructions of a strip, one after another.

use iced_x86::Code;

use super::asm::{Emit, SCRATCH_MASK, Src};
use super::codes;
use super::codes::Pair;
use super::group::VectorGroup;
use crate::ir::multiply_add::Fma;
use crate::ir::strip::{Inst, Kind, Op1, Op2, Rare, Reg};

// Conditions of comparisons.
const EQ: u32 = 0;
const LT: u32 = 1;
const LE: u32 = 2;
const NE: u32 = 4;
const ORDERED: u32 = 7;
const GE: u32 = 13;

// How numbers are rounded to whole ones.
const NEAREST: u32 = 8;
const FLOOR: u32 = 9;

const SIGN: u32 = 1 << 31;

impl VectorGroup<'_, '_> {
    /// An instruction that computes.
    pub(crate) fn compute(&mut self, v: usize, inst: Inst) -> Emit {
        match inst {
            Inst::Const(bits, _) => self.constant_mask(v, bits != 0),
            Inst::Load(operand, walk, _) => self.load(v, operand, walk),
            Inst::Number(operand, walk) => self.number(v, operand, walk),
            Inst::One(op, x) => self.one(v, op, x),
            Inst::Two(op, x, y) if self.is_mask(x) => self.of_masks(v, op, x, y),
            Inst::Two(op, x, y) => self.two(v, op, x, y),
            Inst::Fma(op, x, y, z) => self.fma(v, op, x, y, z),
            Inst::Select(mask, x, y) => self.select(v, mask, x, y),
            Inst::Rare(f, mask, x, y) => self.rare(v, f, mask, x, y),
            Inst::Scalar(_) => Ok(()),
        }
    }

    fn constant_mask(&mut self, v: usize, holds: bool) -> Emit {
        let d = self.take(v, &[])?;
        if self.has_masks() {
            let op = if holds { Code::VEX_Kxnorw_kr_kr_kr } else { Code::VEX_Kxorw_kr_kr_kr };
            return self.asm().mask_op(op, d, d, d);
        }
        let x = self.asm().constant(if holds { u32::MAX } else { 0 });
        self.asm().copy(d, Src::Mem(x))
    }

    fn one(&mut self, v: usize, op: Op1, x: Reg) -> Emit {
        let simple = match op {
            Op1::Sqrt => Some(codes::SQRT),
            Op1::ToFloat => Some(codes::TO_FLOAT),
            Op1::ToIntInRange => Some(codes::TO_INT),
            _ => None,
        };
        if let Some(op) = simple {
            let x = self.src(x);
            let d = self.result(v)?;
            return self.asm().two(op, d, x);
        }
        let rounding = match op {
            Op1::Nearest => Some((codes::ROUND, NEAREST)),
            Op1::Floor => Some((codes::ROUND, FLOOR)),
            // From ¾ to 1½; NaN for negative numbers.
            Op1::Mantissa => Some((codes::MANTISSA, 0b1011)),
            _ => None,
        };
        if let Some((op, imm)) = rounding {
            let x = self.src(x);
            let d = self.result(v)?;
            return self.asm().two_imm(op, d, x, imm);
        }
        match op {
            Op1::ToInt => self.whole_int(v, x),
            Op1::MaskToFloat => {
                let m = self.need(x)?;
                let d = self.result(v)?;
                let one = self.asm().constant(1f32.to_bits());
                if self.has_masks() {
                    return self.asm().zero_unless(m, d, one);
                }
                self.asm().three(codes::AND, d, m, Src::Mem(one))
            }
            Op1::Neg | Op1::Abs => {
                let x = self.need(x)?;
                let d = self.result(v)?;
                let (op, bits) = if op == Op1::Neg { (codes::XOR, SIGN) } else { (codes::AND, !SIGN) };
                let bits = self.asm().constant(bits);
                self.asm().three(op, d, x, Src::Mem(bits))
            }
            Op1::Shl(by) => self.shift(v, codes::SHL, x, by),
            Op1::Shr(by) => self.shift(v, codes::SHR, x, by),
            Op1::ShrUnsigned(by) => self.shift(v, codes::SHR_UNSIGNED, x, by),
            // `Bits` and `FromBits` share a register with their argument; all others are handled above.
            _ => Ok(()),
        }
    }

    fn shift(&mut self, v: usize, op: Pair, x: Reg, by: u8) -> Emit {
        let x = self.need(x)?;
        let d = self.result(v)?;
        self.asm().two_imm(op, d, Src::Reg(x), by as u32)
    }

    /// The instruction gives the smallest integer for all numbers out of range.
    fn whole_int(&mut self, v: usize, x: Reg) -> Emit {
        let x = self.need(x)?;
        let d = self.result_apart(v)?;
        let scratch = self.asm().scratch();
        self.asm().two(codes::TO_INT, d, Src::Reg(x))?;
        let bound = Src::Mem(self.asm().constant(2_147_483_648f32.to_bits()));
        let ones = Src::Mem(self.asm().constant(u32::MAX));
        // Too large: all bits are inverted, which gives the largest integer. NaN: zero.
        if self.has_masks() {
            let compare = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
            self.asm().compare(compare, SCRATCH_MASK, x, bound, GE)?;
            self.asm().three_masked(codes::XOR, SCRATCH_MASK, d, d, ones)?;
            self.asm().compare(compare, SCRATCH_MASK, x, Src::Reg(x), 3)?;
            self.asm().three_masked(codes::XOR, SCRATCH_MASK, d, d, Src::Reg(d))
        } else {
            let compare = Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8;
            self.asm().compare_lanes(compare, scratch, x, bound, Some(GE))?;
            self.asm().three(codes::XOR, d, d, Src::Reg(scratch))?;
            self.asm().compare_lanes(compare, scratch, x, Src::Reg(x), Some(ORDERED))?;
            self.asm().three(codes::AND, d, d, Src::Reg(scratch))
        }
    }

    fn two(&mut self, v: usize, op: Op2, x: Reg, y: Reg) -> Emit {
        let (pair, commutes) = match op {
            Op2::Add => (codes::ADD, true),
            Op2::Sub => (codes::SUB, false),
            Op2::Mul => (codes::MUL, true),
            Op2::Div => (codes::DIV, false),
            Op2::Scale => (codes::SCALE, false),
            Op2::IAdd => (codes::IADD, true),
            Op2::ISub => (codes::ISUB, false),
            Op2::IMul => (codes::IMUL, true),
            Op2::IMin => (codes::IMIN, true),
            Op2::IMax => (codes::IMAX, true),
            Op2::And => (codes::AND, true),
            Op2::Or => (codes::OR, true),
            Op2::Xor => (codes::XOR, true),
            Op2::Max => return self.extreme(v, codes::MAX, x, y),
            Op2::Min => return self.extreme(v, codes::MIN, x, y),
            Op2::Exponent => return self.exponent(v, x, y),
            _ => return self.compare(v, op, x, y),
        };
        let (x, y) = if commutes && !self.in_register(x) && self.in_register(y) { (y, x) } else { (x, y) };
        let x = self.need(x)?;
        let y = self.src(y);
        let d = self.result(v)?;
        self.asm().three(pair, d, x, y)
    }

    /// The instruction gives its second argument where either one is NaN.
    fn extreme(&mut self, v: usize, op: Pair, x: Reg, y: Reg) -> Emit {
        let (x, y) = if self.is_number(y) { (y, x) } else { (x, y) };
        if self.is_number(x) {
            // The constant must be the first argument, which is a register; as the second it would hide a NaN.
            let y = self.need(y)?;
            let x = self.need(x)?;
            let d = self.result(v)?;
            return self.asm().three(op, d, x, Src::Reg(y));
        }
        let (x, y) = (self.need(x)?, self.need(y)?);
        let d = self.result(v)?;
        self.asm().either(op, d, x, y)
    }

    fn exponent(&mut self, v: usize, x: Reg, mantissa: Reg) -> Emit {
        let (x, mantissa) = (self.src(x), self.src(mantissa));
        let d = self.result(v)?;
        let scratch = self.asm().scratch();
        self.asm().two(codes::EXPONENT, scratch, mantissa)?;
        self.asm().two(codes::EXPONENT, d, x)?;
        self.asm().three(codes::SUB, d, d, Src::Reg(scratch))
    }

    fn compare(&mut self, v: usize, op: Op2, x: Reg, y: Reg) -> Emit {
        let is_int = matches!(op, Op2::ILt | Op2::ILe | Op2::IEq);
        let condition = match op {
            Op2::Lt | Op2::ILt => LT,
            Op2::Le | Op2::ILe => LE,
            Op2::Ne => NE,
            _ => EQ,
        };
        if self.has_masks() {
            let (x, y) = (self.need(x)?, self.src(y));
            let d = self.result(v)?;
            let op = if is_int {
                Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8
            } else {
                Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae
            };
            return self.asm().compare(op, d, x, y, condition);
        }
        // AVX2 compares integers for equal and greater only.
        let (x, y) = if op == Op2::ILt { (y, x) } else { (x, y) };
        let (x, y) = (self.need(x)?, self.src(y));
        let d = self.result(v)?;
        match op {
            Op2::IEq => self.asm().compare_lanes(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, d, x, y, None),
            Op2::ILt => self.asm().compare_lanes(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256, d, x, y, None),
            Op2::ILe => {
                self.asm().compare_lanes(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256, d, x, y, None)?;
                let ones = Src::Mem(self.asm().constant(u32::MAX));
                self.asm().three(codes::XOR, d, d, ones)
            }
            _ => self.asm().compare_lanes(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, d, x, y, Some(condition)),
        }
    }

    fn of_masks(&mut self, v: usize, op: Op2, x: Reg, y: Reg) -> Emit {
        let (x, y) = (self.need(x)?, self.need(y)?);
        let d = self.result(v)?;
        let (of_masks, of_lanes) = match op {
            Op2::And => (Code::VEX_Kandw_kr_kr_kr, codes::AND),
            Op2::Or => (Code::VEX_Korw_kr_kr_kr, codes::OR),
            _ => (Code::VEX_Kxorw_kr_kr_kr, codes::XOR),
        };
        if self.has_masks() {
            self.asm().mask_op(of_masks, d, x, y)
        } else {
            self.asm().three(of_lanes, d, x, Src::Reg(y))
        }
    }

    fn select(&mut self, v: usize, mask: Reg, x: Reg, y: Reg) -> Emit {
        let m = self.need(mask)?;
        if !self.has_masks() {
            let (y, x) = (self.need(y)?, self.src(x));
            let d = self.result(v)?;
            return self.asm().blend_lanes(d, y, x, m);
        }
        if self.kind(x) == Kind::Mask {
            let (x, y) = (self.need(x)?, self.need(y)?);
            let d = self.result(v)?;
            self.asm().mask_op(Code::VEX_Kandw_kr_kr_kr, SCRATCH_MASK, m, x)?;
            self.asm().mask_op(Code::VEX_Kandnw_kr_kr_kr, d, m, y)?;
            return self.asm().mask_op(Code::VEX_Korw_kr_kr_kr, d, d, SCRATCH_MASK);
        }
        let (y, x) = (self.need(y)?, self.src(x));
        let d = self.result(v)?;
        self.asm().blend(m, d, y, x)
    }

    /// The result is `x`, with `f(x, y)` in the lanes of the mask.
    fn rare(&mut self, v: usize, f: Rare, mask: Reg, x: Reg, y: Reg) -> Emit {
        let (m, rx, ry) = (self.need(mask)?, self.need(x)?, self.need(y)?);
        let d = match self.dying(x) {
            Some(d) => {
                self.replace(v, d);
                d
            }
            None => self.result_apart(v)?,
        };
        self.asm().copy(d, Src::Reg(rx))?;
        self.frame.call_where(m, f, d, ry)
    }

    /// A fused multiply-add. The result overwrites an argument whose live range ends here, if there is one.
    fn fma(&mut self, v: usize, op: Fma, x: Reg, y: Reg, z: Reg) -> Emit {
        let codes = codes::fused(op);
        let (x, y) = if self.in_register(x) { (x, y) } else { (y, x) };
        let rx = self.need(x)?;
        if let Some(d) = self.dying(z) {
            let y = self.src(y);
            self.replace(v, d);
            return self.asm().three(codes.x_y_d, d, rx, y);
        }
        if let Some(d) = self.dying(x) {
            let (sy, sz) = (self.src(y), self.src(z));
            if let (Src::Mem(y), Src::Reg(z)) = (sy, sz) {
                self.replace(v, d);
                return self.asm().three(codes.d_y_x, d, z, Src::Mem(y));
            }
            let y = self.need(y)?;
            self.replace(v, d);
            return self.asm().three(codes.x_d_y, d, y, sz);
        }
        if let Some(d) = self.dying(y) {
            let z = self.src(z);
            self.replace(v, d);
            return self.asm().three(codes.x_d_y, d, rx, z);
        }
        let (y, z) = (self.src(y), self.src(z));
        let d = self.result_apart(v)?;
        self.asm().copy(d, z)?;
        self.asm().three(codes.x_y_d, d, rx, y)
    }
}
