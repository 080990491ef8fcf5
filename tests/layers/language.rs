//! Everything that a network function may be written with: its value is what plain Rust would
//! give, and its gradient agrees with finite differences.
#![deny(warnings)]

use crate::common::{check_network, check_op, indices, numbers};
use downhill::prelude::*;

const HIDDEN: usize = 4;

mod parts {
    //! Networks in another module.
    use downhill::prelude::*;

    pub const FACTOR: usize = 2;

    #[network]
    pub struct Gate<const D: usize> {
        value: Linear<D, D>,
        gate: Linear<D, D>,
    }

    #[network]
    impl<const D: usize> Gate<D> {
        pub fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
            self.value(x) * sigmoid(self.gate(x))
        }
    }

    #[network]
    pub fn cube(x: Tensor) -> Tensor {
        x * x * x
    }
}

type Narrow = Linear<3, HIDDEN>;

#[network]
struct Everything {
    narrow: Narrow,
    gate: parts::Gate<HIDDEN>,
    foreign: downhill_zoo::Residual<{ HIDDEN * parts::FACTOR / 2 }>,
    blocks: [downhill_zoo::Residual<HIDDEN>; 3],
    #[init(normal(0.5))]
    scale: Param<HIDDEN>,
    #[init(uniform(-1.0, 1.0))]
    shift: Option<Param<HIDDEN>>,
    #[option(0.25)]
    mix: f32,
    #[option(true)]
    gated: bool,
}

#[network]
impl Everything {
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, HIDDEN> {
        let x = self.narrow(x);
        let mut y = if self.gated { self.gate(x) } else { x };
        for block in &self.blocks {
            let before = y;
            y = block(y) * self.mix;
            y += before;
        }
        let y = parts::cube(y) + downhill_zoo::swish(self.foreign(y));
        let (small, large) = self.both(y, x);
        if self.shift.is_some() { small * self.scale + large - self.shift } else { small + large * self.scale }
    }

    fn both(&self, a: Tensor, b: Tensor) -> (Tensor, Tensor) {
        (tanh(a) * 0.5, a + b)
    }

    fn loss(&self, x: Tensor<B, 3>, targets: Index<B>) -> Tensor {
        cross_entropy(self.forward(x), targets)
    }
}

#[test]
fn a_network_of_everything() {
    let arguments = [numbers(1, &[2, 3], -1.0, 1.0), indices(2, &[2], HIDDEN)];
    check_network(Everything::new(), Everything::loss, &arguments);
    check_network(Everything::new().gated(true).mix(1.5), Everything::loss, &arguments);
}

/// Gradients of variables whose name would be a keyword behind a `d`.
#[test]
fn variables_of_any_name() {
    #[network]
    fn gate(x: Tensor, c: Tensor) -> Tensor {
        let o = sigmoid(x);
        let yn = tanh(c);
        o * yn
    }
    let mut g = Stage::new();
    let (x, c, d) = (g.number(0.5), g.number(2.0), g.number(1.0));
    let (dx, dc) = gate::grad(&mut g, x, c, Some(d));
    assert!(dx.is_some() && dc.is_some());
}

/// Options of a network are plain values where a function takes such.
#[network]
struct Options {
    layer: Linear<2, 2>,
    #[option(0.5)]
    by: f32,
    #[option(2)]
    rows: usize,
    #[option(true)]
    twice: bool,
}

#[network]
impl Options {
    fn loss(&self, x: Tensor<2, 2>) -> Tensor {
        sum(scaled(self.layer(x), self.by, -1, self.twice, self.rows)) * self.by
    }
}

#[test]
fn options_are_arguments() {
    check_network(Options::new(), Options::loss, &[numbers(1, &[2, 2], -1.0, 1.0)]);
}

#[network]
struct Plain {
    blocks: [parts::Gate<2>; 2],
    unused_in_forward: Linear<2, 2>,
}

#[network]
impl Plain {
    /// The loop body reads `first`, which comes from outside, and reassigns two variables.
    fn loss(&self, x: Tensor<B, 2>, also: Tensor<B, 2>) -> Tensor {
        let first = self.unused_in_forward(x);
        let mut y = x;
        let mut total = sum(also * 0.5);
        for block in &self.blocks {
            y = block(y) + first;
            let part = sum(y * y);
            total = total + part * 0.25;
        }
        total
    }

