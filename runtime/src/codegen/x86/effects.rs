//! All of a group: instructions and effects in their order.

use iced_x86::Register;

use super::asm::{Emit, Src, TAIL, at};
use super::frame::Lanes;
use super::group::{Total, VectorGroup};
use super::schedule::Item;
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Reg};

impl VectorGroup<'_, '_> {
    /// Writes all instructions and effects.
    pub(crate) fn write(mut self) -> Emit {
        for (now, &scheduled) in self.schedule.order.iter().enumerate() {
            (self.now, self.copy) = (now, scheduled.copy);
            self.args = self.schedule.args(scheduled);
            match scheduled.item {
                Item::Inst(i) => {
                    let value = self.schedule.value(Reg(i as u32), scheduled.copy);
                    self.compute(value, self.schedule.strip.insts()[i])?;
                }
                Item::Effect(i) => self.effect(i)?,
            }
            self.release_args();
        }
        Ok(())
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

    /// Combines a register with a total. Lanes beyond the end of the run contribute the identity of the reduction.
    fn fold(&mut self, total: Total, op: Reduce, r: u8) -> Emit {
        if self.lanes == Lanes::All {
            return self.combine(total, op, r);
        }
        let x = self.borrow()?;
        let identity = self.asm().constant(op.identity().to_bits());
        self.asm().copy(x, Src::Mem(identity))?;
        if self.has_masks() {
            self.asm().blend(TAIL, x, x, Src::Reg(r))?;
        } else {
            self.frame.load_tail_lanes(self.lanes)?;
            let mask = self.asm().scratch();
            self.asm().blend_lanes(x, x, Src::Reg(r), mask)?;
        }
        self.combine(total, op, x)?;
        self.give_back();
        Ok(())
    }

    /// Combines all lanes of a register with a total.
    fn combine(&mut self, total: Total, op: Reduce, r: u8) -> Emit {
        match total {
            Total::Reg(total) => self.asm().combine(op, total, r),
            Total::Stack(slot) => {
                let spare = self.schedule.uses.len() + 1;
                let keep = [&self.args[..], &[spare - 1]].concat();
                let total = self.take(spare, &keep)?;
                self.asm().copy(total, Src::Mem(slot))?;
                self.asm().combine(op, total, r)?;
                self.asm().store(slot, total)?;
                self.regs.release(spare, false);
                Ok(())
            }
        }
    }

    /// Stores a scalar of the row.
    fn define(&mut self, scalar: usize, r: Reg) -> Emit {
        let to = self.frame.scalar(scalar);
        let to = at(Register::RSP, to);
        let mut x = self.need(r)?;
        if self.has_masks() && self.is_mask(r) {
            let ones = self.asm().constant(u32::MAX);
            let lanes = self.borrow()?;
            self.asm().zero_unless(x, lanes, ones)?;
            x = lanes;
            self.give_back();
        }
        // All lanes are equal. AVX-512 broadcasts a scalar from one element; AVX2 reads a whole vector.
        if self.asm().wide() { self.asm().store_first(to, x) } else { self.asm().store(to, x) }
    }
}
