//! Which values are computed again by the kernels that read them.
//!
//! A value that another kernel reads is written to memory and read back, unless a few sums and products make
//! it of others there, of which every such kernel reads all but one anyway: then each does so itself. That
//! never takes more memory, since the one is kept in place of the value.

use std::collections::HashSet;

use super::group::{Fusion, Group, Item, is_run};
use crate::graph::strides::reshaped;
use crate::graph::{Op, Var};

/// The most operations that cost no more than reading a value.
const MOST: usize = 8;

/// How a kernel may compute a value again.
#[derive(Default)]
struct Way {
    /// The operations, by their results.
    computed: Vec<Var>,
    /// What must be in memory.
    read: Vec<Var>,
}

impl Fusion<'_> {
    /// Takes values out of memory that are cheap to make of others there.
    pub(crate) fn compute_again(&mut self, live: &[bool], outputs: &[Var]) {
        let results: HashSet<Var> = outputs.iter().map(|&v| self.access(v).base).collect();
        let mut readers: Vec<Vec<Var>> = vec![Vec::new(); self.graph.nodes().len()];
        for (v, node) in self.graph.vars().filter(|(v, _)| live[v.index()]) {
            node.args.iter().for_each(|arg| readers[arg.index()].push(v));
        }
        for (v, node) in self.graph.vars() {
            let stored = node.op.facts().cheap && self.stored.contains(&v) && !results.contains(&v);
            if stored && self.can_be_computed_by(v, &readers[v.index()], &readers) {
                self.stored.remove(&v);
                self.mark_again(v);
            }
        }
    }

    /// Notes that `v` is computed again, and what of it is in no memory.
    fn mark_again(&mut self, v: Var) {
        self.again[v.index()] = true;
        for arg in self.graph[v].args.clone() {
            if self.is_made_with(arg) {
                self.mark_again(arg);
            }
        }
    }

    /// Whether a kernel that reads `v` computes it, or may do so, since it is in no memory.
    fn is_made_with(&self, v: Var) -> bool {
        let is_member = self.item_of[v.index()].is_some();
        self.inline[v.index()] || is_member && self.graph[v].op.facts().cheap && !self.stored.contains(&v)
    }

    /// Whether all readers of `v` can compute it from what is in memory.
    fn can_be_computed_by(&self, v: Var, by: &[Var], readers: &[Vec<Var>]) -> bool {
        by.iter().all(|&reader| {
            let op = &self.graph[reader].op;
            if !op.is_in_loops() || self.layout.is_copied(reader) {
                return false;
            }
            if self.inline[reader.index()] {
                return self.can_be_computed_by(v, &readers[reader.index()], readers);
            }
            match self.item_of[reader.index()] {
                Some(index) if Some(index) == self.item_of[v.index()] => true,
                Some(index) => self.pays(v, index),
                None => false,
            }
        })
    }

    /// Whether a kernel can compute `v` and need not read more for it.
    fn pays(&self, v: Var, index: usize) -> bool {
        let Item::Group(group) = &self.items[index] else { return false };
        let mut way = Way::default();
        let len = |v: &Var| self.graph[*v].len();
        let more = |way: &Way| way.read.iter().filter(|v| !group.bases.contains(v)).map(len).sum::<usize>();
        self.find_way(v, index, group, &mut way) && more(&way) < 2 * len(&v)
    }

    /// Adds to the way what computes `v`; false if there is none.
    fn find_way(&self, v: Var, index: usize, group: &Group, way: &mut Way) -> bool {
        if way.computed.contains(&v) {
            return true;
        }
        way.computed.push(v);
        let node = &self.graph[v];
        way.computed.len() <= MOST
            && node.args.iter().all(|&arg| {
                if self.is_made_with(arg) {
                    return self.find_way(arg, index, group, way);
                }
                let a = self.access(arg);
                let base = &self.graph[a.base].op;
                if let Op::Const(_) = base {
                    return true;
                }
                if !way.read.contains(&a.base) {
                    way.read.push(a.base);
                }
                let before = self.stored.contains(&a.base) && self.item_of[a.base.index()] < Some(index);
                let strides = reshaped(&node.shape, &a.strides, &group.space);
                let is_run = |s: Vec<isize>| group.split.is_none_or(|k| is_run(&s, &group.space, k));
                (before || base.is_source()) && strides.is_some_and(is_run)
            })
    }
}
