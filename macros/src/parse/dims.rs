//! Sizes as expressions: constants, and symbols such as `B` that are known when a network runs.
//!
//! In a staged function a size is a `usize` and the user's expression stands as written. In a
//! shape rule a symbol is a `Dim`, which has methods in place of operators; so the arithmetic
//! around symbols is taken apart here and put together again as calls.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{BinOp, Expr, ExprPath, Lit, Stmt, Type, UnOp};

use crate::names::local;

/// One size of a tensor, or an axis.
#[derive(Clone)]
pub enum Dim {
    /// A symbol, or a parameter of the function.
    Symbol(Ident),
    /// A constant expression without symbols.
    Const(Box<Expr>),
    /// Arithmetic with a symbol in it.
    Binary(Box<Dim>, Method, Box<Dim>),
    /// A quotient, with the place of the operator, since it can be refused.
    Quotient(Box<Dim>, Span, Box<Dim>),
}

/// The name of a method of `Dim`.
type Method = Ident;

impl Dim {
    /// Takes an expression apart as far as symbols are in it.
    pub fn parse(expr: &Expr, is_symbol: &dyn Fn(&Ident) -> bool) -> syn::Result<Dim> {
        let expr = bare(expr);
        if !locals(expr).into_iter().any(is_symbol) {
            return Ok(Dim::Const(Box::new(expr.clone())));
        }
        let parse = |expr| Ok::<_, syn::Error>(Box::new(Dim::parse(expr, is_symbol)?));
        match expr {
            Expr::Path(path) => match path.path.get_ident() {
                Some(symbol) => return Ok(Dim::Symbol(symbol.clone())),
                None => return Ok(Dim::Const(Box::new(expr.clone()))),
            },
            // Sizes in shape rules have no integer type.
            Expr::Cast(cast) => return Dim::parse(&cast.expr, is_symbol),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
                let minus_one = Dim::Const(Box::new(syn::parse_quote!(-1)));
                let times = Ident::new("times", unary.span());
                return Ok(Dim::Binary(Box::new(minus_one), times, parse(&unary.expr)?));
            }
            Expr::Binary(binary) => {
                let method = match binary.op {
                    BinOp::Mul(star) => Ident::new("times", star.span),
                    BinOp::Add(plus) => Ident::new("plus", plus.span),
                    BinOp::Sub(minus) => Ident::new("minus", minus.span),
                    BinOp::Div(slash) => {
                        return Ok(Dim::Quotient(parse(&binary.left)?, slash.span, parse(&binary.right)?));
                    }
                    _ => return Err(unsupported(expr)),
                };
                return Ok(Dim::Binary(parse(&binary.left)?, method, parse(&binary.right)?));
            }
            _ => {}
        }
        Err(unsupported(expr))
    }

    /// The `Dim` of a declaration, in which symbols stand for themselves.
    pub fn declared(&self, is_letter: &dyn Fn(&Ident) -> bool) -> TokenStream {
        self.try_declared(is_letter).unwrap_or_else(|| quote!(::downhill::shape::Dim::UNKNOWN))
    }

    /// `None` where a declaration cannot know the size: a quotient of symbols is no product of
    /// symbols, and a `usize` parameter is no symbol at all.
    fn try_declared(&self, is_letter: &dyn Fn(&Ident) -> bool) -> Option<TokenStream> {
        match self {
            Dim::Symbol(symbol) if is_letter(symbol) => {
                let letter = proc_macro2::Literal::character(symbol.to_string().chars().next()?);
                Some(quote!(::downhill::shape::Dim::symbol(#letter)))
            }
            Dim::Symbol(_) | Dim::Quotient(..) => None,
            Dim::Const(expr) => Some(constant(expr)),
            Dim::Binary(a, method, b) => {
                let (a, b) = (a.try_declared(is_letter)?, b.try_declared(is_letter)?);
                Some(quote!(#a.#method(#b)))
            }
        }
    }

    /// The `Dim` in the body of a shape rule, where a symbol is a local. `divide` emits a quotient,
    /// which may be refused and hence is a statement of its own.
    pub fn value(&self, divide: &mut dyn FnMut(TokenStream, TokenStream, Span) -> TokenStream) -> TokenStream {
        match self {
            Dim::Symbol(symbol) => quote!(#symbol),
            Dim::Const(expr) => constant(expr),
            Dim::Binary(a, method, b) => {
                let (a, b) = (a.value(divide), b.value(divide));
                quote!(#a.#method(#b))
            }
            Dim::Quotient(a, slash, b) => {
                let (a, b) = (a.value(divide), b.value(divide));
                divide(a, b, *slash)
            }
        }
    }

    /// Calls `see` with every constant expression.
    pub fn constants(&self, see: &mut dyn FnMut(&Expr)) {
        match self {
            Dim::Symbol(_) => {}
            Dim::Const(expr) => see(expr),
            Dim::Binary(a, _, b) | Dim::Quotient(a, _, b) => {
                a.constants(see);
                b.constants(see);
            }
        }
    }
}

fn unsupported(expr: &Expr) -> syn::Error {
    let message = "a size with a symbol in it is made of `+`, `-`, `*` and `/` only";
    syn::Error::new_spanned(expr, message)
}

/// A size without symbols. An axis may be a negative literal; every other size is a `usize`.
fn constant(expr: &Expr) -> TokenStream {
    let mut expr = bare(expr).clone();
    Localise.visit_expr_mut(&mut expr);
    let expr = &expr;
    if matches!(expr, Expr::Unary(_)) && is_integer(expr) {
        quote!(::downhill::shape::Dim::int(#expr))
    } else {
        quote!(::downhill::shape::Dim::n(#expr))
    }
}

/// The expression without parentheses and braces around it.
pub fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        Expr::Group(group) => bare(&group.expr),
        Expr::Block(block) if block.label.is_none() => match &block.block.stmts[..] {
            [Stmt::Expr(expr, None)] => bare(expr),
            _ => expr,
        },
        _ => expr,
    }
}

/// The type without parentheses and the invisible groups that macros by example leave.
pub fn bare_type(ty: &Type) -> &Type {
    match ty {
        Type::Paren(paren) => bare_type(&paren.elem),
        Type::Group(group) => bare_type(&group.elem),
        _ => ty,
    }
}

/// Whether this is a literal whole number, perhaps negated.
pub fn is_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(lit) => matches!(lit.lit, Lit::Int(_)),
        Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_)) && is_integer(bare(&unary.expr)),
        _ => false,
    }
}

/// Makes names of locals those of the emitted function, where the source comes out of a macro by example.
struct Localise;

impl VisitMut for Localise {
    fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
        if path.path.get_ident().is_some() {
            path.path.segments.iter_mut().for_each(|name| name.ident.set_span(local(name.ident.span())));
        }
    }
}

/// The names in an expression that could be locals.
pub fn locals(expr: &Expr) -> Vec<&Ident> {
    struct Locals<'a>(Vec<&'a Ident>);
    impl<'a> Visit<'a> for Locals<'a> {
        fn visit_expr_path(&mut self, path: &'a ExprPath) {
            self.0.extend(path.path.get_ident());
        }
    }
    let mut locals = Locals(Vec::new());
    locals.visit_expr(expr);
    locals.0
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn letter(ident: &Ident) -> bool {
        ident == "B" || ident == "T"
    }

    fn declared(expr: Expr) -> String {
        let dim = Dim::parse(&expr, &letter).unwrap_or_else(|e| panic!("{e}"));
        dim.declared(&letter).to_string().replace(":: downhill :: shape :: ", "").replace(' ', "")
    }

    #[test]
    fn declarations_keep_symbols_symbolic() {
        assert_eq!(declared(parse_quote!(B)), "Dim::symbol('B')");
        assert_eq!(declared(parse_quote!({ B * T })), "Dim::symbol('B').times(Dim::symbol('T'))");
        assert_eq!(declared(parse_quote!({ 4 * D })), "Dim::n(4*D)");
        assert_eq!(declared(parse_quote!(D * B)), "Dim::n(D).times(Dim::symbol('B'))");
        assert_eq!(declared(parse_quote!((T as usize) + 1)), "Dim::symbol('T').plus(Dim::n(1))");
        assert_eq!(declared(parse_quote!(-1)), "Dim::int(-1)");
        assert_eq!(declared(parse_quote!(T / 2)), "Dim::UNKNOWN");
    }

    #[test]
    fn a_body_divides_in_a_statement_of_its_own() {
        let dim = Dim::parse(&parse_quote!(T / 2 * B), &letter).unwrap_or_else(|e| panic!("{e}"));
        let mut divisions = Vec::new();
        let value = dim.value(&mut |a, b, _| {
            divisions.push(format!("{a} over {b}"));
            quote!(half)
        });
        assert_eq!(value.to_string(), "half . times (B)");
        assert_eq!(divisions, ["T over :: downhill :: shape :: Dim :: n (2)"]);
    }

    #[test]
    fn other_operators_on_symbols_are_refused() {
        let error = Dim::parse(&parse_quote!(T % 2), &letter).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("a size with a symbol in it is made of `+`, `-`, `*` and `/` only"));
    }
}
