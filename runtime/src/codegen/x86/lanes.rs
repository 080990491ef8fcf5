//! Instructions on part of a vector's lanes: under masks, at its end, and across it.

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::asm::{Asm, Emit, Src, TAIL};
use super::codes;
use crate::ir::multiply_add::Fma;
use crate::ir::reduce::Reduce;

impl Asm {
    /// `d = mask ? y : x`, with vectors of 512 bits.
    pub(crate) fn blend(&mut self, mask: u8, d: u8, x: u8, y: Src) -> Emit {
        self.three_masked(codes::BLEND_BY_MASK, mask, d, x, y)
    }

    /// `d = mask ? y : x` for a mask of whole lanes, with vectors of 256 bits.
    pub(crate) fn blend_lanes(&mut self, d: u8, x: u8, y: Src, mask: u8) -> Emit {
        let (code, d, x, mask) = (Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, self.v(d), self.v(x), self.v(mask));
        self.put(match y {
            Src::Reg(y) => Instruction::with4(code, d, x, self.v(y), mask),
            Src::Mem(y) => Instruction::with4(code, d, x, y, mask),
        })
    }

    /// An operation of masks: `d = op(x, y)`.
    pub(crate) fn mask_op(&mut self, op: Code, d: u8, x: u8, y: u8) -> Emit {
        let [d, x, y] = [d, x, y].map(|k| Register::K0 + k as u32);
        self.put(Instruction::with3(op, d, x, y))
    }

    pub(crate) fn load_mask(&mut self, d: u8, from: MemoryOperand) -> Emit {
        self.put(Instruction::with2(Code::VEX_Kmovw_kr_km16, Register::K0 + d as u32, from))
    }

    pub(crate) fn store_mask(&mut self, to: MemoryOperand, k: u8) -> Emit {
        self.put(Instruction::with2(Code::VEX_Kmovw_m16_kr, to, Register::K0 + k as u32))
    }

    /// The operand where a mask holds, else zero; with vectors of 512 bits.
    pub(crate) fn zero_unless(&mut self, mask: u8, d: u8, x: MemoryOperand) -> Emit {
        let code = if x.is_broadcast { Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32 } else { codes::LOAD.0 };
        let instruction = Instruction::with2(code, self.v(d), MemoryOperand { is_broadcast: false, ..x });
        self.put_masked(instruction, mask, true)
    }

    pub(crate) fn store(&mut self, to: MemoryOperand, r: u8) -> Emit {
        let instruction = Instruction::with2(self.pick(codes::STORE), to, self.v(r));
        self.put(instruction)
    }

    /// Loads the lanes of a mask, the others zero; with vectors of 512 bits.
    pub(crate) fn load_masked(&mut self, d: u8, mask: u8, from: MemoryOperand) -> Emit {
        let instruction = Instruction::with2(codes::LOAD.0, self.v(d), from);
        self.put_masked(instruction, mask, true)
    }

    /// Loads the first four or eight lanes.
    pub(crate) fn load_part(&mut self, d: u8, from: MemoryOperand, lanes: usize) -> Emit {
        let (code, d) = match (self.wide(), lanes) {
            (true, 8) => (Code::EVEX_Vmovups_ymm_k1z_ymmm256, Register::YMM0 + d as u32),
            (true, _) => (Code::EVEX_Vmovups_xmm_k1z_xmmm128, Register::XMM0 + d as u32),
            (false, 8) => (codes::LOAD.1, Register::YMM0 + d as u32),
            (false, _) => (Code::VEX_Vmovups_xmm_xmmm128, Register::XMM0 + d as u32),
        };
        self.put(Instruction::with2(code, d, from))
    }

    /// Loads four or eight lanes into those that follow the first four or eight; with vectors of 512 bits.
    pub(crate) fn insert_part(&mut self, d: u8, from: MemoryOperand, lanes: usize) -> Emit {
        let code = match lanes {
            8 => Code::EVEX_Vinsertf64x4_zmm_k1z_zmm_ymmm256_imm8,
            _ => codes::INSERT_FOUR.0,
        };
        self.put(Instruction::with4(code, self.v(d), self.v(d), from, 1u32))
    }

    /// Lanes of `x` by the numbers in `index`.
    pub(crate) fn permute(&mut self, d: u8, index: u8, x: u8) -> Emit {
        self.three(codes::PERMUTE, d, index, Src::Reg(x))
    }

    /// Loads the lanes of a tail, the others zero. The mask is `TAIL`, or in the scratch register.
    pub(crate) fn load_tail(&mut self, d: u8, from: MemoryOperand) -> Emit {
        if self.wide() { self.load_masked(d, TAIL, from) } else { self.load_lanes(d, self.scratch(), from) }
    }