    /// A loop whose result is not used, and inputs that are not used.
    fn metric(&self, x: Tensor<B, 2>, _also: Tensor<B, 2>) -> Tensor {
        let mut y = x;
        for block in self.blocks.iter() {
            y = block(y);
        }
        let _ = y;
        sum(x)
    }
}

#[test]
fn loops_carry_several_variables() {
    let arguments = [numbers(1, &[3, 2], -1.0, 1.0), numbers(2, &[3, 2], -1.0, 1.0)];
    check_network(Plain::new(), Plain::loss, &arguments);
    let model = Plain::init(0);
    let x = Tensor::new([1, 2], [1.0, 2.0]).unwrap();
    assert_eq!(model.call(Plain::metric, (&x, &x)).unwrap()[0].item().unwrap(), 3.0);
}

/// Free functions and the gradient that is generated for each.
macro_rules! functions {
    ($(fn $name:ident($($arg:ident),*) $body:block)*) => {
        $(
            #[network]
            fn $name($($arg: Tensor),*) -> Tensor $body

            // A network function is a type, so the test may have its name.
            #[test]
            fn $name() {
                let names = [$(stringify!($arg)),*];
                let arguments: Vec<_> = (0..names.len()).map(|i| numbers(i as u64 + 1, &[2, 3], 0.2, 1.5)).collect();
                check_op(
                    stringify!($name),
                    &arguments,
                    &|g, x| {
                        let [$($arg),*] = x else { unreachable!() };
                        vec![$name::stage(g, $(*$arg),*)]
                    },
                    &|g, x, d| {
                        let [$($arg),*] = x else { unreachable!() };
                        list($name::grad(g, $(*$arg,)* d[0]))
                    },
                );
            }
        )*
    };
}

/// The gradients of one or more arguments as a list.
trait Grads {
    fn list(self) -> Vec<Grad>;
}

impl Grads for Grad {
    fn list(self) -> Vec<Grad> {
        vec![self]
    }
}

impl Grads for (Grad, Grad) {
    fn list(self) -> Vec<Grad> {
        vec![self.0, self.1]
    }
}

impl Grads for (Grad, Grad, Grad) {
    fn list(self) -> Vec<Grad> {
        vec![self.0, self.1, self.2]
    }
}

fn list(grads: impl Grads) -> Vec<Grad> {
    grads.list()
}

functions! {
    fn used_often(x) {
        x * x + exp(x) / x - x
    }

    fn second_unused(x, _y) {
        x * 2.0
    }

    fn itself(x) {
        x
    }

    fn shadows(x, y) {
        let x = x * y;
        let y = x + y;
        let x = x / y;
        -x
    }

    fn reassigns(x, y) {
        let mut z = x;
        z *= y;
        z -= 0.5;
        z = z * z;
        z
    }

    fn nested_tuples(x, y) {
        let ((a, b), c) = ((x * y, x + y), tanh(x));
        let (d, _) = (a * c, b);
        d + b
    }

    fn blocks(x, y) {
        let z = {
            let inner = x * y;
            inner + 1.0
        };
        (z) * { x }
    }

    fn constants(x) {
        let scale = 2.0;
        let shifted = x + 1.0 / 3.0;
        if HIDDEN > 3 { shifted * scale } else { x }
    }

    fn conditions(x, y) {
        let mut z = x;
        if HIDDEN == 3 {
            z = z * y;
        } else {
            z = z / y;
        }
        select(z > 0.5, z * z, y)
    }

    fn masks(x, y) {
        let inside = (x > 0.4) & (x <= 1.2) | !(y < 1.0);
        select(inside, x * y, x - y)
    }

    fn lists(x, y) {
        let all = concat([x, y, x * y], 1);
        sum_axes(all * all, [0])
    }

    fn named_like_an_operation(x) {
        let sum = sum(x);
        let exp = exp(x * 0.1);
        exp * sum
    }

    fn three(x, y, z) {
        x * y + y * z + z * x
    }
}

