//! Elements and rows by number.

use super::Builder;
use super::case::{Case, NO_PLACE, dims};
use super::layout::reshaped;
use super::tape::{Grads, T};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("gather", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let index = c.tensor(1, "index").expect("an index");
        if c.t.rank(x) == 0 {
            let shape = c.t.shape(index);
            return vec![reshaped(&mut c.t, x, &shape)];
        }
        // The index may be smaller than the tensor along the other axes.
        let (axis, like) = (c.axis(x, axis), c.t.shape(index));
        let part = first(c, x, &like, Some(axis));
        vec![op!(c.t, take_along(part, index; axis as isize))]
    }),
    ("take_along_dim", |c| {
        let (mut x, mut index) = (c.x(), c.tensor(0, "indices").expect("an index"));
        let axis = match c.int(1, "dim") {
            Some(axis) => c.axis(x, axis),
            None => {
                (x, index) = (flat(c, x), flat(c, index));
                0
            }
        };
        // Both are broadcast along the other axes, and negative numbers count from the end.
        let (mut wide, like) = (c.t.shape(x), c.t.shape(index));
        let n = wide[axis];
        let mut wide_index = like.clone();
        for i in (0..like.len()).filter(|&i| i != axis) {
            let size = if wide[i] == 1 { like[i] } else { wide[i] };
            (wide[i], wide_index[i]) = (size, size);
        }
        let (wide, wide_index) = (dims(&wide), dims(&wide_index));
        let (x, index) = (op!(c.t, broadcast_to(x; wide)), op!(c.t, broadcast_to(index; wide_index)));
        let (n, none) = (c.t.push(n), c.t.push(0));
        let (below, more) = (op!(c.t, lt(index, none)), op!(c.t, add(index, n)));
        let index = op!(c.t, select(below, more, index));
        vec![op!(c.t, take_along(x, index; axis as isize))]
    }),
    ("scatter_add", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let (index, source) = (c.tensor(1, "index").expect("an index"), c.tensor(2, "src").expect("what is added"));
        if c.t.rank(x) == 0 {
            let shape = c.t.shape(x);
            let source = reshaped(&mut c.t, source, &shape);
            return vec![op!(c.t, add(x, source))];
        }
        // The index may be smaller than both: what it does not reach stays.
        let (axis, shape, like) = (c.axis(x, axis), c.t.shape(x), c.t.shape(index));
        let source = first(c, source, &like, None);
        let mut reached = first(c, x, &like, Some(axis));
        let old = reached;
        reached = op!(c.t, scatter_add(reached, index, source; axis as isize));
        if c.t.shape(reached) == shape {
            return vec![reached];
        }
        let mut change = op!(c.t, sub(reached, old));
        for (i, &size) in shape.iter().enumerate().filter(|(i, _)| *i != axis) {
            let more = size - like[i];
            change = op!(c.t, pad(change; i, 0, more));
        }
        vec![op!(c.t, add(x, change))]
    }),
    ("index_select", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let index = c.tensor(1, "index").expect("an index");
        if c.t.rank(x) == 0 {
            return vec![x];
        }
        let index = flat(c, index);
        vec![op!(c.t, take_rows(x, index; axis))]
    }),
    ("index_add", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let (index, source) = (c.tensor(1, "index").expect("an index"), c.tensor(2, "source").expect("what is added"));
        let alpha = c.number_or(NO_PLACE, "alpha", 1.0);
        let index = flat(c, index);
        if c.t.rank(x) == 0 {
            let (row, source) = (reshaped(&mut c.t, x, &[1]), flat(c, source));
            let y = op!(c.t, index_add(row, index, source; 0, alpha));
            return vec![reshaped(&mut c.t, y, &[])];
        }
        let source = if c.t.rank(source) == 0 { flat(c, source) } else { source };
        vec![op!(c.t, index_add(x, index, source; axis, alpha))]
    }),
    ("nn.functional.embedding", |c| {
        let first = c.x();
        let second = c.tensor(0, "weight").expect("a table and an index");
        // The cases of PyTorch have the table first, the function has it second.
        let (table, index) = if c.is_index(second) { (first, second) } else { (second, first) };
        assert!(c.arg(2, "max_norm").is_none(), "rows are not bounded here");
        let rows = match c.int(1, "padding_idx") {
            Some(row) => {
                let row = c.axis_size(table, 0, row);
                op!(c.t, padded_gather(table, index; row))
            }
            None => op!(c.t, gather(table, index)),
        };
        if !c.bool(4, "scale_grad_by_freq") {
            return vec![rows];
        }
        // The gradient of a row is divided by how often it is looked up.
        let all = flat(c, index);
        let column = op!(c.t, unsqueeze(index; -1));
        let same = op!(c.t, eq(column, all));
        let same = op!(c.t, float(same));
        let count = op!(c.t, sum_keepdim(same; [-1]));
        let constant = op!(c.t, stop_gradient(rows));
        let none = op!(c.t, sub(rows, constant));
        let share = op!(c.t, div(none, count));
        vec![op!(c.t, add(constant, share))]
    }),
];

fn flat(c: &mut Case<'_>, x: T) -> T {
    let n = c.t.shape(x).iter().product();
    reshaped(&mut c.t, x, &[n])
}

/// The first elements along all axes but one, as many as `like` says.
fn first(c: &mut Case<'_>, x: T, like: &[usize], but: Option<usize>) -> T {
    like.iter().enumerate().filter(|(i, _)| Some(*i) != but).fold(x, |x, (i, &size)| op!(c.t, slice(x; i, 0, size)))
}
