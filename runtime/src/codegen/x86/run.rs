//! A strip over a run of elements: a loop of whole vectors, and the tail.
//!
//! Vectors are folded alternately into [`TOTALS`] totals, however many an iteration computes, and a sum is completed
//! in blocks: so the order of additions depends on the length alone, and no total of single precision has more than
//! [`TERMS`] terms in a lane.

use iced_x86::Register;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use super::asm::{Emit, Src, at};
use super::frame::{FROM, Frame, INDEX, LEFT, Lanes, Position, SCRATCH, TO};
use super::group::{Total, VectorGroup};
use super::regs::{Class, Regs};
use super::schedule::{Schedule, hoist};
use crate::ir::reduce::Reduce;
use crate::ir::strip::Strip;

/// The first register of totals. Those below are scratch registers of reductions across lanes.
const FIRST_TOTAL: u8 = 3;

/// The totals of a fold: vectors are added to them alternately.
const TOTALS: usize = 2;

/// The vectors of a block of a sum. After a block the totals are added to a sum in double precision.
const BLOCK_VECTORS: usize = TOTALS * crate::ir::TERMS;

/// How long a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many elements from the first.
    Elements(usize),
    /// The range that the kernel was called with.
    Range,
}

/// A strip over a run.
pub(crate) struct Run {
    before: Schedule,
    body: Strip,
    folds: Vec<(usize, Reduce)>,
}

impl Run {
    /// Loop-invariant values become scalars, numbered from `scalars` on.
    pub(crate) fn new(strip: &Strip, scalars: &mut usize) -> Run {
        let (before, body) = hoist(strip, scalars);
        let folds = body.folds().collect();
        Run { before: Schedule::new(before, 1), body, folds }
    }

    /// The number of vectors that are computed together.
    fn unroll(&self, one: &Schedule, length: Length, lanes: usize, wide: bool) -> usize {
        let work = one.order.len();
        // A long chain of dependent instructions is bound by latency, and so are folds: other vectors fill the gaps.
        let wanted = match (self.folds.is_empty(), work) {
            (true, ..=4) | (false, ..=12) => 4,
            _ if 2 * one.pressure(wide) <= if wide { 28 } else { 10 } => 2,
            _ => 1,
        };
        let vectors = if let Length::Elements(len) = length { len / lanes } else { usize::MAX };
        // A short run has no loop.
        let wanted = if vectors <= 4 && work * vectors <= 64 { vectors } else { wanted };
        wanted.min(vectors).max(1)
    }

    /// Whether a run of so many vectors is so long that its sums are completed in blocks.
    fn is_in_blocks(&self, vectors: usize) -> bool {
        vectors > BLOCK_VECTORS && self.folds.iter().any(|(_, op)| *op == Reduce::Sum)
    }
}

/// The code of a run: of some vectors together, and of one alone.
struct Parts<'r> {
    run: &'r Run,
    together: Schedule,
    alone: Schedule,
    /// Values that stay in registers for the whole run.
    pinned: Vec<(usize, u8)>,
    /// Whether sums are completed in blocks.
    in_blocks: bool,
    /// The totals in use: a short run may have fewer vectors than `TOTALS`.
    totals: usize,
}

impl Parts<'_> {
    /// The vectors of an iteration, so many that all totals get equally many.
    fn vectors(&self) -> usize {
        let rounds = if self.run.folds.is_empty() { 1 } else { TOTALS };
        self.together.copies.max(rounds)
    }
}

/// The totals of folds that have registers; others are on the stack.
fn totals(wide: bool) -> usize {
    if wide { 16 } else { 6 }
}

impl Frame {
    /// A strip that computes one element.
    pub(crate) fn once(&mut self, schedule: &Schedule) -> Emit {
        let place = (Position { indexed: false, bytes: 0 }, Lanes::All);
        let regs = self.regs(schedule, 0, &[]);
        VectorGroup::new(self, schedule, place, regs, Vec::new()).write()
    }

    /// Registers for vectors, without those of totals and of pinned values.
    fn regs(&self, schedule: &Schedule, folds: usize, pinned: &[(usize, u8)]) -> Regs {
        let mut stays = vec![None; schedule.uses.len() + 2];
        for &(value, r) in pinned {
            stays[value] = Some(r);
        }
        let open = |r: &u8| !self.is_total(*r, folds) && !stays.contains(&Some(*r));
        let vectors = (0..self.asm.scratch()).filter(open).collect();
        let values = schedule.uses.len() + 2;
        Regs::new(values, Class::new(vectors), Class::new((2..7).collect()), stays, self.kept(folds))
    }

    /// Whether a register is that of a total.
    fn is_total(&self, r: u8, folds: usize) -> bool {
        let totals = (TOTALS * folds).min(totals(self.asm.wide()));
        (FIRST_TOTAL..FIRST_TOTAL + totals as u8).contains(&r)
    }

