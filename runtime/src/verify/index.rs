//! What entries that name rows may be.
//!
//! An entry that is computed names a row if the interval of its node says so. Entries of an input are compared before a
//! run, those that reach the table and no others: views from the use down to the input are composed. What
//! neither way proves is refused, or compared when it is computed, where that is asked for (`within`).

use std::collections::{BTreeMap, HashSet};

use super::range::{Range, known, ranges};
use crate::graph::{Graph, Node, Op, Rows, Var};
use crate::shape::DType;
use crate::strides::{dense, reshaped};

/// How many nodes are visited for one use of an index.
const MOST: usize = 1 << 12;

/// The longest path of nodes that is followed from a use.
const DEEP: usize = 1 << 8;

/// What the entries of an input may be: one limit for all, or a list of limits that repeats along the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    limits: Vec<Limit>,
}

/// What an entry may be: from 0 to the last row, or one other number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    last: u32,
    /// Zero if there is no other.
    other: i32,
}

impl Limit {
    fn new(rows: Option<Rows>) -> Limit {
        match rows {
            Some(rows) => Limit {
                last: u32::try_from(rows.count - 1).unwrap_or(u32::MAX).min(i32::MAX as u32),
                other: rows.other.unwrap_or(0),
            },
            None => Limit { last: u32::MAX, other: 0 },
        }
    }

    /// The row that an entry names, the first one for what stands for none.
    fn row(self, entry: i32) -> u32 {
        if entry == self.other { 0 } else { entry as u32 }
    }

    fn admits(self, entry: i32) -> bool {
        self.row(entry) <= self.last
    }
}

impl Bound {
    /// The same limit for all entries.
    fn of_all(rows: Rows) -> Bound {
        Bound { limits: vec![Limit::new(Some(rows))] }
    }

    /// The bound of an input of this shape, from what each entry must be.
    fn new(shape: &[usize], entries: &[Option<Rows>]) -> Bound {
        let repeats = |&len: &usize| entries.chunks(len).all(|chunk| chunk == &entries[..len]);
        let runs = (0..shape.len()).rev().map(|axis| shape[axis..].iter().product());
        let len = std::iter::once(1).chain(runs).find(repeats).unwrap_or(entries.len());
        Bound { limits: entries[..len].iter().map(|&rows| Limit::new(rows)).collect() }
    }

    /// The first entry that is not admitted: its place, the entry, and the number of rows.
    pub(crate) fn find(&self, entries: &[i32]) -> Option<(usize, i32, usize)> {
        // Without a branch for each entry; the culprit is looked for only if there is one.
        let refuses = |limit: &Limit, entry: &i32| u32::from(!limit.admits(*entry));
        let refused = match &self.limits[..] {
            [limit] => entries.iter().fold(0, |found, entry| found | refuses(limit, entry)),
            limits => entries.chunks(limits.len()).fold(0, |found, row| {
                row.iter().zip(limits).fold(found, |found, (entry, limit)| found | refuses(limit, entry))
            }),
        };
        if refused == 0 {
            return None;
        }
        let mut places = entries.iter().zip(self.limits.iter().cycle()).enumerate();
        let (place, (&entry, limit)) = places.find(|(_, (entry, limit))| !limit.admits(**entry))?;
        Some((place, entry, limit.last as usize + 1))
    }
}

/// What follows from the uses of indices in a graph.
pub(crate) struct Indices {
    /// What the entries of inputs may be, by the number of the input.
    pub(crate) bounds: Vec<(usize, Bound)>,
    /// Promises that are compared when the program runs.
    pub(crate) checked: Vec<Var>,
}

/// A value as a view of an input: which entry each of its elements is.
struct Shown {
    input: Var,
    /// The entries in an order of their own, absent where the value has other elements; else those of the input.
    entries: Option<Vec<Option<usize>>>,
    /// Whether all entries are there.
    all: bool,
    offset: isize,
    strides: Vec<isize>,
}

/// What the entries of an input must be.
#[derive(Default)]
struct Needed {
    /// All of them.
    all: Option<Rows>,
    /// Each; nothing while there is no difference.
    each: Vec<Option<Rows>>,
}

impl Needed {
    /// Adds what a value of this shape needs that shows entries.
    fn add(&mut self, shown: &Shown, graph: &Graph, shape: &[usize], rows: Rows) {
        let joined = |before: Option<Rows>| Some(before.map_or(rows, |before| before.and(rows)));
        if shown.all {
            self.all = joined(self.all);
            return;
        }
        self.each.resize(graph[shown.input].len(), None);
        for entry in shown.listed(shape).into_iter().flatten() {
            self.each[entry] = joined(self.each[entry]);
        }
    }

    fn bound(self, shape: &[usize]) -> Bound {
        let both = |each: Option<Rows>| match (self.all, each) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        match self.all {
            Some(rows) if self.each.is_empty() => Bound::of_all(rows),
            _ => Bound::new(shape, &self.each.into_iter().map(both).collect::<Vec<_>>()),
        }
    }
}

/// An index whose entries may name no row, as far as is known.
struct Unknown;

