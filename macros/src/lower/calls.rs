//! Calls: of operations, of networks, of functions of the same network.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Expr, Path, PathArguments};

use super::control::asks_training;
use super::plain::TRAINING;
use super::ssa::{Arg, Call, Callee, Kind, Read, Site, Stmt, ValueId};
use super::{Lower, Operand, Want};
use crate::error::{Checked, Reported};

impl Lower<'_> {
    /// `gelu(x)`, `nn::gelu(x)`, `block(x)`, `(self.encoder.up)(x)`, `self.blocks[0](x)`.
    pub fn call(&mut self, call: &syn::ExprCall, want: &Want) -> Checked<Vec<Operand>> {
        if asks_training(call) {
            return Err(self.errors.at(call, TRAINING));
        }
        let (callee, base) = if self.is_place(&call.func) {
            let place = self.verbatim(&call.func);
            let base = last_name(&place.expr);
            let name = Ident::new("forward", base.span());
            (Callee::Method { place, name }, base)
        } else {
            self.function(&call.func)?
        };
        let args = self.args(&call.args);
        let site = self.site();
        self.push_call(callee, &base, args?, want, call.paren_token.span.join(), Some(site))
    }

    /// `self.up(x)`, `self.encoder.encode(x)`, `block.encode(x)`.
    pub fn method_call(&mut self, call: &syn::ExprMethodCall, want: &Want) -> Checked<Vec<Operand>> {
        let method = &call.method;
        if let Some(turbofish) = &call.turbofish {
            return Err(self.errors.at(turbofish, "generic arguments of a call: network functions have none"));
        }
        if !self.is_place(&call.receiver) {
            return Err(self.errors.at(method, format!("a tensor has no methods: write `{}`", as_call(call))));
        }
        let mut place = self.verbatim(&call.receiver);
        let mut name = method.clone();
        let own = matches!(&*place.expr, Expr::Path(path) if path.path.is_ident("self"));
        if own && self.methods.contains(&method.to_string()) {
            self.calls.insert(method.to_string());
        } else if own {
            let receiver = &place.expr;
            place.expr = Box::new(syn::parse_quote!(#receiver.#method));
            name = Ident::new("forward", method.span());
        }
        let args = self.args(&call.args);
        let site = self.site();
        let callee = Callee::Method { place, name };
        self.push_call(callee, method, args?, want, call.paren_token.span.join(), Some(site))
    }

    /// An operator on tensors.
    pub fn operator(&mut self, name: &str, span: Span, args: &[&Expr], result: Option<&Ident>) -> Checked<Operand> {
        let base = Ident::new(name, span);
        let path = syn::parse_quote_spanned!(span=> ::downhill::ops::#base);
        let smooth = matches!(name, "add" | "sub" | "mul" | "div" | "neg");
        let args: Vec<_> = args.iter().map(|arg| self.arg(arg)).collect();
        let args = args.into_iter().collect::<Checked<_>>()?;
        let callee = Callee::Function { path, smooth };
        self.push_call(callee, &base, args, &Want::One(result), span, None)?.pop().ok_or(Reported)
    }

    fn function(&mut self, func: &Expr) -> Checked<(Callee, Ident)> {
        let path = match func {
            Expr::Path(path) if path.qself.is_none() => &path.path,
            _ => {
                let message =
                    "a call of something that is no function or network: name it, as in `gelu(x)` or `self.up(x)`";
                return Err(self.errors.at(func, message));
            }
        };
        let base = match path.segments.last() {
            Some(segment) => segment.ident.clone(),
            None => return Err(self.unsupported(func)),
        };
        if path.segments[0].ident == "Self" {
            return Err(self.errors.at(path, format!("a call through `Self`: write `self.{base}(…)`")));
        }
        if let Some(segment) = path.segments.iter().find(|segment| !matches!(segment.arguments, PathArguments::None)) {
            return Err(self.errors.at(&segment.arguments, "generic arguments of a call: network functions have none"));
        }
        if let Some(name) = path.get_ident()
            && let Some(local) = self.lookup(name)
            && self.kind(local.value) == Kind::Tensor
        {
            return Err(self.errors.at(name, format!("`{name}` is a tensor, which cannot be called")));
        }
        Ok((Callee::Function { path: Path::clone(path), smooth: true }, base))
    }

    fn args<'e>(&mut self, args: impl IntoIterator<Item = &'e Expr>) -> Checked<Vec<Arg>> {
        let args: Vec<_> = args.into_iter().map(|arg| self.call_arg(arg)).collect();
        args.into_iter().collect()
    }

    /// An argument of a call may also be a text, such as the equation of `einsum`.
    fn call_arg(&mut self, expr: &Expr) -> Checked<Arg> {
        match expr {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(_), .. }) => Ok(Arg::Plain(self.verbatim(expr))),
            _ => self.arg(expr),
        }
    }

    fn arg(&mut self, expr: &Expr) -> Checked<Arg> {
        if let Expr::Array(array) = expr
            && !self.is_sizes(array)
        {
            let elems: Vec<_> = array.elems.iter().map(|elem| self.read(elem)).collect();
            return Ok(Arg::List(elems.into_iter().collect::<Checked<_>>()?));
        }
        Ok(match self.one(expr)? {
            Operand::Value(read) => Arg::Value(read),
            Operand::Plain(plain) => Arg::Plain(plain),
        })
    }

    pub fn read(&mut self, expr: &Expr) -> Checked<Read> {
        let operand = self.one(expr)?;
        Ok(Read { value: self.tensor(operand, None), span: expr.span() })
    }

    fn push_call(
        &mut self,
        callee: Callee,
        base: &Ident,
        args: Vec<Arg>,
        want: &Want,
        span: Span,
        site: Option<Site>,
    ) -> Checked<Vec<Operand>> {
        if let Want::Tuple(wants) | Want::List(wants) = want
            && wants.iter().any(|want| !matches!(want, Want::One(_)))
        {
            let message = "a function returns one tuple or list of tensors, not nested ones";
            return Err(self.errors.push(syn::Error::new(span, message)));
        }
        let outs: Vec<ValueId> = want.names().into_iter().map(|name| self.result(name, base)).collect();
        let operands = outs.iter().map(|&value| Operand::Value(Read { value, span: base.span() })).collect();
        let outs = outs.into_iter().map(Some).collect();
        let list = matches!(want, Want::List(_));
        self.stmts.push(Stmt::Call(Call { callee, args, outs, list, checkpoint: false, site, span }));
        Ok(operands)
    }
}

/// The name that a place ends in, after which the result of a call is called.
pub fn last_name(place: &Expr) -> Ident {
    match place {
        Expr::Field(syn::ExprField { member: syn::Member::Named(name), .. }) => name.clone(),
        Expr::Index(index) => last_name(&index.expr),
        Expr::Paren(paren) => last_name(&paren.expr),
        Expr::Path(path) => path.path.segments[path.path.segments.len() - 1].ident.clone(),
        _ => Ident::new("net", place.span()),
    }
}

/// How `x.relu()` is written: `relu(x)`.
fn as_call(call: &syn::ExprMethodCall) -> String {
    let receiver = match &*call.receiver {
        Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
        _ => None,
    };
    let receiver = receiver.as_deref().unwrap_or("…");
    let more = if call.args.is_empty() { "" } else { ", …" };
    format!("{}({receiver}{more})", call.method)
}
