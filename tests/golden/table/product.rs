//! Products.

use super::Builder;
use super::case::{Case, NO_PLACE, dims};
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("matmul", |c| product(c, "other")),
    ("mm", |c| product(c, "mat2")),
    ("bmm", |c| product(c, "mat2")),
    ("dot", |c| product(c, "other")),
    ("outer", |c| {
        let (x, y) = (c.x(), c.tensor(0, "vec2").expect("a vector"));
        vec![op!(c.t, outer(x, y))]
    }),
    ("addmm", |c| {
        let x = c.x();
        let (a, b) = (c.tensor(0, "mat1").expect("a matrix"), c.tensor(1, "mat2").expect("a matrix"));
        let (beta, alpha) = (c.number_or(NO_PLACE, "beta", 1.0), c.number_or(NO_PLACE, "alpha", 1.0));
        vec![op!(c.t, addmm(x, a, b; beta, alpha))]
    }),
    ("nn.functional.linear", |c| {
        let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
        let bias = c.tensor(1, "bias").unwrap_or_else(|| c.t.push(0.0));
        if c.t.rank(w) == 2 {
            return vec![op!(c.t, linear(x, w, bias))];
        }
        // One output alone has no axis.
        let y = op!(c.t, matmul(x, w));
        vec![op!(c.t, add(y, bias))]
    }),
    ("einsum", |c| {
        let xs = c.xs();
        // The equation is kept for the gradient.
        let equation: &'static str = c.text(0, "equation").expect("an equation").to_owned().leak();
        vec![of_length!(xs.len(), N => {
            let list = |v: &[Value]| -> [Value; N] { std::array::from_fn(|i| v[i]) };
            c.t.call(
                &xs,
                move |g, v| einsum::stage(g, equation, list(v)),
                move |g, v, d| einsum::grad(g, equation, list(v), d).1.to_vec(),
            )
        })]
    }),
    ("nn.functional.scaled_dot_product_attention", |c| {
        let [mut q, mut k, mut v] =
            [Some(c.x()), c.tensor(0, "key"), c.tensor(1, "value")].map(|x| x.expect("query, keys and values"));
        let width = *c.t.shape(q).last().expect("features") as f64;
        let scale = c.number(NO_PLACE, "scale").unwrap_or(1.0 / width.sqrt()) as f32;
        let (causal, mask) = (c.bool(4, "is_causal"), c.tensor(2, "attn_mask"));
        let heads = |t: &Tape, x: T| t.shape(x)[t.rank(x).saturating_sub(3)];
        if c.bool(NO_PLACE, "enable_gqa") && heads(&c.t, q) != heads(&c.t, k) {
            return vec![op!(c.t, grouped_query_attention(q, k, v; scale, causal, 0.0))];
        }
        // Outer axes are broadcast, as PyTorch does it.
        let outer = [q, k, v].map(|x| c.t.shape(x)).into_iter().max_by_key(Vec::len).expect("three shapes");
        for x in [&mut q, &mut k, &mut v] {
            let shape = c.t.shape(*x);
            if shape.len() < outer.len() {
                let shape = dims(&[&outer[..outer.len() - 2], &shape[shape.len() - 2..]].concat());
                *x = op!(c.t, broadcast_to(*x; shape));
            }
        }
        vec![match mask {
            Some(mask) if c.is_mask(2, "attn_mask") => {
                let mask = op!(c.t, gt(mask; 0.5));
                op!(c.t, masked_attention(q, k, v, mask; scale, 0.0))
            }
            Some(mask) => op!(c.t, biased_attention(q, k, v, mask; scale, 0.0)),
            None => op!(c.t, dot_product_attention(q, k, v; scale, causal, 0.0)),
        }]
    }),
];

fn product(c: &mut Case<'_>, name: &str) -> Vec<T> {
    let (x, y) = (c.x(), c.tensor(0, name).expect("a factor"));
    vec![op!(c.t, matmul(x, y))]
}
