//! Loop kernels with vectors of 512 or 256 bits, which Cranelift does not have, and the assembler that products use
//! too.
//!
//! The files in order; each imports only files before it:
//!
//! | file | |
//! |---|---|
//! | `codes` | instructions at both widths |
//! | `asm` | the assembler: registers, constants, labels |
//! | `lanes`, `quarters` | instructions on parts of a vector, and across its lanes |
//! | `schedule` | the order of a strip's instructions, its loop-invariant part |
//! | `regs` | register allocation and spills |
//! | `frame` | the stack frame, pointers and addresses of operands |
//! | `call` | calls of scalar code |
//! | `group` | a group of vectors that are computed together, and its registers |
//! | `memory` | loads and stores of a group |
//! | `inst` | the other instructions of a group |
//! | `effects` | all of a group in order |
//! | `run` | the loop over a row |
//!
//! This file writes the loops around a row.
//!
//! All lanes of a register are computed always. Where a row ends within a vector, loads, stores and folds are masked;
//! in a strip that computes one element all lanes are equal.

pub(super) mod asm;
mod call;
mod codes;
mod effects;
mod frame;
mod group;
mod inst;
mod lanes;
mod memory;
mod quarters;
mod regs;
mod run;
mod schedule;

use iced_x86::IcedError;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use crate::error::{Error, Result};
use crate::ir::nest::LoopKernel;
use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::ir::{LINE_BYTES, Level, Reason};
use asm::{Asm, Emit};
use frame::{FROM, Frame, FrameLayout, SCRATCH, TO};
use run::{Length, Run};
use schedule::Schedule;

/// The most bytes of stack of a kernel: a page, which is the least size of the guard page below a stack.
const MOST_STACK: i64 = 4096;

/// The longest row, in elements, whose bytes fit 32 bits; and the largest stride, of which a few vectors' elements do.
const ROW_LIMIT: usize = 1 << 28;
const STRIDE_LIMIT: usize = 1 << 24;

/// A pass whose instructions are in order.
struct ScheduledPass {
    once: Option<Schedule>,
    each: Option<Run>,
}

/// The machine code of a kernel, `fn(operands, from, to)` with the calling convention of System V, or the reason
/// why it cannot be written so.
pub(crate) fn machine_code(kernel: &LoopKernel, level: Level) -> Result<Result<Vec<u8>, Reason>> {
    if let Some(reason) = unsupported(kernel) {
        return Ok(Err(reason));
    }
    let refused = |error: IcedError| Error::Compile { what: "a kernel".into(), message: error.to_string() };
    let code = emit(kernel, level, kernel.side_by_side).map_err(refused)?;
    if code.is_err() && kernel.side_by_side {
        // Row after row needs less stack.
        return emit(kernel, level, false).map_err(refused);
    }
    Ok(code)
}

/// Why a kernel cannot be written with vectors of 512 or 256 bits, as far as its loops and operands say.
fn unsupported(kernel: &LoopKernel) -> Option<Reason> {
    let far = |walk: Walk| match walk {
        Walk::Strided(stride) if stride.unsigned_abs() > STRIDE_LIMIT => {
            Some(Reason::Stride(stride.unsigned_abs(), STRIDE_LIMIT))
        }
        _ => None,
    };
    let inst = |inst: &Inst| match *inst {
        Inst::Load(_, walk, _) | Inst::Number(_, walk) => far(walk),
        _ => None,
    };
    let effect = |effect: &Effect| match *effect {
        // Only a row of one element may store all its elements at one address.
        Effect::Store(_, Walk::Fixed, _) | Effect::Accumulate(_, Walk::Fixed, ..) => {
            (kernel.row > 1).then_some(Reason::OnePlace)
        }
        Effect::Store(_, walk, _) | Effect::Accumulate(_, walk, ..) => far(walk),
        Effect::Fold(..) | Effect::Define(..) => None,
    };
    let row = kernel.row.max(kernel.fills.iter().map(|fill| fill.1).max().unwrap_or(0));
    let long = (row > ROW_LIMIT).then_some(Reason::Row(row, ROW_LIMIT));
    let mut strips = kernel.passes.iter().map(|pass| &pass.each);
    long.or_else(|| {
        strips.find_map(|s| s.insts().iter().find_map(inst).or_else(|| s.effects().iter().find_map(effect)))
    })
}

fn emit(kernel: &LoopKernel, level: Level, side_by_side: bool) -> Emit<Result<Vec<u8>, Reason>> {
    let plain = |strip: &Strip| if level == Level::Avx512 { strip.clone() } else { strip.plain(true) };
    let mut scalars = kernel.scalars;
    let some = |strip: &Strip| (!strip.is_empty()).then(|| plain(strip));
    let fills: Vec<(Run, usize)> = kernel
        .fills
        .iter()
        .map(|&(operand, len, bits)| {
            let mut fill = Strip::default();
            let value = fill.push(Inst::Const(bits, Kind::Int), Kind::Int);
            fill.effect(Effect::Store(operand, Walk::Contiguous, value));
            (Run::new(&fill, &mut scalars), len)
        })
        .collect();
    let passes: Vec<ScheduledPass> = kernel
        .passes
        .iter()
        .map(|pass| ScheduledPass {
            once: some(&pass.once).map(|strip| Schedule::new(schedule::single(&strip), 1)),
            each: some(&pass.each).map(|strip| Run::new(&strip, &mut scalars)),
        })
        .collect();
    // The outermost loop is a range.
    let rows = kernel.outer.get(1..).and_then(<[usize]>::last).copied().filter(|_| side_by_side).unwrap_or(1);
    let row_strides =
        kernel.operands.iter().map(|strides| strides.last().map_or(0, |&stride| 4 * stride as i64)).collect();
    let outer = kernel.outer.len() - (rows > 1) as usize;
    let calls = |strip: &Strip| strip.insts().iter().any(|inst| matches!(inst, Inst::Rare(..)));
    let calls = kernel.passes.iter().any(|pass| calls(&pass.once) || calls(&pass.each));
    let frame = Frame::new(Asm::new(level)?, FrameLayout { loops: outer, rows, scalars, row_strides, calls });
    let mut emitter = LoopEmitter { kernel, outer: &kernel.outer[..outer], passes, frame };
    emitter.body(&fills)?;
    let size = emitter.frame.size();
    if size > MOST_STACK {
        return Ok(Err(Reason::Stack(size as usize, MOST_STACK as usize)));
    }
    let mut bytes = prologue(level, size)?;
    bytes.extend(emitter.frame.asm.finish()?);
    Ok(Ok(bytes))
}

