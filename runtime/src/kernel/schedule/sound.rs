//! Whether a plan is sound: what its kernels access, and what is there then.
//!
//! Lowering must give kernels that access their values alone, and planning must give places that overlap only to values
//! whose live ranges do not. Debug builds and tests compare both with the finished plan. Small programs are followed
//! element by element: where a kernel reads an element, that must be the last one that was written there.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Strip, Walk};
use crate::kernel::{Call, Home, Operand, Plan, Spot, Work};

/// The most accesses of a program that is followed element by element.
const MOST: usize = 1 << 13;

/// The accesses of a loop nest.
struct Nest {
    outer: Vec<usize>,
    /// In each iteration, in this order: a number of elements, and the accesses for each of them.
    runs: Vec<(usize, Vec<Access>)>,
}

/// An element that is read or written: how far it moves with each loop, and along a run.
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
    /// Read, then written.
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

/// The accesses of a call, in this order.
fn nests(call: &Call) -> Vec<Nest> {
    let run = |len: usize, operand: usize, way: Way| {
        let access = Access::new(operand, way, Walk::Contiguous);
        Nest { outer: vec![], runs: vec![(len, vec![access])] }
    };
    match call.work {
        Work::Loop(ref kernel) => {
            let fills = kernel.fills.iter().map(|&(operand, len, _)| run(len, operand, Way::Write));
            fills.chain([of_loop(kernel)]).collect()
        }
        Work::MatMul(ref product) => of_product(product),
        Work::Gather { count, width, rows } => {
            vec![run(count, 1, Way::Read), run(rows * width, 0, Way::Read), run(count * width, 2, Way::Write)]
        }
        Work::Sort { count, rows } => {
            vec![run(count, 0, Way::Read), run(count, 1, Way::Write), run(rows, 2, Way::Write)]
        }
        Work::ScatterAdd { count, width, rows, added } => {
            let places = [run(count, 0, Way::Read), run(rows, 1, Way::Read), run(count * width, 2, Way::Read)];
            let result = run(rows * width, 3, if added { Way::Both } else { Way::Write });
            places.into_iter().chain([result]).collect()
        }
        Work::Check { count, .. } => vec![run(count, 0, Way::Read)],
        Work::Routine(ref call) => {
            let args = call.args.iter().enumerate().map(|(i, &len)| run(len, i, Way::Read));
            args.chain([run(call.len, call.args.len(), Way::Write)]).collect()
        }
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

/// The values that a call accesses in other ways than `but`.
fn touched(call: &Call, but: Way) -> Vec<Home> {
    let accesses = nests(call).into_iter().flat_map(|nest| nest.runs).flat_map(|(_, accesses)| accesses);
    let others = accesses.filter(|access| access.way != but);
    others.map(|access| call.operands[access.operand].home).collect()
}

/// The live ranges of values: the first and the last stage that accesses each.
type LiveRanges = HashMap<Home, (usize, usize)>;

impl Plan {
    /// Compares what the calls do with where values are.
    ///
    /// # Errors
    ///
    /// What a kernel touches that it must not, or finds there that is not meant for it: a mistake of the library.
    pub(crate) fn verify(&self) -> Result<(), String> {
        for call in &self.calls {
            self.stays_inside(call)?;
        }
        self.is_apart()?;
        self.scratch_is_apart()?;
        let accesses = |call: &Call| {
            let of = |nest: Nest| {
                let runs = nest.runs.iter().map(|(len, accesses)| len * accesses.len()).sum::<usize>();
                nest.outer.iter().product::<usize>().saturating_mul(runs)
            };
            nests(call).into_iter().map(of).fold(0, usize::saturating_add).saturating_mul(call.turns.count())
        };
        match self.calls.iter().map(accesses).fold(0, usize::saturating_add) <= MOST {
            true => Follow::new(self).run(),
            false => Ok(()),
        }
    }

    /// Each operand stays within its value.
    fn stays_inside(&self, call: &Call) -> Result<(), String> {
        for nest in nests(call) {
            for (run, access) in nest.runs.iter().flat_map(|(run, all)| all.iter().map(move |access| (*run, access))) {
                let Operand { home, offset } = call.operands[access.operand];
                let (mut first, mut last) = access.reach(&nest.outer, run);
                let strides = call.turns.strides.get(access.operand).into_iter().flatten();
                for (&size, stride) in call.turns.sizes.iter().zip(strides) {
                    let end = (size as isize - 1) * stride;
                    (first, last) = (first + end.min(0), last + end.max(0));
                }
                let (first, last, len) = (first + offset as isize, last + offset as isize, self.lens[&home]);
                if home == Home::Nowhere || first < 0 || last >= len as isize {
                    return Err(format!("elements {first} to {last} of {home:?}, which has {len}: {:?}", call.nodes));
                }
            }
        }
        Ok(())
    }

    fn live_ranges(&self) -> LiveRanges {
        let mut lives = LiveRanges::new();
        for (i, stage) in self.stages.iter().enumerate() {
            for operand in self.calls[stage.clone()].iter().flat_map(|call| &call.operands) {
                lives.entry(operand.home).or_insert((i, i)).1 = i;
            }
        }
        lives
    }

    /// Where a value lies in the arena.
    fn arena_place(&self, home: &Home) -> Option<Range<usize>> {
        match self.spots.get(home) {
            Some(&Spot::Arena(start)) => Some(start..start + self.lens[home]),
            _ => None,
        }
    }

    /// Values whose live ranges overlap have places of their own in the arena, unless one takes the place of another;
    /// constants have theirs for good.
    fn is_apart(&self) -> Result<(), String> {
        let lives = self.live_ranges();
        let place = |(&home, &life): (&Home, &(usize, usize))| {
            let place = self.arena_place(&home)?;
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
    fn scratch_is_apart(&self) -> Result<(), String> {
        for stage in &self.stages {
            let operands = self.calls[stage.clone()].iter().flat_map(|call| &call.operands);
            let mut places: Vec<(usize, usize, Home)> = operands
                .filter_map(|operand| match self.spots.get(&operand.home) {
                    Some(&Spot::Scratch(start)) => Some((start, start + self.lens[&operand.home], operand.home)),
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

/// When an element was accessed: in which stage, and in which of its parts, which may run at the same time.
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

/// Where a value lies while calls are followed.
#[derive(Clone, Copy)]
struct Place {
    /// The cell of its first element.
    cell: usize,
    /// Whether it is there before the program runs.
    given: bool,
    /// Whether each thread has memory of its own for it.
    own: bool,
}

/// The calls of a plan followed element by element.
struct Follow<'a> {
    plan: &'a Plan,
    places: HashMap<Home, Place>,
    cells: Vec<Cell>,
    /// Those of scratch memory.
    scratch: Range<usize>,
}

impl<'a> Follow<'a> {
    fn new(plan: &'a Plan) -> Follow<'a> {
        let written: HashSet<Home> = plan.calls.iter().flat_map(|call| touched(call, Way::Read)).collect();
        let mut follow = Follow { plan, places: HashMap::new(), cells: vec![], scratch: 0..plan.scratch };
        // Scratch memory, the arena, and the parts of slots that are touched.
        let mut outside = Vec::new();
        for (&home, &len) in &plan.lens {
            match plan.spots[&home] {
                Spot::Scratch(start) => follow.put(home, start, false, true),
                Spot::Arena(start) => {
                    let data = plan.data.iter().any(|(at, bits)| *at == start && bits.len() == len);
                    follow.put(home, plan.scratch + start, data, false);
                }
                Spot::Outside(place) => outside.push((place.slot, place.offset, place.offset + len, home)),
                Spot::Nowhere => {}
            }
        }
        outside.sort_unstable_by_key(|&(slot, start, end, _)| (slot, start, end));
        let mut end = plan.scratch + plan.arena;
        let mut open = None;
        for (slot, from, to, home) in outside {
            // Cells go on from the last place of the same slot, if the two have elements in common.
            let (first, last) = match open {
                Some((other, first, last)) if other == slot && from < last => (first, to.max(last)),
                _ => (from as isize - end as isize, to),
            };
            open = Some((slot, first, last));
            end = end.max((last as isize - first) as usize);
            follow.put(home, (from as isize - first) as usize, !written.contains(&home), false);
        }
        follow.cells = vec![Cell::default(); end];
        follow
    }

    fn put(&mut self, home: Home, cell: usize, given: bool, own: bool) {
        self.places.insert(home, Place { cell, given, own });
    }

    fn run(mut self) -> Result<(), String> {
        for (stage, calls) in self.plan.stages.iter().enumerate() {
            let calls = &self.plan.calls[calls.clone()];
            let nests: Vec<Vec<Nest>> = calls.iter().map(nests).collect();
            for turn in 0..calls[0].turns.count() {
                self.cells[self.scratch.clone()].fill(Cell::default());
                for (call, nests) in calls.iter().zip(&nests) {
                    self.call(call, nests, stage, turn)?;
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &Call, nests: &[Nest], stage: usize, turn: usize) -> Result<(), String> {
        let start: Vec<isize> = (0..call.operands.len())
            .map(|operand| {
                let strides = call.turns.strides.get(operand).map_or(&[][..], |strides| strides);
                call.operands[operand].offset as isize + place(turn, &call.turns.sizes, strides)
            })
            .collect();
        let takes_turns = !call.turns.sizes.is_empty();
        let splits = call.is_split() && call.loop_kernel().is_some_and(|kernel| kernel.fills.is_empty());
        for nest in nests {
            let inner = nest.outer.get(1..).unwrap_or_default().iter().product::<usize>();
            for i in 0..nest.outer.iter().product() {
                let part = match takes_turns {
                    true => turn,
                    false if splits && !nest.outer.is_empty() => i / inner,
                    false => 0,
                };
                for (run, accesses) in &nest.runs {
                    let first = |access: &Access| start[access.operand] + place(i, &nest.outer, &access.outer);
                    let firsts: Vec<isize> = accesses.iter().map(first).collect();
                    for element in 0..*run {
                        for (access, first) in accesses.iter().zip(&firsts) {
                            let at = (first + along(access.walk, element)) as usize;
                            let home = call.operands[access.operand].home;
                            self.access(home, at, access.way, When { stage, part })
                                .map_err(|what| format!("element {at} of {home:?} {what}: {:?}", call.nodes))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn access(&mut self, home: Home, element: usize, way: Way, when: When) -> Result<(), &'static str> {
        let Place { cell, given, own } = *self.places.get(&home).ok_or("is in no memory")?;
        let cell = &mut self.cells[cell + element];
        let elsewhere = |other: When| !own && other.stage == when.stage && other.part != when.part;
        if way != Way::Write {
            match cell.written {
                Some((by, _)) if by != home => return Err("is overwritten before it is read"),
                Some((_, written)) if elsewhere(written) => return Err("is written by another thread at that time"),
                None if !given => return Err("is read before it is written"),
                _ => cell.read = Some(when),
            }
        }
        if way != Way::Read {
            if cell.read.is_some_and(elsewhere) || cell.written.is_some_and(|(_, written)| elsewhere(written)) {
                return Err("is touched by another thread at that time");
            }
            cell.written = Some((home, when));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Node, Op, Stage, Value, Var};
    use crate::kernel::{Outside, Slot};
    use crate::nn::{argmin, softmax};
    use crate::ops::*;
    use crate::shape::DType;

    fn planned(g: &Stage, outputs: &[Var]) -> Plan {
        let outputs = outputs.iter().enumerate().map(|(i, &v)| (v, Slot::Output(i).start())).collect();
        let input = |(v, node): (Var, &Node)| match node.op {
            Op::Input(i) => Some((v, Slot::Input(i).start())),
            _ => None,
        };
        let outside = Outside { sources: g.graph().vars().filter_map(input).collect(), outputs };
        crate::kernel::plan(g.graph(), &outside).expect("a plan that is sound")
    }

    fn var(value: Value) -> Var {
        match value {
            Value::Var(v) => v,
            other => panic!("{other:?}"),
        }
    }

    fn inputs<const N: usize>(g: &mut Stage, shape: &[usize]) -> [Var; N] {
        std::array::from_fn(|slot| g.input(slot, shape, DType::F32))
    }

    /// Products, sums, rows of a table, and parts of a larger value: small, so that each element is followed.
    fn small() -> Plan {
        let mut g = Stage::new();
        let [x, w] = inputs(&mut g, &[6, 6]);
        let product = matmul::stage(&mut g, x, w);
        let weights = softmax::stage(&mut g, product, -1);
        let mixed = matmul::stage(&mut g, weights, product);
        let nearest = argmin::stage(&mut g, mixed);
        let rows = gather::stage(&mut g, weights, nearest);
        let all = concat::stage(&mut g, [weights, rows, mixed], 0);
        let all = exp::stage(&mut g, all);
        let total = sum_axes::stage(&mut g, all, [0]);
        planned(&g, &[var(total), var(all)])
    }

    /// Attention over heads, which take turns.
    fn heads() -> Plan {
        let mut g = Stage::new();
        let [q, k, v] = inputs(&mut g, &[8, 64, 64]);
        let turned = transpose::stage(&mut g, k, -1, -2);
        let scores = matmul::stage(&mut g, q, turned);
        let weights = softmax::stage(&mut g, scores, -1);
        let y = matmul::stage(&mut g, weights, v);
        planned(&g, &[var(y)])
    }

    fn found(plan: &Plan, damage: impl Fn(&mut Plan)) -> Option<String> {
        let mut damaged = Plan {
            calls: plan.calls.clone(),
            stages: plan.stages.clone(),
            spots: plan.spots.clone(),
            lens: plan.lens.clone(),
            data: plan.data.clone(),
            ..*plan
        };
        damage(&mut damaged);
        damaged.verify().err()
    }

    #[test]
    fn a_value_in_the_place_of_another_is_found() {
        for plan in [small(), heads()] {
            assert_eq!(found(&plan, |_| ()), None);
            let (lives, mut pairs) = (plan.live_ranges(), 0);
            let arena = |home: &&Home| matches!(plan.spots.get(home), Some(Spot::Arena(_)));
            for (a, b) in lives.keys().filter(arena).flat_map(|a| lives.keys().filter(arena).map(move |b| (a, b))) {
                let (life, other) = (lives[a], lives[b]);
                let replaced = plan.replaces(*a, life, *b, other) || plan.replaces(*b, other, *a, life);
                if a == b || life.1 < other.0 || other.1 < life.0 || replaced || plan.spots[a] == plan.spots[b] {
                    continue;
                }
                let message = found(&plan, |plan| {
                    plan.spots.insert(*a, plan.spots[b]);
                });
                assert!(message.is_some(), "{a:?} where {b:?} is");
                pairs += 1;
            }
            assert!(pairs > 0 || plan.arena == 0, "no two values of the plan are needed at the same time");
        }
    }

    #[test]
    fn an_operand_elsewhere_is_found() {
        let plan = small();
        for call in 0..plan.calls.len() {
            for operand in 0..plan.calls[call].operands.len() {
                let home = plan.calls[call].operands[operand].home;
                // Not all elements of it are touched, so that some neighbours may be.
                let moved = found(&plan, |plan| plan.calls[call].operands[operand].offset += 1);
                assert!(moved.is_some() || home == Home::Nowhere, "{:?}, operand {operand}", plan.calls[call]);
            }
        }
        let plan = heads();
        let far = found(&plan, |plan| plan.calls[0].operands[0].offset += 1);
        assert!(far.is_some_and(|message| message.contains("which has 32768")));
    }

    #[test]
    fn calls_in_another_order_are_found() {
        let plan = small();
        for call in 1..plan.calls.len() {
            let swapped = found(&plan, |plan| plan.calls.swap(call - 1, call));
            let reads = touched(&plan.calls[call], Way::Write);
            let depends = touched(&plan.calls[call - 1], Way::Read).iter().any(|home| reads.contains(home));
            assert!(swapped.is_some() || !depends, "calls {} and {call}", call - 1);
        }
    }

    #[test]
    fn sums_that_start_with_nothing_are_found() {
        let plan = small();
        let fills = |call: &&mut Call| call.loop_kernel().is_some_and(|kernel| !kernel.fills.is_empty());
        let message = found(&plan, |plan| {
            let call = plan.calls.iter_mut().find(fills).expect("a sum");
            if let Work::Loop(kernel) = &mut call.work {
                kernel.fills.clear();
            }
        });
        assert!(message.is_some_and(|message| message.contains("is read before it is written")));
    }

    #[test]
    fn parts_that_write_the_same_elements_are_found() {
        let plan = small();
        let mut several = 0;
        for call in 0..plan.calls.len() {
            let Work::Loop(kernel) = &plan.calls[call].work else { continue };
            let split = kernel.fills.is_empty() && kernel.outer.first().is_some_and(|&size| size > 1);
            let accesses = nests(&plan.calls[call]).into_iter().flat_map(|nest| nest.runs).flat_map(|(_, all)| all);
            let moves = |store: &usize| kernel.operands[*store][0].unsigned_abs() > 1;
            let mut stores = accesses.filter(|access| access.way == Way::Write).map(|access| access.operand);
            let Some(store) = stores.find(|store| split && plan.calls[call].is_split() && moves(store)) else {
                continue;
            };
            // The rows of two parts lie one element apart.
            let message = found(&plan, |plan| {
                if let Work::Loop(kernel) = &mut plan.calls[call].work {
                    kernel.operands[store][0] = 1;
                }
            });
            assert!(message.is_some(), "{:?}", plan.calls[call]);
            several += 1;
        }
        assert!(several > 0, "no kernel of the plan is split");
    }

    #[test]
    fn memory_of_a_chain_that_overlaps_is_found() {
        let plan = heads();
        let scratch: Vec<Home> =
            plan.spots.iter().filter(|(_, spot)| matches!(spot, Spot::Scratch(_))).map(|(home, _)| *home).collect();
        assert!(scratch.len() > 1, "the chain has memory of its own");
        for home in &scratch {
            for other in scratch.iter().filter(|other| *other != home) {
                let message = found(&plan, |plan| {
                    plan.spots.insert(*home, plan.spots[other]);
                });
                assert!(message.is_some_and(|message| message.starts_with("scratch memory")), "{home:?} {other:?}");
            }
        }
        let message = found(&plan, |plan| plan.scratch -= 1);
        assert!(message.is_some());
    }

    #[test]
    fn what_lies_behind_the_arena_is_found() {
        let plan = small();
        let message = found(&plan, |plan| plan.arena = 0);
        assert!(message.is_some_and(|message| message.ends_with("the arena at 0")));
    }
}
