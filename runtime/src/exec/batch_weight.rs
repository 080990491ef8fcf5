//! How much a batch counts beside others in a mean over all of them.
//!
//! A loss that is a sum over the batch over a count, such as that of the targets that are not ignored, is right for
//! several batches together only if each is weighted by its count: Σ nᵢ / Σ dᵢ = Σ dᵢ (nᵢ / dᵢ) / Σ dᵢ. The count is
//! read off the graph, so that a loss of one's own is weighted as those of the library are.

use super::slots::{Extent, Memory, Region, Slot};
use crate::graph::{Graph, Op, Stage, Var};
use crate::ops::elementwise::{Binary, Unary};
use crate::ops::reduce::Reduce;
use crate::shape::DType;

/// The weight of a batch in the mean of a result: a number that may be a multiple of a count, the same one for
/// every batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weight {
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

/// How many operations are followed: from a loss back to the sum over the batch, and from there into its terms.
const BEHIND: usize = 256;
const TERMS: usize = 8;

/// The weights of single numbers; `None` where one is not known to be a sum over a count.
pub(super) fn weights(g: &Stage, results: &[Var]) -> Vec<Option<Weight>> {
    let reader = Reader::new(g);
    results.iter().map(|&v| if g[v].len() == 1 { reader.weight(v, BEHIND) } else { None }).collect()
}

struct Reader<'g> {
    g: &'g Stage,
    /// Which nodes depend on inputs.
    input: Vec<bool>,
    /// Which nodes depend on parameters.
    param: Vec<bool>,
}

impl Reader<'_> {
    fn new(g: &Stage) -> Reader<'_> {
        let (mut input, mut param): (Vec<bool>, Vec<bool>) = (Vec::new(), Vec::new());
        for node in g.graph().nodes() {
            let any = |of: &[bool]| node.args.iter().any(|arg| of[arg.index()]);
            let (on_input, on_param) = (any(&input), any(&param));
            input.push(on_input || matches!(node.op, Op::Input(_)));
            param.push(on_param || matches!(node.op, Op::Param(_)));
        }
        Reader { g, input, param }
    }

    /// Whether a value is the same for all batches of a step.
    fn is_fixed(&self, v: Var) -> bool {
        !self.input[v.index()]
    }

    /// Whether a value is written as zero times another one.
    fn is_times_zero(&self, v: Var) -> bool {
        let node = &self.g[v];
        matches!(node.op, Op::Binary(Binary::Mul)) && node.args.iter().any(|&arg| self.number(arg) == Some(0.0))
    }

    /// The number that a node is.
    fn number(&self, v: Var) -> Option<f64> {
        match self.g[v].op {
            Op::Const(bits) if self.g[v].dtype == DType::F32 => Some(f64::from(f32::from_bits(bits))),
            _ => None,
        }
    }

    /// The weight of a sum over a count, a multiple of one, or a sum of such.
    fn weight(&self, v: Var, depth: usize) -> Option<Weight> {
        let depth = depth.checked_sub(1)?;
        let node = &self.g[v];
        if self.g.totals.contains(&v) {
            let terms = if matches!(node.op, Op::Reduce(..)) { node.args[0] } else { v };
            return self.terms(terms, true, TERMS);
        }
        match (&node.op, &node.args[..]) {
            (Op::MatMul(..) | Op::Contract(_), _) => Some(Weight::Number(1.0)),
            (Op::Reshape | Op::Broadcast | Op::Unary(Unary::Neg), &[x]) if self.g[x].len() == 1 => {
                self.weight(x, depth)
            }
            (Op::Binary(Binary::Mul), &[a, b]) => self.product(a, b, depth).or_else(|| self.product(b, a, depth)),
            (Op::Binary(Binary::Div), &[a, b]) => self.quotient(self.weight(a, depth)?, b),
            (Op::Binary(Binary::Add | Binary::Sub), &[a, b]) => self.sum(a, b, depth),
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => self.weight(x, depth),
            _ => None,
        }
    }

    /// The weight that the terms of a sum bring along, as in `sum(terms * mask / sum(mask))`. Numbers count if the
    /// whole is divided by them, not where they scale a factor of it.
    fn terms(&self, v: Var, whole: bool, depth: usize) -> Option<Weight> {
        let node = &self.g[v];
        let Some(depth) = depth.checked_sub(1) else { return Some(Weight::Number(1.0)) };
        let scaled = |weight: Weight, by: f64| if whole && by != 0.0 { weight.times(by.abs()) } else { weight };
        match (&node.op, &node.args[..]) {
            (Op::Unary(Unary::Neg) | Op::Reshape | Op::Broadcast, &[x]) => self.terms(x, whole, depth),
            (Op::Reduce(Reduce::Sum, _), &[x]) => self.terms(x, false, depth),
            (Op::Binary(Binary::Mul), &[a, b]) => match (self.number(a), self.number(b)) {
                (Some(number), _) => Some(scaled(self.terms(b, whole, depth)?, 1.0 / number)),
                (_, Some(number)) => Some(scaled(self.terms(a, whole, depth)?, 1.0 / number)),
                _ => match (self.terms(a, false, depth)?, self.terms(b, false, depth)?) {
                    (Weight::Number(number), weight) | (weight, Weight::Number(number)) => Some(weight.times(number)),
                    _ => None,
                },
            },
            (Op::Binary(Binary::Div), &[a, b]) => {
                if let Some(number) = self.number(b) {
                    return Some(scaled(self.terms(a, whole, depth)?, number));
                }
                let (terms, by) = (self.terms(a, false, depth)?, self.repeated(b));
                if self.is_fixed(by) || self.count(by, BEHIND).is_none() {
                    Some(terms)
                } else {
                    self.quotient(terms, by)
                }
            }
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => self.terms(x, whole, depth),
            _ => Some(Weight::Number(1.0)),
        }
    }

    /// The value that is repeated in every element.
    fn repeated(&self, mut v: Var) -> Var {
        while let Op::Broadcast | Op::Reshape = self.g[v].op {
            v = self.g[v].args[0];
        }
        v
    }

    /// The weight of `a b`, where `b` is the same for all batches or one over a count.
    fn product(&self, a: Var, b: Var, depth: usize) -> Option<Weight> {
        if let Some(number) = self.number(b) {
            return self.weight(a, depth).filter(|_| number != 0.0).map(|weight| weight.times(1.0 / number.abs()));
        }
        if self.is_fixed(b) {
            return self.weight(a, depth);
        }
        match (&self.g[b].op, &self.g[b].args[..]) {
            (Op::Binary(Binary::Div), &[one, count]) if self.is_fixed(one) => {
                self.quotient(self.weight(a, depth)?, count)
            }
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
        match (a, self.count(b, BEHIND)?) {
            (Weight::Number(number), (count, factor)) => Some(Weight::Value(count, number * factor)),
            (Weight::Value(..), _) => None,
        }
    }

    /// The weight of `a + b`: the terms must have it in common. A term that is the same for all batches, such as a
    /// penalty of the parameters, has any weight, and so has zero times a term.
    fn sum(&self, a: Var, b: Var, depth: usize) -> Option<Weight> {
        let has_any = |v: Var| self.is_fixed(v) || self.is_times_zero(v);
        if has_any(a) || has_any(b) {
            return self.weight(if has_any(a) { b } else { a }, depth);
        }
        match (self.weight(a, depth)?, self.weight(b, depth)?) {
            // Means over as many elements a sample as one likes are in proportion to the samples.
            (Weight::Number(a), Weight::Number(b)) => Some(Weight::Number(a.max(b))),
            (a @ Weight::Value(v, _), Weight::Value(other, _)) if v == other => Some(a),
            _ => None,
        }
    }

    /// What a divisor counts, and a factor: a sum over the inputs, which no parameter has a part in, or one that
    /// is kept away from zero.
    fn count(&self, v: Var, depth: usize) -> Option<(Var, f64)> {
        let depth = depth.checked_sub(1)?;
        let node = &self.g[v];
        if self.param[v.index()] || node.len() != 1 {
            return None;
        }
        let whole = Some((v, 1.0)).filter(|_| node.dtype == DType::F32);
        if self.g.totals.contains(&v) {
            return whole;
        }
        let scaled = |v: Var, by: f64| self.count(v, depth).map(|(count, factor)| (count, factor * by));
        match (&node.op, &node.args[..]) {
            (Op::MatMul(..) | Op::Contract(_), _) => whole,
            // Whole numbers are counted as numbers.
            (Op::Cast, &[x]) if self.g[x].dtype != DType::F32 && self.g.totals.contains(&x) => whole,
            (Op::Reshape | Op::Broadcast, &[x]) => self.count(x, depth),
            (Op::Binary(Binary::Mul), &[a, b]) => match (self.number(a), self.number(b)) {
                (Some(number), _) => scaled(b, number),
                (_, Some(number)) => scaled(a, number),
                _ => None,
            },
            (Op::Binary(Binary::Div), &[a, b]) => scaled(a, 1.0 / self.number(b)?),
            (Op::Binary(Binary::Max), &[x, fixed] | &[fixed, x]) if self.is_fixed(fixed) => self.count(x, depth),
            (Op::Select, &[_, x, fixed] | &[_, fixed, x]) if self.is_fixed(fixed) => self.count(x, depth),
            (Op::Binary(Binary::Add), &[a, b]) => {
                let counts = |v| self.is_fixed(v) || self.count(v, depth).is_some();
                whole.filter(|_| counts(a) && counts(b))
            }
            _ => None,
        }
    }
}

