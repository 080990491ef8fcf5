//! Products of gradients and slopes in which a branch that was not taken counts nothing.
//!
//! `select(mask, x, 0)` guards a value, and by the chain rule its gradient is selected too. But the next slope may be
//! infinite exactly where the mask does not hold, as that of √x at 0, and zero times infinity is no number. So a
//! gradient that is selected against zero stays selected: `select(m, d, 0) · s = select(m, d · s, 0)`. Where the choice
//! lies further back, behind a sum or a view, an element that is zero stays zero.

use crate::graph::{Op, Stage, Var};
use crate::ops::elementwise::{Binary, Compare, Unary};
use crate::ops::reduce::Reduce;
use crate::shape::DType;

/// How many nested selections a product is moved into. More of them come from a loop, where each iteration would stage
/// the products of all before it anew.
const NESTED: usize = 4;

/// How many operations back a selection is looked for.
const REACH: usize = 64;

/// A value that is zero where a mask says so.
pub(crate) struct Choice {
    pub(crate) mask: Var,
    /// The value elsewhere.
    pub(crate) value: Var,
    /// Whether the value is taken where the mask holds, or where it does not.
    pub(crate) holds: bool,
}

impl Stage {
    /// The product or quotient of a gradient and a number, zero where the gradient is because a branch was not taken.
    pub(crate) fn guarded(&mut self, op: Binary, d: Var, by: Var) -> Var {
        self.inside(op, d, by, NESTED)
    }

    /// The same for a product in which the second factor may be such a zero as well.
    pub(crate) fn guarded_by_both(&mut self, a: Var, b: Var) -> Var {
        self.inside_both(a, b, NESTED)
    }

    fn inside_both(&mut self, a: Var, b: Var, nested: usize) -> Var {
        // By a constant the product costs nothing, so that it is made on each side.
        if let (&Op::Select, &[mask, x, y]) = (&self[b].op, &self[b].args[..])
            && nested > 0
            && [x, y].iter().any(|&side| self.is_constant(side))
        {
            let [x, y] = [x, y].map(|side| self.inside_both(a, side, nested - 1));
            return self.select(mask, x, y);
        }
        let product = self.guarded(Binary::Mul, a, b);
        if self.is_finite(a) || !self.is_choice(b, REACH) || self.is_somewhere(b) {
            return product;
        }
        self.where_not_zero(b, product)
    }

    fn inside(&mut self, op: Binary, d: Var, by: Var, nested: usize) -> Var {
        if self.is_zero(d) || op == Binary::Mul && self.is_zero(by) {
            let (d, _) = self.broadcast_both(d, by);
            let shape = self[d].shape.clone();
            return self.fill(0.0, &shape);
        }
        if let Some(choice) = self.choice(d).filter(|_| nested > 0) {
            // A gradient that `where_not_zero` has selected needs no second guard.
            let product = match self.is_of_zeros(choice.mask) {
                true => self.binary(op, choice.value, by),
                false => self.inside(op, choice.value, by, nested - 1),
            };
            return self.chosen(choice.mask, choice.holds, product);
        }
        let product = self.binary(op, d, by);
        if self.is_finite(by) || !self.is_choice(d, REACH) { product } else { self.where_not_zero(d, product) }
    }

    /// The product, but zero where `d` is.
    fn where_not_zero(&mut self, d: Var, product: Var) -> Var {
        let zero = self.number(0.0);
        let taken = self.compare(Compare::Ne, d, zero);
        self.not_zero.insert(taken);
        self.select(taken, product, zero)
    }

    /// Whether a mask, or what it is a view of, is one of `where_not_zero`.
    fn is_of_zeros(&self, mask: Var) -> bool {
        match (&self[mask].op, &self[mask].args[..]) {
            (Op::Broadcast | Op::Reshape | Op::Transpose(_), &[inner]) => self.is_of_zeros(inner),
            _ => self.not_zero.contains(&mask),
        }
    }

    fn chosen(&mut self, mask: Var, holds: bool, value: Var) -> Var {
        let zero = self.number(0.0);
        if holds { self.select(mask, value, zero) } else { self.select(mask, zero, value) }
    }

    /// What `v` is if it is a selection against zero, or a view of one.
    pub(crate) fn choice(&mut self, v: Var) -> Option<Choice> {
        let (op, args) = (self[v].op.clone(), self[v].args.clone());
        match op {
            Op::Select if self[v].dtype != DType::F32 => None,
            Op::Select => match [args[1], args[2]].map(|x| self.is_zero(x)) {
                [false, true] => Some(Choice { mask: args[0], value: args[1], holds: true }),
                [true, false] => Some(Choice { mask: args[0], value: args[2], holds: false }),
                _ => None,
            },
            Op::Broadcast | Op::Reshape | Op::Transpose(_) => {
                let inner = self.choice(args[0])?;
                let shape = self[v].shape.clone();
                let mask = self.push(op.clone(), vec![inner.mask], shape.clone(), DType::Bool);
                let value = self.push(op, vec![inner.value], shape, DType::F32);
                Some(Choice { mask, value, ..inner })
            }
            _ => None,
        }
    }

    /// Whether elements of `v` may be zero because a branch was not taken.
    pub(crate) fn may_be_chosen(&mut self, v: Var) -> bool {
        self.is_choice(v, REACH)
    }

