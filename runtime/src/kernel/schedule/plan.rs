//! The calls of a program in order, and where each value lives.
//!
//! Offsets in the arena come from live intervals: a value needs its place from the first kernel
//! that touches it to the last, and takes the place of an argument that nothing reads later, or the first gap that
//! is free meanwhile.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::chain::{Chains, Purpose};
use super::replace::Uses;
use crate::error::Error;
use crate::graph::strides::{dense, steps};
use crate::graph::{Graph, Op, Var};
use crate::ir::product::{MatMul, scratch};
use crate::ir::{LINE, Level};
use crate::kernel::fuse::group::{Fusion, Item};
use crate::kernel::fuse::parts;
use crate::kernel::nest::blocks::Blocks;
use crate::kernel::nest::{blocks, contract, lower};
use crate::kernel::{Call, Home, Operand, Outside, Place, RoutineCall, Slot, Turns, Work};

/// Where a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// At an offset of the program's arena, in elements.
    Arena(usize),
    /// In memory of the caller.
    Outside(Place),
    /// At an offset of the memory that each thread has for the kernel at hand, in elements.
    Scratch(usize),
    /// At address zero, which is never read.
    Nowhere,
}

/// A program before it is machine code.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) calls: Vec<Call>,
    /// Calls that run one after the other, or take turns.
    pub(crate) stages: Vec<Range<usize>>,
    pub(crate) spots: HashMap<Home, Spot>,
    /// The elements of each value that a call reads or writes.
    pub(crate) lens: HashMap<Home, usize>,
    /// The elements of the arena.
    pub(crate) arena: usize,
    /// The elements of scratch memory that a thread needs.
    pub(crate) scratch: usize,
    /// What is in the arena before the first run: offset and bits.
    pub(crate) data: Vec<(usize, Vec<u32>)>,
    /// The elements of all values without sharing places, for people.
    pub(crate) unshared: usize,
}

