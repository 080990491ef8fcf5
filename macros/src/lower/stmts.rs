//! Statements: `let`, assignment, and what else may stand in a block.

use proc_macro2::Ident;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Pat, Stmt as Source};

use super::attrs::{CHECKPOINT, attributes};
use super::ssa::{Kind, Meaning, Stmt, ValueId};
use super::{Local, Lower, Operand, Want, unsupported};
use crate::error::{Checked, Reported};
use crate::parse::dims::bare;

impl Lower<'_> {
    /// Lowers a block. Its variables go out of scope; what it assigned outside stays.
    pub fn block(&mut self, block: &syn::Block, want: &Want) -> Checked<Vec<Operand>> {
        let outer = self.env.len();
        let results = self.block_in_scope(block, want);
        self.env.truncate(outer);
        results
    }

    fn block_in_scope(&mut self, block: &syn::Block, want: &Want) -> Checked<Vec<Operand>> {
        let (tail, stmts) = match block.stmts.split_last() {
            Some((Source::Expr(tail, None), stmts)) => (Some(tail), stmts),
            _ => (None, &block.stmts[..]),
        };
        let mut ok = true;
        for stmt in stmts {
            ok &= self.stmt(stmt).is_ok();
        }
        let results = match (tail, want.names().is_empty()) {
            (Some(tail), true) => self.effect(tail).map(|()| Vec::new()),
            (Some(tail), false) => self.expr(tail, want),
            (None, true) => Ok(Vec::new()),
            (None, false) if !ok => Err(Reported),
            (None, false) => {
                let message = "the block yields nothing: end it with the value, without `;`";
                Err(self.errors.push(syn::Error::new(block.brace_token.span.close(), message)))
            }
        };
        if ok { results } else { Err(Reported) }
    }

    fn stmt(&mut self, stmt: &Source) -> Checked<()> {
        match stmt {
            Source::Local(local) => self.local(local),
            Source::Expr(expr, _) => self.effect(expr),
            Source::Item(item) => {
                Err(self.errors.at(item, "an item inside a network function: move it out of the function"))
            }
            Source::Macro(mac) => Err(self.errors.at(mac, unsupported::MACRO)),
        }
    }

    /// A statement that yields no value.
    fn effect(&mut self, expr: &Expr) -> Checked<()> {
        // In front of a statement, an attribute belongs to what the statement begins with.
        let first = match expr {
            Expr::Assign(assign) => &*assign.left,
            Expr::Binary(binary) => &*binary.left,
            other => other,
        };
        if let Some(attr) = attributes(expr).iter().chain(attributes(first)).next() {
            return Err(self.errors.at(attr, CHECKPOINT));
        }
        match expr {
            Expr::Assign(assign) => self.assign(&assign.left, &assign.right),
            Expr::Binary(binary) if let Some(op) = assigned_operator(&binary.op) => {
                let value = Expr::Binary(syn::ExprBinary {
                    attrs: Vec::new(),
                    left: binary.left.clone(),
                    op,
                    right: Box::new(bare(&binary.right).clone()),
                });
                self.assign(&binary.left, &value)
            }
            Expr::ForLoop(source) => self.for_loop(source, &Want::NOTHING).map(drop),
            Expr::If(_) => self.expr(expr, &Want::NOTHING).map(drop),
            Expr::Block(block) if block.label.is_none() => self.block(&block.block, &Want::NOTHING).map(drop),
            Expr::Call(_) | Expr::MethodCall(_) | Expr::Binary(_) | Expr::Unary(_) | Expr::Path(_) | Expr::Lit(_) => {
                let message = "nothing uses this value: bind it with `let`, or remove it";
                Err(self.errors.at(expr, message))
            }
            other => Err(self.unsupported(other)),
        }
    }

    fn local(&mut self, local: &syn::Local) -> Checked<()> {
        if let Some(attr) = local.attrs.first() {
            let checkpoint = attr.path().is_ident("checkpoint");
            self.errors
                .at(attr, if checkpoint { CHECKPOINT } else { "an attribute on `let` has no meaning here: remove it" });
        }
        let Some(init) = &local.init else {
            self.poison(&local.pat);
            return Err(self.errors.at(local, "`let` without a value: assign it where it is declared"));
        };
        if let Some((_, diverge)) = &init.diverge {
            self.poison(&local.pat);
            return Err(self.errors.at(diverge, "`let … else` is not supported: network functions have no early exit"));
        }
        let bound = self.want(&local.pat).and_then(|want| {
            let operands = self.expr(&init.expr, &want)?;
            Ok(operands)
        });
        match bound {
            Ok(operands) => {
                let mut names = Vec::new();
                flatten(&local.pat, &mut names);
                for (name, operand) in names.into_iter().zip(operands) {
                    self.bind(name, operand);
                }
                Ok(())
            }
            Err(reported) => {
                self.poison(&local.pat);
                Err(reported)
            }
        }
    }

    /// What a pattern expects of the value it takes apart.
    fn want<'p>(&mut self, pat: &'p Pat) -> Checked<Want<'p>> {
        match pat {
            Pat::Ident(ident) if ident.by_ref.is_none() && ident.subpat.is_none() => Ok(Want::One(Some(&ident.ident))),
            Pat::Wild(_) => Ok(Want::One(None)),
            Pat::Paren(paren) => self.want(&paren.pat),
            Pat::Tuple(tuple) if tuple.elems.len() > 1 => {
                let wants: Vec<_> = tuple.elems.iter().map(|pat| self.want(pat)).collect();
                Ok(Want::Tuple(wants.into_iter().collect::<Checked<_>>()?))
            }
            Pat::Slice(list) => {
                let wants: Vec<_> = list.elems.iter().map(|pat| self.want(pat)).collect();
                Ok(Want::List(wants.into_iter().collect::<Checked<_>>()?))
            }
            Pat::Type(typed) => {
                Err(self.errors.at(&typed.ty, "a type on `let`: leave it away, shapes follow from the value"))
            }
            _ => Err(self.errors.at(pat, "`let` binds names, `_`, and tuples and lists of them")),
        }
    }

    fn bind(&mut self, pat: Option<&syn::PatIdent>, operand: Operand) {
        let Some(pat) = pat else { return };
        let (name, mutable) = (&pat.ident, pat.mutability.is_some());
        let value = match operand {
            Operand::Value(read) => read.value,
            // A number that will be reassigned meets tensors sooner or later.
            plain @ Operand::Plain(_) if mutable => self.tensor(plain, Some(name)),
            Operand::Plain(plain) => {
                let kind = match plain.meaning {
                    Meaning::Number(_) => Kind::Number,
                    Meaning::Size(_) => Kind::Size,
                    Meaning::Sizes(_) => Kind::Sizes,
                    Meaning::Constant => Kind::Constant,
                };
                let out = self.named(name, kind);
                self.stmts.push(Stmt::Let { plain, out: Some(out) });
                out
            }
        };
        self.env.push(Local { name: name.clone(), value, mutable, state: false });
    }

    /// Declares the names of a `let` that failed, so that their uses are no mistakes as well.
    fn poison(&mut self, pat: &Pat) {
        let mut names = Vec::new();
        flatten(pat, &mut names);
        for pat in names.into_iter().flatten() {
            self.declare(&pat.ident, Kind::Tensor, true);
        }
    }

    fn assign(&mut self, target: &Expr, value: &Expr) -> Checked<()> {
        let mut names = Vec::new();
        let want = self.targets(target, &mut names)?;
        let operands = self.expr(value, &want)?;
        for (target, operand) in names.into_iter().zip(operands) {
            match target {
                Target::Nothing => {}
                Target::Local(name) => {
                    let value = self.tensor(operand, Some(name));
                    self.reassign(name, value)?;
                }
                Target::State(name) => self.assign_state(name, operand, value.span())?,
            }
        }
        Ok(())
    }

    fn targets<'e>(&mut self, target: &'e Expr, names: &mut Vec<Target<'e>>) -> Checked<Want<'e>> {
        match target {
            Expr::Path(path) if let Some(name) = path.path.get_ident() => {
                names.push(Target::Local(name));
                Ok(Want::One(Some(name)))
            }
            Expr::Field(_) if let Some(name) = self.own_field(target) => {
                names.push(Target::State(name));
                Ok(Want::One(None))
            }
            Expr::Infer(_) => {
                names.push(Target::Nothing);
                Ok(Want::One(None))
            }
            Expr::Tuple(tuple) if tuple.elems.len() > 1 => {
                let wants: Vec<_> = tuple.elems.iter().map(|elem| self.targets(elem, names)).collect();
                Ok(Want::Tuple(wants.into_iter().collect::<Checked<_>>()?))
            }
            Expr::Array(array) => {
                let wants: Vec<_> = array.elems.iter().map(|elem| self.targets(elem, names)).collect();
                Ok(Want::List(wants.into_iter().collect::<Checked<_>>()?))
            }
            other => Err(self.errors.at(
                other,
                "only a local variable or a state of the network itself can be assigned: `x = …`, `self.mean = …`",
            )),
        }
    }

    fn reassign(&mut self, name: &Ident, value: ValueId) -> Checked<()> {
        let Some(local) = self.env.iter_mut().rev().find(|local| local.name == *name && !local.state) else {
            return Err(self.errors.at(name, format!("`{name}` is no variable of this function")));
        };
        if !local.mutable {
            return Err(self.errors.at(name, format!("`{name}` is assigned twice: declare it with `let mut {name}`")));
        }
        local.value = value;
        Ok(())
    }
}

