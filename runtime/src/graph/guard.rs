//! Products of gradients and slopes in which a branch that was not taken counts nothing.
//!
//! `select(mask, x, 0)` guards a value, and by the chain rule its gradient is selected too. But the next slope may be
//! infinite exactly where the mask does not hold, as that of √x at 0, and zero times infinity is no number. So a
//! gradient that is selected against zero stays selected: `select(m, d, 0) · s = select(m, d · s, 0)`. Where the choice
//! lies further back, behind a sum or a view, an element that is zero stays zero.

use super::{Op, Stage, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::reduce::Reduce;
use crate::shape::DType;

/// How many nested selections a product is moved into. More of them come from a loop, where each iteration would stage
/// the products of all before it anew.
const NESTED: usize = 4;

/// How many views of a selection are looked through.
const VIEWS: usize = 16;

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
        if self.is_finite(a) || !self.may_be_chosen(b) { product } else { self.where_not_zero(b, product) }
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
        if self.is_finite(by) || !self.may_be_chosen(d) { product } else { self.where_not_zero(d, product) }
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
        let (_, inner) = self.behind_views(mask);
        self.not_zero.contains(&inner)
    }

    /// The views that `v` is of a value, the last one first, and that value.
    pub(crate) fn behind_views(&self, mut v: Var) -> (Vec<Var>, Var) {
        let mut views = Vec::new();
        while let (Op::Broadcast | Op::Reshape | Op::Transpose(_), &[inner]) = (&self[v].op, &self[v].args[..])
            && views.len() < VIEWS
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

    /// What `v` is if it is a selection against zero, or a view of one.
    pub(crate) fn choice(&mut self, v: Var) -> Option<Choice> {
        let (views, inner) = self.behind_views(v);
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

    /// Whether elements of `v` may be zero because a branch was not taken.
    pub(crate) fn may_be_chosen(&mut self, v: Var) -> bool {
        self.taken(v).when != ALWAYS
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

/// How two sets of outcomes become one.
type Join = fn(u8, u8) -> u8;

/// For which outcomes of one comparison no element of a value is zero by a choice, as far as is known. A sum of choices
/// is zero by a choice only where all of them are, and often one of them is taken whatever happens, as of the sides of a
/// piecewise function.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    /// What is compared.
    of: (Var, Var),
    when: u8,
}

impl Taken {
    const ALWAYS: Taken = Taken { of: (Var(0), Var(0)), when: ALWAYS };
    const NEVER: Taken = Taken { of: (Var(0), Var(0)), when: 0 };

    /// The outcomes of another comparison.
    fn by(self, of: (Var, Var)) -> u8 {
        if self.of == of || self.when == ALWAYS { self.when } else { 0 }
    }

    /// What is made of two values, by the comparison of one of them that says the most.
    fn both(self, other: Taken, join: Join) -> Taken {
        let [first, second] = [self.of, other.of].map(|of| Taken { of, when: join(self.by(of), other.by(of)) });
        if second.when.count_ones() > first.when.count_ones() { second } else { first }
    }
}

impl Stage {
    /// What is known of a value; of every node once, in their order.
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
            // What is dropped at random is no branch.
            (Op::Select, &[mask, x, y]) if self.is_random(mask) => of(x).both(of(y), and),
            (Op::Select, &[mask, x, y]) => {
                let [x, y] = [x, y].map(|x| if self.is_zero(x) { Taken::NEVER } else { of(x) });
                let (pair, when) = self.outcomes(mask);
                let by_mask = Taken { of: pair, when: when & x.by(pair) | (ALWAYS ^ when) & y.by(pair) };
                by_mask.both(x.both(y, and), or)
            }
            (Op::Cast, &[x]) if self[x].dtype == DType::Bool => Taken::NEVER,
            // Zeros around a part, and rows that no index names.
            (Op::Pad(_), _) => Taken::NEVER,
            (Op::ScatterAdd, args) => args.get(2).map_or(Taken::NEVER, |&d| all(&[d])),
            (Op::Binary(Binary::Add | Binary::Sub), &[a, b]) => of(a).both(of(b), or),
            // Forward values are no choices, but a slope may be one.
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

    /// What a mask compares, and for which outcomes it holds.
    fn outcomes(&self, mut mask: Var) -> ((Var, Var), u8) {
        let mut turned = 0;
        // What is no mask: a comparison of it with a constant.
        while let (Op::Compare(Compare::Eq), &[inner, zero]) = (&self[mask].op, &self[mask].args[..])
            && self[inner].dtype == DType::Bool
            && self.is_zero(zero)
        {
            (mask, turned) = (inner, turned ^ ALWAYS);
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
        (pair, when ^ turned)
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
    fn what_is_used_twice_is_looked_at_once() {
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
