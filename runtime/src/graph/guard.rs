//! Guarded products of gradients and slopes: a branch that was not taken contributes nothing to a gradient.
//!
//! The gradient of `select(mask, x, 0)` is `select(mask, d, 0)`: zero where the branch was not taken. But the next
//! slope may be infinite exactly there, as that of √x at 0, and zero times infinity is NaN. So the product is moved
//! into the selection: `select(m, d, 0) · s = select(m, d · s, 0)`. Where the selection is hidden behind a sum or
//! another operation, the product is instead selected against zero wherever the gradient is zero:
//! `select(d != 0, d · s, 0)`.
//!
//! An element is *masked* if it is zero because a branch was not taken.

use super::{Op, Stage, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::reduce::Reduce;
use crate::shape::DType;

/// How many nested selections a product is moved into. More of them come from a loop, where each iteration would stage
/// the products of all iterations before it anew.
const MAX_NESTED_SELECTS: usize = 4;

/// How many views of a selection a product is moved through, each of which is staged again.
const MAX_VIEWS: usize = 16;

/// A selection of a value against zero.
pub(crate) struct Choice {
    pub(crate) mask: Var,
    /// The value where it is not masked.
    pub(crate) value: Var,
    /// Whether the value is taken where the mask holds; else where it does not.
    pub(crate) holds: bool,
}

impl Stage {
    /// The product or quotient of a gradient `d` and `by`, zero where `d` is masked.
    pub(crate) fn guarded(&mut self, op: Binary, d: Var, by: Var) -> Var {
        self.moved_into_select(op, d, by, MAX_NESTED_SELECTS)
    }

    /// The product of `a` and `b`, zero where either is masked.
    pub(crate) fn guarded_by_both(&mut self, a: Var, b: Var) -> Var {
        self.moved_into_either_select(a, b, MAX_NESTED_SELECTS)
    }

    fn moved_into_either_select(&mut self, a: Var, b: Var, nested: usize) -> Var {
        // A product with a constant side costs nothing, so that the product moves into both sides.
        if let (&Op::Select, &[mask, x, y]) = (&self[b].op, &self[b].args[..])
            && nested > 0
            && [x, y].iter().any(|&side| self.is_constant(side))
        {
            let [x, y] = [x, y].map(|side| self.moved_into_either_select(a, side, nested - 1));
            return self.select(mask, x, y);
        }
        let product = self.guarded(Binary::Mul, a, b);
        if self.is_finite(a) || !self.may_be_masked(b) { product } else { self.where_not_zero(b, product) }
    }

    fn moved_into_select(&mut self, op: Binary, d: Var, by: Var, nested: usize) -> Var {
        if self.is_zero(d) || op == Binary::Mul && self.is_zero(by) {
            let (d, _) = self.broadcast_both(d, by);
            let shape = self[d].shape.clone();
            return self.fill(0.0, &shape);
        }
        if let Some(choice) = self.choice(d).filter(|_| nested > 0) {
            // A gradient that `where_not_zero` has guarded needs no second guard.
            let product = match self.is_of_zeros(choice.mask) {
                true => self.binary(op, choice.value, by),
                false => self.moved_into_select(op, choice.value, by, nested - 1),
            };
            return self.chosen(choice.mask, choice.holds, product);
        }
        let product = self.binary(op, d, by);
        if self.is_finite(by) || !self.may_be_masked(d) { product } else { self.where_not_zero(d, product) }
    }

    /// The product, but zero where `d` is zero.
    fn where_not_zero(&mut self, d: Var, product: Var) -> Var {
        let zero = self.number(0.0);
        let taken = self.compare(Compare::Ne, d, zero);
        self.not_zero.insert(taken);
        self.select(taken, product, zero)
    }

    /// Whether a mask is one that `where_not_zero` has made, or a view of such a mask.
    fn is_of_zeros(&self, mask: Var) -> bool {
        let (_, inner) = self.through_views(mask);
        self.not_zero.contains(&inner)
    }

    /// The value that `v` is a view of, after the views on the way there, the outermost first.
    pub(crate) fn through_views(&self, mut v: Var) -> (Vec<Var>, Var) {
        let mut views = Vec::new();
        while let (Op::Broadcast | Op::Reshape | Op::Transpose(_), &[inner]) = (&self[v].op, &self[v].args[..])
            && views.len() < MAX_VIEWS
        {
            views.push(v);
            v = inner;
        }
        (views, v)
    }

    fn chosen(&mut self, mask: Var, holds: bool, value: Var) -> Var {
        let zero = self.number(0.0);
        if holds { self.select(mask, value, zero) } else { self.select(mask, zero, value) }
    }

    /// `v` as a selection against zero, if `v` is one or a view of one.
    pub(crate) fn choice(&mut self, v: Var) -> Option<Choice> {
        let (views, inner) = self.through_views(v);
        let (Op::Select, DType::F32, &[mask, x, y]) = (&self[inner].op, self[inner].dtype, &self[inner].args[..])
        else {
            return None;
        };
        let choice = match [x, y].map(|x| self.is_zero(x)) {
            [false, true] => Choice { mask, value: x, holds: true },
            [true, false] => Choice { mask, value: y, holds: false },
            _ => return None,
        };
        Some(views.into_iter().rev().fold(choice, |choice, view| {
            let (op, shape) = (self[view].op.clone(), self[view].shape.clone());
            let mask = self.push(op.clone(), vec![choice.mask], shape.clone(), DType::Bool);
            let value = self.push(op, vec![choice.value], shape, DType::F32);
            Choice { mask, value, ..choice }
        }))
    }

    /// Whether elements of `v` may be masked.
    pub(crate) fn may_be_masked(&mut self, v: Var) -> bool {
        self.taken(v).when != ALWAYS
    }

    fn is_random(&self, mask: Var) -> bool {
        self[mask].args.iter().any(|&arg| matches!(self[arg].op, Op::Random(_)))
    }

    /// The mask whose zeros and ones `v` is, if there is one.
    pub(crate) fn cast_mask(&self, v: Var) -> Option<Var> {
        let node = &self[v];
        (node.op == Op::Cast && self[node.args[0]].dtype == DType::Bool).then(|| node.args[0])
    }

    pub(crate) fn is_zero(&self, v: Var) -> bool {
        matches!(self[v].op, Op::Const(bits) if f32::from_bits(bits) == 0.0)
    }

    /// Whether `v` is a finite constant other than zero, with which a product of zero is zero.
    fn is_finite(&self, v: Var) -> bool {
        matches!(self[v].op, Op::Const(bits) if f32::from_bits(bits).is_finite() && !self.is_zero(v))
    }
}

/// The outcomes of comparing two numbers; a set of them is a sum of these bits.
const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const ALWAYS: u8 = LESS | EQUAL | GREATER;

/// An operation on two sets of outcomes.
type Join = fn(u8, u8) -> u8;

/// For which outcomes of one comparison an element of a value is certainly not masked. A sum is masked only where all
/// its terms are, and often one of them is taken whatever the outcome, as of the pieces of a piecewise function.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    /// The two values that are compared.
    of: (Var, Var),
    /// The outcomes, as a sum of bits.
    when: u8,
}

