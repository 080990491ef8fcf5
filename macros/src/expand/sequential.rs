//! `#[network(sequential)]`: the fields of a struct run in order.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{ItemImpl, Path, parse_quote};

use super::methods;
use super::methods::Sequential;
use super::structs::Struct;
use crate::error::Errors;
use crate::names::local;
use crate::parse::attr::Args;
use crate::parse::fields::FieldKind;

/// The `impl` block that a user would write for a stack of layers, expanded.
pub fn expand(args: &Args, network: &Struct, loss: Option<&Path>, errors: &mut Errors) -> TokenStream {
    let mut x = format_ident!("x");
    let mut layers = TokenStream::new();
    for field in &network.fields {
        let name = &field.name;
        // A layer of the wrong width is shown at its field.
        let span = local(name.span());
        match field.kind {
            FieldKind::Layer(_) => layers.extend(quote_spanned!(span=> let #name = self.#name(#x);)),
            FieldKind::Layers(..) => layers.extend(quote_spanned! {span=>
                let mut #name = #x;
                for layer in &self.#name {
                    #name = layer(#name);
                }
            }),
            FieldKind::Param { .. } | FieldKind::State { .. } | FieldKind::Option { .. } => {
                errors.at(name, "a sequential network has layers only: write its functions in a `#[network] impl`");
            }
        }
        x = name.clone();
    }
    let loss = loss.map(|loss| {
        quote! {
            /// The loss of what comes out of the last layer.
            pub fn loss(&self, x: Tensor, targets: Tensor) -> Tensor {
                #loss(self.forward(x), targets)
            }
        }
    });
    let ident = &network.item.ident;
    let (generics, sizes) = network.generics();
    let item: ItemImpl = parse_quote! {
        impl #generics #ident #sizes {
            /// Runs all layers in order.
            pub fn forward(&self, x: Tensor) -> Tensor {
                #layers
                #x
            }

            #loss
        }
    };
    methods::expand(args, item, Some(&Sequential { entry: entry(network) }), errors)
}

/// What the first layer takes, so that a wrong width in the stack is found without running it.
fn entry(network: &Struct) -> Option<TokenStream> {
    let first = network.fields.first()?;
    let name = &first.name;
    match first.kind {
        FieldKind::Layers(..) => Some(quote!(self.#name[0].entry_forward()[0])),
        _ => Some(quote!(self.#name.entry_forward()[0])),
    }
}
