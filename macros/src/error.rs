//! Mistakes in the user's code, collected so that one compilation reports all of them.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// A mistake was found and is in [`Errors`] already; whoever sees this has nothing to add.
pub struct Reported;

/// The result of a step that may have reported a mistake.
pub type Checked<T> = Result<T, Reported>;

/// The mistakes found so far.
#[derive(Default)]
pub struct Errors(Vec<syn::Error>);

impl Errors {
    /// Reports a mistake at `tokens`.
    pub fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) -> Reported {
        self.push(syn::Error::new_spanned(tokens, message))
    }

    /// Reports a mistake that another parser found.
    pub fn push(&mut self, error: syn::Error) -> Reported {
        self.0.push(error);
        Reported
    }

    /// The value, or its error among the others.
    pub fn ok<T>(&mut self, result: syn::Result<T>) -> Checked<T> {
        result.map_err(|error| self.push(error))
    }

    /// How many mistakes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All mistakes as one error, if there is any.
    pub fn combined(self) -> Option<syn::Error> {
        self.0.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        })
    }

    /// The mistakes as `compile_error!` invocations, to stand beside the expansion.
    pub fn into_tokens(self) -> TokenStream {
        self.combined().map(|error| error.to_compile_error()).unwrap_or_default()
    }
}
