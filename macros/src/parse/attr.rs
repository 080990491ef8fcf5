//! The arguments of `#[network(…)]`, and attributes sorted by what they are for.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{Attribute, Path};

use super::signature::Signature;

/// What is written in `#[network(…)]`.
#[derive(Default)]
pub struct Args {
    /// The fields of a struct run in order.
    pub sequential: Option<Path>,
    /// The loss of a sequential network.
    pub loss: Option<Path>,
    /// Shape errors are shown where a layer is called, for layers of the library itself.
    pub track_caller: Option<Path>,
}

impl Args {
    pub fn parse(tokens: TokenStream) -> syn::Result<Args> {
        let mut args = Args::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("sequential") {
                args.sequential = Some(meta.path);
            } else if meta.path.is_ident("loss") {
                args.loss = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("track_caller") {
                args.track_caller = Some(meta.path);
            } else {
                return Err(meta.error("`#[network]` takes `sequential` and `loss = function`"));
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(args)
    }
}

/// The attributes of a function: its documentation and the others.
pub fn split_docs(attrs: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    attrs.iter().cloned().partition(|attr| attr.path().is_ident("doc"))
}

/// The documentation of a function that becomes a type or a constant, behind its name and arguments: `gelu(x)`. A function
/// without any stays so, for the lint that asks for it.
pub fn with_arguments(docs: &[Attribute], sig: &Signature) -> TokenStream {
    let names: Vec<String> = sig.params.iter().map(|param| param.name.to_string()).collect();
    let call = format!(" `{}({})`:", sig.name, names.join(", "));
    let first = (!docs.is_empty()).then(|| quote!(#[doc = #call]));
    quote!(#first #(#docs)*)
}

/// The attributes that leave an item out, which whatever goes with it needs too.
pub fn cfgs(attrs: &[Attribute]) -> Vec<&Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect()
}
