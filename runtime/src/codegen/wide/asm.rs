//! Vector instructions at two widths behind one set of names, and the constants they read. Registers
//! are numbered.

use std::collections::HashMap;

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::codes::{self, Pair};
use crate::codegen::Level;
use crate::ops::reduce::Reduce;

pub(super) type Emit<T = ()> = Result<T, IcedError>;

/// Where the constants are.
const POOL: AsmRegister64 = rbx;

/// The mask of the lanes of a tail, with vectors of 512 bits.
pub(super) const TAIL: u8 = 1;
/// The mask that single instructions compute in.
pub(super) const SCRATCH_MASK: u8 = 7;

/// A source of an instruction.
#[derive(Clone, Copy)]
pub(super) enum Src {
    Reg(u8),
    Mem(MemoryOperand),
}

/// An assembler for vectors of 512 or 256 bits.
pub(super) struct Asm {
    pub(super) code: CodeAssembler,
    wide: bool,
    label: CodeLabel,
    pool: Vec<u32>,
    /// Where in the pool some words are.
    known: HashMap<Vec<u32>, usize>,
}

/// The memory `bytes` behind a register.
pub(super) fn at(base: Register, bytes: i64) -> MemoryOperand {
    MemoryOperand::with_base_displ_size(base, bytes, (bytes != 0) as u32)
}

impl Asm {
    pub(super) fn new(level: Level) -> Emit<Asm> {
        let mut code = CodeAssembler::new(64)?;
        let label = code.create_label();
        Ok(Asm { code, wide: level == Level::Avx512, label, pool: Vec::new(), known: HashMap::new() })
    }

    pub(super) fn wide(&self) -> bool {
        self.wide
    }

    /// Elements of a vector.
    pub(super) fn lanes(&self) -> usize {
        if self.wide { 16 } else { 8 }
    }

    /// Bytes of a vector.
    pub(super) fn bytes(&self) -> i64 {
        4 * self.lanes() as i64
    }

    /// A register for single instructions to compute in; all below it may hold values.
    pub(super) fn scratch(&self) -> u8 {
        if self.wide { 31 } else { 15 }
    }

    /// Bytes of a number that is the same in all lanes, in memory. A vector of 512 bits is made of one
    /// element as an instruction reads it.
    pub(super) fn uniform_bytes(&self) -> i64 {
        if self.wide { 4 } else { 32 }
    }

    /// A number that is the same in all lanes as an operand.
    pub(super) fn uniform(&self, base: Register, bytes: i64) -> MemoryOperand {
        MemoryOperand { is_broadcast: self.wide, ..at(base, bytes) }
    }

    /// The operand of a constant.
    pub(super) fn constant(&mut self, bits: u32) -> MemoryOperand {
        let words = vec![bits; if self.wide { 1 } else { 8 }];
        let place = self.words(words);
        self.uniform(Register::RBX, place)
    }

    /// The operand of constant lanes.
    pub(super) fn lane_constants(&mut self, words: Vec<u32>) -> MemoryOperand {
        let place = self.words(words);
        at(Register::RBX, place)
    }

    /// Where in the pool these words are, in bytes.
    fn words(&mut self, words: Vec<u32>) -> i64 {
        if let Some(&place) = self.known.get(&words) {
            return 4 * place as i64;
        }
        // No vector lies across two cache lines.
        let place = self.pool.len().next_multiple_of(words.len().next_power_of_two().min(16));
        self.pool.resize(place, 0);
        self.pool.extend(&words);
        self.known.insert(words, place);
        4 * place as i64
    }

    /// Points a register at the constants: the first cache line behind the code.
    pub(super) fn find_pool(&mut self) -> Emit {
        self.code.lea(POOL, qword_ptr(self.label))?;
        self.code.add(POOL, 63)?;
        self.code.and(POOL, -64)
    }

    /// The machine code, with the constants behind it, to be placed `start` bytes behind the start of a
    /// cache line.
    pub(super) fn finish(mut self, start: usize) -> Emit<Vec<u8>> {
        self.code.set_label(&mut self.label)?;
        self.code.zero_bytes()?;
        let mut bytes = self.code.assemble(0)?;
        bytes.resize((start + bytes.len()).next_multiple_of(64) - start, 0);
        bytes.extend(self.pool.iter().flat_map(|word| word.to_le_bytes()));
        Ok(bytes)
    }

