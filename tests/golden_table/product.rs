//! Products.

use super::Builder;
use super::case::{Case, NO_PLACE};
use super::elementwise::scale;
use super::layout::reshaped;
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
        let (q, k, v) = (c.x(), c.tensor(0, "key").expect("keys"), c.tensor(1, "value").expect("values"));
        let width = *c.t.shape(q).last().expect("features") as f64;
        let by = c.number(NO_PLACE, "scale").unwrap_or(1.0 / width.sqrt());
        let q = scale(&mut c.t, q, by);
        let (mut k, mut v) = (k, v);
        if c.bool(NO_PLACE, "enable_gqa") && c.t.rank(q) >= 3 {
            // Each head of keys serves a run of heads of queries.
            let heads = |t: &Tape, x: T| t.shape(x)[t.rank(x) - 3];
            let repeats = heads(&c.t, q) / heads(&c.t, k).max(1);
            if repeats > 1 && heads(&c.t, k) > 1 {
                k = each_several_times(&mut c.t, k, repeats);
                v = each_several_times(&mut c.t, v, repeats);
            }
        }
        let turned = op!(c.t, transpose(k; -1, -2));
        let mut scores = op!(c.t, matmul(q, turned));
        if c.bool(4, "is_causal") {
            let shape = c.t.shape(scores);
            let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
            let place = c.t.g.iota(columns);
            let place = c.t.push(place);
            let row = c.t.g.iota(rows);
            let row = c.t.push(row);
            let row = op!(c.t, unsqueeze(row; -1));
            let visible = op!(c.t, le(place, row));
            let none = c.t.push(f64::NEG_INFINITY);
            scores = op!(c.t, select(visible, scores, none));
        }
        if let Some(mask) = c.tensor(2, "attn_mask") {
            scores = op!(c.t, add(scores, mask));
        }
        let p = op!(c.t, softmax(scores; -1));
        vec![op!(c.t, matmul(p, v))]
    }),
];

fn product(c: &mut Case<'_>, name: &str) -> Vec<T> {
    let (x, y) = (c.x(), c.tensor(0, name).expect("a factor"));
    vec![op!(c.t, matmul(x, y))]
}

fn each_several_times(t: &mut Tape, x: T, times: usize) -> T {
    let axis = t.rank(x) - 3;
    let mut shape = t.shape(x);
    shape[axis] *= times;
    let at = axis + 1;
    let wide = op!(t, unsqueeze(x; at));
    let wide = op!(t, repeat(wide; at, times));
    reshaped(t, wide, &shape)
}
