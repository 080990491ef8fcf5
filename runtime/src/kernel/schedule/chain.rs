//! Chains: kernels that share their outer loops.
//!
//! A kernel after a batch of matrix products often needs only one of the products at a time: the softmax of the scores
//! of one head, and the product of this softmax with the values. A *chain* fuses the outer loops of such kernels. Its
//! first iteration runs through all kernels of the chain, then the second, while the data of an iteration is in the
//! cache; threads share the iterations. An iteration depends on no other one. A value that only the chain reads is
//! stored for one iteration, in scratch memory of each thread: the scores of all heads of an attention are never in
//! memory at the same time.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::extract::{Nest, Role};
use crate::error::Result;
use crate::ir::Level;
use crate::ir::product;
use crate::kernel::fuse::parts;
use crate::kernel::{Call, Operand, Scratch, Storage, Work};

/// The most calls, from a product on, that are looked at for its chain. It bounds the time to find a chain.
const MAX_LOOKAHEAD: usize = 16;

/// The fewest elements of a product that starts a chain, 64 KiB: fewer stay in a second cache without a chain.
const MIN_CHAIN_ELEMENTS: usize = 1 << 14;

/// The fewest elements of the result of a product in one iteration, if the batch is cut: 8 KiB of work for each call.
const MIN_ITERATION_ELEMENTS: usize = 1 << 11;

/// The most elements in one iteration, 256 KiB, where rows of a product may be cut too: they should stay in a second
/// cache.
const MAX_ITERATION_ELEMENTS: usize = 1 << 16;

/// The most operands of a kernel in a chain: a run keeps an array of their pointers on the stack.
pub(crate) const MAX_OPERANDS: usize = 32;

/// Who accesses memory besides the calls at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nobody outside of the program.
    Inside,
    /// A result of the program.
    Result,
    /// A result that overwrites an input.
    InPlace,
}

/// The calls of a program in the order in which they run, and their phases: a phase is one call, or the calls of a
/// chain.
#[derive(Default)]
pub(crate) struct Chains {
    pub(crate) calls: Vec<Call>,
    pub(crate) phases: Vec<Range<usize>>,
}

/// A chain while it is found.
struct Chain {
    /// The calls of the chain and their numbers.
    members: Vec<(usize, Nest)>,
    /// What the chain writes: which member writes it, and as which of its operands.
    written: HashMap<Storage, (usize, usize)>,
    /// Calls between the members that do not depend on the chain and run before it.
    before: Vec<(usize, Call)>,
}

impl Chains {
    /// Finds the chains among `calls`.
    pub(crate) fn new(
        calls: Vec<Call>,
        scratch: &mut Scratch,
        purpose: &dyn Fn(&Storage) -> Purpose,
    ) -> Result<Chains> {
        let level = Level::current()?;
        let users = users(&calls);
        let is_free = |call: &Call| call.operands.iter().all(|operand| purpose(&operand.storage) != Purpose::InPlace);
        let mut chains = Chains::default();
        // The new number of each call.
        let mut moved = vec![0; calls.len()];
        let mut at = 0;
        while at < calls.len() {
            let free = calls[at..].iter().take(MAX_LOOKAHEAD).take_while(|call| is_free(call)).count();
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
            chain.store_for_one_iteration(&users, purpose, scratch);
            let numbers: Vec<usize> = chain.members.iter().map(|(number, _)| at + number).collect();
            numbers.iter().enumerate().for_each(|(i, &number)| moved[number] = chains.calls.len() + i);
            chains.push(chain.members.into_iter().map(|(_, nest)| iteration(nest, level, scratch)).collect());
            at = numbers.last().map_or(at, |last| last + 1);
        }
        for (kernel, _) in chains.calls.iter_mut().filter_map(|call| call.refused.as_mut()) {
            *kernel = moved[*kernel];
        }
        Ok(chains)
    }

    fn push(&mut self, phase: Vec<Call>) {
        self.phases.push(self.calls.len()..self.calls.len() + phase.len());
        self.calls.extend(phase);
    }
}

