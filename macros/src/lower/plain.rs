//! Expressions without tensors: sizes, numbers, constants, conditions, and places of networks.
//!
//! They are emitted as written. What this file adds is what they mean in shape rules, where
//! sizes are `Dim`s, and numbers are known or not.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::visit_mut::VisitMut;
use syn::{BinOp, Expr, Lit, Member, Type, UnOp};

use super::Lower;
use super::control::asks_training;
use super::ssa::{Kind, Meaning, Number, Plain};
use crate::error::Checked;
use crate::parse::dims::{Dim, bare, locals};

/// Whether fields of networks count as constants, as they do in conditions and among sizes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    Constant,
    Values,
}

impl Lower<'_> {
    /// Whether an expression is free of tensors and networks.
    pub fn is_plain(&self, expr: &Expr, fields: Fields) -> bool {
        let plain = |expr: &Expr| self.is_plain(expr, fields);
        if fields == Fields::Constant && self.is_field(expr) {
            return true;
        }
        match expr {
            Expr::Lit(lit) => matches!(lit.lit, Lit::Int(_) | Lit::Float(_) | Lit::Bool(_)),
            Expr::Path(path) => match path.path.get_ident() {
                Some(name) if name == "self" => false,
                Some(name) => self.lookup(name).is_none_or(|local| self.kind(local.value).is_plain()),
                None => true,
            },
            Expr::Paren(paren) => plain(&paren.expr),
            Expr::Group(group) => plain(&group.expr),
            Expr::Block(_) => match bare(expr) {
                Expr::Block(_) => false,
                inner => plain(inner),
            },
            Expr::Unary(unary) => !matches!(unary.op, UnOp::Deref(_)) && plain(&unary.expr),
            Expr::Binary(binary) => plain(&binary.left) && plain(&binary.right),
            Expr::Cast(cast) => plain(&cast.expr),
            Expr::Field(field) => plain(&field.base),
            Expr::Index(index) => plain(&index.expr) && plain(&index.index),
            Expr::Array(array) => array.elems.iter().all(plain),
            Expr::MethodCall(call) => {
                let asks = matches!(call.method.to_string().as_str(), "is_some" | "is_none" | "len");
                let field = asks && call.args.is_empty() && self.is_field(&call.receiver);
                (field || plain(&call.receiver)) && call.args.iter().all(plain)
            }
            Expr::Call(call) => is_primitive(&call.func) && call.args.iter().all(plain),
            Expr::If(source) => {
                let branches = match (&source.then_branch.stmts[..], &source.else_branch) {
                    ([syn::Stmt::Expr(then, None)], Some((_, other))) => plain(then) && plain(other),
                    _ => false,
                };
                branches && self.is_plain(&source.cond, Fields::Constant)
            }
            _ => false,
        }
    }

    /// Whether this is a network or a field of one: `self.up`, `block`, `self.blocks[0].weight`.
    pub fn is_place(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Path(path) => path.path.get_ident().is_some_and(|name| {
                name == "self" || self.lookup(name).is_some_and(|local| self.kind(local.value) == Kind::Network)
            }),
            Expr::Field(field) => matches!(field.member, Member::Named(_)) && self.is_place(&field.base),
            Expr::Index(index) => self.is_place(&index.expr) && self.is_plain(&index.index, Fields::Constant),
            Expr::Paren(paren) => self.is_place(&paren.expr),
            Expr::Group(group) => self.is_place(&group.expr),
            _ => false,
        }
    }

    /// Whether this is a field behind a network: `self.weight`, but not `self` or `block`.
    pub fn is_field(&self, expr: &Expr) -> bool {
        matches!(bare(expr), Expr::Field(_)) && self.is_place(expr)
    }

    /// Whether brackets hold sizes, not tensors: all of them are plain, and not just fields,
    /// which could be either. Beside a size, a call is one of a `const fn`.
    pub fn is_sizes(&self, array: &syn::ExprArray) -> bool {
        let plain = |expr| self.is_plain(expr, Fields::Values);
        let could_be = |expr: &Expr| self.is_plain(expr, Fields::Constant) || matches!(expr, Expr::Call(_));
        array.elems.is_empty() || array.elems.iter().any(plain) && array.elems.iter().all(could_be)
    }

    /// A plain expression with its meaning in shape rules.
    pub fn plain(&mut self, expr: &Expr) -> Checked<Plain> {
        let expr = self.renamed(bare(expr));
        let meaning = self.meaning(&expr)?;
        Ok(self.with_reads(expr, meaning))
    }

    /// A place or a list of sizes or a condition, which need no other meaning.
    pub fn verbatim(&mut self, expr: &Expr) -> Plain {
        let expr = self.renamed(bare(expr));
        self.with_reads(expr, Meaning::Constant)
    }

    fn with_reads(&self, expr: Expr, meaning: Meaning) -> Plain {
        let is_read = |name: &Ident| self.values.iter().position(|value| value.name == *name);
        let mut reads: Vec<_> = locals(&expr).into_iter().filter_map(is_read).map(super::ssa::ValueId).collect();
        reads.dedup();
        Plain { expr: Box::new(expr), meaning, reads }
    }

    fn meaning(&mut self, expr: &Expr) -> Checked<Meaning> {
        if let Expr::Array(array) = expr {
            let dims: Vec<_> = array.elems.iter().map(|elem| self.size(elem)).collect();
            return Ok(Meaning::Sizes(dims.into_iter().collect::<Checked<_>>()?));
        }
        if self.is_number(expr) {
            if matches!(expr, Expr::Path(_)) || is_written_out(expr) {
                return Ok(Meaning::Number(Number::Itself));
            }
            let mut sizes = Vec::new();
            let computed = self.is_arithmetic(expr, &mut sizes);
            return Ok(Meaning::Number(if computed { Number::Computed(sizes) } else { Number::Unknown }));
        }
        if crate::parse::dims::is_integer(expr) || self.mentions(expr, Kind::Size) {
            return self.size(expr).map(Meaning::Size);
        }
        Ok(Meaning::Constant)
    }

    fn size(&mut self, expr: &Expr) -> Checked<Dim> {
        if self.is_number(expr) {
            return Err(self.errors.at(expr, "a list holds sizes or axes, which are whole numbers"));
        }
        let dim = Dim::parse(expr, &|name| self.kind_of(name) == Some(Kind::Size));
        self.errors.ok(dim)
    }

    /// Whether the type of the expression is a float, as far as can be told without types.
    fn is_number(&self, expr: &Expr) -> bool {
        struct Floats(bool);
        impl syn::visit::Visit<'_> for Floats {
            fn visit_lit(&mut self, lit: &Lit) {
                self.0 |= matches!(lit, Lit::Float(_));
            }
            fn visit_type(&mut self, ty: &Type) {
                self.0 |= matches!(ty.to_token_stream().to_string().as_str(), "f32" | "f64");
            }
        }
        let mut floats = Floats(false);
        syn::visit::Visit::visit_expr(&mut floats, expr);
        floats.0 || self.mentions(expr, Kind::Number)
    }

    /// Whether a renamed expression is arithmetic of constants, and of sizes as floats, which are listed.
    fn is_arithmetic(&self, expr: &Expr, sizes: &mut Vec<Ident>) -> bool {
        match expr {
            Expr::Lit(lit) => matches!(lit.lit, Lit::Int(_) | Lit::Float(_)),
            Expr::Path(path) => {
                path.path.get_ident().and_then(|name| self.kind_of(name)).is_none_or(|kind| kind == Kind::Constant)
            }
            Expr::Paren(_) | Expr::Group(_) => self.is_arithmetic(bare(expr), sizes),
            Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_)) && self.is_arithmetic(&unary.expr, sizes),
            Expr::Binary(binary) => {
                let op = matches!(binary.op, BinOp::Add(_) | BinOp::Sub(_) | BinOp::Mul(_) | BinOp::Div(_));
                op && self.is_arithmetic(&binary.left, sizes) && self.is_arithmetic(&binary.right, sizes)
            }
            Expr::Cast(cast) => match bare(&cast.expr) {
                // A size of a shape rule has no integer type, so that any goes.
                Expr::Path(path)
                    if let Some(name) = path.path.get_ident()
                        && self.kind_of(name) == Some(Kind::Size) =>
                {
                    let float = matches!(cast.ty.to_token_stream().to_string().as_str(), "f32" | "f64");
                    if !sizes.contains(name) {
                        sizes.push(name.clone());
                    }
                    float
                }
                inner => self.is_arithmetic(inner, sizes),
            },
            _ => false,
        }
    }

    /// Whether a renamed expression reads a value of this kind.
    pub fn mentions(&self, expr: &Expr, kind: Kind) -> bool {
        locals(expr).into_iter().any(|name| self.kind_of(name) == Some(kind))
    }

    /// The kind of the value under a name that has been given.
    fn kind_of(&self, name: &Ident) -> Option<Kind> {
        self.values.iter().find(|value| value.name == *name).map(|value| value.kind)
    }

    /// The expression with every variable under the name of the value it holds.
    fn renamed(&mut self, expr: &Expr) -> Expr {
        struct Rename<'l, 'a> {
            lower: &'l mut Lower<'a>,
        }
        impl VisitMut for Rename<'_, '_> {
            fn visit_expr_path_mut(&mut self, path: &mut syn::ExprPath) {
                let Some(name) = path.path.get_ident().cloned() else { return };
                if let Some(local) = self.lower.lookup(&name) {
                    let mut renamed = self.lower.values[local.value.0].name.clone();
                    renamed.set_span(crate::names::local(name.span()));
                    path.path = renamed.into();
                } else if self.lower.unbound.contains(&name) {
                    let message = format!(
                        "the size `{name}` is not known here: no parameter has `{name}` as a dimension of its own"
                    );
                    self.lower.errors.at(&name, message);
                }
            }
        }
        let mut renamed = expr.clone();
        Rename { lower: self }.visit_expr_mut(&mut renamed);
        renamed
    }

    /// The condition of an `if`, which must be known when the network is built.
    pub fn condition(&mut self, expr: &Expr) -> Checked<Plain> {
        if let Expr::Let(_) = expr {
            return Err(self.errors.at(expr, "`if let` is not supported: ask `self.field.is_some()`"));
        }
        if mentions_training(expr) {
            return Err(self.errors.at(expr, TRAINING));
        }
        if !self.is_plain(expr, Fields::Constant) {
            let message = "`if` on a tensor: write `select(mask, a, b)`, which chooses for every element";
            return Err(self.errors.at(expr, message));
        }
        let condition = self.verbatim(expr);
        for kind in [Kind::Size, Kind::Sizes, Kind::Number] {
            if self.mentions(&condition.expr, kind) {
                let message = "the condition of `if` must be a constant: this is only known when the network runs";
                return Err(self.errors.at(expr, message));
            }
        }
        Ok(condition)
    }
}

