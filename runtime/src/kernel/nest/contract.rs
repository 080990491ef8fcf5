//! Contractions as matrix products over views.
//!
//! Every letter of a contraction is an axis with a stride in each operand. Those of the result that lie in
//! one operand only are rows or columns, those of both are pairs of matrices, and what the result lacks is
//! summed over. A kernel has one axis of rows and one of columns, all other axes are loops around it.

use std::ops::Range;

use crate::graph::strides::dense;
use crate::graph::{Contraction, Graph, Var};
use crate::ir::Level;
use crate::ir::product::{Border, MatMul, cost};
use crate::kernel::fuse::border::{Inside, inside};
use crate::kernel::fuse::group::Fusion;

/// A letter: its size and its strides in the left argument, the right one and the result.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// `None` for several in one.
    letter: Option<u8>,
    size: usize,
    strides: [isize; 3],
}

impl Axis {
    /// An axis along which nothing goes.
    fn one(strides: [isize; 3]) -> Axis {
        Axis { letter: None, size: 1, strides }
    }
}

/// The axes of each kind, outermost first; those that lie one behind the other in all operands are one.
#[derive(Default)]
struct Axes {
    pairs: Vec<Axis>,
    rows: Vec<Axis>,
    columns: Vec<Axis>,
    sums: Vec<Axis>,
    borders: Vec<Outline>,
}

/// Which products may be other than zero: letters of an axis of the result and one that is summed over, the
/// steps along them, and the range of what these add up to.
type Outline = ([u8; 2], [isize; 2], Range<isize>);

/// The zeros around the arguments of a contraction.
fn borders(graph: &Graph, v: Var, letters: &Contraction) -> Vec<Outline> {
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

/// How a contraction is computed.
pub(crate) struct Form {
    pub(crate) product: MatMul,
    /// Whether its left matrix is the right argument.
    pub(crate) swapped: bool,
    /// The argument that is copied before, and the strides along its axes in the copy.
    pub(crate) copy: Option<(usize, Vec<isize>)>,
}

/// Vector instructions for which an element could be copied.
const COPY: usize = 2;

impl Form {
    /// The form in which contraction `v` takes the fewest instructions.
    pub(crate) fn new(fusion: &Fusion<'_>, v: Var, letters: &Contraction, level: Level) -> Form {
        let args = [(0, &letters.left, &letters.right), (1, &letters.right, &letters.left)];
        let own = args.into_iter().flat_map(|(arg, own, other)| {
            let own = own.iter().enumerate().filter(|(_, l)| letters.result.contains(l) && !other.contains(l));
            own.map(move |(axis, _)| (arg, axis))
        });
        let mut best = Form::as_it_is(fusion, v, letters);
        let mut least = best.cost(fusion, v, level);
        for (arg, axis) in own {
            let form = Form::along(fusion, v, letters, (arg, axis));
            let cost = form.cost(fusion, v, level);
            if cost < least {
                (best, least) = (form, cost);
            }
        }
        best
    }

    /// Vectors go along columns of the result.
    fn as_it_is(fusion: &Fusion<'_>, v: Var, letters: &Contraction) -> Form {
        let mut axes = Axes::of(fusion, v, letters, strides(fusion, v));
        let swapped = axes.rows.iter().any(|axis| axis.strides[2] == 1);
        if swapped {
            axes.swap();
        }
        Form { product: axes.product(|axis| axis.strides[2] == 1), swapped, copy: None }
    }

    /// Vectors go along an axis of an argument, whose elements are copied if they do not lie one behind the other.
    fn along(fusion: &Fusion<'_>, v: Var, letters: &Contraction, (arg, axis): (usize, usize)) -> Form {
        let mut strides = strides(fusion, v);
        let mut copy = None;
        if strides[arg][axis] != 1 {
            // The axis becomes the last.
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
        Form { product: axes.product(|axis| axis.strides[1] == 1), swapped: arg == 0, copy }
    }

    fn cost(&self, fusion: &Fusion<'_>, v: Var, level: Level) -> usize {
        let copied = self.copy.as_ref().map_or(0, |(arg, _)| fusion.graph[fusion.graph[v].args[*arg]].len());
        cost(&self.product, level) + COPY * copied
    }
}

/// The strides of the arguments and the result of a contraction.
fn strides(fusion: &Fusion<'_>, v: Var) -> [Vec<isize>; 3] {
    let args = &fusion.graph[v].args;
    [args[0], args[1], v].map(|v| fusion.access(v).strides)
}

impl Axes {
    fn of(fusion: &Fusion<'_>, v: Var, letters: &Contraction, strides: [Vec<isize>; 3]) -> Axes {
        let node = &fusion.graph[v];
        let shapes = [node.args[0], node.args[1], v].map(|v| &fusion.graph[v].shape);
        let names = [&letters.left, &letters.right, &letters.result];
        let mut axes = Axes { borders: borders(fusion.graph, v, letters), ..Axes::default() };
        // In the order of the result, then that of the left argument.
        for (i, letter) in letters.result.iter().chain(&letters.left).enumerate() {
            if i >= letters.result.len() && letters.result.contains(letter) {
                continue;
            }
            let places = names.map(|names| names.iter().position(|name| name == letter));
            let mut axis = Axis { letter: Some(*letter), ..Axis::one([0; 3]) };
            for (i, place) in places.into_iter().enumerate() {
                if let Some(place) = place {
                    axis.size = axis.size.max(shapes[i][place]);
                    axis.strides[i] = strides[i][place];
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

    /// The product with columns along the longest axis that will do.
    fn product(mut self, will_do: impl Fn(&Axis) -> bool) -> MatMul {
        // A kernel sums over one axis and a few around it; vectors may go along it if it is contiguous.
        let along = self.sums.iter().position(|axis| axis.strides[..2] == [1, 1]);
        let inner = match along {
            Some(place) => self.sums.remove(place),
            None => self.sums.pop().unwrap_or(Axis::one([1, 1, 0])),
        };
        let columns = take(&mut self.columns, will_do);
        // Where columns of the result are apart, its rows should not be.
        let close = columns.strides[2] != 1 && self.rows.iter().any(|axis| axis.strides[2] == 1);
        let rows = take(&mut self.rows, |axis| !close || axis.strides[2] == 1);
        let batch: Vec<Axis> = [self.pairs, self.rows, self.columns].concat();
        let border = self.borders.into_iter().find_map(|(letters, steps, range)| {
            let place = |axes: &[Axis], i: usize| {
                let axis = axes.iter().position(|axis| axis.letter == Some(letters[i]))?;
                Some((axis, steps[i]))
            };
            Some(Border { pairs: place(&batch, 0)?, sum: place(&self.sums, 1)?, range })
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

/// The longest of the axes that will do; one of size one if there is none.
fn take(axes: &mut Vec<Axis>, will_do: impl Fn(&Axis) -> bool) -> Axis {
    let best = (0..axes.len()).filter(|&i| will_do(&axes[i])).max_by_key(|&i| axes[i].size);
    best.map_or(Axis::one([0; 3]), |i| axes.remove(i))
}
