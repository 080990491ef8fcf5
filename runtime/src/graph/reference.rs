//! The plain evaluator of a graph in double precision: slow, obvious, and the oracle that
//! gradients and compiled kernels are tested against.

use std::collections::HashMap;

use super::{Contraction, Graph, Node, Op, Var};
use crate::shape::DType;

/// Computes nodes of a graph. `source` gives the elements of inputs and parameters.
///
/// # Errors
///
/// Where an index is out of range: its value and the number of rows.
pub fn evaluate(graph: &Graph, roots: &[Var], source: &dyn Fn(&Op) -> Vec<f64>) -> Result<Vec<Vec<f64>>, OutOfRange> {
    let live = graph.live(roots.iter().copied());
    let mut values: HashMap<Var, Vec<f64>> = HashMap::new();
    for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
        let args: Vec<&[f64]> = node.args.iter().map(|a| values[a].as_slice()).collect();
        let value = node_value(graph, node, &args, source)?;
        debug_assert_eq!(value.len(), node.len(), "{node:?}");
        values.insert(v, value);
    }
    Ok(roots.iter().map(|v| values[v].clone()).collect())
}

/// An index that names no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index {index} is out of range for {rows} rows")]
pub struct OutOfRange {
    /// The index.
    pub index: i64,
    /// The number of rows.
    pub rows: usize,
}

