//! `if` on constants, and `for` over arrays of networks or slices of tensors.

use proc_macro2::Ident;
use quote::format_ident;
use syn::spanned::Spanned;
use syn::{Expr, Pat, UnOp};

use super::ssa::{Block, Carried, For, If, Item, Kind, Meaning, Over, Plain, Read, Slices, Stmt, ValueId};
use super::{Local, Lower, Operand, Want};
use crate::error::{Checked, Reported};
use crate::parse::dims::bare;

const FOR: &str = "`for` runs over an array of networks or the slices of a tensor: write `for block in &self.blocks` or `for x in unbind(xs, 1)`";

impl Lower<'_> {
    /// An `if`, which yields the wanted values and those of the variables it assigns.
    pub fn if_expr(&mut self, source: &syn::ExprIf, want: &Want) -> Checked<Vec<Operand>> {
        let (wanted, unnamed) = (want.names(), want.unnamed());
        let (condition, training) = match training(&source.cond) {
            Some(negated) => (Ok(self.training(&source.cond)), Some(negated)),
            None => (self.condition(&source.cond), None),
        };
        if source.else_branch.is_none() && !wanted.is_empty() {
            return Err(self.errors.at(source, "`if` without `else` yields nothing: add `else { … }`"));
        }
        let before = self.env.clone();
        let then = self.branch(|lower| lower.block(&source.then_branch, &unnamed));
        let after_then = std::mem::replace(&mut self.env, before.clone());
        let other = self.branch(|lower| match &source.else_branch {
            Some((_, other)) => lower.expr(other, &unnamed),
            None => Ok(Vec::new()),
        });
        let after_other = std::mem::replace(&mut self.env, before);
        let (condition, mut then, mut other) = (condition?, then?, other?);

        let span = source.if_token.span;
        let base = format_ident!("if", span = span);
        let mut outs: Vec<ValueId> = wanted.iter().map(|name| self.result(*name, &base)).collect();
        let yielded = outs.len();
        for i in 0..self.env.len() {
            let (a, b) = (after_then[i].value, after_other[i].value);
            if (a, b) != (self.env[i].value, self.env[i].value) {
                then.results.push(a);
                other.results.push(b);
                let name = self.env[i].name.clone();
                self.env[i].value = self.named(&name, Kind::Tensor);
                outs.push(self.env[i].value);
            }
        }
        let operands = outs[..yielded].iter().map(|&value| Operand::Value(Read { value, span })).collect();
        if training == Some(true) {
            std::mem::swap(&mut then, &mut other);
        }
        self.stmts.push(Stmt::If(If { condition, training: training.is_some(), then, other, outs }));
        Ok(operands)
    }

    /// The condition `training()` where a network is staged.
    fn training(&self, cond: &Expr) -> Plain {
        let expr = syn::parse_quote_spanned!(cond.span()=> g.is_training());
        Plain { expr: Box::new(expr), meaning: Meaning::Constant, reads: vec![] }
    }

    /// Lowers into a block of its own, whose results are tensors.
    fn branch(&mut self, lower: impl FnOnce(&mut Self) -> Checked<Vec<Operand>>) -> Checked<Block> {
        let outer = std::mem::take(&mut self.stmts);
        let results =
            lower(self).map(|operands| operands.into_iter().map(|operand| self.tensor(operand, None)).collect());
        let stmts = std::mem::replace(&mut self.stmts, outer);
        Ok(Block { stmts, results: results? })
    }

    /// A `for`, which carries the variables that its body assigns. Over slices it may yield values:
    /// what its iterations yield, along the same axis.
    pub fn for_loop(&mut self, source: &syn::ExprForLoop, want: &Want) -> Checked<Vec<Operand>> {
        if let Some(label) = &source.label {
            return Err(self.errors.at(label, "a label on `for`: network functions have no `break` or `continue`"));
        }
        let over = self.over(&source.expr)?;
        let items = self.items(&source.pat, &over)?;
        let kind = match over {
            Over::Networks(_) => Kind::Network,
            Over::Slices(_) => Kind::Tensor,
        };
        if kind == Kind::Network && !want.names().is_empty() {
            let message = "`for` over networks yields nothing: assign a variable in it, as in `x = block(x);`";
            return Err(self.errors.at(source, message));
        }
        let unnamed = want.unnamed();
        let assigned = self.assigned(&items, kind, &unnamed, source)?;

        let outer = self.env.clone();
        let mut carried = Vec::new();
        for i in assigned {
            let Local { name, value: init, .. } = self.env[i].clone();
            if self.kind(init) != Kind::Tensor {
                return Err(self.errors.at(name, "a loop can reassign tensors only"));
            }
            let inner = self.named(&name, Kind::Tensor);
            let out = self.push_value(self.values[inner.0].name.clone(), Kind::Tensor);
            self.env[i].value = inner;
            carried.push((i, Carried { init, inner, out }));
        }
        let items = items.iter().map(|name| Item { value: self.declare(name, kind, false), read: true }).collect();
        let sites = self.sites;
        let mut body = self.branch(|lower| lower.block(&source.body, &unnamed))?;
        let site = (self.sites > sites).then(|| self.site());
        let next = carried.iter().map(|(i, _)| self.env[*i].value);
        body.results = next.chain(std::mem::take(&mut body.results)).collect();

        self.env = outer;
        for (i, carried) in &carried {
            self.env[*i].value = carried.out;
        }
        let carried = carried.into_iter().map(|(_, carried)| carried).collect();
        let span = source.for_token.span;
        let base = format_ident!("for", span = span);
        let outs: Vec<ValueId> = want.names().iter().map(|name| self.result(*name, &base)).collect();
        let operands = outs.iter().map(|&value| Operand::Value(Read { value, span })).collect();
        self.stmts.push(Stmt::For(For { over, items, carried, body, outs, saved: None, site }));
        Ok(operands)
    }

    /// The names of what a loop is at: one for a network, one for each tensor that is cut.
    fn items(&mut self, pat: &Pat, over: &Over) -> Checked<Vec<Ident>> {
        let count = match over {
            Over::Networks(_) => 1,
            Over::Slices(slices) => slices.tensors.len(),
        };
        let pats: Vec<&Pat> = match pat {
            Pat::Tuple(tuple) if count > 1 => tuple.elems.iter().collect(),
            pat => vec![pat],
        };
        if pats.len() != count {
            return Err(self.errors.at(pat, format!("the variables of this `for` are {count}, in a tuple")));
        }
        let names = pats.into_iter().map(|pat| match pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => {
                Ok(pat.ident.clone())
            }
            Pat::Wild(wild) => Ok(format_ident!("_item", span = wild.underscore_token.span)),
            other => Err(self.errors.at(other, "the variable of a `for` is a name")),
        });
        names.collect()
    }

    fn over(&mut self, expr: &Expr) -> Checked<Over> {
        match expr {
            Expr::Call(call) if is_unbind(&call.func) => self.slices(call).map(Over::Slices),
            _ => self.array(expr).map(Over::Networks),
        }
    }

    /// `unbind(x, 1)` or `unbind([x, y], 1)`.
    fn slices(&mut self, call: &syn::ExprCall) -> Checked<Slices> {
        let (Expr::Path(func), [tensors, axis]) = (&*call.func, &call.args.iter().collect::<Vec<_>>()[..]) else {
            return Err(self.errors.at(call, "`unbind` takes a tensor, or some in brackets, and an axis"));
        };
        let tensors: Vec<_> = match tensors {
            Expr::Array(array) if !array.elems.is_empty() => array.elems.iter().map(|elem| self.read(elem)).collect(),
            tensor => vec![self.read(tensor)],
        };
        let tensors = tensors.into_iter().collect::<Checked<_>>()?;
        let Operand::Plain(axis) = self.one(axis)? else {
            return Err(self.errors.at(axis, "an axis is a constant"));
        };
        let path = syn::parse_quote_spanned!(func.span()=> ::downhill::ops::slices);
        Ok(Slices { path, tensors, axis, span: call.paren_token.span.join() })
    }

    /// `&self.blocks` or `self.blocks.iter()`.
    fn array(&mut self, expr: &Expr) -> Checked<Plain> {
        let place = match expr {
            Expr::Reference(reference) if reference.mutability.is_none() => &*reference.expr,
            Expr::MethodCall(call) if call.method == "iter" && call.args.is_empty() => &*call.receiver,
            other => other,
        };
        if !self.is_field(place) {
            return Err(self.errors.at(expr, FOR));
        }
        Ok(self.verbatim(place))
    }

    /// The variables that the body of a loop assigns. Only lowering it tells, since a variable
    /// of the body may have the same name; so that is done once on trial.
    fn assigned(&mut self, items: &[Ident], kind: Kind, want: &Want, source: &syn::ExprForLoop) -> Checked<Vec<usize>> {
        let before = self.env.clone();
        let (names, values, errors) = (self.names.clone(), self.values.len(), self.errors.len());
        let sites = self.sites;
        for item in items {
            self.declare(item, kind, false);
        }
        let trial = self.branch(|lower| lower.block(&source.body, want));
        let after = std::mem::replace(&mut self.env, before);
        if trial.is_err() || self.errors.len() > errors {
            return Err(Reported);
        }
        self.names = names;
        self.values.truncate(values);
        self.sites = sites;
        let changed = |i: &usize| self.env[*i].value != after[*i].value;
        Ok((0..self.env.len()).filter(changed).collect())
    }
}

/// Whether a condition is `training()` (`Some(false)`) or `!training()` (`Some(true)`).
fn training(cond: &Expr) -> Option<bool> {
    match bare(cond) {
        Expr::Call(call) => asks_training(call).then_some(false),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => training(&unary.expr).map(|negated| !negated),
        _ => None,
    }
}

/// Whether a call is `training()`.
pub fn asks_training(call: &syn::ExprCall) -> bool {
    matches!(&*call.func, Expr::Path(path) if path.path.is_ident("training")) && call.args.is_empty()
}

/// Whether a function is the one that a loop cuts tensors with.
fn is_unbind(func: &Expr) -> bool {
    matches!(func, Expr::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "unbind"))
}
