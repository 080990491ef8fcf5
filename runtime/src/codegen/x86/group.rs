//! A group of vectors of a run whose instructions are emitted together, and the registers of their values.

use iced_x86::{MemoryOperand, Register};

use super::asm::{Asm, Emit, Src};
use super::frame::{Frame, Lanes, Position};
use super::regs::Regs;
use super::schedule::Schedule;
use crate::ir::strip::{Inst, Kind, Reg};

/// Where a total of a fold is.
#[derive(Clone, Copy)]
pub(crate) enum Total {
    Reg(u8),
    Stack(MemoryOperand),
}

/// One vector of elements, or several whose instructions alternate, while their code is written.
pub(crate) struct VectorGroup<'f, 's> {
    pub(crate) frame: &'f mut Frame,
    pub(crate) schedule: &'s Schedule,
    /// The first vector of the group.
    first: Position,
    pub(crate) lanes: Lanes,
    pub(super) regs: Regs,
    /// For each fold the totals that the vectors of the group are combined with.
    pub(super) totals: Vec<Total>,
    /// The position in the schedule that is being written.
    pub(super) now: usize,
    /// The vector of the group that `now` computes.
    pub(super) copy: usize,
    /// The values that `now` reads.
    pub(super) args: Vec<usize>,
}

impl<'f, 's> VectorGroup<'f, 's> {
    pub(crate) fn new(
        frame: &'f mut Frame,
        schedule: &'s Schedule,
        (first, lanes): (Position, Lanes),
        regs: Regs,
        totals: Vec<Total>,
    ) -> VectorGroup<'f, 's> {
        VectorGroup { frame, schedule, first, lanes, regs, totals, now: 0, copy: 0, args: Vec::new() }
    }

    /// The position of the vector that is being written.
    pub(crate) fn position(&self) -> Position {
        Position { bytes: self.first.bytes + self.copy as i64 * self.frame.asm.bytes(), ..self.first }
    }

    pub(crate) fn asm(&mut self) -> &mut Asm {
        &mut self.frame.asm
    }

    /// Whether masks have registers of their own.
    pub(crate) fn has_masks(&self) -> bool {
        self.frame.asm.wide()
    }

    pub(crate) fn kind(&self, r: Reg) -> Kind {
        self.schedule.strip.kind(r)
    }

    pub(crate) fn is_mask(&self, r: Reg) -> bool {
        self.kind(r) == Kind::Mask
    }

    /// Whether a register is a constant other than NaN.
    pub(crate) fn is_number(&self, r: Reg) -> bool {
        self.schedule.strip.is_constant_number(r)
    }

    /// Whether a value is in a mask register.
    fn in_masks(&self, value: usize) -> bool {
        self.has_masks() && value < self.schedule.uses.len() && self.is_mask(self.schedule.reg(value))
    }

    pub(crate) fn in_register(&self, r: Reg) -> bool {
        self.regs.reg(self.schedule.value(r, self.copy)).is_some()
    }

    /// The memory of a value that is in no register: a constant, a scalar, or a spill slot.
    fn memory(&mut self, value: usize) -> MemoryOperand {
        if let Some(memory) = self.frame.uniform(self.schedule, value) {
            return memory;
        }
        let Some(slot) = self.regs.slot(value) else { unreachable!("a value without a register has a spill slot") };
        self.frame.slot(slot)
    }

    /// A value as an operand, in a register or in memory.
    pub(crate) fn src(&mut self, r: Reg) -> Src {
        let value = self.schedule.value(r, self.copy);
        match self.regs.reg(value) {
            Some(r) => Src::Reg(r),
            None => Src::Mem(self.memory(value)),
        }
    }

    /// The register of a value, loaded if it is in memory.
    pub(crate) fn need(&mut self, r: Reg) -> Emit<u8> {
        let value = self.schedule.value(r, self.copy);
        if let Some(r) = self.regs.reg(value) {
            return Ok(r);
        }
        let from = self.memory(value);
        let d = self.take(value, &self.args.clone())?;
        if self.in_masks(value) {
            self.asm().load_mask(d, from)?;
        } else {
            self.asm().copy(d, Src::Mem(from))?;
        }
        Ok(d)
    }

    /// A register for a value. The values in `keep` stay in their registers; another one may be spilled.
    pub(crate) fn take(&mut self, value: usize, keep: &[usize]) -> Emit<u8> {
        let (now, schedule) = (self.now, self.schedule);
        let next = |v: usize| {
            let uses = schedule.uses.get(v).map_or(&[][..], Vec::as_slice);
            uses.iter().copied().find(|&at| at > now).unwrap_or(usize::MAX)
        };
        let reloads = |v: usize| v < schedule.uses.len() && schedule.is_uniform(v);
        let mask = self.in_masks(value);
        let (d, spill) = self.regs.take(value, mask, keep, next, reloads);
        if let Some(spill) = spill {
            let to = self.frame.slot(spill.slot);
            if mask { self.asm().store_mask(to, spill.reg)? } else { self.asm().store(to, spill.reg)? }
        }
        Ok(d)
    }

    /// A register for the result, which may be that of an argument whose live range ends here.
    pub(crate) fn result(&mut self, value: usize) -> Emit<u8> {
        self.release_args();
        self.take(value, &self.args.clone())
    }

    /// A register for the result that differs from those of all arguments.
    pub(crate) fn result_apart(&mut self, value: usize) -> Emit<u8> {
        self.take(value, &self.args.clone())
    }

    /// The register of an argument whose live range ends here.
    pub(crate) fn dying(&self, r: Reg) -> Option<u8> {
        let value = self.schedule.value(r, self.copy);
        (self.schedule.uses[value].last() == Some(&self.now) && !self.regs.is_pinned(value))
            .then(|| self.regs.reg(value))
            .flatten()
    }

    /// Gives the result the register of an argument whose live range ends here.
    pub(crate) fn replace(&mut self, value: usize, d: u8) {
        self.release_args();
        self.regs.give(value, false, d);
    }

    /// Frees the registers of arguments whose live ranges end here. A register keeps its contents until another value
    /// is written to it.
    pub(super) fn release_args(&mut self) {
        for &arg in &self.args {
            if self.schedule.uses[arg].last() == Some(&self.now) {
                let mask = self.in_masks(arg);
                self.regs.release(arg, mask);
            }
        }
    }

    /// A scratch register, until `give_back`.
    pub(crate) fn borrow(&mut self) -> Emit<u8> {
        self.take(self.schedule.uses.len(), &self.args.clone())
    }

    /// Frees the register of `borrow`.
    pub(crate) fn give_back(&mut self) {
        self.regs.release(self.schedule.uses.len(), false);
    }
}

impl Frame {
    /// The memory of a constant or scalar.
    pub(crate) fn uniform(&mut self, schedule: &Schedule, value: usize) -> Option<MemoryOperand> {
        match schedule.strip.insts()[schedule.reg(value).index()] {
            Inst::Const(bits, kind) if kind != Kind::Mask => Some(self.asm.constant(bits)),
            Inst::Scalar(number) => Some(self.asm.uniform(Register::RSP, self.scalar(number))),
            _ => None,
        }
    }
}
