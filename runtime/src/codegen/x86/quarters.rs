//! Instructions on the 128-bit parts of a vector, of four elements each: they transpose 4 x 4 matrices.

use iced_x86::code_asm::AsmRegister32;
use iced_x86::code_asm::registers::*;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::asm::{Asm, Emit, Src};
use super::codes;

impl Asm {
    /// Sets the masks that `load_quarters` uses with vectors of 512 bits, k2 to k4, through a general register.
    pub(crate) fn set_quarter_masks(&mut self, through: AsmRegister32) -> Emit {
        if !self.wide() {
            return Ok(());
        }
        for (mask, bits) in [(k2, 0x00f0), (k3, 0x0f00), (k4, 0xf000)] {
            self.code.mov(through, bits)?;
            self.code.kmovw(mask, through)?;
        }
        Ok(())
    }

    /// Loads four elements into each 128 bits of a register; parts without a source become zero.
    pub(crate) fn load_quarters(&mut self, d: u8, from: &[Option<MemoryOperand>]) -> Emit {
        let first = Register::XMM0 + d as u32;
        self.put(match from[0] {
            Some(from) => Instruction::with2(Code::VEX_Vmovups_xmm_xmmm128, first, from),
            None => Instruction::with3(Code::VEX_Vxorps_xmm_xmm_xmmm128, first, first, first),
        })?;
        for (i, &from) in from.iter().enumerate().skip(1) {
            let Some(from) = from else { continue };
            if self.wide() {
                // A broadcast under a mask needs no shuffle, unlike an insertion.
                let broadcast = Instruction::with2(Code::EVEX_Vbroadcastf32x4_zmm_k1z_m128, self.v(d), from);
                self.put_masked(broadcast, 1 + i as u8, false)?;
            } else {
                self.put(Instruction::with4(codes::INSERT_FOUR.1, self.v(d), self.v(d), from, 1u32))?;
            }
        }
        Ok(())
    }

    /// Four registers, each 128 bits of which are a 4 x 4 matrix that is transposed; overwrites four others.
    pub(crate) fn transpose(&mut self, r: [u8; 4], other: [u8; 4]) -> Emit {
        for (low, high, x, y) in [(other[0], other[1], r[0], r[1]), (other[2], other[3], r[2], r[3])] {
            self.three(codes::UNPACK_LOW, low, x, Src::Reg(y))?;
            self.three(codes::UNPACK_HIGH, high, x, Src::Reg(y))?;
        }
        for (low, high, x, y) in [(r[0], r[1], other[0], other[2]), (r[2], r[3], other[1], other[3])] {
            self.three(codes::UNPACK_LOW_PAIRS, low, x, Src::Reg(y))?;
            self.three(codes::UNPACK_HIGH_PAIRS, high, x, Src::Reg(y))?;
        }
        Ok(())
    }

    /// Stores 128 bits of a register.
    pub(crate) fn store_quarter(&mut self, to: MemoryOperand, r: u8, quarter: usize) -> Emit {
        let extract = Instruction::with3(self.pick(codes::EXTRACT_FOUR), to, self.v(r), quarter as u32);
        self.put(extract)
    }

    /// Stores the elements of 128 bits of a register at different addresses; overwrites `other`.
    pub(crate) fn store_elements(&mut self, to: &[MemoryOperand], r: u8, quarter: usize, other: u8) -> Emit {
        let other = Register::XMM0 + other as u32;
        self.put(Instruction::with3(self.pick(codes::EXTRACT_FOUR), other, self.v(r), quarter as u32))?;
        // Only EVEX encodes registers from 16 on.
        let code = if self.wide() { Code::EVEX_Vextractps_rm32_xmm_imm8 } else { Code::VEX_Vextractps_rm32_xmm_imm8 };
        to.iter().enumerate().try_for_each(|(i, &to)| self.put(Instruction::with3(code, to, other, i as u32)))
    }
}
