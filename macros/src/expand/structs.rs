//! `#[network]` on a struct: its layers and parameters, and how they are numbered and named.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{ConstParam, Expr, Fields, GenericParam, ItemStruct, Type};

use crate::emit::parens;
use crate::error::Errors;
use crate::names::local;
use crate::parse::attr::Args;
use crate::parse::dims::locals;
use crate::parse::fields::{Field, FieldKind};

/// A network as a struct.
pub struct Struct {
    pub item: ItemStruct,
    pub sizes: Vec<Size>,
    pub fields: Vec<Field>,
    /// Whether mistakes in its sizes are shown at the field that it is.
    track_caller: bool,
}

/// A const parameter of the struct.
pub struct Size {
    pub name: Ident,
    pub ty: Type,
    /// What it is when the type is named without sizes.
    any: TokenStream,
}

impl Struct {
    pub fn parse(args: &Args, item: ItemStruct, errors: &mut Errors) -> Struct {
        let sizes: Vec<Size> = item.generics.params.iter().filter_map(|param| size(param, errors)).collect();
        if let Some(clause) = &item.generics.where_clause {
            errors.at(clause, "a network has no `where` clause");
        }
        let own: Vec<Ident> = sizes.iter().map(|size| size.name.clone()).collect();
        let fields = match &item.fields {
            Fields::Named(fields) => (fields.named.iter())
                .filter_map(|field| field.ident.as_ref().map(|name| Field::parse(field, name, &own, errors)))
                .collect(),
            Fields::Unnamed(fields) => {
                errors.at(fields, "the fields of a network have names, after which its parameters are called");
                Vec::new()
            }
            Fields::Unit => Vec::new(),
        };
        Struct { item, sizes, fields, track_caller: args.track_caller.is_some() }
    }

