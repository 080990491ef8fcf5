//! Contractions lowered to matrix products over views.
//!
//! Every letter of a contraction is an axis with a stride in each operand. A letter of the result that is in one
//! argument only is an axis of rows or of columns; a letter of the result that is in both arguments goes over pairs of
//! matrices; a letter that the result lacks is summed over. A product kernel has one axis of rows, one of columns and
//! one of terms; the other axes are loops around the kernel.

use std::ops::Range;

use crate::graph::strides::dense;
use crate::graph::{Contraction, Graph, Var};
use crate::ir::Level;
use crate::ir::product::{Border, MatMul, cost};
use crate::kernel::fuse::border::{Inside, inside};
use crate::kernel::fuse::group::Fusion;

/// A letter of a contraction: its size, and its strides in the left argument, the right argument and the result.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// `None` if several letters were merged in one axis.
    letter: Option<u8>,
    size: usize,
    strides: [isize; 3],
}

impl Axis {
    /// An axis of size one.
    fn one(strides: [isize; 3]) -> Axis {
        Axis { letter: None, size: 1, strides }
    }
}

/// The axes of each kind, outermost first. Adjacent axes that are contiguous in all operands are merged.
#[derive(Default)]
struct Axes {
    pairs: Vec<Axis>,
    rows: Vec<Axis>,
    columns: Vec<Axis>,
    sums: Vec<Axis>,
    borders: Vec<Nonzero>,
}

/// The condition for a product of elements not to have a factor on the padding of an argument: a letter of the result
/// and a letter that is summed over, a step along each, and the range of the sum of the two indices times their steps.
type Nonzero = ([u8; 2], [isize; 2], Range<isize>);

/// The conditions that follow from the padding of the arguments of a contraction.
fn borders(graph: &Graph, v: Var, letters: &Contraction) -> Vec<Nonzero> {
    let args = graph[v].args.iter().zip([&letters.left, &letters.right]);
    let insides = args.flat_map(|(&arg, names)| inside(graph, arg).into_iter().map(move |inside| (inside, names)));
    insides
        .filter_map(|(Inside { axes, range }, names)| {
            let [x, y] = axes.as_slice().try_into().ok()?;
            let pair = |x: (usize, isize), y: (usize, isize)| {
                let kept = |axis: usize| letters.result.contains(&names[axis]);
                (kept(x.0) && !kept(y.0)).then_some(([names[x.0], names[y.0]], [x.1, y.1]))
            };
            let (letters, steps) = pair(x, y).or_else(|| pair(y, x))?;
            Some((letters, steps, range))
        })
        .collect()
}

/// A contraction lowered to matrix products.
pub(crate) struct LoweredContraction {
    pub(crate) product: MatMul,
    /// Whether the left matrix is the right argument.
    pub(crate) swapped: bool,
    /// The argument that is copied first, and the strides of its axes in the copy.
    pub(crate) copy: Option<(usize, Vec<isize>)>,
}

/// The cost of copying an element, in vector instructions: a load and a store, scattered at one end.
const COPY_COST: usize = 2;

impl LoweredContraction {
    /// Contraction `v` with vectors along the axis for which it takes the fewest instructions.
    pub(crate) fn new(fusion: &Fusion<'_>, v: Var, letters: &Contraction, level: Level) -> LoweredContraction {
        let args = [(0, &letters.left, &letters.right), (1, &letters.right, &letters.left)];
        let own = args.into_iter().flat_map(|(arg, own, other)| {
            let own = own.iter().enumerate().filter(|(_, l)| letters.result.contains(l) && !other.contains(l));
            own.map(move |(axis, _)| (arg, axis))
        });
        let mut best = LoweredContraction::along_columns(fusion, v, letters);
        let mut least = best.cost(fusion, v, level);
        for (arg, axis) in own {
            let lowered = LoweredContraction::along_axis(fusion, v, letters, (arg, axis));
            let cost = lowered.cost(fusion, v, level);
            if cost < least {
                (best, least) = (lowered, cost);
            }
        }
        best
    }

    /// With vectors along the columns of the result.
    fn along_columns(fusion: &Fusion<'_>, v: Var, letters: &Contraction) -> LoweredContraction {
        let mut axes = Axes::of(fusion, v, letters, strides(fusion, v));
        let swapped = axes.rows.iter().any(|axis| axis.strides[2] == 1);
        if swapped {
            axes.swap();
        }
        LoweredContraction { product: axes.product(|axis| axis.strides[2] == 1), swapped, copy: None }
    }

