//! What a kernel keeps outside of vector registers: pointers of operands, and the stack frame.

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{MemoryOperand, Register};

use super::asm::{Asm, Emit, at};
use crate::ir::rare::Rare;
use crate::ir::strip::Walk;

/// How far the current vector is from the start of its run, in bytes of contiguous elements.
pub(crate) const INDEX: AsmRegister64 = rax;
/// Scratch registers, for addresses: their values last for one instruction.
pub(crate) const SCRATCH: AsmRegister64 = rcx;
pub(crate) const STRIDED: AsmRegister64 = rdx;
/// Registers that hold pointers.
const POINTERS: [AsmRegister64; 10] = [rdi, rsi, r8, r9, r10, r11, r12, r13, r14, r15];

// Offsets in the stack frame, in bytes.
/// A vector whose lanes are moved one by one.
pub(crate) const BUFFER: i64 = 0;
/// The mask of the lanes of a tail, with vectors of 256 bits.
pub(crate) const TAIL_LANES: i64 = 64;
/// Where the range starts and stops, and the number of elements of a tail.
pub(crate) const FROM: i64 = 128;
pub(crate) const TO: i64 = 136;
pub(crate) const LEFT: i64 = 144;
/// The iterations that are left of each loop, followed by the pointers that have no register.
const COUNTERS: i64 = 152;

/// How far a vector is from the start of its run.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    /// Whether `INDEX` is added.
    pub(crate) indexed: bool,
    /// Bytes of contiguous elements.
    pub(crate) bytes: i64,
}

/// How many lanes of a vector are elements of the run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    All,
    /// The first ones, of this number.
    First(usize),
    /// The first ones, of the number in `LEFT`.
    Left,
}

/// The stack frame and the assembler.
pub(crate) struct Frame {
    pub(crate) asm: Asm,
    /// The row that is being written, of those side by side.
    pub(crate) row: usize,
    layout: FrameLayout,
    /// The spill slots in use.
    slots: usize,
    /// Routines that call scalar code, to be written after the kernel.
    routines: Vec<(Rare, CodeLabel)>,
}

/// What the frame holds: it follows from the kernel.
pub(crate) struct FrameLayout {
    /// The loops around the rows.
    pub(crate) loops: usize,
    /// The rows side by side.
    pub(crate) rows: usize,
    /// The scalars of each row.
    pub(crate) scalars: usize,
    /// For each operand the distance between two rows side by side, in bytes.
    pub(crate) row_strides: Vec<i64>,
    /// Whether the kernel calls scalar code.
    pub(crate) calls: bool,
}

/// Where the pointer of an operand is.
#[derive(Clone, Copy)]
enum Pointer {
    Register(AsmRegister64),
    Stack(i64),
}

