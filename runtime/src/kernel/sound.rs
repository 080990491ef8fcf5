//! Whether a plan is sound: what its kernels touch, and what is there then.
//!
//! A graph that keeps its rules is lowered to kernels that stay within values, and values get places that do not
//! overlap while both are needed. That is what the passes before are for; here it is compared with the plan they end in,
//! in debug builds and tests. Small programs are followed element by element: a kernel must find, where it reads, what
//! was written there for it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::{Call, Home, LoopKernel, MatMul, Operand, Plan, Spot, Work};
use crate::codegen::strip::{Effect, Inst, Strip, Walk};

/// The most accesses of a program that is followed element by element.
const MOST: usize = 1 << 15;

/// What a call does, one nest of loops behind the other.
struct Nest {
    outer: Vec<usize>,
    /// In each turn of the loops, one behind the other: so many elements, and what is done for each.
    runs: Vec<(usize, Vec<Access>)>,
}

/// An element that is read or written: which, for each loop, and along a run.
struct Access {
    operand: usize,
    way: Way,
    outer: Vec<isize>,
    walk: Walk,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
    /// One after the other.
    Both,
}

impl Access {
    fn new(operand: usize, way: Way, walk: Walk) -> Access {
        Access { operand, way, outer: vec![], walk }
    }

    /// The first and the last element, before the loops around the call.
    fn reach(&self, outer: &[usize], run: usize) -> (isize, isize) {
        let run = along(self.walk, run - 1);
        let ends = outer.iter().zip(&self.outer).map(|(&size, &stride)| (size as isize - 1) * stride).chain([run]);
        ends.fold((0, 0), |(first, last), end| (first + end.min(0), last + end.max(0)))
    }
}

/// How far element `i` of a run is from the first.
fn along(walk: Walk, i: usize) -> isize {
    match walk {
        Walk::Contiguous => i as isize,
        Walk::Fixed => 0,
        Walk::Strided(stride) => i as isize * stride,
        Walk::Repeated(times) => (i / times) as isize,
    }
}

/// What the work of a call reads and writes.
fn nests(work: &Work) -> Vec<Nest> {
    let run = |len: usize, operand: usize, way: Way| {
        let access = Access::new(operand, way, Walk::Contiguous);
        Nest { outer: vec![], runs: vec![(len, vec![access])] }
    };
    match *work {
        Work::Loop(ref kernel) => {
            let fills = kernel.fills.iter().map(|&(operand, len, _)| run(len, operand, Way::Write));
            fills.chain([of_loop(kernel)]).collect()
        }
        Work::MatMul(ref product) => of_product(product),
        Work::Gather { count, width, rows } => {
            vec![run(count, 1, Way::Read), run(rows * width, 0, Way::Read), run(count * width, 2, Way::Write)]
        }
        Work::ScatterAdd { count, width, rows, zeros } => {
            let zeroed = (zeros > 0).then(|| run(zeros * width, 2, Way::Write));
            let rest =
                [run(count, 0, Way::Read), run(count * width, 1, Way::Read), run(rows * width, 2, Way::Both)];
            zeroed.into_iter().chain(rest).collect()
        }
        Work::Check { count, .. } => vec![run(count, 0, Way::Read)],
    }
}

fn of_loop(kernel: &LoopKernel) -> Nest {
    let accesses = |strip: &Strip| -> Vec<Access> {
        let loads = strip.insts().iter().filter_map(|inst| match *inst {
            Inst::Load(operand, walk, _) => Some((operand, Way::Read, walk)),
            _ => None,
        });
        let effects = strip.effects().iter().filter_map(|effect| match *effect {
            Effect::Store(operand, walk, _) => Some((operand, Way::Write, walk)),
            Effect::Accumulate(operand, walk, ..) => Some((operand, Way::Both, walk)),
            Effect::Fold(..) | Effect::Define(..) => None,
        });
        let access = |(operand, way, walk): (usize, Way, Walk)| Access {
            outer: kernel.operands[operand].clone(),
            ..Access::new(operand, way, walk)
        };
        loads.chain(effects).map(access).collect()
    };
    let runs = kernel.passes.iter().flat_map(|pass| [(1, accesses(&pass.once)), (kernel.row, accesses(&pass.each))]);
    Nest { outer: kernel.outer.clone(), runs: runs.collect() }
}