/// The weights of the results of a compiled function, and the counts of its last run that they are made of.
pub(super) struct BatchWeights {
    of: Vec<Option<Weight>>,
    /// The values that are counts, each once, and what they were.
    values: Vec<Var>,
    counts: Vec<f32>,
}

impl BatchWeights {
    pub(super) fn new(of: &[Option<Weight>]) -> BatchWeights {
        let mut values = Vec::new();
        for weight in of.iter().flatten() {
            match weight {
                Weight::Value(v, _) if !values.contains(v) => values.push(*v),
                _ => {}
            }
        }
        BatchWeights { of: of.to_vec(), counts: vec![0.0; values.len()], values }
    }

    /// What a program writes.
    pub(super) fn results(&self, graph: &Graph) -> impl Iterator<Item = (Var, Region)> {
        let region = |(i, &v): (usize, &Var)| (v, Region::numbers(Slot::Count(i).start(), &graph[v].shape));
        self.values.iter().enumerate().map(region)
    }

    /// The memory that it is written to.
    pub(super) fn slots(&self) -> impl Iterator<Item = Extent> {
        (0..self.values.len()).map(|i| Extent::written(Slot::Count(i), 1))
    }

    /// The memory of a slot.
    pub(super) fn memory(&mut self, i: usize) -> Option<Memory> {
        self.counts.get_mut(i..=i).map(Memory::write)
    }

    /// The weight of a batch of `samples` samples in the mean of a result: the samples, where it is not known to be a
    /// sum over a count.
    pub(super) fn get(&self, result: usize, samples: usize) -> f64 {
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
