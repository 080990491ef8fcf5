//! Loops over the slices of a tensor: their values against plain Rust, their gradients against
//! finite differences, their shapes.
#![deny(warnings)]

use crate::common::{check_network, check_op, indices, numbers};
use downhill::prelude::*;

/// One variable carried, what the loop yields, and the last value.
#[network]
fn decay(x: Tensor<B, T>, rate: Tensor<B>) -> (Tensor<B, T>, Tensor<B>) {
    let mut sum = broadcast_to(0.0, [B]);
    let all = for now in unbind(x, 1) {
        sum = sum * rate + now;
        tanh(sum)
    };
    (all, sum)
}

#[test]
fn a_loop_computes_what_plain_rust_does() -> downhill::Result<()> {
    let mut g = Stage::new();
    let x = g.constant(&Tensor::new([2, 3], [1.0, 2.0, 3.0, -1.0, 0.5, 0.25])?);
    let rate = g.constant(&Tensor::new([2], [0.5, 2.0])?);
    let (all, last) = decay::stage(&mut g, x, rate);
    let (mut expected, mut sums) = (vec![], vec![]);
    for (row, rate) in [([1.0f32, 2.0, 3.0], 0.5), ([-1.0, 0.5, 0.25], 2.0)] {
        let mut sum = 0.0;
        for x in row {
            sum = sum * rate + x;
            expected.push(sum.tanh());
        }
        sums.push(sum);
    }
    assert_eq!(g.value(all)?, Tensor::new([2, 3], expected)?);
    assert_eq!(g.value(last)?, Tensor::new([2], sums)?);
    Ok(())
}

#[test]
fn the_gradient_goes_back_through_all_rounds() {
    for times in [1, 2, 5] {
        check_op(
            "decay",
            &[numbers(1, &[2, times], -1.0, 1.0), numbers(2, &[2], 0.2, 1.2)],
            &|g, x| {
                let (all, last) = decay::stage(g, x[0], x[1]);
                vec![all, last]
            },
            &|g, x, d| {
                let (dx, drate) = decay::grad(g, x[0], x[1], (d[0], d[1]));
                vec![dx, drate]
            },
        );
    }
}

/// Two tensors walked together along the first axis; three variables, of which one reads the round
/// before through another; two outputs; a value from outside; one variable that nothing reads.
#[network]
fn tangle(x: Tensor<T, 2>, y: Tensor<T, 3>, k: Tensor<2>) -> (Tensor<T, 2>, Tensor<T, 2>, Tensor<2>) {
    let outside = k * k;
    let mut a = k;
    let mut b = k * 0.5;
    let mut unread = k;
    let (sums, products) = for (x, y) in unbind([x, y], 0) {
        let before = a;
        a = b * outside + x;
        b = before * sum(y) - b;
        unread = unread + a;
        (a + before, a * b)
    };
    let _ = unread;
    (sums, products, b)
}

#[test]
fn several_tensors_variables_and_outputs() {
    check_op(
        "tangle",
        &[numbers(1, &[4, 2], -1.0, 1.0), numbers(2, &[4, 3], -1.0, 1.0), numbers(3, &[2], 0.5, 1.0)],
        &|g, x| {
            let (a, b, c) = tangle::stage(g, x[0], x[1], x[2]);
            vec![a, b, c]
        },
        &|g, x, d| {
            let (dx, dy, dk) = tangle::grad(g, x[0], x[1], x[2], (d[0], d[1], d[2]));
            vec![dx, dy, dk]
        },
    );
}

/// What a loop yields is the value of the function; the item is not read; the axis is the last one.
#[network]
fn powers(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let first = sum_axes(x, [-1]);
    let mut power = first;
    for _ in unbind(x, -1) {
        power = power * first * 0.5;
        power
    }
}

/// An index is walked too, and a loop stands in a loop.
#[network]
fn nested(x: Tensor<B, T, S>, choice: Index<B, T>) -> Tensor<B, T> {
    let mut total = broadcast_to(1.0, [B]);
    for (row, choice) in unbind([x, choice], 1) {
        let mut inner = total * 0.5;
        for cell in unbind(row, 1) {
            inner = inner * cell + total;
        }
        total = select(choice == 1, tanh(inner), total * 2.0);
        total
    }
}

#[test]
fn loops_of_other_kinds() {
    check_op("powers", &[numbers(1, &[2, 3], 0.2, 1.0)], &|g, x| vec![powers::stage(g, x[0])], &|g, x, d| {
        vec![powers::grad(g, x[0], d[0])]
    });
    check_op(
        "nested",
        &[numbers(1, &[2, 3, 2], -1.0, 1.0), indices(2, &[2, 3], 2)],
        &|g, x| vec![nested::stage(g, x[0], x[1])],
        &|g, x, d| vec![nested::grad(g, x[0], x[1], d[0]).0],
    );
}

/// A cell of one's own in a loop, inside of a loop over networks.
#[network]
struct Cell<const I: usize, const H: usize> {
    input: Linear<I, H>,
    #[layer(bias = false)]
    again: Linear<H, H>,
}

#[network]
impl<const I: usize, const H: usize> Cell<I, H> {
    fn forward(&self, x: Tensor<B, I>, h: Tensor<B, H>) -> Tensor<B, H> {
        tanh(self.input(x) + self.again(h))
    }
}

#[network]
struct Stack {
    cells: [Cell<3, 3>; 2],
    out: Linear<3, 2>,
}

#[network]
impl Stack {
    fn forward(&self, x: Tensor<B, T, 3>) -> Tensor<B, 2> {
        let mut y = x;
        for cell in &self.cells {
            let mut h = broadcast_to(0.0, [B, 3]);
            y = for x in unbind(y, 1) {
                h = cell(x, h);
                h
            };
        }
        let mut last = broadcast_to(0.0, [B, 3]);
        for x in unbind(y, 1) {
            last = last * 0.5 + x;
        }
        self.out(last)
    }

    fn loss(&self, x: Tensor<B, T, 3>, targets: Index<B>) -> Tensor {
        cross_entropy(self.forward(x), targets)
    }
}

#[test]
fn networks_in_loops() {
    check_network(Stack::new(), Stack::loss, &[numbers(1, &[2, 3, 3], -1.0, 1.0), indices(2, &[2], 2)]);
}

#[test]
fn slices_that_do_not_fit_are_refused_when_run() {
    let mut g = Stage::new();
    let x = g.fill(0.0, &[4, 2]);
    let y = g.fill(0.0, &[3, 3]);
    let k = g.fill(0.0, &[2]);
    tangle::stage(&mut g, Value::Var(x), Value::Var(y), Value::Var(k));
    assert_eq!(g.error(), Some("unbind: 4 slices of one tensor and 3 of another"));
}
