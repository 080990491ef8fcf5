//! Proofs that the entries of an index name rows of their table.
//!
//! A computed entry is proved by the interval of its node. Entries of an input are compared before a run, but only
//! those that reach the table: views from the use down to the input are composed, and an entry that a mask keeps from
//! the table may be any number. What neither way proves is refused, or compared when it is computed, where `within`
//! asks for that.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entries::Entries;
use super::interval::{intervals, is_mask, known, shown_alike};
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Graph, Op, Var};
use crate::ir::elementwise::Compare;
use crate::shape::check::{Interval, Message, advice, reach};
use crate::shape::{DType, Rows};

/// The most nodes that are visited for one use of an index, so that compilation takes time in proportion.
const MAX_VISITED: usize = 1 << 12;

/// The longest path of nodes that is followed from a use, by recursion.
const MAX_PATH: usize = 1 << 8;

/// The deepest nesting of masks that is followed.
const MAX_MASK_DEPTH: usize = 8;

/// The admitted entries of an input. All entries have the same limit, or each has the limit of its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    limits: Vec<Limit>,
    /// The numbers of the limits of the entries, a list that repeats; empty if there is one limit.
    of: Vec<u32>,
}

/// The limit of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Limit {
    entries: Entries,
    /// The rows of the smallest table that the entry reaches, for the error.
    rows: usize,
}

impl Limit {
    fn and(&self, with: &Limit) -> Limit {
        Limit { entries: self.entries.and(&with.entries), rows: self.rows.min(with.rows) }
    }

    /// The first entry that is not admitted.
    fn find(&self, entries: &[i32]) -> Option<usize> {
        let inside = |(low, high): (i32, i32), entry: i32| low <= entry && entry <= high;
        // First whether there is such an entry, without a branch for each entry so that the loop is vectorised.
        let is_refused = match *self.entries.intervals() {
            [a] => entries.iter().fold(false, |found, &entry| found | !inside(a, entry)),
            [a, b] => entries.iter().fold(false, |found, &entry| found | !(inside(a, entry) | inside(b, entry))),
            _ => true,
        };
        entries.iter().position(|&entry| is_refused && !self.entries.has(entry))
    }
}

impl Bound {
    /// The first entry that is not admitted: its position, the entry, and the number of rows.
    pub(crate) fn find(&self, entries: &[i32]) -> Option<(usize, i32, usize)> {
        let (place, limit) = match &self.limits[..] {
            [limit] => (limit.find(entries)?, limit),
            limits => {
                let mut places = entries.iter().zip(self.of.iter().cycle()).enumerate();
                let refuses = |(_, (entry, of)): &(usize, (&i32, &u32))| !limits[**of as usize].entries.has(**entry);
                let (place, (_, of)) = places.find(refuses)?;
                (place, &limits[*of as usize])
            }
        };
        Some((place, entries[place], limit.rows))
    }
}

/// The comparisons that the uses of indices in a graph need.
pub(crate) struct Indices {
    /// The admitted entries of index inputs, by the number of the input.
    pub(crate) bounds: Vec<(usize, Bound)>,
    /// The `Within` nodes whose entries are compared when the program runs.
    pub(crate) checked: Vec<Var>,
}

/// A value as a view of an index input: for each of its elements, the entry of the input.
struct Shown {
    input: Var,
    /// The entries as a list that offset and strides apply to, `None` where the value has other elements; without a
    /// list, offset and strides apply to the input.
    entries: Option<Vec<Option<usize>>>,
    /// Whether the value has all entries of the input.
    all: bool,
    offset: isize,
    strides: Vec<isize>,
}

/// The limits of the entries of an input while they are collected.
struct Needed {
    limits: Vec<Limit>,
    /// The number of the limit that all entries have.
    all: u32,
    /// The numbers of further limits of each entry; empty while there are none.
    each: Vec<u32>,
    /// The conjunctions of two limits that were formed.
    joined: HashMap<(u32, u32), u32>,
}

impl Needed {
    fn new() -> Needed {
        let free = Limit { entries: Entries::all(), rows: usize::MAX };
        Needed { limits: vec![free], all: 0, each: vec![], joined: HashMap::new() }
    }

    /// The number of a limit.
    fn number(&mut self, limit: Limit) -> u32 {
        let known = self.limits.iter().position(|known| *known == limit);
        known.unwrap_or_else(|| {
            self.limits.push(limit);
            self.limits.len() - 1
        }) as u32
    }

