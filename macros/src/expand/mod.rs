//! What surrounds a function's trio: of a function, an `impl` block (`methods`), a struct (`structs`), or one whose
//! layers run in order (`sequential`).

mod function;
mod methods;
mod sequential;
mod structs;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Item, ItemStruct};

use self::structs::Struct;
use crate::error::Errors;
use crate::parse::attr::Args;

/// Expands what the attribute stands on.
pub fn expand(args: &Args, item: Item, errors: &mut Errors) -> TokenStream {
    if !matches!(item, Item::Struct(_))
        && let Some(path) = args.sequential.as_ref().or(args.loss.as_ref())
    {
        errors.at(path, "only a struct can be `sequential` or have a `loss = …`");
    }
    match item {
        Item::Fn(item) => function::expand(args, item, errors),
        Item::Impl(item) => methods::expand(args, item, None, errors),
        Item::Struct(item) => expand_struct(args, item, errors),
        other => {
            errors.at(&other, "`#[network]` goes on a struct, on its `impl` block, or on a function");
            quote!(#other)
        }
    }
}

/// Expands a struct.
fn expand_struct(args: &Args, item: ItemStruct, errors: &mut Errors) -> TokenStream {
    let before = errors.len();
    let network = Struct::parse(args, item, errors);
    let sequential = match (&args.sequential, &args.loss) {
        (Some(_), loss) => sequential::expand(args, &network, loss.as_ref(), errors),
        (None, Some(loss)) => {
            errors.at(loss, "`loss = …` is for a sequential network: write `#[network(sequential, loss = …)]`, or a function `loss` in a `#[network] impl`");
            TokenStream::new()
        }
        (None, None) => TokenStream::new(),
    };
    let sequential = (errors.len() == before).then_some(sequential);
    let (definition, constructor) = (network.definition(), network.constructor());
    let (traits, init) = (network.traits(), network.init());
    quote!(#definition #constructor #traits #init #sequential)
}
