//! `#[network]` on an `impl` block: the functions of a network.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{GenericParam, ImplItem, ImplItemFn, ItemImpl, Path, PathArguments, Type};

use crate::emit::check::Check;
use crate::emit::function::{Trio, Unit};
use crate::emit::tuple;
use crate::error::Errors;
use crate::lower::{Scope, lower};
use crate::names::stem;
use crate::parse::attr::{Args, cfgs, split_docs, with_arguments};
use crate::parse::dims::bare_type;
use crate::parse::signature::{DType, Dims, ParamKind, Signature};

/// What `#[network]` on a struct defines, and a network function cannot be called.
const TAKEN: [&str; 6] = ["new", "init", "number", "param", "check_params", "check_layout"];

/// A method, read, with what goes with it.
struct Method {
    unit: Unit,
    docs: Vec<syn::Attribute>,
    trio: Trio,
    /// How an input of unknown shape enters a sequential network.
    entries: Option<Vec<TokenStream>>,
}

/// What tells the functions of a sequential network from those of an `impl` block.
pub struct Sequential {
    /// The declared inputs of `forward`, if the first field has some.
    pub entry: Option<TokenStream>,
}

/// Expands an `impl` block.
pub fn expand(args: &Args, item: ItemImpl, sequential: Option<&Sequential>, errors: &mut Errors) -> TokenStream {
    let before = errors.len();
    let Some((owner, sizes)) = owner(&item, errors) else {
        return item.into_token_stream();
    };
    let functions: Vec<&ImplItemFn> = item.items.iter().filter_map(|item| network_function(item, errors)).collect();
    let names: BTreeSet<String> = functions.iter().map(|function| function.sig.ident.to_string()).collect();
    let scope = Scope { methods: &names, sizes: &sizes, network: true };
    let methods: Vec<Method> =
        (functions.iter()).map(|function| method(args, function, &owner, &scope, sequential, errors)).collect();
    let ok = errors.len() == before;

    let trios: TokenStream = methods.iter().map(|method| method.functions(&sizes)).collect();
    let consts: Vec<_> = methods.iter().filter(|method| method.is_value()).collect();
    let generics = &item.generics;
    let self_ty = &item.self_ty;
    let consts = if sizes.is_empty() {
        let consts = consts.iter().map(|method| method.constant(&owner, &method.unit.sig.name));
        quote!(#[allow(non_upper_case_globals, dead_code)] impl #owner { #(#consts)* })
    } else {
        let hidden = consts.iter().map(|method| method.hidden_constant(&owner));
        let shared = consts.iter().map(|method| method.shared_constant(&owner));
        quote! {
            #[allow(non_upper_case_globals)]
            impl #owner { #(#hidden)* }

            #[allow(non_upper_case_globals, dead_code)]
            impl #generics #self_ty { #(#shared)* }
        }
    };
    let forward = methods.iter().find(|method| method.unit.sig.name == "forward" && method.is_value());
    let forward = forward.map(|method| method.forward(&owner, &sizes));
    let called: BTreeSet<&String> = methods
        .iter()
        .filter_map(|method| method.unit.function.as_ref())
        .flat_map(|function| &function.calls)
        .collect();
    let checks = methods.iter().filter(|method| !called.contains(&method.unit.sig.name.to_string()));
    let checks =
        (ok && sizes.is_empty()).then(|| checks.filter_map(|method| method.check(&owner)).collect::<TokenStream>());
    quote! {
        #[allow(non_snake_case, dead_code)]
        impl #owner { #trios }

        #consts
        #forward
        #checks
    }
}

/// The type that the functions belong to, without its sizes, and the names of those. `None` if
/// this is no block of a network at all.
fn owner(item: &ItemImpl, errors: &mut Errors) -> Option<(Path, Vec<Ident>)> {
    if let Some((path, _)) = &item.trait_ {
        let message = "`#[network]` on a trait implementation: write `#[network] impl Net` for the network itself";
        errors.at(path, message);
        return None;
    }
    let Type::Path(ty) = bare_type(&item.self_ty) else {
        errors.at(&item.self_ty, "`#[network] impl` is for a struct with `#[network]`");
        return None;
    };
    let mut sizes = Vec::new();
    for param in &item.generics.params {
        match param {
            GenericParam::Const(param) => sizes.push(param.ident.clone()),
            other => {
                let message = "a network has sizes as parameters, such as `const D: usize`, and no types or lifetimes";
                errors.at(other, message);
            }
        }
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.at(clause, "a network has no `where` clause");
    }
    let mut owner = ty.path.clone();
    let args = owner.segments.last_mut().map(|last| std::mem::take(&mut last.arguments));
    let written = match &args {
        Some(PathArguments::AngleBracketed(args)) => {
            args.args.iter().map(|arg| arg.to_token_stream().to_string()).collect()
        }
        _ => Vec::new(),
    };
    if sizes.iter().map(Ident::to_string).ne(written.iter().map(|arg| arg.trim_matches(['{', '}', ' ']).to_string())) {
        let name = owner.to_token_stream();
        let message = format!(
            "an `impl` is for all sizes of a network: write `impl<const D: usize> {name}<D>`, with the names of its struct"
        );
        errors.at(&item.self_ty, message);
    }
    Some((owner, sizes))
}

fn network_function<'a>(item: &'a ImplItem, errors: &mut Errors) -> Option<&'a ImplItemFn> {
    match item {
        ImplItem::Fn(function) if TAKEN.iter().any(|name| function.sig.ident == name) => {
            let name = &function.sig.ident;
            errors.at(name, format!("every network has a `{name}` of its own: call the function something else"));
            None
        }
        ImplItem::Fn(function) if function.sig.receiver().is_some() => Some(function),
        ImplItem::Fn(function) => {
            errors.at(
                &function.sig.ident,
                "a network function has `&self`; one without is a free function with `#[network]`",
            );
            None
        }
        other => {
            errors.at(other, "`#[network] impl` holds functions only: move this into an `impl` of its own");
            None
        }
    }
}

