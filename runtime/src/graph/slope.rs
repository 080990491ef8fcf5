//! Gradients that are multiples of one another: d times a slope, which depends on forward values alone.
//!
//! If a value is used twice, the gradients of both uses are added up. If both are multiples of the same gradient d,
//! then d is factored out of the sum: a d + b d = (a + b) d. Multiples with more factors in common are added up first,
//! as in Horner's rule. So the gradient of any composition of elementwise functions is a single product of d and a
//! slope. The forward kernel computes the slope, where its arguments are at hand, and the backward pass reads the slope
//! alone instead of all these values.
//!
//! A product of a gradient and a slope is guarded (see `guard`): a gradient that is zero because a branch was not taken
//! stays zero, even if the slope is infinite.

use super::{Grad, Op, Stage, Var};
use crate::ir::elementwise::Binary;
use crate::shape::DType;

/// The most factors of a gradient that are searched for a common one. Without a bound, each iteration of a long loop
/// would stage the sums of all iterations before it anew.
const MAX_FACTORS: usize = 32;

impl Stage {
    /// The gradient of the argument of a function with this slope: `d` times the slope.
    pub(crate) fn scale(&mut self, d: Var, slope: Var) -> Var {
        // A product with a mask of zeros and ones is a selection.
        if let Some(mask) = self.cast_mask(slope) {
            let zero = self.number(0.0);
            let scaled = self.select(mask, d, zero);
            return self.note(scaled, d, slope);
        }
        let scaled = self.guarded(Binary::Mul, d, slope);
        self.note(scaled, d, slope)
    }

    /// The gradient of the argument of a negation.
    pub(crate) fn negate(&mut self, d: Var) -> Var {
        let slope = self.number(-1.0);
        self.scale(d, slope)
    }

    /// The gradient of the argument of a function with the slope 1 / `by`.
    pub(crate) fn divide(&mut self, d: Var, by: Var) -> Var {
        let scaled = self.guarded(Binary::Div, d, by);
        let one = self.number(1.0);
        let slope = self.binary(Binary::Div, one, by);
        self.note(scaled, d, slope)
    }

    /// The gradient that is `a` where the mask holds, else `b`.
    pub(crate) fn choose(&mut self, mask: Var, a: Var, b: Var) -> Var {
        let chosen = self.select(mask, a, b);
        let d = match [a, b].map(|d| self.is_zero(d)) {
            [false, false] => self.common_factor(a, b),
            [true, _] => Some(b),
            [_, true] => Some(a),
        };
        let Some(d) = d else { return chosen };
        let [a, b] = [a, b].map(|x| if self.is_zero(x) { x } else { self.slope(x, d) });
        let slope = self.select(mask, a, b);
        self.note(chosen, d, slope)
    }

    /// Notes that `scaled` is `d` times a slope.
    fn note(&mut self, scaled: Var, d: Var, slope: Var) -> Var {
        // A product that simplified to an earlier value or to a constant is not computed from `d`.
        if scaled > d && !self.is_constant(scaled) {
            self.scaled.entry(scaled).or_insert((d, slope));
        }
        scaled
    }

    /// The sum of two gradients.
    pub fn add(&mut self, a: Grad, b: Grad) -> Grad {
        let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
        if let Some(sum) = self.scattered(a, b).or_else(|| self.scattered(b, a)) {
            return Some(sum);
        }
        let common = self.common_factor(a, b).filter(|_| a != b);
        // The terms with more factors in common first: a d + b c d + c d = a d + (b + 1) c d.
        if let Some(&(left, right)) = self.sums.get(&a)
            && self.common_factor(right, b) > common
        {
            let right = self.add(Some(right), Some(b));
            return self.add(Some(left), right);
        }
        let Some(d) = common else { return Some(self.binary(Binary::Add, a, b)) };
        let slopes = (self.slope(a, d), self.slope(b, d));
        let slope = self.binary(Binary::Add, slopes.0, slopes.1);
        let sum = self.guarded_by_both(d, slope);
        self.note(sum, d, slope);
        // A sum that simplified to an earlier value is not computed from `a` and `b`: taking it apart would not end.
        if sum > a && sum > b && !self.is_constant(sum) {
            self.sums.entry(sum).or_insert((a, b));
        }
        Some(sum)
    }

    pub(crate) fn is_constant(&self, v: Var) -> bool {
        matches!(self[v].op, Op::Const(_))
    }

    /// The sum of `d` and a `ScatterAdd` to zeros, as a `ScatterAdd` to `d`.
    fn scattered(&mut self, rows: Var, d: Var) -> Grad {
        let node = &self[rows];
        let (Op::ScatterAdd, &[index, rows]) = (&node.op, &node.args[..]) else { return None };
        let shape = node.shape.clone();
        Some(self.push(Op::ScatterAdd, vec![index, rows, d], shape, DType::F32))
    }

