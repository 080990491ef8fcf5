//! Single assignments and gradients to Rust.
//!
//! `forward` writes statements for staging and for shape rules, `backward` those of gradients,
//! `function` puts the three functions together, `check` has the compiler run the shape rule.

pub mod backward;
pub mod check;
pub mod forward;
pub mod function;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;

/// `x`, `(x, y)`, or nothing.
pub fn tuple<T: quote::ToTokens>(items: &[T]) -> TokenStream {
    match items {
        [] => TokenStream::new(),
        [item] => quote!(#item),
        items => quote!((#(#items),*)),
    }
}

/// Arguments in parentheses that stand at `span`, which makes the call that they end do so.
pub fn parens(span: Span, args: TokenStream) -> Group {
    let mut group = Group::new(Delimiter::Parenthesis, args);
    group.set_span(span);
    group
}

/// `name`, spelled so that the compiler does not mind if it is unused.
pub fn unused(name: &Ident) -> Ident {
    if name.to_string().starts_with('_') { name.clone() } else { quote::format_ident!("_{name}") }
}

/// Whether the tokens contain this name.
fn mentions(tokens: &TokenStream, name: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