fn of_product(p: &MatMul) -> Vec<Nest> {
    let matrix = |operand: usize, (rows, columns): (usize, usize), way: Way| {
        let batch = p.batch.iter().map(|&(size, strides)| (size, strides[operand]));
        let sums = p.sums.iter().filter(|_| operand < 2).map(|&(size, strides)| (size, strides[operand]));
        let [row, column] = p.strides[operand];
        let loops: Vec<(usize, isize)> = batch.chain(sums).chain([(rows, row)]).collect();
        let outer = loops.iter().map(|&(_, stride)| stride).collect();
        let access = Access { outer, ..Access::new(operand, way, Walk::Strided(column)) };
        Nest { outer: loops.iter().map(|&(size, _)| size).collect(), runs: vec![(columns, vec![access])] }
    };
    vec![matrix(0, (p.m, p.k), Way::Read), matrix(1, (p.k, p.n), Way::Read), matrix(2, (p.m, p.n), Way::Write)]
}

/// What a call writes.
fn written(call: &Call) -> Vec<Home> {
    let accesses = nests(&call.work).into_iter().flat_map(|nest| nest.runs).flat_map(|(_, accesses)| accesses);
    let writes = accesses.filter(|access| access.way != Way::Read);
    writes.map(|access| call.operands[access.operand].home).collect()
}

/// When a value is needed, in stages.
type Lives = HashMap<Home, (usize, usize)>;

impl Plan {
    /// Compares what the calls do with where values are. `lens` are the lengths of all operands.
    ///
    /// # Errors
    ///
    /// What a kernel touches that it must not, or finds there that is not meant for it: a mistake of the library.
    pub(super) fn verify(&self, lens: &HashMap<Home, usize>) -> Result<(), String> {
        for call in &self.calls {
            self.stays_inside(call, lens)?;
        }
        self.is_apart(lens)?;
        self.scratch_is_apart(lens)?;
        let accesses = |call: &Call| {
            let of = |nest: Nest| {
                let runs = nest.runs.iter().map(|(len, accesses)| len * accesses.len()).sum::<usize>();
                nest.outer.iter().product::<usize>().saturating_mul(runs)
            };
            nests(&call.work).into_iter().map(of).fold(0, usize::saturating_add).saturating_mul(call.turns.count())
        };
        match self.calls.iter().map(accesses).fold(0, usize::saturating_add) <= MOST {
            true => Follow::new(self, lens).run(),
            false => Ok(()),
        }
    }

    /// Each operand stays within its home.
    fn stays_inside(&self, call: &Call, lens: &HashMap<Home, usize>) -> Result<(), String> {
        for nest in nests(&call.work) {
            for (run, access) in nest.runs.iter().flat_map(|(run, all)| all.iter().map(move |access| (*run, access))) {
                let Operand { home, offset } = call.operands[access.operand];
                let (mut first, mut last) = access.reach(&nest.outer, run);
                let strides = call.turns.strides.get(access.operand).into_iter().flatten();
                for (&size, stride) in call.turns.sizes.iter().zip(strides) {
                    let end = (size as isize - 1) * stride;
                    (first, last) = (first + end.min(0), last + end.max(0));
                }
                let (first, last, len) = (first + offset as isize, last + offset as isize, lens[&home]);
                if home == Home::Nowhere || first < 0 || last >= len as isize {
                    return Err(format!("elements {first} to {last} of {home:?}, which has {len}: {:?}", call.nodes));
                }
            }
        }
        Ok(())
    }