impl Frame {
    pub(crate) fn new(asm: Asm, layout: FrameLayout) -> Frame {
        Frame { asm, row: 0, layout, slots: 0, routines: Vec::new() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.layout.rows
    }

    pub(crate) fn counter(&self, depth: usize) -> i64 {
        COUNTERS + 8 * depth as i64
    }

    fn pointer(&self, operand: usize) -> Pointer {
        match POINTERS.get(operand) {
            Some(&r) => Pointer::Register(r),
            None => Pointer::Stack(self.counter(self.layout.loops + operand - POINTERS.len())),
        }
    }

    fn scalar_base(&self) -> i64 {
        let pointers = self.layout.row_strides.len().saturating_sub(POINTERS.len());
        (self.counter(self.layout.loops + pointers) as u64).next_multiple_of(64) as i64
    }

    /// The end of the scalars, where the operands of calls are.
    fn call_base(&self) -> i64 {
        let end = self.scalar_base() + self.asm.uniform_bytes() * (self.layout.rows * self.layout.scalars) as i64;
        (end as u64).next_multiple_of(64) as i64
    }

    /// Offsets of the two operands of a call of scalar code.
    pub(crate) fn arguments(&self) -> (i64, i64) {
        (self.call_base(), self.call_base() + self.asm.bytes())
    }

    /// The routine that calls a scalar function.
    pub(crate) fn routine(&mut self, f: Rare) -> CodeLabel {
        if let Some((_, label)) = self.routines.iter().find(|(known, _)| *known == f) {
            return *label;
        }
        let label = self.asm.code.create_label();
        self.routines.push((f, label));
        label
    }

    pub(crate) fn take_routines(&mut self) -> Vec<(Rare, CodeLabel)> {
        std::mem::take(&mut self.routines)
    }

    fn slot_base(&self) -> i64 {
        self.call_base() + if self.layout.calls { 2 * self.asm.bytes() } else { 0 }
    }

    /// The offset of a scalar of the row.
    pub(crate) fn scalar(&self, number: usize) -> i64 {
        self.scalar_base() + self.asm.uniform_bytes() * (self.row * self.layout.scalars + number) as i64
    }

    /// A spill slot.
    pub(crate) fn slot(&mut self, number: usize) -> MemoryOperand {
        self.slots = self.slots.max(number + 1);
        at(Register::RSP, self.slot_base() + self.asm.bytes() * number as i64)
    }

    /// The bytes of the frame.
    pub(crate) fn size(&self) -> i64 {
        self.slot_base() + self.asm.bytes() * self.slots as i64
    }

    /// Loads all pointers from the table that `SCRATCH` points to.
    pub(crate) fn load_pointers(&mut self) -> Emit {
        for i in 0..self.layout.row_strides.len() {
            let from = qword_ptr(SCRATCH + 8 * i as i64);
            match self.pointer(i) {
                Pointer::Register(r) => self.asm.code.mov(r, from)?,
                Pointer::Stack(offset) => {
                    self.asm.code.mov(STRIDED, from)?;
                    self.asm.code.mov(qword_ptr(rsp + offset), STRIDED)?;
                }
            }
        }
        Ok(())
    }

    /// Moves the pointer of an operand on by so many bytes.
    pub(crate) fn advance(&mut self, operand: usize, bytes: i64) -> Emit {
        let code = &mut self.asm.code;
        let fits = i32::try_from(bytes);
        if let Ok(0) = fits {
            return Ok(());
        }
        if fits.is_err() {
            code.mov(SCRATCH, bytes)?;
        }
        match (self.pointer(operand), fits) {
            (Pointer::Register(r), Ok(bytes)) => self.asm.code.add(r, bytes),
            (Pointer::Register(r), Err(_)) => self.asm.code.add(r, SCRATCH),
            (Pointer::Stack(offset), Ok(bytes)) => self.asm.code.add(qword_ptr(rsp + offset), bytes),
            (Pointer::Stack(offset), Err(_)) => self.asm.code.add(qword_ptr(rsp + offset), SCRATCH),
        }
    }

    /// Moves the pointer of an operand on by `FROM` times so many bytes.
    pub(crate) fn advance_from(&mut self, operand: usize, bytes: i64) -> Emit {
        if bytes == 0 {
            return Ok(());
        }
        self.asm.code.mov(SCRATCH, bytes)?;
        self.asm.code.imul_2(SCRATCH, qword_ptr(rsp + FROM))?;
        match self.pointer(operand) {
            Pointer::Register(r) => self.asm.code.add(r, SCRATCH),
            Pointer::Stack(offset) => self.asm.code.add(qword_ptr(rsp + offset), SCRATCH),
        }
    }

    /// A register that holds the pointer of an operand.
    fn base(&mut self, operand: usize) -> Emit<AsmRegister64> {
        match self.pointer(operand) {
            Pointer::Register(r) => Ok(r),
            Pointer::Stack(offset) => {
                self.asm.code.mov(SCRATCH, qword_ptr(rsp + offset))?;
                Ok(SCRATCH)
            }
        }
    }

    /// The address of the first element of a vector. It may use the scratch registers: the next address overwrites it.
    pub(crate) fn address(&mut self, operand: usize, walk: Walk, position: Position) -> Emit<MemoryOperand> {
        let base = self.base(operand)?;
        let start = self.row as i64 * self.layout.row_strides[operand];
        let stride = match walk {
            Walk::Fixed => return Ok(at(base, start)),
            Walk::Contiguous => {
                let plain = at(base, start + position.bytes);
                return Ok(if position.indexed { MemoryOperand { index: INDEX.into(), ..plain } } else { plain });
            }
            Walk::Repeated(times) => {
                let bytes = start + position.bytes / times as i64;
                if !position.indexed {
                    return Ok(at(base, bytes));
                }
                self.asm.code.mov(STRIDED, INDEX)?;
                self.asm.code.shr(STRIDED, times.ilog2())?;
                self.asm.code.add(STRIDED, base)?;
                return Ok(at(STRIDED, bytes));
            }
            Walk::Strided(stride) => stride as i64,
        };
        let bytes = start + position.bytes * stride;
        let near = bytes.abs() < 1 << 29;
        if position.indexed {
            self.asm.code.imul_3(STRIDED, INDEX, stride as i32)?;
            self.asm.code.add(STRIDED, base)?;
        }
        match (position.indexed, near) {
            (true, true) => Ok(at(STRIDED, bytes)),
            (false, true) => Ok(at(base, bytes)),
            (indexed, false) => {
                if !indexed {
                    self.asm.code.mov(STRIDED, base)?;
                }
                self.asm.code.mov(SCRATCH, bytes)?;
                self.asm.code.add(STRIDED, SCRATCH)?;
                Ok(at(STRIDED, 0))
            }
        }
    }
}
