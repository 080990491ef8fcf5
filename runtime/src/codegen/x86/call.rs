//! Calls of scalar code, which change no register but that of the result.

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{Code, Instruction, Register};

use super::asm::{Emit, Src, at};
use super::frame::Frame;
use crate::ir::rare::Rare;

/// The caller-saved general registers. `SCRATCH` need not be saved: its values last for one instruction.
const CHANGED: [AsmRegister64; 8] = [rax, rdx, rsi, rdi, r8, r9, r10, r11];

/// Bytes on the stack between the frame and the saved vector registers: the return address and the general registers.
const PUSHED: i64 = 8 + 8 * CHANGED.len() as i64;

impl Frame {
    /// `d = f(d, y)` in the lanes of a mask; no call if the mask is empty.
    pub(crate) fn call_where(&mut self, mask: u8, f: Rare, d: u8, y: u8) -> Emit {
        let (values, with) = self.arguments();
        let call = self.routine(f);
        let asm = &mut self.asm;
        let bits = if asm.wide() {
            Instruction::with2(Code::VEX_Kmovw_r32_kr, Register::ECX, Register::K0 + mask as u32)
        } else {
            Instruction::with2(Code::VEX_Vmovmskps_r32_ymm, Register::ECX, asm.v(mask))
        };
        asm.put(bits)?;
        let mut done = asm.code.create_label();
        asm.code.test(ecx, ecx)?;
        asm.code.jz(done)?;
        asm.store(at(Register::RSP, values), d)?;
        asm.store(at(Register::RSP, with), y)?;
        asm.code.call(call)?;
        asm.copy(d, Src::Mem(at(Register::RSP, values)))?;
        asm.set(&mut done)
    }

    /// Writes the routines that were called: each saves all registers that scalar code may change.
    pub(crate) fn routines(&mut self) -> Emit {
        for (f, mut label) in self.take_routines() {
            self.asm.set(&mut label)?;
            self.call(f)?;
        }
        Ok(())
    }

    fn call(&mut self, f: Rare) -> Emit {
        let (values, with) = self.arguments();
        let asm = &mut self.asm;
        let (vectors, masks) = (asm.scratch() + 1, if asm.wide() { 1..8u8 } else { 0..0 });
        let masks_at = vectors as i64 * asm.bytes();
        let saved = masks_at + 8 * masks.len() as i64;
        // The frame is aligned to 16 bytes, and so must the stack be at the call.
        let saved = saved + (PUSHED + saved) % 16;
        for r in CHANGED {
            asm.code.push(r)?;
        }
        asm.code.lea(rdi, qword_ptr(rsp + (PUSHED + values)))?;
        asm.code.lea(rsi, qword_ptr(rsp + (PUSHED + with)))?;
        asm.code.mov(edx, ecx)?;
        asm.code.sub(rsp, saved as i32)?;
        for r in 0..vectors {
            asm.store(at(Register::RSP, r as i64 * asm.bytes()), r)?;
        }
        for k in masks.clone() {
            asm.store_mask(at(Register::RSP, masks_at + 8 * (k as i64 - 1)), k)?;
        }
        asm.code.mov(rax, f.address() as u64)?;
        asm.code.vzeroupper()?;
        asm.code.call(rax)?;
        for k in masks {
            asm.load_mask(k, at(Register::RSP, masks_at + 8 * (k as i64 - 1)))?;
        }
        for r in 0..vectors {
            asm.copy(r, Src::Mem(at(Register::RSP, r as i64 * asm.bytes())))?;
        }
        asm.code.add(rsp, saved as i32)?;
        for r in CHANGED.into_iter().rev() {
            asm.code.pop(r)?;
        }
        asm.code.ret()
    }
}
