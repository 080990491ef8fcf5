//! Expansions, formatted. Read a changed snapshot as you would read the code of a colleague.

use proc_macro2::TokenStream;
use quote::quote;

fn expand(args: TokenStream, item: TokenStream) -> String {
    let expansion = crate::expansion(args, item);
    match syn::parse2(expansion.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("{error} in {expansion}"),
    }
}

#[test]
fn struct_with_sizes() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            /// The feed-forward half of a block.
            pub struct Mlp<const D: usize> {
                /// Widens.
                pub up: Linear<D, { 4 * D }>,
                #[layer(bias = false)]
                down: Linear<{ 4 * D }, D>,
                #[init(ones)]
                scale: Param<D>,
                #[init(normal(0.02))]
                shift: Option<Param<D, { 2 * WIDTH }>>,
                blocks: [Block<D, 4>; 2],
                head: Head,
                fixed: Linear<64, { 2 * WIDTH }>,
                #[option(1e-5)]
                eps: f32,
            }
        }
    ));
}

#[test]
fn struct_without_sizes() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            pub struct Gpt {
                tokens: Embedding<VOCAB, WIDTH>,
                blocks: [Block<WIDTH, 4>; 4],
                #[layer(name = "lm_head", bias = false)]
                head: nn::Linear<WIDTH, VOCAB>,
            }
        }
    ));
}

#[test]
fn struct_without_fields() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote!(
            struct Relu;
        )
    ));
}

#[test]
fn sequential_with_loss() {
    insta::assert_snapshot!(expand(
        quote!(sequential, loss = cross_entropy),
        quote! {
            pub struct Classifier {
                up: Linear<784, 128>,
                act: Relu,
                blocks: [Block<128>; 2],
                down: Linear<128, 10>,
            }
        }
    ));
}

#[test]
fn impl_with_sizes() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            impl<const D: usize> Mlp<D> {
                /// Runs the network.
                pub fn forward(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
                    let h = gelu(self.up(x));
                    self.down(h) * 2.0 + reshape(x, [B, T, D])
                }
            }
        }
    ));
}

#[test]
fn impl_with_loop_tuple_shadowing_and_if() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            impl Net {
                fn split(&self, x: Tensor<B, { 2 * WIDTH }>) -> (Tensor<B, WIDTH>, Tensor<B, WIDTH>) {
                    (slice(x, 1, 0, WIDTH), slice(x, 1, WIDTH, 2 * WIDTH))
                }

                pub fn forward(&self, x: Tensor<B, { 2 * WIDTH }>) -> Tensor<B, WIDTH> {
                    let (a, b) = self.split(x);
                    let mut h = a;
                    for block in &self.blocks {
                        let y = block(h) * b;
                        h += y;
                    }
                    let h = self.norm(h);
                    if self.bias.is_some() { h + self.bias } else { h }
                }

                pub fn loss(&self, x: Tensor<B, { 2 * WIDTH }>, targets: Index<B>) -> Tensor {
                    cross_entropy(self.forward(x), targets)
                }
            }
        }
    ));
}

#[test]
fn function_with_a_number() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            /// Leaky ReLU.
            pub fn leaky_relu(x: Tensor, slope: f32) -> Tensor {
                select(x < 0.0, x * slope, x)
            }
        }
    ));
}

#[test]
fn function_with_sizes() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            pub fn heads(x: Tensor<[N], T, C>, n: usize, causal: bool) -> Tensor<[N], n, T, { C / 2 }> {
                let width = C / n;
                let scale = 1.0 / (width as f32).sqrt();
                let mut y = reshape(x * scale, [T, n, width]);
                if causal {
                    y = mask(y, -1);
                }
                transpose(y, [0, -1])
            }
        }
    ));
}

#[test]
fn function_with_a_list() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            fn beside(a: Tensor<B, C>, b: Tensor<B, C>) -> Tensor<B, { 2 * C }> {
                concat([a, b * a], 1)
            }
        }
    ));
}

#[test]
fn states_and_training() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            pub struct Norm<const D: usize> {
                #[init(zeros)]
                mean: State<D>,
                #[init(zeros)]
                count: State,
            }
        }
    ));
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            impl<const D: usize> Norm<D> {
                pub fn forward(&self, x: Tensor<B, D>) -> Tensor<B, D> {
                    let mean = if training() {
                        let mean = sum_axes(x, [0]) / B as f32;
                        self.mean = self.mean * 0.9 + mean * 0.1;
                        self.count += 1.0;
                        mean
                    } else {
                        self.mean
                    };
                    x - mean
                }
            }
        }
    ));
}

#[test]
fn function_that_takes_a_list_apart() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            fn attend(x: Tensor<B, T, { 3 * D }>, axes: [isize]) -> (Tensor, Tensor) {
                let [q, k, _] = chunk(x, -1);
                (einsum("btd,bsd->bts", [q, k]), sum_axes(k, axes))
            }
        }
    ));
}

#[test]
fn function_that_passes_a_list_on() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            fn halves(x: Tensor<B, C>) -> (Tensor, Tensor) {
                let [a, b] = chunk(x, -1);
                (a, b)
            }
        }
    ));
}

#[test]
fn function_with_a_loop_over_slices() {
    insta::assert_snapshot!(expand(
        quote!(),
        quote! {
            fn cells(x: Tensor<B, T, C>, start: Tensor<B, C>, w: Tensor<C, C>) -> (Tensor<B, T, C>, Tensor<B, C>) {
                let mut h = start;
                let all = for x in unbind(x, 1) {
                    h = tanh(matmul(h, w) + x);
                    h
                };
                (all, h)
            }
        }
    ));
}