    /// A total of a fold, by their numbers.
    fn total(&mut self, fold: usize, number: usize) -> Total {
        let total = TOTALS * fold + number;
        match total.checked_sub(totals(self.asm.wide())) {
            None => Total::Reg(FIRST_TOTAL + total as u8),
            Some(slot) => Total::Stack(self.slot(slot)),
        }
    }

    /// The spill slots of totals and sums.
    fn kept(&self, folds: usize) -> usize {
        (TOTALS * folds).saturating_sub(totals(self.asm.wide())) + folds
    }

    /// The sum of a fold's blocks, in memory.
    fn sum(&mut self, folds: usize, fold: usize) -> AsmMemoryOperand {
        let number = self.kept(folds) - folds + fold;
        let slot = self.slot(number);
        qword_ptr(rsp + slot.displacement)
    }

    /// Loads uniform values that are read at least so many times into registers, as long as there are enough.
    fn pin(&mut self, schedule: &Schedule, folds: usize, times: usize) -> Emit<Vec<(usize, u8)>> {
        let mut open: Vec<u8> = (0..self.asm.scratch()).filter(|r| !self.is_total(*r, folds)).collect();
        // The lowest registers stay free.
        let free = open.len().saturating_sub(schedule.pressure(self.asm.wide()) + FIRST_TOTAL as usize);
        let mut wanted: Vec<usize> =
            (0..schedule.uses.len()).filter(|&v| schedule.is_uniform(v) && schedule.uses[v].len() >= times).collect();
        wanted.sort_by_key(|&v| std::cmp::Reverse(schedule.uses[v].len()));
        let mut pinned = Vec::new();
        for v in wanted.into_iter().take(free) {
            if let (Some(from), Some(r)) = (self.uniform(schedule, v), open.pop()) {
                self.asm.copy(r, Src::Mem(from))?;
                pinned.push((v, r));
            }
        }
        Ok(pinned)
    }

    /// A strip over all elements of a run.
    pub(crate) fn run(&mut self, run: &Run, length: Length) -> Emit {
        self.once(&run.before)?;
        let (lanes, wide) = (self.asm.lanes(), self.asm.wide());
        let alone = Schedule::new(run.body.clone(), 1);
        let unroll = run.unroll(&alone, length, lanes, wide);
        let together = Schedule::new(run.body.clone(), unroll);
        let (looped, in_blocks, totals) = match length {
            Length::Elements(len) => {
                let totals = TOTALS.min(len.div_ceil(lanes)).max(1);
                (len / lanes >= 2 * unroll, run.is_in_blocks(len / lanes), totals)
            }
            Length::Range => (true, false, TOTALS),
        };
        for fold in 0..run.folds.len() {
            self.start(run, fold, totals)?;
            if in_blocks {
                let sum = self.sum(run.folds.len(), fold);
                self.asm.code.vxorps(xmm0, xmm0, xmm0)?;
                self.asm.code.vmovsd(sum, xmm0)?;
            }
        }
        let pinned = self.pin(&together, run.folds.len(), if looped { 1 } else { 2 })?;
        let parts = Parts { run, together, alone, pinned, in_blocks, totals };
        match length {
            Length::Elements(len) => self.elements(len, &parts)?,
            Length::Range => self.range(&parts)?,
        }
        self.fold(&parts)
    }

    /// Sets the totals of a fold to the identity of its reduction.
    fn start(&mut self, run: &Run, fold: usize, totals: usize) -> Emit {
        let identity = self.asm.constant(run.folds[fold].1.identity().to_bits());
        for number in 0..totals {
            match self.total(fold, number) {
                Total::Reg(r) => self.asm.copy(r, Src::Mem(identity))?,
                Total::Stack(to) => {
                    self.asm.copy(0, Src::Mem(identity))?;
                    self.asm.store(to, 0)?;
                }
            }
        }
        Ok(())
    }

    /// The vectors of one iteration.
    fn iteration(&mut self, parts: &Parts<'_>, at: Position) -> Emit {
        let copies = parts.together.copies;
        for first in (0..parts.vectors()).step_by(copies) {
            let at = Position { bytes: at.bytes + first as i64 * self.asm.bytes(), ..at };
            self.group(parts, &parts.together, (at, Lanes::All), first)?;
        }
        Ok(())
    }

    /// A group of vectors, of which the first has this number in the run.
    fn group(&mut self, parts: &Parts<'_>, schedule: &Schedule, first: (Position, Lanes), vector: usize) -> Emit {
        let folds = parts.run.folds.len();
        let regs = self.regs(schedule, folds, &parts.pinned);
        let mut totals = Vec::new();
        for fold in 0..folds {
            totals.extend((0..schedule.copies).map(|copy| self.total(fold, (vector + copy) % TOTALS)));
        }
        VectorGroup::new(self, schedule, first, regs, totals).write()
    }

