//! Elements of an axis in order.

use super::{axis, axis_of, numbers};
use crate::graph::op::{Class, Evaluated, Facts, Operation, Routine, Rule, args, of_type, same};
use crate::graph::reference::Evaluation;
use crate::graph::{Grad, Graph, Node, Op, RoutineOp, Stage, Value, Var};
use crate::ir::elementwise::Binary;
use crate::shape::check::{Check, Holds, Interval, Message, TensorType, Type};
use crate::shape::{DType, Rows};

/// The places along the last axis at which its elements are, the smallest or the largest first.
struct Places {
    descending: bool,
}

static ASCENDING: Places = Places { descending: false };
static DESCENDING: Places = Places { descending: true };

impl Places {
    /// Puts places in order, those of equal elements as they are; NaN is above all numbers.
    fn order<T: PartialOrd + Copy>(&self, row: &[T], places: &mut [u32]) {
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        places.iter_mut().zip(0..).for_each(|(to, place)| *to = place);
        places.sort_unstable_by(|&a, &b| {
            let (x, y) = (row[a as usize], row[b as usize]);
            let by_value = x.partial_cmp(&y).unwrap_or_else(|| is_nan(x).cmp(&is_nan(y)));
            (if self.descending { by_value.reverse() } else { by_value }).then(a.cmp(&b))
        });
    }
}

/// The elements of the last axis; a number has one. Where there is none, there are no rows.
fn row(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1).max(1)
}

impl Operation for Places {
    fn name(&self) -> String {
        if self.descending { "argsort_descending".into() } else { "argsort".into() }
    }

    fn facts(&self) -> Facts {
        Facts { class: Class::Alone, dense: true, commutes: false, cheap: false }
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [x] = args(graph, node)?;
        of_type(x, DType::F32)?;
        of_type(node, DType::I32)?;
        same(&x.shape, &node.shape)
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let n = row(&e.node.shape);
        let mut places = vec![0; n];
        let sorted = e.args[0].chunks(n).flat_map(|row| {
            self.order(row, &mut places);
            places.iter().map(|&place| f64::from(place)).collect::<Vec<_>>()
        });
        Ok(sorted.collect())
    }
}

impl Routine for Places {
    fn interval(&self, node: &Node, _: &[Interval]) -> Interval {
        Interval::whole(0.0, row(&node.shape) as f64 - 1.0)
    }

    fn units(&self, shape: &[usize]) -> usize {
        shape.iter().product::<usize>() / row(shape)
    }

    fn flops(&self, shape: &[usize]) -> usize {
        // About eight operations for each comparison.
        8 * shape.iter().product::<usize>() * row(shape).ilog2() as usize
    }

    fn run(&self, unit: usize, args: &[&[f32]], part: &mut [u32]) {
        self.order(&args[0][unit * part.len()..][..part.len()], part);
    }
}

/// The tensor with this axis and the last one exchanged, which undoes itself.
fn exchanged(g: &mut Stage, x: Var, axis: usize) -> Var {
    let mut order: Vec<usize> = (0..g[x].shape.len()).collect();
    let last = order.len() - 1;
    order.swap(axis, last);
    g.transpose(x, &order)
}

/// The places in order along the last axis.
fn places(g: &mut Stage, x: Var, descending: Value) -> Var {
    let (order, shape) = (if descending == Value::Bool(true) { &DESCENDING } else { &ASCENDING }, g[x].shape.clone());
    g.push(Op::Routine(RoutineOp(order)), vec![x], shape, DType::I32)
}

/// The same places as numbers of elements of the whole tensor, on one axis.
fn elements(g: &mut Stage, places: Var) -> Var {
    let (n, len) = (row(&g[places].shape), g[places].len());
    let rows = g.iota(len / n);
    let size = g.integer(n as i32);
    let start = g.binary(Binary::Mul, rows, size);
    let start = g.reshape(start, &[len / n, 1]);
    let places = g.reshape(places, &[len / n, n]);
    let all = g.binary(Binary::Add, places, start);
    g.reshape(all, &[len])
}

/// The elements of a tensor, each as a row of its own.
fn as_rows(g: &mut Stage, x: Var) -> Var {
    let len = g[x].len();
    g.reshape(x, &[len, 1])
}

/// The argument and its axis, which both operations check alike.
#[track_caller]
const fn ordered(cx: &mut Check, op: &str, x: Type, at: Type, descending: Type) -> Option<(TensorType, usize)> {
    let Some(x) = numbers(cx, op, x) else { return None };
    if !matches!(descending, Type::Bool(_) | Type::Unknown) {
        cx.error(Message::new().str(op).str(": expected `true` or `false` for descending order"));
        return None;
    }
    match axis(cx, op, &x, at) {
        Some(axis) => Some((x, axis)),
        None => None,
    }
}

primitive! {
    /// The places of the elements along an axis in order, the smallest first, or the largest
    /// where `descending` holds. Equal elements stay in the order in which they are; NaN is above all numbers, as PyTorch
    /// has it. There is no gradient.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 3], [0.5, 0.1, 0.3, 1.0, 2.0, 1.0])?);
    /// let y = argsort::stage(&mut g, x, -1, false);
    /// assert_eq!(g.value(y)?.data(), [1.0, 2.0, 0.0, 0.0, 2.0, 1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    argsort(x; axis, descending)
    stage |g| {
        let axis = axis_of(g, x, axis);
        let x = exchanged(g, x, axis);
        let places = places(g, x, descending);
        exchanged(g, places, axis)
    },
    grad |g, d| [None],
    shape |cx| match ordered(cx, "argsort", x, axis, descending) {
        Some((x, axis)) => {
            let holds = match x.shape.dim(axis).get() {
                Some(n) => Holds::below(n),
                None => Holds::computed(DType::I32),
            };
            Type::Tensor(x.like(DType::I32, x.shape).holding(holds).cut())
        }
        None => Type::Unknown,
    },
}

primitive! {
    /// The elements along an axis in order, the smallest first, or the largest where `descending`
    /// holds. Equal elements stay in the order in which they are; NaN is above all numbers, as PyTorch has it. The gradient
    /// goes back to where each element was.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// let mut g = Stage::new();
    /// let x = g.constant(&Tensor::new([2, 3], [0.5, 0.1, 0.3, 1.0, 2.0, 1.5])?);
    /// let y = sort::stage(&mut g, x, -1, true);
    /// assert_eq!(g.value(y)?.data(), [0.5, 0.3, 0.1, 2.0, 1.5, 1.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    sort(x; axis, descending)
    stage |g| {
        let axis = axis_of(g, x, axis);
        let x = exchanged(g, x, axis);
        let places = places(g, x, descending);
        let (index, rows, shape) = (elements(g, places), as_rows(g, x), g[x].shape.clone());
        let sorted = g.gather(rows, index);
        let sorted = g.reshape(sorted, &shape);
        exchanged(g, sorted, axis)
    },
    grad |g, d| {
        let axis = axis_of(g, x, axis);
        let (x, d) = (exchanged(g, x, axis), exchanged(g, d, axis));
        let places = places(g, x, descending);
        let (index, rows) = (elements(g, places), as_rows(g, d));
        let (len, shape) = (g[x].len(), g[x].shape.clone());
        let dx = g.scatter_add(index, rows, len);
        let dx = g.reshape(dx, &shape);
        [Some(exchanged(g, dx, axis))]
    },
    shape |cx| match ordered(cx, "sort", x, axis, descending) {
        Some((x, _)) => Type::Tensor(x.permuted(x.shape)),
        None => Type::Unknown,
    },
}