impl Taken {
    const ALWAYS: Taken = Taken { of: (Var(0), Var(0)), when: ALWAYS };
    const NEVER: Taken = Taken { of: (Var(0), Var(0)), when: 0 };

    /// The outcomes of the comparison `of` for which this is known.
    fn by(self, of: (Var, Var)) -> u8 {
        if self.of == of || self.when == ALWAYS { self.when } else { 0 }
    }

    /// What is known of a function of two values, by the one comparison of theirs that says the most.
    fn both(self, other: Taken, join: Join) -> Taken {
        let [first, second] = [self.of, other.of].map(|of| Taken { of, when: join(self.by(of), other.by(of)) });
        if second.when.count_ones() > first.when.count_ones() { second } else { first }
    }
}

impl Stage {
    /// What is known of `v`. Nodes are visited once, in order, up to `v`.
    fn taken(&mut self, v: Var) -> Taken {
        for i in self.taken.len()..=v.index() {
            let taken = self.find(Var(i as u32));
            self.taken.push(taken);
        }
        self.taken[v.index()]
    }

    fn find(&self, v: Var) -> Taken {
        let node = &self[v];
        let of = |v: Var| self.taken[v.index()];
        let all = |args: &[Var]| match args.iter().all(|&arg| of(arg).when == ALWAYS) {
            true => Taken::ALWAYS,
            false => Taken::NEVER,
        };
        let (and, or): (Join, Join) = (|a, b| a & b, |a, b| a | b);
        match (&node.op, &node.args[..]) {
            // A random mask, as of dropout, is no branch.
            (Op::Select, &[mask, x, y]) if self.is_random(mask) => of(x).both(of(y), and),
            (Op::Select, &[mask, x, y]) => {
                let [x, y] = [x, y].map(|x| if self.is_zero(x) { Taken::NEVER } else { of(x) });
                let (pair, when) = self.outcomes(mask);
                let by_mask = Taken { of: pair, when: when & x.by(pair) | (ALWAYS ^ when) & y.by(pair) };
                by_mask.both(x.both(y, and), or)
            }
            (Op::Cast, &[x]) if self[x].dtype == DType::Bool => Taken::NEVER,
            // The zeros around a padded value and rows that no index names are masked.
            (Op::Pad(_), _) => Taken::NEVER,
            (Op::ScatterAdd, args) => args.get(2).map_or(Taken::NEVER, |&d| all(&[d])),
            (Op::Binary(Binary::Add | Binary::Sub), &[a, b]) => of(a).both(of(b), or),
            // A gradient is masked where its first factor is, or where a slope that is a selection is.
            (Op::Binary(Binary::Mul), &[a, b]) => match self.scaled.get(&v) {
                Some(&(d, slope)) if matches!(self[slope].op, Op::Select | Op::Cast) => of(d).both(of(slope), and),
                Some(&(d, _)) => of(d),
                None => of(a).both(of(b), and),
            },
            (Op::Binary(Binary::Div) | Op::Unary(Unary::Neg), args) => of(args[0]),
            (
                Op::Reduce(Reduce::Sum, _)
                | Op::Concat(_)
                | Op::Broadcast
                | Op::Reshape
                | Op::Transpose(_)
                | Op::Slice(_)
                | Op::Windows { .. },
                args,
            ) => all(args),
            _ => Taken::ALWAYS,
        }
    }

