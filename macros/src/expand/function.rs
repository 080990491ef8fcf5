//! `#[network]` on a function: an operation of the user's own.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ItemFn;

use crate::emit::check::Check;
use crate::emit::function::{Trio, Unit};
use crate::error::Errors;
use crate::lower::{Scope, lower};
use crate::parse::attr::{Args, cfgs, split_docs, with_arguments};
use crate::parse::signature::Signature;

/// Expands a free function to an empty enum of its name, which owns the three functions. An enum
/// is a type only, so a variable of the same name stays possible.
pub fn expand(args: &Args, item: ItemFn, errors: &mut Errors) -> TokenStream {
    let name = &item.sig.ident;
    let vis = &item.vis;
    let (docs, attrs) = split_docs(&item.attrs);
    let before = errors.len();
    let sig = Signature::parse(&item.sig, &[], errors);
    if let Some(receiver) = item.sig.receiver() {
        errors.at(receiver, "a free function has no `self`: move it into a `#[network] impl`");
    }
    let scope = Scope { methods: &BTreeSet::new(), sizes: &[], network: false };
    let function = if errors.len() > before { None } else { lower(&sig, &item.block, &scope, errors).ok() };
    let unit = Unit {
        function,
        vis: vis.clone(),
        attrs,
        path: name.to_string(),
        receiver: false,
        track_caller: args.track_caller.is_some(),
        sig,
    };
    let trio = Trio { stage: format_ident!("stage"), grad: format_ident!("grad"), shape: format_ident!("shape") };
    let functions = unit.functions(&trio);
    let cfgs = cfgs(&unit.attrs);
    let docs = with_arguments(&docs, &unit.sig);
    let check = (errors.len() == before && !unit.sig.has_plain_params()).then(|| {
        let check =
            Check { owner: &name.clone().into(), function: &trio.shape, name, params: Vec::new(), cfgs: cfgs.clone() };
        check.of_function(&unit.entries())
    });
    quote! {
        #docs
        #(#cfgs)*
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #name {}

        #(#cfgs)*
        #[allow(non_snake_case, dead_code)]
        impl #name { #functions }

        #check
    }
}