    /// Marks this place in the code with a label.
    pub(super) fn set(&mut self, label: &mut CodeLabel) -> Emit {
        self.code.set_label(label)?;
        // An instruction can bear only one label.
        self.code.zero_bytes()
    }

    /// Marks this place in the code.
    pub(super) fn here(&mut self) -> Emit<CodeLabel> {
        let mut label = self.code.create_label();
        self.set(&mut label)?;
        Ok(label)
    }

    fn put(&mut self, instruction: Emit<Instruction>) -> Emit {
        self.code.add_instruction(instruction?)
    }

    /// Appends an instruction under a mask; the other lanes are kept or zeroed.
    fn put_masked(&mut self, instruction: Emit<Instruction>, mask: u8, zeroing: bool) -> Emit {
        let mut instruction = instruction?;
        instruction.set_op_mask(Register::K0 + mask as u32);
        instruction.set_zeroing_masking(zeroing);
        self.code.add_instruction(instruction)
    }

    fn pick(&self, pair: Pair) -> Code {
        if self.wide { pair.0 } else { pair.1 }
    }

    fn v(&self, r: u8) -> Register {
        if self.wide { Register::ZMM0 + r as u32 } else { Register::YMM0 + r as u32 }
    }

    fn two_of(&self, code: Code, d: Register, x: Src) -> Emit<Instruction> {
        match x {
            Src::Reg(x) => Instruction::with2(code, d, self.v(x)),
            Src::Mem(x) => Instruction::with2(code, d, x),
        }
    }

    fn three_of(&self, code: Code, d: Register, x: u8, y: Src) -> Emit<Instruction> {
        match y {
            Src::Reg(y) => Instruction::with3(code, d, self.v(x), self.v(y)),
            Src::Mem(y) => Instruction::with3(code, d, self.v(x), y),
        }
    }

    fn three_imm_of(&self, code: Code, d: Register, x: u8, y: Src, imm: u32) -> Emit<Instruction> {
        match y {
            Src::Reg(y) => Instruction::with4(code, d, self.v(x), self.v(y), imm),
            Src::Mem(y) => Instruction::with4(code, d, self.v(x), y, imm),
        }
    }

    /// `d = op x`.
    pub(super) fn two(&mut self, op: Pair, d: u8, x: Src) -> Emit {
        let instruction = self.two_of(self.pick(op), self.v(d), x);
        self.put(instruction)
    }

    /// `d = op(x, imm)`.
    pub(super) fn two_imm(&mut self, op: Pair, d: u8, x: Src, imm: u32) -> Emit {
        let (code, d) = (self.pick(op), self.v(d));
        self.put(match x {
            Src::Reg(x) => Instruction::with3(code, d, self.v(x), imm),
            Src::Mem(x) => Instruction::with3(code, d, x, imm),
        })
    }

    /// `d = op(x, y)`; for a fused multiply-add `d` is an argument too.
    pub(super) fn three(&mut self, op: Pair, d: u8, x: u8, y: Src) -> Emit {
        let instruction = self.three_of(self.pick(op), self.v(d), x, y);
        self.put(instruction)
    }

    /// The same under a mask, the other lanes kept; only with vectors of 512 bits.
    pub(super) fn three_masked(&mut self, op: Pair, mask: u8, d: u8, x: u8, y: Src) -> Emit {
        let instruction = self.three_of(op.0, self.v(d), x, y);
        self.put_masked(instruction, mask, false)
    }

    /// A vector of all bits where `x` and `y` compare, with vectors of 256 bits.
    pub(super) fn compare_lanes(&mut self, op: Code, d: u8, x: u8, y: Src, condition: Option<u32>) -> Emit {
        let instruction = match condition {
            Some(condition) => self.three_imm_of(op, self.v(d), x, y, condition),
            None => self.three_of(op, self.v(d), x, y),
        };
        self.put(instruction)
    }

