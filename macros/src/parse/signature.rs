//! Signatures: parameters and results with their declared shapes.

use proc_macro2::Ident;
use syn::spanned::Spanned;
use syn::{Expr, FnArg, GenericArgument, Pat, PathArguments, ReceiverKind, ReturnType, Type};

use super::dims::{Dim, bare, bare_type};
use crate::error::{Checked, Errors, Reported};

const TYPES: &str = "a network function takes `Tensor`, `Index` and `Mask`, with dimensions or \
                     without, and `f32`, `usize`, `isize`, `bool`, `[usize; N]` and `[isize]`";

/// The signature of a network function.
pub struct Signature {
    pub name: Ident,
    pub params: Vec<Param>,
    /// Whether the results stand in a tuple.
    pub tuple: bool,
    pub results: Vec<Declared>,
    /// The capital letters that stand for sizes.
    pub letters: Vec<Ident>,
}

/// A parameter.
pub struct Param {
    pub name: Ident,
    pub mutable: bool,
    pub kind: ParamKind,
}

/// What a parameter is.
pub enum ParamKind {
    Tensor(Declared),
    /// `f32`, as written.
    Number(Type),
    /// `usize` or `isize`.
    Size(Type),
    Flag(Type),
    /// `[usize; N]`, or `[isize]` for a list of any length.
    Sizes(Type),
}

/// The declared type of a tensor.
pub struct Declared {
    pub dtype: DType,
    pub dims: Dims,
    /// As written, for the place of errors about it.
    pub written: Type,
}

/// What the elements are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DType {
    Tensor,
    Index,
    Mask,
    /// Whatever it is: the input of a sequential network.
    Any,
}

/// The declared dimensions.
pub enum Dims {
    /// `Tensor`: any shape.
    Any,
    /// `Tensor<B, 10>`.
    Exact(Vec<Dim>),
    /// `Tensor<[N], 10>`: any number of outer dimensions.
    Rest(Ident, Vec<Dim>),
}

impl Declared {
    fn any(written: &Type) -> Declared {
        Declared { dtype: DType::Tensor, dims: Dims::Any, written: written.clone() }
    }
}

impl Dims {
    /// The dimensions that are written out.
    pub fn listed(&self) -> &[Dim] {
        match self {
            Dims::Any => &[],
            Dims::Exact(dims) | Dims::Rest(_, dims) => dims,
        }
    }
}

impl Signature {
    /// Reads a signature; `own` are the const parameters of the network. What is reported as a
    /// mistake becomes a tensor of any shape.
    pub fn parse(sig: &syn::Signature, own: &[Ident], errors: &mut Errors) -> Signature {
        check_modifiers(sig, errors);
        let types = tensor_types(sig);
        let letters = bare_letters(&types, own);
        let mut parser = Parser { letters: &letters, sizes: Vec::new(), errors };
        let params = sig.inputs.iter().filter_map(|arg| parser.param(arg)).collect();
        let (tuple, results) = parser.results(sig);
        Signature { name: sig.ident.clone(), params, tuple, results, letters }
    }

    /// Whether sizes or numbers are among the parameters.
    pub fn has_plain_params(&self) -> bool {
        self.params.iter().any(|param| !matches!(param.kind, ParamKind::Tensor(_)))
    }

    /// Whether `name` is a symbol of this signature.
    pub fn is_letter(&self, name: &Ident) -> bool {
        self.letters.contains(name)
    }

    /// All declared tensors: parameters, then results.
    pub fn declared(&self) -> impl Iterator<Item = &Declared> {
        let params = self.params.iter().filter_map(|param| match &param.kind {
            ParamKind::Tensor(declared) => Some(declared),
            _ => None,
        });
        params.chain(&self.results)
    }
}