    /// The latest gradient that `a` and `b` are multiples of, which may be one of the two.
    fn common_factor(&self, a: Var, b: Var) -> Option<Var> {
        self.factors(a).find(|&d| self.factors(b).any(|other| other == d))
    }

    /// `d` and the gradients that it is a multiple of, the latest first.
    fn factors(&self, d: Var) -> impl Iterator<Item = Var> {
        std::iter::successors(Some(d), |d| self.scaled.get(d).map(|&(d, _)| d)).take(MAX_FACTORS)
    }

    /// The slope s of `v` = `d` * s.
    fn slope(&mut self, v: Var, d: Var) -> Var {
        match self.scaled.get(&v).copied().filter(|_| v != d) {
            Some((before, slope)) => {
                let inner = self.slope(before, d);
                self.guarded_by_both(inner, slope)
            }
            None => self.number(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Grad, Op, Stage, Value, Var};
    use crate::ir::elementwise::Binary;
    use crate::nn::*;
    use crate::ops::*;
    use crate::shape::DType;

    /// The operations on the way from the gradient of a function's result to that of its argument.
    fn on_the_way(grad: impl Fn(&mut Stage, Value, Grad) -> Grad) -> Vec<Op> {
        let mut g = Stage::new();
        let x = Value::Var(g.input(0, &[8], DType::F32));
        let d = g.input(1, &[8], DType::F32);
        let dx = grad(&mut g, x, Some(d)).unwrap();
        let live = g.graph().live([dx]);
        let made_of_d = |v: Var| v != d && live[v.index()] && g.graph().live([v])[d.index()];
        g.graph().vars().filter(|&(v, _)| made_of_d(v)).map(|(_, node)| node.op.clone()).collect()
    }

    #[test]
    fn the_gradient_of_a_function_of_elements_is_a_product() {
        let product = [Op::Binary(Binary::Mul)];
        assert_eq!(on_the_way(gelu::grad), product);
        assert_eq!(on_the_way(gelu_tanh::grad), product);
        assert_eq!(on_the_way(silu::grad), product);
        assert_eq!(on_the_way(mish::grad), product);
        assert_eq!(on_the_way(log_sigmoid::grad), product);
        assert_eq!(on_the_way(|g, x, d| elu::grad(g, x, 1.0, d).0), product);
        assert_eq!(on_the_way(|g, x, d| softplus::grad(g, x, 1.0, 20.0, d).0), product);
    }

    #[test]
    fn gradients_that_have_nothing_in_common_are_added_up() {
        let mut g = Stage::new();
        let [x, a, b] = [0, 1, 2].map(|slot| g.input(slot, &[8], DType::F32));
        let (left, right) = (g.scale(a, x), g.scale(b, x));
        let sum = g.add(Some(left), Some(right)).unwrap();
        assert_eq!((&g[sum].op, &g[sum].args), (&Op::Binary(Binary::Add), &vec![left, right]));
    }

    #[test]
    fn a_gradient_and_a_multiple_of_it_are_one_multiple() {
        let mut g = Stage::new();
        let [x, d] = [0, 1].map(|slot| g.input(slot, &[8], DType::F32));
        let multiple = g.scale(d, x);
        let sum = g.add(Some(d), Some(multiple)).unwrap();
        let one = g.number(1.0);
        let slope = g.binary(Binary::Add, one, x);
        assert_eq!(sum, g.binary(Binary::Mul, d, slope));
    }

    #[test]
    fn what_has_more_in_common_is_added_up_first() {
        let mut g = Stage::new();
        let [a, b, x, y, d] = [0, 1, 2, 3, 4].map(|slot| g.input(slot, &[8], DType::F32));
        let outer = g.scale(d, b);
        let parts = [g.scale(d, a), g.scale(outer, x), g.scale(outer, y)];
        let sum = parts.into_iter().fold(None, |sum, part| g.add(sum, Some(part))).unwrap();
        let inner = g.binary(Binary::Add, x, y);
        let inner = g.binary(Binary::Mul, b, inner);
        let slope = g.binary(Binary::Add, a, inner);
        assert_eq!(sum, g.binary(Binary::Mul, d, slope));
    }

    #[test]
    fn a_long_loop_stages_as_much_in_each_iteration() {
        let nodes = |count: usize| {
            let mut g = Stage::new();
            let (x, mut d) = (Value::Var(g.input(0, &[8], DType::F32)), Some(g.input(1, &[8], DType::F32)));
            let mut sum = None;
            for i in 0..count {
                let y = mul::stage(&mut g, x, i as f64);
                let dx = sin::grad(&mut g, y, d);
                sum = g.add(sum, dx);
                d = tanh::grad(&mut g, y, d);
            }
            g.graph().nodes().len()
        };
        assert!(nodes(400) - nodes(300) <= nodes(300) - nodes(200), "{} after 400", nodes(400));
    }
}