/// The call of one iteration.
fn iteration(nest: Nest, level: Level, scratch: &mut Scratch) -> Call {
    let mut call = nest.finish();
    if let Work::MatMul(product) = &mut call.work {
        product.whole = true;
        let packed = product::scratch(product, level);
        call.operands.truncate(3);
        call.shared_loops.strides.truncate(3);
        if packed > 0 {
            call.operands.push(scratch.add(packed));
            call.shared_loops.strides.push(vec![0; call.shared_loops.sizes.len()]);
        }
    }
    call
}

/// The ways to hoist outer loops of a product, the finest iterations last.
fn ways(call: &Call) -> Vec<Nest> {
    let Some((product, nest)) = call.matmul().zip(Nest::new(call)) else { return vec![] };
    let one = product.m * product.n;
    if one * product.pairs() < MIN_CHAIN_ELEMENTS {
        return vec![];
    }
    // As many loops of the batch as leave enough elements for an iteration.
    let mut left = one * product.pairs();
    let mut batch = nest;
    while let Some(size) = batch.around(0)
        && left / size >= MIN_ITERATION_ELEMENTS
    {
        left /= size;
        batch.hoist(0, size, 1);
    }
    if batch.hoisted.is_empty() {
        return vec![];
    }
    let rows = (left > MAX_ITERATION_ELEMENTS && one == left)
        .then(|| cut(&batch, Role::Rows, |rows| rows * product.n <= MAX_ITERATION_ELEMENTS))
        .flatten();
    [batch].into_iter().chain(rows).collect()
}

/// The nest with the loop of this role cut into the largest equal parts that `fits`, and the loop over the parts
/// hoisted.
fn cut(nest: &Nest, role: Role, fits: impl Fn(usize) -> bool) -> Option<Nest> {
    let number = nest.find(role)?;
    let size = nest.size(number);
    let steps = (1..size).rev().find(|&steps| size.is_multiple_of(steps) && fits(steps))?;
    let mut nest = nest.clone();
    nest.hoist(number, size / steps, steps);
    Some(nest)
}

/// How many operands of all calls are in each storage.
fn users(calls: &[Call]) -> HashMap<Storage, usize> {
    let mut users = HashMap::new();
    for operand in calls.iter().flat_map(|call| &call.operands) {
        *users.entry(operand.storage).or_insert(0) += 1;
    }
    users
}

/// The relation of a call to a chain.
enum Relation {
    /// The call joins the chain, with these loops hoisted.
    Member(Box<Nest>),
    /// The call depends on nothing in the chain.
    Independent,
    /// The call reads what several iterations of the chain write, so that it runs after the chain.
    After,
}

impl Chain {
    /// The chain that starts with `first`, the first of the calls with hoisted loops, if others can join it.
    fn find(calls: &[Call], first: Nest) -> Option<Chain> {
        let mut chain = Chain { members: Vec::new(), written: HashMap::new(), before: Vec::new() };
        chain.push(0, first);
        let mut independent = Vec::new();
        for (number, call) in calls.iter().enumerate().skip(1) {
            let (fills, call) = parts::without_fills(call);
            match chain.relation(&call) {
                Relation::Member(nest) => {
                    independent.extend(fills.into_iter().map(|fill| (number, fill)));
                    chain.push(number, *nest);
                }
                Relation::Independent => independent.push((number, calls[number].clone())),
                Relation::After => break,
            }
        }
        chain.drop_unrelated(calls, &mut independent);
        let last = chain.members.last().map_or(0, |(number, _)| *number);
        independent.retain(|(number, _)| *number <= last);
        independent.sort_by_key(|(number, _)| *number);
        chain.before = independent;
        (chain.members.len() > 1).then_some(chain)
    }

    /// Adds a member, and notes what it writes.
    fn push(&mut self, number: usize, nest: Nest) {
        for operand in nest.writes() {
            self.written.entry(nest.call.operands[operand].storage).or_insert((self.members.len(), operand));
        }
        self.members.push((number, nest));
    }