    /// A run of a length that is known.
    fn elements(&mut self, len: usize, parts: &Parts<'_>) -> Emit {
        let (lanes, bytes) = (self.asm.lanes(), self.asm.bytes());
        let vectors = len / lanes;
        let iterations = vectors / parts.vectors();
        let step = bytes * parts.vectors() as i64;
        if iterations > 1 {
            self.asm.code.xor(eax, eax)?;
            let top = self.asm.here()?;
            self.iteration(parts, Position { indexed: true, bytes: 0 })?;
            self.asm.code.add(INDEX, step as i32)?;
            if parts.in_blocks {
                let mut inside = self.asm.code.create_label();
                self.asm.code.test(eax, (BLOCK_VECTORS as i64 * bytes - 1) as i32)?;
                self.asm.code.jne(inside)?;
                self.complete(parts)?;
                self.asm.set(&mut inside)?;
            }
            self.asm.code.cmp(INDEX, (step * iterations as i64) as i32)?;
            self.asm.code.jb(top)?;
        } else if iterations == 1 {
            self.iteration(parts, Position { indexed: false, bytes: 0 })?;
        }
        let done = iterations * parts.vectors();
        for vector in done..vectors {
            let at = Position { indexed: false, bytes: bytes * vector as i64 };
            self.group(parts, &parts.alone, (at, Lanes::All), vector)?;
        }
        let left = len % lanes;
        if left > 0 {
            self.set_tail(Lanes::First(left))?;
            let at = Position { indexed: false, bytes: bytes * vectors as i64 };
            self.group(parts, &parts.alone, (at, Lanes::First(left)), vectors)?;
        }
        Ok(())
    }

    /// The range that the kernel was called with; nothing is folded.
    fn range(&mut self, parts: &Parts<'_>) -> Emit {
        let at = Position { indexed: true, bytes: 0 };
        self.asm.code.mov(INDEX, qword_ptr(rsp + FROM))?;
        if parts.together.copies > 1 {
            self.while_left(parts.together.copies, |f| f.iteration(parts, at))?;
        }
        self.while_left(1, |f| f.group(parts, &parts.alone, (at, Lanes::All), 0))?;
        let mut done = self.asm.code.create_label();
        self.asm.code.mov(SCRATCH, qword_ptr(rsp + TO))?;
        self.asm.code.sub(SCRATCH, INDEX)?;
        self.asm.code.jbe(done)?;
        self.asm.code.shr(SCRATCH, 2)?;
        self.asm.code.mov(qword_ptr(rsp + LEFT), SCRATCH)?;
        self.set_tail(Lanes::Left)?;
        self.group(parts, &parts.alone, (at, Lanes::Left), 0)?;
        self.asm.set(&mut done)
    }

    /// A loop whose iterations compute so many vectors, as long as that many are left of the range.
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

    /// Combines the totals of a fold, and their lanes, into the first lane of register 0.
    fn across(&mut self, fold: usize, op: Reduce, totals: usize) -> Emit {
        let mut first = None;
        for number in 0..totals {
            let r = match self.total(fold, number) {
                Total::Reg(r) => r,
                Total::Stack(from) => {
                    self.asm.copy(number as u8, Src::Mem(from))?;
                    number as u8
                }
            };
            match first {
                Some(first) => self.asm.combine(op, first, r)?,
                None => first = Some(r),
            }
        }
        self.asm.across(first.unwrap_or(0), op)
    }

    /// Adds the totals of a block to the sums in double precision, and resets them.
    fn complete(&mut self, parts: &Parts<'_>) -> Emit {
        let folds = &parts.run.folds;
        for fold in (0..folds.len()).filter(|&fold| folds[fold].1 == Reduce::Sum) {
            self.across(fold, Reduce::Sum, parts.totals)?;
            let sum = self.sum(folds.len(), fold);
            let code = &mut self.asm.code;
            code.vcvtss2sd(xmm0, xmm0, xmm0)?;
            code.vaddsd(xmm0, xmm0, sum)?;
            code.vmovsd(sum, xmm0)?;
            self.start(parts.run, fold, parts.totals)?;
        }
        Ok(())
    }

    /// Stores the results of all folds as scalars.
    fn fold(&mut self, parts: &Parts<'_>) -> Emit {
        if parts.in_blocks {
            self.complete(parts)?;
        }
        for (fold, &(scalar, op)) in parts.run.folds.iter().enumerate() {
            if parts.in_blocks && op == Reduce::Sum {
                let sum = self.sum(parts.run.folds.len(), fold);
                self.asm.code.vmovsd(xmm0, sum)?;
                self.asm.code.vcvtsd2ss(xmm0, xmm0, xmm0)?;
            } else {
                self.across(fold, op, parts.totals)?;
            }
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
