//! How much a batch counts beside others in a mean over all of them.
//!
//! A loss that is a sum over the batch over a count, such as that of the targets that are not ignored, is right for
//! several batches together only if each is weighted by its count: Σ nᵢ / Σ dᵢ = Σ dᵢ (nᵢ / dᵢ) / Σ dᵢ. The count is
//! read off the graph, so that a loss of one's own is weighted as those of the library are.

use std::ops::Index;

use crate::exec::run::memory::Memory;
use crate::graph::{Graph, Node, Op, Stage, Var};
use crate::ir::elementwise::{Binary, Unary};
use crate::ir::reduce::Reduce;
use crate::kernel::{Extent, Region, Slot};
use crate::shape::DType;

/// The weight of a batch in the mean of a result: a number that may be a multiple of a count, the same one for
/// every batch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weight {
    /// A number that depends on the shapes of the inputs alone.
    Number(f64),
    /// A multiple of a single number of the graph.
    Value(Var, f64),
}

impl Weight {
    fn times(self, factor: f64) -> Weight {
        match self {
            Weight::Number(number) => Weight::Number(number * factor),
            Weight::Value(v, number) => Weight::Value(v, number * factor),
        }
    }
}

/// What is known of a node, by what is known of its arguments.
struct Facts {
    /// Whether it depends on inputs.
    input: bool,
    /// Whether it depends on parameters.
    param: bool,
    /// The value that is repeated in every element.
    repeated: Var,
    /// What it counts as a divisor, and a factor: a sum over the inputs, which no parameter has a part in, or one that is
    /// kept away from zero.
    count: Option<(Var, f64)>,
    /// The weight that it brings along as terms of a sum, as in `sum(terms * mask / sum(mask))`.
    terms: Option<Weight>,
    /// The same where it is a factor of the terms: numbers count if the whole is divided by them, not here.
    factor: Option<Weight>,
    /// The weight of a sum over a count, a multiple of one, or a sum of such.
    weight: Option<Weight>,
}

/// Reads what is known of nodes, in their order.
struct Reader<'g> {
    g: &'g Stage,
    facts: Vec<Facts>,
}

impl Index<Var> for Reader<'_> {
    type Output = Facts;

    fn index(&self, v: Var) -> &Facts {
        &self.facts[v.index()]
    }
}