    /// The relation of the next call to the chain so far.
    fn relation(&self, call: &Call) -> Relation {
        let touched = |operand: &Operand| self.written.contains_key(&operand.storage);
        let Some(nest) = Nest::new(call).filter(|nest| nest.call.operands.len() <= MAX_OPERANDS) else {
            return if call.operands.iter().any(touched) { Relation::After } else { Relation::Independent };
        };
        let reads = nest.reads();
        let links: Vec<usize> = reads.into_iter().filter(|&i| touched(&call.operands[i])).collect();
        if links.is_empty() {
            return self.beside(nest).map_or(Relation::Independent, |nest| Relation::Member(Box::new(nest)));
        }
        self.joined(nest, &links).map_or(Relation::After, |nest| Relation::Member(Box::new(nest)))
    }

    /// A product over the same batch that reads nothing of the chain, as a member that others may read.
    fn beside(&self, mut nest: Nest) -> Option<Nest> {
        nest.call.matmul()?;
        for shared in &self.members[0].1.hoisted {
            match nest.around(0) {
                Some(size) if size == shared.size => nest.hoist(0, size, 1),
                _ => {
                    let rows = nest.find(Role::Rows)?;
                    let size = nest.size(rows);
                    (size.is_multiple_of(shared.size)).then(|| nest.hoist(rows, shared.size, size / shared.size))?;
                }
            }
        }
        self.is_sound(&nest).then_some(nest)
    }

    /// The nest with hoisted loops in whose iterations the operands `links` read no more than the same iteration of the
    /// chain has written.
    fn joined(&self, mut nest: Nest, links: &[usize]) -> Option<Nest> {
        let (writer, result) = self.writer(&nest, *links.first()?);
        for shared in &writer.hoisted {
            let (number, steps) = nest.seek(links[0], shared.size, shared.strides[result])?;
            nest.hoist(number, shared.size, steps);
        }
        let linked = links.iter().all(|&operand| {
            let (writer, result) = self.writer(&nest, operand);
            let together =
                nest.hoisted.iter().zip(&writer.hoisted).all(|(a, b)| a.strides[operand] == b.strides[result]);
            let from = writer.call.operands[result].offset;
            together
                && covers(&writer.footprint(result), from, &nest.footprint(operand), nest.call.operands[operand].offset)
        });
        (linked && self.is_sound(&nest)).then_some(nest)
    }

    /// Whether each iteration of the nest writes elements of its own, none of which an earlier member reads.
    fn is_sound(&self, nest: &Nest) -> bool {
        nest.writes().into_iter().all(|operand| {
            let storage = nest.call.operands[operand].storage;
            let is_read = |nest: &Nest| nest.reads().into_iter().any(|i| nest.call.operands[i].storage == storage);
            let is_read_before = self.members.iter().any(|(_, member)| is_read(member));
            matches!(storage, Storage::Scratch(_)) || !is_read_before && nest.is_disjoint(operand)
        })
    }

    /// The member that writes what an operand reads, and as which of its operands.
    fn writer(&self, nest: &Nest, operand: usize) -> (&Nest, usize) {
        let (member, result) = self.written[&nest.call.operands[operand].storage];
        (&self.members[member].1, result)
    }

    /// Removes the members that read nothing of the chain and that no other member reads.
    fn drop_unrelated(&mut self, calls: &[Call], independent: &mut Vec<(usize, Call)>) {
        let storages = |nest: &Nest, operands: Vec<usize>| -> HashSet<Storage> {
            operands.into_iter().map(|i| nest.call.operands[i].storage).collect()
        };
        let read: HashSet<Storage> = self.members.iter().flat_map(|(_, nest)| storages(nest, nest.reads())).collect();
        let mut related = Vec::new();
        for (number, nest) in std::mem::take(&mut self.members) {
            let needed = storages(&nest, nest.writes()).iter().any(|storage| read.contains(storage));
            let needs = storages(&nest, nest.reads()).iter().any(|storage| self.written.contains_key(storage));
            if needed || needs {
                related.push((number, nest));
            } else {
                independent.push((number, calls[number].clone()));
            }
        }
        self.written.clear();
        related.into_iter().for_each(|(number, nest)| self.push(number, nest));
    }

