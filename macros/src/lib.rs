//! The `#[network]` attribute of downhill.
//!
//! Data flows one way: source (`parse`) → single assignments (`lower`) → gradient (`gradient`) → tokens (`emit`). What
//! the attribute stands on decides what is around that (`expand`): a function, an `impl` block or a struct.

mod emit;
mod error;
mod expand;
mod gradient;
mod lower;
mod names;
mod parse;

use proc_macro2::TokenStream;

use error::Errors;
use parse::attr::Args;

/// Makes a network of a struct, of its `impl` block, or an operation of a function.
///
/// # On a struct
///
/// A network has sizes as parameters (`const D: usize`, `const BIAS: bool`) and five kinds of fields:
///
/// | field | what it is |
/// |---|---|
/// | `up: Linear<D, { 4 * D }>` | a network, here with sizes; `#[layer(bias = false)]` sets its options |
/// | `blocks: [Block<D>; 12]` | equal networks, each with parameters of its own |
/// | `#[init(normal(0.02))] weight: Param<D, D>` | a parameter and how it starts: `zeros`, `ones`, `constant(x)`, `normal(std)`, `uniform(low, high)`, `fan_in(n)`; `Option<Param<D>>` for one that can be left out |
/// | `#[init(zeros)] running_mean: State<D>` | numbers that are no parameter: saved with the weights, without a gradient, and set by the network itself, `self.running_mean = …` |
/// | `#[option(1e-5)] eps: f32` | a plain value with its default |
///
/// The sizes of a parameter may mention options, as in `Param<O, { I / groups }>`: setting the option
/// gives the parameter its new size.
///
/// `#[checkpoint]` on a layer keeps only its inputs for the gradient, which then computes its values
/// again: less memory for more work, and the same bits.
///
/// `Net::init(seed)` makes a model of it. `#[layer(name = "0")]` renames a layer in the names of
/// parameters only.
///
/// `#[network(sequential)]` runs the fields, layers all of them, in order: it defines `forward`, and
/// with `#[network(sequential, loss = cross_entropy)]` also `loss`, which takes the targets too.
///
/// # On an `impl` block
///
/// ```text
/// #[network]
/// impl<const D: usize> Mlp<D> {
///     pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
///         self.down(gelu(self.up(x)))
///     }
/// }
/// ```
///
/// Each function becomes a constant (`Mlp::forward`) that a model or a trainer can run, and the
/// functions behind it: `stage_forward`, `grad_forward` and the shape rule `shape_forward`.
/// A function called `loss` must depend on every parameter; if it returns a tuple, the first is the loss
/// and the others are results that a step gives beside it. `self.up(x)` runs the field `up`, or the
/// function `up` of the same block; `self.encoder.embed(x)` another function of a field, and
/// `(self.encoder.up)(x)` a field of a field.
///
/// # On a function
///
/// ```text
/// #[network]
/// pub fn swish(x: Tensor) -> Tensor {
///     x * sigmoid(x)
/// }
/// ```
///
/// # Signatures
///
/// Tensors are `Tensor`, `Index` (whole numbers) and `Mask` (truth values); results are one of them or
/// a tuple. A dimension is a symbol (a capital letter, bound by the inputs), a constant, or an
/// expression in braces of both: `Tensor<B, { T * 2 }, WIDTH>`. `[N]` in front stands for any number of
/// outer dimensions, and `Tensor` alone for any shape; a quotient or a sum of symbols is not checked.
/// Other parameters are `f32`, `usize`, `isize`, `bool` and lists of sizes.
///
/// # Bodies
///
/// A body has calls, `+ - * /`, comparisons, `!`, `&`, `|`, `let` with tuples, assignment to
/// `let mut` and to states, `for block in &self.blocks`, and `if` on what is constant when the network is built
/// (`self.bias.is_some()`, `D > 64`, an option, a `bool` parameter). `if training()` tells a step of training
/// from evaluation, which both must come to the same shapes.
///
/// An `Index` has `+ - *`, `maximum`, `minimum` and comparisons, beside another one or a whole constant, and its sums
/// and products wrap around; a `Mask` has `!`, `&` and `|`. `float(..)` makes numbers of both, for all else.
///
/// A state that a body assigns has its new value in the rest of the body, while training and in evaluation, and no
/// gradient passes through it. In the model it changes with a step of training only. All other bodies, also those
/// that are called, see it as it was before the step.
///
/// `#[checkpoint]` in front of a call of a network, an own function or an operation, as in
/// `x = #[checkpoint] block(x);`, does for that call what it does on a field. Symbols are sizes in a body, as in
/// `reshape(x, [B * T, D])`. Brackets of tensors are a list: `concat([a, b], -1)`.
#[proc_macro_attribute]
pub fn network(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expansion(args.into(), item.into()).into()
}

/// The expansion, with the mistakes that were found beside it.
fn expansion(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = errors.ok(Args::parse(args)).unwrap_or_default();
    let mut expansion = match syn::parse2(item.clone()) {
        Ok(item) => expand::expand(&args, item, &mut errors),
        Err(error) => {
            errors.push(error);
            item
        }
    };
    expansion.extend(errors.into_tokens());
    expansion
}

#[cfg(test)]
mod tests;
