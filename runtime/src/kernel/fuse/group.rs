//! Which nodes are computed in one kernel.
//!
//! Nodes are taken in order. An elementwise operation or reduction joins the kernel of its latest
//! argument when both run over the same elements, or a later kernel that already touches one of
//! its arguments, or any when all its arguments are given; otherwise it opens a kernel of its own. Comparisons and masks
//! as numbers are never stored, unless it takes many others to make them: every kernel that needs them computes them
//! again. Other values are, if `again` finds that cheap.

use std::collections::HashSet;

use super::access::{Access, access, shown};
use super::place::Layout;
use super::refusal::Refusal;
use super::{loops, parts};
use crate::graph::op::Class;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Graph, Op, Var};
use crate::ir::reduce::Reduce;
use crate::kernel::{Home, Operand};
use crate::shape::DType;

/// How a node is computed within a loop nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// For every element.
    Full,
    /// Once a row.
    Row,
    /// The reduction of a row.
    Fold,
    /// A reduction that is complete only after all rows: added up in memory, where it moves by
    /// these strides over the space. The flag says that the argument is one number a row.
    Sink(Vec<isize>, bool),
}

/// The most comparisons and masks that make one which is never stored.
const ANEW: usize = 32;

/// Nodes that are computed in one loop nest.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The sizes of the loops; no size is one, unless it is the only one.
    pub(crate) space: Vec<usize>,
    /// How many loops are around the row; open until a reduction of rows joins.
    pub(crate) split: Option<usize>,
    /// How many parts its sums over rows are added up in, if any is.
    pub(crate) parts: Option<usize>,
    pub(crate) members: Vec<(Var, Placement)>,
    /// The kernel of an argument that its first member could not join, and why.
    pub(crate) refused: Option<(usize, Refusal)>,
    /// Nodes of another scope are computed at another time.
    scope: u32,
    /// Values in memory that are read, with their strides where they are read for every element.
    pub(crate) bases: HashSet<Var>,
    pub(crate) strides: Vec<Vec<isize>>,
}

/// A kernel before it is lowered.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A loop nest.
    Group(Group),
    /// An operation that is a kernel by itself.
    Alone(Var),
}

/// The kernels of a graph, and what must be in memory for them.
pub(crate) struct Fusion<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) items: Vec<Item>,
    /// The kernel that computes a node.
    pub(crate) item_of: Vec<Option<usize>>,
    /// Nodes that another kernel reads.
    pub(crate) stored: HashSet<Var>,
    pub(crate) layout: Layout,
    pub(crate) inline: Vec<bool>,
    /// Values that kernels other than their own compute again.
    pub(crate) again: Vec<bool>,
}

/// Whether the bits of a reduction depend on the order in which elements are combined.
pub(crate) fn is_ordered(op: &Op) -> bool {
    matches!(op, Op::Reduce(Reduce::Sum | Reduce::Prod, _))
}

/// What a group is asked to read.
struct Reading<'g> {
    group: &'g Group,
    index: usize,
    /// Whether the reader is computed for every element, or once a row.
    full: bool,
    bases: Vec<Var>,
    strides: Vec<Vec<isize>>,
    parts: Option<usize>,
}

impl<'a> Fusion<'a> {
    /// Groups the nodes that `outputs` depend on.
    pub(crate) fn new(graph: &'a Graph, outputs: &[Var]) -> Fusion<'a> {
        let live = graph.live(outputs.iter().copied());
        let count = graph.nodes().len();
        let mut fusion = Fusion {
            graph,
            items: Vec::new(),
            item_of: vec![None; count],
            stored: HashSet::new(),
            layout: Layout::new(graph, &live, outputs),
            inline: vec![false; count],
            again: vec![false; count],
        };
        fusion.mark_inline(&live, outputs);
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            if let Op::Checked(_) = node.op {
                // What it shows may be read before, so long as nothing that is computed from it counts.
                fusion.items.push(Item::Alone(v));
                fusion.store(node.args[0]);
            }
            if fusion.inline[v.index()] || node.op.is_given() {
                continue;
            }
            if fusion.layout.is_copied(v) || node.op.is_in_loops() {
                fusion.place(v);
            } else if !node.op.is(Class::View) {
                fusion.item_of[v.index()] = Some(fusion.items.len());
                fusion.items.push(Item::Alone(v));
                for &arg in &node.args {
                    fusion.store(arg);
                }
            }
        }
        for &v in outputs {
            fusion.store(v);
        }
        fusion.compute_again(&live, outputs);
        fusion
    }

    /// The elements that reading `v` reads.
    pub(crate) fn access(&self, v: Var) -> Access {
        let found = access(self.graph, v, &self.layout);
        found.expect("a view that has no strides was marked as a copy")
    }