    /// Stores the lanes of a tail. The mask is `TAIL`, or in the scratch register.
    pub(crate) fn store_tail(&mut self, to: MemoryOperand, r: u8) -> Emit {
        if !self.wide() {
            return self.store_lanes(to, self.scratch(), r);
        }
        let instruction = Instruction::with2(codes::STORE.0, to, self.v(r));
        self.put_masked(instruction, TAIL, false)
    }

    /// Loads the lanes of a mask of whole lanes, the others zero; with vectors of 256 bits.
    pub(crate) fn load_lanes(&mut self, d: u8, mask: u8, from: MemoryOperand) -> Emit {
        self.put(Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, self.v(d), self.v(mask), from))
    }

    /// Stores the lanes of a mask of whole lanes; with vectors of 256 bits.
    pub(crate) fn store_lanes(&mut self, to: MemoryOperand, mask: u8, r: u8) -> Emit {
        self.put(Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, to, self.v(mask), self.v(r)))
    }

    /// Loads an element into the first lane; all others of the first four become zero.
    pub(crate) fn load_first(&mut self, d: u8, from: MemoryOperand) -> Emit {
        let code = if self.wide() { Code::EVEX_Vmovss_xmm_k1z_m32 } else { Code::VEX_Vmovss_xmm_m32 };
        self.put(Instruction::with2(code, Register::XMM0 + d as u32, from))
    }

    /// Stores the first lane.
    pub(crate) fn store_first(&mut self, to: MemoryOperand, r: u8) -> Emit {
        let code = if self.wide() { Code::EVEX_Vmovss_m32_k1_xmm } else { Code::VEX_Vmovss_m32_xmm };
        self.put(Instruction::with2(code, to, Register::XMM0 + r as u32))
    }

    /// Loads an element into one of the first four lanes.
    pub(crate) fn insert(&mut self, d: u8, lane: u32, from: MemoryOperand) -> Emit {
        let code = if self.wide() {
            Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8
        } else {
            Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8
        };
        let d = Register::XMM0 + d as u32;
        self.put(Instruction::with4(code, d, d, from, lane << 4))
    }

    /// Puts the first four lanes of `x` into the `quarter`th four of `d`.
    pub(crate) fn insert_four(&mut self, d: u8, quarter: u32, x: u8) -> Emit {
        let code = self.pick(codes::INSERT_FOUR);
        self.put(Instruction::with4(code, self.v(d), self.v(d), Register::XMM0 + x as u32, quarter))
    }

    /// Lanes of `d` and of a vector in memory, by the numbers in `index`: those from 16 on are in memory. Only
    /// with vectors of 512 bits.
    pub(crate) fn choose(&mut self, d: u8, index: u8, from: MemoryOperand) -> Emit {
        let code = Code::EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32;
        self.put(Instruction::with3(code, self.v(d), self.v(index), from))
    }

    /// All lanes from the first.
    pub(crate) fn spread(&mut self, d: u8, x: u8) -> Emit {
        let code = if self.wide() { codes::BROADCAST.0 } else { Code::VEX_Vbroadcastss_ymm_xmm };
        self.put(Instruction::with2(code, self.v(d), Register::XMM0 + x as u32))
    }

    /// All lanes from an integer.
    pub(crate) fn spread_integer(&mut self, d: u8, x: AsmRegister32) -> Emit {
        if self.wide() {
            return self.put(Instruction::with2(Code::EVEX_Vpbroadcastd_zmm_k1z_r32, self.v(d), Register::from(x)));
        }
        self.put(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, Register::XMM0 + d as u32, Register::from(x)))?;
        self.spread(d, d)
    }

    /// Stores the first lanes of a register of 256 bits without a mask.
    pub(crate) fn store_pieces(&mut self, to: MemoryOperand, r: u8, count: usize) -> Emit {
        let part = |bytes: i64| MemoryOperand { displacement: to.displacement + bytes, displ_size: 1, ..to };
        let mut from = Register::XMM0 + r as u32;
        if count >= 4 {
            self.put(Instruction::with2(Code::VEX_Vmovups_xmmm128_xmm, to, from))?;
            let rest = Register::XMM0 + self.scratch() as u32;
            self.put(Instruction::with3(Code::VEX_Vextractf128_xmmm128_ymm_imm8, rest, self.v(r), 1u32))?;
            from = rest;
        }
        let done = 4 * (count as i64 & 4);
        match count % 4 {
            0 => Ok(()),
            1 => self.put(Instruction::with2(Code::VEX_Vmovss_m32_xmm, part(done), from)),
            left => {
                self.put(Instruction::with2(Code::VEX_Vmovlps_m64_xmm, part(done), from))?;
                if left == 3 {
                    self.put(Instruction::with3(Code::VEX_Vextractps_rm32_xmm_imm8, part(done + 8), from, 2u32))?;
                }
                Ok(())
            }
        }
    }

    /// Stores the first lanes of a register of 512 bits without a mask: eight, four, two and one of them.
    pub(crate) fn store_wide_pieces(&mut self, to: MemoryOperand, r: u8, count: usize) -> Emit {
        let part = |lane: usize| MemoryOperand { displacement: to.displacement + 4 * lane as i64, displ_size: 1, ..to };
        let mut done = 0;
        if count & 8 != 0 {
            self.put(Instruction::with3(Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, to, self.v(r), 0u32))?;
            done = 8;
        }
        let four = Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8;
        if count & 4 != 0 {
            self.put(Instruction::with3(four, part(done), self.v(r), done as u32 / 4))?;
            done += 4;
        }
        if done == count {
            return Ok(());
        }
        let rest = Register::XMM0 + self.scratch() as u32;
        self.put(Instruction::with3(four, rest, self.v(r), done as u32 / 4))?;
        if count % 4 == 1 {
            return self.put(Instruction::with2(Code::EVEX_Vmovss_m32_k1_xmm, part(done), rest));
        }
        self.put(Instruction::with2(Code::EVEX_Vmovlps_m64_xmm, part(done), rest))?;
        if count % 4 == 3 {
            self.put(Instruction::with3(Code::EVEX_Vextractps_rm32_xmm_imm8, part(done + 2), rest, 2u32))?;
        }
        Ok(())
    }

    /// Combines all lanes of register `r` into the first of register 0, in a fixed order: halves, quarters
    /// and so on; overwrites registers 0 to 2.
    pub(crate) fn across(&mut self, r: u8, op: Reduce) -> Emit {
        self.copy(0, Src::Reg(r))?;
        if self.wide() {
            self.put(Instruction::with3(
                Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8,
                Register::YMM1,
                Register::ZMM0,
                1u32,
            ))?;
            self.halves(op)?;
        }
        self.put(Instruction::with3(Code::VEX_Vextractf128_xmmm128_ymm_imm8, Register::XMM1, Register::YMM0, 1u32))?;
        self.halves(op)?;
        self.code.vmovhlps(xmm1, xmm0, xmm0)?;
        self.halves(op)?;
        self.code.vmovshdup(xmm1, xmm0)?;
        self.halves(op)
    }

    /// Stores the sum of a register's lanes; overwrites registers 0 and 1.
    pub(crate) fn add_lanes(&mut self, r: u8, to: MemoryOperand) -> Emit {
        let half = Code::VEX_Vextractf128_xmmm128_ymm_imm8;
        let (mut lanes, mut low) = (Register::YMM0 + r as u32, Register::XMM0 + r as u32);
        if self.wide() {
            let half = Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8;
            self.put(Instruction::with3(half, Register::YMM0, self.v(r), 0u32))?;
            self.put(Instruction::with3(half, Register::YMM1, self.v(r), 1u32))?;
            self.code.vaddps(ymm0, ymm0, ymm1)?;
            (lanes, low) = (Register::YMM0, Register::XMM0);
        }
        self.put(Instruction::with3(half, Register::XMM1, lanes, 1u32))?;
        self.put(Instruction::with3(Code::VEX_Vaddps_xmm_xmm_xmmm128, Register::XMM0, low, Register::XMM1))?;
        self.code.vmovhlps(xmm1, xmm0, xmm0)?;
        self.code.vaddps(xmm0, xmm0, xmm1)?;
        self.code.vmovshdup(xmm1, xmm0)?;
        self.code.vaddss(xmm0, xmm0, xmm1)?;
        self.put(Instruction::with2(Code::VEX_Vmovss_m32_xmm, to, Register::XMM0))
    }

    /// `total += x²` in the lanes of a tail; overwrites `other` with vectors of 256 bits.
    pub(crate) fn add_squares_of_tail(&mut self, total: u8, x: u8, other: u8) -> Emit {
        if self.wide() {
            return self.three_masked(codes::fused(Fma::MulAdd).x_y_d, TAIL, total, x, Src::Reg(x));
        }
        let mask = self.scratch();
        self.three(codes::AND, other, x, Src::Reg(mask))?;
        self.multiply_add(total, other, Src::Reg(other))
    }

    /// Combines registers 0 and 1.
    fn halves(&mut self, op: Reduce) -> Emit {
        match op {
            Reduce::Sum => self.code.vaddps(ymm0, ymm0, ymm1),
            Reduce::Prod => self.code.vmulps(ymm0, ymm0, ymm1),
            // As `either`.
            Reduce::Max => {
                self.code.vmaxps(ymm2, ymm0, ymm1)?;
                self.code.vmaxps(ymm0, ymm1, ymm0)?;
                self.code.vorps(ymm0, ymm0, ymm2)
            }
            Reduce::Min => {
                self.code.vminps(ymm2, ymm0, ymm1)?;
                self.code.vminps(ymm0, ymm1, ymm0)?;
                self.code.vorps(ymm0, ymm0, ymm2)
            }
        }
    }
}
