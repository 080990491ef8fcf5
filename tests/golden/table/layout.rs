//! Operations that move elements.

use super::Builder;
use super::case::{Case, dims, ints};
use super::tape::{Grads, T, Tape};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("reshape", |c| sized(c, "shape")),
    ("view", |c| sized(c, "shape")),
    ("broadcast_to", |c| expand(c)),
    ("expand", |c| expand(c)),
    ("flatten", |c| {
        let x = c.x();
        let (start, stop) = (c.int(0, "start_dim").unwrap_or(0), c.int(1, "end_dim").unwrap_or(-1));
        let (start, stop) = (c.axis(x, start), c.axis(x, stop));
        let mut shape = c.t.shape(x);
        if shape.is_empty() {
            shape.push(1);
        }
        let merged = shape[start..=stop].iter().product();
        shape.splice(start..=stop, [merged]);
        vec![reshaped(&mut c.t, x, &shape)]
    }),
    ("squeeze", |c| squeeze(c)),
    ("squeeze.multiple", |c| squeeze(c)),
    ("unsqueeze", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        vec![op!(c.t, unsqueeze(x; axis))]
    }),
    ("permute", |c| {
        let (x, axes) = (c.x(), ints(&c.sizes("dims")));
        vec![op!(c.t, permute(x; axes))]
    }),
    ("transpose", |c| {
        let (x, a, b) = (c.x(), c.int(0, "dim0").expect("an axis"), c.int(1, "dim1").expect("an axis"));
        if c.t.rank(x) == 0 {
            return vec![x];
        }
        vec![op!(c.t, transpose(x; a, b))]
    }),
    ("movedim", |c| {
        let x = c.x();
        let from = ints(&c.ints(0, "source").expect("axes"));
        let to = ints(&c.ints(1, "destination").expect("places"));
        vec![op!(c.t, movedim(x; from, to))]
    }),
    ("narrow", |c| {
        let (x, axis) = (c.x(), c.int(0, "dim").expect("an axis"));
        let (start, length) = (c.int(1, "start").expect("a start"), c.int(2, "length").expect("a length"));
        let at = c.axis(x, axis);
        let (start, length) = (c.axis_size(x, at, start), length as usize);
        vec![op!(c.t, narrow(x; axis, start, length))]
    }),
    ("slice", |c| {
        let x = c.x();
        let axis = c.axis(x, c.int(0, "dim").unwrap_or(0));
        let n = c.t.shape(x)[axis] as isize;
        let place = |i: isize| (if i < 0 { i + n } else { i }).clamp(0, n);
        let start = place(c.int(1, "start").unwrap_or(0));
        let stop = place(c.int(2, "end").unwrap_or(n)).max(start);
        let step = c.int(3, "step").unwrap_or(1);
        let x = op!(c.t, slice(x; axis, start, stop));
        vec![op!(c.t, stride(x; axis, step))]
    }),
    ("chunk", |c| {
        let (x, parts) = (c.x(), c.int(0, "chunks").expect("a number of parts") as usize);
        let axis = c.axis(x, c.int(1, "dim").unwrap_or(0));
        let n = c.t.shape(x)[axis];
        if !n.is_multiple_of(parts) {
            // The last part of PyTorch's is smaller, or there are fewer.
            let size = n.div_ceil(parts);
            return parted(c, x, n.div_ceil(size), size.into(), axis);
        }
        of_length!(parts, N => c.t.call_list(
            &[x],
            move |g, v| chunk::stage::<N>(g, v[0], axis).to_vec(),
            move |g, v, d| vec![chunk::grad::<N>(g, v[0], axis, array(d)).0],
        ))
    }),
    ("split", |c| divided(c)),
    ("split.list_args", |c| divided(c)),
    ("unbind", |c| {
        let x = c.x();
        let axis = c.axis(x, c.int(0, "dim").unwrap_or(0));
        let n = c.t.shape(x)[axis];
        of_length!(n, N => c.t.call_list(
            &[x],
            move |g, v| unbind::stage::<N>(g, v[0], axis).to_vec(),
            move |g, v, d| vec![unbind::grad::<N>(g, v[0], axis, array(d)).0],
        ))
    }),
    ("cat", |c| {
        let xs = c.xs();
        let axis = c.int(0, "dim").unwrap_or(0);
        vec![of_length!(xs.len(), N => c.t.call(
            &xs,
            move |g, v| concat::stage::<N>(g, array(v), axis),
            move |g, v, d| concat::grad::<N>(g, array(v), axis, d).0.to_vec(),
        ))]
    }),
    ("stack", |c| {
        let xs = c.xs();
        let axis = c.int(0, "dim").unwrap_or(0);
        vec![of_length!(xs.len(), N => c.t.call(
            &xs,
            move |g, v| stack::stage::<N>(g, array(v), axis),
            move |g, v, d| stack::grad::<N>(g, array(v), axis, d).0.to_vec(),
        ))]
    }),
    ("flip", |c| {
        let mut x = c.x();
        for axis in c.sizes("dims") {
            if c.t.rank(x) > 0 {
                x = op!(c.t, flip(x; axis));
            }
        }
        vec![x]
    }),
    ("roll", |c| {
        let mut x = c.x();
        let by = c.ints(0, "shifts").expect("shifts");
        match c.ints(1, "dims") {
            Some(axes) => {
                for (&axis, &by) in axes.iter().zip(&by) {
                    if c.t.rank(x) > 0 {
                        x = op!(c.t, roll(x; axis, by));
                    }
                }
                vec![x]
            }
            None => {
                let (shape, by) = (c.t.shape(x), by[0]);
                let flat = reshaped(&mut c.t, x, &[shape.iter().product()]);
                let rolled = op!(c.t, roll(flat; 0, by));
                vec![reshaped(&mut c.t, rolled, &shape)]
            }
        }
    }),
    ("repeat", |c| {
        let (mut x, times) = (c.x(), c.sizes("repeats"));
        let mut shape = c.t.shape(x);
        while shape.len() < times.len() {
            shape.insert(0, 1);
        }
        x = reshaped(&mut c.t, x, &shape);
        for (axis, &n) in times.iter().enumerate() {
            x = op!(c.t, repeat(x; axis, n));
        }
        vec![x]
    }),
    ("tril", |c| triangle(c, true)),
    ("triu", |c| triangle(c, false)),
    ("nn.functional.pad.constant", |c| padded(c)),
    ("nn.functional.pad.circular", |c| padded(c)),
    ("nn.functional.pad.reflect", |c| padded(c)),
    ("nn.functional.pad.replicate", |c| padded(c)),
];