    fn is_choice(&mut self, v: Var, reach: usize) -> bool {
        if reach == 0 {
            return false;
        }
        if let Some(&known) = self.choices.get(&v) {
            return known;
        }
        let (op, args) = (self[v].op.clone(), self[v].args.clone());
        let slope = self.scaled.get(&v).map(|&(d, slope)| [d, slope]);
        let reach = reach - 1;
        let found = match op {
            // What is dropped at random is no branch.
            Op::Select if self.is_random(args[0]) => args[1..].iter().any(|&x| self.is_choice(x, reach)),
            Op::Select => args[1..].iter().any(|&x| self.is_zero(x) || self.is_choice(x, reach)),
            Op::Cast => self[args[0]].dtype == DType::Bool,
            // Zeros around a part, and rows that no index names.
            Op::Pad(_) => true,
            Op::ScatterAdd => args.get(2).is_none_or(|&d| self.is_choice(d, reach)),
            Op::Binary(Binary::Add | Binary::Sub) => args.iter().all(|&x| self.is_choice(x, reach)),
            // Forward values are no choices, but a slope may be one.
            Op::Binary(Binary::Mul) if let Some([d, slope]) = slope => {
                self.is_choice(d, reach)
                    || matches!(self[slope].op, Op::Select | Op::Cast) && self.is_choice(slope, reach)
            }
            Op::Binary(Binary::Div) | Op::Unary(Unary::Neg) | Op::Reduce(Reduce::Sum, _) => {
                self.is_choice(args[0], reach)
            }
            Op::Binary(Binary::Mul)
            | Op::Concat(_)
            | Op::Broadcast
            | Op::Reshape
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Windows { .. } => args.iter().any(|&x| self.is_choice(x, reach)),
            _ => false,
        };
        self.choices.insert(v, found);
        found
    }

    fn is_random(&self, mask: Var) -> bool {
        self[mask].args.iter().any(|&arg| matches!(self[arg].op, Op::Random(_)))
    }

    /// The mask that a value is, as zeros and ones.
    pub(crate) fn cast_mask(&self, v: Var) -> Option<Var> {
        let node = &self[v];
        (node.op == Op::Cast && self[node.args[0]].dtype == DType::Bool).then(|| node.args[0])
    }

    pub(crate) fn is_zero(&self, v: Var) -> bool {
        matches!(self[v].op, Op::Const(bits) if f32::from_bits(bits) == 0.0)
    }

    /// Whether this is a finite number other than zero, by which no zero becomes anything else.
    fn is_finite(&self, v: Var) -> bool {
        matches!(self[v].op, Op::Const(bits) if f32::from_bits(bits).is_finite() && !self.is_zero(v))
    }
}

/// The outcomes of comparing two numbers; a set of them is a sum of these bits.
const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const ALWAYS: u8 = LESS | EQUAL | GREATER;

/// What a mask compares, and for which outcomes it holds.
type Outcomes = ((Var, Var), u8);

/// A sum of choices is one only where all of them are zero. Often one of them is taken whatever happens, as the two
/// sides of a piecewise function.
impl Stage {
    /// Whether for each outcome of the first comparison on which `v` depends some part of it is taken.
    fn is_somewhere(&self, v: Var) -> bool {
        self.first_comparison(v, REACH).is_some_and(|pair| self.taken(v, pair, REACH) == ALWAYS)
    }

    fn first_comparison(&self, v: Var, reach: usize) -> Option<(Var, Var)> {
        let node = &self[v];
        match node.op {
            Op::Select => Some(self.outcomes(node.args[0]).0),
            Op::Binary(Binary::Add | Binary::Sub | Binary::Mul) | Op::Unary(Unary::Neg) if reach > 0 => {
                node.args.iter().find_map(|&arg| self.first_comparison(arg, reach - 1))
            }
            _ => None,
        }
    }

    /// The outcomes of a comparison for which `v` is not zero by a choice, as far as is known.
    fn taken(&self, v: Var, pair: (Var, Var), reach: usize) -> u8 {
        if reach == 0 {
            return 0;
        }
        let node = &self[v];
        let of = |i: usize| self.taken(node.args[i], pair, reach - 1);
        match node.op {
            _ if self.is_zero(v) => 0,
            Op::Select => match self.outcomes(node.args[0]) {
                (same, when) if same == pair => when & of(1) | (ALWAYS ^ when) & of(2),
                _ => of(1) & of(2),
            },
            Op::Binary(Binary::Add | Binary::Sub) => of(0) | of(1),
            Op::Binary(Binary::Mul) => of(0) & of(1),
            Op::Binary(Binary::Div) | Op::Unary(Unary::Neg) => of(0),
            Op::Cast | Op::Pad(_) | Op::Concat(_) | Op::ScatterAdd | Op::Broadcast | Op::Reshape | Op::Reduce(..) => 0,
            _ => ALWAYS,
        }
    }

    fn outcomes(&self, mask: Var) -> Outcomes {
        let node = &self[mask];
        match node.op {
            Op::Compare(op) if self[node.args[0]].dtype != DType::Bool => {
                let (a, b) = (node.args[0], node.args[1]);
                let when = match op {
                    Compare::Lt => LESS,
                    Compare::Le => LESS | EQUAL,
                    Compare::Eq => EQUAL,
                    Compare::Ne => LESS | GREATER,
                };
                let turned = |when: u8| when & EQUAL | (when & LESS) << 2 | (when & GREATER) >> 2;
                if a < b { ((a, b), when) } else { ((b, a), turned(when)) }
            }
            // Not a mask: a comparison of that with a constant.
            Op::Compare(Compare::Eq) if self.is_zero(node.args[1]) => {
                let (pair, when) = self.outcomes(node.args[0]);
                (pair, ALWAYS ^ when)
            }
            _ => ((mask, mask), LESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Op, Stage, Var};
    use crate::ops::elementwise::{Binary, Compare};
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
    fn a_loop_of_selections_is_staged_in_proportion_to_its_length() {
        let nodes = |turns: usize| {
            let mut g = Stage::new();
            let [x, a, mut d] = inputs(&mut g);
            let zero = g.number(0.0);
            for turn in 0..turns {
                let bound = g.number(turn as f64);
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
