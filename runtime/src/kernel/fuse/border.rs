//! The zeros around a padded value, as seen through views of it.
//!
//! A convolution pads its image with zeros. Products with these zeros need not be computed: of a view of the image it
//! is known which indices lie on the padding.

use std::ops::Range;

use crate::graph::strides::steps;
use crate::graph::{Graph, Op, Var};

/// The condition for an element of a view not to lie on the padding: the indices along some axes, each times a step,
/// add up to a number in this range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Each axis and its step.
    pub(crate) axes: Vec<(usize, isize)>,
    pub(crate) range: Range<isize>,
}

/// The conditions on the elements of a view that are not padding; each of them must hold.
pub(crate) fn inside(graph: &Graph, v: Var) -> Vec<Inside> {
    let node = &graph[v];
    let Some(&arg) = node.args.first() else { return vec![] };
    let from = &graph[arg].shape;
    if let Op::Pad(before) = &node.op {
        let padded = (0..from.len()).filter(|&i| from[i] != node.shape[i]);
        return padded
            .map(|i| {
                let first = before[i] as isize;
                Inside { axes: vec![(i, 1)], range: first..first + from[i] as isize }
            })
            .collect();
    }
    inside(graph, arg).into_iter().filter_map(|of_arg| through(&node.op, (from, &node.shape), of_arg)).collect()
}

/// The condition on the argument of a view of shape `from`, as a condition on the view, which has shape `to`.
fn through(op: &Op, (from, to): (&[usize], &[usize]), Inside { axes, range }: Inside) -> Option<Inside> {
    let shifted = |by: isize| range.start - by..range.end - by;
    let (axes, range) = match op {
        Op::Within(_) => (axes, range),
        Op::Transpose(order) => {
            let moved = |(axis, step)| Some((order.iter().position(|&i| i == axis)?, step));
            (axes.into_iter().map(moved).collect::<Option<_>>()?, range)
        }
        Op::Slice(window) => {
            let start = axes.iter().map(|&(i, step)| step * window[i].0 as isize).sum();
            (axes.iter().map(|&(i, step)| (i, step * window[i].1)).collect(), shifted(start))
        }
        Op::Windows { axis: cut, start, step, dilation } => {
            let moved = axes.iter().flat_map(|&(i, by)| match i == *cut {
                true => vec![(i, by * step), (i + 1, by * dilation)],
                false => vec![(i + (i > *cut) as usize, by)],
            });
            let start = axes.iter().filter(|(i, _)| i == cut).map(|(_, by)| by * *start as isize).sum();
            (moved.collect(), shifted(start))
        }
        Op::Reshape => {
            // Only an axis that both shapes have, with the same stride.
            let (old, new) = (steps(from), steps(to));
            let moved = |(i, step): (usize, isize)| {
                let same = |&j: &usize| (to[j], new[j]) == (from[i], old[i]);
                Some(((0..to.len()).find(same)?, step))
            };
            (axes.into_iter().map(moved).collect::<Option<_>>()?, range)
        }
        _ => return None,
    };
    Some(Inside { axes, range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Stage;
    use crate::shape::DType;

    #[test]
    fn views_of_a_padded_image_know_its_zeros() {
        let mut g = Stage::new();
        let x = g.input(0, &[3, 5, 4], DType::F32);
        let one = g.fill(1.0, &[3, 5, 4]);
        let x = g.binary(crate::ir::elementwise::Binary::Add, x, one);
        let padded = g.pad(x, &[0, 2, 1], &[3, 8, 7]);
        let grouped = g.reshape(padded, &[1, 3, 8, 7]);
        let windows = g.windows(grouped, 2, 0, (3, 2), (2, 3));
        let view = g.transpose(windows, &[0, 4, 2, 1, 3]);
        let at = |v: Var, place: &[usize]| {
            inside(g.graph(), v).iter().all(|inside| {
                let sum = inside.axes.iter().map(|&(axis, step)| place[axis] as isize * step).sum();
                inside.range.contains(&sum)
            })
        };
        assert_eq!(inside(g.graph(), view).len(), 2);
        // Axes of the view: one, columns, windows, channels, places of a window.
        for column in 0..7 {
            for window in 0..3 {
                for place in 0..2 {
                    let row = 2 * window + 3 * place;
                    let expected = (2..7).contains(&row) && (1..5).contains(&column);
                    assert_eq!(at(view, &[0, column, window, 1, place]), expected, "{column} {window} {place}");
                }
            }
        }
        let cut = g.slice(padded, &[(0, 1), (7, -1), (0, 1)], &[3, 8, 7]);
        assert_eq!(inside(g.graph(), cut).iter().map(|i| i.range.clone()).collect::<Vec<_>>(), [-5..0, 1..5]);
        assert!(inside(g.graph(), x).is_empty());
    }
}
