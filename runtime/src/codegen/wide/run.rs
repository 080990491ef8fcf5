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
    body: Schedule,
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
        Run { before: Schedule::new(before), body: Schedule::new(body), folds }
    }

    /// How many places a turn of the loop computes.
    fn unroll(&self, length: Length, lanes: usize, wide: bool) -> usize {
        let work = self.body.items.len();
        // Folds wait for each other unless there are several totals.
        let wanted = match (self.folds.is_empty(), work) {
            (true, ..=4) | (false, ..=12) => 4,
            (true, ..=16) | (false, ..=40) => 2,
            _ => 1,
        };
        let room = totals(wide) / self.folds.len().max(1);
        let vectors = if let Length::Elements(len) = length { len / lanes } else { usize::MAX };
        // A short run has no loop.
        let wanted = if vectors <= 4 && work * vectors <= 64 { vectors } else { wanted };
        wanted.min(room).min(vectors).max(1)
    }
}

/// How many totals of folds have registers.
pub(super) fn totals(wide: bool) -> usize {
    if wide { 16 } else { 6 }
}

impl Frame {
    /// A strip of a single place.
    pub(super) fn once(&mut self, schedule: &Schedule) -> Emit {
        let place = (At { indexed: false, bytes: 0 }, Lanes::All);
        let regs = self.regs(schedule, 0, vec![None; schedule.uses.len() + 1]);
        Place::new(self, schedule, place, regs, Vec::new()).write()
    }

    /// Registers for a place, without those of totals.
    fn regs(&self, schedule: &Schedule, totals: usize, pinned: Vec<Option<u8>>) -> Regs {
        let open = |r: &u8| !totals_of(totals).contains(r) && !pinned.contains(&Some(*r));
        let vectors = (0..self.asm.scratch()).filter(open).collect();
        Regs::new(schedule.uses.len() + 1, Class::new(vectors), Class::new((2..7).collect()), pinned)
    }

    /// Loads what every place reads into registers, as far as they go.
    fn pin(&mut self, schedule: &Schedule, totals: usize) -> Emit<Vec<Option<u8>>> {
        let count = schedule.uses.len();
        let mut pinned = vec![None; count + 1];
        let mut open: Vec<u8> = (0..self.asm.scratch()).filter(|r| !totals_of(totals).contains(r)).collect();
        let mut room = open.len().saturating_sub(schedule.pressure(self.asm.wide()) + 3);
        let mut wanted: Vec<usize> =
            (0..count).filter(|&v| schedule.is_uniform(v) && !schedule.uses[v].is_empty()).collect();
        wanted.sort_by_key(|&v| std::cmp::Reverse(schedule.uses[v].len()));
        for v in wanted {
            if room == 0 {
                break;
            }
            room -= 1;
            let Some(r) = open.pop() else { break };
            if let Some(from) = self.uniform(schedule, v) {
                self.asm.copy(r, Src::Mem(from))?;
            }
            pinned[v] = Some(r);
        }
        Ok(pinned)
    }

    /// A strip over all places of a run.
    pub(super) fn run(&mut self, run: &Run, length: Length) -> Emit {
        self.once(&run.before)?;
        let (lanes, wide) = (self.asm.lanes(), self.asm.wide());
        let unroll = run.unroll(length, lanes, wide);
        let totals = run.folds.len() * unroll;
        for (number, (_, op)) in run.folds.iter().enumerate() {
            let identity = self.asm.constant(op.identity().to_bits());
            for copy in 0..unroll {
                self.asm.copy(total(number, copy, unroll), Src::Mem(identity))?;
            }
        }
        let looped = match length {
            Length::Elements(len) => len / lanes > unroll,
            Length::Range => true,
        };
        let pinned = if looped { self.pin(&run.body, totals)? } else { vec![None; run.body.uses.len() + 1] };
        let write = |f: &mut Frame, at: At, lanes: Lanes, copy: usize| {
            let regs = f.regs(&run.body, totals, pinned.clone());
            let totals = (0..run.folds.len()).map(|number| total(number, copy, unroll)).collect();
            Place::new(f, &run.body, (at, lanes), regs, totals).write()
        };
        match length {
            Length::Elements(len) => self.elements(len, unroll, write)?,
            Length::Range => self.range(unroll, write)?,
        }
        self.fold(run, unroll)
    }

    /// So many elements.
    fn elements(&mut self, len: usize, unroll: usize, write: impl Fn(&mut Frame, At, Lanes, usize) -> Emit) -> Emit {
        let (lanes, bytes) = (self.asm.lanes(), self.asm.bytes());
        let vectors = len / lanes;
        let turns = vectors / unroll;
        let step = bytes * unroll as i64;
        if turns > 1 {
            self.asm.code.xor(eax, eax)?;
            let top = self.asm.here()?;
            for copy in 0..unroll {
                write(self, At { indexed: true, bytes: bytes * copy as i64 }, Lanes::All, copy)?;
            }
            self.asm.code.add(INDEX, step as i32)?;
            self.asm.code.cmp(INDEX, (step * turns as i64) as i32)?;
            self.asm.code.jb(top)?;
        }
        let done = if turns > 1 { turns * unroll } else { 0 };
        for vector in done..vectors {
            write(self, At { indexed: false, bytes: bytes * vector as i64 }, Lanes::All, (vector - done) % unroll)?;
        }
        let left = len % lanes;
        if left > 0 {
            self.set_tail(Lanes::First(left))?;
            let at = At { indexed: false, bytes: bytes * vectors as i64 };
            write(self, at, Lanes::First(left), (vectors - done) % unroll)?;
        }
        Ok(())
    }

    /// The elements of the range.
    fn range(&mut self, unroll: usize, write: impl Fn(&mut Frame, At, Lanes, usize) -> Emit) -> Emit {
        let bytes = self.asm.bytes();
        self.asm.code.mov(INDEX, qword_ptr(rsp + FROM))?;
        for copies in [unroll, 1] {
            let step = bytes * copies as i64;
            let mut done = self.asm.code.create_label();
            self.asm.code.lea(SCRATCH, qword_ptr(INDEX + step))?;
            self.asm.code.cmp(SCRATCH, qword_ptr(rsp + TO))?;
            self.asm.code.ja(done)?;
            let top = self.asm.here()?;
            for copy in 0..copies {
                write(self, At { indexed: true, bytes: bytes * copy as i64 }, Lanes::All, copy)?;
            }
            self.asm.code.add(INDEX, step as i32)?;
            self.asm.code.lea(SCRATCH, qword_ptr(INDEX + step))?;
            self.asm.code.cmp(SCRATCH, qword_ptr(rsp + TO))?;
            self.asm.code.jbe(top)?;
            self.asm.set(&mut done)?;
            if unroll == 1 {
                break;
            }
        }
        let mut done = self.asm.code.create_label();
        self.asm.code.mov(SCRATCH, qword_ptr(rsp + TO))?;
        self.asm.code.sub(SCRATCH, INDEX)?;
        self.asm.code.jbe(done)?;
        self.asm.code.shr(SCRATCH, 2)?;
        self.asm.code.mov(qword_ptr(rsp + LEFT), SCRATCH)?;
        self.set_tail(Lanes::Left)?;
        write(self, At { indexed: true, bytes: 0 }, Lanes::Left, 0)?;
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