/// Plans the part of a graph that the outputs need.
pub(crate) fn plan(graph: &Graph, outside: &Outside) -> Result<Plan, Error> {
    let Outside { sources, outputs } = outside;
    let roots: Vec<Var> = outputs.iter().map(|(v, _)| *v).collect();
    let fusion = Fusion::new(graph, &roots);
    let mut spots = HashMap::new();
    let mut calls = Vec::new();
    let (mut rooms, mut sums) = (Vec::new(), Vec::new());
    // The last call of each item that has any: what others compute again is in none.
    let mut last: Vec<Option<usize>> = Vec::new();
    for (index, item) in fusion.items.iter().enumerate() {
        let before = calls.len();
        match item {
            Item::Group(group) => {
                let refused = group.refused.and_then(|(item, why)| Some((last[item]?, why)));
                let call = Call { refused, ..lower::lower(&fusion, index, group, (&mut rooms, &mut sums)) };
                if call.loop_kernel().is_none_or(|kernel| !kernel.passes.is_empty()) {
                    calls.extend(parts::cut(graph, call, group.parts, &mut sums));
                }
            }
            Item::Alone(v) => alone(&fusion, *v, &mut calls, (&mut rooms, &mut sums))?,
        }
        last.push((calls.len() > before).then(|| calls.len() - 1));
    }
    for (i, &(v, place)) in outputs.iter().enumerate() {
        // A result that is computed, or shows one in the same order, is written to its place.
        let a = fusion.access(v);
        let home = Home::Value(a.base);
        let whole = a.offset == 0 && a.strides == dense(&graph[v].shape) && graph[a.base].len() == graph[v].len();
        if whole && fusion.item_of[a.base.index()].is_some() && !spots.contains_key(&home) {
            spots.insert(home, Spot::Outside(place));
        } else {
            calls.push(lower::copy(&fusion, v, Home::Copy(i), (0, &dense(&graph[v].shape)), None));
            spots.insert(Home::Copy(i), Spot::Outside(place));
        }
    }
    spots.insert(Home::Nowhere, Spot::Nowhere);
    let live = graph.live(roots);
    let read: HashSet<Slot> = sources.values().map(|place| place.slot).collect();
    let purpose = |home: &Home| match spots.get(home) {
        Some(Spot::Outside(place)) if read.contains(&place.slot) => Purpose::InPlace,
        Some(_) => Purpose::Result,
        None => Purpose::Inside,
    };
    let Chains { calls, stages } = Chains::new(calls, &mut rooms, &purpose)?;
    let lens = HashMap::new();
    let mut plan = Plan { calls, stages, spots, lens, arena: 0, scratch: 0, data: Vec::new(), unshared: 0 };
    for (v, node) in graph.vars().filter(|(v, node)| live[v.index()] && node.op.is_source()) {
        let home = Home::Value(v);
        match &node.op {
            Op::Data(bits) => plan.keep(home, bits.len(), bits.iter().copied())?,
            Op::Iota => plan.keep(home, node.len(), 0..)?,
            _ => {
                plan.spots.insert(home, Spot::Outside(sources[&v]));
            }
        }
    }
    // A loop nest has constants in its code; a product reads them from memory.
    let operands: Vec<Home> = plan.calls.iter().flat_map(|call| &call.operands).map(|operand| operand.home).collect();
    for home in operands {
        if let Home::Value(v) = home
            && let Op::Const(bits) = graph[v].op
            && !plan.spots.contains_key(&home)
        {
            plan.keep(home, graph[v].len(), std::iter::repeat(bits))?;
        }
    }
    let mut lens: HashMap<Home, usize> = HashMap::new();
    for call in &plan.calls {
        for operand in &call.operands {
            let len = match operand.home {
                Home::Value(v) => graph[v].len(),
                Home::Copy(i) => graph[outputs[i].0].len(),
                Home::Scratch(i) => rooms[i],
                Home::Parts(i) => sums[i],
                Home::Nowhere => 0,
            };
            lens.insert(operand.home, len);
        }
    }
    plan.check_overwrites(&lens, sources)?;
    plan.assign_scratch(&rooms);
    plan.assign(&lens);
    plan.lens = lens;
    if cfg!(debug_assertions) {
        plan.verify().map_err(|message| Error::Compile { what: "a plan".into(), message })?;
    }
    Ok(plan)
}

