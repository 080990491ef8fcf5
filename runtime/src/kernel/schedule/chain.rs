//! Kernels that take turns.
//!
//! What follows a batch of products often needs no more of it than one product: the softmax of one head's
//! scores, and their product with the values. So these kernels are cut into turns, each of which depends on
//! nothing but the same turn of the others. A *chain* runs its first turn through all its kernels, then the second,
//! while all that it touches is in the cache; threads share the turns. A value that only the chain reads is kept
//! for one turn, in memory that each thread has for itself: the scores of attention are never all there.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::extract::{Nest, Role};
use crate::error::Result;
use crate::ir::Level;
use crate::ir::product::scratch;
use crate::kernel::fuse::parts;
use crate::kernel::{Call, Home, Operand, Work};

/// Kernels behind a product that are looked at.
const AHEAD: usize = 16;

/// Elements of a product that are worth a chain: less stays in a cache as it is.
const WORTH: usize = 1 << 14;

/// Elements that a turn of a product has at least, where it is a part of a batch, and at most.
const LEAST: usize = 1 << 11;
const MOST: usize = 1 << 16;

/// The most operands of a kernel in a chain.
pub(crate) const OPERANDS: usize = 32;

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing outside of the program reads it.
    Inside,
    /// A result of the program.
    Result,
    /// A result in the place of what the program reads.
    InPlace,
}

/// The calls of a program in the order in which they run, and which of them are a stage of it: one, or several
/// that take turns.
#[derive(Default)]
pub(crate) struct Chains {
    pub(crate) calls: Vec<Call>,
    pub(crate) stages: Vec<Range<usize>>,
}

/// A chain while it is found.
struct Chain {
    /// Its calls with their numbers.
    members: Vec<(usize, Nest)>,
    /// What its kernels write: by which member and as which operand.
    written: HashMap<Home, (usize, usize)>,
    /// Kernels in between that do not depend on it and run before.
    before: Vec<(usize, Call)>,
}

impl Chains {
    /// Finds the chains among `calls`. `rooms` are the lengths of all scratch memory.
    pub(crate) fn new(calls: Vec<Call>, rooms: &mut Vec<usize>, purpose: &dyn Fn(&Home) -> Purpose) -> Result<Chains> {
        let level = Level::current()?;
        let users = users(&calls);
        let is_free = |call: &Call| call.operands.iter().all(|operand| purpose(&operand.home) != Purpose::InPlace);
        let mut chains = Chains::default();
        // Where each call is now.
        let mut moved = vec![0; calls.len()];
        let mut at = 0;
        while at < calls.len() {
            let free = calls[at..].iter().take(AHEAD).take_while(|call| is_free(call)).count();
            let ways = if free > 1 { ways(&calls[at]) } else { vec![] };
            let found = ways.into_iter().filter_map(|first| Chain::find(&calls[at..at + free], first));
            let Some(mut chain) = found.max_by_key(|chain| chain.members.len()) else {
                moved[at] = chains.calls.len();
                chains.push(vec![calls[at].clone()]);
                at += 1;
                continue;
            };
            for (number, call) in std::mem::take(&mut chain.before) {
                moved[at + number] = chains.calls.len();
                chains.push(vec![call]);
            }
            chain.keep_inside(&users, purpose, rooms);
            let numbers: Vec<usize> = chain.members.iter().map(|(number, _)| at + number).collect();
            numbers.iter().enumerate().for_each(|(i, &number)| moved[number] = chains.calls.len() + i);
            chains.push(chain.members.into_iter().map(|(_, nest)| turn(nest, level, rooms)).collect());
            at = numbers.last().map_or(at, |last| last + 1);
        }
        for (kernel, _) in chains.calls.iter_mut().filter_map(|call| call.refused.as_mut()) {
            *kernel = moved[*kernel];
        }
        Ok(chains)
    }

    fn push(&mut self, stage: Vec<Call>) {
        self.stages.push(self.calls.len()..self.calls.len() + stage.len());
        self.calls.extend(stage);
    }
}

/// The call that a turn is.
fn turn(nest: Nest, level: Level, rooms: &mut Vec<usize>) -> Call {
    let mut call = nest.finish();
    if let Work::MatMul(product) = &mut call.work {
        product.whole = true;
        let room = scratch(product, level);
        call.operands.truncate(3);
        call.turns.strides.truncate(3);
        if room > 0 {
            call.operands.push(Operand { home: Home::Scratch(rooms.len()), offset: 0 });
            call.turns.strides.push(vec![0; call.turns.sizes.len()]);
            rooms.push(room);
        }
    }
    call
}

