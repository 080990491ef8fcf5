//! Convolution and pooling on sliding windows.

use super::Builder;
use super::case::{Case, dims};
use super::elementwise::{per_channel, scale};
use super::layout::{pad_axis, reshaped};
use super::reduce::sum_over;
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
    ("nn.functional.adaptive_avg_pool2d", |c| {
        let mut x = c.x();
        let rank = c.t.rank(x);
        let sizes: Vec<Option<usize>> = match c.arg(0, "output_size") {
            Some(serde_json::Value::Array(list)) => list.iter().map(|n| n.as_u64().map(|n| n as usize)).collect(),
            Some(n) => vec![n.as_u64().map(|n| n as usize); 2],
            None => vec![None; 2],
        };
        for (i, size) in sizes.into_iter().enumerate() {
            let axis = rank - 2 + i;
            let n = c.t.shape(x)[axis];
            let count = size.unwrap_or(n);
            let bins: Vec<T> = (0..count)
                .map(|i| {
                    let (start, stop) = (i * n / count, ((i + 1) * n).div_ceil(count));
                    let bin = op!(c.t, slice(x; axis, start, stop));
                    op!(c.t, mean_keepdim(bin; axis as isize))
                })
                .collect();
            x = super::layout::join(&mut c.t, &bins, axis);
        }
        vec![x]
    }),
];

/// Axes of windows behind the others: `[.., n1, n2]` to `[.., count1, count2, size1, size2]`.
fn windowed(t: &mut Tape, mut x: T, sizes: &[usize], steps: &[usize], dilations: &[usize]) -> T {
    let n = sizes.len();
    let outer = t.rank(x) - n;
    for i in (0..n).rev() {
        let (axis, size, step, dilation) = (outer + i, sizes[i], steps[i], dilations[i]);
        x = op!(t, windows(x; axis, size, step, dilation));
    }
    let order = (0..outer).chain((0..n).map(|i| outer + 2 * i)).chain((0..n).map(|i| outer + 2 * i + 1));
    let order = dims(&order.collect::<Vec<_>>());
    op!(t, permute(x; order))
}

fn product(sizes: &[usize]) -> usize {
    sizes.iter().product()
}

/// Adds a batch of one where there is none; gives whether it did.
fn batched(t: &mut Tape, x: T, n: usize) -> (T, bool) {
    if t.rank(x) == n + 2 { (x, false) } else { (op!(t, unsqueeze(x; 0)), true) }
}

fn unbatched(t: &mut Tape, x: T, added: bool) -> T {
    if !added {
        return x;
    }
    let shape = t.shape(x)[1..].to_vec();
    reshaped(t, x, &shape)
}

fn with_bias(c: &mut Case<'_>, y: T) -> T {
    match c.tensor(1, "bias") {
        Some(bias) => {
            let bias = per_channel(&mut c.t, bias, y);
            op!(c.t, add(y, bias))
        }
        None => y,
    }
}

fn conv(c: &mut Case<'_>, n: usize) -> T {
    let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
    let (steps, dilations) = (c.each(2, "stride", n, 1), c.each(4, "dilation", n, 1));
    let groups = c.int(5, "groups").unwrap_or(1) as usize;
    let (mut x, added) = batched(&mut c.t, x, n);
    let kernel = c.t.shape(w)[2..].to_vec();
    let paddings: Vec<(isize, isize)> = match c.text(3, "padding") {
        Some("same") => (0..n)
            .map(|i| {
                let all = (dilations[i] * (kernel[i] - 1)) as isize;
                (all / 2, all - all / 2)
            })
            .collect(),
        Some(_) => vec![(0, 0); n],
        None => c.each(3, "padding", n, 0).into_iter().map(|p| (p as isize, p as isize)).collect(),
    };
    for (i, &padding) in paddings.iter().enumerate() {
        x = pad_axis(&mut c.t, x, 2 + i, padding, "constant", 0.0);
    }
    let [batch, channels] = c.t.shape(x)[..2] else { unreachable!("a batch of channels") };
    let t = &mut c.t;
    let x = windowed(t, x, &kernel, &steps, &dilations);
    let counts = t.shape(x)[2..2 + n].to_vec();
    // [B, G, C / G * K, L]
    let order = [0, 1].into_iter().chain(2 + n..2 + 2 * n).chain(2..2 + n);
    let order = dims(&order.collect::<Vec<_>>());
    let x = op!(t, permute(x; order));
    let x = reshaped(t, x, &[batch, groups, channels / groups * product(&kernel), product(&counts)]);
    let outs = t.shape(w)[0];
    let w = reshaped(t, w, &[groups, outs / groups, channels / groups * product(&kernel)]);
    let y = op!(t, matmul(w, x));
    let y = reshaped(t, y, &[&[batch, outs], &counts[..]].concat());
    let y = with_bias(c, y);
    unbatched(&mut c.t, y, added)
}

