//! Elements and rows by number.

use super::Builder;
use super::case::Case;
use super::elementwise::scale;
use super::layout::reshaped;
use super::tape::{Grads, T};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("gather", |c| {
        let (x, index) = (c.x(), c.tensor(1, "index").expect("an index"));
        let axis = c.int(0, "dim").expect("an axis");
        vec![take(c, x, axis, index)]
    }),
    ("take_along_dim", |c| {
        let (x, index) = (c.x(), c.tensor(0, "indices").expect("an index"));
        match c.int(1, "dim") {
            Some(axis) => vec![take(c, x, axis, index)],
            None => {
                let (n, m) = (c.t.shape(x).iter().product(), c.t.shape(index).iter().product());
                let (x, index) = (reshaped(&mut c.t, x, &[n]), reshaped(&mut c.t, index, &[m]));
                vec![take(c, x, 0, index)]
            }
        }
    }),
    ("scatter_add", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let (index, source) = (c.tensor(1, "index").expect("an index"), c.tensor(2, "src").expect("what is added"));
        let shape = c.t.shape(x);
        if shape.is_empty() {
            return vec![op!(c.t, add(x, source))];
        }
        let axis = c.axis(x, axis);
        let n = shape[axis];
        // The index may be smaller than both: what it does not reach stays.
        let like = c.t.shape(index);
        let mut part = source;
        for (i, &size) in like.iter().enumerate() {
            part = op!(c.t, slice(part; i, 0, size));
        }
        let mut sums = op!(c.t, add_along(part, index; axis, n));
        for (i, &size) in shape.iter().enumerate().filter(|(i, _)| *i != axis) {
            let more = size - like[i];
            sums = op!(c.t, pad(sums; i, 0, more));
        }
        vec![op!(c.t, add(x, sums))]
    }),
    ("index_select", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let index = c.tensor(1, "index").expect("an index");
        if c.t.rank(x) == 0 {
            return vec![x];
        }
        let axis = c.axis(x, axis);
        vec![op!(c.t, take_rows(x, index; axis))]
    }),
    ("index_add", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let (index, source) = (c.tensor(1, "index").expect("an index"), c.tensor(2, "source").expect("what is added"));
        let alpha = c.number(super::case::NO_PLACE, "alpha").unwrap_or(1.0);
        let source = scale(&mut c.t, source, alpha);
        if c.t.rank(x) == 0 {
            let source = op!(c.t, sum(source));
            return vec![op!(c.t, add(x, source))];
        }
        let axis = c.axis(x, axis);
        let n = c.t.shape(x)[axis];
        let sums = op!(c.t, add_rows(source, index; axis, n));
        vec![op!(c.t, add(x, sums))]
    }),
    ("nn.functional.embedding", |c| {
        let first = c.x();
        let second = c.tensor(0, "weight").expect("a table and an index");
        // The cases of PyTorch have the table first, the function has it second.
        let first_is_table = c.is_index(second);
        let (table, index) = if first_is_table { (first, second) } else { (second, first) };
        let frozen = c.int(1, "padding_idx");
        let looked_up = op!(c.t, gather(table, index));
        let Some(row) = frozen else { return vec![looked_up] };
        let rows = c.t.shape(table)[0] as isize;
        let row = (if row < 0 { row + rows } else { row }) as i32;
        let row = c.t.push(row);
        let is_row = op!(c.t, eq(index, row));
        let is_row = op!(c.t, unsqueeze(is_row; -1));
        let constant = op!(c.t, stop_gradient(looked_up));
        vec![op!(c.t, select(is_row, constant, looked_up))]
    }),
];

/// PyTorch's `gather`: the index may be smaller than the tensor along the other axes.
fn take(c: &mut Case<'_>, x: T, axis: isize, index: T) -> T {
    if c.t.rank(x) == 0 {
        let shape = c.t.shape(index);
        return reshaped(&mut c.t, x, &shape);
    }
    let axis = c.axis(x, axis);
    let size = c.t.shape(x)[axis];
    // Negative numbers count from the end.
    let (n, none) = (c.t.push(size), c.t.push(0));
    let (below, more) = (op!(c.t, lt(index, none)), op!(c.t, add(index, n)));
    let index = op!(c.t, select(below, more, index));
    let (from, like) = (c.t.shape(x), c.t.shape(index));
    let (mut part, mut index) = (x, index);
    let mut wide = like.clone();
    for (i, &size) in like.iter().enumerate().filter(|(i, _)| *i != axis) {
        // `take_along_dim` broadcasts, `gather` cuts.
        if size == 1
            && from[i] != 1
            && c.spec["args"].as_array().is_some_and(|a| a.first().is_some_and(|x| x.is_object()))
        {
            wide[i] = from[i];
        } else if size < from[i] {
            part = op!(c.t, slice(part; i, 0, size));
        }
    }
    if wide != like {
        let wide = super::case::dims(&wide);
        index = op!(c.t, broadcast_to(index; wide));
    }
    op!(c.t, take_along(part, index; axis))
}
