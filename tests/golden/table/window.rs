//! Convolution and pooling on sliding windows.

use super::Builder;
use super::case::{Case, dims};
use super::elementwise::scale;
use super::layout::reshaped;
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("nn.functional.conv1d", |c| vec![conv(c, 1)]),
    ("nn.functional.conv2d", |c| vec![conv(c, 2)]),
    ("nn.functional.conv_transpose1d", |c| vec![conv_transpose(c, 1)]),
    ("nn.functional.conv_transpose2d", |c| vec![conv_transpose(c, 2)]),
    ("nn.functional.avg_pool1d", |c| vec![avg_pool(c, 1)]),
    ("nn.functional.avg_pool2d", |c| vec![avg_pool(c, 2)]),
    ("nn.functional.max_pool1d", |c| max_pool(c, 1)),
    ("nn.functional.max_pool2d", |c| max_pool(c, 2)),
];

/// Adds a batch of one where there is none; gives whether it did.
fn batched(t: &mut Tape, x: T, n: usize) -> (T, bool) {
    if t.rank(x) == n + 2 { (x, false) } else { (op!(t, unsqueeze(x; 0)), true) }
}

/// The bias added, and the batch of one taken away again.
fn finished(c: &mut Case<'_>, mut y: T, added: bool) -> T {
    if let Some(bias) = c.tensor(1, "bias") {
        let bias = op!(c.t, per_channel(bias, y));
        y = op!(c.t, add(y, bias));
    }
    if !added {
        return y;
    }
    let shape = c.t.shape(y)[1..].to_vec();
    reshaped(&mut c.t, y, &shape)
}

fn conv(c: &mut Case<'_>, n: usize) -> T {
    let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
    let (stride, dilation) = (c.each(2, "stride", n, 1), c.each(4, "dilation", n, 1));
    let groups = c.int(5, "groups").unwrap_or(1) as usize;
    let (mut x, added) = batched(&mut c.t, x, n);
    let padding: Vec<usize> = match c.text(3, "padding") {
        Some("same") => {
            let reach: Vec<usize> = (0..n).map(|i| dilation[i] * (c.t.shape(w)[2 + i] - 1)).collect();
            // Where both ends cannot get as much, the second gets more.
            for (i, reach) in reach.iter().enumerate() {
                let odd = reach % 2;
                x = op!(c.t, pad(x; 2 + i, 0, odd));
            }
            reach.into_iter().map(|reach| reach / 2).collect()
        }
        Some(_) => vec![0; n],
        None => c.each(3, "padding", n, 0),
    };
    let (stride, padding, dilation) = (dims(&stride), dims(&padding), dims(&dilation));
    let y = match n {
        1 => op!(c.t, conv1d(x, w; stride, padding, dilation, groups)),
        _ => op!(c.t, conv2d(x, w; stride, padding, dilation, groups)),
    };
    finished(c, y, added)
}

fn conv_transpose(c: &mut Case<'_>, n: usize) -> T {
    let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
    let [stride, padding, more, dilation] =
        [(2, "stride", 1), (3, "padding", 0), (4, "output_padding", 0), (6, "dilation", 1)]
            .map(|(place, name, default)| dims(&c.each(place, name, n, default)));
    let groups = c.int(5, "groups").unwrap_or(1) as usize;
    let (x, added) = batched(&mut c.t, x, n);
    let y = match n {
        1 => op!(c.t, conv_transpose1d(x, w; stride, padding, more, groups, dilation)),
        _ => op!(c.t, conv_transpose2d(x, w; stride, padding, more, groups, dilation)),
    };
    finished(c, y, added)
}

/// What both kinds of pooling take, one number for each axis.
struct Pool {
    size: Vec<usize>,
    stride: Vec<usize>,
    padding: Vec<usize>,
}

fn pool(c: &Case<'_>, n: usize) -> Pool {
    let size = c.each(0, "kernel_size", n, 1);
    let has_stride = c.ints(1, "stride").is_some_and(|s| !s.is_empty());
    let stride = if has_stride { c.each(1, "stride", n, 1) } else { size.clone() };
    Pool { size, stride, padding: c.each(2, "padding", n, 0) }
}

fn avg_pool(c: &mut Case<'_>, n: usize) -> T {
    let (x, p, ceil) = (c.x(), pool(c, n), c.bool(3, "ceil_mode"));
    let with_padding = c.arg(4, "count_include_pad").is_none_or(|b| b.as_bool() != Some(false));
    let (size, stride, padding) = (dims(&p.size), dims(&p.stride), dims(&p.padding));
    if n == 1 {
        return op!(c.t, avg_pool1d(x; size, stride, padding, ceil, with_padding));
    }
    match c.number(5, "divisor_override") {
        Some(divisor) => {
            let total = op!(c.t, sum_pool2d(x; size, stride, padding, ceil));
            scale(&mut c.t, total, 1.0 / divisor)
        }
        None => op!(c.t, avg_pool2d(x; size, stride, padding, ceil, with_padding)),
    }
}

fn max_pool(c: &mut Case<'_>, n: usize) -> Vec<T> {
    let (x, p, ceil) = (c.x(), pool(c, n), c.bool(4, "ceil_mode"));
    let dilations = c.each(3, "dilation", n, 1);
    let (size, stride, padding, dilation) = (dims(&p.size), dims(&p.stride), dims(&p.padding), dims(&dilations));
    let y = match n {
        1 => op!(c.t, max_pool1d(x; size, stride, padding, dilation, ceil)),
        _ => op!(c.t, max_pool2d(x; size, stride, padding, dilation, ceil)),
    };
    if !c.bool(5, "return_indices") {
        return vec![y];
    }
    // The number of each element within its plane, and the smallest of those that are the largest.
    let t = &mut c.t;
    let windows = |t: &mut Tape, mut x: T, value: f32| {
        let outer = t.rank(x) - n;
        for i in (0..n).rev() {
            let (size, stride, padding, dilation) = (p.size[i], p.stride[i], p.padding[i], dilations[i]);
            x = op!(t, pad_windows(x; outer + i, size, stride, padding, dilation, ceil, value));
            x = op!(t, windows(x; outer + i, size, stride, dilation));
        }
        x
    };
    let shape = t.shape(x);
    let plane = &shape[shape.len() - n..];
    let place = t.g.iota(plane.iter().product());
    let place = t.push(place);
    let place = op!(t, float(place));
    let place = reshaped(t, place, plane);
    let place = windows(t, place, 1e9);
    let elements = windows(t, x, f32::NEG_INFINITY);
    let axes = if n == 1 { dims(&[t.rank(elements) - 1]) } else { dims(&[t.rank(elements) - 3, t.rank(elements) - 1]) };
    let largest = op!(t, max_keepdim(elements; axes));
    let is_largest = op!(t, eq(elements, largest));
    let none = t.push(1e9);
    let place = op!(t, select(is_largest, place, none));
    let first = op!(t, min_axes(place; axes));
    vec![y, op!(t, integer(first))]
}