/// The call of an operation that is a kernel by itself. Rooms for a thread and for all are numbered from where
/// these are.
fn alone(
    fusion: &Fusion<'_>,
    v: Var,
    calls: &mut Vec<Call>,
    (rooms, shared): (&mut Vec<usize>, &mut Vec<usize>),
) -> Result<(), Error> {
    let graph = fusion.graph;
    let node = &graph[v];
    let operand = |&v: &Var| fusion.operand(&fusion.access(v));
    let nodes: Vec<Var> = [v].into_iter().chain(fusion.layout.within(v).map(|(whole, _)| whole)).collect();
    let push = |calls: &mut Vec<Call>, work: Work, operands: Vec<Operand>| {
        calls.push(Call { work, operands, nodes: nodes.clone(), refused: None, turns: Turns::default() });
    };
    match &node.op {
        Op::MatMul(..) | Op::Contract(_) => {
            let level = Level::current()?;
            let form = match &node.op {
                Op::Contract(letters) => contract::Form::new(fusion, v, letters, level),
                Op::MatMul(ta, tb) => {
                    contract::Form { product: product(fusion, v, *ta, *tb), swapped: false, copy: None }
                }
                _ => unreachable!("one of the two"),
            };
            let mut args = [operand(&node.args[0]), operand(&node.args[1])];
            if let Some((arg, strides)) = form.copy {
                args[arg] = Operand { home: Home::Parts(shared.len()), offset: 0 };
                shared.push(graph[node.args[arg]].len());
                let copy = lower::copy(fusion, node.args[arg], args[arg].home, (0, &strides), None);
                calls.push(Call { nodes: vec![], ..copy });
            }
            if form.swapped {
                args.reverse();
            }
            let whole = operand(&v);
            let mut multiply = |product: MatMul, args: [Operand; 2], to: Operand| {
                let mut operands = vec![args[0], args[1], to];
                let room = scratch(&product, level);
                if room > 0 {
                    operands.push(Operand { home: Home::Scratch(rooms.len()), offset: 0 });
                    rooms.push(room);
                }
                push(calls, Work::MatMul(product), operands);
            };
            let Some(Blocks { products, count }) = blocks::blocks(&form.product) else {
                multiply(form.product, args, whole);
                return Ok(());
            };
            let results = Operand { home: Home::Parts(shared.len()), offset: 0 };
            shared.push(count * blocks::len(&form.product));
            for (product, [a, b, c]) in products {
                let at =
                    |operand: Operand, by: isize| Operand { offset: operand.offset.wrapping_add_signed(by), ..operand };
                multiply(product, [at(args[0], a), at(args[1], b)], at(results, c));
            }
            for call in blocks::add_up(&form.product, count, results, whole, shared) {
                calls.extend(parts::cut(graph, Call { nodes: nodes.clone(), ..call }, None, shared));
            }
        }
        Op::Gather => {
            let count = graph[node.args[1]].len();
            let table = &graph[node.args[0]].shape;
            let (rows, width) = (table[0], table[1..].iter().product());
            push(calls, Work::Gather { count, width, rows }, node.args.iter().chain([&v]).map(operand).collect());
        }
        Op::ScatterAdd => {
            let count = graph[node.args[0]].len();
            let (rows, width) = (node.shape[0], node.shape[1..].iter().product());
            let added = node.args.get(2).is_some();
            if let Some(&base) = node.args.get(2)
                && !fusion.layout.is_part(fusion.access(base).base, v)
            {
                calls.push(lower::copy(fusion, base, Home::Value(v), (0, &steps(&node.shape)), None));
            }
            if u32::try_from(count).is_err() {
                return Err(Error::Compile {
                    what: format!("a sum of {count} rows by number"),
                    message: format!("expected at most {}", u32::MAX),
                });
            }
            let [places, ends] = [count, rows].map(|len| {
                shared.push(len);
                Operand { home: Home::Parts(shared.len() - 1), offset: 0 }
            });
            push(calls, Work::Sort { count, rows }, vec![operand(&node.args[0]), places, ends]);
            let operands = vec![places, ends, operand(&node.args[1]), operand(&v)];
            push(calls, Work::ScatterAdd { count, width, rows, added }, operands);
        }
        Op::Checked(rows) => {
            let count = node.len();
            push(calls, Work::Check { count, rows: *rows }, vec![operand(&node.args[0])]);
        }
        Op::Routine(op) => {
            let call = RoutineCall {
                op: *op,
                units: op.0.units(&node.shape),
                args: node.args.iter().map(|&arg| graph[arg].len()).collect(),
                len: node.len(),
                flops: op.0.flops(&node.shape),
            };
            push(calls, Work::Routine(call), node.args.iter().chain([&v]).map(operand).collect());
        }
        Op::Pad(before) => {
            let strides = steps(&node.shape);
            let offset = before.iter().zip(&strides).map(|(&b, &s)| b * s as usize).sum();
            calls.push(lower::copy(fusion, node.args[0], Home::Value(v), (offset, &strides), Some(node.len())));
        }
        Op::Concat(axis) => {
            let strides = steps(&node.shape);
            let mut start = 0;
            for &arg in &node.args {
                let offset = start * strides[*axis] as usize;
                if !fusion.layout.is_part(fusion.access(arg).base, v) {
                    calls.push(lower::copy(fusion, arg, Home::Value(v), (offset, &strides), None));
                }
                start += graph[arg].shape[*axis];
            }
        }
        op => unreachable!("{op:?} is computed in a loop nest"),
    }
    Ok(())
}