    fn lives(&self) -> Lives {
        let mut lives = Lives::new();
        for (i, stage) in self.stages.iter().enumerate() {
            for operand in self.calls[stage.clone()].iter().flat_map(|call| &call.operands) {
                lives.entry(operand.home).or_insert((i, i)).1 = i;
            }
        }
        lives
    }

    /// Where a value lies in the arena.
    fn arena_place(&self, home: &Home, lens: &HashMap<Home, usize>) -> Option<Range<usize>> {
        match self.spots.get(home) {
            Some(&Spot::Arena(start)) => Some(start..start + lens[home]),
            _ => None,
        }
    }

    /// Values that are needed at the same time have places of their own in the arena, unless one takes the place
    /// of another; what is known beforehand has its place for good.
    fn is_apart(&self, lens: &HashMap<Home, usize>) -> Result<(), String> {
        let lives = self.lives();
        let place = |(&home, &life): (&Home, &(usize, usize))| {
            let place = self.arena_place(&home, lens)?;
            let data = self.data.iter().any(|(start, _)| *start == place.start);
            Some((place, if data { (0, usize::MAX) } else { life }, home))
        };
        let mut places: Vec<_> = lives.iter().filter_map(place).collect();
        places.sort_by_key(|(place, life, _)| (place.start, life.0));
        let mut open: Vec<&(Range<usize>, (usize, usize), Home)> = Vec::new();
        for this in &places {
            let (place, life, home) = this;
            if place.end > self.arena {
                return Err(format!("{home:?} ends at {}, the arena at {}", place.end, self.arena));
            }
            open.retain(|other| other.0.end > place.start);
            for (other_place, other_life, other) in open.iter().copied() {
                let apart = other_life.1 < life.0 || life.1 < other_life.0;
                let replaced = other_place == place
                    && (self.replaces(*home, *life, *other, *other_life)
                        || self.replaces(*other, *other_life, *home, *life));
                if !apart && !replaced {
                    return Err(format!("{home:?} and {other:?} are needed at the same time, in the same place"));
                }
            }
            open.push(this);
        }
        Ok(())
    }

    /// Whether the only call of a stage writes `new` where it reads `old` for the last time.
    fn replaces(&self, new: Home, life: (usize, usize), old: Home, old_life: (usize, usize)) -> bool {
        let [call] = &self.calls[self.stages[life.0].clone()] else { return false };
        old_life.1 == life.0 && old_life.0 < life.0 && call.replaced_by(new).contains(&old)
    }

    /// Memory that a thread has for a stage is one behind the other.
    fn scratch_is_apart(&self, lens: &HashMap<Home, usize>) -> Result<(), String> {
        for stage in &self.stages {
            let operands = self.calls[stage.clone()].iter().flat_map(|call| &call.operands);
            let mut places: Vec<(usize, usize, Home)> = operands
                .filter_map(|operand| match self.spots.get(&operand.home) {
                    Some(&Spot::Scratch(start)) => Some((start, start + lens[&operand.home], operand.home)),
                    _ => None,
                })
                .collect();
            places.sort_unstable_by_key(|&(start, end, _)| (start, end));
            places.dedup();
            let ends = places.iter().map(|&(_, end, _)| end).max().unwrap_or(0);
            if ends > self.scratch || places.windows(2).any(|pair| pair[0].1 > pair[1].0) {
                return Err(format!("scratch memory of {} elements has {places:?}", self.scratch));
            }
        }
        Ok(())
    }
}

/// Memory: the arena, that of a slot of the caller, or that of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Memory {
    Arena,
    Slot(usize),
    Scratch,
}

/// Who touched an element last: in which stage, and in which part of it, of those that may run at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct When {
    stage: usize,
    part: usize,
}

/// What is known of an element of memory.
#[derive(Clone, Copy, Default)]
struct Cell {
    written: Option<(Home, When)>,
    read: Option<When>,
}

/// The calls of a plan followed element by element.
struct Follow<'a> {
    plan: &'a Plan,
    /// Where each value lies, and whether it is there before the program runs.
    places: HashMap<Home, (Memory, usize, bool)>,
    cells: HashMap<(Memory, usize), Cell>,
}

