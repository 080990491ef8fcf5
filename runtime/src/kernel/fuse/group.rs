//! Groups: which nodes are computed in one kernel.
//!
//! Nodes are assigned in order. An elementwise node or reduction joins, in this order of preference: the kernel of its
//! most recently computed argument, if both have the same loops; the first later kernel that reads or computes one of
//! its arguments; if all its arguments are inputs, parameters or constants, any kernel with the same loops. Otherwise
//! the node starts a kernel.
//!
//! Comparisons, random numbers and masks cast to numbers are inlined: never stored, and computed by every kernel that
//! reads them, unless that takes many operations. Other values are stored for other kernels, unless these compute them
//! cheaply from stored values (see `rematerialise`).

use std::collections::HashSet;

use super::layout::Layout;
use super::refusal::Refusal;
use super::view::{View, resolve, resolve_view};
use super::{loops, parts};
use crate::graph::op::Class;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Graph, Op, Var};
use crate::ir::reduce::Reduce;
use crate::kernel::{Operand, Storage};
use crate::shape::DType;

/// How a node is computed within a loop nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is computed for every element.
    Full,
    /// It is computed once for each row.
    Row,
    /// It reduces each row to one number.
    Fold,
    /// A reduction that is complete only after all rows: it is accumulated in memory, at these strides over the space.
    /// The flag says that its argument is one number for each row.
    Sink(Vec<isize>, bool),
}

/// The most operations that compute an inlined value, together with the inlined values that it reads. A kernel computes
/// each of them as often as it is read, so that masks of masks would double with each step.
const MAX_INLINED_OPERATIONS: usize = 32;

/// Nodes that are computed in one loop nest.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The iteration space: the sizes of the loops. A size of one occurs only alone.
    pub(crate) space: Vec<usize>,
    /// How many loops are around the row; `None` until a reduction of rows joins.
    pub(crate) split: Option<usize>,
    /// Into how many parts its long sums over rows are split (see `parts`).
    pub(crate) parts: Option<usize>,
    pub(crate) members: Vec<(Var, Placement)>,
    /// The kernel of an argument that the first member could not join, and why.
    pub(crate) refused: Option<(usize, Refusal)>,
    /// The scope of all members: checkpointed values have scopes of their own and are computed at another time.
    scope: u32,
    /// The stored values that members read.
    pub(crate) bases: HashSet<Var>,
    /// The strides of what is read for every element.
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

/// The kernels of a graph, and the values that must be stored for them.
pub(crate) struct Fusion<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) items: Vec<Item>,
    /// The kernel that computes each node.
    pub(crate) item_of: Vec<Option<usize>>,
    /// Nodes that another kernel reads.
    pub(crate) stored: HashSet<Var>,
    pub(crate) layout: Layout,
    /// Values that are never stored: every kernel that reads them computes them.
    pub(crate) inline: Vec<bool>,
    /// Values that kernels other than their own compute too.
    pub(crate) rematerialised: Vec<bool>,
}

/// Whether the bits of a reduction depend on the order in which elements are combined.
pub(crate) fn is_ordered(op: &Op) -> bool {
    matches!(op, Op::Reduce(Reduce::Sum | Reduce::Prod, _))
}

