//! Which statements, outputs and names a function needs, found backwards from its results.

use std::collections::{BTreeMap, BTreeSet};

use crate::lower::ssa::{Block, Call, Carried, For, If, Item, Mode, Saved, Stmt, ValueId};

/// Values that something reads.
pub type Needs = BTreeSet<ValueId>;

/// Finds what is read.
pub struct Liveness<'a> {
    mode: Mode,
    /// What becomes of a statement that nothing reads: a forward function keeps it, so that the
    /// compiler still checks the user's call; a backward function replays what it needs.
    keep: bool,
    /// The loops, by item, that must leave values behind for their gradient.
    saved: Option<&'a BTreeMap<ValueId, Saved>>,
}

impl<'a> Liveness<'a> {
    /// For a whole forward function.
    pub fn keeping(mode: Mode) -> Liveness<'static> {
        Liveness { mode, keep: true, saved: None }
    }

    /// For the part of a forward function that its gradient needs.
    pub fn replaying(saved: &'a BTreeMap<ValueId, Saved>) -> Liveness<'a> {
        Liveness { mode: Mode::Stage, keep: false, saved: Some(saved) }
    }

    /// The block with unread outputs marked; `needs` becomes what it reads from outside.
    pub fn block(&self, block: &Block, needs: &mut Needs) -> Block {
        needs.extend(&block.results);
        Block { stmts: self.stmts(&block.stmts, needs), results: block.results.clone() }
    }

    /// The statements with unread outputs marked; `needs` goes from what is read behind them to
    /// what is read before them.
    pub fn stmts(&self, stmts: &[Stmt], needs: &mut Needs) -> Vec<Stmt> {
        let mut live: Vec<Stmt> = stmts.iter().rev().filter_map(|stmt| self.stmt(stmt, needs)).collect();
        live.reverse();
        live
    }

    fn stmt(&self, stmt: &Stmt, needs: &mut Needs) -> Option<Stmt> {
        match stmt {
            Stmt::Call(call) => {
                let outs: Vec<_> = call.outs.iter().map(|out| out.filter(|out| needs.remove(out))).collect();
                if !self.keep && outs.iter().all(Option::is_none) {
                    return None;
                }
                needs.extend(call.reads(self.mode));
                Some(Stmt::Call(Call { outs, ..call.clone() }))
            }
            Stmt::Field { place, out } => {
                let out = self.output(*out, needs)?;
                needs.extend(place.reads(self.mode));
                Some(Stmt::Field { place: place.clone(), out })
            }
            Stmt::Number { plain, out } => {
                let out = self.output(*out, needs)?;
                needs.extend(plain.reads(self.mode));
                Some(Stmt::Number { plain: plain.clone(), out })
            }
            Stmt::Let { plain, out } => {
                let out = self.output(*out, needs)?;
                needs.extend(plain.reads(self.mode));
                Some(Stmt::Let { plain: plain.clone(), out })
            }
            Stmt::If(source) => self.if_stmt(source, needs).map(Stmt::If),
            Stmt::For(source) => self.for_stmt(source, needs).map(Stmt::For),
        }
    }

    /// `None` to drop the statement, `Some(None)` to keep it without a name for its output.
    fn output(&self, out: Option<ValueId>, needs: &mut Needs) -> Option<Option<ValueId>> {
        let live = out.filter(|out| needs.remove(out));
        (self.keep || live.is_some()).then_some(live)
    }

    fn if_stmt(&self, source: &If, needs: &mut Needs) -> Option<If> {
        let live: Vec<bool> = source.outs.iter().map(|out| needs.remove(out)).collect();
        if !self.keep && !live.contains(&true) {
            return None;
        }
        let mut branch = |block: &Block| {
            let block = Block { stmts: block.stmts.clone(), results: pick(&block.results, &live) };
            let mut inner = Needs::new();
            let block = self.inner().block(&block, &mut inner);
            needs.extend(inner);
            block
        };
        let (then, other) = (branch(&source.then), branch(&source.other));
        needs.extend(source.condition.reads(self.mode));
        let outs = pick(&source.outs, &live);
        Some(If { condition: source.condition.clone(), training: source.training, then, other, outs })
    }

    fn for_stmt(&self, source: &For, needs: &mut Needs) -> Option<For> {
        let saved = self.saved.and_then(|saved| saved.get(&source.id())).cloned();
        let saves = |value: &ValueId| saved.as_ref().is_some_and(|saved| saved.values.contains(value));
        let mut carried: Vec<bool> = (source.carried.iter())
            .map(|carried| self.keep || needs.remove(&carried.out) || saves(&carried.inner))
            .collect();
        let yielded: Vec<bool> = source.outs.iter().map(|out| needs.remove(out)).collect();
        if !carried.contains(&true) && !yielded.contains(&true) && !self.keep {
            return None;
        }
        // A carried variable can be needed by another one in the next iteration only.
        let (body, mut inner) = loop {
            let results = pick(&source.body.results, &[&carried[..], &yielded[..]].concat());
            let mut inner = Needs::new();
            let block = Block { stmts: source.body.stmts.clone(), results };
            let body = self.inner().block(&block, &mut inner);
            let grown: Vec<bool> = (source.carried.iter().zip(&carried))
                .map(|(var, carried)| *carried || inner.contains(&var.inner))
                .collect();
            if grown == carried {
                break (body, inner);
            }
            carried = grown;
        };
        let items: Vec<Item> =
            source.items.iter().map(|item| Item { read: inner.remove(&item.value), ..*item }).collect();
        needs.extend(inner);
        let carried: Vec<Carried> = pick(&source.carried, &carried);
        for var in &carried {
            needs.remove(&var.out);
            needs.remove(&var.inner);
        }
        needs.extend(carried.iter().map(|var| var.init));
        needs.extend(source.over.reads(self.mode));
        Some(For {
            over: source.over.clone(),
            items,
            carried,
            body,
            outs: pick(&source.outs, &yielded),
            saved,
            site: source.site,
        })
    }

    /// Inside a branch or loop: values are left behind where the gradient of the loop is, and
    /// that is for each block on its own.
    fn inner(&self) -> Liveness<'static> {
        Liveness { mode: self.mode, keep: self.keep, saved: None }
    }
}

/// The items that are chosen.
fn pick<T: Clone>(items: &[T], chosen: &[bool]) -> Vec<T> {
    items.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(item, _)| item.clone()).collect()
}
