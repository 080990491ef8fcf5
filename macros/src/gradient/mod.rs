//! Differentiation: from single assignments to the statements of the backward function.
//!
//! Reverse mode, a block at a time. Statements are visited last first; each takes the gradient of
//! its outputs and contributes to those of its inputs. When the definition of a value is reached,
//! all its contributions are known and are summed. There is no tape: the forward values that the
//! walk reads are staged again in front of it, which costs nothing since equal nodes are one.

pub mod liveness;

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;

use crate::lower::ssa::{
    Arg, Block, Call, Callee, For, Function, If, Item, Mode, Over, Plain, Saved, Site, Stmt, ValueId,
};
use crate::names::{Names, stem};
use crate::parse::signature::{DType, ParamKind, Signature};
use liveness::{Liveness, Needs};

/// A gradient, by its place in [`Gradient::names`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GradId(usize);

/// The backward function.
pub struct Gradient {
    /// The gradients of the results that are used; the others are not even named.
    pub douts: Vec<Option<GradId>>,
    pub block: BackBlock,
    /// What the function reads of parameters, sizes and symbols.
    pub needs: Needs,
    /// For names that emission needs besides those of the gradients.
    names: Vec<Option<Ident>>,
}

impl Gradient {
    /// What a gradient is called.
    pub fn name(&self, grad: GradId) -> &Ident {
        self.names[grad.0].as_ref().expect("a gradient is named when its value is done")
    }
}

/// A part of the backward function: forward statements, the way back, and what comes of it.
pub struct BackBlock {
    pub forward: Vec<Stmt>,
    pub stmts: Vec<Back>,
    /// `None` is a gradient of zero.
    pub results: Vec<Option<GradId>>,
}

/// A statement of the way back.
pub enum Back {
    /// The backward function of what was called.
    Call {
        call: Call,
        douts: Vec<Option<GradId>>,
        dargs: Vec<DArg>,
    },
    Sum {
        out: GradId,
        a: GradId,
        b: GradId,
    },
    /// Adds to the gradient of a parameter.
    Accumulate {
        place: Plain,
        d: GradId,
    },
    If {
        condition: Plain,
        then: BackBlock,
        other: BackBlock,
        outs: Vec<GradId>,
    },
    For(BackFor),
}

/// What an argument gets out of a backward call.
#[derive(Clone)]
pub enum DArg {
    /// Nothing that anyone wants.
    None,
    One(GradId),
    List(Vec<Option<GradId>>),
}

/// A loop, last iteration first.
pub struct BackFor {
    pub over: Over,
    pub items: Vec<Item>,
    /// What the loop has besides over slices.
    pub slices: Option<BackSlices>,
    pub saved: Option<Saved>,
    /// The variables that iterations pass on, with what they are before the loop.
    pub vars: Vec<(GradId, Option<GradId>)>,
    /// Yields the next value of the first variables; the others are sums already.
    pub body: BackBlock,
    /// The number of the loop, if calls in it have one.
    pub site: Option<Site>,
}

/// The gradients that a loop over slices takes apart and puts together.
pub struct BackSlices {
    /// A vector of the slices.
    pub name: Ident,
    /// For every output: its gradient, and that of a slice of it.
    pub douts: Vec<(GradId, GradId)>,
    /// A vector of the gradients of slices, if any tensor has one.
    pub dname: Option<Ident>,
    /// For every tensor: the gradient of its slice, and its own.
    pub dtensors: Vec<Option<(GradId, GradId)>>,
}

/// Differentiates a function.
pub fn differentiate(function: &Function, sig: &Signature) -> Gradient {
    let mut walk =
        Walk { function, active: active_values(function, sig), grads: Vec::new(), names: function.names.clone() };
    let results = &function.body.results;
    let douts: Vec<GradId> = match results.len() {
        1 => vec![walk.grad(Some(format_ident!("dout")))],
        _ => results.iter().map(|value| walk.named_after(*value)).collect(),
    };
    let seeds: Vec<_> = douts.iter().copied().map(Some).collect();
    let mut reversed = walk.block(&function.body, &seeds);
    let results: Vec<_> = function.params.iter().map(|param| walk.seal(*param, &mut reversed)).collect();
    let used = |(dout, value): (GradId, &ValueId)| walk.active[value.0].then_some(dout);
    let douts = douts.into_iter().zip(&function.body.results).map(used).collect();
    Gradient {
        douts,
        needs: reversed.needs,
        block: BackBlock { forward: reversed.forward, stmts: reversed.stmts, results },
        names: walk.grads,
    }
}