/// What a node would make a group read.
struct Reading<'g> {
    group: &'g Group,
    index: usize,
    /// Whether the node is computed for every element; else once for each row.
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
            rematerialised: vec![false; count],
        };
        fusion.mark_inline(&live, outputs);
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            if let Op::Checked(_) = node.op {
                // The index may be read before it is compared: a program that refuses an entry discards its results.
                fusion.items.push(Item::Alone(v));
                fusion.store(node.args[0]);
            }
            if fusion.inline[v.index()] || node.op.is_leaf() {
                continue;
            }
            if fusion.layout.is_copied(v) || node.op.is_in_loops() {
                fusion.assign(v);
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
        fusion.rematerialise(&live, outputs);
        fusion
    }

    /// `v` as a view of a stored value.
    pub(crate) fn view(&self, v: Var) -> View {
        let found = resolve(self.graph, v, &self.layout);
        found.expect("a view that has no strides was marked as a copy")
    }

    /// The memory that a view starts at.
    pub(crate) fn operand(&self, view: &View) -> Operand {
        let (value, offset) = self.layout.within(view.base).unwrap_or((view.base, 0));
        Operand { storage: Storage::Value(value), offset: offset + view.offset as usize }
    }

    /// Whether kernel `index` computes `v` itself where it reads `v`.
    pub(crate) fn is_inline(&self, v: Var, index: usize) -> bool {
        self.inline[v.index()] || self.rematerialised[v.index()] && self.item_of[v.index()] != Some(index)
    }

    /// Whether `v` is a view that is copied.
    pub(crate) fn is_copy(&self, v: Var) -> bool {
        self.layout.is_copied(v)
    }

    /// What an elementwise node or a copy reads: views of its arguments, and the shape they are read under.
    pub(crate) fn reads(&self, v: Var) -> (Vec<View>, Vec<usize>) {
        let node = &self.graph[v];
        if !self.layout.is_copied(v) {
            return (node.args.iter().map(|&a| self.view(a)).collect(), node.shape.clone());
        }
        // The copy of a view reads the stored value; that of a reshape without strides, the argument in its own order.
        match resolve_view(self.graph, v, &self.layout) {
            Some(a) => (vec![a], node.shape.clone()),
            None => (vec![self.view(node.args[0])], self.graph[node.args[0]].shape.clone()),
        }
    }

    /// Marks the nodes that are inlined: those of which all readers are computed in loops.
    fn mark_inline(&mut self, live: &[bool], outputs: &[Var]) {
        // The operations that compute each value where it is inlined.
        let mut operations = vec![0usize; self.graph.nodes().len()];
        for (v, node) in self.graph.vars().filter(|(v, _)| live[v.index()]) {
            let mask = |&arg: &Var| self.graph[arg].dtype == DType::Bool;
            let is_mask = match node.op {
                Op::Compare(_) | Op::Random(_) => true,
                Op::Cast => node.args.iter().all(mask),
                _ => false,
            };
            let args = node.args.iter().filter(|arg| self.inline[arg.index()]);
            operations[v.index()] = args.fold(1, |sum, arg| sum + operations[arg.index()]);
            self.inline[v.index()] = is_mask && operations[v.index()] <= MAX_INLINED_OPERATIONS;
            if !node.op.is_in_loops() || self.layout.is_copied(v) {
                node.args.iter().for_each(|arg| self.inline[arg.index()] = false);
            }
        }
        outputs.iter().for_each(|v| self.inline[v.index()] = false);
    }

    /// Notes that `v`, or the value that `v` is a view of, must be stored.
    fn store(&mut self, v: Var) {
        if !matches!(self.graph[v].op, Op::Const(_)) {
            let base = self.view(v).base;
            self.stored.insert(base);
        }
    }

    /// The stored values that a node reads, also through inlined arguments.
    fn bases(&self, v: Var, out: &mut Vec<Var>) {
        if self.layout.is_copied(v) {
            out.extend(self.reads(v).0.into_iter().map(|a| a.base));
            return;
        }
        for &arg in &self.graph[v].args {
            if self.inline[arg.index()] {
                self.bases(arg, out);
            } else if !matches!(self.graph[self.view(arg).base].op, Op::Const(_)) {
                out.push(self.view(arg).base);
            }
        }
    }

    /// Puts `v` into the first group that it can join, or into a new one.
    fn assign(&mut self, v: Var) {
        let mut bases = Vec::new();
        self.bases(v, &mut bases);
        let first = bases.iter().filter_map(|b| self.item_of[b.index()]).max().unwrap_or(0);
        let from_leaves = bases.iter().all(|b| self.item_of[b.index()].is_none());
        let mut refused = (!from_leaves).then_some((first, Refusal::Alone));
        for index in first..self.items.len() {
            let Item::Group(group) = &self.items[index] else { continue };
            let related = bases.iter().any(|b| group.bases.contains(b) || self.item_of[b.index()] == Some(index));
            if !related && !from_leaves {
                continue;
            }
            match if group.scope == self.graph[v].scope { self.join(v, index) } else { Err(Refusal::Scope) } {
                Ok(()) => return,
                Err(why) if !from_leaves && index == first => refused = Some((first, why)),
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

    /// Adds `v` to group `index`, if it can be computed there.
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

    /// How the group computes an elementwise node, and the loops around its row then.
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

    /// How the group computes a reduction, and the loops around its row then.
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
                .or_else(|| (0..rank).find(|&k| (k > 0 || rank == 1) && is_one_a_row(&strides, &group.space, k)));
            // A sum that adds up elements one by one along an axis goes on doing so: no later reduction makes it the
            // row.
            let may_split = group.split.is_some() || self.is_open(group, group.space.len() - 1);
            if let Some(k) = split.filter(|&k| is_one_a_row(&strides, &group.space, k) && r.rows_are_runs(k)) {
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
                // Neighbouring rows would be added up one by one; a sum over them in its own kernel folds them as a
                // row, and the order of additions must not depend on the kernel.
                return Err(Refusal::Order);
            }
            strides.resize(group.space.len(), 0);
            self.readable(arg, shape, r)?;
            r.parts = self.fitting_parts(v, group)?;
            return Ok((Placement::Sink(strides, true), group.split));
        }
        Err(Refusal::Loops)
    }

    /// The number of parts that a sum over rows is split into, which must be the same for all such sums of a kernel.
    fn fitting_parts(&self, v: Var, group: &Group) -> Result<Option<usize>, Refusal> {
        let parts = parts::count(self.graph, v);
        let fits = |&parts: &usize| group.parts.is_none_or(|own| own == parts) && group.space[0].is_multiple_of(parts);
        if parts.as_ref().is_none_or(fits) { Ok(parts) } else { Err(Refusal::Parts) }
    }

    /// Whether the axis may become the row: no sum of the group adds up elements one by one along the axis. A group
    /// that folds rows has no such sums.
    fn is_open(&self, group: &Group, axis: usize) -> bool {
        group.split.is_some()
            || group.members.iter().all(|(v, placement)| match placement {
                Placement::Sink(strides, false) if is_ordered(&self.graph[*v].op) => strides[axis] != 0,
                _ => true,
            })
    }

    /// The row that a sum folds before it accumulates the result in memory, as the number of loops around the row: the
    /// innermost axes of the argument that go into the same element of the sum. The row depends on the sum alone, so
    /// that the order of additions does not depend on what else is in the kernel. `None` if the sum adds up elements
    /// one by one, or if the order of the reduction does not matter.
    fn own_row(&self, v: Var, strides: &[isize], r: &Reading<'_>) -> Option<usize> {
        if !is_ordered(&self.graph[v].op) {
            return None;
        }
        let space = &r.group.space;
        let last = strides.iter().rposition(|&stride| stride != 0);
        let runs = |k: &usize| r.strides.iter().all(|s| is_run(s, space, *k));
        let row = (last.map_or(0, |i| i + 1)..space.len()).find(runs)?;
        (last.is_none() || space[row..].iter().product::<usize>() >= loops::MIN_ROW).then_some(row)
    }

    /// Refuses if the group cannot read the arguments of `v`; else notes what it reads.
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

    /// Refuses if the group cannot read `v` under `shape`; else notes what it reads.
    fn readable(&self, v: Var, shape: &[usize], r: &mut Reading<'_>) -> Result<(), Refusal> {
        if self.inline[v.index()] { self.readable_args(v, r) } else { self.reachable(&self.view(v), shape, r) }
    }

    /// Refuses if the group cannot read a view under `shape`; else notes what it reads.
    fn reachable(&self, a: &View, shape: &[usize], r: &mut Reading<'_>) -> Result<(), Refusal> {
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
                    Some((_, Placement::Row | Placement::Fold)) if r.full => is_one_a_row(&strides, space, split),
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

/// Whether a value with these strides is one number for each row, in the order of rows, where `split` loops are around
/// the row.
fn is_one_a_row(strides: &[isize], space: &[usize], split: usize) -> bool {
    strides[..split] == dense(&space[..split]) && strides[split..].iter().all(|&s| s == 0)
}

/// Whether a row is read in equal steps with these strides, where `split` loops are around the row.
pub(crate) fn is_run(strides: &[isize], space: &[usize], split: usize) -> bool {
    (split + 1..space.len()).all(|i| strides[i - 1] == strides[i] * space[i] as isize)
}

impl Reading<'_> {
    /// Whether everything that is read for every element goes through a row in equal steps.
    fn rows_are_runs(&self, split: usize) -> bool {
        self.group.strides.iter().chain(&self.strides).all(|s| is_run(s, &self.group.space, split))
    }
}
