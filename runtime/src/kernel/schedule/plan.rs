//! Plans: the calls of a program in order, and the location of each value.
//!
//! The live range of a value goes from the first phase that accesses it to the last. A value is allocated in the arena
//! over an argument that nothing reads later, if its kernel allows that, or in the first gap that is free during its
//! live range.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::alone;
use super::chain::{Chains, Purpose};
use super::replace::Uses;
use crate::error::Error;
use crate::graph::strides::dense;
use crate::graph::{Graph, Op, Var};
use crate::ir::LINE;
use crate::kernel::fuse::group::{Fusion, Item};
use crate::kernel::fuse::parts;
use crate::kernel::nest::lower;
use crate::kernel::{Call, Outside, Place, Scratch, Slot, Storage};

/// Where storage lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the arena of the program, at an offset in elements.
    Arena(usize),
    /// In memory of the caller.
    Outside(Place),
    /// In the scratch memory of each thread, at an offset in elements.
    Scratch(usize),
    /// At address zero, which is never accessed.
    Nowhere,
}

/// A program before it is machine code.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) calls: Vec<Call>,
    /// Phases: ranges of calls between two barriers. A phase is one call, or the calls of a chain.
    pub(crate) phases: Vec<Range<usize>>,
    pub(crate) locations: HashMap<Storage, Location>,
    /// The elements of all storage that a call accesses.
    pub(crate) lens: HashMap<Storage, usize>,
    /// The elements of the arena.
    pub(crate) arena: usize,
    /// The elements of scratch memory that a thread needs.
    pub(crate) scratch: usize,
    /// The contents of the arena before the first run: offsets and bits.
    pub(crate) data: Vec<(usize, Vec<u32>)>,
    /// What the elements of the arena would be if no values shared memory, for descriptions.
    pub(crate) unshared: usize,
}

/// Plans the part of a graph that the outputs need.
pub(crate) fn plan(graph: &Graph, outside: &Outside) -> Result<Plan, Error> {
    let Outside { sources, outputs } = outside;
    let roots: Vec<Var> = outputs.iter().map(|(v, _)| *v).collect();
    let fusion = Fusion::new(graph, &roots);
    let mut scratch = Scratch::default();
    let mut calls = lower_items(&fusion, &mut scratch)?;
    let mut locations = locate_results(&fusion, outputs, &mut calls);
    locations.insert(Storage::Nowhere, Location::Nowhere);
    let read: HashSet<Slot> = sources.values().map(|place| place.slot).collect();
    let purpose = |storage: &Storage| match locations.get(storage) {
        Some(Location::Outside(place)) if read.contains(&place.slot) => Purpose::InPlace,
        Some(_) => Purpose::Result,
        None => Purpose::Inside,
    };
    let Chains { calls, phases } = Chains::new(calls, &mut scratch, &purpose)?;
    let lens = lens(graph, outputs, &calls, &scratch);
    let mut plan = Plan { calls, phases, locations, lens, arena: 0, scratch: 0, data: Vec::new(), unshared: 0 };
    plan.locate_sources(graph, roots, sources)?;
    plan.store_constants(graph)?;
    plan.check_overwrites(sources)?;
    plan.allocate_scratch();
    plan.allocate();
    if cfg!(debug_assertions) {
        plan.verify().map_err(|message| Error::Compile { what: "a plan".into(), message })?;
    }
    Ok(plan)
}

/// The calls of all items in order.
fn lower_items(fusion: &Fusion<'_>, scratch: &mut Scratch) -> Result<Vec<Call>, Error> {
    let mut calls = Vec::new();
    // The last call of each item; none for an item of which all values are rematerialised by others.
    let mut last: Vec<Option<usize>> = Vec::new();
    for (index, item) in fusion.items.iter().enumerate() {
        let before = calls.len();
        match item {
            Item::Group(group) => {
                let refused = group.refused.and_then(|(item, why)| Some((last[item]?, why)));
                let call = Call { refused, ..lower::lower(fusion, index, group, scratch) };
                if call.loop_kernel().is_none_or(|kernel| !kernel.passes.is_empty()) {
                    calls.extend(parts::split(fusion.graph, call, group.parts, scratch));
                }
            }
            Item::Alone(v) => alone::lower(fusion, *v, &mut calls, scratch)?,
        }
        last.push((calls.len() > before).then(|| calls.len() - 1));
    }
    Ok(calls)
}