fn conv_transpose(c: &mut Case<'_>, n: usize) -> T {
    let (x, w) = (c.x(), c.tensor(0, "weight").expect("a weight"));
    let (steps, paddings) = (c.each(2, "stride", n, 1), c.each(3, "padding", n, 0));
    let (more, groups) = (c.each(4, "output_padding", n, 0), c.int(5, "groups").unwrap_or(1) as usize);
    let dilations = c.each(6, "dilation", n, 1);
    let (x, added) = batched(&mut c.t, x, n);
    let t = &mut c.t;
    let shape = t.shape(x);
    let (batch, channels, counts) = (shape[0], shape[1], shape[2..].to_vec());
    let (outs, kernel) = (t.shape(w)[1], t.shape(w)[2..].to_vec());
    let x = reshaped(t, x, &[batch, groups, channels / groups, product(&counts)]);
    let w = reshaped(t, w, &[groups, channels / groups, outs * product(&kernel)]);
    let w = op!(t, transpose(w; -1, -2));
    let y = op!(t, matmul(w, x));
    let mut y = reshaped(t, y, &[&[batch, groups * outs], &kernel[..], &counts[..]].concat());
    // Each axis of counts with its axis of places in the kernel behind it.
    let order = [0, 1].into_iter().chain((0..n).flat_map(|i| [2 + n + i, 2 + i]));
    let order = dims(&order.collect::<Vec<_>>());
    y = op!(t, permute(y; order));
    for i in (0..n).rev() {
        let (axis, step, dilation) = (2 + 2 * i, steps[i], dilations[i]);
        let full = (counts[i] - 1) * step + (kernel[i] - 1) * dilation + 1;
        y = op!(t, overlap(y; axis, full, step, dilation));
    }
    for i in 0..n {
        let p = paddings[i] as isize;
        y = pad_axis(t, y, 2 + i, (-p, more[i] as isize - p), "constant", 0.0);
    }
    let y = with_bias(c, y);
    unbatched(&mut c.t, y, added)
}

/// How many windows there are, and how far beyond the padding the last one reaches.
fn counted(n: usize, size: usize, step: usize, padding: usize, dilation: usize, ceil: bool) -> (usize, usize) {
    let reach = dilation * (size - 1) + 1;
    let room = n + 2 * padding - reach;
    let mut count = if ceil { room.div_ceil(step) } else { room / step } + 1;
    // A window must start within the elements or the padding before them.
    if ceil && (count - 1) * step >= n + padding {
        count -= 1;
    }
    (count, ((count - 1) * step + reach).saturating_sub(n + 2 * padding))
}

/// Padded such that windows fit, then cut to what they reach.
fn pooled(t: &mut Tape, mut x: T, p: &Pool, value: f64) -> T {
    let n = p.sizes.len();
    let outer = t.rank(x) - n;
    let mut counts = vec![];
    for i in 0..n {
        let size = t.shape(x)[outer + i];
        let (count, more) = counted(size, p.sizes[i], p.steps[i], p.paddings[i], p.dilations[i], p.ceil);
        counts.push(count);
        let (before, after) = (p.paddings[i] as isize, (p.paddings[i] + more) as isize);
        x = pad_axis(t, x, outer + i, (before, after), "constant", value);
    }
    windowed(t, x, &p.sizes, &p.steps, &p.dilations)
}

