//! Seeing through views: which element of which value an operation reads.

use super::place::Layout;
use crate::graph::op::Class;
use crate::graph::strides::reshaped;
use crate::graph::{Graph, Node, Op, Var};

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
    // As many views as there may be are followed in a loop, not by calls.
    let (mut views, mut base) = (Vec::new(), v);
    while graph[base].op.is(Class::View) && (views.is_empty() || !layout.is_copied(base)) {
        views.push(base);
        base = graph[base].args[0];
    }
    let mut a = layout.own(graph, base)?;
    for view in views.into_iter().rev() {
        a.look_through(&graph[view], &graph[graph[view].args[0]].shape)?;
    }
    Some(a)
}

impl Access {
    /// What is read of the same value through a view of something of this shape.
    fn look_through(&mut self, view: &Node, shape: &[usize]) -> Option<()> {
        let mut is_one: &[usize] = &[];
        match &view.op {
            Op::Broadcast => is_one = shape,
            Op::Transpose(axes) => self.strides = axes.iter().map(|&axis| self.strides[axis]).collect(),
            // A step along an axis of one element may be any number: its stride is zero in the end.
            Op::Slice(window) => {
                for (stride, &(start, step)) in self.strides.iter_mut().zip(window) {
                    self.offset += *stride * start as isize;
                    *stride = stride.wrapping_mul(step);
                }
                is_one = &view.shape;
            }
            Op::Windows { axis, start, step, dilation } => {
                let stride = self.strides[*axis];
                self.offset += stride * *start as isize;
                self.strides.splice(*axis..=*axis, [stride.wrapping_mul(*step), stride.wrapping_mul(*dilation)]);
                is_one = &view.shape;
            }
            Op::Reshape => self.strides = reshaped(shape, &self.strides, &view.shape)?,
            _ => {}
        }
        for (stride, &size) in self.strides.iter_mut().zip(is_one) {
            if size == 1 {
                *stride = 0;
            }
        }
        Some(())
    }
}
