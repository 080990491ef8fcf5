//! Contractions as matrix products over views.
//!
//! Every letter of a contraction is an axis with a stride in each operand. Those of the result that lie in
//! one operand only are rows or columns, those of both are pairs of matrices, and what the result lacks is
//! summed over. A kernel has one axis of rows and one of columns, all other axes are loops around it.

use super::MatMul;
use super::access::{access, is_view};
use super::fuse::Fusion;
use super::place::Layout;
use crate::graph::{Contraction, Graph, Var};

/// A letter: its size and its strides in the left argument, the right one and the result.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    strides: [isize; 3],
}

/// The axes of each kind, outermost first; those that lie one behind the other in all operands are one.
#[derive(Default)]
struct Axes {
    pairs: Vec<Axis>,
    rows: Vec<Axis>,
    columns: Vec<Axis>,
    sums: Vec<Axis>,
}

/// The product that computes contraction `v`, and whether its left matrix is the right argument.
pub(super) fn product(fusion: &Fusion<'_>, v: Var, letters: &Contraction) -> (MatMul, bool) {
    let mut axes = Axes::of(fusion, v, letters);
    // The kernel's vectors go along columns of the result.
    let swapped = axes.rows.iter().any(|axis| axis.strides[2] == 1);
    if swapped {
        std::mem::swap(&mut axes.rows, &mut axes.columns);
        let all = [&mut axes.pairs, &mut axes.rows, &mut axes.columns, &mut axes.sums];
        all.into_iter().flatten().for_each(|axis| axis.strides.swap(0, 1));
    }
    (axes.product(), swapped)
}

/// The view that must be a value of its own for vectors to have something to go along: contiguous columns,
/// or contiguous elements of both arguments that are summed over.
pub(super) fn scattered(graph: &Graph, v: Var, letters: &Contraction, layout: &Layout) -> Option<Var> {
    let node = &graph[v];
    let strides = |i: usize| access(graph, node.args[i], layout).map(|a| a.strides);
    let (left, right) = (strides(0)?, strides(1)?);
    let place = |names: &[u8], letter: &u8| names.iter().position(|name| name == letter);
    let dots = letters.left.iter().filter(|letter| !letters.result.contains(letter)).any(|letter| {
        let places = (place(&letters.left, letter), place(&letters.right, letter));
        matches!(places, (Some(i), Some(j)) if left[i] == 1 && right[j] == 1)
    });
    let columns = letters.result.iter().zip(&node.shape).rev().find(|(_, size)| **size != 1)?.0;
    let (arg, stride) = match (place(&letters.left, columns), place(&letters.right, columns)) {
        (Some(i), None) => (node.args[0], left[i]),
        (None, Some(j)) => (node.args[1], right[j]),
        _ => return None,
    };
    (!dots && stride != 1 && is_view(&graph[arg].op)).then_some(arg)
}

impl Axes {
    fn of(fusion: &Fusion<'_>, v: Var, letters: &Contraction) -> Axes {
        let node = &fusion.graph[v];
        let operands = [node.args[0], node.args[1], v].map(|v| (fusion.access(v).strides, &fusion.graph[v].shape));
        let names = [&letters.left, &letters.right, &letters.result];
        let mut axes = Axes::default();
        // In the order of the result, then that of the left argument.
        for (i, letter) in letters.result.iter().chain(&letters.left).enumerate() {
            if i >= letters.result.len() && letters.result.contains(letter) {
                continue;
            }
            let places = names.map(|names| names.iter().position(|name| name == letter));
            let mut axis = Axis { size: 1, strides: [0; 3] };
            for (i, place) in places.into_iter().enumerate() {
                if let Some(place) = place {
                    axis.size = axis.size.max(operands[i].1[place]);
                    axis.strides[i] = operands[i].0[place];
                }
            }
            if axis.size == 1 {
                continue;
            }
            let group = match places.map(|place| place.is_some()) {
                [_, _, false] => &mut axes.sums,
                [true, true, true] => &mut axes.pairs,
                [true, false, true] => &mut axes.rows,
                _ => &mut axes.columns,
            };
            match group.last_mut() {
                Some(outer) if (0..3).all(|i| outer.strides[i] == axis.strides[i] * axis.size as isize) => {
                    *outer = Axis { size: outer.size * axis.size, ..axis };
                }
                _ => group.push(axis),
            }
        }
        axes
    }

    fn product(mut self) -> MatMul {
        // A kernel sums over one axis and a few around it; vectors may go along it if it is contiguous.
        let along = self.sums.iter().position(|axis| axis.strides[..2] == [1, 1]);
        let inner = match along {
            Some(place) => self.sums.remove(place),
            None => self.sums.pop().unwrap_or(Axis { size: 1, strides: [1, 1, 0] }),
        };
        let columns = take(&mut self.columns, |axis| axis.strides[2] == 1);
        let rows = take(&mut self.rows, |_| true);
        MatMul {
            m: rows.size,
            n: columns.size,
            k: inner.size,
            strides: [
                [rows.strides[0], inner.strides[0]],
                [inner.strides[1], columns.strides[1]],
                [rows.strides[2], columns.strides[2].max(1)],
            ],
            sums: self.sums.iter().map(|axis| (axis.size, [axis.strides[0], axis.strides[1]])).collect(),
            batch: self.pairs.iter().chain(&self.rows).chain(&self.columns).map(|a| (a.size, a.strides)).collect(),
            whole: false,
        }
    }
}

/// The longest of the axes that will do; one of size one if there is none.
fn take(axes: &mut Vec<Axis>, will_do: impl Fn(&Axis) -> bool) -> Axis {
    let best = (0..axes.len()).filter(|&i| will_do(&axes[i])).max_by_key(|&i| axes[i].size);
    best.map_or(Axis { size: 1, strides: [0; 3] }, |i| axes.remove(i))
}
