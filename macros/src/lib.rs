//! The `#[network]` attribute of [downhill](https://docs.rs/downhill).
//!
//! Data flows one way: source → single assignments (`lower`, `ssa`) → gradient (`gradient`) →
//! tokens (`emit`). What the attribute stands on decides what is around that: a function is
//! expanded by `function`, an `impl` block by `methods`, a struct by `structs`.

mod attr;
mod dims;
mod emit;
mod error;
mod fields;
mod function;
mod gradient;
mod liveness;
mod lower;
mod methods;
mod names;
mod sequential;
mod signature;
mod ssa;
mod structs;

use proc_macro2::TokenStream;
use syn::Item;

use crate::attr::Args;
use crate::error::Errors;

/// Makes a network of a struct, of its `impl` block, or an operation of a function.
///
/// See the documentation of the `downhill` crate for what networks are and can do.
#[proc_macro_attribute]
pub fn network(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(args.into(), item.into()).into()
}

/// The expansion, with the mistakes that were found beside it.
fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = errors.ok(Args::parse(args)).unwrap_or_default();
    let mut expansion = match syn::parse2(item.clone()) {
        Ok(item) => expand_item(&args, item, &mut errors),
        Err(error) => {
            errors.push(error);
            item
        }
    };
    expansion.extend(errors.into_tokens());
    expansion
}

fn expand_item(args: &Args, item: Item, errors: &mut Errors) -> TokenStream {
    if !matches!(item, Item::Struct(_))
        && let Some(path) = args.sequential.as_ref().or(args.loss.as_ref())
    {
        errors.at(path, "only a struct can be `sequential` or have a `loss = …`");
    }
    match item {
        Item::Fn(item) => function::expand(args, item, errors),
        Item::Impl(item) => methods::expand(args, item, None, errors),
        Item::Struct(item) => structs::expand(args, item, errors),
        other => {
            errors.at(&other, "`#[network]` goes on a struct, on its `impl` block, or on a function");
            quote::quote!(#other)
        }
    }
}

#[cfg(test)]
mod tests;
