//! Verification of a plan: no two values that are live at the same time overlap in memory.
//!
//! Lowering must give calls that access the storage of their operands alone, and planning must let storage overlap only
//! if its live ranges do not. Debug builds and tests compare both with the finished plan. Small programs are
//! interpreted over shadow memory besides: an element that a call reads must be the last element that was written at
//! that address.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::accesses::{Access, Mode, NestAccesses, accessed, accesses, along, check_bounds};
use crate::kernel::{Call, Location, Plan, Storage};

/// The most accesses of a program that is interpreted, so that debug builds stay fast.
const MAX_INTERPRETED: usize = 1 << 13;

/// The live ranges of storage: the first and the last phase that accesses it.
type LiveRanges = HashMap<Storage, (usize, usize)>;

impl Plan {
    /// Compares what the calls access with the locations of their operands.
    ///
    /// # Errors
    ///
    /// An access outside of an operand, or two values that overlap while both are live: a mistake of the library.
    pub(crate) fn verify(&self) -> Result<(), String> {
        for call in &self.calls {
            check_bounds(call, &self.lens)?;
        }
        self.check_arena()?;
        self.check_scratch()?;
        let count = |call: &Call| {
            let count = accesses(call).iter().map(NestAccesses::count).fold(0, usize::saturating_add);
            count.saturating_mul(call.shared_loops.count())
        };
        match self.calls.iter().map(count).fold(0, usize::saturating_add) <= MAX_INTERPRETED {
            true => Interpreter::new(self).run(),
            false => Ok(()),
        }
    }

    fn live_ranges(&self) -> LiveRanges {
        let mut lives = LiveRanges::new();
        for (i, phase) in self.phases.iter().enumerate() {
            for operand in self.calls[phase.clone()].iter().flat_map(|call| &call.operands) {
                lives.entry(operand.storage).or_insert((i, i)).1 = i;
            }
        }
        lives
    }

    /// The part of the arena that holds some storage.
    fn arena_range(&self, storage: &Storage) -> Option<Range<usize>> {
        match self.locations.get(storage) {
            Some(&Location::Arena(start)) => Some(start..start + self.lens[storage]),
            _ => None,
        }
    }

    /// Refuses values of the arena that overlap while both are live, unless one overwrites the other. Constants are
    /// live all the time.
    fn check_arena(&self) -> Result<(), String> {
        let lives = self.live_ranges();
        let placed = |(&storage, &life): (&Storage, &(usize, usize))| {
            let range = self.arena_range(&storage)?;
            let is_constant = self.data.iter().any(|(start, _)| *start == range.start);
            Some((range, if is_constant { (0, usize::MAX) } else { life }, storage))
        };
        let mut values: Vec<_> = lives.iter().filter_map(placed).collect();
        values.sort_by_key(|(range, life, _)| (range.start, life.0));
        let mut open: Vec<&(Range<usize>, (usize, usize), Storage)> = Vec::new();
        for value in &values {
            let (range, life, storage) = value;
            if range.end > self.arena {
                return Err(format!("{storage:?} ends at {}, the arena at {}", range.end, self.arena));
            }
            open.retain(|other| other.0.end > range.start);
            for (other_range, other_life, other) in open.iter().copied() {
                let apart = other_life.1 < life.0 || life.1 < other_life.0;
                let replaced = other_range == range
                    && (self.replaces(*storage, *life, *other, *other_life)
                        || self.replaces(*other, *other_life, *storage, *life));
                if !apart && !replaced {
                    return Err(format!("{storage:?} and {other:?} are needed at the same time, in the same place"));
                }
            }
            open.push(value);
        }
        Ok(())
    }

    /// Whether the only call of a phase writes `new` over `old`, which it reads for the last time.
    fn replaces(&self, new: Storage, life: (usize, usize), old: Storage, old_life: (usize, usize)) -> bool {
        let [call] = &self.calls[self.phases[life.0].clone()] else { return false };
        old_life.1 == life.0 && old_life.0 < life.0 && call.replaced_by(new).contains(&old)
    }

    /// Refuses scratch memory of a thread that overlaps within a phase.
    fn check_scratch(&self) -> Result<(), String> {
        for phase in &self.phases {
            let operands = self.calls[phase.clone()].iter().flat_map(|call| &call.operands);
            let mut ranges: Vec<(usize, usize, Storage)> = operands
                .filter_map(|operand| match self.locations.get(&operand.storage) {
                    Some(&Location::Scratch(start)) => {
                        Some((start, start + self.lens[&operand.storage], operand.storage))
                    }
                    _ => None,
                })
                .collect();
            ranges.sort_unstable_by_key(|&(start, end, _)| (start, end));
            ranges.dedup();
            let end = ranges.iter().map(|&(_, end, _)| end).max().unwrap_or(0);
            if end > self.scratch || ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
                return Err(format!("scratch memory of {} elements has {ranges:?}", self.scratch));
            }
        }
        Ok(())
    }
}

