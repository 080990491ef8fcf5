//! The assembler of loops and products: vector instructions of 512 or 256 bits under the same names, and a pool of the
//! constants that they read. Registers are numbered.

use std::collections::HashMap;

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::codes;
use super::codes::Pair;
use crate::ir::multiply_add::Fma;
use crate::ir::reduce::Reduce;
use crate::ir::{LINE_BYTES, Level};

pub(crate) type Emit<T = ()> = Result<T, IcedError>;

/// The callee-saved registers of the System V calling convention.
const CALLEE_SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];

/// Points to the pool of constants.
const POOL: AsmRegister64 = rbx;

/// The mask of the lanes of a tail, with vectors of 512 bits.
pub(crate) const TAIL: u8 = 1;
/// The mask that single instructions compute in.
pub(crate) const SCRATCH_MASK: u8 = 7;

/// A source of an instruction.
#[derive(Clone, Copy)]
pub(crate) enum Src {
    Reg(u8),
    Mem(MemoryOperand),
}

/// An assembler for vectors of 512 or 256 bits.
pub(crate) struct Asm {
    pub(crate) code: CodeAssembler,
    wide: bool,
    label: CodeLabel,
    pool: Vec<u32>,
    /// The positions of words in the pool.
    known: HashMap<Vec<u32>, usize>,
}

/// The memory at `base + bytes`.
pub(crate) fn at(base: impl Into<Register>, bytes: i64) -> MemoryOperand {
    MemoryOperand::with_base_displ_size(base.into(), bytes, (bytes != 0) as u32)
}

impl Asm {
    pub(crate) fn new(level: Level) -> Emit<Asm> {
        let mut code = CodeAssembler::new(64)?;
        let label = code.create_label();
        Ok(Asm { code, wide: level == Level::Avx512, label, pool: Vec::new(), known: HashMap::new() })
    }

    pub(crate) fn wide(&self) -> bool {
        self.wide
    }

    /// Elements of a vector.
    pub(crate) fn lanes(&self) -> usize {
        if self.wide { 16 } else { 8 }
    }

    /// Bytes of a vector.
    pub(crate) fn bytes(&self) -> i64 {
        4 * self.lanes() as i64
    }

    /// The scratch register of single instructions, the last one. All others may hold values.
    pub(crate) fn scratch(&self) -> u8 {
        if self.wide { 31 } else { 15 }
    }

    /// Bytes of a uniform number in memory, one that is the same in all lanes: instructions on 512 bits broadcast a
    /// single element, those on 256 bits read a vector.
    pub(crate) fn uniform_bytes(&self) -> i64 {
        if self.wide { 4 } else { 32 }
    }

    /// A uniform number as an operand.
    pub(crate) fn uniform(&self, base: impl Into<Register>, bytes: i64) -> MemoryOperand {
        MemoryOperand { is_broadcast: self.wide, ..at(base, bytes) }
    }

    /// A constant as an operand.
    pub(crate) fn constant(&mut self, bits: u32) -> MemoryOperand {
        let words = vec![bits; if self.wide { 1 } else { 8 }];
        let offset = self.words(words);
        self.uniform(POOL, offset)
    }

    /// Constant lanes as an operand.
    pub(crate) fn lane_constants(&mut self, words: Vec<u32>) -> MemoryOperand {
        let offset = self.words(words);
        at(POOL, offset)
    }

    /// The offset of words in the pool, in bytes; they are added if they are not in it.
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

    /// Pushes the callee-saved registers, at the start of a function.
    pub(crate) fn save_registers(&mut self) -> Emit {
        CALLEE_SAVED.into_iter().try_for_each(|r| self.code.push(r))
    }

    /// Pops the callee-saved registers, at the end of a function.
    pub(crate) fn restore_registers(&mut self) -> Emit {
        CALLEE_SAVED.into_iter().rev().try_for_each(|r| self.code.pop(r))
    }

    /// Points `POOL` at the constants, which start at the first cache line after the code.
    pub(crate) fn find_pool(&mut self) -> Emit {
        self.code.lea(POOL, qword_ptr(self.label))?;
        self.code.add(POOL, 63)?;
        self.code.and(POOL, -64)
    }

    /// The machine code, followed by the constants. It must start at a cache line.
    pub(crate) fn finish(mut self) -> Emit<Vec<u8>> {
        self.code.set_label(&mut self.label)?;
        self.code.zero_bytes()?;
        let mut bytes = self.code.assemble(0)?;
        bytes.resize(bytes.len().next_multiple_of(LINE_BYTES), 0);
        bytes.extend(self.pool.iter().flat_map(|word| word.to_le_bytes()));
        Ok(bytes)
    }

    /// Binds a label to the current position.
    pub(crate) fn set(&mut self, label: &mut CodeLabel) -> Emit {
        self.code.set_label(label)?;
        // An instruction can bear only one label.
        self.code.zero_bytes()
    }

    /// A label of the current position.
    pub(crate) fn here(&mut self) -> Emit<CodeLabel> {
        let mut label = self.code.create_label();
        self.set(&mut label)?;
        Ok(label)
    }