fn node_value(
    graph: &Graph,
    node: &Node,
    args: &[&[f64]],
    source: &dyn Fn(&Op) -> Vec<f64>,
) -> Result<Vec<f64>, OutOfRange> {
    let shape = |i: usize| graph[node.args[i]].shape.as_slice();
    Ok(match &node.op {
        Op::Input(_) | Op::Param(_) => source(&node.op),
        Op::Data(data) => data.iter().map(|&bits| element(bits, node.dtype)).collect(),
        Op::Const(bits) => vec![element(*bits, node.dtype); node.len()],
        Op::Seed => source(&node.op),
        Op::Random(stream) => {
            let seed = args[0][0] as i64 as u32;
            (0..node.len()).map(|i| crate::ir::random::reference(seed, *stream, i as u32)).collect()
        }
        Op::Iota => (0..node.len()).map(|i| i as f64).collect(),
        Op::Unary(op) => args[0].iter().map(|&x| op.reference(x)).collect(),
        Op::Binary(op) if node.dtype == DType::I32 => (args[0].iter().zip(args[1]))
            .map(|(&a, &b)| op.whole(a as i32, b as i32).map_or(f64::NAN, f64::from))
            .collect(),
        Op::Binary(op) => args[0].iter().zip(args[1]).map(|(&a, &b)| op.reference(a, b)).collect(),
        Op::Fma(op) => (0..node.len()).map(|i| op.reference(args[0][i], args[1][i], args[2][i])).collect(),
        Op::Compare(op) => args[0].iter().zip(args[1]).map(|(&a, &b)| op.reference(a, b) as u8 as f64).collect(),
        Op::Select => (0..node.len()).map(|i| if args[0][i] != 0.0 { args[1][i] } else { args[2][i] }).collect(),
        Op::Cast => match node.dtype {
            // As the machine does it: what no whole number is near becomes the nearest one, NaN becomes zero.
            DType::I32 => args[0].iter().map(|&x| f64::from(x as i32)).collect(),
            DType::Bool => args[0].iter().map(|&x| (x != 0.0) as u8 as f64).collect(),
            DType::F32 => args[0].to_vec(),
        },
        Op::Within(rows) | Op::Checked(rows) => match args[0].iter().find(|&&x| !rows.admits(x as i32)) {
            Some(&x) => return Err(OutOfRange { index: x as i64, rows: rows.count }),
            None => args[0].to_vec(),
        },
        Op::Reduce(op, _) => {
            let mut out = vec![op.identity() as f64; node.len()];
            for (at, &x) in places(shape(0)).zip(args[0]) {
                let to = &mut out[clamped(&at, &node.shape)];
                *to = op.reference(*to, x);
            }
            out
        }
        Op::Broadcast => places(&node.shape).map(|at| args[0][clamped(&at, shape(0))]).collect(),
        Op::Reshape => args[0].to_vec(),
        Op::Transpose(axes) => places(&node.shape)
            .map(|at| {
                let mut from = vec![0; at.len()];
                for (i, &axis) in axes.iter().enumerate() {
                    from[axis] = at[i];
                }
                args[0][clamped(&from, shape(0))]
            })
            .collect(),
        Op::Slice(window) => places(&node.shape)
            .map(|at| {
                let from: Vec<usize> = at
                    .iter()
                    .zip(window)
                    .map(|(&i, &(start, step))| (start as isize + i as isize * step) as usize)
                    .collect();
                args[0][clamped(&from, shape(0))]
            })
            .collect(),
        Op::Windows { axis, start, step, dilation } => places(&node.shape)
            .map(|mut at| {
                let j = at.remove(axis + 1) as isize;
                at[*axis] = (*start as isize + at[*axis] as isize * step + j * dilation) as usize;
                args[0][clamped(&at, shape(0))]
            })
            .collect(),
        Op::Pad(before) => {
            let mut out = vec![0.0; node.len()];
            for (at, &x) in places(shape(0)).zip(args[0]) {
                let to: Vec<usize> = at.iter().zip(before).map(|(i, b)| i + b).collect();
                out[clamped(&to, &node.shape)] = x;
            }
            out
        }
        Op::Concat(axis) => {
            let mut out = vec![0.0; node.len()];
            let mut start = 0;
            for (i, arg) in args.iter().enumerate() {
                for (mut at, &x) in places(shape(i)).zip(*arg) {
                    at[*axis] += start;
                    out[clamped(&at, &node.shape)] = x;
                }
                start += shape(i)[*axis];
            }
            out
        }
        Op::MatMul(ta, tb) => {
            let rank = node.shape.len();
            let (m, n) = (node.shape[rank - 2], node.shape[rank - 1]);
            let k = shape(0)[if *ta { rank - 2 } else { rank - 1 }];
            let mut out = vec![0.0; node.len()];
            for (i, to) in out.iter_mut().enumerate() {
                let (batch, row, column) = (i / (m * n), i / n % m, i % n);
                let a = |j: usize| args[0][batch * m * k + if *ta { j * m + row } else { row * k + j }];
                let b = |j: usize| args[1][batch * k * n + if *tb { column * k + j } else { j * n + column }];
                *to = (0..k).map(|j| a(j) * b(j)).sum();
            }
            out
        }
        Op::Contract(axes) => {
            let Contraction { left, right, result } = &**axes;
            let mut letters = [&left[..], right].concat();
            letters.sort_unstable();
            letters.dedup();
            let size = |l: &u8| {
                left.iter().position(|x| x == l).map_or_else(
                    || shape(1)[right.iter().position(|x| x == l).expect("a letter of an argument")],
                    |i| shape(0)[i],
                )
            };
            let sizes: Vec<usize> = letters.iter().map(size).collect();
            let mut out = vec![0.0; node.len()];
            for at in places(&sizes) {
                let offset = |of: &[u8], shape: &[usize]| {
                    let place = |l: &u8| at[letters.binary_search(l).expect("one of all letters")];
                    clamped(&of.iter().map(place).collect::<Vec<_>>(), shape)
                };
                out[offset(result, &node.shape)] += args[0][offset(left, shape(0))] * args[1][offset(right, shape(1))];
            }
            out
        }
        Op::Gather => {
            let rows = shape(0)[0];
            let width: usize = shape(0)[1..].iter().product();
            let mut out = Vec::with_capacity(node.len());
            for &index in args[1] {
                let row = checked_row(index, rows)?;
                out.extend_from_slice(&args[0][row * width..(row + 1) * width]);
            }
            out
        }
        Op::ScatterAdd => {
            let rows = node.shape[0];
            let width: usize = node.shape[1..].iter().product();
            let mut out = args.get(2).map_or_else(|| vec![0.0; node.len()], |base| base.to_vec());
            for (i, &index) in args[0].iter().enumerate() {
                let row = checked_row(index, rows)?;
                for j in 0..width {
                    out[row * width + j] += args[1][i * width + j];
                }
            }
            out
        }
    })
}

/// The element that 32 bits stand for.
pub(crate) fn element(bits: u32, dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::Bool => f32::from_bits(bits) as f64,
        DType::I32 => bits as i32 as f64,
    }
}

fn checked_row(index: f64, rows: usize) -> Result<usize, OutOfRange> {
    if index >= 0.0 && index < rows as f64 { Ok(index as usize) } else { Err(OutOfRange { index: index as i64, rows }) }
}

/// All places of a shape in order.
fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let len: usize = shape.iter().product();
    (0..len).map(|mut flat| {
        let mut at = vec![0; shape.len()];
        for (i, &size) in shape.iter().enumerate().rev() {
            at[i] = flat % size;
            flat /= size;
        }
        at
    })
}

/// The offset of a place, where axes of size one stand for every place along them.
fn clamped(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |flat, (&i, &size)| flat * size + if size == 1 { 0 } else { i })
}