    /// The number of the conjunction of two limits.
    fn and(&mut self, a: u32, b: u32) -> u32 {
        if let Some(&both) = self.joined.get(&(a, b)) {
            return both;
        }
        let both = self.limits[a as usize].and(&self.limits[b as usize]);
        let both = self.number(both);
        self.joined.insert((a, b), both);
        both
    }

    /// Adds a limit of the entries that a value of this shape shows.
    fn add(&mut self, shown: &Shown, graph: &Graph, shape: &[usize], limit: Limit) {
        let limit = self.number(limit);
        if shown.all {
            self.all = self.and(self.all, limit);
            return;
        }
        self.each.resize(graph[shown.input].len(), 0);
        for entry in shown.listed(shape).into_iter().flatten() {
            self.each[entry] = self.and(self.each[entry], limit);
        }
    }

    /// The bound of an input of this shape.
    fn bound(mut self, shape: &[usize]) -> Bound {
        let all = self.all;
        let mut of: Vec<u32> = std::mem::take(&mut self.each).into_iter().map(|each| self.and(all, each)).collect();
        if of.is_empty() {
            return Bound { limits: vec![self.limits.swap_remove(all as usize)], of };
        }
        let repeats = |&len: &usize| of.chunks(len).all(|chunk| chunk == &of[..len]);
        let runs = (0..shape.len()).rev().map(|axis| shape[axis..].iter().product());
        let len = std::iter::once(1).chain(runs).find(repeats).unwrap_or(of.len());
        of.truncate(len);
        match of[..] {
            [only] => Bound { limits: vec![self.limits.swap_remove(only as usize)], of: vec![] },
            _ => Bound { limits: self.limits, of },
        }
    }
}

/// The entries of an index are not proved to name rows.
struct Unknown;

impl Indices {
    /// # Errors
    ///
    /// The operation whose index may name no row.
    pub(crate) fn new(graph: &Graph, live: &[bool]) -> Result<Indices, String> {
        let uses: Vec<(Var, Var, Rows)> = graph
            .vars()
            .filter(|(v, _)| live[v.index()])
            .filter_map(|(v, node)| node.op.with(|op| op.index(graph, node)).map(|(index, rows)| (v, index, rows)))
            .collect();
        let mut found = Indices { bounds: Vec::new(), checked: Vec::new() };
        if uses.is_empty() {
            return Ok(found);
        }
        let intervals = intervals(graph, live);
        let mut needed: BTreeMap<Var, Needed> = BTreeMap::new();
        let mut seen = HashSet::new();
        for (v, index, rows) in uses {
            // The gradient of a table is looked up by the same index.
            if !seen.insert((index, rows)) && !matches!(graph[v].op, Op::Within(_)) {
                continue;
            }
            let mut search = Search { graph, intervals: &intervals, left: MAX_VISITED };
            match search.inputs(index, &Entries::of(rows), &[], 0) {
                Ok(inputs) => {
                    for (shown, entries) in inputs {
                        let limit = Limit { entries, rows: rows.count };
                        let needed = needed.entry(shown.input).or_insert_with(Needed::new);
                        needed.add(&shown, graph, &graph[index].shape, limit);
                    }
                }
                Err(Unknown) if matches!(graph[v].op, Op::Within(_)) && !known(graph, index) => found.checked.push(v),
                Err(Unknown) => return Err(refusal(graph, v, index, rows, intervals[index.index()])),
            }
        }
        for (input, needed) in needed {
            if let Op::Input(number) = graph[input].op {
                found.bounds.push((number, needed.bound(&graph[input].shape)));
            }
        }
        Ok(found)
    }
}

fn refusal(graph: &Graph, v: Var, index: Var, rows: Rows, interval: Interval) -> String {
    let promised = matches!(graph[v].op, Op::Within(_));
    let count = isize::try_from(rows.count).unwrap_or(isize::MAX);
    let message = reach(Message::new().str(&graph[v].name()).str(": "), interval, count, promised);
    if known(graph, index) { message.get().into() } else { advice(message, count).get().into() }
}

/// A mask, and whether it holds where elements are taken.
type Condition = (Var, bool);

