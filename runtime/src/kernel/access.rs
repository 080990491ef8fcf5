//! Seeing through views: which element of which value an operation reads.

use super::place::Layout;
use crate::graph::{Graph, Op, Var};

/// The elements of `base` as they are read under another shape: element `offset` plus the sum of
/// place times stride over the axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) base: Var,
    pub(super) offset: isize,
    pub(super) strides: Vec<isize>,
}

/// The strides of a shape whose elements lie one behind the other; zero along axes of size one.
pub(crate) fn dense(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = if size == 1 { 0 } else { step };
        step *= size as isize;
    }
    strides
}

/// The strides of a dense shape, also along axes of size one.
pub(super) fn steps(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// Follows views from `v` down to the value in memory. `None` where a reshape cannot be expressed as
/// strides.
pub(super) fn access(graph: &Graph, v: Var, layout: &Layout) -> Option<Access> {
    if layout.is_copied(v) { layout.own(graph, v) } else { shown(graph, v, layout) }
}

/// The same, though `v` may be a value in memory of its own: what it shows of another.
pub(super) fn shown(graph: &Graph, v: Var, layout: &Layout) -> Option<Access> {
    let node = &graph[v];
    let inner = || access(graph, node.args[0], layout);
    match &node.op {
        Op::Within(_) | Op::Checked(_) => inner(),
        Op::Broadcast => {
            let mut a = inner()?;
            for (stride, &size) in a.strides.iter_mut().zip(&graph[node.args[0]].shape) {
                if size == 1 {
                    *stride = 0;
                }
            }
            Some(a)
        }
        Op::Transpose(axes) => {
            let mut a = inner()?;
            a.strides = axes.iter().map(|&axis| a.strides[axis]).collect();
            Some(a)
        }
        Op::Slice(window) => {
            let mut a = inner()?;
            for (stride, &(start, step)) in a.strides.iter_mut().zip(window) {
                a.offset += *stride * start as isize;
                *stride *= step;
            }
            for (stride, &size) in a.strides.iter_mut().zip(&node.shape) {
                if size == 1 {
                    *stride = 0;
                }
            }
            Some(a)
        }
        Op::Windows { axis, start, step, dilation } => {
            let mut a = inner()?;
            let stride = a.strides[*axis];
            a.offset += stride * *start as isize;
            a.strides.splice(*axis..=*axis, [stride * step, stride * dilation]);
            for (stride, &size) in a.strides.iter_mut().zip(&node.shape) {
                if size == 1 {
                    *stride = 0;
                }
            }
            Some(a)
        }
        Op::Reshape => {
            let mut a = inner()?;
            a.strides = reshaped(&graph[node.args[0]].shape, &a.strides, &node.shape)?;
            Some(a)
        }
        _ => layout.own(graph, v),
    }
}

/// Whether a node only shows elements of another in another order.
pub(super) fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Within(_)
            | Op::Checked(_)
            | Op::Broadcast
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Windows { .. }
            | Op::Reshape
    )
}

/// Strides that read the elements of one shape under another of the same length, if there are any.
pub(crate) fn reshaped(from: &[usize], strides: &[isize], to: &[usize]) -> Option<Vec<isize>> {
    let from: Vec<(usize, isize)> =
        from.iter().copied().zip(strides.iter().copied()).filter(|(size, _)| *size != 1).collect();
    let mut out = vec![0; to.len()];
    let (mut i, mut j) = (from.len(), to.len());
    // Both shapes are cut, from the innermost axis on, into runs of the same length.
    while i > 0 || j > 0 {
        if j > 0 && to[j - 1] == 1 {
            j -= 1;
            continue;
        }
        if i == 0 || j == 0 {
            return None;
        }
        let (stop_i, stop_j) = (i, j);
        i -= 1;
        j -= 1;
        let (mut have, mut want) = (from[i].0, to[j]);
        while have != want {
            if have < want {
                i = i.checked_sub(1)?;
                have *= from[i].0;
            } else {
                j = j.checked_sub(1)?;
                want *= to[j];
            }
        }
        let together = from[i..stop_i].windows(2).all(|w| w[0].1 == w[1].1 * w[1].0 as isize);
        if !together {
            return None;
        }
        let mut stride = from[stop_i - 1].1;
        for axis in (j..stop_j).rev() {
            out[axis] = if to[axis] == 1 { 0 } else { stride };
            stride *= to[axis] as isize;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_strides_skip_axes_of_size_one() {
        assert_eq!(dense(&[2, 1, 3]), [3, 0, 1]);
    }

    #[test]
    fn a_reshape_of_contiguous_axes_is_a_view() {
        assert_eq!(reshaped(&[2, 6], &[6, 1], &[2, 3, 2]), Some(vec![6, 2, 1]));
        assert_eq!(reshaped(&[2, 3, 4], &[12, 4, 1], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshaped(&[6], &[1], &[1, 6, 1]), Some(vec![0, 1, 0]));
        assert_eq!(reshaped(&[1, 6], &[0, 0], &[2, 3]), Some(vec![0, 0]));
    }

    #[test]
    fn a_reshape_across_a_transposition_is_none() {
        assert_eq!(reshaped(&[3, 2], &[1, 3], &[6]), None);
        assert_eq!(reshaped(&[3, 2], &[1, 3], &[3, 2, 1]), Some(vec![1, 3, 0]));
    }
}