impl Indices {
    /// # Errors
    ///
    /// The operation whose index may name no row.
    pub(crate) fn new(graph: &Graph, live: &[bool]) -> Result<Indices, String> {
        let uses: Vec<(Var, Var, Rows)> = graph
            .vars()
            .filter(|(v, _)| live[v.index()])
            .filter_map(|(v, node)| used(graph, node).map(|(index, rows)| (v, index, rows)))
            .collect();
        let mut found = Indices { bounds: Vec::new(), checked: Vec::new() };
        if uses.is_empty() {
            return Ok(found);
        }
        let ranges = ranges(graph, live);
        let mut needed: BTreeMap<Var, Needed> = BTreeMap::new();
        let mut seen = HashSet::new();
        for (v, index, rows) in uses {
            // The gradient of a table is looked up by the same index.
            if !seen.insert((index, rows)) && !matches!(graph[v].op, Op::Within(_)) {
                continue;
            }
            let mut search = Search { graph, ranges: &ranges, rows, left: MOST };
            match search.inputs(index, 0) {
                Ok(inputs) => {
                    for shown in inputs {
                        needed.entry(shown.input).or_default().add(&shown, graph, &graph[index].shape, rows);
                    }
                }
                Err(Unknown) if matches!(graph[v].op, Op::Within(_)) && !known(graph, index) => found.checked.push(v),
                Err(Unknown) => return Err(refusal(graph, v, index, rows, ranges[index.index()])),
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

/// The index that an operation takes, and what its entries may be.
fn used(graph: &Graph, node: &Node) -> Option<(Var, Rows)> {
    match &node.op {
        Op::Gather => Some((node.args[1], Rows::below(graph[node.args[0]].shape[0]))),
        Op::ScatterAdd => Some((node.args[0], Rows::below(node.shape[0]))),
        Op::Within(rows) => Some((node.args[0], *rows)),
        _ => None,
    }
}

fn refusal(graph: &Graph, v: Var, index: Var, rows: Rows, range: Range) -> String {
    let (name, count) = (graph[v].name(), rows.count);
    match range.named() {
        Some(range) if known(graph, index) => format!("{name}: an index into {count} rows holds {range}"),
        range => {
            let beyond = range.map(|range| format!(" beyond {range}")).unwrap_or_default();
            format!(
                "{name}: an index into {count} rows is computed, and its range is not known{beyond}: \
                 `within(index, {count})` compares it when it runs"
            )
        }
    }
}

/// A walk from a use to the inputs whose entries it reads.
struct Search<'a> {
    graph: &'a Graph,
    ranges: &'a [Range],
    rows: Rows,
    left: usize,
}

impl Search<'_> {
    /// The inputs that `v` shows entries of and that must be admitted for all its elements to be. An error if
    /// elements of it are computed and may be others.
    fn inputs(&mut self, v: Var, depth: usize) -> Result<Vec<Shown>, Unknown> {
        if self.ranges[v.index()].is_within(self.rows) {
            return Ok(vec![]);
        }
        self.left = self.left.checked_sub(1).filter(|_| depth < DEEP).ok_or(Unknown)?;
        let (graph, node, rows) = (self.graph, &self.graph[v], self.rows);
        let mut inner = |i: usize| self.inputs(node.args[i], depth + 1);
        let shape = |i: usize| &graph[node.args[i]].shape[..];
        let shown = match &node.op {
            Op::Input(_) if node.dtype == DType::I32 => vec![Shown::whole(v, &node.shape)],
            // What stands for no row there must do so here.
            Op::Within(inside) if inside.other.is_none_or(|x| rows.admits(x)) => inner(0)?,
            Op::Reshape => inner(0)?.into_iter().map(|s| s.reshaped(shape(0), &node.shape)).collect(),
            Op::Broadcast => inner(0)?.into_iter().map(|s| s.broadcast(shape(0))).collect(),
            Op::Transpose(axes) => inner(0)?.into_iter().map(|s| s.transposed(axes)).collect(),
            Op::Slice(window) => {
                let all = node.len() == graph[node.args[0]].len();
                inner(0)?.into_iter().map(|s| s.sliced(window, all)).collect()
            }
            Op::Windows { axis, start, step, dilation } => {
                inner(0)?.into_iter().map(|s| s.windows(*axis, *start, *step, *dilation)).collect()
            }
            Op::Pad(before) if rows.admits(0) => {
                inner(0)?.into_iter().map(|s| s.placed(before, shape(0), &node.shape)).collect()
            }
            Op::Concat(axis) => {
                let (mut all, mut before) = (Vec::new(), vec![0; node.shape.len()]);
                for i in 0..node.args.len() {
                    all.extend(inner(i)?.into_iter().map(|s| s.placed(&before, shape(i), &node.shape)));
                    before[*axis] += shape(i)[*axis];
                }
                all
            }
            Op::Select => {
                let mut both = inner(1)?;
                both.extend(inner(2)?);
                both
            }
            _ => return Err(Unknown),
        };
        Ok(shown)
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

    /// The elements of a value in a larger one.
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

    /// The entries in the order of the value, whose shape this is.
    fn listed(&self, shape: &[usize]) -> Vec<Option<usize>> {
        let entry = |place: usize| self.entries.as_ref().map_or(Some(place), |entries| entries[place]);
        places(self.offset, &self.strides, shape).map(entry).collect()
    }
}

/// The places of all elements of a shape that lie by these strides.
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
