//! Sums of products: of matrices, and over any axes.

use super::rule::{args, ensure, of_type};
use super::{Class, Contraction, Evaluated, Facts, Operation, Rule};
use crate::graph::reference::{Evaluation, offset, places};
use crate::graph::{Graph, Node, Var};
use crate::shape::{DType, Rows};

const FACTS: Facts = Facts { class: Class::Alone, dense: false, commutes: false, cheap: false };

/// Matrix products over equal outer axes; a flag says that the argument is transposed.
pub(super) struct MatMul(pub(super) bool, pub(super) bool);

impl Operation for MatMul {
    fn name(&self) -> String {
        "matmul".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let ([a, b], shape, rank) = (args(graph, node)?, &node.shape, node.shape.len());
        [a, b, node].into_iter().try_for_each(|x| of_type(x, DType::F32))?;
        let fits = rank >= 2 && a.shape.len() == rank && b.shape.len() == rank && {
            let sizes = |x: &Node, turned: bool| {
                let [rows, columns] = [x.shape[rank - 2], x.shape[rank - 1]];
                if turned { [columns, rows] } else { [rows, columns] }
            };
            let ([m, k], [inner, n]) = (sizes(a, self.0), sizes(b, self.1));
            let outer = |x: &Node| x.shape[..rank - 2] == shape[..rank - 2];
            outer(a) && outer(b) && k == inner && shape[rank - 2..] == [m, n]
        };
        ensure(fits, || format!("{:?} and {:?} do not give {shape:?}", a.shape, b.shape))
    }

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let (shape, rank) = (&e.node.shape, e.node.shape.len());
        let (m, n) = (shape[rank - 2], shape[rank - 1]);
        let k = e.shape(0)[if self.0 { rank - 2 } else { rank - 1 }];
        let element = |i: usize| {
            let (batch, row, column) = (i / (m * n), i / n % m, i % n);
            let a = |j: usize| e.args[0][batch * m * k + if self.0 { j * m + row } else { row * k + j }];
            let b = |j: usize| e.args[1][batch * k * n + if self.1 { column * k + j } else { j * n + column }];
            (0..k).map(|j| a(j) * b(j)).sum()
        };
        Ok((0..e.node.len()).map(element).collect())
    }
}

impl Operation for Contraction {
    fn name(&self) -> String {
        "contract".into()
    }

    fn facts(&self) -> Facts {
        FACTS
    }

    fn index(&self, _: &Graph, _: &Node) -> Option<(Var, Rows)> {
        None
    }

    /// Each letter has one size and is once in a tensor; what is not in the result is in both arguments.
    fn rule(&self, graph: &Graph, node: &Node) -> Rule {
        let [a, b] = args(graph, node)?;
        [a, b, node].into_iter().try_for_each(|x| of_type(x, DType::F32))?;
        let (Contraction { left, right, result }, shapes) = (self, [&a.shape[..], &b.shape, &node.shape]);
        for (letters, shape) in [left, right, result].into_iter().zip(shapes) {
            ensure(letters.len() == shape.len(), || format!("{} letters for the axes of {shape:?}", letters.len()))?;
            let twice = (1..letters.len()).find(|&i| letters[..i].contains(&letters[i]));
            ensure(twice.is_none(), || format!("a letter is twice in the axes of {shape:?}"))?;
        }
        let size = |l: &u8, of: &[u8], shape: &[usize]| of.iter().position(|x| x == l).map(|i| shape[i]);
        let all = [(left, shapes[0]), (right, shapes[1]), (result, shapes[2])];
        for (l, &n) in all.into_iter().flat_map(|(letters, shape)| letters.iter().zip(shape)) {
            let sizes = all.map(|(letters, shape)| size(l, letters, shape));
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

    fn reference(&self, e: &Evaluation<'_>) -> Evaluated {
        let Contraction { left, right, result } = self;
        let mut letters = [&left[..], right].concat();
        letters.sort_unstable();
        letters.dedup();
        let size = |l: &u8| {
            let of = |letters: &[u8], shape: &[usize]| letters.iter().position(|x| x == l).map(|i| shape[i]);
            of(left, e.shape(0)).or_else(|| of(right, e.shape(1))).expect("a letter of an argument")
        };
        let sizes: Vec<usize> = letters.iter().map(size).collect();
        let mut out = vec![0.0; e.node.len()];
        for at in places(&sizes) {
            let element = |of: &[u8], shape: &[usize]| {
                let place = |l: &u8| at[letters.binary_search(l).expect("one of all letters")];
                offset(&of.iter().map(place).collect::<Vec<_>>(), shape)
            };
            let product = e.args[0][element(left, e.shape(0))] * e.args[1][element(right, e.shape(1))];
            out[element(result, &e.node.shape)] += product;
        }
        Ok(out)
    }
}