/// Contributions to the gradients of values.
type Contributions = BTreeMap<ValueId, Vec<GradId>>;

/// A block on the way back.
#[derive(Default)]
struct Reversed {
    forward: Vec<Stmt>,
    stmts: Vec<Back>,
    /// Contributions to values from outside of the block.
    left: Contributions,
    /// Values from outside of the block that are read.
    needs: Needs,
    /// What loops of this block must leave behind.
    saved: BTreeMap<ValueId, Saved>,
}

impl Reversed {
    fn contribute(&mut self, value: ValueId, grad: GradId) {
        self.left.entry(value).or_default().push(grad);
    }
}

struct Walk<'a> {
    function: &'a Function,
    /// Whether a value has a gradient, by value.
    active: Vec<bool>,
    grads: Vec<Option<Ident>>,
    names: Names,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block, seeds: &[Option<GradId>]) -> Reversed {
        let mut reversed = Reversed::default();
        for (value, seed) in block.results.iter().zip(seeds) {
            if let (true, Some(seed)) = (self.active[value.0], seed) {
                reversed.contribute(*value, *seed);
            }
        }
        for stmt in block.stmts.iter().rev() {
            self.stmt(stmt, &mut reversed);
        }
        let liveness = Liveness::replaying(&reversed.saved);
        reversed.forward = liveness.stmts(&block.stmts, &mut reversed.needs);
        reversed
    }

    fn stmt(&mut self, stmt: &Stmt, reversed: &mut Reversed) {
        match stmt {
            Stmt::Call(call) => self.call(call, reversed),
            Stmt::Field { place, out } => {
                if let Some(d) = out.and_then(|out| self.seal(out, reversed)) {
                    reversed.needs.extend(place.reads(Mode::Stage));
                    reversed.stmts.push(Back::Accumulate { place: place.clone(), d });
                }
            }
            Stmt::Number { .. } | Stmt::Let { .. } => {}
            Stmt::If(source) => self.if_stmt(source, reversed),
            Stmt::For(source) => self.for_stmt(source, reversed),
        }
    }

    fn call(&mut self, call: &Call, reversed: &mut Reversed) {
        let outs: Vec<_> = call.outs.iter().flatten().collect();
        let douts: Vec<_> = outs.into_iter().map(|out| self.seal(*out, reversed)).collect();
        if douts.iter().all(Option::is_none) {
            return;
        }
        let mut contribution = |walk: &mut Self, value: ValueId| {
            walk.active[value.0].then(|| {
                let grad = walk.grad(None);
                reversed.contribute(value, grad);
                grad
            })
        };
        let dargs = call.args.iter().map(|arg| match arg {
            Arg::Value(read) => contribution(self, read.value).map_or(DArg::None, DArg::One),
            Arg::List(list) => {
                let grads: Vec<_> = list.iter().map(|read| contribution(self, read.value)).collect();
                if grads.iter().all(Option::is_none) { DArg::None } else { DArg::List(grads) }
            }
            Arg::Plain(_) => DArg::None,
        });
        let dargs = dargs.collect();
        reversed.needs.extend(call.reads(Mode::Stage));
        reversed.stmts.push(Back::Call { call: call.clone(), douts, dargs });
    }

    /// The same branch is taken on the way back; both yield a gradient for every value that
    /// either of them reads from outside.
    fn if_stmt(&mut self, source: &If, reversed: &mut Reversed) {
        let seeds: Vec<_> = source.outs.iter().map(|out| self.seal(*out, reversed)).collect();
        if seeds.iter().all(Option::is_none) {
            return;
        }
        let mut then = self.block(&source.then, &seeds);
        let mut other = self.block(&source.other, &seeds);
        let outside: BTreeSet<ValueId> = then.left.keys().chain(other.left.keys()).copied().collect();
        let mut finish = |branch: &mut Reversed| {
            let results = outside.iter().map(|value| self.seal(*value, branch)).collect();
            reversed.needs.extend(&branch.needs);
            BackBlock {
                forward: std::mem::take(&mut branch.forward),
                stmts: std::mem::take(&mut branch.stmts),
                results,
            }
        };
        let (then, other) = (finish(&mut then), finish(&mut other));
        if then.stmts.is_empty() && other.stmts.is_empty() && outside.is_empty() {
            return;
        }
        let outs: Vec<_> = outside.iter().map(|_| self.grad(None)).collect();
        for (value, out) in outside.iter().zip(&outs) {
            reversed.contribute(*value, *out);
        }
        reversed.needs.extend(source.condition.reads(Mode::Stage));
        reversed.stmts.push(Back::If { condition: source.condition.clone(), then, other, outs });
    }

    /// Iterations are walked last first. The gradients of carried variables are passed from one
    /// to the next; those of values from outside are summed over all.
    fn for_stmt(&mut self, source: &For, reversed: &mut Reversed) {
        let starts: Vec<_> = source.carried.iter().map(|carried| self.seal(carried.out, reversed)).collect();
        let douts: Vec<_> = source.outs.iter().map(|out| self.seal(*out, reversed)).collect();
        if starts.iter().chain(&douts).all(Option::is_none) {
            return;
        }
        let mut vars = Vec::new();
        let mut seeds = Vec::new();
        for (carried, start) in source.carried.iter().zip(starts) {
            let var = self.active[carried.inner.0].then(|| self.named_after(carried.inner));
            vars.extend(var.map(|var| (var, start)));
            seeds.push(var);
        }
        let yielded = source.outs.iter().zip(&douts).map(|(out, dout)| dout.map(|_| self.named_after(*out)));
        let yielded: Vec<_> = yielded.collect();
        seeds.extend(&yielded);
        let mut body = self.block(&source.body, &seeds);
        let carried: Vec<_> = source.carried.iter().filter(|carried| self.active[carried.inner.0]).collect();
        let results: Vec<_> = carried.iter().map(|carried| self.seal(carried.inner, &mut body)).collect();
        let slices = match &source.over {
            Over::Networks(_) => None,
            Over::Slices(slices) => {
                let dtensors = (source.items.iter().zip(&slices.tensors)).map(|(item, tensor)| {
                    let slice = self.seal(item.value, &mut body)?;
                    let whole = self.grad(None);
                    reversed.contribute(tensor.value, whole);
                    Some((slice, whole))
                });
                let dtensors: Vec<_> = dtensors.collect();
                let name = format_ident!("{}_slices", stem(self.function.name(source.id())));
                let dname = format_ident!("d{name}");
                Some(BackSlices {
                    name: self.names.ours(&name),
                    douts: douts.iter().zip(&yielded).filter_map(|(dout, slice)| Some(((*dout)?, (*slice)?))).collect(),
                    dname: dtensors.iter().any(Option::is_some).then(|| self.names.ours(&dname)),
                    dtensors,
                })
            }
        };
        for value in body.left.keys().copied().collect::<Vec<_>>() {
            let Some(d) = self.seal(value, &mut body) else { continue };
            let sum = self.named_after(value);
            body.stmts.push(Back::Sum { out: sum, a: sum, b: d });
            vars.push((sum, None));
            reversed.contribute(value, sum);
        }
        for (carried, (var, _)) in carried.iter().zip(&vars) {
            if self.active[carried.init.0] {
                reversed.contribute(carried.init, *var);
            }
        }
        let saved = self.save(source, &mut body.needs);
        let items = source.items.iter().map(|item| Item { read: body.needs.remove(&item.value), ..*item }).collect();
        reversed.needs.extend(body.needs);
        reversed.needs.extend(source.over.reads(Mode::Stage));
        reversed.saved.extend(saved.clone().map(|saved| (source.id(), saved)));
        reversed.stmts.push(Back::For(BackFor {
            over: source.over.clone(),
            items,
            slices,
            saved,
            vars,
            body: BackBlock { forward: body.forward, stmts: body.stmts, results },
            site: source.site,
        }));
    }

    /// The carried variables whose value in each iteration the way back reads.
    fn save(&mut self, source: &For, needs: &mut Needs) -> Option<Saved> {
        let inner = source.carried.iter().map(|carried| carried.inner);
        let values: Vec<ValueId> = inner.filter(|value| needs.remove(value)).collect();
        let first = stem(self.function.name(*values.first()?));
        let name = self.names.ours(&format_ident!("{first}_in"));
        Some(Saved { name, values })
    }

    /// The sum of all contributions to a value, which are complete.
    fn seal(&mut self, value: ValueId, reversed: &mut Reversed) -> Option<GradId> {
        let grads = reversed.left.remove(&value)?;
        let base = self.grad_name(value);
        let &[first, ref others @ ..] = &grads[..] else { return None };
        if others.is_empty() {
            if self.grads[first.0].is_none() {
                self.grads[first.0] = Some(self.names.ours(&base));
            }
            return Some(first);
        }
        let sum = self.names.ours(&base);
        for grad in &grads {
            if self.grads[grad.0].is_none() {
                self.grads[grad.0] = Some(self.names.numbered(&base));
            }
        }
        Some(others.iter().fold(first, |a, b| {
            let out = self.grad(Some(sum.clone()));
            reversed.stmts.push(Back::Sum { out, a, b: *b });
            out
        }))
    }

    fn grad(&mut self, name: Option<Ident>) -> GradId {
        self.grads.push(name);
        GradId(self.grads.len() - 1)
    }

    fn named_after(&mut self, value: ValueId) -> GradId {
        let name = self.names.ours(&self.grad_name(value));
        self.grad(Some(name))
    }

    fn grad_name(&self, value: ValueId) -> Ident {
        format_ident!("d{}", self.function.name(value).unraw())
    }
}

