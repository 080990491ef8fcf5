//! The three functions that a network function becomes.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Type, Visibility};

use super::backward::Backward;
use super::forward::Forward;
use super::{mentions, parens, tuple, unused};
use crate::gradient::differentiate;
use crate::gradient::liveness::{Liveness, Needs};
use crate::lower::ssa::{Block, Function, Mode, ValueId};
use crate::parse::dims::locals;
use crate::parse::signature::{DType, Declared, Dims, ParamKind, Signature};

/// A network function, read and lowered.
pub struct Unit {
    pub sig: Signature,
    /// `None` if the body is not to be emitted, since mistakes were reported in it.
    pub function: Option<Function>,
    pub vis: Visibility,
    /// Other attributes, for each of the three functions.
    pub attrs: Vec<Attribute>,
    /// As errors name the function: `Mlp::forward`.
    pub path: String,
    /// Whether there is a network behind it.
    pub receiver: bool,
    /// Whether shape errors are shown where the function is called.
    pub track_caller: bool,
}

/// What the three functions are called.
pub struct Trio {
    pub stage: Ident,
    pub grad: Ident,
    pub shape: Ident,
}

impl Unit {
    /// The forward function, the backward function and the shape rule.
    pub fn functions(&self, names: &Trio) -> TokenStream {
        let Some(function) = &self.function else {
            return self.placeholders(names);
        };
        let (stage, grad, shape) = (self.stage(function), self.grad(function), self.shape(function));
        self.wrap(names, [stage, grad, shape])
    }

