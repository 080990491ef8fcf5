//! The gradients of attention, rotary embedding and recurrent layers against finite differences.

use crate::common::{Argument, check_network, check_op, indices, numbers};
use downhill::prelude::*;

/// Query, key and value, `[2, 2, 3, 4]`, `[2, 2, 5, 4]` and `[2, 2, 5, 3]`.
fn three() -> [Argument; 3] {
    [&[2, 2, 3, 4][..], &[2, 2, 5, 4], &[2, 2, 5, 3]]
        .map(|shape| numbers(shape.len() as u64 + shape[2] as u64, shape, -1.0, 1.0))
}

#[test]
fn attention_without_a_mask() {
    for causal in [false, true] {
        check_op(
            "dot_product_attention",
            &three(),
            &|g, x| vec![dot_product_attention::stage(g, x[0], x[1], x[2], 0.7, causal, 0.0)],
            &|g, x, d| {
                let (dq, dk, dv, _, _, _) = dot_product_attention::grad(g, x[0], x[1], x[2], 0.7, causal, 0.0, d[0]);
                vec![dq, dk, dv]
            },
        );
        check_op(
            "scaled_dot_product_attention",
            &three(),
            &|g, x| vec![scaled_dot_product_attention::stage(g, x[0], x[1], x[2], causal)],
            &|g, x, d| {
                let (dq, dk, dv, _) = scaled_dot_product_attention::grad(g, x[0], x[1], x[2], causal, d[0]);
                vec![dq, dk, dv]
            },
        );
    }
}

/// Of `[2, 1, 3, 5]`: some places, and all of one row, are hidden.
fn mask(g: &mut Stage) -> Value {
    let visible: Vec<f32> = (0..30).map(|i| (i % 3 != 1 && !(5..10).contains(&i)) as u8 as f32).collect();
    let visible = g.constant(&Tensor::new([2, 1, 3, 5], visible).unwrap());
    gt::stage(g, visible, 0.5)
}

#[test]
fn attention_with_a_mask() {
    check_op(
        "masked_attention",
        &three(),
        &|g, x| {
            let mask = mask(g);
            vec![masked_attention::stage(g, x[0], x[1], x[2], mask, 0.7, 0.0)]
        },
        &|g, x, d| {
            let mask = mask(g);
            let (dq, dk, dv, _, _, _) = masked_attention::grad(g, x[0], x[1], x[2], mask, 0.7, 0.0, d[0]);
            vec![dq, dk, dv]
        },
    );
}

#[test]
fn attention_with_a_bias_and_a_learned_scale() {
    let [q, k, v] = three();
    check_op(
        "biased_attention",
        &[q, k, v, numbers(3, &[2, 1, 5], -1.0, 1.0), numbers(4, &[2, 1, 1], 0.5, 1.5)],
        &|g, x| vec![biased_attention::stage(g, x[0], x[1], x[2], x[3], x[4], 0.0)],
        &|g, x, d| {
            let (dq, dk, dv, db, ds, _) = biased_attention::grad(g, x[0], x[1], x[2], x[3], x[4], 0.0, d[0]);
            vec![dq, dk, dv, db, ds]
        },
    );
}

#[test]
fn attention_of_groups() {
    for (groups, causal) in [(1, false), (2, true), (4, false)] {
        check_op(
            "grouped_query_attention",
            &[
                numbers(1, &[2, 4, 3, 2], -1.0, 1.0),
                numbers(2, &[2, groups, 5, 2], -1.0, 1.0),
                numbers(3, &[2, groups, 5, 3], -1.0, 1.0),
            ],
            &|g, x| vec![grouped_query_attention::stage(g, x[0], x[1], x[2], 0.7, causal, 0.0)],
            &|g, x, d| {
                let (dq, dk, dv, _, _, _) = grouped_query_attention::grad(g, x[0], x[1], x[2], 0.7, causal, 0.0, d[0]);
                vec![dq, dk, dv]
            },
        );
    }
}

#[test]
fn parts_of_features() {
    check_op(
        "split_heads",
        &[numbers(1, &[2, 3, 6], -1.0, 1.0)],
        &|g, x| vec![split_heads::stage(g, x[0], 3)],
        &|g, x, d| vec![split_heads::grad(g, x[0], 3, d[0]).0],
    );
    check_op(
        "merge_heads",
        &[numbers(1, &[2, 3, 2, 2], -1.0, 1.0)],
        &|g, x| vec![merge_heads::stage(g, x[0])],
        &|g, x, d| vec![merge_heads::grad(g, x[0], d[0])],
    );
    check_op(
        "group_heads",
        &[numbers(1, &[2, 4, 3, 2], -1.0, 1.0)],
        &|g, x| vec![group_heads::stage(g, x[0], 2)],
        &|g, x, d| vec![group_heads::grad(g, x[0], 2, d[0]).0],
    );
    for interleaved in [false, true] {
        check_op(
            "halves",
            &[numbers(1, &[2, 6], -1.0, 1.0)],
            &|g, x| {
                let (a, b) = halves::stage(g, x[0], interleaved);
                vec![a, b]
            },
            &|g, x, d| vec![halves::grad(g, x[0], interleaved, (d[0], d[1])).0],
        );
        for second in [false, true] {
            let one = |a, b| if second { b } else { a };
            check_op(
                "one of the halves",
                &[numbers(1, &[2, 6], -1.0, 1.0)],
                &|g, x| {
                    let (a, b) = halves::stage(g, x[0], interleaved);
                    vec![if second { b } else { a }]
                },
                &|g, x, d| vec![halves::grad(g, x[0], interleaved, (one(d[0], None), one(None, d[0]))).0],
            );
        }
    }
}