    /// Stores values that only the chain reads for one iteration, in scratch memory of each thread.
    fn store_for_one_iteration(
        &mut self,
        users: &HashMap<Storage, usize>,
        purpose: &dyn Fn(&Storage) -> Purpose,
        scratch: &mut Scratch,
    ) {
        let mut written: Vec<_> = self.written.iter().map(|(&storage, &by)| (by, storage)).collect();
        written.retain(|(_, storage)| matches!(storage, Storage::Value(_)));
        written.sort_unstable_by_key(|(by, _)| *by);
        for ((member, result), storage) in written {
            let uses: Vec<(usize, usize)> = self
                .members
                .iter()
                .enumerate()
                .flat_map(|(m, (_, nest))| {
                    nest.call
                        .operands
                        .iter()
                        .enumerate()
                        .filter(|(_, o)| o.storage == storage)
                        .map(move |(i, _)| (m, i))
                })
                .collect();
            let writers = uses.iter().filter(|&&(m, i)| self.members[m].1.writes().contains(&i)).count();
            let writer = &self.members[member].1;
            let is_sum = writer.reads().contains(&result);
            if purpose(&storage) != Purpose::Inside || users[&storage] != uses.len() || writers != 1 || is_sum {
                continue;
            }
            let (from, footprint) = (writer.call.operands[result].offset, writer.footprint(result));
            let Some(packed) = packed(&footprint) else { continue };
            let mut nests: Vec<Nest> = self.members.iter().map(|(_, nest)| nest.clone()).collect();
            let fits = uses.iter().all(|&(m, i)| {
                let operand = &mut nests[m].call.operands[i];
                *operand =
                    Operand { storage: Storage::Scratch(scratch.of_thread.len()), offset: operand.offset - from };
                nests[m].restride(i, |stride| {
                    let (&(_, wide), narrow) =
                        footprint.iter().zip(&packed).find(|((_, wide), _)| stride % wide == 0)?;
                    Some(stride / wide * narrow)
                })
            });
            if fits {
                scratch.add(footprint.iter().map(|(size, _)| size).product());
                self.members.iter_mut().zip(nests).for_each(|((_, member), nest)| *member = nest);
            }
        }
    }
}

/// Whether the elements that an iteration reads from `start` on are among those that it has written from `from` on.
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

/// The strides of the same loops in memory without gaps; `None` if the innermost elements are not contiguous.
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
    use crate::kernel::SharedLoops;

    fn call(work: Work, operands: usize) -> Call {
        let operand = |i: usize| Operand { storage: Storage::Copy(i), offset: 0 };
        let operands = (0..operands).map(operand).collect();
        Call { work, operands, nodes: vec![], refused: None, shared_loops: SharedLoops::default() }
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
        call.operands[0].storage = Storage::Copy(2);
        call.operands[1].storage = Storage::Copy(3);
        call
    }

    #[test]
    fn sums_of_one_iteration_join_the_chain() {
        let first = ways(&products()).pop().expect("a batch");
        let chain = Chain::find(&[products(), sums(false)], first).expect("a chain");
        let sizes =
            chain.members.iter().map(|(_, nest)| nest.hoisted.iter().map(|shared| shared.size).collect::<Vec<_>>());
        assert_eq!(sizes.collect::<Vec<_>>(), [[4], [4]]);
    }

    #[test]
    fn sums_of_several_iterations_do_not() {
        let first = ways(&products()).pop().expect("a batch");
        assert!(Chain::find(&[products(), sums(true)], first).is_none());
    }

    #[test]
    fn what_is_written_elsewhere_does_not() {
        let mut shifted = sums(false);
        // From the second row of each product to the first of the next one.
        shifted.operands[0].offset = 64;
        let first = ways(&products()).pop().expect("a batch");
        assert!(Chain::find(&[products(), shifted], first).is_none());
    }

    #[test]
    fn an_iteration_covers_what_lies_in_its_run() {
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
