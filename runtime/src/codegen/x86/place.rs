//! Places of a run, as many elements each as a vector has: their instructions in order, with registers.

use iced_x86::{MemoryOperand, Register};

use super::asm::{Asm, Emit, Src};
use super::frame::{At, Frame, Lanes};
use super::regs::Regs;
use super::schedule::{Item, Schedule};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Reg};

/// Where a run is combined.
#[derive(Clone, Copy)]
pub(crate) enum Total {
    Reg(u8),
    Stack(MemoryOperand),
}

/// One place or several, while their code is written.
pub(crate) struct Place<'f, 's> {
    pub(crate) frame: &'f mut Frame,
    pub(crate) schedule: &'s Schedule,
    at: At,
    pub(crate) lanes: Lanes,
    regs: Regs,
    /// Where the run is combined: for each fold, those of the places.
    totals: Vec<Total>,
    /// The step that is being written, for which of the places, and the values that it reads.
    now: usize,
    copy: usize,
    args: Vec<usize>,
}

impl<'f, 's> Place<'f, 's> {
    pub(crate) fn new(
        frame: &'f mut Frame,
        schedule: &'s Schedule,
        (at, lanes): (At, Lanes),
        regs: Regs,
        totals: Vec<Total>,
    ) -> Place<'f, 's> {
        Place { frame, schedule, at, lanes, regs, totals, now: 0, copy: 0, args: Vec::new() }
    }

    /// Writes all items.
    pub(crate) fn write(mut self) -> Emit {
        for (now, &step) in self.schedule.steps.iter().enumerate() {
            (self.now, self.copy) = (now, step.copy);
            self.args = self.schedule.args(step);
            match step.item {
                Item::Inst(i) => {
                    let value = self.schedule.value(Reg(i as u32), step.copy);
                    self.compute(value, self.schedule.strip.insts()[i])?;
                }
                Item::Effect(i) => self.effect(i)?,
            }
            self.release_args();
        }
        Ok(())
    }

    /// Where the place is that is being written.
    pub(crate) fn at(&self) -> At {
        At { bytes: self.at.bytes + self.copy as i64 * self.frame.asm.bytes(), ..self.at }
    }

    fn effect(&mut self, i: usize) -> Emit {
        let effects = self.schedule.strip.effects();
        match effects[i] {
            Effect::Store(operand, walk, r) => {
                let r = self.need(r)?;
                self.store(operand, walk, r)
            }
            Effect::Accumulate(operand, walk, op, r) => {
                let r = self.need(r)?;
                self.accumulate(operand, walk, op, r)
            }
            Effect::Fold(_, op, r) => {
                let number = effects[..i].iter().filter(|e| matches!(e, Effect::Fold(..))).count();
                let r = self.need(r)?;
                self.fold(self.totals[number * self.schedule.copies + self.copy], op, r)
            }
            Effect::Define(scalar, r) => self.define(scalar, r),
        }
    }

    /// Lanes behind the end of the run change nothing.
    fn fold(&mut self, total: Total, op: Reduce, r: u8) -> Emit {
        if self.lanes == Lanes::All {
            return self.combine(total, op, r);
        }
        let x = self.borrow()?;
        let identity = self.asm().constant(op.identity().to_bits());
        self.asm().copy(x, Src::Mem(identity))?;
        if self.has_masks() {
            self.asm().blend(super::asm::TAIL, x, x, Src::Reg(r))?;
        } else {
            self.frame.load_tail_lanes(self.lanes)?;
            let mask = self.asm().scratch();
            self.asm().blend_lanes(x, x, Src::Reg(r), mask)?;
        }
        self.combine(total, op, x)?;
        self.give_back();
        Ok(())
    }

    /// Combines a register with a total.
    fn combine(&mut self, total: Total, op: Reduce, r: u8) -> Emit {
        match total {
            Total::Reg(total) => self.asm().combine(op, total, r),
            Total::Stack(place) => {
                let spare = self.schedule.uses.len() + 1;
                let keep = [&self.args[..], &[spare - 1]].concat();
                let total = self.take(spare, &keep)?;
                self.asm().copy(total, Src::Mem(place))?;
                self.asm().combine(op, total, r)?;
                self.asm().store(place, total)?;
                self.regs.release(spare, false);
                Ok(())
            }
        }
    }

