//! A strip over a run of places: a loop of whole vectors, and what is left.

use iced_x86::Register;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use super::asm::{Emit, Src, at};
use super::frame::{At, FROM, Frame, INDEX, LEFT, Lanes, SCRATCH, TO};
use super::place::Place;
use super::regs::{Class, Regs};
use super::schedule::{Schedule, hoist};
use crate::codegen::strip::{Effect, Strip};
use crate::ops::reduce::Reduce;

/// Registers below are free to combine the lanes of a total.
const FIRST_TOTAL: u8 = 3;

/// How long a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many elements from the first.
    Elements(usize),
    /// The range that the kernel was called with.
    Range,
}

/// A strip over a run.
pub(super) struct Run {
    before: Schedule,
    body: Strip,
    folds: Vec<(usize, Reduce)>,
}

impl Run {
    /// What is hoisted is put into scalars from `scalars` on.
    pub(super) fn new(strip: &Strip, scalars: &mut usize) -> Run {
        let (before, body) = hoist(strip, scalars);
        let folds = body.effects().iter().filter_map(|effect| match *effect {
            Effect::Fold(scalar, op, _) => Some((scalar, op)),
            _ => None,
        });
        let folds = folds.collect();
        Run { before: Schedule::new(before, 1), body, folds }
    }

    /// How many places a turn of the loop computes.
    fn unroll(&self, one: &Schedule, length: Length, lanes: usize, wide: bool) -> usize {
        let work = one.steps.len();
        // Folds wait for each other unless there are several totals, and long chains for themselves.
        let wanted = match (self.folds.is_empty(), work) {
            (true, ..=4) | (false, ..=12) => 4,
            _ if 2 * one.pressure(wide) <= if wide { 28 } else { 10 } => 2,
            _ => 1,
        };
        let room = totals(wide) / self.folds.len().max(1);
        let vectors = if let Length::Elements(len) = length { len / lanes } else { usize::MAX };
        // A short run has no loop.
        let wanted = if vectors <= 4 && work * vectors <= 64 { vectors } else { wanted };
        wanted.min(room).min(vectors).max(1)
    }
}

/// The code for places: some together, and one alone.
struct Parts<'r> {
    run: &'r Run,
    together: Schedule,
    alone: Schedule,
    /// Values that stay in registers.
    pinned: Vec<(usize, u8)>,
}

/// How many totals of folds have registers.
pub(super) fn totals(wide: bool) -> usize {
    if wide { 16 } else { 6 }
}

impl Frame {
    /// A strip of a single place.
    pub(super) fn once(&mut self, schedule: &Schedule) -> Emit {
        let place = (At { indexed: false, bytes: 0 }, Lanes::All);
        let regs = self.regs(schedule, 0, &[]);
        Place::new(self, schedule, place, regs, Vec::new()).write()
    }

    /// Registers for places, without those of totals and values that stay in theirs.
    fn regs(&self, schedule: &Schedule, totals: usize, pinned: &[(usize, u8)]) -> Regs {
        let mut stays = vec![None; schedule.uses.len() + 1];
        for &(value, r) in pinned {
            stays[value] = Some(r);
        }
        let open = |r: &u8| !totals_of(totals).contains(r) && !stays.contains(&Some(*r));
        let vectors = (0..self.asm.scratch()).filter(open).collect();
        Regs::new(schedule.uses.len() + 1, Class::new(vectors), Class::new((2..7).collect()), stays)
    }

    /// Loads what every place reads into registers, as far as they go.
    fn pin(&mut self, schedule: &Schedule, totals: usize) -> Emit<Vec<(usize, u8)>> {
        let mut open: Vec<u8> = (0..self.asm.scratch()).filter(|r| !totals_of(totals).contains(r)).collect();
        let room = open.len().saturating_sub(schedule.pressure(self.asm.wide()) + 3);
        let mut wanted: Vec<usize> =
            (0..schedule.uses.len()).filter(|&v| schedule.is_uniform(v) && !schedule.uses[v].is_empty()).collect();
        wanted.sort_by_key(|&v| std::cmp::Reverse(schedule.uses[v].len()));
        let mut pinned = Vec::new();
        for v in wanted.into_iter().take(room) {
            if let (Some(from), Some(r)) = (self.uniform(schedule, v), open.pop()) {
                self.asm.copy(r, Src::Mem(from))?;
                pinned.push((v, r));
            }
        }
        Ok(pinned)
    }

    /// A strip over all places of a run.
    pub(super) fn run(&mut self, run: &Run, length: Length) -> Emit {
        self.once(&run.before)?;
        let (lanes, wide) = (self.asm.lanes(), self.asm.wide());
        let alone = Schedule::new(run.body.clone(), 1);
        let unroll = run.unroll(&alone, length, lanes, wide);
        let together = Schedule::new(run.body.clone(), unroll);
        let totals = run.folds.len() * unroll;
        for (number, (_, op)) in run.folds.iter().enumerate() {
            let identity = self.asm.constant(op.identity().to_bits());
            for copy in 0..unroll {
                self.asm.copy(total(number, copy, unroll), Src::Mem(identity))?;
            }
        }
        let looped = match length {
            Length::Elements(len) => len / lanes >= 2 * unroll,
            Length::Range => true,
        };
        let pinned = if looped { self.pin(&together, totals)? } else { Vec::new() };
        let parts = Parts { run, together, alone, pinned };
        match length {
            Length::Elements(len) => self.elements(len, &parts)?,
            Length::Range => self.range(&parts)?,
        }
        self.fold(run, unroll)
    }