/// The ways to cut a product into turns, the finest last.
fn ways(call: &Call) -> Vec<Nest> {
    let Some((product, nest)) = call.matmul().zip(Nest::new(call)) else { return vec![] };
    let one = product.m * product.n;
    if one * product.pairs() < WORTH {
        return vec![];
    }
    // As many loops of the batch as leave enough for a turn.
    let mut left = one * product.pairs();
    let mut batch = nest;
    while let Some(size) = batch.around(0)
        && left / size >= LEAST
    {
        left /= size;
        batch.take(0, size, 1);
    }
    if batch.turns.is_empty() {
        return vec![];
    }
    let rows = (left > MOST && one == left).then(|| cut(&batch, Role::Rows, |rows| rows * product.n <= MOST)).flatten();
    [batch].into_iter().chain(rows).collect()
}

/// The largest part of a loop that divides it and that `fits`, as a turn.
fn cut(nest: &Nest, role: Role, fits: impl Fn(usize) -> bool) -> Option<Nest> {
    let axis = nest.find(role)?;
    let size = nest.size(axis);
    let steps = (1..size).rev().find(|&steps| size.is_multiple_of(steps) && fits(steps))?;
    let mut nest = nest.clone();
    nest.take(axis, size / steps, steps);
    Some(nest)
}

/// How many operands are in the same memory.
fn users(calls: &[Call]) -> HashMap<Home, usize> {
    let mut users = HashMap::new();
    for operand in calls.iter().flat_map(|call| &call.operands) {
        *users.entry(operand.home).or_insert(0) += 1;
    }
    users
}

/// What a call is to a chain.
enum Relation {
    Member(Box<Nest>),
    /// It depends on nothing in the chain.
    Apart,
    /// It needs more of the chain than a turn.
    Behind,
}

impl Chain {
    /// The chain that `first`, a way to take turns of the first call, begins, if it is one.
    fn find(calls: &[Call], first: Nest) -> Option<Chain> {
        let mut chain = Chain { members: Vec::new(), written: HashMap::new(), before: Vec::new() };
        chain.push(0, first);
        let mut apart = Vec::new();
        for (number, call) in calls.iter().enumerate().skip(1) {
            let (fills, call) = parts::without_fills(call);
            match chain.relation(&call) {
                Relation::Member(nest) => {
                    apart.extend(fills.into_iter().map(|fill| (number, fill)));
                    chain.push(number, *nest);
                }
                Relation::Apart => apart.push((number, calls[number].clone())),
                Relation::Behind => break,
            }
        }
        chain.drop_unrelated(calls, &mut apart);
        let last = chain.members.last().map_or(0, |(number, _)| *number);
        apart.retain(|(number, _)| *number <= last);
        apart.sort_by_key(|(number, _)| *number);
        chain.before = apart;
        (chain.members.len() > 1).then_some(chain)
    }

    fn push(&mut self, number: usize, nest: Nest) {
        for operand in nest.writes() {
            self.written.entry(nest.call.operands[operand].home).or_insert((self.members.len(), operand));
        }
        self.members.push((number, nest));
    }

    fn relation(&self, call: &Call) -> Relation {
        let touched = |operand: &Operand| self.written.contains_key(&operand.home);
        let Some(nest) = Nest::new(call).filter(|nest| nest.call.operands.len() <= OPERANDS) else {
            return if call.operands.iter().any(touched) { Relation::Behind } else { Relation::Apart };
        };
        let reads = nest.reads();
        let links: Vec<usize> = reads.into_iter().filter(|&i| touched(&call.operands[i])).collect();
        if links.is_empty() {
            return self.beside(nest).map_or(Relation::Apart, |nest| Relation::Member(Box::new(nest)));
        }
        self.joined(nest, &links).map_or(Relation::Behind, |nest| Relation::Member(Box::new(nest)))
    }

    /// A product over the same batch, as a member that may be needed.
    fn beside(&self, mut nest: Nest) -> Option<Nest> {
        nest.call.matmul()?;
        for turn in &self.members[0].1.turns {
            match nest.around(0) {
                Some(size) if size == turn.size => nest.take(0, size, 1),
                _ => {
                    let rows = nest.find(Role::Rows)?;
                    let size = nest.size(rows);
                    (size.is_multiple_of(turn.size)).then(|| nest.take(rows, turn.size, size / turn.size))?;
                }
            }
        }
        self.is_sound(&nest).then_some(nest)
    }

