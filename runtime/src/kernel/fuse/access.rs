//! Seeing through views: which element of which value an operation reads.

use super::place::Layout;
use crate::graph::strides::reshaped;
use crate::graph::{Graph, Op, Var};

/// The elements of `base` as they are read under another shape: element `offset` plus the sum of
/// place times stride over the axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) base: Var,
    pub(crate) offset: isize,
    pub(crate) strides: Vec<isize>,
}

/// Follows views from `v` down to the value in memory. `None` where a reshape cannot be expressed as
/// strides.
pub(crate) fn access(graph: &Graph, v: Var, layout: &Layout) -> Option<Access> {
    if layout.is_copied(v) { layout.own(graph, v) } else { shown(graph, v, layout) }
}

/// The same, though `v` may be a value in memory of its own: what it shows of another.
pub(crate) fn shown(graph: &Graph, v: Var, layout: &Layout) -> Option<Access> {
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