    /// The two values that a mask compares, and the outcomes for which it holds.
    fn outcomes(&self, mut mask: Var) -> ((Var, Var), u8) {
        let mut negated = 0;
        // A negated mask is compared with zero.
        while let (Op::Compare(Compare::Eq), &[inner, zero]) = (&self[mask].op, &self[mask].args[..])
            && self[inner].dtype == DType::Bool
            && self.is_zero(zero)
        {
            (mask, negated) = (inner, negated ^ ALWAYS);
        }
        let (pair, when) = match (&self[mask].op, &self[mask].args[..]) {
            (Op::Compare(op), &[a, b]) if self[a].dtype != DType::Bool => {
                let when = match op {
                    Compare::Lt => LESS,
                    Compare::Le => LESS | EQUAL,
                    Compare::Eq => EQUAL,
                    Compare::Ne => LESS | GREATER,
                };
                let mirrored = when & EQUAL | (when & LESS) << 2 | (when & GREATER) >> 2;
                if a < b { ((a, b), when) } else { ((b, a), mirrored) }
            }
            _ => ((mask, mask), LESS),
        };
        (pair, when ^ negated)
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Op, Stage, Var};
    use crate::ir::elementwise::{Binary, Compare};
    use crate::shape::DType;

    fn inputs<const N: usize>(g: &mut Stage) -> [Var; N] {
        std::array::from_fn(|slot| g.input(slot, &[8], DType::F32))
    }

    #[test]
    fn a_product_goes_inside_the_selection() {
        let mut g = Stage::new();
        let [x, y, d, s] = inputs(&mut g);
        let (zero, mask) = (g.number(0.0), g.compare(Compare::Lt, x, y));
        let other = g.compare(Compare::Eq, x, y);
        let inner = g.select(other, zero, d);
        let outer = g.select(mask, inner, zero);
        let scaled = g.scale(outer, s);
        let product = g.binary(Binary::Mul, d, s);
        let inner = g.select(other, zero, product);
        assert_eq!(scaled, g.select(mask, inner, zero));
        let divided = g.divide(outer, s);
        assert_eq!(g[divided].op, Op::Select);
    }

    #[test]
    fn what_is_always_taken_is_not_guarded() {
        let mut g = Stage::new();
        let [x, d, s, t] = inputs(&mut g);
        let zero = g.number(0.0);
        let (above, below) = (g.compare(Compare::Lt, zero, x), g.compare(Compare::Le, x, zero));
        let parts = [(above, s), (below, t)].map(|(mask, slope)| {
            let d = g.scale(d, slope);
            Some(g.choose(mask, d, zero))
        });
        let sum = g.add(parts[0], parts[1]).unwrap();
        assert_eq!(g[sum].op, Op::Binary(Binary::Mul), "one product, without a selection around it");
    }

    #[test]
    fn a_value_that_is_used_twice_is_visited_once() {
        let mut g = Stage::new();
        let [x, mut a, mut d] = inputs(&mut g);
        let mask = g.compare(Compare::Lt, x, a);
        let zero = g.number(0.0);
        for _ in 0..100 {
            let [left, right] = [g.binary(Binary::Mul, a, x), g.binary(Binary::Div, a, x)];
            a = g.binary(Binary::Add, left, right);
            let [left, right] = [g.choose(mask, d, zero), g.binary(Binary::Mul, d, x)];
            d = g.binary(Binary::Sub, left, right);
        }
        g.scale(d, a);
        let rows = g.broadcast(d, &[4, 8]);
        assert_eq!(g.rows_taken(rows, 0b10), None);
    }

    #[test]
    fn a_loop_of_selections_is_staged_in_proportion_to_its_length() {
        let nodes = |count: usize| {
            let mut g = Stage::new();
            let [x, a, mut d] = inputs(&mut g);
            let zero = g.number(0.0);
            for i in 0..count {
                let bound = g.number(i as f64);
                for mask in [g.compare(Compare::Lt, x, bound), g.compare(Compare::Lt, a, bound)] {
                    d = g.choose(mask, zero, d);
                }
                d = g.scale(d, a);
            }
            g.graph().nodes().len()
        };
        let (short, long) = (nodes(100), nodes(200));
        assert!(long <= 2 * short + 50, "{short} and {long} nodes");
    }
}