    /// The places of a turn.
    fn together(&mut self, parts: &Parts<'_>, at: At) -> Emit {
        let (folds, unroll) = (parts.run.folds.len(), parts.together.copies);
        let regs = self.regs(&parts.together, folds * unroll, &parts.pinned);
        let totals = totals_of(folds * unroll).collect();
        Place::new(self, &parts.together, (at, Lanes::All), regs, totals).write()
    }

    /// A single place, folded into the totals of the copy of this number.
    fn alone(&mut self, parts: &Parts<'_>, at: At, lanes: Lanes, copy: usize) -> Emit {
        let (folds, unroll) = (parts.run.folds.len(), parts.together.copies);
        let regs = self.regs(&parts.alone, folds * unroll, &parts.pinned);
        let totals = (0..folds).map(|number| total(number, copy, unroll)).collect();
        Place::new(self, &parts.alone, (at, lanes), regs, totals).write()
    }

    /// So many elements.
    fn elements(&mut self, len: usize, parts: &Parts<'_>) -> Emit {
        let (lanes, bytes, unroll) = (self.asm.lanes(), self.asm.bytes(), parts.together.copies);
        let vectors = len / lanes;
        let turns = vectors / unroll;
        let step = bytes * unroll as i64;
        if turns > 1 {
            self.asm.code.xor(eax, eax)?;
            let top = self.asm.here()?;
            self.together(parts, At { indexed: true, bytes: 0 })?;
            self.asm.code.add(INDEX, step as i32)?;
            self.asm.code.cmp(INDEX, (step * turns as i64) as i32)?;
            self.asm.code.jb(top)?;
        } else if turns == 1 {
            self.together(parts, At { indexed: false, bytes: 0 })?;
        }
        let done = turns * unroll;
        for vector in done..vectors {
            let at = At { indexed: false, bytes: bytes * vector as i64 };
            self.alone(parts, at, Lanes::All, vector - done)?;
        }
        let left = len % lanes;
        if left > 0 {
            self.set_tail(Lanes::First(left))?;
            let at = At { indexed: false, bytes: bytes * vectors as i64 };
            self.alone(parts, at, Lanes::First(left), vectors - done)?;
        }
        Ok(())
    }

    /// The elements of the range.
    fn range(&mut self, parts: &Parts<'_>) -> Emit {
        let at = At { indexed: true, bytes: 0 };
        self.asm.code.mov(INDEX, qword_ptr(rsp + FROM))?;
        if parts.together.copies > 1 {
            self.while_left(parts.together.copies, |f| f.together(parts, at))?;
        }
        self.while_left(1, |f| f.alone(parts, at, Lanes::All, 0))?;
        let mut done = self.asm.code.create_label();
        self.asm.code.mov(SCRATCH, qword_ptr(rsp + TO))?;
        self.asm.code.sub(SCRATCH, INDEX)?;
        self.asm.code.jbe(done)?;
        self.asm.code.shr(SCRATCH, 2)?;
        self.asm.code.mov(qword_ptr(rsp + LEFT), SCRATCH)?;
        self.set_tail(Lanes::Left)?;
        self.alone(parts, at, Lanes::Left, 0)?;
        self.asm.set(&mut done)
    }

    /// A loop of turns of so many vectors, as long as that many are left of the range.
    fn while_left(&mut self, vectors: usize, body: impl Fn(&mut Frame) -> Emit) -> Emit {
        let step = self.asm.bytes() * vectors as i64;
        let mut done = self.asm.code.create_label();
        self.asm.code.lea(SCRATCH, qword_ptr(INDEX + step))?;
        self.asm.code.cmp(SCRATCH, qword_ptr(rsp + TO))?;
        self.asm.code.ja(done)?;
        let top = self.asm.here()?;
        body(self)?;
        self.asm.code.add(INDEX, step as i32)?;
        self.asm.code.lea(SCRATCH, qword_ptr(INDEX + step))?;
        self.asm.code.cmp(SCRATCH, qword_ptr(rsp + TO))?;
        self.asm.code.jbe(top)?;
        self.asm.set(&mut done)
    }

    /// Makes scalars of the totals.
    fn fold(&mut self, run: &Run, unroll: usize) -> Emit {
        for (number, &(scalar, op)) in run.folds.iter().enumerate() {
            let first = total(number, 0, unroll);
            for copy in 1..unroll {
                let other = total(number, copy, unroll);
                self.asm.combine(op, first, other)?;
            }
            self.asm.across(first, op)?;
            let to = at(Register::RSP, self.scalar(scalar));
            if self.asm.wide() {
                self.asm.store_first(to, 0)?;
            } else {
                self.asm.spread(0, 0)?;
                self.asm.store(to, 0)?;
            }
        }
        Ok(())
    }
}

/// The register of a total.
fn total(number: usize, copy: usize, unroll: usize) -> u8 {
    FIRST_TOTAL + (number * unroll + copy) as u8
}

/// The registers of so many totals.
fn totals_of(count: usize) -> std::ops::Range<u8> {
    FIRST_TOTAL..FIRST_TOTAL + count as u8
}