    /// A mask of where `x` and `y` compare, with vectors of 512 bits.
    pub(super) fn compare(&mut self, op: Code, mask: u8, x: u8, y: Src, condition: u32) -> Emit {
        let instruction = self.three_imm_of(op, Register::K0 + mask as u32, x, y, condition);
        self.put(instruction)
    }

    /// `d = mask ? y : x`, with vectors of 512 bits.
    pub(super) fn blend(&mut self, mask: u8, d: u8, x: u8, y: Src) -> Emit {
        self.three_masked(codes::BLEND_BY_MASK, mask, d, x, y)
    }

    /// `d = mask ? y : x` for a mask of whole lanes, with vectors of 256 bits.
    pub(super) fn blend_lanes(&mut self, d: u8, x: u8, y: Src, mask: u8) -> Emit {
        let (code, d, x, mask) = (Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, self.v(d), self.v(x), self.v(mask));
        self.put(match y {
            Src::Reg(y) => Instruction::with4(code, d, x, self.v(y), mask),
            Src::Mem(y) => Instruction::with4(code, d, x, y, mask),
        })
    }

    /// An operation of masks: `d = op(x, y)`.
    pub(super) fn mask_op(&mut self, op: Code, d: u8, x: u8, y: u8) -> Emit {
        let [d, x, y] = [d, x, y].map(|k| Register::K0 + k as u32);
        self.put(Instruction::with3(op, d, x, y))
    }

    pub(super) fn load_mask(&mut self, d: u8, from: MemoryOperand) -> Emit {
        self.put(Instruction::with2(Code::VEX_Kmovw_kr_km16, Register::K0 + d as u32, from))
    }

    pub(super) fn store_mask(&mut self, to: MemoryOperand, k: u8) -> Emit {
        self.put(Instruction::with2(Code::VEX_Kmovw_m16_kr, to, Register::K0 + k as u32))
    }

    /// The operand where a mask holds, else zero; with vectors of 512 bits.
    pub(super) fn zero_unless(&mut self, mask: u8, d: u8, x: MemoryOperand) -> Emit {
        let code = if x.is_broadcast { Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32 } else { codes::LOAD.0 };
        let instruction = Instruction::with2(code, self.v(d), MemoryOperand { is_broadcast: false, ..x });
        self.put_masked(instruction, mask, true)
    }

    /// A register from a register or memory.
    pub(super) fn copy(&mut self, d: u8, x: Src) -> Emit {
        match x {
            Src::Reg(x) if x == d => Ok(()),
            Src::Mem(x) if x.is_broadcast => self.broadcast(d, MemoryOperand { is_broadcast: false, ..x }),
            x => self.two(codes::LOAD, d, x),
        }
    }

    /// All lanes from one element.
    pub(super) fn broadcast(&mut self, d: u8, from: MemoryOperand) -> Emit {
        self.two(codes::BROADCAST, d, Src::Mem(from))
    }

    pub(super) fn store(&mut self, to: MemoryOperand, r: u8) -> Emit {
        let instruction = Instruction::with2(self.pick(codes::STORE), to, self.v(r));
        self.put(instruction)
    }

    /// Loads the lanes of the tail's mask, the others zero; with vectors of 512 bits.
    pub(super) fn load_tail(&mut self, d: u8, from: MemoryOperand) -> Emit {
        let instruction = Instruction::with2(codes::LOAD.0, self.v(d), from);
        self.put_masked(instruction, TAIL, true)
    }

    /// Stores the lanes of the tail's mask; with vectors of 512 bits.
    pub(super) fn store_tail(&mut self, to: MemoryOperand, r: u8) -> Emit {
        let instruction = Instruction::with2(codes::STORE.0, to, self.v(r));
        self.put_masked(instruction, TAIL, false)
    }