/// Which values have a gradient: tensors that depend on a `Tensor` parameter or on a network.
fn active_values(function: &Function, sig: &Signature) -> Vec<bool> {
    let mut active = vec![false; function.values.len()];
    for (param, value) in sig.params.iter().zip(&function.params) {
        active[value.0] = match &param.kind {
            ParamKind::Tensor(declared) => matches!(declared.dtype, DType::Tensor | DType::Any),
            _ => false,
        };
    }
    activate(&function.body, &mut active);
    active
}

fn activate(block: &Block, active: &mut [bool]) {
    for stmt in &block.stmts {
        match stmt {
            Stmt::Call(call) => {
                let is_active = match &call.callee {
                    Callee::Function { smooth, .. } => {
                        *smooth && call.reads(Mode::Stage).iter().any(|value| active[value.0])
                    }
                    Callee::Method { .. } => true,
                };
                call.outs.iter().flatten().for_each(|out| active[out.0] = is_active);
            }
            Stmt::Field { out, .. } => out.iter().for_each(|out| active[out.0] = true),
            Stmt::Number { .. } | Stmt::Let { .. } => {}
            Stmt::If(source) => {
                activate(&source.then, active);
                activate(&source.other, active);
                let results = source.then.results.iter().zip(&source.other.results);
                for (out, (a, b)) in source.outs.iter().zip(results) {
                    active[out.0] = active[a.0] || active[b.0];
                }
            }
            Stmt::For(source) => loop {
                let mut grown = false;
                if let Over::Slices(slices) = &source.over {
                    for (item, tensor) in source.items.iter().zip(&slices.tensors) {
                        active[item.value.0] = active[tensor.value.0];
                    }
                }
                activate(&source.body, active);
                for (carried, next) in source.carried.iter().zip(&source.body.results) {
                    let is_active = active[carried.init.0] || active[next.0];
                    grown |= is_active && !active[carried.inner.0];
                    active[carried.inner.0] = is_active;
                    active[carried.out.0] = is_active;
                }
                let yielded = &source.body.results[source.carried.len()..];
                for (out, slice) in source.outs.iter().zip(yielded) {
                    active[out.0] = active[slice.0];
                }
                if !grown {
                    break;
                }
            },
        }
    }
}