/// The prologue: it allocates the stack frame, whose size is known when all else is written. It fills cache lines, so
/// that the code after it may assume to start at one.
fn prologue(level: Level, size: i64) -> Emit<Vec<u8>> {
    let mut asm = Asm::new(level)?;
    asm.save_registers()?;
    asm.code.mov(rbp, rsp)?;
    asm.code.sub(rsp, size as i32)?;
    asm.code.and(rsp, -64)?;
    let mut bytes = asm.code.assemble(0)?;
    let nop = 0x90;
    bytes.resize(bytes.len().next_multiple_of(LINE_BYTES), nop);
    Ok(bytes)
}

/// Writes the loops of a kernel.
struct LoopEmitter<'k> {
    kernel: &'k LoopKernel,
    /// The loops around the rows that are side by side.
    outer: &'k [usize],
    passes: Vec<ScheduledPass>,
    frame: Frame,
}

impl LoopEmitter<'_> {
    fn body(&mut self, fills: &[(Run, usize)]) -> Emit {
        let code = &mut self.frame.asm.code;
        // A range of a row is counted in bytes.
        let shift = if self.kernel.outer.is_empty() { 2 } else { 0 };
        code.shl(rsi, shift)?;
        code.shl(rdx, shift)?;
        code.mov(qword_ptr(rsp + FROM), rsi)?;
        code.mov(qword_ptr(rsp + TO), rdx)?;
        code.mov(SCRATCH, rdi)?;
        self.frame.asm.find_pool()?;
        self.frame.load_pointers()?;
        for (fill, len) in fills {
            self.frame.run(fill, Length::Elements(*len))?;
        }
        if self.kernel.outer.is_empty() {
            // A row that is folded is computed as a whole.
            let folds = self.kernel.passes.iter().any(|pass| pass.each.folds().next().is_some());
            self.rows(if folds { Length::Elements(self.kernel.row) } else { Length::Range })?;
        } else {
            self.outermost()?;
        }
        let code = &mut self.frame.asm.code;
        code.vzeroupper()?;
        code.mov(rsp, rbp)?;
        self.frame.asm.restore_registers()?;
        self.frame.asm.code.ret()?;
        self.frame.routines()
    }

    /// The range of the outermost loop.
    fn outermost(&mut self) -> Emit {
        let mut done = self.frame.asm.code.create_label();
        let counter = self.frame.counter(0);
        let code = &mut self.frame.asm.code;
        code.mov(SCRATCH, qword_ptr(rsp + TO))?;
        code.sub(SCRATCH, qword_ptr(rsp + FROM))?;
        code.jle(done)?;
        code.mov(qword_ptr(rsp + counter), SCRATCH)?;
        for (operand, strides) in self.kernel.operands.iter().enumerate() {
            self.frame.advance_from(operand, 4 * strides[0] as i64)?;
        }
        self.iterations(0)?;
        self.frame.asm.set(&mut done)
    }

    /// The iterations of a loop around the row, whose counter is set.
    fn iterations(&mut self, depth: usize) -> Emit {
        let kernel = self.kernel;
        let top = self.frame.asm.here()?;
        match self.outer.get(depth + 1) {
            Some(0) => {}
            Some(&size) => {
                let counter = self.frame.counter(depth + 1);
                self.frame.asm.code.mov(SCRATCH, size as i64)?;
                self.frame.asm.code.mov(qword_ptr(rsp + counter), SCRATCH)?;
                self.iterations(depth + 1)?;
            }
            None => self.rows(Length::Elements(kernel.row))?,
        }
        // The inner loop has moved the pointers too.
        for (operand, strides) in kernel.operands.iter().enumerate() {
            let inside = self.outer.get(depth + 1).map_or(0, |&size| size as i64 * strides[depth + 1] as i64);
            self.frame.advance(operand, 4 * (strides[depth] as i64 - inside))?;
        }
        let counter = self.frame.counter(depth);
        self.frame.asm.code.dec(qword_ptr(rsp + counter))?;
        self.frame.asm.code.jne(top)
    }

    /// All passes, each over all rows that are side by side.
    fn rows(&mut self, length: Length) -> Emit {
        for pass in &self.passes {
            for row in 0..self.frame.rows() {
                self.frame.row = row;
                if let Some(once) = &pass.once {
                    self.frame.once(once)?;
                }
                if let Some(each) = &pass.each {
                    self.frame.run(each, length)?;
                }
            }
        }
        self.frame.row = 0;
        Ok(())
    }
}