fn product(fusion: &Fusion<'_>, v: Var, ta: bool, tb: bool) -> MatMul {
    let node = &fusion.graph[v];
    let rank = node.shape.len();
    let strides = |arg: Var| {
        let (shape, natural) = (&fusion.graph[arg].shape, steps(&fusion.graph[arg].shape));
        let mut strides = fusion.access(arg).strides;
        // An axis of size one may have any stride; the product prefers the natural one.
        for (i, &size) in shape.iter().enumerate().skip(rank - 2) {
            if size == 1 {
                strides[i] = natural[i];
            }
        }
        strides
    };
    let (a, b, c) = (strides(node.args[0]), strides(node.args[1]), strides(v));
    let matrix = |s: &[isize], transposed: bool| {
        let [row, column] = [s[rank - 2], s[rank - 1]];
        if transposed { [column, row] } else { [row, column] }
    };
    let shape_a = &fusion.graph[node.args[0]].shape;
    MatMul {
        m: node.shape[rank - 2],
        n: node.shape[rank - 1],
        k: shape_a[if ta { rank - 2 } else { rank - 1 }],
        strides: [matrix(&a, ta), matrix(&b, tb), matrix(&c, false)],
        sums: vec![],
        batch: (0..rank - 2).filter(|&i| node.shape[i] != 1).map(|i| (node.shape[i], [a[i], b[i], c[i]])).collect(),
        ..MatMul::default()
    }
}

impl Plan {
    /// How many calls come before those of the gradient alone. `None` where there is no gradient.
    pub(crate) fn forward(&self, graph: &Graph) -> Option<usize> {
        let forward = graph.live([graph.loss?]);
        let last = self.calls.iter().rposition(|call| call.nodes.iter().any(|v| forward[v.index()]))?;
        Some(last + 1)
    }

    /// The bytes that are kept for the gradient: of values in the arena that are there when the last kernel
    /// of the loss is done, and that a later kernel reads. `None` where there is no gradient.
    pub(crate) fn kept(&self, graph: &Graph) -> Option<usize> {
        let (before, behind) = self.calls.split_at(self.forward(graph)?);
        let written: HashSet<Var> = before.iter().flat_map(|call| call.nodes.iter().copied()).collect();
        let read = behind.iter().flat_map(|call| &call.operands).filter_map(|operand| match operand.home {
            Home::Value(v) => written.contains(&v).then_some(v),
            _ => None,
        });
        let in_arena = |v: &Var| matches!(self.spots.get(&Home::Value(*v)), Some(Spot::Arena(_)));
        let kept: HashSet<Var> = read.filter(in_arena).collect();
        Some(kept.into_iter().map(|v| 4 * graph[v].len()).sum())
    }

