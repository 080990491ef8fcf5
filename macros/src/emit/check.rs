//! The compile-time check: constants that run a shape rule on the declared inputs.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Path};

use super::parens;

/// How many mistakes one compilation reports: a constant stops at its first one, so the n-th
/// constant passes over n of them. How many there are is counted once, mostly none.
const MISTAKES: usize = 4;

/// What is checked.
pub struct Check<'a> {
    /// The type that `function` belongs to.
    pub owner: &'a Path,
    pub function: &'a Ident,
    /// The name of the user's function.
    pub name: &'a Ident,
    pub params: Vec<&'a Ident>,
    pub cfgs: Vec<&'a Attribute>,
}

impl Check<'_> {
    /// For a method: the network is numbered so that the loss tells which parameters it reaches. `loss` is
    /// the pattern that names it among the results.
    pub fn of_network(&self, loss: Option<TokenStream>) -> TokenStream {
        let Check { owner, function, name, params, cfgs } = self;
        let entry = format_ident!("entry_{name}");
        let inputs: Vec<_> = (0..params.len()).map(|i| format_ident!("input_{i}")).collect();
        let entries = (!inputs.is_empty()).then(|| quote!(let [#(#inputs),*] = net.#entry();));
        let args = parens(name.span(), quote!(&net, &mut cx #(, #inputs)*));
        let call = quote_spanned!(name.span()=> Self::#function #args);
        let body = if let Some(loss) = loss {
            let args = parens(name.span(), quote!(&net, &mut cx, loss));
            let check_params = quote_spanned!(name.span()=> Self::check_params #args);
            // The braces keep the place of the call; that of a `let` would hide it.
            quote!(let #loss = { #call }; #check_params;)
        } else {
            quote!(#call;)
        };
        let check = format_ident!("check_{name}");
        let (constants, found) = (self.constants(&check), found(&check));
        quote! {
            #constants
            #(#cfgs)*
            #[allow(non_upper_case_globals)]
            impl #owner {
                const #found: usize = Self::#check(usize::MAX);

                const fn #check(n: usize) -> usize {
                    let mut cx = ::downhill::check::Check::raise(n);
                    let mut net = <#owner as ::downhill::network::Layer>::NET;
                    net.number(0);
                    #entries
                    #body
                    cx.errors()
                }
            }
        }
    }

    /// For a free function.
    pub fn of_function(&self, entries: &[TokenStream]) -> TokenStream {
        let Check { owner, function, name, cfgs, .. } = self;
        let check = format_ident!("check");
        let args = parens(name.span(), quote!(&mut cx #(, #entries)*));
        let call = quote_spanned!(name.span()=> Self::#function #args);
        let (constants, found) = (self.constants(&check), found(&check));
        quote! {
            #constants
            #(#cfgs)*
            #[allow(non_upper_case_globals)]
            impl #owner {
                const #found: usize = Self::#check(usize::MAX);

                const fn #check(n: usize) -> usize {
                    let mut cx = ::downhill::check::Check::raise(n);
                    #call;
                    cx.errors()
                }
            }
        }
    }

    fn constants(&self, check: &Ident) -> TokenStream {
        let Check { owner, cfgs, .. } = self;
        let found = found(check);
        let constants = (0..MISTAKES).map(|n| {
            let n = Literal::usize_unsuffixed(n);
            quote! {
                #(#cfgs)*
                const _: () = if <#owner>::#found > #n {
                    <#owner>::#check(#n);
                };
            }
        });
        constants.collect()
    }
}

/// The number of mistakes that a check finds.
fn found(check: &Ident) -> Ident {
    format_ident!("{check}_found")
}
