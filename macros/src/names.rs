//! Names for the locals of emitted functions: the user's own where possible, never two the same.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::format_ident;
use syn::ext::IdentExt;

/// What emitted functions call their own parameters and locals.
const OURS: [&str; 6] = ["g", "cx", "frame", "dout", "net", "self"];

/// What the gradients of variables `o` and `yn` cannot be called.
const KEYWORDS: [&str; 2] = ["do", "dyn"];

/// The place of `span`, for a local of an emitted function. All of them are resolved alike, even
/// where the user's code comes out of a macro by example.
pub fn local(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}

/// The names given within one function.
#[derive(Clone)]
pub struct Names {
    given: HashSet<String>,
    /// Every identifier in the user's source, which names of ours keep clear of.
    written: HashSet<String>,
}

impl Names {
    /// Names for a function with this source.
    pub fn new(source: TokenStream) -> Names {
        let mut written = HashSet::new();
        collect(source, &mut written);
        Names { given: OURS.into_iter().chain(KEYWORDS).map(String::from).collect(), written }
    }

    /// A name for what the user calls `name`: the same, or numbered where it is shadowed.
    pub fn user(&mut self, name: &Ident) -> Ident {
        if self.given.insert(name.to_string()) { name.clone() } else { self.numbered(name) }
    }

    /// A numbered name for a value without one, such as `gelu_1`.
    pub fn numbered(&mut self, base: &Ident) -> Ident {
        let base = base.unraw();
        let mut n = 1;
        loop {
            let name = format!("{base}_{n}");
            if !self.written.contains(&name) && self.given.insert(name) {
                return format_ident!("{base}_{n}", span = base.span());
            }
            n += 1;
        }
    }

    /// `name` itself if nothing is called so, else numbered.
    pub fn ours(&mut self, name: &Ident) -> Ident {
        let text = name.to_string();
        if !self.written.contains(&text) && self.given.insert(text) { name.clone() } else { self.numbered(name) }
    }
}

/// What a numbered name was made of.
pub fn stem(name: &Ident) -> Ident {
    let text = name.unraw().to_string();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix('_');
    let stem = stem.filter(|stem| !stem.is_empty() && *stem != "_").unwrap_or(&text);
    format_ident!("{stem}", span = name.span())
}

fn collect(tokens: TokenStream, into: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                into.insert(ident.to_string());
            }
            TokenTree::Group(group) => collect(group.stream(), into),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn names_of_ours_keep_clear_of_the_users() {
        let mut names = Names::new(quote!(let gelu_1 = x; let dx = 1;));
        assert_eq!(names.numbered(&format_ident!("gelu")), "gelu_2");
        assert_eq!(names.ours(&format_ident!("dx")), "dx_1");
        assert_eq!(names.ours(&format_ident!("do")), "do_1");
        assert_eq!(names.user(&format_ident!("x")), "x");
        assert_eq!(names.user(&format_ident!("x")), "x_1");
        assert_eq!(names.user(&format_ident!("g")), "g_1");
    }
}