    pub fn definition(&self) -> TokenStream {
        let ItemStruct { attrs, vis, ident, .. } = &self.item;
        let generics = self.sizes.iter().map(|Size { name, ty, any }| quote!(const #name: #ty = { #any }));
        let fields = self.fields.iter().map(|field| {
            let Field { name, vis, attrs, kind } = field;
            let ty = match kind {
                FieldKind::Param { .. } => quote!(::downhill::network::Param),
                FieldKind::State { .. } => quote!(::downhill::network::State),
                FieldKind::Option { ty, .. } => quote!(#ty),
                FieldKind::Layer(layer) => layer.ty(),
                FieldKind::Layers(layer, len) => {
                    let layer = layer.ty();
                    quote!([#layer; #len])
                }
            };
            quote!(#(#attrs)* #vis #name: #ty,)
        });
        let sizes = self.sizes.iter().map(|Size { name, ty, .. }| quote!(#[allow(dead_code)] #name: #ty,));
        let allow = (!self.sizes.is_empty()).then(|| quote!(#[allow(non_snake_case)]));
        let generics = (!self.sizes.is_empty()).then(|| quote!(<#(#generics),*>));
        quote! {
            #(#attrs)*
            #[derive(Clone, Copy, Debug)]
            #allow
            #vis struct #ident #generics {
                #(#fields)*
                #(#sizes)*
                #[allow(dead_code)]
                checkpoint: bool,
            }
        }
    }

    /// The network with its sizes as values.
    pub fn constructor(&self) -> TokenStream {
        let ident = &self.item.ident;
        let params = self.sizes.iter().map(|Size { name, ty, .. }| quote!(#name: #ty));
        let sizes = self.sizes.iter().map(|size| &size.name);
        let values = self.fields.iter().map(|field| {
            let (name, value) = (&field.name, field.value());
            quote!(#name: #value,)
        });
        let options = self.fields.iter().filter_map(|field| self.setter(field));
        let defaults = self.fields.iter().filter(|field| self.is_size(field)).map(|field| {
            let (name, value) = (&field.name, field.value());
            quote!(let #name = #value;)
        });
        let (number, param, checks, layout) = (self.number(), self.param(), self.checks(), self.layout());
        let doc = match self.sizes.is_empty() {
            true => " The network, its parameters not numbered yet.",
            false => " The network of these sizes.",
        };
        let allow = (!self.sizes.is_empty()).then(|| quote!(non_snake_case, clippy::too_many_arguments,));
        quote! {
            #[allow(#allow dead_code, clippy::new_without_default)]
            impl #ident {
                #[doc = #doc]
                pub const fn new(#(#params),*) -> Self {
                    #(#defaults)*
                    Self { #(#values)* #(#sizes,)* checkpoint: false }
                }

                /// Whether the gradient computes the values of this network again in place of keeping
                /// them: what `#[checkpoint]` on a field sets.
                pub const fn checkpoint(mut self, checkpoint: bool) -> Self {
                    self.checkpoint = checkpoint;
                    self
                }

                #(#options)*

                #number

                #param

                /// Reports every parameter that the loss `y` does not reach.
                #[doc(hidden)]
                pub const fn check_params(&self, cx: &mut ::downhill::check::Check, y: ::downhill::check::Type) {
                    #checks
                }

                #layout
            }
        }
    }

    /// The method that sets an option or leaves a parameter out.
    fn setter(&self, field: &Field) -> Option<TokenStream> {
        let name = &field.name;
        match &field.kind {
            FieldKind::Param { optional: true, .. } => {
                let doc = format!(" With or without the parameter `{name}`.");
                Some(quote! {
                    #[doc = #doc]
                    pub const fn #name(mut self, present: bool) -> Self {
                        self.#name = self.#name.optional(present);
                        self
                    }
                })
            }
            FieldKind::Option { ty, .. } => {
                let doc = format!(" Sets `{name}`.");
                let resized = self.resized(name);
                Some(quote! {
                    #[doc = #doc]
                    pub const fn #name(mut self, #name: #ty) -> Self {
                        self.#name = #name;
                        #resized
                        self
                    }
                })
            }
            _ => None,
        }
    }

    /// Whether the sizes of parameters depend on this field, an option.
    fn is_size(&self, field: &Field) -> bool {
        matches!(field.kind, FieldKind::Option { .. }) && self.fields.iter().any(|param| param.mentions(&field.name))
    }

    /// Gives the parameters whose sizes depend on an option their new ones.
    fn resized(&self, option: &Ident) -> TokenStream {
        let params: Vec<_> = self.fields.iter().filter(|param| param.mentions(option)).collect();
        let read = |name: &Ident| params.iter().any(|param| param.mentions(name));
        let sizes = self.sizes.iter().map(|size| &size.name);
        let names = sizes.chain(self.fields.iter().filter(|field| self.is_size(field)).map(|field| &field.name));
        let reads = names.filter(|name| *name != option && read(name)).map(|name| quote!(let #name = self.#name;));
        let params = params.iter().map(|param| {
            let (name, value) = (&param.name, param.value());
            quote!(self.#name = self.#name.resized(#value);)
        });
        quote!(#(#reads)* #(#params)*)
    }

    fn number(&self) -> TokenStream {
        let fields: Vec<_> = self.fields.iter().filter(|field| field.has_params()).collect();
        let mutable = (!fields.is_empty()).then(|| quote!(mut));
        let steps = fields.iter().map(|field| {
            let name = &field.name;
            match field.kind {
                FieldKind::Layers(..) => quote! {
                    let mut i = 0;
                    while i < self.#name.len() {
                        next = self.#name[i].number(next);
                        i += 1;
                    }
                },
                _ => quote!(next = self.#name.number(next);),
            }
        });
        quote! {
            /// Numbers the parameters and states from `next` on, in order of fields; gives the next number.
            #[doc(hidden)]
            pub const fn number(&mut self, #mutable next: usize) -> usize {
                #(#steps)*
                next
            }
        }
    }

    fn param(&self) -> TokenStream {
        let fields: Vec<_> = self.fields.iter().filter(|field| field.has_params()).collect();
        let steps = fields.iter().map(|field| {
            let (name, segment) = (&field.name, field.path_name());
            match field.kind {
                FieldKind::Layers(..) => quote! {
                    let mut i = 0;
                    while i < self.#name.len() {
                        if let Some(found) = self.#name[i].param(id, path.field(#segment).index(i)) {
                            return Some(found);
                        }
                        i += 1;
                    }
                },
                _ => quote! {
                    if let Some(found) = self.#name.param(id, path.field(#segment)) {
                        return Some(found);
                    }
                },
            }
        });
        let (id, path) = match fields.is_empty() {
            true => (quote!(_id), quote!(_path)),
            false => (quote!(id), quote!(path)),
        };
        quote! {
            /// Parameter or state `id` and its dotted path.
            #[doc(hidden)]
            pub const fn param(
                &self,
                #id: usize,
                #path: ::downhill::check::Message,
            ) -> Option<(::downhill::network::Param, ::downhill::check::Message)> {
                #(#steps)*
                None
            }
        }
    }

    /// Checks the parameters of one field after the other, each at the place of its field.
    fn checks(&self) -> TokenStream {
        let fields: Vec<_> = self.fields.iter().filter(|field| field.has_params()).collect();
        if fields.is_empty() {
            return quote!(let _ = (cx, y););
        }
        let steps = fields.iter().map(|field| {
            let (name, segment) = (&field.name, field.path_name());
            let args = parens(name.span(), quote!(cx, y, param, name));
            let check = quote_spanned!(name.span()=> ::downhill::network::parameter #args);
            let step = quote!({ #check; id += 1; });
            let path = quote!(::downhill::check::Message::new().field(#segment));
            match field.kind {
                FieldKind::Layers(..) => quote! {
                    let mut i = 0;
                    while i < self.#name.len() {
                        while let Some((param, name)) = self.#name[i].param(id, #path.index(i)) #step
                        i += 1;
                    }
                },
                _ => quote!(while let Some((param, name)) = self.#name.param(id, #path) #step),
            }
        });
        quote!(let mut id = 0; #(#steps)*)
    }

    /// Checks that memory can hold the parameters, and that each has a name of its own.
    fn layout(&self) -> TokenStream {
        let fields: Vec<_> = self.fields.iter().filter(|field| field.has_params()).collect();
        let steps = fields.iter().map(|field| {
            let (name, segment) = (&field.name, field.path_name());
            // The whole call stands at its field.
            let span = local(name.span());
            let check = |place: TokenStream, path: TokenStream| {
                let args = parens(span, quote!(cx, #path, len));
                quote_spanned!(span=> len = #place.check_layout #args;)
            };
            match field.kind {
                FieldKind::Layers(..) => {
                    let check = check(quote_spanned!(span=> self.#name[i]), quote!(path.field(#segment).index(i)));
                    quote! {
                        let mut i = 0;
                        while i < self.#name.len() {
                            #check
                            i += 1;
                        }
                    }
                }
                _ => check(quote_spanned!(span=> self.#name), quote!(path.field(#segment))),
            }
        });
        let names = self.clash(&fields).map(|field| {
            let args = parens(field.span(), quote!(cx, name, other));
            let check = quote_spanned!(field.span()=> ::downhill::check::distinct #args);
            quote! {
                let mut net = *self;
                net.number(0);
                let mut i = 0;
                while let Some((_, name)) = net.param(i, path) {
                    i += 1;
                    let mut j = i;
                    while let Some((_, other)) = net.param(j, path) {
                        #check;
                        j += 1;
                    }
                }
            }
        });
        let track_caller = self.track_caller.then(|| quote!(#[track_caller]));
        let (mutable, unused) = match fields.is_empty() {
            true => (None, Some(quote!(let _ = (cx, path);))),
            false => (Some(quote!(mut)), None),
        };
        quote! {
            /// Reports parameters that no memory can hold behind `len` numbers, and two of one name.
            #[doc(hidden)]
            #track_caller
            pub const fn check_layout(
                &self,
                cx: &mut ::downhill::check::Check,
                path: ::downhill::check::Message,
                #mutable len: usize,
            ) -> usize {
                #unused
                #(#steps)*
                #names
                len
            }
        }
    }

    /// A field whose parameters may have the names of those of a field before it: it was given the same name, or one
    /// with dots that the names of the other begin with.
    fn clash<'f>(&self, fields: &[&'f Field]) -> Option<&'f Ident> {
        let within = |name: &str, outer: &str| {
            name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || outer.is_empty())
        };
        fields.iter().enumerate().find_map(|(i, field)| {
            let name = field.path_name();
            let clashes = |before: &&Field| {
                let other = before.path_name();
                within(&name, &other) || within(&other, &name)
            };
            fields[..i].iter().any(clashes).then_some(&field.name)
        })
    }

    /// Whether two networks have the same sizes and options.
    fn same(&self) -> TokenStream {
        let fields = self.fields.iter().map(|field| {
            let name = &field.name;
            match field.kind {
                FieldKind::Option { .. } => quote!(::downhill::network::same_option(&self.#name, &other.#name)),
                FieldKind::Param { .. } | FieldKind::State { .. } => {
                    quote!(::downhill::network::Same::same(&self.#name, &other.#name))
                }
                FieldKind::Layer(_) => quote!(::downhill::network::Network::same(&self.#name, &other.#name)),
                FieldKind::Layers(..) => quote! {
                    self.#name.iter().zip(&other.#name).all(|(a, b)| ::downhill::network::Network::same(a, b))
                },
            }
        });
        let sizes = self.sizes.iter().map(|Size { name, .. }| quote!(self.#name == other.#name));
        quote!(self.checkpoint == other.checkpoint #(&& #sizes)* #(&& #fields)*)
    }

    pub fn traits(&self) -> TokenStream {
        let ident = &self.item.ident;
        let name = ident.to_string();
        let (generics, args) = self.generics();
        let sizes = self.sizes.iter().map(|size| &size.name);
        let same = self.same();
        let check = self.sizes.is_empty().then(|| {
            let check = self.layout_check();
            quote!(const _: () = #check;)
        });
        quote! {
            impl ::downhill::network::Network for #ident {
                const NAME: &'static str = #name;

                fn number(&mut self, next: usize) -> usize {
                    #ident::number(self, next)
                }

                fn param(
                    &self,
                    id: usize,
                    path: ::downhill::check::Message,
                ) -> Option<(::downhill::network::Param, ::downhill::check::Message)> {
                    #ident::param(self, id, path)
                }

                fn same(&self, other: &Self) -> bool {
                    #same
                }
            }

            impl #generics ::downhill::network::Layer for #ident #args {
                type Net = #ident;
                const NET: #ident = <#ident>::new(#(#sizes),*);
            }

            #check
        }
    }

    /// A constant block that checks the layout of this network.
    fn layout_check(&self) -> TokenStream {
        let this = match self.sizes.is_empty() {
            true => self.item.ident.to_token_stream(),
            false => quote!(Self),
        };
        quote! {{
            let mut cx = ::downhill::check::Check::raise(0);
            let net = <#this as ::downhill::network::Layer>::NET;
            net.check_layout(&mut cx, ::downhill::check::Message::new(), 0);
        }}
    }

    pub fn init(&self) -> TokenStream {
        let ident = &self.item.ident;
        let (generics, args) = self.generics();
        // Without sizes it is checked once, where it is defined.
        let check = (!self.sizes.is_empty()).then(|| {
            let check = self.layout_check();
            quote!(const #check)
        });
        quote! {
            #[allow(dead_code)]
            impl #generics #ident #args {
                /// A model with its parameters initialised from `seed`.
                pub fn init(seed: u64) -> ::downhill::Model<#ident> {
                    #check
                    ::downhill::Model::new(<Self as ::downhill::network::Layer>::NET, seed)
                }
            }
        }
    }

    /// `<const D: usize>` and `<D>`.
    pub fn generics(&self) -> (Option<TokenStream>, Option<TokenStream>) {
        if self.sizes.is_empty() {
            return (None, None);
        }
        let params = self.sizes.iter().map(|Size { name, ty, .. }| quote!(const #name: #ty));
        let args = self.sizes.iter().map(|size| &size.name);
        (Some(quote!(<#(#params),*>)), Some(quote!(<#(#args),*>)))
    }
}

fn size(param: &GenericParam, errors: &mut Errors) -> Option<Size> {
    let param: &ConstParam = match param {
        GenericParam::Const(param) => param,
        other => {
            errors.at(other, "a network has sizes as parameters, such as `const D: usize`, and no types or lifetimes");
            return None;
        }
    };
    let any = match &param.ty {
        Type::Path(path) if path.path.is_ident("usize") => quote!(::downhill::shape::ANY),
        Type::Path(path) if path.path.is_ident("bool") => quote!(false),
        other => {
            errors.at(other, "a const parameter of a network is a `usize` or a `bool`");
            quote!(0)
        }
    };
    if let Some((_, default)) = &param.default {
        errors.at(default, "a size of a network has no default: the type without sizes stands for any size");
    }
    Some(Size { name: param.ident.clone(), ty: param.ty.clone(), any })
}

impl Field {
    fn has_params(&self) -> bool {
        !matches!(self.kind, FieldKind::Option { .. })
    }

    /// Whether this is a parameter whose sizes or initialiser mention a name.
    fn mentions(&self, name: &Ident) -> bool {
        match &self.kind {
            FieldKind::Param { dims, init, .. } => {
                dims.iter().chain([init]).flat_map(locals).any(|mentioned| mentioned == name)
            }
            _ => false,
        }
    }

    fn value(&self) -> TokenStream {
        match &self.kind {
            FieldKind::Param { dims, init, .. } => {
                let init = initialiser(init);
                quote!(::downhill::network::Param::new(&[#(#dims),*], #init))
            }
            FieldKind::State { dims, init } => {
                let init = initialiser(init);
                quote!(::downhill::network::State::new(&[#(#dims),*], #init))
            }
            FieldKind::Option { default, .. } => quote!(#default),
            FieldKind::Layer(layer) => layer.value(),
            FieldKind::Layers(layer, len) => {
                let layer = layer.value();
                quote!([#layer; #len])
            }
        }
    }
}

/// The names of initialisers need no `use`.
fn initialiser(init: &Expr) -> TokenStream {
    quote! {{
        #[allow(unused_imports)]
        use ::downhill::init::*;
        #init
    }}
}