impl<'a> Follow<'a> {
    fn new(plan: &'a Plan, lens: &'a HashMap<Home, usize>) -> Follow<'a> {
        let written: HashSet<Home> = plan.calls.iter().flat_map(written).collect();
        let place = |home: &Home| match plan.spots[home] {
            Spot::Arena(start) => {
                let data = plan.data.iter().any(|(at, bits)| *at == start && bits.len() == lens[home]);
                Some((Memory::Arena, start, data))
            }
            Spot::Outside(place) => Some((Memory::Slot(place.slot), place.offset, !written.contains(home))),
            Spot::Scratch(start) => Some((Memory::Scratch, start, false)),
            Spot::Nowhere => None,
        };
        let places = lens.keys().filter_map(|home| Some((*home, place(home)?))).collect();
        Follow { plan, places, cells: HashMap::new() }
    }

    fn run(mut self) -> Result<(), String> {
        for (stage, calls) in self.plan.stages.iter().enumerate() {
            let calls = &self.plan.calls[calls.clone()];
            let turns = calls[0].turns.count();
            for turn in 0..turns {
                self.cells.retain(|(memory, _), _| *memory != Memory::Scratch);
                for call in calls {
                    self.call(call, stage, turn)?;
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call, stage: usize, turn: usize) -> Result<(), String> {
        let start: Vec<isize> = (0..call.operands.len())
            .map(|operand| {
                let strides = call.turns.strides.get(operand).map_or(&[][..], |strides| strides);
                call.operands[operand].offset as isize + place(turn, &call.turns.sizes, strides)
            })
            .collect();
        let takes_turns = !call.turns.sizes.is_empty();
        let splits = call.is_split() && call.loop_kernel().is_some_and(|kernel| kernel.fills.is_empty());
        for nest in nests(&call.work) {
            let inner = nest.outer.get(1..).unwrap_or_default().iter().product::<usize>();
            for i in 0..nest.outer.iter().product() {
                let part = match takes_turns {
                    true => turn,
                    false if splits && !nest.outer.is_empty() => i / inner,
                    false => 0,
                };
                for (run, accesses) in &nest.runs {
                    for element in 0..*run {
                        for access in accesses {
                            let outer = place(i, &nest.outer, &access.outer);
                            let at = start[access.operand] + outer + along(access.walk, element);
                            let home = call.operands[access.operand].home;
                            self.access(home, at as usize, access.way, When { stage, part })
                                .map_err(|what| format!("element {at} of {home:?} {what}: {:?}", call.nodes))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn access(&mut self, home: Home, element: usize, way: Way, when: When) -> Result<(), &'static str> {
        let &(memory, start, given) = self.places.get(&home).ok_or("is in no memory")?;
        let cell = self.cells.entry((memory, start + element)).or_default();
        let elsewhere = |other: When| other.stage == when.stage && other.part != when.part;
        if way != Way::Write {
            match cell.written {
                Some((by, _)) if by != home => return Err("is overwritten before it is read"),
                Some((_, written)) if memory != Memory::Scratch && elsewhere(written) => {
                    return Err("is written by another thread at that time");
                }
                None if !given => return Err("is read before it is written"),
                _ => cell.read = Some(when),
            }
        }
        if way != Way::Read {
            if memory != Memory::Scratch
                && (cell.read.is_some_and(elsewhere) || cell.written.is_some_and(|(_, written)| elsewhere(written)))
            {
                return Err("is touched by another thread at that time");
            }
            *cell = Cell { written: Some((home, when)), read: cell.read };
        }
        Ok(())
    }
}

/// How far the element of number `i` of these loops is from the first.
fn place(mut i: usize, sizes: &[usize], strides: &[isize]) -> isize {
    let mut at = 0;
    for (size, stride) in sizes.iter().zip(strides).rev() {
        at += (i % size) as isize * stride;
        i /= size;
    }
    at
}