/// The locations of results in the memory of the caller. A value that is computed, and of which the result shows all
/// elements in order, is written there directly; another result is copied there by one more call.
fn locate_results(fusion: &Fusion<'_>, outputs: &[(Var, Place)], calls: &mut Vec<Call>) -> HashMap<Storage, Location> {
    let graph = fusion.graph;
    let mut locations = HashMap::new();
    for (i, &(v, place)) in outputs.iter().enumerate() {
        let view = fusion.view(v);
        let storage = Storage::Value(view.base);
        let is_all =
            view.offset == 0 && view.strides == dense(&graph[v].shape) && graph[view.base].len() == graph[v].len();
        if is_all && fusion.item_of[view.base.index()].is_some() && !locations.contains_key(&storage) {
            locations.insert(storage, Location::Outside(place));
        } else {
            calls.push(lower::copy(fusion, v, Storage::Copy(i), (0, &dense(&graph[v].shape)), None));
            locations.insert(Storage::Copy(i), Location::Outside(place));
        }
    }
    locations
}

/// The elements of all storage that the calls access.
fn lens(graph: &Graph, outputs: &[(Var, Place)], calls: &[Call], scratch: &Scratch) -> HashMap<Storage, usize> {
    let len = |storage: Storage| match storage {
        Storage::Value(v) => graph[v].len(),
        Storage::Copy(i) => graph[outputs[i].0].len(),
        Storage::Scratch(i) => scratch.of_thread[i],
        Storage::Shared(i) => scratch.shared[i],
        Storage::Nowhere => 0,
    };
    calls.iter().flat_map(|call| &call.operands).map(|operand| (operand.storage, len(operand.storage))).collect()
}

impl Plan {
    /// How many calls the loss needs; the others compute the gradient alone. `None` if there is no gradient.
    pub(crate) fn forward(&self, graph: &Graph) -> Option<usize> {
        let forward = graph.live([graph.loss?]);
        let last = self.calls.iter().rposition(|call| call.nodes.iter().any(|v| forward[v.index()]))?;
        Some(last + 1)
    }

    /// The bytes of the values that are saved for the gradient: those in the arena that are written before the last
    /// call of the loss has ended and read by a later call. `None` if there is no gradient.
    pub(crate) fn saved_for_backward(&self, graph: &Graph) -> Option<usize> {
        let (forward, backward) = self.calls.split_at(self.forward(graph)?);
        let written: HashSet<Var> = forward.iter().flat_map(|call| call.nodes.iter().copied()).collect();
        let read = backward.iter().flat_map(|call| &call.operands).filter_map(|operand| match operand.storage {
            Storage::Value(v) => written.contains(&v).then_some(v),
            _ => None,
        });
        let in_arena = |v: &Var| matches!(self.locations.get(&Storage::Value(*v)), Some(Location::Arena(_)));
        let saved: HashSet<Var> = read.filter(in_arena).collect();
        Some(saved.into_iter().map(|v| 4 * graph[v].len()).sum())
    }

    /// Locates the inputs, parameters and constants that calls may read.
    fn locate_sources(&mut self, graph: &Graph, roots: Vec<Var>, sources: &HashMap<Var, Place>) -> Result<(), Error> {
        let live = graph.live(roots);
        for (v, node) in graph.vars().filter(|(v, node)| live[v.index()] && node.op.is_source()) {
            let storage = Storage::Value(v);
            match &node.op {
                Op::Data(bits) => self.store(storage, bits.len(), bits.iter().copied())?,
                Op::Iota => self.store(storage, node.len(), 0..)?,
                _ => {
                    self.locations.insert(storage, Location::Outside(sources[&v]));
                }
            }
        }
        Ok(())
    }

    /// Stores the constants that products read: a loop nest has them in its code.
    fn store_constants(&mut self, graph: &Graph) -> Result<(), Error> {
        let operands: Vec<Storage> = self.calls.iter().flat_map(|call| &call.operands).map(|o| o.storage).collect();
        for storage in operands {
            if let Storage::Value(v) = storage
                && let Op::Const(bits) = graph[v].op
                && !self.locations.contains_key(&storage)
            {
                self.store(storage, graph[v].len(), std::iter::repeat(bits))?;
            }
        }
        Ok(())
    }