    /// Where in memory an access starts.
    pub(crate) fn operand(&self, a: &Access) -> Operand {
        let (value, offset) = self.layout.within(a.base).unwrap_or((a.base, 0));
        Operand { home: Home::Value(value), offset: offset + a.offset as usize }
    }

    /// Whether kernel `index` computes `v` where it reads it.
    pub(crate) fn is_inline(&self, v: Var, index: usize) -> bool {
        self.inline[v.index()] || self.again[v.index()] && self.item_of[v.index()] != Some(index)
    }

    /// Whether `v` is a view that is a value of its own.
    pub(crate) fn is_copy(&self, v: Var) -> bool {
        self.layout.is_copied(v)
    }

    /// What an elementwise node reads: its arguments and the shape they are read under.
    pub(crate) fn reads(&self, v: Var) -> (Vec<Access>, Vec<usize>) {
        let node = &self.graph[v];
        if !self.layout.is_copied(v) {
            return (node.args.iter().map(|&a| self.access(a)).collect(), node.shape.clone());
        }
        // The copy of a view reads what the view shows, or the argument of a reshape in its order.
        match shown(self.graph, v, &self.layout) {
            Some(a) => (vec![a], node.shape.clone()),
            None => (vec![self.access(node.args[0])], self.graph[node.args[0]].shape.clone()),
        }
    }

    fn mark_inline(&mut self, live: &[bool], outputs: &[Var]) {
        // How many operations compute a value anew, each as often as it is read.
        let mut anew = vec![0usize; self.graph.nodes().len()];
        for (v, node) in self.graph.vars().filter(|(v, _)| live[v.index()]) {
            let mask = |&arg: &Var| self.graph[arg].dtype == DType::Bool;
            let is_mask = match node.op {
                Op::Compare(_) | Op::Random(_) => true,
                Op::Cast => node.args.iter().all(mask),
                _ => false,
            };
            let args = node.args.iter().filter(|arg| self.inline[arg.index()]);
            anew[v.index()] = args.fold(1, |sum, arg| sum + anew[arg.index()]);
            self.inline[v.index()] = is_mask && anew[v.index()] <= ANEW;
            if !node.op.is_in_loops() || self.layout.is_copied(v) {
                node.args.iter().for_each(|arg| self.inline[arg.index()] = false);
            }
        }
        outputs.iter().for_each(|v| self.inline[v.index()] = false);
    }

    /// Notes that `v` must be in memory.
    fn store(&mut self, v: Var) {
        if !matches!(self.graph[v].op, Op::Const(_)) {
            let base = self.access(v).base;
            self.stored.insert(base);
        }
    }

    /// The values behind the arguments of a node, through what is computed inline.
    fn bases(&self, v: Var, out: &mut Vec<Var>) {
        if self.layout.is_copied(v) {
            out.extend(self.reads(v).0.into_iter().map(|a| a.base));
            return;
        }
        for &arg in &self.graph[v].args {
            if self.inline[arg.index()] {
                self.bases(arg, out);
            } else if !matches!(self.graph[self.access(arg).base].op, Op::Const(_)) {
                out.push(self.access(arg).base);
            }
        }
    }

    fn place(&mut self, v: Var) {
        let mut bases = Vec::new();
        self.bases(v, &mut bases);
        let first = bases.iter().filter_map(|b| self.item_of[b.index()]).max().unwrap_or(0);
        let given = bases.iter().all(|b| self.item_of[b.index()].is_none());
        let mut refused = (!given).then_some((first, Refusal::Alone));
        for index in first..self.items.len() {
            let Item::Group(group) = &self.items[index] else { continue };
            let related = bases.iter().any(|b| group.bases.contains(b) || self.item_of[b.index()] == Some(index));
            if !related && !given {
                continue;
            }
            match if group.scope == self.graph[v].scope { self.join(v, index) } else { Err(Refusal::Scope) } {
                Ok(()) => return,
                Err(why) if !given && index == first => refused = Some((first, why)),
                Err(_) => {}
            }
        }
        let shape = match self.graph[v].op {
            Op::Reduce(..) => self.graph[self.graph[v].args[0]].shape.clone(),
            _ => self.reads(v).1,
        };
        let mut space: Vec<usize> = shape.into_iter().filter(|&size| size != 1).collect();
        if space.is_empty() {
            space.push(1);
        }
        let group = Group {
            space,
            split: None,
            parts: None,
            members: Vec::new(),
            refused,
            scope: self.graph[v].scope,
            bases: HashSet::new(),
            strides: Vec::new(),
        };
        self.items.push(Item::Group(group));
        let joined = self.join(v, self.items.len() - 1);
        debug_assert!(joined.is_ok(), "a node fits a kernel of its own shape: {:?}", self.graph[v]);
    }