    /// Gives `len` elements that are known beforehand a place of their own.
    fn keep(&mut self, home: Home, len: usize, bits: impl Iterator<Item = u32>) -> Result<(), Error> {
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Error::Memory { what: "constants".into(), elements: len })?;
        data.extend(bits.take(len));
        self.spots.insert(home, Spot::Arena(self.arena));
        self.data.push((self.arena, data));
        self.arena += len.next_multiple_of(LINE);
        Ok(())
    }

    /// Results may take the place of inputs only if no later kernel reads the input, and their own reads each element
    /// no later than it writes that place.
    fn check_overwrites(&self, lens: &HashMap<Home, usize>, sources: &HashMap<Var, Place>) -> Result<(), Error> {
        let range = |home: &Home| match self.spots.get(home) {
            Some(Spot::Outside(place)) => Some((place.slot, place.offset, place.offset + lens[home])),
            _ => None,
        };
        // A copy of an input reads what it is a kernel of.
        let writes = |call: &Call, home: &Home| match home {
            Home::Value(v) => call.nodes.contains(v) && !sources.contains_key(v),
            _ => true,
        };
        for (i, call) in self.calls.iter().enumerate() {
            let uses = OnceCell::new();
            for result in call.operands.iter().map(|o| o.home).filter(|home| writes(call, home)) {
                let Some((slot, start, stop)) = range(&result) else { continue };
                let replaced = uses.get_or_init(|| Uses::new(call)).replaced_by(result);
                let torn = call.operands.iter().map(|o| o.home).filter(|home| *home != result).any(|home| {
                    let other = range(&home).filter(|r| r.0 == slot && r.1 < stop && start < r.2);
                    other.is_some_and(|r| r != (slot, start, stop) || !replaced.contains(&home))
                });
                if torn {
                    return Err(Error::Compile {
                        what: "a result in the place of an input".into(),
                        message: "it is not computed from the elements of the same places alone".into(),
                    });
                }
                let clash = self.calls[i + 1..].iter().flat_map(|c| &c.operands).any(|o| {
                    o.home != result && range(&o.home).is_some_and(|r| r.0 == slot && r.1 < stop && start < r.2)
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

    /// The rooms of a stage are one behind the other; the next stage has the same memory.
    fn assign_scratch(&mut self, rooms: &[usize]) {
        for stage in self.stages.clone() {
            let mut offset = 0;
            for operand in self.calls[stage].iter().flat_map(|call| &call.operands) {
                if let Home::Scratch(room) = operand.home
                    && !self.spots.contains_key(&operand.home)
                {
                    self.spots.insert(operand.home, Spot::Scratch(offset));
                    offset += rooms[room].next_multiple_of(LINE);
                }
            }
            self.scratch = self.scratch.max(offset);
        }
    }

    /// Finds a place in the arena for everything that has none.
    fn assign(&mut self, lens: &HashMap<Home, usize>) {
        let mut intervals: BTreeMap<(usize, usize), (usize, Home)> = BTreeMap::new();
        let mut index: HashMap<Home, (usize, usize)> = HashMap::new();
        // Calls of a stage take turns, so that each needs all that another does.
        for (i, stage) in self.stages.iter().enumerate() {
            for (j, operand) in self.calls[stage.clone()].iter().flat_map(|call| &call.operands).enumerate() {
                if self.spots.contains_key(&operand.home) {
                    continue;
                }
                let key = *index.entry(operand.home).or_insert((i, j));
                intervals.insert(key, (i, operand.home));
            }
        }
        // Places taken: start, stop, and the last kernel that needs them.
        let mut taken: Vec<(usize, usize, usize)> = Vec::new();
        let base = self.arena;
        let ends: HashMap<Home, usize> = intervals.values().map(|&(last, home)| (home, last)).collect();
        let Plan { calls, stages, spots, .. } = self;
        // What the calls of the stage at hand do.
        let mut at_hand: Option<(usize, Uses<'_>)> = None;
        for ((first, _), (last, home)) in intervals {
            let len = lens[&home].next_multiple_of(LINE);
            self.unshared += len;
            taken.retain(|t| t.2 >= first);
            taken.sort_unstable();
            // Calls that take turns do not read all of an argument before one writes.
            if last > first
                && let [call] = &calls[stages[first].clone()]
            {
                if at_hand.as_ref().is_none_or(|(stage, _)| *stage != first) {
                    at_hand = Some((first, Uses::new(call)));
                }
                // Where an argument lies that nothing reads later.
                let fits = |other: &Home| ends.get(other) == Some(&first) && lens[other] == lens[&home];
                let arguments = at_hand.iter().flat_map(|(_, uses)| uses.replaced_by(home)).filter(fits);
                let start = arguments.filter_map(|home| spots.get(&home)).find_map(|spot| match *spot {
                    Spot::Arena(start) => Some(start),
                    _ => None,
                });
                if let Some(start) = start
                    && let Some(place) = taken.iter_mut().find(|t| t.0 == start && t.2 == first)
                {
                    place.2 = last;
                    spots.insert(home, Spot::Arena(start));
                    continue;
                }
            }
            let mut start = base;
            for &(from, to, _) in &taken {
                if start + len <= from {
                    break;
                }
                start = start.max(to);
            }
            taken.push((start, start + len, last));
            self.arena = self.arena.max(start + len);
            spots.insert(home, Spot::Arena(start));
        }
    }
}