fn check_modifiers(sig: &syn::Signature, errors: &mut Errors) {
    if let Some(token) = &sig.constness {
        errors.at(token, "a network function is no `const fn`: its shape rule is one already");
    }
    if let Some(token) = &sig.asyncness {
        errors.at(token, "a network function cannot be `async`");
    }
    if !matches!(sig.safety, syn::Safety::Default) {
        errors.at(&sig.safety, "a network function cannot be `unsafe`");
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "a network function cannot be `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "a network function cannot be variadic");
    }
    if !sig.generics.params.is_empty() {
        let message =
            "a network function has no generic parameters: write a symbol (`Tensor<B, D>`) or a `usize` parameter";
        errors.at(&sig.generics, message);
    }
    if let Some(clause) = &sig.generics.where_clause {
        errors.at(clause, "a network function has no `where` clause");
    }
}

struct Parser<'a> {
    letters: &'a [Ident],
    /// The parameters that are sizes, which results may mention.
    sizes: Vec<Ident>,
    errors: &'a mut Errors,
}

impl Parser<'_> {
    /// `None` for the receiver.
    fn param(&mut self, arg: &FnArg) -> Option<Param> {
        let typed = match arg {
            FnArg::Typed(typed) => typed,
            FnArg::Receiver(receiver) => {
                if !matches!(receiver.kind, ReceiverKind::Reference(_, None, None)) || receiver.mutability.is_some() {
                    self.errors.at(receiver, "a network function takes its network as `&self`");
                }
                return None;
            }
        };
        let (name, mutable) = match &*typed.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                (pat.ident.clone(), pat.mutability.is_some())
            }
            other => {
                self.errors.at(other, "a parameter is a name; take a tuple apart with `let`");
                (Ident::new("_input", other.span()), false)
            }
        };
        let kind = self.param_kind(bare_type(&typed.ty));
        if matches!(kind, ParamKind::Size(_)) {
            self.sizes.push(name.clone());
        }
        Some(Param { name, mutable, kind })
    }

    fn param_kind(&mut self, ty: &Type) -> ParamKind {
        let elem = match ty {
            Type::Array(array) => Some(&*array.elem),
            Type::Slice(slice) => Some(&*slice.elem),
            _ => None,
        };
        if let Some(Type::Path(elem)) = elem
            && elem.path.get_ident().is_some_and(|ident| ident == "usize" || ident == "isize")
        {
            return ParamKind::Sizes(ty.clone());
        }
        let name = match ty {
            Type::Path(path) => path.path.get_ident().map(Ident::to_string),
            _ => None,
        };
        match name.as_deref() {
            Some("f32" | "f64") => ParamKind::Number(ty.clone()),
            Some("usize" | "isize") => ParamKind::Size(ty.clone()),
            Some("bool") => ParamKind::Flag(ty.clone()),
            _ => ParamKind::Tensor(self.tensor(ty)),
        }
    }

    fn results(&mut self, sig: &syn::Signature) -> (bool, Vec<Declared>) {
        match &sig.output {
            ReturnType::Default => {
                let message =
                    "a network function returns a tensor: write `-> Tensor`, or the shape as in `-> Tensor<B, 10>`";
                self.errors.at(&sig.ident, message);
                (false, vec![Declared::any(&syn::parse_quote!(Tensor))])
            }
            ReturnType::Type(_, ty) => match bare_type(ty) {
                Type::Tuple(tuple) if tuple.elems.len() > 1 => {
                    (true, tuple.elems.iter().map(|ty| self.tensor(ty)).collect())
                }
                ty => (false, vec![self.tensor(ty)]),
            },
        }
    }

    fn tensor(&mut self, ty: &Type) -> Declared {
        self.declared(ty).unwrap_or_else(|Reported| Declared::any(ty))
    }

    fn declared(&mut self, ty: &Type) -> Checked<Declared> {
        let (dtype, args) = match dtype_and_args(ty) {
            Some(found) => found,
            None => return Err(self.errors.at(ty, TYPES)),
        };
        let dims = match args {
            None => Dims::Any,
            Some(args) => {
                let mut args = args.iter().peekable();
                let rest = args.next_if(|arg| rest_letter(arg).is_some()).and_then(rest_letter);
                let dims = args.map(|arg| self.dim(arg)).collect::<Vec<_>>();
                let dims = dims.into_iter().collect::<Checked<_>>()?;
                match rest {
                    Some(letter) => Dims::Rest(letter.clone(), dims),
                    None => Dims::Exact(dims),
                }
            }
        };
        Ok(Declared { dtype, dims, written: ty.clone() })
    }

    fn dim(&mut self, arg: &GenericArgument) -> Checked<Dim> {
        let Some(expr) = size_argument(arg) else {
            let message = "a dimension is a symbol such as `B`, a constant, or an expression in braces such as `{ 4 * WIDTH }`; `[N]` comes first";
            return Err(self.errors.at(arg, message));
        };
        let is_symbol = |name: &Ident| self.letters.contains(name) || self.sizes.contains(name);
        let dim = Dim::parse(&expr, &is_symbol);
        self.errors.ok(dim)
    }
}