    /// Functions of the same signatures without a body, so that calls are no mistakes as well.
    fn placeholders(&self, names: &Trio) -> TokenStream {
        let types: Vec<_> = self.sig.params.iter().map(|param| staged_type(&param.kind)).collect();
        let results: Vec<_> = self.sig.results.iter().collect();
        let unknown = |value: TokenStream| tuple(&vec![value; results.len()]);
        let (value, ty) =
            (unknown(quote!(::downhill::Value::Unknown)), unknown(quote!(::downhill::check::Type::Unknown)));
        let douts = unknown(quote!(::downhill::Grad));
        let nones = tuple(&vec![quote!(None); types.len()]);
        self.wrap(
            names,
            [
                Emitted { params: quote!(_: &mut ::downhill::Stage #(, _: #types)*), body: value },
                Emitted { params: quote!(_: &mut ::downhill::Stage, #(_: #types,)* _: #douts), body: nones },
                Emitted { params: self.shape_params(quote!(_), self.sig.params.iter().map(|_| quote!(_))), body: ty },
            ],
        )
    }

    fn wrap(&self, names: &Trio, [stage, grad, shape]: [Emitted; 3]) -> TokenStream {
        let Trio { stage: stage_name, grad: grad_name, shape: shape_name } = names;
        let (vis, attrs) = (&self.vis, &self.attrs);
        let receiver = self.receiver.then(|| quote!(&self,));
        let results = self.sig.results.len();
        let value = tuple(&vec![quote!(::downhill::Value); results]);
        let ty = tuple(&vec![quote!(::downhill::check::Type); results]);
        let dvalue = match self.sig.params.len() {
            0 => TokenStream::new(),
            n => {
                let grads = tuple(&vec![quote!(::downhill::Grad); n]);
                quote!(-> #grads)
            }
        };
        let track_caller = self.track_caller.then(|| quote!(#[track_caller]));
        let many = (self.sig.params.len() > 4).then(|| quote!(#[allow(clippy::too_many_arguments)]));
        let doc = |text: &str| {
            let text = format!(" {text} `{}`.", self.path);
            quote!(#[doc = #text])
        };
        let (stage_doc, grad_doc, shape_doc) = (doc("Stages"), doc("Stages the gradient of"), doc("The shape rule of"));
        let (stage_params, stage) = (stage.params, stage.body);
        let (grad_params, grad) = (grad.params, grad.body);
        let (shape_params, shape) = (shape.params, shape.body);
        quote! {
            #stage_doc
            #(#attrs)*
            #many
            #vis fn #stage_name(#receiver #stage_params) -> #value { #stage }

            #grad_doc
            #(#attrs)*
            #many
            #vis fn #grad_name(#receiver #grad_params) #dvalue { #grad }

            #shape_doc
            #(#attrs)*
            #many
            #track_caller
            #vis const fn #shape_name(#receiver #shape_params) -> #ty { #shape }
        }
    }

    fn stage(&self, function: &Function) -> Emitted {
        let mut needs = Needs::new();
        if !function.updates.is_empty() {
            needs.extend(function.updates.iter().map(|(_, value)| *value));
            needs.extend(self.tensors(function));
        }
        let body = Liveness::keeping(Mode::Stage).block(&function.body, &mut needs);
        let mut forward = Forward::new(function, Mode::Stage);
        let body = if function.updates.is_empty() {
            forward.block(&body)
        } else {
            let (stmts, updates) = (forward.stmts(&body.stmts), self.updates(function));
            let results: Vec<_> = body.results.iter().map(|value| function.name(*value)).collect();
            let results = tuple(&results);
            quote!(#stmts #updates #results)
        };
        let (params, prologue) = self.stage_prologue(function, needs);
        let g = if mentions(&body, "g") || mentions(&prologue, "g") { quote!(g) } else { quote!(_g) };
        Emitted { params: quote!(#g: &mut ::downhill::Stage #(, #params)*), body: quote!(#prologue #body) }
    }

    /// The parameters that are tensors.
    fn tensors(&self, function: &Function) -> Vec<ValueId> {
        let params = self.sig.params.iter().zip(&function.params);
        params.filter(|(param, _)| matches!(param.kind, ParamKind::Tensor(_))).map(|(_, value)| *value).collect()
    }

    /// Hands over what the states of the network that are assigned have become.
    fn updates(&self, function: &Function) -> TokenStream {
        let updates = function.updates.iter().map(|(place, value)| {
            let (place, span, value) = (&place.expr, place.expr.span(), function.name(*value));
            let state = quote_spanned!(span=> ::downhill::network::Assign::state(&#place));
            quote!((#state, #value))
        });
        let inputs = self.tensors(function).into_iter().map(|value| function.name(value));
        quote!(g.update(&[#(#updates),*], &[#(#inputs),*]);)
    }

    fn grad(&self, function: &Function) -> Emitted {
        let gradient = differentiate(function, &self.sig);
        let body = Backward::new(function, &gradient).block(&gradient.block);
        let (params, prologue) = self.stage_prologue(function, gradient.needs.clone());
        let douts: Vec<_> = (gradient.douts.iter())
            .map(|dout| match dout.map(|dout| gradient.name(dout)) {
                Some(name) if mentions(&body, &name.to_string()) => quote!(#name),
                Some(name) if !self.sig.tuple => unused(name).to_token_stream(),
                None if !self.sig.tuple => quote!(_dout),
                _ => quote!(_),
            })
            .collect();
        let types = tuple(&vec![quote!(::downhill::Grad); douts.len()]);
        let douts = tuple(&douts);
        let used = mentions(&body, "g") || mentions(&prologue, "g");
        let g = if used { quote!(g) } else { quote!(_g) };
        let recompute = (used && self.receiver).then(|| quote!(let g = &mut g.recompute(self.checkpoint);));
        Emitted {
            params: quote!(#g: &mut ::downhill::Stage, #(#params,)* #douts: #types),
            body: quote!(#recompute #prologue #body),
        }
    }

    /// The parameters of a staged function, and what makes values of them.
    fn stage_prologue(&self, function: &Function, mut needs: Needs) -> (Vec<TokenStream>, TokenStream) {
        let mut prologue = own_sizes(function, &needs);
        let symbols: Vec<_> = function.symbols.iter().filter(|symbol| needs.contains(&symbol.value)).collect();
        needs.extend(symbols.iter().map(|symbol| symbol.param));
        let mut params = Vec::new();
        for (param, value) in self.sig.params.iter().zip(&function.params) {
            let name = function.name(*value);
            let used = needs.contains(value);
            let shown = if used { name.clone() } else { unused(name) };
            let ty = staged_type(&param.kind);
            params.push(quote!(#shown: #ty));
            if used && matches!(param.kind, ParamKind::Tensor(_) | ParamKind::Sizes(Type::Slice(_))) {
                prologue.extend(quote!(let #name = #name.into();));
            }
        }
        for symbol in symbols {
            let (name, param) = (function.name(symbol.value), function.name(symbol.param));
            let axis = Literal::isize_unsuffixed(symbol.axis);
            prologue.extend(quote!(let #name = g.dim(#param, #axis);));
        }
        (params, prologue)
    }

    fn shape(&self, function: &Function) -> Emitted {
        let mut needs = Needs::new();
        let Block { stmts, results } = Liveness::keeping(Mode::Shape).block(&function.body, &mut needs);
        let body = Forward::new(function, Mode::Shape).stmts(&stmts);

        let declared = self.sig.declared().flat_map(|declared| declared.dims.listed());
        declared.for_each(|dim| dim.constants(&mut |expr| needs.extend(sizes_in(function, expr))));
        let prologue = own_sizes(function, &needs);
        let params: TokenStream = self.shape_args(function, &needs).collect();
        let symbols = function.symbols.iter().filter(|symbol| needs.contains(&symbol.value)).map(|symbol| {
            let name = function.name(symbol.value);
            let letter = letter(&symbol.letter);
            quote!(let #name = frame.dim(#letter);)
        });
        let results: Vec<_> = (results.iter().zip(&self.sig.results))
            .map(|(value, declared)| {
                let name = function.name(*value);
                let declaration = self.declaration(declared);
                let span = declared.written.span();
                let args = parens(span, quote!(&frame, cx, #name, #declaration));
                quote_spanned!(span=> ::downhill::check::Frame::result #args)
            })
            .collect();
        let results = tuple(&results);
        let path = &self.path;
        let frame = match self.track_caller {
            true => quote!(::downhill::check::Frame::called(cx, #path)),
            false => quote!(::downhill::check::Frame::new(#path)),
        };
        let mutable = (!self.sig.params.is_empty()).then(|| quote!(mut));
        let names = self.sig.params.iter().zip(&function.params).map(|(param, value)| {
            let name = function.name(*value);
            let read = needs.contains(value) || !matches!(param.kind, ParamKind::Number(_));
            let shown = if read { name.clone() } else { unused(name) };
            quote!(#shown)
        });
        Emitted {
            params: self.shape_params(quote!(cx), names),
            body: quote! {
                #prologue
                let #mutable frame = #frame;
                #params
                #(#symbols)*
                #body
                #results
            },
        }
    }

    fn shape_params(&self, cx: TokenStream, names: impl Iterator<Item = TokenStream>) -> TokenStream {
        let types = names.map(|name| quote!(#name: ::downhill::check::Type));
        quote!(#cx: &mut ::downhill::check::Check #(, #types)*)
    }

    /// Checks every argument, and names those that the body uses.
    fn shape_args(&self, function: &Function, needs: &Needs) -> impl Iterator<Item = TokenStream> {
        self.sig.params.iter().zip(&function.params).map(|(param, value)| {
            let name = function.name(*value);
            let text = param.name.to_string();
            let checked = match &param.kind {
                ParamKind::Tensor(declared) => {
                    let declaration = self.declaration(declared);
                    let span = declared.written.span();
                    let args = parens(span, quote!(&mut frame, cx, #text, #name, #declaration));
                    quote_spanned!(span=> ::downhill::check::Frame::param #args)
                }
                ParamKind::Size(_) => quote!(frame.size(cx, #text, #name)),
                ParamKind::Flag(_) => quote!(frame.flag(cx, #text, #name)),
                ParamKind::Number(_) | ParamKind::Sizes(_) => return TokenStream::new(),
            };
            if needs.contains(value) { quote!(let #name = #checked;) } else { quote!(#checked;) }
        })
    }

    /// The declared inputs, on which a function can be checked by itself.
    pub fn entries(&self) -> Vec<TokenStream> {
        let params = self.sig.params.iter().filter_map(|param| match &param.kind {
            ParamKind::Tensor(declared) => Some(self.declaration(declared)),
            _ => None,
        });
        params.map(|declaration| quote!(#declaration.entry())).collect()
    }

    /// The sizes of the network that declared inputs mention.
    pub fn entry_sizes(&self, own: &[Ident]) -> TokenStream {
        let mut mentioned = Vec::new();
        for dim in self.sig.params.iter().flat_map(|param| match &param.kind {
            ParamKind::Tensor(declared) => declared.dims.listed(),
            _ => &[],
        }) {
            dim.constants(&mut |expr| mentioned.extend(locals(expr).into_iter().cloned()));
        }
        own.iter()
            .filter(|size| mentioned.contains(size))
            .map(|size| {
                let mut name = size.clone();
                name.set_span(crate::names::local(size.span()));
                quote!(let #name = self.#size;)
            })
            .collect()
    }

    fn declaration(&self, declared: &Declared) -> TokenStream {
        let dtype = match declared.dtype {
            DType::Tensor => quote!(::downhill::shape::DType::F32),
            DType::Index => quote!(::downhill::shape::DType::I32),
            DType::Mask => quote!(::downhill::shape::DType::Bool),
            DType::Any => return quote!(::downhill::check::Declared::value()),
        };
        let dims = declared.dims.listed().iter().map(|dim| dim.declared(&|name| self.sig.is_letter(name)));
        match &declared.dims {
            Dims::Any => quote!(::downhill::check::Declared::any(#dtype)),
            Dims::Exact(_) => quote!(::downhill::check::Declared::dims(#dtype, &[#(#dims),*])),
            Dims::Rest(rest, _) => {
                let rest = letter(rest);
                quote!(::downhill::check::Declared::rest(#dtype, #rest, &[#(#dims),*]))
            }
        }
    }
}

/// The type of a parameter when staged. A list of any length is a value, as tensors are.
fn staged_type(kind: &ParamKind) -> TokenStream {
    match kind {
        ParamKind::Tensor(_) | ParamKind::Sizes(Type::Slice(_)) => quote!(impl Into<::downhill::Value>),
        ParamKind::Number(ty) | ParamKind::Size(ty) | ParamKind::Flag(ty) | ParamKind::Sizes(ty) => quote!(#ty),
    }
}

/// A function without its name.
struct Emitted {
    params: TokenStream,
    body: TokenStream,
}

/// Reads the sizes of the network that are needed.
fn own_sizes(function: &Function, needs: &Needs) -> TokenStream {
    let needed = function.sizes.iter().filter(|size| needs.contains(size));
    needed
        .map(|size| {
            let name = function.name(*size);
            quote!(let #name = self.#name;)
        })
        .collect()
}

fn sizes_in(function: &Function, expr: &syn::Expr) -> Vec<ValueId> {
    let mentioned = locals(expr);
    let own = function.sizes.iter().filter(|size| mentioned.contains(&function.name(**size)));
    own.copied().collect()
}

fn letter(name: &Ident) -> Literal {
    Literal::character(name.to_string().chars().next().unwrap_or('?'))
}