impl Reader<'_> {
    fn new(g: &Stage) -> Reader<'_> {
        let mut reader = Reader { g, facts: Vec::with_capacity(g.graph().nodes().len()) };
        for (v, _) in g.graph().vars() {
            let facts = reader.read(v);
            reader.facts.push(facts);
        }
        reader
    }

    fn read(&self, v: Var) -> Facts {
        let node = &self.g[v];
        let param = matches!(node.op, Op::Param(_)) || node.args.iter().any(|&arg| self[arg].param);
        let (terms, factor) = (self.terms(node, true), self.terms(node, false));
        Facts {
            input: matches!(node.op, Op::Input(_)) || node.args.iter().any(|&arg| self[arg].input),
            param,
            repeated: match (&node.op, &node.args[..]) {
                (Op::Broadcast | Op::Reshape, &[x]) => self[x].repeated,
                _ => v,
            },
            count: if param || node.len() != 1 { None } else { self.count(v) },
            terms,
            factor,
            weight: if self.g.totals.contains(&v) { self.total(node, terms) } else { self.weight(node) },
        }
    }

    /// Whether a value is the same for all batches of a step.
    fn is_fixed(&self, v: Var) -> bool {
        !self[v].input
    }

    /// Whether a value is written as zero times another one.
    fn is_times_zero(&self, v: Var) -> bool {
        let node = &self.g[self[v].repeated];
        matches!(node.op, Op::Binary(Binary::Mul)) && node.args.iter().any(|&arg| self.number(arg) == Some(0.0))
    }

    /// The number that a node is.
    fn number(&self, v: Var) -> Option<f64> {
        match self.g[v].op {
            Op::Const(bits) if self.g[v].dtype == DType::F32 => Some(f64::from(f32::from_bits(bits))),
            _ => None,
        }
    }

    /// The weight of a sum of all elements of a value.
    fn total(&self, node: &Node, own: Option<Weight>) -> Option<Weight> {
        if matches!(node.op, Op::Reduce(..)) { self[node.args[0]].terms } else { own }
    }

    fn weight(&self, node: &Node) -> Option<Weight> {
        match (&node.op, &node.args[..]) {
            (Op::MatMul(..) | Op::Contract(_), _) => Some(Weight::Number(1.0)),
            (Op::Reshape | Op::Broadcast | Op::Unary(Unary::Neg), &[x]) if self.g[x].len() == 1 => self[x].weight,
            (Op::Binary(Binary::Mul), &[a, b]) => self.product(a, b).or_else(|| self.product(b, a)),
            (Op::Binary(Binary::Div), &[a, b]) => self.quotient(self[a].weight?, b),
            (Op::Binary(Binary::Add | Binary::Sub), &[a, b]) => self.sum(a, b),
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => self[x].weight,
            _ => None,
        }
    }

    fn terms(&self, node: &Node, whole: bool) -> Option<Weight> {
        let of = |v: Var| if whole { self[v].terms } else { self[v].factor };
        let scaled = |weight: Weight, by: f64| if whole && by != 0.0 { weight.times(by.abs()) } else { weight };
        match (&node.op, &node.args[..]) {
            (Op::Unary(Unary::Neg) | Op::Reshape | Op::Broadcast, &[x]) => of(x),
            (Op::Reduce(Reduce::Sum, _), &[x]) => self[x].factor,
            (Op::Binary(Binary::Mul), &[a, b]) => match (self.number(a), self.number(b)) {
                (Some(number), _) => Some(scaled(of(b)?, 1.0 / number)),
                (_, Some(number)) => Some(scaled(of(a)?, 1.0 / number)),
                _ => match (self[a].factor?, self[b].factor?) {
                    (Weight::Number(number), weight) | (weight, Weight::Number(number)) => Some(weight.times(number)),
                    _ => None,
                },
            },
            (Op::Binary(Binary::Div), &[a, b]) => {
                if let Some(number) = self.number(b) {
                    return Some(scaled(of(a)?, number));
                }
                let (terms, by) = (self[a].factor?, self[b].repeated);
                let counts = !self.is_fixed(by) && self[by].count.is_some();
                if counts { self.quotient(terms, by) } else { Some(terms) }
            }
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => of(x),
            _ => Some(Weight::Number(1.0)),
        }
    }

    /// The weight of `a b`, where `b` is the same for all batches or one over a count.
    fn product(&self, a: Var, b: Var) -> Option<Weight> {
        let weight = self[a].weight?;
        if let Some(number) = self.number(b) {
            return (number != 0.0).then(|| weight.times(1.0 / number.abs()));
        }
        if self.is_fixed(b) {
            return Some(weight);
        }
        match (&self.g[b].op, &self.g[b].args[..]) {
            (Op::Binary(Binary::Div), &[one, count]) if self.is_fixed(one) => self.quotient(weight, count),
            _ => None,
        }
    }

    /// The weight of `a / b`, where that of `a` is known.
    fn quotient(&self, a: Weight, b: Var) -> Option<Weight> {
        if let Some(number) = self.number(b) {
            return Some(a.times(number.abs()));
        }
        if self.is_fixed(b) {
            return Some(a);
        }
        match (a, self[b].count?) {
            (Weight::Number(number), (count, factor)) => Some(Weight::Value(count, number * factor)),
            (Weight::Value(..), _) => None,
        }
    }

    /// The weight of `a + b`: the terms must have it in common. A term that is the same for all batches, such as a
    /// penalty of the parameters, has any weight, and so has zero times a term.
    fn sum(&self, a: Var, b: Var) -> Option<Weight> {
        let has_any = |v: Var| self.is_fixed(v) || self.is_times_zero(v);
        if has_any(a) || has_any(b) {
            return self[if has_any(a) { b } else { a }].weight;
        }
        match (self[a].weight?, self[b].weight?) {
            // Means over as many elements a sample as one likes are in proportion to the samples.
            (Weight::Number(a), Weight::Number(b)) => Some(Weight::Number(a.max(b))),
            (a @ Weight::Value(v, _), Weight::Value(other, _)) if v == other => Some(a),
            _ => None,
        }
    }

    /// What a single number counts that no parameter has a part in.
    fn count(&self, v: Var) -> Option<(Var, f64)> {
        let node = &self.g[v];
        let whole = Some((v, 1.0)).filter(|_| node.dtype == DType::F32);
        if self.g.totals.contains(&v) {
            return whole;
        }
        let scaled = |v: Var, by: f64| self[v].count.map(|(count, factor)| (count, factor * by));
        match (&node.op, &node.args[..]) {
            (Op::MatMul(..) | Op::Contract(_), _) => whole,
            // Whole numbers are counted as numbers.
            (Op::Cast, &[x]) if self.g[x].dtype != DType::F32 && self.g.totals.contains(&x) => whole,
            (Op::Reshape | Op::Broadcast, &[x]) => self[x].count,
            (Op::Binary(Binary::Mul), &[a, b]) => match (self.number(a), self.number(b)) {
                (Some(number), _) => scaled(b, number),
                (_, Some(number)) => scaled(a, number),
                _ => None,
            },
            (Op::Binary(Binary::Div), &[a, b]) => scaled(a, 1.0 / self.number(b)?),
            (Op::Binary(Binary::Max), &[x, fixed] | &[fixed, x]) if self.is_fixed(fixed) => self[x].count,
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => self[x].count,
            (Op::Binary(Binary::Add), &[a, b]) => {
                let counts = |v| self.is_fixed(v) || self[v].count.is_some();
                whole.filter(|_| counts(a) && counts(b))
            }
            _ => None,
        }
    }
}

