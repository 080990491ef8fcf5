//! Products and sums contracted to fused multiply-adds, which round once.
//!
//! A product with another reader than the sum is not contracted: all readers must see the same number. Otherwise the
//! largest element of a row, rematerialised in another kernel, might not be equal to itself. Readers are compared by
//! their structure, not by their scope, so that a checkpointed value that is computed again has the same bits as the
//! first time.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, Op, Var};
use crate::ir::elementwise::Binary;
use crate::ir::multiply_add::Fma;
use crate::kernel::Place;
use crate::shape::DType;

/// The graph with fused multiply-adds in place of sums and differences of products.
pub(crate) fn with_multiply_adds(graph: &Graph, outputs: &[(Var, Place)]) -> Graph {
    let live = graph.live(outputs.iter().map(|&(v, _)| v));
    let of = |v: Var| graph.structure[v.index()];
    let mut users: HashMap<u64, HashSet<u64>> = HashMap::new();
    for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
        for &arg in &node.args {
            users.entry(of(arg)).or_default().insert(of(v));
        }
    }
    let results: HashSet<u64> = outputs.iter().map(|&(v, _)| of(v)).collect();
    let is_product = |v: Var| graph[v].op == Op::Binary(Binary::Mul);
    let vanishes = |v: Var| is_product(v) && users[&of(v)].len() == 1 && !results.contains(&of(v));
    let mut joined = graph.clone();
    for (v, node) in graph.vars().filter(|(v, node)| live[v.index()] && node.dtype == DType::F32) {
        let (Op::Binary(op), &[a, b]) = (&node.op, &node.args[..]) else { continue };
        if a == b {
            continue;
        }
        // Of two products, the one that was staged last is contracted.
        let (op, product, other) = match (op, vanishes(a), vanishes(b)) {
            (Binary::Add, _, true) => (Fma::MulAdd, b, a),
            (Binary::Add, true, _) => (Fma::MulAdd, a, b),
            (Binary::Sub, _, true) => (Fma::SubMul, b, a),
            (Binary::Sub, true, _) => (Fma::MulSub, a, b),
            _ => continue,
        };
        let node = &mut joined.nodes[v.index()];
        node.op = Op::Fma(op);
        node.args = [&graph[product].args[..], &[other]].concat();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Stage;
    use crate::kernel::Slot;

    const AT: Place = Slot::Output(0).start();

    /// The operations that are left of these results, but for inputs.
    fn left(g: &Stage, results: &[Var]) -> Vec<Op> {
        let outputs: Vec<(Var, Place)> = results.iter().map(|&v| (v, AT)).collect();
        let joined = with_multiply_adds(g.graph(), &outputs);
        let live = joined.live(results.iter().copied());
        let nodes = joined.vars().filter(|(v, node)| live[v.index()] && !matches!(node.op, Op::Input(_)));
        nodes.map(|(_, node)| node.op.clone()).collect()
    }

    fn inputs(g: &mut Stage) -> [Var; 3] {
        [0, 1, 2].map(|slot| g.input(slot, &[8], DType::F32))
    }

    /// A product, and a sum with it.
    fn product_and_sum(g: &mut Stage) -> [Var; 2] {
        let [a, b, c] = inputs(g);
        let product = g.binary(Binary::Mul, a, b);
        [product, g.binary(Binary::Add, product, c)]
    }

    #[test]
    fn a_product_and_a_sum_are_one_operation() {
        let mut g = Stage::new();
        let [a, b, c] = inputs(&mut g);
        let product = g.binary(Binary::Mul, a, b);
        for (op, x, y, fused) in [
            (Binary::Add, product, c, Fma::MulAdd),
            (Binary::Add, c, product, Fma::MulAdd),
            (Binary::Sub, product, c, Fma::MulSub),
            (Binary::Sub, c, product, Fma::SubMul),
        ] {
            let sum = g.binary(op, x, y);
            assert_eq!(left(&g, &[sum]), [Op::Fma(fused)]);
        }
        let twice = g.binary(Binary::Add, product, product);
        assert_eq!(left(&g, &[twice]), [Op::Binary(Binary::Mul), Op::Binary(Binary::Add)]);
    }

    #[test]
    fn a_product_of_which_more_is_made_stays() {
        let mut g = Stage::new();
        let [product, sum] = product_and_sum(&mut g);
        let [_, _, c] = inputs(&mut g);
        let other = g.binary(Binary::Max, product, c);
        let both = [Op::Binary(Binary::Mul), Op::Binary(Binary::Add)];
        assert_eq!(left(&g, &[sum, other])[..2], both);
        assert_eq!(left(&g, &[sum, product]), both);
    }

    #[test]
    fn what_is_computed_again_is_computed_in_the_same_way() {
        let mut g = Stage::new();
        let [_, sum] = product_and_sum(&mut g);
        let again = {
            let mut g = g.recompute(true);
            let [product, sum] = product_and_sum(&mut g);
            g.binary(Binary::Max, product, sum)
        };
        let ops = left(&g, &[sum, again]);
        assert_eq!(ops.iter().filter(|op| **op == Op::Binary(Binary::Add)).count(), 2, "{ops:?}");
    }
}