    /// With vectors along an axis of an argument, which is copied if its elements are not contiguous along the axis.
    fn along_axis(
        fusion: &Fusion<'_>,
        v: Var,
        letters: &Contraction,
        (arg, axis): (usize, usize),
    ) -> LoweredContraction {
        let mut strides = strides(fusion, v);
        let mut copy = None;
        if strides[arg][axis] != 1 {
            // In the copy the axis is the last one.
            let mut shape = fusion.graph[fusion.graph[v].args[arg]].shape.clone();
            let size = shape.remove(axis);
            shape.push(size);
            let mut moved = dense(&shape);
            let last = moved.pop().unwrap_or(1);
            moved.insert(axis, last);
            strides[arg] = moved.clone();
            copy = Some((arg, moved));
        }
        let mut axes = Axes::of(fusion, v, letters, strides);
        if arg == 0 {
            axes.swap();
        }
        LoweredContraction { product: axes.product(|axis| axis.strides[1] == 1), swapped: arg == 0, copy }
    }

    /// An estimate in vector instructions.
    fn cost(&self, fusion: &Fusion<'_>, v: Var, level: Level) -> usize {
        let copied = self.copy.as_ref().map_or(0, |(arg, _)| fusion.graph[fusion.graph[v].args[*arg]].len());
        cost(&self.product, level) + COPY_COST * copied
    }
}

/// The strides of the left argument, the right argument and the result of a contraction.
fn strides(fusion: &Fusion<'_>, v: Var) -> [Vec<isize>; 3] {
    let args = &fusion.graph[v].args;
    [args[0], args[1], v].map(|v| fusion.view(v).strides)
}

impl Axes {
    fn of(fusion: &Fusion<'_>, v: Var, letters: &Contraction, strides: [Vec<isize>; 3]) -> Axes {
        let node = &fusion.graph[v];
        let shapes = [node.args[0], node.args[1], v].map(|v| &fusion.graph[v].shape);
        let names = [&letters.left, &letters.right, &letters.result];
        let mut axes = Axes { borders: borders(fusion.graph, v, letters), ..Axes::default() };
        // Letters in the order of the result, then those that are summed over, in the order of the left argument.
        for (i, letter) in letters.result.iter().chain(&letters.left).enumerate() {
            if i >= letters.result.len() && letters.result.contains(letter) {
                continue;
            }
            let positions = names.map(|names| names.iter().position(|name| name == letter));
            let mut axis = Axis { letter: Some(*letter), ..Axis::one([0; 3]) };
            for (i, position) in positions.into_iter().enumerate() {
                if let Some(position) = position {
                    axis.size = axis.size.max(shapes[i][position]);
                    axis.strides[i] = strides[i][position];
                }
            }
            if axis.size == 1 {
                continue;
            }
            let group = match positions.map(|position| position.is_some()) {
                [_, _, false] => &mut axes.sums,
                [true, true, true] => &mut axes.pairs,
                [true, false, true] => &mut axes.rows,
                _ => &mut axes.columns,
            };
            match group.last_mut() {
                Some(outer) if (0..3).all(|i| outer.strides[i] == axis.strides[i] * axis.size as isize) => {
                    *outer = Axis { letter: None, size: outer.size * axis.size, ..axis };
                }
                _ => group.push(axis),
            }
        }
        axes
    }

    /// Exchanges the left and the right matrix.
    fn swap(&mut self) {
        std::mem::swap(&mut self.rows, &mut self.columns);
        let all = [&mut self.pairs, &mut self.rows, &mut self.columns, &mut self.sums];
        all.into_iter().flatten().for_each(|axis| axis.strides.swap(0, 1));
    }

    /// The product whose columns are the longest axis that is `suitable`.
    fn product(mut self, suitable: impl Fn(&Axis) -> bool) -> MatMul {
        // The inner dimension is an axis that is contiguous in both arguments, if there is one: a kernel of dot
        // products may vectorise it.
        let along = self.sums.iter().position(|axis| axis.strides[..2] == [1, 1]);
        let inner = match along {
            Some(position) => self.sums.remove(position),
            None => self.sums.pop().unwrap_or(Axis::one([1, 1, 0])),
        };
        let columns = take(&mut self.columns, suitable);
        // Where the columns of the result are not contiguous, its rows should be.
        let close = columns.strides[2] != 1 && self.rows.iter().any(|axis| axis.strides[2] == 1);
        let rows = take(&mut self.rows, |axis| !close || axis.strides[2] == 1);
        let batch: Vec<Axis> = [self.pairs, self.rows, self.columns].concat();
        let border = self.borders.into_iter().find_map(|(letters, steps, range)| {
            let find = |axes: &[Axis], i: usize| {
                let axis = axes.iter().position(|axis| axis.letter == Some(letters[i]))?;
                Some((axis, steps[i]))
            };
            Some(Border { pairs: find(&batch, 0)?, sum: find(&self.sums, 1)?, range })
        });
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
            batch: batch.iter().map(|axis| (axis.size, axis.strides)).collect(),
            border,
            ..MatMul::default()
        }
    }
}

/// Takes the longest axis that is `suitable`; an axis of size one if there is none.
fn take(axes: &mut Vec<Axis>, suitable: impl Fn(&Axis) -> bool) -> Axis {
    let best = (0..axes.len()).filter(|&i| suitable(&axes[i])).max_by_key(|&i| axes[i].size);
    best.map_or(Axis::one([0; 3]), |i| axes.remove(i))
}