/// A size in angle brackets as an expression: `64`, `WIDTH`, `config::WIDTH`, `{ 4 * D }`.
pub fn size_argument(arg: &GenericArgument) -> Option<Expr> {
    match arg {
        GenericArgument::Const(expr) => Some(bare(expr).clone()),
        GenericArgument::Type(Type::Path(path)) => {
            Some(Expr::Path(syn::ExprPath { attrs: Vec::new(), qself: path.qself.clone(), path: path.path.clone() }))
        }
        _ => None,
    }
}

type Args<'a> = Option<&'a syn::punctuated::Punctuated<GenericArgument, syn::Token![,]>>;

fn dtype_and_args(ty: &Type) -> Option<(DType, Args<'_>)> {
    let Type::Path(path) = bare_type(ty) else { return None };
    let last = path.path.segments.last()?;
    let dtype = match last.ident.to_string().as_str() {
        "Tensor" => DType::Tensor,
        "Index" => DType::Index,
        "Mask" => DType::Mask,
        _ => return None,
    };
    match &last.arguments {
        PathArguments::None => Some((dtype, None)),
        PathArguments::AngleBracketed(args) => Some((dtype, Some(&args.args))),
        PathArguments::Parenthesized(_) => None,
    }
}

/// The `N` of `[N]`.
fn rest_letter(arg: &GenericArgument) -> Option<&Ident> {
    match arg {
        GenericArgument::Type(Type::Slice(slice)) => match &*slice.elem {
            Type::Path(path) => path.path.get_ident().filter(|name| is_capital(name)),
            _ => None,
        },
        _ => None,
    }
}

fn is_capital(name: &Ident) -> bool {
    let text = name.to_string();
    text.len() == 1 && text.as_bytes()[0].is_ascii_uppercase()
}

fn tensor_types(sig: &syn::Signature) -> Vec<&Type> {
    let mut types: Vec<&Type> = Vec::new();
    for arg in &sig.inputs {
        if let FnArg::Typed(typed) = arg {
            types.push(&typed.ty);
        }
    }
    match &sig.output {
        ReturnType::Type(_, ty) => match bare_type(ty) {
            Type::Tuple(tuple) => types.extend(&tuple.elems),
            ty => types.push(ty),
        },
        ReturnType::Default => {}
    }
    types
}

/// The symbols of a signature: single capital letters that stand bare somewhere. In braces such
/// a letter is a symbol only if it is one elsewhere, so that `{ V }` can name a constant.
fn bare_letters(types: &[&Type], own: &[Ident]) -> Vec<Ident> {
    let mut letters: Vec<Ident> = Vec::new();
    for arg in types.iter().filter_map(|ty| dtype_and_args(ty)?.1).flatten() {
        let letter = match arg {
            GenericArgument::Type(Type::Path(path)) => path.path.get_ident().filter(|name| is_capital(name)),
            arg => rest_letter(arg),
        };
        if let Some(letter) = letter
            && !own.contains(letter)
            && !letters.contains(letter)
        {
            letters.push(letter.clone());
        }
    }
    letters
}
