//! States of a network, which a body can assign: within it they are variables, written `self.name`.

use proc_macro2::{Ident, Span};
use syn::visit::Visit;
use syn::{Expr, Member};

use super::ssa::{Arg, Call, Callee, Kind, Plain, Read, Stmt, ValueId};
use super::{Local, Lower, Operand};
use crate::error::{Checked, Reported};

impl Lower<'_> {
    /// Declares a variable for every field that the body assigns; gives their places.
    pub fn states(&mut self, body: &syn::Block) -> Vec<Plain> {
        let mut targets = Targets(Vec::new());
        targets.visit_block(body);
        let mut places: Vec<Plain> = Vec::new();
        for target in targets.0 {
            let Some(name) = self.own_field(target) else { continue };
            if !self.network || self.state(name).is_some() {
                continue;
            }
            let place = self.verbatim(target);
            let value = self.result(None, name);
            self.stmts.push(Stmt::Field { place: place.clone(), out: Some(value) });
            self.env.push(Local { name: name.clone(), value, mutable: true, state: true });
            places.push(place);
        }
        places
    }

    /// The name of `self.name`.
    pub fn own_field<'e>(&self, expr: &'e Expr) -> Option<&'e Ident> {
        let Expr::Field(syn::ExprField { base, member: Member::Named(name), .. }) = expr else { return None };
        let is_self = matches!(&**base, Expr::Path(path) if path.path.is_ident("self"));
        is_self.then_some(name)
    }

    /// The value that a state has at the moment, if the body assigns it somewhere.
    pub fn state(&self, name: &Ident) -> Option<ValueId> {
        self.env.iter().find(|local| local.state && local.name == *name).map(|local| local.value)
    }

    /// `self.name = value`: the new value, without a gradient.
    pub fn assign_state(&mut self, name: &Ident, value: Operand, span: Span) -> Checked<()> {
        let Some(old) = self.state(name) else {
            return Err(self.errors.at(name, "a free function has no state: move it into a `#[network] impl`"));
        };
        let new = self.tensor(value, None);
        let out = self.named(name, Kind::Tensor);
        let callee =
            Callee::Function { path: syn::parse_quote_spanned!(span=> ::downhill::ops::assigned), smooth: false };
        let args = [old, new].map(|value| Arg::Value(Read { value, span }));
        self.stmts.push(Stmt::Call(Call {
            callee,
            args: args.into(),
            outs: vec![Some(out)],
            list: false,
            checkpoint: false,
            site: None,
            span,
        }));
        let state = self.env.iter_mut().find(|local| local.state && local.name == *name);
        state.map(|local| local.value = out).ok_or(Reported)
    }
}

/// The left sides of all assignments.
struct Targets<'a>(Vec<&'a Expr>);

impl<'a> Targets<'a> {
    fn target(&mut self, target: &'a Expr) {
        match target {
            Expr::Tuple(tuple) => tuple.elems.iter().for_each(|elem| self.target(elem)),
            _ => self.0.push(target),
        }
    }
}

impl<'a> Visit<'a> for Targets<'a> {
    fn visit_expr_assign(&mut self, assign: &'a syn::ExprAssign) {
        self.target(&assign.left);
    }

    fn visit_expr_binary(&mut self, binary: &'a syn::ExprBinary) {
        use syn::BinOp::*;
        if let AddAssign(_) | SubAssign(_) | MulAssign(_) | DivAssign(_) = binary.op {
            self.target(&binary.left);
        }
    }
}