    pub(crate) fn put(&mut self, instruction: Emit<Instruction>) -> Emit {
        self.code.add_instruction(instruction?)
    }

    /// Appends an instruction under a mask; the other lanes are kept or zeroed.
    pub(crate) fn put_masked(&mut self, instruction: Emit<Instruction>, mask: u8, zeroing: bool) -> Emit {
        let mut instruction = instruction?;
        instruction.set_op_mask(Register::K0 + mask as u32);
        instruction.set_zeroing_masking(zeroing);
        self.code.add_instruction(instruction)
    }

    pub(crate) fn pick(&self, pair: Pair) -> Code {
        if self.wide { pair.0 } else { pair.1 }
    }

    pub(crate) fn v(&self, r: u8) -> Register {
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
    pub(crate) fn two(&mut self, op: Pair, d: u8, x: Src) -> Emit {
        let instruction = self.two_of(self.pick(op), self.v(d), x);
        self.put(instruction)
    }

    /// `d = op(x, imm)`.
    pub(crate) fn two_imm(&mut self, op: Pair, d: u8, x: Src, imm: u32) -> Emit {
        let (code, d) = (self.pick(op), self.v(d));
        self.put(match x {
            Src::Reg(x) => Instruction::with3(code, d, self.v(x), imm),
            Src::Mem(x) => Instruction::with3(code, d, x, imm),
        })
    }

    /// `d = op(x, y)`; for a fused multiply-add `d` is an argument too.
    pub(crate) fn three(&mut self, op: Pair, d: u8, x: u8, y: Src) -> Emit {
        let instruction = self.three_of(self.pick(op), self.v(d), x, y);
        self.put(instruction)
    }

    /// The same under a mask, the other lanes kept; only with vectors of 512 bits.
    pub(crate) fn three_masked(&mut self, op: Pair, mask: u8, d: u8, x: u8, y: Src) -> Emit {
        let instruction = self.three_of(op.0, self.v(d), x, y);
        self.put_masked(instruction, mask, false)
    }

    /// A vector of all bits where `x` and `y` compare, with vectors of 256 bits.
    pub(crate) fn compare_lanes(&mut self, op: Code, d: u8, x: u8, y: Src, condition: Option<u32>) -> Emit {
        let instruction = match condition {
            Some(condition) => self.three_imm_of(op, self.v(d), x, y, condition),
            None => self.three_of(op, self.v(d), x, y),
        };
        self.put(instruction)
    }

    /// A mask of where `x` and `y` compare, with vectors of 512 bits.
    pub(crate) fn compare(&mut self, op: Code, mask: u8, x: u8, y: Src, condition: u32) -> Emit {
        let instruction = self.three_imm_of(op, Register::K0 + mask as u32, x, y, condition);
        self.put(instruction)
    }

    /// A register from a register or memory.
    pub(crate) fn copy(&mut self, d: u8, x: Src) -> Emit {
        match x {
            Src::Reg(x) if x == d => Ok(()),
            Src::Mem(x) if x.is_broadcast => self.broadcast(d, MemoryOperand { is_broadcast: false, ..x }),
            x => self.two(codes::LOAD, d, x),
        }
    }

    /// All lanes from one element.
    pub(crate) fn broadcast(&mut self, d: u8, from: MemoryOperand) -> Emit {
        self.two(codes::BROADCAST, d, Src::Mem(from))
    }

    /// All lanes zero, in the shorter encoding if that has the register.
    pub(crate) fn zero(&mut self, d: u8) -> Emit {
        if d < 16 {
            let d = Register::XMM0 + d as u32;
            return self.put(Instruction::with3(Code::VEX_Vxorps_xmm_xmm_xmmm128, d, d, d));
        }
        self.three(codes::XOR, d, d, Src::Reg(d))
    }

    /// `total += x`.
    pub(crate) fn add(&mut self, total: u8, x: Src) -> Emit {
        self.three(codes::ADD, total, total, x)
    }

    /// `total += x y`, rounded once.
    pub(crate) fn multiply_add(&mut self, total: u8, x: u8, y: Src) -> Emit {
        self.three(codes::fused(Fma::MulAdd).x_y_d, total, x, y)
    }

    /// `d = op(x, y)` for the machine's maximum or minimum, but NaN if either argument is. The instruction gives its
    /// second argument beside a NaN: of the results of both orders, combined by OR, all bits of a NaN are set.
    pub(crate) fn either(&mut self, op: Pair, d: u8, x: u8, y: u8) -> Emit {
        let scratch = self.scratch();
        self.three(op, scratch, x, Src::Reg(y))?;
        self.three(op, d, y, Src::Reg(x))?;
        self.three(codes::OR, d, d, Src::Reg(scratch))
    }

    /// `total = total op x`.
    pub(crate) fn combine(&mut self, op: Reduce, total: u8, x: u8) -> Emit {
        match op {
            Reduce::Sum => self.add(total, Src::Reg(x)),
            Reduce::Prod => self.three(codes::MUL, total, total, Src::Reg(x)),
            Reduce::Max => self.either(codes::MAX, total, total, x),
            Reduce::Min => self.either(codes::MIN, total, total, x),
        }
    }
}
