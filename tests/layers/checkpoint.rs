//! `#[checkpoint]`: the same bits from less memory.

use downhill::prelude::*;

const WIDTH: usize = 32;
const HEADS: usize = 4;

#[network]
struct Block {
    norm1: LayerNorm<WIDTH>,
    #[layer(causal = true)]
    attention: MultiHeadAttention<WIDTH, HEADS>,
    norm2: LayerNorm<WIDTH>,
    up: Linear<WIDTH, { 4 * WIDTH }>,
    down: Linear<{ 4 * WIDTH }, WIDTH>,
}

#[network]
impl Block {
    fn forward(&self, x: Tensor<B, T, WIDTH>) -> Tensor<B, T, WIDTH> {
        let x = x + self.attention(self.norm1(x));
        x + self.down(gelu(self.up(self.norm2(x))))
    }
}

/// A model of twelve blocks, with what is written on them.
macro_rules! model {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $name {
            tokens: Embedding<11, WIDTH>,
            $(#[$attribute])*
            blocks: [Block; 12],
            head: Linear<WIDTH, 11>,
        }

        #[network]
        impl $name {
            fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
                let mut x = self.tokens(tokens);
                for block in &self.blocks {
                    x = block(x);
                }
                cross_entropy(self.head(x), targets)
            }
        }
    };
}

model!(Kept);
model!(Again #[checkpoint]);

/// A block as an operation.
#[network]
fn twice(x: Tensor<B, T, D>) -> Tensor<B, T, D> {
    let y = gelu(tanh(x) * 1.5);
    x + y * sigmoid(y)
}

/// The same model with the attribute on calls: of a network, of an own function, of an operation.
macro_rules! calls {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $name {
            tokens: Embedding<11, WIDTH>,
            blocks: [Block; 12],
            head: Linear<WIDTH, 11>,
        }

        #[network]
        impl $name {
            fn start(&self, tokens: Index<B, T>) -> (Tensor<B, T, WIDTH>, Tensor<B, T, WIDTH>) {
                let x = self.tokens(tokens);
                (x * sigmoid(x), tanh(x) * 0.5)
            }

            fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
                let (mut x, y) = $(#[$attribute])* self.start(tokens);
                for block in &self.blocks {
                    x = $(#[$attribute])* block(x);
                }
                x = x + $(#[$attribute])* twice(y);
                cross_entropy(self.head($(#[$attribute])* twice(x)), targets)
            }
        }
    };
}

calls!(CallsKept);
calls!(CallsAgain #[checkpoint]);

/// Written out, without a macro in between.
#[network]
struct Direct {
    tokens: Embedding<11, WIDTH>,
    blocks: [Block; 12],
    head: Linear<WIDTH, 11>,
}

#[network]
impl Direct {
    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        let mut x = #[checkpoint]
        self.tokens(tokens);
        for block in &self.blocks {
            x = #[checkpoint]
            block(x);
        }
        cross_entropy(self.head(x), targets)
    }
}

/// The loss and all gradients as bits, and the bytes of the arena.
fn differentiate<N: downhill::network::Network>(
    model: Model<N>,
    loss: downhill::network::Function<N>,
) -> downhill::Result<(Vec<u32>, usize)> {
    let (bits, explained) = explained(model, loss)?;
    Ok((bits, number(&explained, "arena ").expect("the bytes of the arena")))
}

/// The number behind some words.
fn number(text: &str, behind: &str) -> Option<usize> {
    text.split(behind).nth(1)?.split(' ').next()?.parse().ok()
}

/// The loss and all gradients as bits, and what is told of the step.
fn explained<N: downhill::network::Network>(
    mut model: Model<N>,
    loss: downhill::network::Function<N>,
) -> downhill::Result<(Vec<u32>, String)> {
    let tokens = Index::new([2, 32], (0..64).map(|i| i * 7 % 11).collect::<Vec<_>>())?;
    let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
    let mut bits = vec![step.differentiate(&mut model, (&tokens, &tokens))?.to_bits()];
    for param in model.params() {
        bits.extend(step.grad(param.name)?.data().iter().map(|x| x.to_bits()));
    }
    Ok((bits, step.explain()))
}

#[test]
fn what_is_kept_is_told() -> downhill::Result<()> {
    let kept = |model: &str| number(model, "activations: ").expect("the bytes that are kept");
    let (_, plain) = explained(Kept::init(1), Kept::loss)?;
    let (_, again) = explained(Again::init(1), Again::loss)?;
    let saved = number(&again, "kept for the gradient, ").expect("the bytes that are saved");
    assert!(!plain.contains("without checkpoints"), "{plain}");
    assert_eq!(kept(&again) + saved, kept(&plain));
    // The inputs of the blocks, of the head and of the loss, and little else.
    let block = 4 * 2 * 32 * WIDTH;
    assert!(kept(&again) >= 12 * block && kept(&again) < 15 * block, "{again}");
    // A block keeps at least its normalised inputs, queries, keys and values, and what goes into the GELU.
    assert!(kept(&plain) > 12 * 9 * block, "{plain}");
    Ok(())
}

#[test]
fn twelve_blocks_take_a_third_of_the_memory_and_give_the_same_bits() -> downhill::Result<()> {
    let (kept, all) = differentiate(Kept::init(1), Kept::loss)?;
    let (again, less) = differentiate(Again::init(1), Again::loss)?;
    assert!(kept == again, "the gradients differ");
    assert!(3 * less < all, "{less} bytes with checkpoints, {all} without");
    let (again, less) = differentiate(Direct::init(1), Direct::loss)?;
    assert!(kept == again, "the gradients differ");
    assert!(3 * less < all, "{less} bytes with checkpoints of calls, {all} without");
    Ok(())
}

#[test]
fn calls_take_a_third_of_the_memory_and_give_the_same_bits() -> downhill::Result<()> {
    let (kept, all) = differentiate(CallsKept::init(1), CallsKept::loss)?;
    let (again, less) = differentiate(CallsAgain::init(1), CallsAgain::loss)?;
    assert!(kept == again, "the gradients differ");
    assert!(3 * less < all, "{less} bytes with checkpoints, {all} without");
    Ok(())
}

#[network]
struct Small {
    hidden: Linear<4, 16>,
    out: Linear<16, 1>,
}

#[network]
impl Small {
    fn loss(&self, x: Tensor<B, 4>) -> Tensor {
        mean(self.out(tanh(self.hidden(x))))
    }
}

#[test]
fn a_layer_keeps_what_its_gradient_needs() -> downhill::Result<()> {
    let mut model = Small::init(0);
    let mut step = Step::new(&model, Small::loss, Sgd::new(0.1))?;
    step.run(&mut model, &Tensor::new([32, 4], vec![0.5; 128])?)?;
    // The tangents, of which their derivative is made again.
    assert_eq!(number(&step.explain(), "activations: "), Some(4 * 32 * 16), "{}", step.explain());
    Ok(())
}