fn method(
    args: &Args,
    item: &ImplItemFn,
    owner: &Path,
    scope: &Scope,
    sequential: Option<&Sequential>,
    errors: &mut Errors,
) -> Method {
    let before = errors.len();
    let mut sig = Signature::parse(&item.sig, scope.sizes, errors);
    if sequential.is_some() {
        sig.take_anything();
    }
    let function = if errors.len() > before { None } else { lower(&sig, &item.block, scope, errors).ok() };
    let (docs, attrs) = split_docs(&item.attrs);
    let name = sig.name.clone();
    let net = owner.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
    let unit = Unit {
        function,
        vis: item.vis.clone(),
        attrs,
        path: format!("{net}::{name}"),
        receiver: true,
        track_caller: args.track_caller.is_some(),
        sig,
    };
    let trio = Trio {
        stage: format_ident!("stage_{name}"),
        grad: format_ident!("grad_{name}"),
        shape: format_ident!("shape_{name}"),
    };
    let entries = sequential.and_then(|sequential| sequential.entries(&unit));
    Method { unit, docs, trio, entries }
}

impl Sequential {
    /// The first input is what the first layer takes, whatever that is.
    fn entries(&self, unit: &Unit) -> Option<Vec<TokenStream>> {
        let mut entries = unit.entries();
        *entries.first_mut()? = self.entry.clone()?;
        Some(entries)
    }
}

impl Signature {
    /// Declares every tensor to be of any type and shape.
    fn take_anything(&mut self) {
        let params = self.params.iter_mut().filter_map(|param| match &mut param.kind {
            ParamKind::Tensor(declared) => Some(declared),
            _ => None,
        });
        for declared in params.chain(&mut self.results) {
            declared.dtype = DType::Any;
            declared.dims = Dims::Any;
        }
    }
}

impl Method {
    /// Whether it can be a value: all that it takes are tensors.
    fn is_value(&self) -> bool {
        !self.unit.sig.has_plain_params()
    }

