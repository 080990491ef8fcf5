//! What is said about mistakes: each once, all of one item together, and nothing that follows
//! from a mistake.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

/// The messages that an expansion reports.
fn messages(args: TokenStream, item: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    collect(crate::expansion(args, item), &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<String>) {
    let mut reporting = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => reporting = ident == "compile_error",
            TokenTree::Group(group) if reporting => {
                let message: syn::Result<syn::LitStr> = syn::parse2(group.stream());
                found.extend(message.map(|message| message.value()));
                reporting = false;
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The messages about a body that yields `x` in the end.
fn body(stmts: TokenStream) -> Vec<String> {
    messages(quote!(), quote!(fn f(x: Tensor<B, C>, y: Tensor) -> Tensor { #stmts x }))
}

/// The one message about a body that is this expression.
fn value(expr: TokenStream) -> String {
    let found = messages(quote!(), quote!(fn f(x: Tensor<B, C>, y: Tensor) -> Tensor { #expr }));
    assert_eq!(found.len(), 1, "{found:?}");
    found.concat()
}

/// The one message about a struct.
fn fields(fields: TokenStream) -> String {
    let found = messages(quote!(), quote!(struct Net { #fields }));
    assert_eq!(found.len(), 1, "{found:?}");
    found.concat()
}

#[test]
fn several_mistakes_are_reported_together() {
    let found = body(quote! {
        let a = x.relu();
        let b = a[0] + a;
        let c = match 1 { _ => b };
        while true {}
        let d = |x| x;
        return c;
    });
    assert_eq!(
        found,
        [
            "a tensor has no methods: write `relu(x)`",
            "indexing a tensor: write `slice` or `gather`",
            "`match` is not supported: write `if` on a constant",
            "`while` and `loop` are not supported: write `for block in &self.blocks` over an array of networks",
            "a closure inside a network function: write a `#[network] fn`",
            "`return` is not supported: end the function with its value",
        ]
    );
}

#[test]
fn expressions() {
    assert_eq!(value(quote!(println!("{x}"))), "a macro inside a network function: write the operations out");
    assert_eq!(
        value(quote!(gelu(&x))),
        "a reference inside a network function: write the value itself, values are copied"
    );
    assert_eq!(value(quote!(gelu(*x))), "`*` on a tensor: write the value itself, values are copied");
    assert_eq!(value(quote!(x as f32)), "`as` on a tensor: write `float(x)` or `integer(x)`");
    assert_eq!(value(quote!(gelu(x)?)), "`?` is not supported: shapes are checked before a network function runs");
    assert_eq!(
        value(quote!(gelu(0..2))),
        "a range inside a network function: write the bounds as arguments, as in `slice`"
    );
    assert_eq!(value(quote!(Out { x })), "a struct inside a network function: return a tuple of tensors");
    assert_eq!(value(quote!("x")), "only numbers and truth values are constants of a network function");
    assert_eq!(
        value(quote!(x % y)),
        "tensors do not have this operator: they have `+ - * /`, comparisons, `!`, `&` and `|`"
    );
    assert_eq!(value(quote!(Self::helper(x))), "a call through `Self`: write `self.helper(…)`");
    assert_eq!(value(quote!(gelu::<3>(x))), "generic arguments of a call: network functions have none");
    assert_eq!(value(quote!(x(y))), "`x` is a tensor, which cannot be called");
    assert_eq!(value(quote!((x, y))), "a tuple where one value is expected: take it apart with `let (a, b) = …`");
    let list = "`[…]` takes apart the list that an operation such as `chunk` returns";
    assert_eq!(body(quote!(let [a, b] = x;)), [list]);
    assert_eq!(body(quote!(let [a, b] = (x, y);)), [list]);
    let nested = "a function returns one tuple or list of tensors, not nested ones";
    assert_eq!(body(quote!(let [a, [b, c]] = chunk(x, 0);)), [nested]);
    assert_eq!(body(quote!(let (a, [b, c]) = f(x);)), [nested]);
    assert_eq!(body(quote!(let [a, ..] = chunk(x, 0);)), ["`let` binds names, `_`, and tuples and lists of them"]);
    assert_eq!(value(quote!([x, y])), "a list of tensors can only be an argument: write `concat([a, b], 1)`");
    assert_eq!(value(quote!(reshape(x, [B % 2]))), "a size with a symbol in it is made of `+`, `-`, `*` and `/` only");
    assert_eq!(value(quote!(reshape(x, [0.5]))), "a list holds sizes or axes, which are whole numbers");
}

#[test]
fn branches() {
    assert_eq!(
        value(quote!(if x > 0.0 { x } else { y })),
        "`if` on a tensor: write `select(mask, a, b)`, which chooses for every element"
    );
    assert_eq!(
        value(quote!(if B > 1 { x } else { y })),
        "the condition of `if` must be a constant: this is only known when the network runs"
    );
    assert_eq!(
        value(quote!(if true {
            x
        })),
        "`if` without `else` yields nothing: add `else { … }`"
    );
    assert_eq!(
        value(quote!(if true {
            x;
        } else {
            y
        })),
        "nothing uses this value: bind it with `let`, or remove it"
    );
    assert_eq!(
        value(quote!(if let Some(z) = y { z } else { x })),
        "`if let` is not supported: ask `self.field.is_some()`"
    );
}

#[test]
fn loops_over_slices() {
    assert_eq!(body(quote!(for a in unbind(x) {})), ["`unbind` takes a tensor, or some in brackets, and an axis"]);
    assert_eq!(body(quote!(for a in unbind(x, y) {})), ["an axis is a constant"]);
    assert_eq!(body(quote!(for a in unbind([x, y], 1) {})), ["the variables of this `for` are 2, in a tuple"]);
    assert_eq!(body(quote!(for (a, 1) in unbind([x, y], 1) {})), ["the variable of a `for` is a name"]);
    assert_eq!(
        body(quote!(let z = for a in unbind(x, 1) { let b = a; };)),
        ["the block yields nothing: end it with the value, without `;`"]
    );
    assert_eq!(
        body(quote!(for a in unbind(x, 1) {
            x = a;
        })),
        ["`x` is assigned twice: declare it with `let mut x`"]
    );
    assert_eq!(
        messages(
            quote!(),
            quote!(impl Net { fn f(&self, x: Tensor) -> Tensor { let y = for block in &self.blocks { x }; y } })
        ),
        ["`for` over networks yields nothing: assign a variable in it, as in `x = block(x);`"]
    );
}

#[test]
fn statements() {
    assert_eq!(body(quote!(x = y;)), ["`x` is assigned twice: declare it with `let mut x`"]);
    assert_eq!(body(quote!(z = y;)), ["`z` is no variable of this function"]);
    assert_eq!(body(quote!(let z;)), ["`let` without a value: assign it where it is declared"]);
    assert_eq!(body(quote!(let z: Tensor = y;)), ["a type on `let`: leave it away, shapes follow from the value"]);
    assert_eq!(body(quote!(let (a, b) = x;)), ["this is one value, and 2 are expected"]);
    assert_eq!(body(quote!(let (a, b) = (x, y, x);)), ["3 values, and 2 are expected"]);
    assert_eq!(body(quote!(gelu(x);)), ["nothing uses this value: bind it with `let`, or remove it"]);
    assert_eq!(
        body(quote!(for i in 0..3 {
            x;
        })),
        [
            "`for` runs over an array of networks or the slices of a tensor: write `for block in &self.blocks` or `for x in unbind(xs, 1)`"
        ]
    );
    assert_eq!(
        body(quote!(
            const N: usize = 3;
        )),
        ["an item inside a network function: move it out of the function"]
    );
}

#[test]
fn a_mistake_in_let_is_reported_once() {
    assert_eq!(body(quote!(let z = x.relu(); let w = z + z; let (a, b) = f(w);)).len(), 1);
}

#[test]
fn signatures() {
    let of = |item| messages(quote!(), item);
    assert_eq!(
        of(quote!(
            fn f(x: Tensor) {
                x
            }
        )),
        ["a network function returns a tensor: write `-> Tensor`, or the shape as in `-> Tensor<B, 10>`"]
    );
    assert_eq!(
        of(quote!(
            fn f(x: String, (a, b): Tensor) -> Tensor {
                x
            }
        )),
        [
            "a network function takes `Tensor`, `Index` and `Mask`, with dimensions or without, and `f32`, `usize`, `isize`, `bool`, `[usize; N]` and `[isize]`",
            "a parameter is a name; take a tuple apart with `let`",
        ]
    );
    assert_eq!(
        of(quote!(
            fn f<const D: usize>(x: Tensor<D>) -> Tensor {
                x
            }
        )),
        ["a network function has no generic parameters: write a symbol (`Tensor<B, D>`) or a `usize` parameter"]
    );
    assert_eq!(
        of(quote!(
            fn f(x: Tensor<B>) -> Tensor<B, K> {
                reshape(x, [B, K])
            }
        )),
        ["the size `K` is not known here: no parameter has `K` as a dimension of its own"]
    );
    assert_eq!(
        of(quote!(
            async fn f(x: Tensor) -> Tensor {
                x
            }
        )),
        ["a network function cannot be `async`"]
    );
}

#[test]
fn impl_blocks() {
    let of = |item| messages(quote!(), item);
    assert_eq!(
        of(
            quote!(impl Net { const N: usize = 1; fn helper(x: Tensor) -> Tensor { x } fn f(&mut self, x: Tensor) -> Tensor { x } })
        ),
        [
            "`#[network] impl` holds functions only: move this into an `impl` of its own",
            "a network function has `&self`; one without is a free function with `#[network]`",
            "a network function takes its network as `&self`",
        ]
    );
    assert_eq!(
        of(quote!(impl Net { fn init(&self, x: Tensor) -> Tensor { x } })),
        ["every network has a `init` of its own: call the function something else"]
    );
    assert_eq!(
        of(quote!(impl Linear<3, 4> {})),
        [
            "an `impl` is for all sizes of a network: write `impl<const D: usize> Linear<D>`, with the names of its struct"
        ]
    );
    assert_eq!(
        of(quote!(impl Layer for Net {})),
        ["`#[network]` on a trait implementation: write `#[network] impl Net` for the network itself"]
    );
    assert_eq!(
        of(quote!(impl Net { fn f(&self, x: Tensor) -> Tensor { for block in &self.blocks { x = block; } self } })),
        [
            "`block` is a network: call it, as in `block(x)`, or name a field of it",
            "`self` is no value: read a field of it, or call a function of it",
        ]
    );
}

#[test]
fn states() {
    assert_eq!(
        fields(quote!(mean: State<3>)),
        "how does the state start? Write `#[init(…)]` on it: `zeros`, `ones`, `constant(x)`, `normal(std)`, `uniform(low, high)` or `fan_in(n)`"
    );
    assert_eq!(fields(quote!(means: [State<3>; 2])), "an array of states: write one `State` with one more dimension");
    assert_eq!(
        fields(quote!(#[init(ones)] #[option(1)] mean: State<3>)),
        "`#[option(…)]` is for a plain value, and this is a state: write `#[init(…)]`"
    );
    assert_eq!(body(quote!(self.mean = y;)), ["a free function has no state: move it into a `#[network] impl`"]);
    let of = |stmts| messages(quote!(), quote!(impl Net { fn f(&self, x: Tensor) -> Tensor { #stmts } }));
    let target = "only a local variable or a state of the network itself can be assigned: `x = …`, `self.mean = …`";
    assert_eq!(of(quote!(self.norm.mean = x; x)), [target]);
    assert_eq!(of(quote!(for block in &self.blocks { block.mean = x; } x)), [target]);
    assert_eq!(of(quote!(self.means[0] = x; x)), [target]);
    let training = "`training()` is the whole condition of an `if`: write `if training() { … } else { … }`, and another condition as an `if` in it";
    assert_eq!(of(quote!(if training() && self.affine { x } else { x + x })), [training]);
    assert_eq!(of(quote!(let a = training(); x)), [training]);
    assert_eq!(of(quote!((self.a, self.b) = (x, x * self.a); if !training() { self.a = x; } self.b)), [""; 0]);
}

#[test]
fn checkpoints() {
    let in_front = "`#[checkpoint]` goes in front of a call: `let y = #[checkpoint] self.block(x);`";
    for stmts in [
        quote!(#[checkpoint] let a = tanh(x);),
        quote!(let a = #[checkpoint] x;),
        quote!(let a = x + #[checkpoint] (x * y);),
        quote!(let a = #[checkpoint] f32::sqrt(2.0);),
        quote!(let mut a = x; #[checkpoint] a = tanh(a);),
        quote!(let mut a = x; #[checkpoint] if C > 2 { a = x; }),
    ] {
        assert_eq!(body(stmts), [in_front]);
    }
    let only = "the only attribute in a body is `#[checkpoint]`, in front of a call";
    assert_eq!(body(quote!(let a = #[inline] tanh(x);)), [only]);
    assert_eq!(body(quote!(let a = #[checkpoint(2)] tanh(x);)), [only]);
    assert_eq!(body(quote!(let a = x + #[checkpoint] tanh(x) * y;)), [""; 0]);
}

#[test]
fn structs() {
    assert_eq!(
        fields(quote!(weight: Param<3>)),
        "how does the parameter start? Write `#[init(…)]` on it: `zeros`, `ones`, `constant(x)`, `normal(std)`, `uniform(low, high)` or `fan_in(n)`"
    );
    assert_eq!(fields(quote!(eps: f32)), "a plain value needs a default: write `#[option(0.0)]`");
    assert_eq!(
        fields(quote!(weights: [Param<3>; 2])),
        "an array of parameters: write one `Param` with one more dimension"
    );
    assert_eq!(
        fields(quote!(layer: &'static Linear)),
        "a field of a network is a layer, an array of layers, a `Param`, or a plain value with `#[option(default)]`"
    );
    assert_eq!(
        fields(quote!(#[init(ones)] layer: Linear<3, 4>)),
        "`#[init(…)]` is for a parameter or state: a field of type `Param<…>` or `State<…>`"
    );
    assert_eq!(
        fields(quote!(#[init(ones)] #[layer(bias = false)] weight: Param<3>)),
        "`#[layer(…)]` is for a layer, and this is a parameter: write `#[init(…)]`"
    );
    let of = |args, item| messages(args, item);
    assert_eq!(
        of(
            quote!(),
            quote!(
                struct Net<T, const D: u8>(T);
            )
        ),
        [
            "a network has sizes as parameters, such as `const D: usize`, and no types or lifetimes",
            "a const parameter of a network is a `usize` or a `bool`",
            "the fields of a network have names, after which its parameters are called",
        ]
    );
    assert_eq!(
        of(
            quote!(sequential),
            quote!(
                struct Net {
                    #[init(ones)]
                    scale: Param<3>,
                }
            )
        ),
        ["a sequential network has layers only: write its functions in a `#[network] impl`"]
    );
    assert_eq!(
        of(
            quote!(loss = mse),
            quote!(
                struct Net {}
            )
        ),
        [
            "`loss = …` is for a sequential network: write `#[network(sequential, loss = …)]`, or a function `loss` in a `#[network] impl`"
        ]
    );
    assert_eq!(
        of(
            quote!(parallel),
            quote!(
                struct Net {}
            )
        ),
        ["`#[network]` takes `sequential` and `loss = function`"]
    );
    assert_eq!(
        of(
            quote!(),
            quote!(
                trait Net {}
            )
        ),
        ["`#[network]` goes on a struct, on its `impl` block, or on a function"]
    );
}

/// The functions are there in spite of the mistake, so that calls of them are none.
#[test]
fn the_item_is_emitted_nonetheless() {
    let item = quote!(
        fn f(x: Tensor, n: usize) -> (Tensor, Tensor) {
            x.relu()
        }
    );
    let text = crate::expansion(quote!(), item).to_string();
    for name in ["enum f", "fn stage", "fn grad", "fn shape"] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
}