pub fn reshaped(t: &mut Tape, x: T, shape: &[usize]) -> T {
    let shape = dims(shape);
    op!(t, reshape(x; shape))
}

fn sized(c: &mut Case<'_>, name: &str) -> Vec<T> {
    let (x, shape) = (c.x(), ints(&c.sizes(name)));
    vec![op!(c.t, reshape(x; shape))]
}

fn expand(c: &mut Case<'_>) -> Vec<T> {
    let (x, sizes) = (c.x(), ints(&c.sizes("size")));
    vec![op!(c.t, broadcast_to(x; sizes))]
}

fn squeeze(c: &mut Case<'_>) -> Vec<T> {
    let x = c.x();
    let shape = c.t.shape(x);
    let axes: Vec<usize> = match c.ints(0, "dim") {
        Some(list) => list.into_iter().map(|axis| c.axis(x, axis)).collect(),
        None => (0..shape.len()).collect(),
    };
    // PyTorch leaves the others as they are.
    let ones = dims(&axes.into_iter().filter(|&axis| shape.get(axis) == Some(&1)).collect::<Vec<_>>());
    vec![op!(c.t, squeeze(x; ones))]
}

fn divided(c: &mut Case<'_>) -> Vec<T> {
    let x = c.x();
    let axis = c.axis(x, c.int(1, "dim").unwrap_or(0));
    let names = ["split_size_or_sections", "split_size", "split_sizes"];
    if let Some(size) = names.iter().find_map(|name| c.int(0, name)) {
        let n = c.t.shape(x)[axis];
        return parted(c, x, n.div_ceil(size as usize), size.into(), axis);
    }
    let sizes = names.iter().find_map(|name| c.ints(0, name)).expect("sizes");
    parted(c, x, sizes.len(), ints(&sizes), axis)
}

/// The parts of an axis, `n` of them, by their sizes.
fn parted(c: &mut Case<'_>, x: T, n: usize, sizes: Value, axis: usize) -> Vec<T> {
    of_length!(n, N => c.t.call_list(
        &[x],
        move |g, v| split::stage::<N>(g, v[0], sizes, axis).to_vec(),
        move |g, v, d| vec![split::grad::<N>(g, v[0], sizes, axis, array(d)).0],
    ))
}

fn array<X: Copy, const N: usize>(list: &[X]) -> [X; N] {
    std::array::from_fn(|i| list[i])
}

fn triangle(c: &mut Case<'_>, lower: bool) -> Vec<T> {
    let (x, diagonal) = (c.x(), c.int(0, "diagonal").unwrap_or(0));
    vec![if lower { op!(c.t, tril(x; diagonal)) } else { op!(c.t, triu(x; diagonal)) }]
}

fn padded(c: &mut Case<'_>) -> Vec<T> {
    let mut x = c.x();
    let list = c.ints(0, "pad").expect("sizes");
    let mode = c.text(1, "mode").unwrap_or("constant").to_owned();
    let value = c.number(2, "value").unwrap_or(0.0);
    let rank = c.t.rank(x);
    // The sizes come for the last axis first. An axis that is cut is cut first.
    for (i, pair) in list.chunks(2).enumerate() {
        let axis = rank - 1 - i;
        x = pad_axis(&mut c.t, x, axis, (pair[0], pair[1]), &mode, value);
    }
    vec![x]
}

/// One axis padded; negative sizes cut.
fn pad_axis(t: &mut Tape, x: T, axis: usize, (before, after): (isize, isize), mode: &str, value: f64) -> T {
    let n = t.shape(x)[axis] as isize;
    let (more, last) = (before.max(0), after.max(0));
    let cut = |t: &mut Tape, x: T, n: isize| op!(t, slice(x; axis, (-before).max(0), n + after.min(0)));
    // What wraps around is what remains of an axis that is cut; what is mirrored may be cut after that.
    match mode {
        "constant" => {
            let x = cut(t, x, n);
            op!(t, pad_constant(x; axis, more, last, value as f32))
        }
        "circular" => {
            let x = cut(t, x, n);
            op!(t, pad_circular(x; axis, more, last))
        }
        "replicate" => {
            let x = op!(t, pad_replicate(x; axis, more, last));
            cut(t, x, n + more + last)
        }
        _ => {
            let x = op!(t, pad_reflect(x; axis, more, last));
            cut(t, x, n + more + last)
        }
    }
}