#[test]
fn rotary_embedding() {
    let x = [numbers(1, &[2, 3, 4], -1.0, 1.0)];
    check_op("rotary", &x, &|g, x| vec![rotary::stage(g, x[0], 100.0, 2)], &|g, x, d| {
        vec![rotary::grad(g, x[0], 100.0, 2, d[0]).0]
    });
    check_op("rotary_interleaved", &x, &|g, x| vec![rotary_interleaved::stage(g, x[0], 100.0, 0)], &|g, x, d| {
        vec![rotary_interleaved::grad(g, x[0], 100.0, 0, d[0]).0]
    });
}

#[network]
struct Attending {
    #[layer(causal = true, rotary = true)]
    own: MultiHeadAttention<4, 2>,
    #[layer(bias = false)]
    other: MultiHeadAttention<4, 2>,
    #[layer(causal = true, rotary = true, rotary_base = 50.0)]
    grouped: GroupedQueryAttention<4, 2, 1>,
}

#[network]
impl Attending {
    fn loss(&self, x: Tensor<B, T, 4>, context: Tensor<B, S, 4>, lengths: Index<B>) -> Tensor {
        let shown = unsqueeze(unsqueeze(iota(S) <= unsqueeze(lengths, 1), 1), 1);
        let x = x + self.own(x);
        let x = x + self.other.cross(x, context);
        let x = x + self.other.cross_masked(x, context, shown);
        let x = x + self.own.masked(x, unsqueeze(iota(T), 1) != iota(T) + 1);
        sum(tanh(self.grouped(x)) * x)
    }
}

#[test]
fn attention_layers() {
    let arguments = [numbers(1, &[2, 3, 4], -1.0, 1.0), numbers(2, &[2, 5, 4], -1.0, 1.0), indices(3, &[2], 5)];
    check_network(Attending::new(), Attending::loss, &arguments);
}

#[network]
struct Memory {
    layer: Lstm<2, 3>,
    cell: LstmCell<2, 3>,
    #[layer(bias = false)]
    plain: Lstm<2, 3>,
}

#[network]
impl Memory {
    fn loss(&self, x: Tensor<B, T, 2>, h: Tensor<B, 3>, c: Tensor<B, 3>) -> Tensor {
        let (states, h, c) = self.layer.forward_from(x, h, c);
        let rest = sum(states * tanh(self.layer(x))) + sum(h * c);
        let (h, c) = self.cell(sum_axes(x, [1]), h, c);
        let plain = self.plain(x);
        rest + sum(plain * plain) + sum(h * tanh(c))
    }
}

#[test]
fn long_short_term_memory() {
    for times in [1, 4] {
        let state = |seed| numbers(seed, &[2, 3], -1.0, 1.0);
        check_network(Memory::new(), Memory::loss, &[numbers(1, &[2, times, 2], -1.0, 1.0), state(2), state(3)]);
    }
}

/// A layer and its cell whose state is one tensor, and a function that reads all that they yield.
macro_rules! of_one_state {
    ($($test:ident $net:ident: $layer:ty, $cell:ty;)*) => {$(
        #[network]
        struct $net {
            layer: $layer,
            cell: $cell,
            #[layer(bias = false)]
            plain: $layer,
        }

        #[network]
        impl $net {
            fn loss(&self, x: Tensor<B, T, 2>, first: Tensor<B, 3>) -> Tensor {
                let (states, last) = self.layer.forward_from(x, first);
                let rest = sum(states * tanh(self.layer(x))) + sum(last * first);
                let plain = self.plain(x);
                rest + sum(plain * plain) + sum(self.cell(sum_axes(x, [1]), last) * first)
            }
        }

        #[test]
        fn $test() {
            for times in [1, 4] {
                let arguments = [numbers(1, &[2, times, 2], -1.0, 1.0), numbers(2, &[2, 3], -1.0, 1.0)];
                check_network($net::new(), $net::loss, &arguments);
            }
        }
    )*};
}

of_one_state! {
    gated_recurrent_units GruNet: Gru<2, 3>, GruCell<2, 3>;
    plain_recurrence RnnNet: Rnn<2, 3>, RnnCell<2, 3>;
}

#[network]
struct ReluNet {
    #[layer(relu = true)]
    layer: Rnn<2, 3>,
    #[layer(relu = true, bias = false)]
    cell: RnnCell<3, 3>,
}

#[network]
impl ReluNet {
    fn loss(&self, x: Tensor<B, T, 2>, first: Tensor<B, 3>) -> Tensor {
        let (states, last) = self.layer.forward_from(x, first);
        sum(states * states) + sum(self.cell(last, first))
    }
}

#[test]
fn plain_recurrence_with_relu() {
    let arguments = [numbers(5, &[2, 3, 2], -1.0, 1.0), numbers(6, &[2, 3], 0.1, 1.0)];
    check_network(ReluNet::new(), ReluNet::loss, &arguments);
}