/// Whether an expression is made of float literals of no certain type alone.
fn is_written_out(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(lit) => matches!(&lit.lit, Lit::Float(x) if x.suffix().is_empty()),
        Expr::Paren(paren) => is_written_out(&paren.expr),
        Expr::Group(group) => is_written_out(&group.expr),
        Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_)) && is_written_out(&unary.expr),
        Expr::Binary(binary) => is_written_out(&binary.left) && is_written_out(&binary.right),
        _ => false,
    }
}

/// What is said of `training()` in other places.
pub const TRAINING: &str = "`training()` is the whole condition of an `if`: write `if training() { … } else { … }`, and another condition as an `if` in it";

fn mentions_training(expr: &Expr) -> bool {
    struct Mentions(bool);
    impl syn::visit::Visit<'_> for Mentions {
        fn visit_expr_call(&mut self, call: &syn::ExprCall) {
            self.0 |= asks_training(call);
            syn::visit::visit_expr_call(self, call);
        }
    }
    let mut mentions = Mentions(false);
    syn::visit::Visit::visit_expr(&mut mentions, expr);
    mentions.0
}

impl Kind {
    fn is_plain(self) -> bool {
        !matches!(self, Kind::Tensor | Kind::Network)
    }
}

/// Whether a function belongs to a primitive type, as `f32::sqrt` does; others are networks.
fn is_primitive(func: &Expr) -> bool {
    let Expr::Path(path) = func else { return false };
    let segments = &path.path.segments;
    let primitive = ["f32", "f64", "usize", "isize", "bool"];
    segments.len() == 2 && primitive.iter().any(|name| segments[0].ident == name)
}
