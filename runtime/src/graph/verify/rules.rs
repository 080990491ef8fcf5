//! The rule of each operation: its arguments, and the shape and type of its result.
//!
//! A rule is said for every operation there is. Sizes are multiplied and added without wrapping.

use crate::graph::{Contraction, Graph, Node, Op, Var};
use crate::ir::elementwise::{Compare, Unary};
use crate::shape::{DType, MAX_RANK, elements};

/// The most rows that an entry of an index can name, and the most random numbers of a value.
const MOST_ROWS: usize = 1 << 31;
const MOST_RANDOM: usize = 1 << 32;

/// Refuses a node that breaks the rule of its operation. Its arguments are among the first `before` nodes.
///
/// # Errors
///
/// The name of the operation, what it expects, and what it has.
pub(crate) fn check(graph: &Graph, node: &Node, before: usize) -> Result<(), String> {
    let is_there = |v: &Var| v.index() < before.min(graph.nodes().len());
    let found = match node.args.iter().all(is_there) {
        true => rule(graph, node),
        false => Err("an argument is a value of another graph".into()),
    };
    found.map_err(|what| format!("{}: {what}", node.name()))
}

/// Refuses a shape of too many axes or elements.
///
/// # Errors
///
/// The shape.
pub(crate) fn check_shape(shape: &[usize]) -> Result<(), String> {
    if shape.len() > MAX_RANK {
        return Err(format!("a tensor has at most {MAX_RANK} axes, found {}: {shape:?}", shape.len()));
    }
    match elements(shape) {
        Some(_) => Ok(()),
        None => Err(format!("a tensor of shape {shape:?} has more than 2^40 elements")),
    }
}

type Rule = Result<(), String>;

