//! Rematerialisation: which values the kernels that read them compute themselves.
//!
//! A value that another kernel reads is stored, unless every such kernel can compute it from stored values by a few
//! cheap operations and reads all but one of these stored values anyway. Then the value is dropped, and each reader
//! computes it. This never takes more memory: at most that one other value is stored instead.

use std::collections::HashSet;

use super::group::{Fusion, Group, Item, is_run};
use crate::graph::strides::reshaped;
use crate::graph::{Op, Var};

/// The most operations by which a value is rematerialised: an estimate of how many sums and products of vectors take as
/// long as reading one vector from memory.
const MAX_OPERATIONS: usize = 8;

/// How a kernel may compute a value from stored ones.
#[derive(Default)]
struct Recipe {
    /// The operations, by their results.
    computed: Vec<Var>,
    /// The stored values that are read.
    read: Vec<Var>,
}

impl Fusion<'_> {
    /// Drops stored values that all their readers can compute from others.
    pub(crate) fn rematerialise(&mut self, live: &[bool], outputs: &[Var]) {
        let results: HashSet<Var> = outputs.iter().map(|&v| self.view(v).base).collect();
        let mut readers: Vec<Vec<Var>> = vec![Vec::new(); self.graph.nodes().len()];
        for (v, node) in self.graph.vars().filter(|(v, _)| live[v.index()]) {
            node.args.iter().for_each(|arg| readers[arg.index()].push(v));
        }
        for (v, node) in self.graph.vars() {
            let stored = node.op.facts().cheap && self.stored.contains(&v) && !results.contains(&v);
            if stored && self.can_be_computed_by(v, &readers[v.index()], &readers) {
                self.stored.remove(&v);
                self.mark_rematerialised(v);
            }
        }
    }

    /// Notes that readers compute `v`, and the arguments of `v` that are not stored either.
    fn mark_rematerialised(&mut self, v: Var) {
        self.rematerialised[v.index()] = true;
        for arg in self.graph[v].args.clone() {
            if self.is_computed_by_readers(arg) {
                self.mark_rematerialised(arg);
            }
        }
    }

    /// Whether a kernel that reads `v` computes `v` itself, since `v` is not stored.
    fn is_computed_by_readers(&self, v: Var) -> bool {
        let is_member = self.item_of[v.index()].is_some();
        self.inline[v.index()] || is_member && self.graph[v].op.facts().cheap && !self.stored.contains(&v)
    }

    /// Whether all readers of `v`, which are `by`, can compute `v` from stored values.
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

    /// Whether kernel `index` can compute `v` and reads less than twice the size of `v` more for that.
    fn pays(&self, v: Var, index: usize) -> bool {
        let Item::Group(group) = &self.items[index] else { return false };
        let mut recipe = Recipe::default();
        let len = |v: &Var| self.graph[*v].len();
        let more = |recipe: &Recipe| recipe.read.iter().filter(|v| !group.bases.contains(v)).map(len).sum::<usize>();
        self.find_recipe(v, index, group, &mut recipe) && more(&recipe) < 2 * len(&v)
    }

    /// Adds to the recipe what computes `v`; false if kernel `index` cannot compute `v`.
    fn find_recipe(&self, v: Var, index: usize, group: &Group, recipe: &mut Recipe) -> bool {
        if recipe.computed.contains(&v) {
            return true;
        }
        recipe.computed.push(v);
        let node = &self.graph[v];
        recipe.computed.len() <= MAX_OPERATIONS
            && node.args.iter().all(|&arg| {
                if self.is_computed_by_readers(arg) {
                    return self.find_recipe(arg, index, group, recipe);
                }
                let a = self.view(arg);
                let base = &self.graph[a.base].op;
                if let Op::Const(_) = base {
                    return true;
                }
                if !recipe.read.contains(&a.base) {
                    recipe.read.push(a.base);
                }
                let before = self.stored.contains(&a.base) && self.item_of[a.base.index()] < Some(index);
                let strides = reshaped(&node.shape, &a.strides, &group.space);
                let is_run = |s: Vec<isize>| group.split.is_none_or(|k| is_run(&s, &group.space, k));
                (before || base.is_source()) && strides.is_some_and(is_run)
            })
    }
}