/// What an assignment sets.
enum Target<'e> {
    Nothing,
    Local(&'e Ident),
    State(&'e Ident),
}

/// The names of a pattern in order; `_` is `None`.
fn flatten<'p>(pat: &'p Pat, names: &mut Vec<Option<&'p syn::PatIdent>>) {
    match pat {
        Pat::Ident(ident) => names.push(Some(ident)),
        Pat::Paren(paren) => flatten(&paren.pat, names),
        Pat::Type(typed) => flatten(&typed.pat, names),
        Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pat| flatten(pat, names)),
        Pat::Slice(list) => list.elems.iter().for_each(|pat| flatten(pat, names)),
        _ => names.push(None),
    }
}

/// The `+` of `+=`.
fn assigned_operator(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::AddAssign(token) => BinOp::Add(syn::Token![+](token.spans[0])),
        BinOp::SubAssign(token) => BinOp::Sub(syn::Token![-](token.spans[0])),
        BinOp::MulAssign(token) => BinOp::Mul(syn::Token![*](token.spans[0])),
        BinOp::DivAssign(token) => BinOp::Div(syn::Token![/](token.spans[0])),
        BinOp::BitAndAssign(token) => BinOp::BitAnd(syn::Token![&](token.spans[0])),
        BinOp::BitOrAssign(token) => BinOp::BitOr(syn::Token![|](token.spans[0])),
        _ => return None,
    })
}