/// A search from a use of an index for the inputs whose entries it reads.
struct Search<'a> {
    graph: &'a Graph,
    intervals: &'a [Interval],
    /// The nodes that may still be visited.
    left: usize,
}

impl Search<'_> {
    /// The inputs that `v` shows entries of, and what these may be so that the elements of `v` are among `entries`
    /// wherever all conditions `taken` hold. [`Unknown`] if computed elements of `v` may be others.
    fn inputs(
        &mut self,
        v: Var,
        entries: &Entries,
        taken: &[Condition],
        depth: usize,
    ) -> Result<Vec<(Shown, Entries)>, Unknown> {
        let (graph, node) = (self.graph, &self.graph[v]);
        let mut entries = entries.clone();
        for &(mask, holds) in taken {
            let [where_it_holds, elsewhere] = self.excluded(mask, v, 0);
            entries = entries.or(if holds { &where_it_holds } else { &elsewhere });
        }
        if entries.hold(self.intervals[v.index()]) {
            return Ok(vec![]);
        }
        self.left = self.left.checked_sub(1).filter(|_| depth < MAX_PATH).ok_or(Unknown)?;
        // Masks that are the same view as `v` become conditions on its argument.
        let same = |&(mask, holds): &Condition| (shown_alike(graph, mask, v)).then(|| (graph[mask].args[0], holds));
        let conditions: Vec<Condition> = taken.iter().filter_map(same).collect();
        let mut inner = |i: usize, taken: &[Condition]| self.inputs(node.args[i], &entries, taken, depth + 1);
        let shape = |i: usize| &graph[node.args[i]].shape[..];
        let each = |all: Vec<(Shown, Entries)>, change: &dyn Fn(Shown) -> Shown| {
            all.into_iter().map(|(shown, entries)| (change(shown), entries)).collect()
        };
        let found = match &node.op {
            Op::Input(_) if node.dtype == DType::I32 => vec![(Shown::whole(v, &node.shape), entries)],
            // The number that stands for no row there must be admitted here too.
            Op::Within(inside) if inside.other.is_none_or(|x| entries.has(x)) => inner(0, taken)?,
            Op::Reshape => each(inner(0, &conditions)?, &|s| s.reshaped(shape(0), &node.shape)),
            Op::Broadcast => each(inner(0, &conditions)?, &|s| s.broadcast(shape(0))),
            Op::Transpose(axes) => each(inner(0, &conditions)?, &|s| s.transposed(axes)),
            Op::Slice(window) => {
                let all = node.len() == graph[node.args[0]].len();
                each(inner(0, &conditions)?, &|s| s.sliced(window, all))
            }
            Op::Windows { axis, start, step, dilation } => {
                each(inner(0, &conditions)?, &|s| s.windows(*axis, *start, *step, *dilation))
            }
            Op::Pad(before) if entries.has(0) => each(inner(0, &[])?, &|s| s.placed(before, shape(0), &node.shape)),
            Op::Concat(axis) => {
                let (mut all, mut before) = (Vec::new(), vec![0; node.shape.len()]);
                for i in 0..node.args.len() {
                    all.extend(each(inner(i, &[])?, &|s| s.placed(&before, shape(i), &node.shape)));
                    before[*axis] += shape(i)[*axis];
                }
                all
            }
            Op::Select => {
                let with = |holds: bool| [taken, &[(node.args[0], holds)]].concat();
                let mut both = inner(1, &with(true))?;
                both.extend(inner(2, &with(false))?);
                both
            }
            _ => return Err(Unknown),
        };
        Ok(found)
    }

    /// The numbers that no element of `v` is: where a mask holds, and where it does not.
    fn excluded(&self, mask: Var, v: Var, deep: usize) -> [Entries; 2] {
        let (graph, node) = (self.graph, &self.graph[mask]);
        let interval = self.intervals[mask.index()];
        let known =
            [interval.high < 1.0, interval.low > 0.0].map(|never| if never { Entries::all() } else { Entries::none() });
        if deep == MAX_MASK_DEPTH {
            return known;
        }
        let of = |mask: Var| self.excluded(mask, v, deep + 1);
        let more = match (&node.op, &node.args[..]) {
            (Op::Compare(Compare::Eq), &[inner, never]) if graph[never].op == Op::Const(0) && is_mask(graph, inner) => {
                let [holds, fails] = of(inner);
                [fails, holds]
            }
            (Op::Compare(op), &[a, b]) if a == v || b == v => {
                let with = self.intervals[if a == v { b } else { a }.index()];
                let any = Interval::any(DType::I32);
                [true, false].map(|holds| match (op, holds) {
                    (Compare::Eq, false) | (Compare::Ne, true) if with.is_one() => Entries::from(with.low, with.low),
                    (Compare::Eq, false) | (Compare::Ne, true) => Entries::none(),
                    _ => {
                        let left = if a == v { op.left(any, with, holds) } else { op.right(with, any, holds) };
                        Entries::from(left.low, left.high).not()
                    }
                })
            }
            (Op::Select, &[choice, a, b]) => {
                let [first, second] = of(choice);
                // `select(mask, mask, b)`: where the mask selects itself, it holds.
                let a = if a == choice { [Entries::none(), Entries::all()] } else { of(a) };
                let both = |[a, b]: [&Entries; 2]| first.or(a).and(&second.or(b));
                let b = of(b);
                [both([&a[0], &b[0]]), both([&a[1], &b[1]])]
            }
            (_, &[inner]) if shown_alike(graph, mask, v) => self.excluded(inner, graph[v].args[0], deep + 1),
            _ => return known,
        };
        [known[0].or(&more[0]), known[1].or(&more[1])]
    }
}