    /// Puts `v` into a group if it can be computed there.
    fn join(&mut self, v: Var, index: usize) -> Result<(), Refusal> {
        let Item::Group(group) = &self.items[index] else { return Err(Refusal::Alone) };
        let mut reading = Reading { group, index, full: true, bases: Vec::new(), strides: Vec::new(), parts: None };
        let (placement, split) = match self.graph[v].op {
            Op::Reduce(..) => self.reduction(v, &mut reading)?,
            _ => self.elementwise(v, &mut reading)?,
        };
        let (bases, strides, parts) = (reading.bases, reading.strides, reading.parts);
        self.stored.extend(&bases);
        self.item_of[v.index()] = Some(index);
        if let Item::Group(group) = &mut self.items[index] {
            group.split = split;
            group.parts = group.parts.or(parts);
            group.bases.extend(bases);
            group.strides.extend(strides);
            group.members.push((v, placement));
        }
        Ok(())
    }

    fn elementwise(&self, v: Var, r: &mut Reading<'_>) -> Result<(Placement, Option<usize>), Refusal> {
        let group = r.group;
        let len = self.graph[v].len();
        let rows = group.split.map(|k| group.space[..k].iter().product::<usize>());
        let placement = if len == group.space.iter().product::<usize>() {
            Placement::Full
        } else if rows == Some(len) {
            r.full = false;
            Placement::Row
        } else {
            return Err(Refusal::Loops);
        };
        self.readable_args(v, r)?;
        let fits = group.split.is_none_or(|k| r.rows_are_runs(k));
        fits.then_some((placement, group.split)).ok_or(Refusal::Steps)
    }

    fn reduction(&self, v: Var, r: &mut Reading<'_>) -> Result<(Placement, Option<usize>), Refusal> {
        let (group, arg) = (r.group, self.graph[v].args[0]);
        let shape = &self.graph[arg].shape;
        let len = self.graph[arg].len();
        let out = dense(&self.graph[v].shape);
        let outer = group.split.map(|k| &group.space[..k]);
        if len == group.space.iter().product::<usize>() {
            self.readable(arg, shape, r)?;
            let strides = reshaped(shape, &out, &group.space).ok_or(Refusal::Order)?;
            let rank = group.space.len();
            let split = group
                .split
                .or_else(|| (0..rank).find(|&k| (k > 0 || rank == 1) && is_row_place(&strides, &group.space, k)));
            // Sums that add up elements one by one go on doing so.
            let may_split = group.split.is_some() || self.is_open(group, group.space.len() - 1);
            if let Some(k) = split.filter(|&k| is_row_place(&strides, &group.space, k) && r.rows_are_runs(k)) {
                return may_split.then_some((Placement::Fold, Some(k))).ok_or(Refusal::Steps);
            }
            let split = match self.own_row(v, &strides, r) {
                Some(k) if group.split.is_some_and(|split| split != k) || !may_split => return Err(Refusal::Steps),
                Some(k) => Some(k),
                None => {
                    let open = |axis: usize| strides[axis] != 0 && self.is_open(group, axis);
                    let mut rows = if group.split.is_some() { rank - 1..rank } else { 0..rank };
                    if is_ordered(&self.graph[v].op) && !rows.any(open) {
                        return Err(Refusal::Steps);
                    }
                    group.split
                }
            };
            r.strides.push(strides.clone());
            r.parts = self.fitting_parts(v, group)?;
            let fits = split.is_none_or(|k| r.rows_are_runs(k));
            return fits.then_some((Placement::Sink(strides, false), split)).ok_or(Refusal::Steps);
        }
        if let Some(outer) = outer.filter(|outer| outer.iter().product::<usize>() == len) {
            r.full = false;
            let mut strides = reshaped(shape, &out, outer).ok_or(Refusal::Order)?;
            if is_ordered(&self.graph[v].op) && strides.last() == Some(&0) {
                // Neighbours are added up as a row, and so they are wherever they come from.
                return Err(Refusal::Order);
            }
            strides.resize(group.space.len(), 0);
            self.readable(arg, shape, r)?;
            r.parts = self.fitting_parts(v, group)?;
            return Ok((Placement::Sink(strides, true), group.split));
        }
        Err(Refusal::Loops)
    }