/// The weights of the results of a compiled function, and the counts of its last run that they are made of.
#[derive(Clone)]
pub(crate) struct BatchWeights {
    of: Vec<Option<Weight>>,
    /// The values that are counts, each once, and what they were.
    values: Vec<Var>,
    counts: Vec<f32>,
}

impl BatchWeights {
    /// The weights of results, as far as each is known to be a single number that is a sum over a count.
    pub(crate) fn new(g: &Stage, results: &[Var]) -> BatchWeights {
        let reader = Reader::new(g);
        let weight = |&v: &Var| if g[v].len() == 1 { reader[v].weight } else { None };
        let of: Vec<Option<Weight>> = results.iter().map(weight).collect();
        let mut values = Vec::new();
        for weight in of.iter().flatten() {
            match weight {
                Weight::Value(v, _) if !values.contains(v) => values.push(*v),
                _ => {}
            }
        }
        BatchWeights { of, counts: vec![0.0; values.len()], values }
    }

    /// What a program writes.
    pub(crate) fn results(&self, graph: &Graph) -> impl Iterator<Item = (Var, Region)> {
        let region = |(i, &v): (usize, &Var)| (v, Region::numbers(Slot::Count(i).start(), &graph[v].shape));
        self.values.iter().enumerate().map(region)
    }

    /// The memory that it is written to.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Extent> {
        (0..self.values.len()).map(|i| Extent::written(Slot::Count(i), 1))
    }

    /// The memory of a slot.
    pub(crate) fn memory(&mut self, i: usize) -> Option<Memory> {
        self.counts.get_mut(i..=i).map(Memory::write)
    }

    /// The weight of a batch of `samples` samples in the mean of a result: the samples, where it is not known to be a
    /// sum over a count.
    pub(crate) fn get(&self, result: usize, samples: usize) -> f64 {
        match self.of.get(result).copied().flatten() {
            Some(Weight::Number(number)) => number,
            Some(Weight::Value(v, factor)) => {
                let count = self.values.iter().zip(&self.counts).find(|&(&value, _)| value == v);
                count.map_or(0.0, |(_, &count)| f64::from(count) * factor)
            }
            None => samples as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_twice_is_looked_at_once() {
        let mut g = Stage::new();
        let (x, w) = (g.input(0, &[8], DType::F32), g.param(0, &[]));
        let (total, count) = (g.reduce(Reduce::Sum, x, 1), g.unary(Unary::Abs, x));
        let mut count = g.reduce(Reduce::Sum, count, 1);
        let mut loss = g.binary(Binary::Div, total, count);
        loss = g.reshape(loss, &[]);
        for _ in 0..100 {
            let [left, right] = [g.binary(Binary::Mul, loss, w), g.binary(Binary::Div, loss, w)];
            loss = g.binary(Binary::Add, left, right);
            let two = g.number(2.0);
            let [left, right] = [g.binary(Binary::Max, count, two), g.binary(Binary::Mul, count, two)];
            count = g.binary(Binary::Add, left, right);
        }
        let counted = g.binary(Binary::Div, total, count);
        let weights = BatchWeights::new(&g, &[loss, counted]);
        assert!(matches!(weights.of[..], [Some(Weight::Value(..)), Some(Weight::Value(v, _))] if v == count));
    }
}