/// When an element was accessed: in which phase, and in which of its parts, which may run at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct When {
    phase: usize,
    part: usize,
}

/// The shadow of an element of memory: what wrote it last, and when it was read last.
#[derive(Clone, Copy, Default)]
struct Shadow {
    written: Option<(Storage, When)>,
    read: Option<When>,
}

/// Where the shadow of some storage is.
#[derive(Clone, Copy)]
struct Tracked {
    /// The index of the shadow of its first element.
    start: usize,
    /// Whether its elements are there before the program runs.
    initialised: bool,
    /// Whether each thread has memory of its own for it.
    per_thread: bool,
}

/// An interpreter of a plan over shadow memory.
struct Interpreter<'a> {
    plan: &'a Plan,
    tracked: HashMap<Storage, Tracked>,
    shadows: Vec<Shadow>,
    /// The shadows of scratch memory.
    scratch: Range<usize>,
}

impl<'a> Interpreter<'a> {
    fn new(plan: &'a Plan) -> Interpreter<'a> {
        let written: HashSet<Storage> = plan.calls.iter().flat_map(|call| accessed(call, Mode::Read)).collect();
        let mut all = Interpreter { plan, tracked: HashMap::new(), shadows: vec![], scratch: 0..plan.scratch };
        // The shadows are those of scratch memory, then of the arena, then of the parts of slots that are accessed.
        let mut outside = Vec::new();
        for (&storage, &len) in &plan.lens {
            match plan.locations[&storage] {
                Location::Scratch(start) => all.track(storage, start, false, true),
                Location::Arena(start) => {
                    let is_constant = plan.data.iter().any(|(at, bits)| *at == start && bits.len() == len);
                    all.track(storage, plan.scratch + start, is_constant, false);
                }
                Location::Outside(place) => outside.push((place.slot, place.offset, place.offset + len, storage)),
                Location::Nowhere => {}
            }
        }
        outside.sort_unstable_by_key(|&(slot, start, end, _)| (slot, start, end));
        let mut end = plan.scratch + plan.arena;
        let mut open = None;
        for (slot, from, to, storage) in outside {
            // Storage that overlaps the storage before, in the same slot, shares its shadows.
            let (first, last) = match open {
                Some((other, first, last)) if other == slot && from < last => (first, to.max(last)),
                _ => (from as isize - end as isize, to),
            };
            open = Some((slot, first, last));
            end = end.max((last as isize - first) as usize);
            all.track(storage, (from as isize - first) as usize, !written.contains(&storage), false);
        }
        all.shadows = vec![Shadow::default(); end];
        all
    }

    fn track(&mut self, storage: Storage, start: usize, initialised: bool, per_thread: bool) {
        self.tracked.insert(storage, Tracked { start, initialised, per_thread });
    }

    fn run(mut self) -> Result<(), String> {
        for (phase, calls) in self.plan.phases.iter().enumerate() {
            let calls = &self.plan.calls[calls.clone()];
            let nests: Vec<Vec<NestAccesses>> = calls.iter().map(accesses).collect();
            for iteration in 0..calls[0].shared_loops.count() {
                self.shadows[self.scratch.clone()].fill(Shadow::default());
                for (call, nests) in calls.iter().zip(&nests) {
                    self.call(call, nests, phase, iteration)?;
                }
            }
        }
        Ok(())
    }

    /// Interprets one iteration of a call.
    fn call(&mut self, call: &Call, nests: &[NestAccesses], phase: usize, iteration: usize) -> Result<(), String> {
        let start: Vec<isize> = (0..call.operands.len())
            .map(|operand| {
                let strides = call.shared_loops.strides.get(operand).map_or(&[][..], |strides| strides);
                call.operands[operand].offset as isize + distance(iteration, &call.shared_loops.sizes, strides)
            })
            .collect();
        let is_in_chain = !call.shared_loops.sizes.is_empty();
        let splits = call.is_split() && call.loop_kernel().is_some_and(|kernel| kernel.fills.is_empty());
        for nest in nests {
            let inner = nest.outer.get(1..).unwrap_or_default().iter().product::<usize>();
            for i in 0..nest.outer.iter().product() {
                let part = match is_in_chain {
                    true => iteration,
                    false if splits && !nest.outer.is_empty() => i / inner,
                    false => 0,
                };
                for (run, accesses) in &nest.runs {
                    let first = |access: &Access| start[access.operand] + distance(i, &nest.outer, &access.outer);
                    let firsts: Vec<isize> = accesses.iter().map(first).collect();
                    for element in 0..*run {
                        for (access, first) in accesses.iter().zip(&firsts) {
                            let at = (first + along(access.walk, element)) as usize;
                            let storage = call.operands[access.operand].storage;
                            self.access(storage, at, access.mode, When { phase, part })
                                .map_err(|what| format!("element {at} of {storage:?} {what}: {:?}", call.nodes))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn access(&mut self, storage: Storage, element: usize, mode: Mode, when: When) -> Result<(), &'static str> {
        let tracked = *self.tracked.get(&storage).ok_or("is in no memory")?;
        let shadow = &mut self.shadows[tracked.start + element];
        let is_concurrent = |other: When| !tracked.per_thread && other.phase == when.phase && other.part != when.part;
        if mode != Mode::Write {
            match shadow.written {
                Some((by, _)) if by != storage => return Err("is overwritten before it is read"),
                Some((_, written)) if is_concurrent(written) => {
                    return Err("is written by another thread at that time");
                }
                None if !tracked.initialised => return Err("is read before it is written"),
                _ => shadow.read = Some(when),
            }
        }
        if mode != Mode::Read {
            let is_written = shadow.written.is_some_and(|(_, written)| is_concurrent(written));
            if is_written || shadow.read.is_some_and(is_concurrent) {
                return Err("is touched by another thread at that time");
            }
            shadow.written = Some((storage, when));
        }
        Ok(())
    }
}

/// The distance of the elements of iteration `i` of these loops from those of the first iteration.
fn distance(mut i: usize, sizes: &[usize], strides: &[isize]) -> isize {
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
    use crate::kernel::{Outside, Slot, Work};
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

    /// Attention over heads, whose kernels are a chain.
    fn heads() -> Plan {
        let mut g = Stage::new();
        let [q, k, v] = inputs(&mut g, &[8, 64, 64]);
        let transposed = transpose::stage(&mut g, k, -1, -2);
        let scores = matmul::stage(&mut g, q, transposed);
        let weights = softmax::stage(&mut g, scores, -1);
        let y = matmul::stage(&mut g, weights, v);
        planned(&g, &[var(y)])
    }

    fn found(plan: &Plan, damage: impl Fn(&mut Plan)) -> Option<String> {
        let mut damaged = Plan {
            calls: plan.calls.clone(),
            phases: plan.phases.clone(),
            locations: plan.locations.clone(),
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
            let arena = |storage: &&Storage| matches!(plan.locations.get(storage), Some(Location::Arena(_)));
            for (a, b) in lives.keys().filter(arena).flat_map(|a| lives.keys().filter(arena).map(move |b| (a, b))) {
                let (life, other) = (lives[a], lives[b]);
                let replaced = plan.replaces(*a, life, *b, other) || plan.replaces(*b, other, *a, life);
                if a == b || life.1 < other.0 || other.1 < life.0 || replaced || plan.locations[a] == plan.locations[b]
                {
                    continue;
                }
                let message = found(&plan, |plan| {
                    plan.locations.insert(*a, plan.locations[b]);
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
                let storage = plan.calls[call].operands[operand].storage;
                // Not all elements of it are touched, so that some neighbours may be.
                let moved = found(&plan, |plan| plan.calls[call].operands[operand].offset += 1);
                assert!(moved.is_some() || storage == Storage::Nowhere, "{:?}, operand {operand}", plan.calls[call]);
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
            let reads = accessed(&plan.calls[call], Mode::Write);
            let depends = accessed(&plan.calls[call - 1], Mode::Read).iter().any(|storage| reads.contains(storage));
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
            let all = accesses(&plan.calls[call]).into_iter().flat_map(|nest| nest.runs).flat_map(|(_, all)| all);
            let moves = |store: &usize| kernel.operands[*store][0].unsigned_abs() > 1;
            let mut stores = all.filter(|access| access.mode == Mode::Write).map(|access| access.operand);
            let Some(store) = stores.find(|store| split && plan.calls[call].is_split() && moves(store)) else {
                continue;
            };
            // The rows of two parts are one element apart.
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
        let scratch: Vec<Storage> = plan
            .locations
            .iter()
            .filter(|(_, location)| matches!(location, Location::Scratch(_)))
            .map(|(storage, _)| *storage)
            .collect();
        assert!(scratch.len() > 1, "the chain has memory of its own");
        for storage in &scratch {
            for other in scratch.iter().filter(|other| *other != storage) {
                let message = found(&plan, |plan| {
                    plan.locations.insert(*storage, plan.locations[other]);
                });
                assert!(message.is_some_and(|message| message.starts_with("scratch memory")), "{storage:?} {other:?}");
            }
        }
        let message = found(&plan, |plan| plan.scratch -= 1);
        assert!(message.is_some());
    }

    #[test]
    fn what_lies_beyond_the_arena_is_found() {
        let plan = small();
        let message = found(&plan, |plan| plan.arena = 0);
        assert!(message.is_some_and(|message| message.ends_with("the arena at 0")));
    }
}