    /// The parts that a sum over rows is added up in, which are those of all such sums of its kernel.
    fn fitting_parts(&self, v: Var, group: &Group) -> Result<Option<usize>, Refusal> {
        let parts = parts::count(self.graph, v);
        let fits = |&parts: &usize| group.parts.is_none_or(|own| own == parts) && group.space[0].is_multiple_of(parts);
        if parts.as_ref().is_none_or(fits) { Ok(parts) } else { Err(Refusal::Parts) }
    }

    /// Whether no sum of a group that adds up elements one by one does so along this axis. Where rows are folded,
    /// it has other sums only.
    fn is_open(&self, group: &Group, axis: usize) -> bool {
        group.split.is_some()
            || group.members.iter().all(|(v, placement)| match placement {
                Placement::Sink(strides, false) if is_ordered(&self.graph[*v].op) => strides[axis] != 0,
                _ => true,
            })
    }

    /// The row that a sum adds up before it adds that to the sums of other rows, as the number of loops around
    /// it: what is innermost of its argument and goes into the same sums. It depends on the sum alone, so
    /// that the order of additions does too, whatever else is in the kernel. None if it adds up elements one by
    /// one, or if the order does not matter.
    fn own_row(&self, v: Var, strides: &[isize], r: &Reading<'_>) -> Option<usize> {
        if !is_ordered(&self.graph[v].op) {
            return None;
        }
        let space = &r.group.space;
        let last = strides.iter().rposition(|&stride| stride != 0);
        let runs = |k: &usize| r.strides.iter().all(|s| is_run(s, space, *k));
        let row = (last.map_or(0, |i| i + 1)..space.len()).find(runs)?;
        (last.is_none() || space[row..].iter().product::<usize>() >= loops::SHORT).then_some(row)
    }

    fn readable_args(&self, v: Var, r: &mut Reading<'_>) -> Result<(), Refusal> {
        if let Op::Random(_) = self.graph[v].op {
            // The seed is the same for every element, under any shape.
            r.bases.push(self.graph[v].args[0]);
            return Ok(());
        }
        if self.layout.is_copied(v) {
            let (reads, shape) = self.reads(v);
            return reads.iter().try_for_each(|a| self.reachable(a, &shape, r));
        }
        let node = &self.graph[v];
        node.args.iter().try_for_each(|&arg| self.readable(arg, &node.shape, r))
    }

    /// Whether the group can read `v` under `shape`.
    fn readable(&self, v: Var, shape: &[usize], r: &mut Reading<'_>) -> Result<(), Refusal> {
        if self.inline[v.index()] { self.readable_args(v, r) } else { self.reachable(&self.access(v), shape, r) }
    }

    fn reachable(&self, a: &Access, shape: &[usize], r: &mut Reading<'_>) -> Result<(), Refusal> {
        if let Op::Const(_) = self.graph[a.base].op {
            return Ok(());
        }
        let (space, split) = (&r.group.space, r.group.split.unwrap_or(r.group.space.len()));
        let target = if r.full { &space[..] } else { &space[..split] };
        let strides = reshaped(shape, &a.strides, target).ok_or(Refusal::Order)?;
        match self.item_of[a.base.index()] {
            Some(index) if index == r.index => {
                let member = r.group.members.iter().find(|(m, _)| *m == a.base);
                let in_place = match member {
                    Some((_, Placement::Full)) => r.full && strides == dense(space),
                    Some((_, Placement::Row | Placement::Fold)) if r.full => is_row_place(&strides, space, split),
                    Some((_, Placement::Row | Placement::Fold)) => strides == dense(target),
                    Some((_, Placement::Sink(..))) | None => return Err(Refusal::Incomplete),
                };
                if a.offset == 0 && in_place { Ok(()) } else { Err(Refusal::Order) }
            }
            Some(index) if index > r.index => Err(Refusal::Incomplete),
            _ => {
                r.bases.push(a.base);
                if r.full {
                    r.strides.push(strides);
                }
                Ok(())
            }
        }
    }
}

/// Whether a value with these strides is one number a row, in the order of rows, where `split`
/// loops are around the row.
fn is_row_place(strides: &[isize], space: &[usize], split: usize) -> bool {
    strides[..split] == dense(&space[..split]) && strides[split..].iter().all(|&s| s == 0)
}

/// Whether these strides move through a row in equal steps, where `split` loops are around the row.
pub(crate) fn is_run(strides: &[isize], space: &[usize], split: usize) -> bool {
    (split + 1..space.len()).all(|i| strides[i - 1] == strides[i] * space[i] as isize)
}

impl Reading<'_> {
    /// Whether everything read for every element moves through a row in equal steps.
    fn rows_are_runs(&self, split: usize) -> bool {
        self.group.strides.iter().chain(&self.strides).all(|s| is_run(s, &self.group.space, split))
    }
}