    /// Stores `len` elements that are known at compile time in memory of the arena that no other value shares.
    fn store(&mut self, storage: Storage, len: usize, bits: impl Iterator<Item = u32>) -> Result<(), Error> {
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Error::Memory { what: "constants".into(), elements: len })?;
        data.extend(bits.take(len));
        self.locations.insert(storage, Location::Arena(self.arena));
        self.data.push((self.arena, data));
        self.arena += len.next_multiple_of(LINE);
        Ok(())
    }

    /// Refuses a result that overwrites an input, unless no later kernel reads the input and the kernel of the result
    /// reads each element of the input no later than it writes the element of the same index.
    fn check_overwrites(&self, sources: &HashMap<Var, Place>) -> Result<(), Error> {
        let range = |storage: &Storage| match self.locations.get(storage) {
            Some(Location::Outside(place)) => Some((place.slot, place.offset, place.offset + self.lens[storage])),
            _ => None,
        };
        // The nodes of a copy of an input are that input, which the copy only reads.
        let writes = |call: &Call, storage: &Storage| match storage {
            Storage::Value(v) => call.nodes.contains(v) && !sources.contains_key(v),
            _ => true,
        };
        for (i, call) in self.calls.iter().enumerate() {
            let uses = OnceCell::new();
            for result in call.operands.iter().map(|o| o.storage).filter(|storage| writes(call, storage)) {
                let Some((slot, start, stop)) = range(&result) else { continue };
                let replaced = uses.get_or_init(|| Uses::new(call)).replaced_by(result);
                let torn =
                    call.operands.iter().map(|o| o.storage).filter(|storage| *storage != result).any(|storage| {
                        let other = range(&storage).filter(|r| r.0 == slot && r.1 < stop && start < r.2);
                        other.is_some_and(|r| r != (slot, start, stop) || !replaced.contains(&storage))
                    });
                if torn {
                    return Err(Error::Compile {
                        what: "a result in the place of an input".into(),
                        message: "it is not computed from the elements of the same places alone".into(),
                    });
                }
                let clash = self.calls[i + 1..].iter().flat_map(|c| &c.operands).any(|o| {
                    o.storage != result && range(&o.storage).is_some_and(|r| r.0 == slot && r.1 < stop && start < r.2)
                });
                if clash {
                    return Err(Error::Compile {
                        what: "a result in the place of an input".into(),
                        message: "a later kernel reads the input".into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Allocates the scratch memory of each phase; all phases share the same memory.
    fn allocate_scratch(&mut self) {
        for phase in self.phases.clone() {
            let mut offset = 0;
            for operand in self.calls[phase].iter().flat_map(|call| &call.operands) {
                if let Storage::Scratch(_) = operand.storage
                    && !self.locations.contains_key(&operand.storage)
                {
                    self.locations.insert(operand.storage, Location::Scratch(offset));
                    offset += self.lens[&operand.storage].next_multiple_of(LINE);
                }
            }
            self.scratch = self.scratch.max(offset);
        }
    }

    /// Allocates everything that has no location yet in the arena.
    fn allocate(&mut self) {
        // Live ranges in the order of their first phase, and within a phase of the operands: the last phase and the
        // storage.
        let mut ranges: BTreeMap<(usize, usize), (usize, Storage)> = BTreeMap::new();
        let mut index: HashMap<Storage, (usize, usize)> = HashMap::new();
        // All calls of a phase are active at the same time.
        for (i, phase) in self.phases.iter().enumerate() {
            for (j, operand) in self.calls[phase.clone()].iter().flat_map(|call| &call.operands).enumerate() {
                if self.locations.contains_key(&operand.storage) {
                    continue;
                }
                let key = *index.entry(operand.storage).or_insert((i, j));
                ranges.insert(key, (i, operand.storage));
            }
        }
        // The memory in use: start, end, and the last phase of the value there.
        let mut used: Vec<(usize, usize, usize)> = Vec::new();
        let base = self.arena;
        let ends: HashMap<Storage, usize> = ranges.values().map(|&(last, storage)| (storage, last)).collect();
        let Plan { calls, phases, locations, lens, .. } = self;
        let mut uses: Option<(usize, Uses<'_>)> = None;
        for ((first, _), (last, storage)) in ranges {
            let len = lens[&storage].next_multiple_of(LINE);
            self.unshared += len;
            used.retain(|u| u.2 >= first);
            used.sort_unstable();
            // In a chain nothing is overwritten: one call writes before another has read all of an argument.
            if last > first
                && let [call] = &calls[phases[first].clone()]
            {
                if uses.as_ref().is_none_or(|(phase, _)| *phase != first) {
                    uses = Some((first, Uses::new(call)));
                }
                // An argument that nothing reads later.
                let fits = |arg: &Storage| ends.get(arg) == Some(&first) && lens[arg] == lens[&storage];
                let args = uses.iter().flat_map(|(_, uses)| uses.replaced_by(storage)).filter(fits);
                let start = args.filter_map(|arg| locations.get(&arg)).find_map(|location| match *location {
                    Location::Arena(start) => Some(start),
                    _ => None,
                });
                if let Some(start) = start
                    && let Some(memory) = used.iter_mut().find(|u| u.0 == start && u.2 == first)
                {
                    memory.2 = last;
                    locations.insert(storage, Location::Arena(start));
                    continue;
                }
            }
            let mut start = base;
            for &(from, to, _) in &used {
                if start + len <= from {
                    break;
                }
                start = start.max(to);
            }
            used.push((start, start + len, last));
            self.arena = self.arena.max(start + len);
            locations.insert(storage, Location::Arena(start));
        }
    }
}