#[network]
fn scaled(x: Tensor, by: f32, axis: isize, twice: bool, n: usize) -> Tensor {
    let y = softmax(x * by, axis);
    let z = if twice { y + y } else { y };
    z * (n as f32 + 1.0) + broadcast_to(sum(z), [n, 2])
}

#[test]
fn arguments_that_are_constants() {
    for twice in [false, true] {
        check_op(
            "scaled",
            &[numbers(1, &[3, 2], -1.0, 1.0)],
            &|g, x| vec![scaled::stage(g, x[0], 0.5, -1, twice, 3)],
            &|g, x, d| vec![scaled::grad(g, x[0], 0.5, -1, twice, 3, d[0]).0],
        );
    }
}

#[network]
struct Positions {
    tokens: Embedding<7, 4>,
    places: Embedding<5, 4>,
    #[init(ones)]
    weight: Param<4>,
}

#[network]
impl Positions {
    /// Symbols are sizes in the body: `T`, and products such as `B * T`.
    fn loss(&self, tokens: Index<B, T>) -> Tensor {
        let x = self.tokens(tokens) + self.places(iota(T));
        let flat = reshape(x, [B * T, 4]) * self.weight;
        let tied = matmul(flat, transpose(self.tokens.weight, 0, 1));
        cross_entropy(tied, reshape(tokens, [B * T]))
    }
}

#[test]
fn symbols_are_sizes_and_parameters_can_be_shared() -> downhill::Result<()> {
    check_network(Positions::new(), Positions::loss, &[indices(1, &[2, 3], 7)]);
    let mut model = Positions::init(0);
    let mut step = Step::new(&model, Positions::loss, Sgd::new(0.1))?;
    // Six places do not fit a table of five: an error that names it, and nothing runs.
    let error = step.run(&mut model, (&Index::new([2, 6], vec![1; 12])?,)).unwrap_err();
    assert!(error.to_string().contains("5 rows"), "{error}");
    // A token that is not in the table.
    let error = step.run(&mut model, (&Index::new([1, 2], vec![0, 7])?,)).unwrap_err();
    assert_eq!(error.to_string(), "Positions::loss: `tokens` holds 7 at position 1, expected 0 to 6");
    Ok(())
}

#[test]
fn run_time_sizes_are_checked() {
    let model = Everything::init(0);
    let wrong = Tensor::new([2, 5], vec![0.0; 10]).unwrap();
    let error = model.forward(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "Everything::forward: `x`: expected [2, 3], found [2, 5]");
    let index = Index::new([2, 3], vec![0; 6]).unwrap();
    let error = model.forward(&index).unwrap_err();
    assert!(error.to_string().contains("expected Tensor, found Index"), "{error}");
    let error = model.call(Everything::loss, (&wrong,)).unwrap_err();
    assert!(error.to_string().contains("takes 2 inputs (x, targets), 1 were given"), "{error}");
}

#[test]
fn inputs_without_elements_are_refused() {
    let error = Everything::init(0).forward(&Tensor::new([0, 3], []).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "Everything::forward: `x` has no elements, its shape is [0, 3]");
}

#[test]
fn generic_networks_are_models_of_any_size() {
    let model = downhill_zoo::Residual::<{ downhill_zoo::WIDTH }>::init(0);
    assert_eq!(model.param_count(), 6 * 12 + 12 + 12 * 6 + 6);
    let y = model.forward(&Tensor::new([1, 6], vec![0.5; 6]).unwrap()).unwrap();
    assert_eq!(y.shape(), [1, 6]);
}

#[network]
fn pair(x: Tensor, y: Tensor) -> (Tensor, Tensor) {
    (x * y, x + y)
}

/// The last call yields more than is wanted.
#[network]
fn first_of_a_pair(x: Tensor, y: Tensor) -> Tensor {
    let (product, _) = pair(x, y);
    product
}

#[test]
fn a_part_of_what_a_call_yields_is_the_result() {
    check_op(
        "first_of_a_pair",
        &[numbers(1, &[2, 2], -1.0, 1.0), numbers(2, &[2, 2], -1.0, 1.0)],
        &|g, x| vec![first_of_a_pair::stage(g, x[0], x[1])],
        &|g, x, d| list(first_of_a_pair::grad(g, x[0], x[1], d[0])),
    );
}