fn rule(graph: &Graph, node: &Node) -> Rule {
    check_shape(&node.shape)?;
    let (shape, rank) = (&node.shape[..], node.shape.len());
    match &node.op {
        Op::Input(_) => {
            let [] = args(graph, node)?;
            Ok(())
        }
        Op::Param(_) => {
            let [] = args(graph, node)?;
            of_type(node, DType::F32)
        }
        Op::Const(bits) => {
            let [] = args(graph, node)?;
            ensure(node.dtype != DType::Bool || *bits <= 1, || format!("expected 0 or 1, found {bits}"))
        }
        Op::Data(bits) => {
            let [] = args(graph, node)?;
            let (found, len) = (bits.len(), node.len());
            ensure(found == len, || format!("shape {shape:?} has {len} elements, {found} were given"))
        }
        Op::Iota => {
            let [] = args(graph, node)?;
            of_type(node, DType::I32)?;
            of_rank(shape, 1)?;
            ensure(shape[0] <= MOST_ROWS, || format!("expected at most {MOST_ROWS} numbers, found {}", shape[0]))
        }
        Op::Seed => {
            let [] = args(graph, node)?;
            of_type(node, DType::I32)?;
            of_rank(shape, 0)
        }
        Op::Random(_) => {
            let [seed] = args(graph, node)?;
            of_type(seed, DType::I32)?;
            of_rank(&seed.shape, 0)?;
            of_type(node, DType::F32)?;
            let len = node.len();
            ensure(len <= MOST_RANDOM, || format!("expected at most {MOST_RANDOM} numbers, found {len}"))
        }
        Op::Unary(op) => {
            let [x] = args(graph, node)?;
            like(x, node)?;
            // Whole numbers have a negative, and no other function.
            if *op == Unary::Neg { number(node) } else { of_type(node, DType::F32) }
        }
        Op::Binary(op) => {
            let [a, b] = args(graph, node)?;
            like(a, node)?;
            like(b, node)?;
            if op.is_whole() { number(node) } else { of_type(node, DType::F32) }
        }
        Op::Fma(_) => {
            let [a, b, c] = args(graph, node)?;
            of_type(node, DType::F32)?;
            [a, b, c].into_iter().try_for_each(|x| like(x, node))
        }
        Op::Compare(op) => {
            let [a, b] = args(graph, node)?;
            same(&a.shape, shape)?;
            like(b, a)?;
            of_type(node, DType::Bool)?;
            match op {
                Compare::Lt | Compare::Le => number(a),
                Compare::Eq | Compare::Ne => Ok(()),
            }
        }
        Op::Select => {
            let [mask, a, b] = args(graph, node)?;
            of_type(mask, DType::Bool)?;
            same(&mask.shape, shape)?;
            like(a, node)?;
            like(b, node)
        }
        Op::Cast => {
            let [x] = args(graph, node)?;
            same(&x.shape, shape)
        }
        Op::Within(rows) | Op::Checked(rows) => {
            let [index] = args(graph, node)?;
            of_type(node, DType::I32)?;
            like(index, node)?;
            ensure(rows.count > 0, || "expected at least one row".into())
        }
        Op::Reduce(_, axes) => {
            let [x] = args(graph, node)?;
            of_type(node, DType::F32)?;
            of_type(x, DType::F32)?;
            of_rank(shape, x.shape.len())?;
            let named = (0..8).filter(|axis| axes >> axis & 1 == 1);
            ensure(*axes != 0 && named.clone().all(|axis| axis < rank), || {
                format!("axes {:?} of {:?}", named.clone().collect::<Vec<_>>(), x.shape)
            })?;
            let kept = |axis: usize| if axes >> axis & 1 == 1 { 1 } else { x.shape[axis] };
            same(&(0..rank).map(kept).collect::<Vec<_>>(), shape)
        }
        Op::Broadcast => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            let fits = x.shape.len() == rank && x.shape.iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
            ensure(fits, || format!("{:?} does not broadcast to {shape:?}", x.shape))
        }
        Op::Reshape => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            ensure(x.len() == node.len(), || {
                format!("{:?} has {} elements, {shape:?} has {}", x.shape, x.len(), node.len())
            })
        }
        Op::Transpose(axes) => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            let named = axes.iter().fold(0u32, |named, &axis| named | 1u32.checked_shl(axis as u32).unwrap_or(0));
            let all = axes.len() == x.shape.len() && axes.iter().all(|&axis| axis < axes.len());
            ensure(all && named == (1 << axes.len()) - 1, || {
                format!("expected each axis of {:?} once, found {axes:?}", x.shape)
            })?;
            same(&axes.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>(), shape)
        }
        Op::Slice(window) => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            of_rank(shape, x.shape.len())?;
            ensure(window.len() == rank, || format!("expected a start and a step for each axis of {:?}", x.shape))?;
            (0..rank).try_for_each(|axis| inside(axis, x, window[axis].0, [(shape[axis], window[axis].1), (1, 0)]))
        }
        Op::Windows { axis, start, step, dilation } => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            has_axis(x, *axis)?;
            of_rank(shape, x.shape.len() + 1)?;
            let mut others = shape.to_vec();
            others.splice(*axis..*axis + 2, [x.shape[*axis]]);
            same(&others, &x.shape)?;
            inside(*axis, x, *start, [(shape[*axis], *step), (shape[axis + 1], *dilation)])
        }
        Op::Pad(before) => {
            let [x] = args(graph, node)?;
            of_type(x, node.dtype)?;
            of_rank(shape, x.shape.len())?;
            ensure(before.len() == rank, || format!("expected an offset for each axis of {:?}", x.shape))?;
            let fits = |axis: usize| before[axis].checked_add(x.shape[axis]).is_some_and(|end| end <= shape[axis]);
            ensure((0..rank).all(fits), || format!("{:?} at {before:?} reaches beyond {shape:?}", x.shape))
        }
        Op::Concat(axis) => {
            ensure(!node.args.is_empty(), || "expected at least one tensor".into())?;
            has_axis(node, *axis)?;
            let mut total = Some(0usize);
            for &arg in &node.args {
                let x = &graph[arg];
                of_type(x, node.dtype)?;
                let others = |s: &[usize]| [&s[..*axis], &s[axis + 1..]].concat();
                let fits = x.shape.len() == rank && others(&x.shape) == others(shape);
                ensure(fits, || format!("{:?} is no part of {shape:?} along axis {axis}", x.shape))?;
                total = total.and_then(|sum| sum.checked_add(x.shape[*axis]));
            }
            ensure(total == Some(shape[*axis]), || format!("the parts do not add up to axis {axis} of {shape:?}"))
        }
        Op::MatMul(ta, tb) => {
            let [a, b] = args(graph, node)?;
            [a, b, node].into_iter().try_for_each(|x| of_type(x, DType::F32))?;
            let fits = rank >= 2 && a.shape.len() == rank && b.shape.len() == rank && {
                let sizes = |x: &Node, turned: bool| {
                    let [rows, columns] = [x.shape[rank - 2], x.shape[rank - 1]];
                    if turned { [columns, rows] } else { [rows, columns] }
                };
                let ([m, k], [inner, n]) = (sizes(a, *ta), sizes(b, *tb));
                let outer = |x: &Node| x.shape[..rank - 2] == shape[..rank - 2];
                outer(a) && outer(b) && k == inner && shape[rank - 2..] == [m, n]
            };
            ensure(fits, || format!("{:?} and {:?} do not give {shape:?}", a.shape, b.shape))
        }
        Op::Contract(axes) => {
            let [a, b] = args(graph, node)?;
            [a, b, node].into_iter().try_for_each(|x| of_type(x, DType::F32))?;
            contraction(axes, [&a.shape, &b.shape, shape])
        }
        Op::Gather => {
            let [table, index] = args(graph, node)?;
            of_type(table, node.dtype)?;
            of_type(index, DType::I32)?;
            has_axis(table, 0)?;
            same(&[&index.shape, &table.shape[1..]].concat(), shape)
        }
        Op::ScatterAdd => {
            let ([index, rows], base) = match node.args[..] {
                [index, rows] => ([index, rows], None),
                [index, rows, base] => ([index, rows], Some(base)),
                _ => return Err(format!("takes 2 or 3 arguments, found {}", node.args.len())),
            };
            let (index, rows) = (&graph[index], &graph[rows]);
            of_type(index, DType::I32)?;
            of_type(rows, DType::F32)?;
            of_type(node, DType::F32)?;
            has_axis(node, 0)?;
            same(&rows.shape, &[&index.shape, &shape[1..]].concat())?;
            base.map_or(Ok(()), |base| like(&graph[base], node))
        }
    }
}