impl Shown {
    fn whole(input: Var, shape: &[usize]) -> Shown {
        Shown { input, entries: None, all: true, offset: 0, strides: dense(shape) }
    }

    fn broadcast(mut self, from: &[usize]) -> Shown {
        self.strides.iter_mut().zip(from).filter(|(_, size)| **size == 1).for_each(|(stride, _)| *stride = 0);
        self
    }

    fn transposed(mut self, axes: &[usize]) -> Shown {
        self.strides = axes.iter().map(|&axis| self.strides[axis]).collect();
        self
    }

    fn sliced(mut self, window: &[(usize, isize)], all: bool) -> Shown {
        for (stride, &(start, step)) in self.strides.iter_mut().zip(window) {
            self.offset += *stride * start as isize;
            *stride *= step;
        }
        self.all &= all;
        self
    }

    fn windows(mut self, axis: usize, start: usize, step: isize, dilation: isize) -> Shown {
        let stride = self.strides[axis];
        self.offset += stride * start as isize;
        self.strides.splice(axis..=axis, [stride * step, stride * dilation]);
        self.all = false;
        self
    }

    fn reshaped(mut self, from: &[usize], to: &[usize]) -> Shown {
        match reshaped(from, &self.strides, to) {
            Some(strides) => self.strides = strides,
            None => {
                self.entries = Some(self.listed(from));
                (self.offset, self.strides) = (0, dense(to));
            }
        }
        self
    }

    /// The view of a value as a part of a larger one.
    fn placed(mut self, before: &[usize], from: &[usize], to: &[usize]) -> Shown {
        let strides = dense(to);
        let offset = before.iter().zip(&strides).map(|(&b, s)| b * *s as usize).sum::<usize>();
        let mut entries = vec![None; to.iter().product()];
        for (place, entry) in places(offset as isize, &strides, from).zip(self.listed(from)) {
            entries[place] = entry;
        }
        self.entries = Some(entries);
        (self.offset, self.strides) = (0, strides);
        self
    }

    /// The entries in the order of the elements of the value, which has this shape.
    fn listed(&self, shape: &[usize]) -> Vec<Option<usize>> {
        let entry = |place: usize| self.entries.as_ref().map_or(Some(place), |entries| entries[place]);
        places(self.offset, &self.strides, shape).map(entry).collect()
    }
}

/// The offsets of all elements of a shape with these strides.
fn places(offset: isize, strides: &[isize], shape: &[usize]) -> impl Iterator<Item = usize> {
    let len = shape.iter().product();
    let axes: Vec<(usize, isize)> = shape.iter().copied().zip(strides.iter().copied()).collect();
    let (mut at, mut place) = (vec![0; axes.len()], offset);
    (0..len).map(move |_| {
        let here = place as usize;
        for (at, &(size, stride)) in at.iter_mut().zip(&axes).rev() {
            *at += 1;
            place += stride;
            if *at < size {
                break;
            }
            *at = 0;
            place -= stride * size as isize;
        }
        here
    })
}