    fn define(&mut self, scalar: usize, r: Reg) -> Emit {
        let to = self.frame.scalar(scalar);
        let to = super::asm::at(Register::RSP, to);
        let mut x = self.need(r)?;
        if self.has_masks() && self.is_mask(r) {
            let ones = self.asm().constant(u32::MAX);
            let lanes = self.borrow()?;
            self.asm().zero_unless(x, lanes, ones)?;
            x = lanes;
            self.give_back();
        }
        // All lanes are the same; what is read as a vector is stored as one.
        if self.asm().wide() { self.asm().store_first(to, x) } else { self.asm().store(to, x) }
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

    /// Where in memory a value is that is in no register.
    fn memory(&mut self, value: usize) -> MemoryOperand {
        if let Some(place) = self.frame.uniform(self.schedule, value) {
            return place;
        }
        let Some(slot) = self.regs.slot(value) else { unreachable!("a value without a register is kept") };
        self.frame.slot(slot)
    }

    /// A value wherever it is.
    pub(crate) fn src(&mut self, r: Reg) -> Src {
        let value = self.schedule.value(r, self.copy);
        match self.regs.reg(value) {
            Some(r) => Src::Reg(r),
            None => Src::Mem(self.memory(value)),
        }
    }

    /// A value in a register.
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

    /// A register for a value; those in `keep` stay in theirs.
    pub(crate) fn take(&mut self, value: usize, keep: &[usize]) -> Emit<u8> {
        let (now, schedule) = (self.now, self.schedule);
        let next = |v: usize| {
            let uses = schedule.uses.get(v).map_or(&[][..], Vec::as_slice);
            uses.iter().copied().find(|&at| at > now).unwrap_or(usize::MAX)
        };
        let again = |v: usize| v < schedule.uses.len() && schedule.is_uniform(v);
        let mask = self.in_masks(value);
        let (d, spill) = self.regs.take(value, mask, keep, next, again);
        if let Some(spill) = spill {
            let to = self.frame.slot(spill.slot);
            if mask { self.asm().store_mask(to, spill.reg)? } else { self.asm().store(to, spill.reg)? }
        }
        Ok(d)
    }

    /// A register for the result, perhaps that of an argument.
    pub(crate) fn result(&mut self, value: usize) -> Emit<u8> {
        self.release_args();
        self.take(value, &self.args.clone())
    }

    /// A register for the result that is none of the arguments'.
    pub(crate) fn result_apart(&mut self, value: usize) -> Emit<u8> {
        self.take(value, &self.args.clone())
    }

    /// The register of an argument that is not read again.
    pub(crate) fn dying(&self, r: Reg) -> Option<u8> {
        let value = self.schedule.value(r, self.copy);
        (self.schedule.uses[value].last() == Some(&self.now) && !self.regs.is_pinned(value))
            .then(|| self.regs.reg(value))
            .flatten()
    }

    /// Gives the result the register of an argument that is not read again.
    pub(crate) fn replace(&mut self, value: usize, d: u8) {
        self.release_args();
        self.regs.give(value, false, d);
    }

    /// Frees the registers of arguments that are not read again. What they hold is there until another
    /// value is given the register.
    fn release_args(&mut self) {
        for &arg in &self.args {
            if self.schedule.uses[arg].last() == Some(&self.now) {
                let mask = self.in_masks(arg);
                self.regs.release(arg, mask);
            }
        }
    }

    /// A register that is needed for a moment.
    pub(crate) fn borrow(&mut self) -> Emit<u8> {
        self.take(self.schedule.uses.len(), &self.args.clone())
    }

    /// Frees it.
    pub(crate) fn give_back(&mut self) {
        self.regs.release(self.schedule.uses.len(), false);
    }
}

impl Frame {
    /// Where in memory a constant or scalar is.
    pub(crate) fn uniform(&mut self, schedule: &Schedule, value: usize) -> Option<MemoryOperand> {
        match schedule.strip.insts()[schedule.reg(value).index()] {
            Inst::Const(bits, kind) if kind != Kind::Mask => Some(self.asm.constant(bits)),
            Inst::Scalar(number) => Some(self.asm.uniform(Register::RSP, self.scalar(number))),
            _ => None,
        }
    }
}