/// The arguments of a node, which must be so many.
fn args<'g, const N: usize>(graph: &'g Graph, node: &Node) -> Result<[&'g Node; N], String> {
    match <[Var; N]>::try_from(&node.args[..]) {
        Ok(args) => Ok(args.map(|v| &graph[v])),
        Err(_) => Err(format!("takes {N} arguments, found {}", node.args.len())),
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Rule {
    if holds { Ok(()) } else { Err(message()) }
}

fn of_type(x: &Node, dtype: DType) -> Rule {
    ensure(x.dtype == dtype, || format!("expected {}, found {}", dtype.name(), x.dtype.name()))
}

fn number(x: &Node) -> Rule {
    ensure(x.dtype != DType::Bool, || format!("expected numbers, found {}", x.dtype.name()))
}

fn same(found: &[usize], expected: &[usize]) -> Rule {
    ensure(found == expected, || format!("expected {expected:?}, found {found:?}"))
}

fn like(x: &Node, with: &Node) -> Rule {
    of_type(x, with.dtype)?;
    same(&x.shape, &with.shape)
}

fn of_rank(shape: &[usize], rank: usize) -> Rule {
    ensure(shape.len() == rank, || format!("expected {rank} axes, found {shape:?}"))
}

fn has_axis(x: &Node, axis: usize) -> Rule {
    ensure(axis < x.shape.len(), || format!("no axis {axis} in {:?}", x.shape))
}

/// Whether what starts at an element of an axis and goes so many steps of each length stays on the axis.
fn inside(axis: usize, x: &Node, start: usize, steps: [(usize, isize); 2]) -> Rule {
    if steps.iter().any(|&(count, _)| count == 0) {
        return Ok(());
    }
    let reach = |pick: fn(i128, i128) -> i128| {
        let ends = steps.map(|(count, step)| (count as i128 - 1) * step as i128);
        ends.into_iter().fold(start as i128, |end, by| end + pick(by, 0))
    };
    let (first, last, size) = (reach(i128::min), reach(i128::max), x.shape[axis]);
    ensure(0 <= first && last < size as i128, || {
        format!("elements {first} to {last} of axis {axis} of {:?}, which has {size}", x.shape)
    })
}

/// Each letter has one size and is once in a tensor; what is not in the result is in both arguments.
fn contraction(axes: &Contraction, shapes: [&[usize]; 3]) -> Rule {
    let Contraction { left, right, result } = axes;
    for (letters, shape) in [left, right, result].into_iter().zip(shapes) {
        ensure(letters.len() == shape.len(), || format!("{} letters for the axes of {shape:?}", letters.len()))?;
        let twice = (1..letters.len()).find(|&i| letters[..i].contains(&letters[i]));
        ensure(twice.is_none(), || format!("a letter is twice in the axes of {shape:?}"))?;
    }
    let size = |l: &u8, of: &[u8], shape: &[usize]| of.iter().position(|x| x == l).map(|i| shape[i]);
    for (l, &n) in left.iter().zip(shapes[0]).chain(right.iter().zip(shapes[1])).chain(result.iter().zip(shapes[2])) {
        let sizes = [size(l, left, shapes[0]), size(l, right, shapes[1]), size(l, result, shapes[2])];
        let name = char::from(*l);
        ensure(sizes.into_iter().flatten().all(|size| size == n), || format!("axis `{name}` has several sizes"))?;
        let fits = match sizes {
            [None, None, _] => false,
            [left, right, None] => left.is_some() && right.is_some(),
            _ => true,
        };
        ensure(fits, || format!("axis `{name}` is in one tensor alone"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ir::elementwise::Binary;
    use crate::ir::multiply_add::Fma;
    use crate::ir::reduce::Reduce;
    use crate::shape::Rows;

    use DType::{Bool, F32, I32};

    fn node(op: Op, args: &[u32], shape: &[usize], dtype: DType) -> Node {
        let args = args.iter().map(|&v| Var(v)).collect();
        Node { op, args, shape: shape.to_vec(), dtype, scope: 0 }
    }

    /// Arguments for the nodes below.
    fn graph() -> Graph {
        let inputs = [
            (&[4, 6][..], F32),
            (&[4, 6], F32),
            (&[4, 6], I32),
            (&[4, 6], Bool),
            (&[6, 5], F32),
            (&[], I32),
            (&[4, 1], F32),
            (&[3], I32),
            (&[3, 6], F32),
            (&[7], I32),
        ];
        let nodes = inputs.iter().enumerate().map(|(i, &(shape, dtype))| node(Op::Input(i), &[], shape, dtype));
        Graph { nodes: nodes.collect(), ..Graph::default() }
    }

    /// A node of each operation that keeps its rule, and whether its shape is free.
    fn sound() -> Vec<(Node, bool)> {
        let contraction = |left: &[u8], right: &[u8], result: &[u8]| {
            let [left, right, result] = [left, right, result].map(|letters| letters.to_vec());
            Op::Contract(Arc::new(Contraction { left, right, result }))
        };
        let windows = Op::Windows { axis: 1, start: 1, step: 2, dilation: -1 };
        vec![
            (node(Op::Input(3), &[], &[4, 6], I32), true),
            (node(Op::Param(3), &[], &[4, 6], F32), true),
            (node(Op::Const(1), &[], &[4, 6], F32), true),
            (node(Op::Data(vec![0; 6].into()), &[], &[2, 3], F32), false),
            (node(Op::Iota, &[], &[5], I32), true),
            (node(Op::Seed, &[], &[], I32), false),
            (node(Op::Random(7), &[5], &[4, 6], F32), true),
            (node(Op::Unary(Unary::Exp), &[0], &[4, 6], F32), false),
            (node(Op::Unary(Unary::Neg), &[2], &[4, 6], I32), false),
            (node(Op::Binary(Binary::Pow), &[0, 1], &[4, 6], F32), false),
            (node(Op::Binary(Binary::Max), &[2, 2], &[4, 6], I32), false),
            (node(Op::Fma(Fma::MulAdd), &[0, 1, 0], &[4, 6], F32), false),
            (node(Op::Compare(Compare::Lt), &[0, 1], &[4, 6], Bool), false),
            (node(Op::Compare(Compare::Eq), &[3, 3], &[4, 6], Bool), false),
            (node(Op::Select, &[3, 0, 1], &[4, 6], F32), false),
            (node(Op::Cast, &[0], &[4, 6], I32), false),
            (node(Op::Within(Rows::below(3)), &[2], &[4, 6], I32), false),
            (node(Op::Checked(Rows::below(3)), &[2], &[4, 6], I32), false),
            (node(Op::Reduce(Reduce::Sum, 0b10), &[0], &[4, 1], F32), false),
            (node(Op::Broadcast, &[6], &[4, 6], F32), false),
            (node(Op::Reshape, &[0], &[3, 8], F32), false),
            (node(Op::Transpose(vec![1, 0]), &[0], &[6, 4], F32), false),
            (node(Op::Slice(vec![(3, -1), (1, 2)]), &[0], &[4, 3], F32), false),
            (node(windows, &[0], &[4, 3, 2], F32), false),
            (node(Op::Pad(vec![1, 0]), &[0], &[5, 6], F32), false),
            (node(Op::Concat(0), &[0, 8, 1], &[11, 6], F32), false),
            (node(Op::MatMul(false, false), &[0, 4], &[4, 5], F32), false),
            (node(Op::MatMul(true, true), &[4, 0], &[5, 4], F32), false),
            (node(contraction(b"ij", b"jk", b"ki"), &[0, 4], &[5, 4], F32), false),
            (node(Op::Gather, &[0, 7], &[3, 6], F32), false),
            (node(Op::ScatterAdd, &[7, 8], &[9, 6], F32), false),
            (node(Op::ScatterAdd, &[7, 8, 0], &[4, 6], F32), false),
        ]
    }

    fn checked(node: &Node) -> Result<(), String> {
        let graph = graph();
        check(&graph, node, graph.nodes().len())
    }

    #[test]
    fn sound_nodes_are_admitted() {
        for (node, _) in sound() {
            assert_eq!(checked(&node), Ok(()), "{node:?}");
        }
    }

    #[test]
    fn each_operation_has_so_many_arguments() {
        for (sound, _) in sound() {
            let mut more = sound.clone();
            more.args.extend([Var(5); 3]);
            checked(&more).unwrap_err();
            let mut foreign = sound.clone();
            foreign.args.push(Var(10));
            checked(&foreign).unwrap_err();
            if !sound.args.is_empty() {
                let mut none = sound.clone();
                none.args.clear();
                checked(&none).unwrap_err();
                // A node is no argument of one before it.
                check(&graph(), &sound, 0).unwrap_err();
            }
        }
    }

    #[test]
    fn each_argument_has_a_type_and_a_shape() {
        for (sound, _) in sound() {
            for i in 0..sound.args.len() {
                let wrong = |arg: u32| {
                    let mut node = sound.clone();
                    node.args[i] = Var(arg);
                    checked(&node)
                };
                // The seven whole numbers go where other whole numbers of one axis go, and into casts.
                let found = [wrong(9), wrong(3), wrong(5)];
                let refused = found.iter().filter(|found| found.is_err()).count();
                let same = |arg: u32| sound.args[i] == Var(arg);
                let admitted = [9, 3, 5].into_iter().filter(|&arg| same(arg)).count() + (sound.op == Op::Cast) as usize;
                assert_eq!(refused, 3 - admitted, "{sound:?}, argument {i}: {found:?}");
            }
        }
    }

    #[test]
    fn each_result_has_a_type_and_a_shape() {
        for (sound, free) in sound() {
            let mut refused = Vec::new();
            for axis in 0..sound.shape.len() {
                for size in [sound.shape[axis] + 1, usize::MAX, 1 << 62] {
                    let mut node = sound.clone();
                    node.shape[axis] = size;
                    let grows = match sound.op {
                        Op::Pad(_) => true,
                        Op::Broadcast => axis == 1,
                        Op::ScatterAdd => axis == 0 && sound.args.len() < 3,
                        _ => false,
                    };
                    let stays = size == sound.shape[axis] + 1 && (free || grows);
                    if !stays {
                        refused.push(checked(&node).err().unwrap_or_else(|| panic!("{node:?}")));
                    }
                }
            }
            let mut node = sound.clone();
            node.shape = vec![1; MAX_RANK + 1];
            checked(&node).unwrap_err();
            if !free {
                let mut node = sound.clone();
                node.shape.insert(0, 2);
                checked(&node).unwrap_err();
            }
            let types = [F32, I32, Bool].map(|dtype| checked(&Node { dtype, ..sound.clone() }).is_ok());
            let several = matches!(sound.op, Op::Input(_) | Op::Const(_) | Op::Data(_) | Op::Cast);
            assert_eq!(types.iter().filter(|ok| **ok).count(), if several { 3 } else { 1 }, "{sound:?}");
        }
    }

    #[test]
    fn what_an_operation_says_fits_its_argument() {
        let refused = [
            (node(Op::Const(2), &[], &[], Bool), "expected 0 or 1, found 2"),
            (node(Op::Iota, &[], &[MOST_ROWS + 1], I32), "at most 2147483648 numbers"),
            (node(Op::Unary(Unary::Exp), &[2], &[4, 6], I32), "exp: expected Tensor, found Index"),
            (node(Op::Unary(Unary::Neg), &[3], &[4, 6], Bool), "expected numbers, found Mask"),
            (node(Op::Binary(Binary::Div), &[2, 2], &[4, 6], I32), "expected Tensor, found Index"),
            (node(Op::Compare(Compare::Le), &[3, 3], &[4, 6], Bool), "expected numbers, found Mask"),
            (node(Op::Within(Rows::below(0)), &[2], &[4, 6], I32), "within: expected at least one row"),
            (node(Op::Reduce(Reduce::Sum, 0), &[0], &[4, 6], F32), "sum: axes [] of [4, 6]"),
            (node(Op::Reduce(Reduce::Sum, 0b100), &[0], &[4, 6], F32), "axes [2] of [4, 6]"),
            (node(Op::Reduce(Reduce::Max, 0b10), &[2], &[4, 1], F32), "expected Tensor, found Index"),
            (node(Op::Transpose(vec![1, 1]), &[0], &[6, 6], F32), "expected each axis of [4, 6] once"),
            (node(Op::Transpose(vec![1, 40]), &[0], &[6, 6], F32), "expected each axis of [4, 6] once"),
            (node(Op::Slice(vec![(0, 1), (4, 2)]), &[0], &[4, 2], F32), "elements 4 to 6 of axis 1 of [4, 6]"),
            (node(Op::Slice(vec![(0, -1), (0, 1)]), &[0], &[4, 6], F32), "elements -3 to 0 of axis 0"),
            (node(Op::Slice(vec![(1 << 30, 1), (0, 1)]), &[0], &[4, 6], F32), "elements 1073741824 to 1073741827"),
            (node(Op::Slice(vec![(0, isize::MAX), (0, 1)]), &[0], &[4, 6], F32), "elements 0 to 27670116110564327421"),
            (node(Op::Slice(vec![(0, 1)]), &[0], &[4, 6], F32), "a start and a step for each axis"),
            (node(Op::Pad(vec![usize::MAX, 0]), &[0], &[5, 6], F32), "reaches beyond [5, 6]"),
            (node(Op::Pad(vec![2, 0]), &[0], &[5, 6], F32), "reaches beyond [5, 6]"),
            (node(Op::Concat(2), &[0], &[4, 6], F32), "no axis 2 in [4, 6]"),
            (node(Op::Concat(0), &[], &[4, 6], F32), "expected at least one tensor"),
            (node(Op::Concat(0), &[0, 4], &[10, 6], F32), "[6, 5] is no part of [10, 6]"),
            (node(Op::Gather, &[5, 7], &[3], I32), "no axis 0 in []"),
        ];
        for (node, expected) in refused {
            let found = checked(&node).unwrap_err();
            assert!(found.contains(expected), "{found}, expected {expected}");
        }
        for (axis, start, step, dilation) in [(2, 0, 1, 1), (1, 0, 2, -1), (1, 2, 2, 1), (1, 5, -2, -2), (1, 9, 0, 0)] {
            let windows = Op::Windows { axis, start, step, dilation };
            checked(&node(windows, &[0], &[4, 3, 2], F32)).unwrap_err();
        }
    }

    #[test]
    fn a_letter_is_in_two_tensors_and_has_one_size() {
        for (left, right, result, shape) in [
            ("ij", "jk", "ii", [4, 4]),
            ("ij", "jk", "il", [4, 5]),
            ("ij", "lk", "ik", [4, 5]),
            ("ii", "ik", "ik", [4, 5]),
            ("ij", "jk", "ik", [4, 6]),
            ("ij", "ik", "jk", [6, 5]),
            ("ijl", "jk", "ik", [4, 5]),
        ] {
            let [left, right, result] = [left, right, result].map(|letters| letters.bytes().collect());
            let axes = Arc::new(Contraction { left, right, result });
            let node = node(Op::Contract(axes.clone()), &[0, 4], &shape, F32);
            assert!(checked(&node).is_err(), "{axes:?}");
        }
    }
}