    /// Loads or stores the lanes of a mask of whole lanes; with vectors of 256 bits.
    pub(super) fn load_lanes(&mut self, d: u8, mask: u8, from: MemoryOperand) -> Emit {
        self.put(Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, self.v(d), self.v(mask), from))
    }

    pub(super) fn store_lanes(&mut self, to: MemoryOperand, mask: u8, r: u8) -> Emit {
        self.put(Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, to, self.v(mask), self.v(r)))
    }

    /// Loads an element into the first lane; all others of the first four become zero.
    pub(super) fn load_first(&mut self, d: u8, from: MemoryOperand) -> Emit {
        let code = if self.wide { Code::EVEX_Vmovss_xmm_k1z_m32 } else { Code::VEX_Vmovss_xmm_m32 };
        self.put(Instruction::with2(code, Register::XMM0 + d as u32, from))
    }

    /// Stores the first lane.
    pub(super) fn store_first(&mut self, to: MemoryOperand, r: u8) -> Emit {
        let code = if self.wide { Code::EVEX_Vmovss_m32_k1_xmm } else { Code::VEX_Vmovss_m32_xmm };
        self.put(Instruction::with2(code, to, Register::XMM0 + r as u32))
    }

    /// Loads an element into one of the first four lanes.
    pub(super) fn insert(&mut self, d: u8, lane: u32, from: MemoryOperand) -> Emit {
        let code =
            if self.wide { Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8 } else { Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8 };
        let d = Register::XMM0 + d as u32;
        self.put(Instruction::with4(code, d, d, from, lane << 4))
    }

    /// Puts the first four lanes of `x` into the `quarter`th four of `d`.
    pub(super) fn insert_four(&mut self, d: u8, quarter: u32, x: u8) -> Emit {
        let code = self.pick(codes::INSERT_FOUR);
        self.put(Instruction::with4(code, self.v(d), self.v(d), Register::XMM0 + x as u32, quarter))
    }

    /// All lanes from the first.
    pub(super) fn spread(&mut self, d: u8, x: u8) -> Emit {
        let code = if self.wide { codes::BROADCAST.0 } else { Code::VEX_Vbroadcastss_ymm_xmm };
        self.put(Instruction::with2(code, self.v(d), Register::XMM0 + x as u32))
    }

    /// All lanes from an integer.
    pub(super) fn spread_integer(&mut self, d: u8, x: AsmRegister32) -> Emit {
        if self.wide {
            return self.put(Instruction::with2(Code::EVEX_Vpbroadcastd_zmm_k1z_r32, self.v(d), Register::from(x)));
        }
        self.put(Instruction::with2(Code::VEX_Vmovd_xmm_rm32, Register::XMM0 + d as u32, Register::from(x)))?;
        self.spread(d, d)
    }

    /// Stores the first lanes of a register below 16 without a mask; at most three with vectors of 512 bits.
    pub(super) fn store_pieces(&mut self, to: MemoryOperand, r: u8, count: usize) -> Emit {
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

    /// `d = op(x, y)` for the machine's maximum or minimum, but NaN if either is: both orders together have
    /// all bits of a NaN in either.
    pub(super) fn either(&mut self, op: Pair, d: u8, x: u8, y: u8) -> Emit {
        let scratch = self.scratch();
        self.three(op, scratch, x, Src::Reg(y))?;
        self.three(op, d, y, Src::Reg(x))?;
        self.three(codes::OR, d, d, Src::Reg(scratch))
    }

    /// `total = total op x`.
    pub(super) fn combine(&mut self, op: Reduce, total: u8, x: u8) -> Emit {
        match op {
            Reduce::Sum => self.three(codes::ADD, total, total, Src::Reg(x)),
            Reduce::Prod => self.three(codes::MUL, total, total, Src::Reg(x)),
            Reduce::Max => self.either(codes::MAX, total, total, x),
            Reduce::Min => self.either(codes::MIN, total, total, x),
        }
    }

    /// Combines all lanes of register `r` into the first of register 0, in a fixed order: halves, quarters
    /// and so on; overwrites registers 0 to 2.
    pub(super) fn across(&mut self, r: u8, op: Reduce) -> Emit {
        self.copy(0, Src::Reg(r))?;
        if self.wide {
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

    /// Combines registers 0 and 1.
    fn halves(&mut self, op: Reduce) -> Emit {
        match op {
            Reduce::Sum => self.code.vaddps(ymm0, ymm0, ymm1),
            Reduce::Prod => self.code.vmulps(ymm0, ymm0, ymm1),
            // Both orders together have all bits of a NaN in either.
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
