//! Axes of another size: interpolation and adaptive pooling.

use super::Builder;
use super::case::Case;
use super::tape::{Grads, T};
use downhill::prelude::*;

pub const TABLE: &[(&str, Builder)] = &[
    ("nn.functional.interpolate.bilinear", |c| interpolate(c)),
    ("nn.functional.interpolate.linear", |c| interpolate(c)),
    ("nn.functional.interpolate.nearest", |c| interpolate(c)),
    ("nn.functional.interpolate.nearest-exact", |c| interpolate(c)),
    ("nn.functional.adaptive_avg_pool1d", |c| {
        let (x, [size]) = adaptive(c);
        vec![op!(c.t, adaptive_avg_pool1d(x; size))]
    }),
    ("nn.functional.adaptive_avg_pool2d", |c| {
        let (x, [height, width]) = adaptive(c);
        vec![op!(c.t, adaptive_avg_pool2d(x; height, width))]
    }),
];

/// The sizes of the last axes; where none is given, an axis keeps its own.
fn adaptive<const N: usize>(c: &Case<'_>) -> (T, [usize; N]) {
    let x = c.x();
    let shape = c.t.shape(x);
    let size = c.arg(0, "output_size");
    let sizes = std::array::from_fn(|i| {
        let size = size.and_then(|size| if size.is_array() { size.get(i) } else { Some(size) });
        size.and_then(|n| n.as_u64()).map_or(shape[shape.len() - N + i], |n| n as usize)
    });
    (x, sizes)
}

fn interpolate(c: &mut Case<'_>) -> Vec<T> {
    let mut x = c.x();
    let shape = c.t.shape(x);
    let n = shape.len() - 2;
    let sizes = c.ints(0, "size").map(|_| c.each(0, "size", n, 1));
    let scales: Vec<f64> = match c.arg(1, "scale_factor") {
        Some(serde_json::Value::Array(list)) => list.iter().map(|x| x.as_f64().expect("a number")).collect(),
        Some(scale) => vec![scale.as_f64().expect("a number"); n],
        None => vec![],
    };
    let mode = c.text(2, "mode").unwrap_or("nearest").to_owned();
    let (align_corners, recompute) = (c.bool(3, "align_corners"), c.bool(4, "recompute_scale_factor"));
    for i in 0..n {
        let axis = i + 2;
        // A scale that is given counts, not the one of the sizes, unless it is to be computed again.
        let (size, scale) = match &sizes {
            Some(sizes) => (sizes[i], 0.0),
            None => ((shape[axis] as f64 * scales[i]) as usize, if recompute { 0.0 } else { scales[i] as f32 }),
        };
        x = match mode.as_str() {
            "nearest" => op!(c.t, resize_nearest(x; axis, size, scale)),
            "nearest-exact" => op!(c.t, resize_nearest_exact(x; axis, size, scale)),
            _ => op!(c.t, resize_linear(x; axis, size, align_corners, scale)),
        };
    }
    vec![x]
}