struct Pool {
    sizes: Vec<usize>,
    steps: Vec<usize>,
    paddings: Vec<usize>,
    dilations: Vec<usize>,
    ceil: bool,
}

fn pool(c: &Case<'_>, n: usize, ceil: usize) -> Pool {
    let sizes = c.each(0, "kernel_size", n, 1);
    let has_steps = c.ints(1, "stride").is_some_and(|s| !s.is_empty());
    let steps = if has_steps { c.each(1, "stride", n, 1) } else { sizes.clone() };
    let dilations = if ceil == 4 { c.each(3, "dilation", n, 1) } else { vec![1; n] };
    Pool { sizes, steps, paddings: c.each(2, "padding", n, 0), dilations, ceil: c.bool(ceil, "ceil_mode") }
}

fn window_axes(t: &Tape, x: T, n: usize) -> Vec<usize> {
    (t.rank(x) - n..t.rank(x)).collect()
}

fn avg_pool(c: &mut Case<'_>, n: usize) -> T {
    let (x, p) = (c.x(), pool(c, n, 3));
    let count_padding = c.arg(4, "count_include_pad").is_none_or(|b| b.as_bool() != Some(false));
    let divisor = c.number(5, "divisor_override");
    let t = &mut c.t;
    let windows = pooled(t, x, &p, 0.0);
    let axes = window_axes(t, windows, n);
    let total = sum_over(t, windows, &axes);
    if let Some(divisor) = divisor {
        return scale(t, total, 1.0 / divisor);
    }
    // What counts is in the elements, or also in the padding, but not what rounding up added.
    let mut shape = vec![1; t.rank(x)];
    let outer = shape.len() - n;
    shape[outer..].copy_from_slice(&t.shape(x)[outer..]);
    let ones = t.g.fill(1.0, &shape);
    let mut ones = t.push(ones);
    let mut q = Pool { paddings: p.paddings.clone(), ..p };
    if count_padding {
        for i in 0..n {
            let by = q.paddings[i] as isize;
            ones = pad_axis(t, ones, outer + i, (by, by), "constant", 1.0);
        }
        // The counts must not change: rounding up is decided on the elements.
        let (sizes, x_shape) = (t.shape(ones), t.shape(x));
        for i in 0..n {
            let (_, more) = counted(x_shape[outer + i], q.sizes[i], q.steps[i], q.paddings[i], 1, q.ceil);
            let cut = sizes[outer + i] + more;
            let after = (cut - sizes[outer + i]) as isize;
            ones = pad_axis(t, ones, outer + i, (0, after), "constant", 0.0);
        }
        q.paddings = vec![0; n];
        q.ceil = false;
    }
    let counts = pooled(t, ones, &q, 0.0);
    let axes = window_axes(t, counts, n);
    let counts = sum_over(t, counts, &axes);
    op!(t, div(total, counts))
}

fn max_pool(c: &mut Case<'_>, n: usize) -> Vec<T> {
    let (x, p) = (c.x(), pool(c, n, 4));
    let indices = c.bool(5, "return_indices");
    let t = &mut c.t;
    let windows = pooled(t, x, &p, f64::NEG_INFINITY);
    let axes = dims(&window_axes(t, windows, n));
    let y = op!(t, max_axes(windows; axes));
    if !indices {
        return vec![y];
    }
    // The number of each element within its plane, and the smallest of those that are the largest.
    let shape = t.shape(x);
    let outer = shape.len() - n;
    let plane = &shape[outer..];
    let place = t.g.iota(product(plane));
    let place = t.push(place);
    let place = op!(t, float(place));
    let place = reshaped(t, place, plane);
    let place = pooled(t, place, &p, 1e9);
    let largest = op!(t, max_keepdim(windows; axes));
    let is_largest = op!(t, eq(windows, largest));
    let none = t.push(1e9);
    let place = op!(t, select(is_largest, place, none));
    let first = op!(t, min_axes(place; axes));
    vec![y, op!(t, integer(first))]
}