    /// The call in turns in which it reads no more of these operands than the chain has written by then.
    fn joined(&self, mut nest: Nest, links: &[usize]) -> Option<Nest> {
        let (writer, result) = self.writer(&nest, *links.first()?);
        for turn in &writer.turns {
            let (axis, steps) = nest.seek(links[0], turn.size, turn.strides[result])?;
            nest.take(axis, turn.size, steps);
        }
        let linked = links.iter().all(|&operand| {
            let (writer, result) = self.writer(&nest, operand);
            let together = nest.turns.iter().zip(&writer.turns).all(|(a, b)| a.strides[operand] == b.strides[result]);
            let from = writer.call.operands[result].offset;
            together
                && covers(&writer.footprint(result), from, &nest.footprint(operand), nest.call.operands[operand].offset)
        });
        (linked && self.is_sound(&nest)).then_some(nest)
    }

    /// Whether turns of the nest write elements of their own, and nothing that the chain reads.
    fn is_sound(&self, nest: &Nest) -> bool {
        nest.writes().into_iter().all(|operand| {
            let home = nest.call.operands[operand].home;
            let is_read = |nest: &Nest| nest.reads().into_iter().any(|i| nest.call.operands[i].home == home);
            let again = self.members.iter().any(|(_, member)| is_read(member));
            matches!(home, Home::Scratch(_)) || !again && nest.is_apart(operand)
        })
    }

    /// The member that writes what an operand reads, and as which operand.
    fn writer(&self, nest: &Nest, operand: usize) -> (&Nest, usize) {
        let (member, result) = self.written[&nest.call.operands[operand].home];
        (&self.members[member].1, result)
    }

    /// Takes out the members that no other needs and that need no other.
    fn drop_unrelated(&mut self, calls: &[Call], apart: &mut Vec<(usize, Call)>) {
        let homes = |nest: &Nest, operands: Vec<usize>| -> HashSet<Home> {
            operands.into_iter().map(|i| nest.call.operands[i].home).collect()
        };
        let read: HashSet<Home> = self.members.iter().flat_map(|(_, nest)| homes(nest, nest.reads())).collect();
        let mut kept = Vec::new();
        for (number, nest) in std::mem::take(&mut self.members) {
            let needed = homes(&nest, nest.writes()).iter().any(|home| read.contains(home));
            let needs = homes(&nest, nest.reads()).iter().any(|home| self.written.contains_key(home));
            if needed || needs {
                kept.push((number, nest));
            } else {
                apart.push((number, calls[number].clone()));
            }
        }
        self.written.clear();
        kept.into_iter().for_each(|(number, nest)| self.push(number, nest));
    }

    /// Gives values that only the chain reads a room for one turn.
    fn keep_inside(
        &mut self,
        users: &HashMap<Home, usize>,
        purpose: &dyn Fn(&Home) -> Purpose,
        rooms: &mut Vec<usize>,
    ) {
        let mut written: Vec<_> = self.written.iter().map(|(&home, &by)| (by, home)).collect();
        written.retain(|(_, home)| matches!(home, Home::Value(_)));
        written.sort_unstable_by_key(|(by, _)| *by);
        for ((member, result), home) in written {
            let uses: Vec<(usize, usize)> = self
                .members
                .iter()
                .enumerate()
                .flat_map(|(m, (_, nest))| {
                    nest.call.operands.iter().enumerate().filter(|(_, o)| o.home == home).map(move |(i, _)| (m, i))
                })
                .collect();
            let writers = uses.iter().filter(|&&(m, i)| self.members[m].1.writes().contains(&i)).count();
            let writer = &self.members[member].1;
            let is_sum = writer.reads().contains(&result);
            if purpose(&home) != Purpose::Inside || users[&home] != uses.len() || writers != 1 || is_sum {
                continue;
            }
            let (from, footprint) = (writer.call.operands[result].offset, writer.footprint(result));
            let Some(packed) = packed(&footprint) else { continue };
            let mut nests: Vec<Nest> = self.members.iter().map(|(_, nest)| nest.clone()).collect();
            let fits = uses.iter().all(|&(m, i)| {
                let operand = &mut nests[m].call.operands[i];
                *operand = Operand { home: Home::Scratch(rooms.len()), offset: operand.offset - from };
                nests[m].restride(i, |stride| {
                    let (&(_, wide), narrow) =
                        footprint.iter().zip(&packed).find(|((_, wide), _)| stride % wide == 0)?;
                    Some(stride / wide * narrow)
                })
            });
            if fits {
                rooms.push(footprint.iter().map(|(size, _)| size).product());
                self.members.iter_mut().zip(nests).for_each(|((_, member), nest)| *member = nest);
            }
        }
    }
}

