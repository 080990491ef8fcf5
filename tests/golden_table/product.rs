//! Products.

use super::Builder;
use super::case::{Case, NO_PLACE, dims};
use super::elementwise::scale;
use super::layout::reshaped;
use super::reduce::sum_over;
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("matmul", |c| product(c, "other")),
    ("mm", |c| product(c, "mat2")),
    ("bmm", |c| product(c, "mat2")),
    ("dot", |c| product(c, "other")),
    ("outer", |c| {
        let (x, y) = (c.x(), c.tensor(0, "vec2").expect("a vector"));
        let x = op!(c.t, unsqueeze(x; -1));
        vec![op!(c.t, mul(x, y))]
    }),
    ("addmm", |c| {
        let x = c.x();
        let (a, b) = (c.tensor(0, "mat1").expect("a matrix"), c.tensor(1, "mat2").expect("a matrix"));
        let beta = c.number(NO_PLACE, "beta").unwrap_or(1.0);
        let alpha = c.number(NO_PLACE, "alpha").unwrap_or(1.0);
        let y = op!(c.t, matmul(a, b));
        let (x, y) = (scale(&mut c.t, x, beta), scale(&mut c.t, y, alpha));
        vec![op!(c.t, add(x, y))]
    }),
    ("nn.functional.linear", |c| {
        let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
        let w = if c.t.rank(w) == 2 { op!(c.t, transpose(w; 0, 1)) } else { w };
        let y = op!(c.t, matmul(x, w));
        match c.tensor(1, "bias") {
            Some(bias) => vec![op!(c.t, add(y, bias))],
            None => vec![y],
        }
    }),
    ("einsum", |c| {
        let xs = c.xs();
        let equation = c.text(0, "equation").expect("an equation").to_owned();
        vec![einsum(&mut c.t, &xs, &equation)]
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

/// Every operand is brought to all letters, then the product is summed over those that go.
fn einsum(t: &mut Tape, xs: &[T], equation: &str) -> T {
    let equation: String = equation.replace(' ', "");
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(l, r)| (l, Some(r.to_owned())));
    // Axes of an ellipsis get capital letters from outside ASCII letters, counted from the end.
    let expand = |term: &str, rank: usize| -> Vec<char> {
        let named = term.replace("...", "").chars().count();
        let open: String = (0..rank.saturating_sub(named)).rev().map(|i| char::from(b'0' + i as u8)).collect();
        term.replace("...", &open).chars().collect()
    };
    let terms: Vec<Vec<char>> = left.split(',').zip(xs).map(|(term, &x)| expand(term, t.rank(x))).collect();
    let mut letters: Vec<char> = terms.concat();
    letters.sort_unstable();
    letters.dedup();
    let digits = letters.iter().filter(|l| l.is_ascii_digit()).count();
    let out: Vec<char> = match right {
        Some(right) => {
            let named = right.replace("...", "").chars().count();
            expand(&right, if right.contains("...") { named + digits } else { named })
        }
        None => letters
            .iter()
            .copied()
            .filter(|l| l.is_ascii_digit() || terms.concat().iter().filter(|x| *x == l).count() == 1)
            .collect(),
    };
    let mut product = None;
    for (term, &x) in terms.iter().zip(xs) {
        let (mut term, mut x) = (term.clone(), x);
        // A letter that comes twice is a diagonal.
        while let Some((i, j)) =
            (0..term.len()).flat_map(|i| (i + 1..term.len()).map(move |j| (i, j))).find(|&(i, j)| term[i] == term[j])
        {
            let n = t.shape(x)[i];
            let mut eye = vec![1; term.len()];
            (eye[i], eye[j]) = (n, n);
            let ones: Vec<f32> = (0..n * n).map(|k| (k / n == k % n) as u8 as f32).collect();
            let eye = t.g.constant(&Tensor::new(eye, ones).expect("a square"));
            let eye = t.push(eye);
            x = op!(t, mul(x, eye));
            x = sum_over(t, x, &[j]);
            term.remove(j);
        }
        let order: Vec<usize> = letters.iter().filter_map(|l| term.iter().position(|m| m == l)).collect();
        let shape: Vec<usize> =
            letters.iter().map(|l| term.iter().position(|m| m == l).map_or(1, |i| t.shape(x)[i])).collect();
        let order = dims(&order);
        x = op!(t, permute(x; order));
        x = reshaped(t, x, &shape);
        product = Some(match product {
            Some(y) => op!(t, mul(y, x)),
            None => x,
        });
    }
    let product = product.expect("an operand");
    let gone: Vec<usize> = (0..letters.len()).filter(|&i| !out.contains(&letters[i])).collect();
    let kept: Vec<char> = letters.iter().copied().filter(|l| out.contains(l)).collect();
    let sum = if gone.is_empty() { product } else { sum_over(t, product, &gone) };
    let order: Vec<usize> =
        out.iter().map(|l| kept.iter().position(|m| m == l).expect("a letter of an operand")).collect();
    let order = dims(&order);
    op!(t, permute(sum; order))
}