    fn functions(&self, sizes: &[Ident]) -> TokenStream {
        let functions = self.unit.functions(&self.trio);
        let entry = self.is_value().then(|| {
            let cfgs = cfgs(&self.unit.attrs);
            let name = format_ident!("entry_{}", self.unit.sig.name);
            let own = self.unit.entry_sizes(sizes);
            let entries = self.entries.clone().unwrap_or_else(|| self.unit.entries());
            let vis = &self.unit.vis;
            let n = proc_macro2::Literal::usize_unsuffixed(entries.len());
            quote! {
                #(#cfgs)*
                #[doc(hidden)]
                #vis const fn #name(&self) -> [::downhill::check::Type; #n] {
                    #own
                    [#(#entries),*]
                }
            }
        });
        quote!(#functions #entry)
    }

    fn constant(&self, owner: &Path, name: &Ident) -> TokenStream {
        let (docs, cfgs, vis) = (with_arguments(&self.docs, &self.unit.sig), cfgs(&self.unit.attrs), &self.unit.vis);
        let function = self.function_value();
        quote! {
            #docs
            #(#cfgs)*
            #vis const #name: ::downhill::network::Function<#owner> = #function;
        }
    }

    fn hidden_constant(&self, owner: &Path) -> TokenStream {
        let cfgs = cfgs(&self.unit.attrs);
        let (hidden, function) = (self.hidden_name(), self.function_value());
        quote!(#(#cfgs)* const #hidden: ::downhill::network::Function<#owner> = #function;)
    }

    fn shared_constant(&self, owner: &Path) -> TokenStream {
        let (docs, cfgs, vis) = (with_arguments(&self.docs, &self.unit.sig), cfgs(&self.unit.attrs), &self.unit.vis);
        let (name, hidden) = (&self.unit.sig.name, self.hidden_name());
        quote! {
            #docs
            #(#cfgs)*
            #vis const #name: ::downhill::network::Function<#owner> = <#owner>::#hidden;
        }
    }

    fn hidden_name(&self) -> Ident {
        format_ident!("function_{}", self.unit.sig.name)
    }

    /// The function as a value of the run time, which knows arguments by number.
    fn function_value(&self) -> TokenStream {
        let Trio { stage, grad, shape } = &self.trio;
        let sig = &self.unit.sig;
        let inputs = sig.params.iter().map(|param| param.name.to_string());
        let outputs = self.output_names();
        let path = &self.unit.path;
        let args: Vec<_> = (0..sig.params.len())
            .map(|i| {
                let i = proc_macro2::Literal::usize_unsuffixed(i);
                quote!(x[#i])
            })
            .collect();
        let x = if args.is_empty() { quote!(_) } else { quote!(x) };
        let douts: Vec<_> = (0..sig.results.len())
            .map(|i| {
                let i = proc_macro2::Literal::usize_unsuffixed(i);
                quote!(dout[#i])
            })
            .collect();
        let dout = tuple(&douts);
        let results: Vec<_> = (0..sig.results.len()).map(|i| format_ident!("y_{i}")).collect();
        let listed = |call: TokenStream| match sig.tuple {
            true => quote!({ let (#(#results),*) = #call; ::std::vec![#(#results),*] }),
            false => quote!(::std::vec![#call]),
        };
        let stage = listed(quote!(net.#stage(g #(, #args)*)));
        let shape = listed(quote!(net.#shape(cx #(, #args)*)));
        quote! {
            ::downhill::network::Function::new(
                #path,
                &[#(#inputs),*],
                &[#(#outputs),*],
                ::downhill::network::Rules {
                    stage: |net, g, #x| #stage,
                    grad: |net, g, #x, dout| { net.#grad(g, #(#args,)* #dout); },
                    shape: |net, cx, #x| #shape,
                },
            )
        }
    }

    /// What the results are called: after the variable or the function that they come from.
    fn output_names(&self) -> Vec<String> {
        let name = |i: usize| match &self.unit.function {
            Some(function) => stem(function.name(function.body.results[i])).to_string(),
            None => self.unit.sig.name.to_string(),
        };
        (0..self.unit.sig.results.len()).map(name).collect()
    }

    fn forward(&self, owner: &Path, sizes: &[Ident]) -> TokenStream {
        let cfgs = cfgs(&self.unit.attrs);
        let name = if sizes.is_empty() { self.unit.sig.name.clone() } else { self.hidden_name() };
        quote! {
            #(#cfgs)*
            impl ::downhill::network::Forward for #owner {
                const FORWARD: ::downhill::network::Function<#owner> = <#owner>::#name;
            }
        }
    }

    fn check(&self, owner: &Path) -> Option<TokenStream> {
        let sig = &self.unit.sig;
        let check = Check {
            owner,
            function: &self.trio.shape,
            name: &sig.name,
            params: sig.params.iter().map(|param| &param.name).collect(),
            cfgs: cfgs(&self.unit.attrs),
        };
        let loss = match (sig.tuple, sig.results.is_empty()) {
            (true, false) => Some(quote!((loss, ..))),
            (true, true) => None,
            (false, _) => Some(quote!(loss)),
        };
        self.is_value().then(|| check.of_network(loss.filter(|_| sig.name == "loss")))
    }
}