/// Whether what a turn reads from `start` on is no more than what it has written from `from` on.
fn covers(written: &[(usize, isize)], from: usize, read: &[(usize, isize)], start: usize) -> bool {
    if written == read && from == start {
        return true;
    }
    let run = match written {
        [] => 1,
        [(size, 1)] => *size as isize,
        _ => return false,
    };
    let first = start as isize - from as isize + read.iter().map(|&(n, s)| (n as isize - 1) * s.min(0)).sum::<isize>();
    let last = start as isize - from as isize + read.iter().map(|&(n, s)| (n as isize - 1) * s.max(0)).sum::<isize>();
    0 <= first && last < run
}

/// The strides of the same loops in memory without gaps. None if a turn's elements do not lie together in runs.
fn packed(footprint: &[(usize, isize)]) -> Option<Vec<isize>> {
    let mut strides = vec![1; footprint.len()];
    for i in (1..footprint.len()).rev() {
        strides[i - 1] = strides[i] * footprint[i].0 as isize;
    }
    footprint.last().is_none_or(|&(_, stride)| stride == 1).then_some(strides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::nest::{LoopKernel, Pass};
    use crate::ir::product::MatMul;
    use crate::ir::reduce::Reduce;
    use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
    use crate::kernel::Turns;

    fn call(work: Work, operands: usize) -> Call {
        let operand = |i: usize| Operand { home: Home::Copy(i), offset: 0 };
        let operands = (0..operands).map(operand).collect();
        Call { work, operands, nodes: vec![], refused: None, turns: Turns::default() }
    }

    /// Four products of 64 x 8 x 64.
    fn products() -> Call {
        let (m, n, k) = (64, 64, 8);
        let strides = [[k as isize, 1], [n as isize, 1], [n as isize, 1]];
        let batch = vec![(4, [512, 512, 4096])];
        call(Work::MatMul(MatMul { m, n, k, strides, batch, ..MatMul::default() }), 3)
    }

    /// Rows of the products added up: for each row of each product, or for each row of all of them.
    fn sums(over_batch: bool) -> Call {
        let mut each = Strip::default();
        let x = each.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
        each.effect(Effect::Accumulate(1, Walk::Fixed, Reduce::Sum, x));
        let to = vec![if over_batch { 0 } else { 64 }, 1];
        let kernel = LoopKernel {
            outer: vec![4, 64],
            row: 64,
            operands: vec![vec![4096, 64], to],
            passes: vec![Pass { once: Strip::default(), each }],
            ..LoopKernel::default()
        };
        let mut call = call(Work::Loop(kernel), 2);
        call.operands[0].home = Home::Copy(2);
        call.operands[1].home = Home::Copy(3);
        call
    }

    #[test]
    fn sums_of_one_turn_each_take_turns() {
        let first = ways(&products()).pop().expect("a batch");
        let chain = Chain::find(&[products(), sums(false)], first).expect("a chain");
        let sizes = chain.members.iter().map(|(_, nest)| nest.turns.iter().map(|axis| axis.size).collect::<Vec<_>>());
        assert_eq!(sizes.collect::<Vec<_>>(), [[4], [4]]);
    }

    #[test]
    fn sums_of_several_turns_do_not() {
        let first = ways(&products()).pop().expect("a batch");
        assert!(Chain::find(&[products(), sums(true)], first).is_none());
    }

    #[test]
    fn what_is_written_elsewhere_does_not() {
        let mut behind = sums(false);
        // From the second row of each product to the first of the next one.
        behind.operands[0].offset = 64;
        let first = ways(&products()).pop().expect("a batch");
        assert!(Chain::find(&[products(), behind], first).is_none());
    }

    #[test]
    fn a_turn_covers_what_lies_in_its_run() {
        assert!(covers(&[(12, 1)], 100, &[(3, 4), (2, 1)], 102));
        assert!(!covers(&[(12, 1)], 100, &[(3, 4), (2, 1)], 103));
        assert!(!covers(&[(12, 1)], 100, &[(12, 1)], 99));
        assert!(covers(&[(12, 1)], 100, &[(12, -1)], 111));
        assert!(!covers(&[(12, 1)], 100, &[(12, -1)], 110));
    }

    #[test]
    fn with_gaps_only_the_same_elements_are_covered() {
        assert!(covers(&[(3, 8), (4, 1)], 5, &[(3, 8), (4, 1)], 5));
        assert!(!covers(&[(3, 8), (4, 1)], 5, &[(3, 8), (4, 1)], 6));
        assert!(!covers(&[(3, 8), (4, 1)], 5, &[(3, 8), (2, 1)], 5));
    }
}
