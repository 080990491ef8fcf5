//! Views resolved to memory: which element of which stored value an operation reads.

use super::layout::Layout;
use crate::graph::op::Class;
use crate::graph::strides::reshaped;
use crate::graph::{Graph, Node, Op, Var};

/// A strided view of the value `base`: the element at some indices is element `offset` of `base` plus the sum of
/// index times stride over the axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) base: Var,
    pub(crate) offset: isize,
    pub(crate) strides: Vec<isize>,
}

/// The stored value that `v` is, or is a view of. `None` where a reshape cannot be expressed as strides.
pub(crate) fn resolve(graph: &Graph, v: Var, layout: &Layout) -> Option<View> {
    if layout.is_copied(v) { layout.own(graph, v) } else { resolve_view(graph, v, layout) }
}

/// The same for a view `v` that is copied: the value that the copy reads.
pub(crate) fn resolve_view(graph: &Graph, v: Var, layout: &Layout) -> Option<View> {
    // A loop, not recursion: there may be any number of views of views.
    let (mut nodes, mut base) = (Vec::new(), v);
    while graph[base].op.is(Class::View) && (nodes.is_empty() || !layout.is_copied(base)) {
        nodes.push(base);
        base = graph[base].args[0];
    }
    let mut view = layout.own(graph, base)?;
    for node in nodes.into_iter().rev() {
        view.compose(&graph[node], &graph[graph[node].args[0]].shape)?;
    }
    Some(view)
}

impl View {
    /// Applies a view operation to a view of this shape. `None` if strides cannot express the result.
    fn compose(&mut self, node: &Node, shape: &[usize]) -> Option<()> {
        // Axes of size one have stride zero.
        let mut sizes: &[usize] = &[];
        match &node.op {
            Op::Broadcast => sizes = shape,
            Op::Transpose(axes) => self.strides = axes.iter().map(|&axis| self.strides[axis]).collect(),
            // A step along an axis of size one may be any number: the stride of the axis is zero in the end.
            Op::Slice(window) => {
                for (stride, &(start, step)) in self.strides.iter_mut().zip(window) {
                    self.offset += *stride * start as isize;
                    *stride = stride.wrapping_mul(step);
                }
                sizes = &node.shape;
            }
            Op::Windows { axis, start, step, dilation } => {
                let stride = self.strides[*axis];
                self.offset += stride * *start as isize;
                self.strides.splice(*axis..=*axis, [stride.wrapping_mul(*step), stride.wrapping_mul(*dilation)]);
                sizes = &node.shape;
            }
            Op::Reshape => self.strides = reshaped(shape, &self.strides, &node.shape)?,
            _ => {}
        }
        self.strides.iter_mut().zip(sizes).filter(|(_, size)| **size == 1).for_each(|(stride, _)| *stride = 0);
        Some(())
    }
}
