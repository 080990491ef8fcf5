//! Masked rows of a gradient: rows that are zero because a branch was not taken (see `guard`).
//!
//! The gradient of a weight is a product of matrices that adds up over the rows of a batch. A masked row, such as a
//! sample with missing values, may multiply zeros by infinity or NaN there, which would make the gradient of every
//! weight NaN. So where a mask is constant along each row, the masked rows of the other factor are replaced by zeros.
//!
//! A row is *taken* if it is not masked.

use super::guard::Choice;
use super::{Op, Stage, Var};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::ir::reduce::Reduce;
use crate::shape::DType;

/// A question about the rows of a value. The bits of the axes along a row are set; answers have size one on these axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// The mask of the rows of a gradient that are taken, or of the rows in which a mask holds anywhere; none if no row
    /// is known to be masked.
    Taken(Var, u8),
    /// One element of each row, if a value is constant along rows.
    Same(Var, u8),
}

/// The most nested disjunctions of masks that are negated each; more of them are compared with zero as a whole.
const MAX_NESTED_MASKS: usize = 4;

/// An answer, or another question that must be answered first.
type Answer = Result<Option<Var>, Question>;

impl Stage {
    /// The mask of the rows of the gradient `d` that are taken, with size one on the axes along a row, whose bits are
    /// set; `None` if no row is known to be masked.
    pub(crate) fn rows_taken(&mut self, d: Var, axes: u8) -> Option<Var> {
        // Every question is answered once. The stack is a list, not recursion: a graph may be of any depth.
        let asked = Question::Taken(d, axes);
        let mut open = vec![asked];
        while let Some(&question) = open.last() {
            if self.known(question).is_ok() {
                open.pop();
                continue;
            }
            let answer = match question {
                Question::Taken(d, axes) => self.find_taken(d, axes),
                Question::Same(v, axes) => self.same_along(v, axes),
            };
            match answer {
                Ok(answer) => _ = self.rows.insert(question, answer),
                Err(before) => open.push(before),
            }
        }
        self.rows[&asked]
    }

    /// The answer to a question, if it has been found.
    fn known(&self, question: Question) -> Answer {
        self.rows.get(&question).copied().ok_or(question)
    }

    /// The answer to [`Question::Taken`].
    fn find_taken(&mut self, d: Var, axes: u8) -> Answer {
        let is_mask = self[d].dtype == DType::Bool;
        if is_mask && without(&self[d].shape, axes) == self[d].shape {
            return self.mask_that_holds(d, axes);
        }
        match (&self[d].op, &self[d].args[..]) {
            (Op::Reshape, &[inner]) => {
                let Some((inner_axes, shape)) = self.before_reshape(d, inner, axes) else { return Ok(None) };
                let mask = self.known(Question::Taken(inner, inner_axes))?;
                return Ok(mask.map(|mask| self.reshape(mask, &shape)));
            }
            (Op::Broadcast, &[inner]) => {
                let mask = self.known(Question::Taken(inner, axes))?;
                let shape = without(&self[d].shape, axes);
                return Ok(mask.map(|mask| self.broadcast(mask, &shape)));
            }
            (&Op::Reduce(Reduce::Sum, over), &[inner]) => return self.known(Question::Taken(inner, axes | over)),
            (Op::Transpose(order), &[inner]) => {
                let order = order.clone();
                let mask = self.known(Question::Taken(inner, before_transpose(&order, axes)))?;
                return Ok(mask.map(|mask| self.transpose(mask, &order)));
            }
            (Op::Slice(window), &[inner]) => {
                let along = |(axis, &step)| if axes >> axis & 1 == 1 { (0, 1) } else { step };
                let window: Vec<(usize, isize)> = window.iter().enumerate().map(along).collect();
                let mask = self.known(Question::Taken(inner, axes))?;
                let shape = without(&self[d].shape, axes);
                return Ok(mask.map(|mask| self.slice(mask, &window, &shape)));
            }
            // A row is taken if one of the two sides takes it.
            (Op::Select, &[_, x, y]) if !self.is_zero(x) && !self.is_zero(y) => {
                let Some(first) = self.known(Question::Taken(x, axes))? else { return Ok(None) };
                let second = self.known(Question::Taken(y, axes))?;
                return Ok(second.map(|second| self.either(first, second)));
            }
            (&Op::Concat(axis), parts) => {
                let parts = parts.to_vec();
                return self.taken_of_concat(&parts, axis, axes);
            }
            (Op::Pad(before), &[inner]) => {
                let before = before.clone();
                return self.taken_of_pad(d, inner, &before, axes);
            }
            (Op::Binary(Binary::Add | Binary::Sub), &[a, b]) => {
                let Some(first) = self.known(Question::Taken(a, axes))? else { return Ok(None) };
                let second = self.known(Question::Taken(b, axes))?;
                return Ok(second.map(|second| self.either(first, second)));
            }
            (Op::Binary(Binary::Mul), &[a, b]) => {
                return match self.known(Question::Taken(a, axes))? {
                    None => self.known(Question::Taken(b, axes)),
                    mask => Ok(mask),
                };
            }
            (Op::Binary(Binary::Div), &[d, _]) | (Op::Unary(Unary::Neg), &[d]) => {
                return self.known(Question::Taken(d, axes));
            }
            _ => {}
        }
        self.taken_of_select(d, axes)
    }

    /// The rows of a concatenation that are taken.
    fn taken_of_concat(&mut self, parts: &[Var], axis: usize, axes: u8) -> Answer {
        if axes >> axis & 1 == 1 {
            // Parts of rows: a row is taken if any of its parts is.
            let parts = parts.iter().filter(|&&part| !self.is_zero(part));
            let masks = parts.map(|&part| self.known(Question::Taken(part, axes))).collect::<Result<Vec<_>, _>>()?;
            let masks = masks.into_iter().collect::<Option<Vec<_>>>();
            return Ok(masks.and_then(|masks| masks.into_iter().reduce(|all, mask| self.either(all, mask))));
        }
        let mut masks = Vec::new();
        for &part in parts {
            let mask = match self.is_zero(part) {
                true => {
                    let shape = without(&self[part].shape, axes);
                    Some(self.push(Op::Const(0), vec![], shape, DType::Bool))
                }
                false => self.known(Question::Taken(part, axes))?,
            };
            let Some(mask) = mask else { return Ok(None) };
            masks.push(mask);
        }
        Ok(Some(self.concat(&masks, axis)))
    }

    /// The rows of `d` that are taken, which is `inner` padded with zeros; rows of padding are not.
    fn taken_of_pad(&mut self, d: Var, inner: Var, before: &[usize], axes: u8) -> Answer {
        let axis_is_padded = |axis: &usize| self[d].shape[*axis] != self[inner].shape[*axis];
        let within_rows = (0..self[d].shape.len()).filter(axis_is_padded).all(|axis| axes >> axis & 1 == 1);
        let along = |(axis, &before)| if axes >> axis & 1 == 1 { 0 } else { before };
        let before: Vec<usize> = before.iter().enumerate().map(along).collect();
        let shape = without(&self[d].shape, axes);
        let mask = self.known(Question::Taken(inner, axes))?;
        Ok(mask.map(|mask| if within_rows { mask } else { self.pad(mask, &before, &shape) }))
    }

    /// The rows of a selection against zero that are taken; of another value, none are known.
    fn taken_of_select(&mut self, d: Var, axes: u8) -> Answer {
        let is_mask = self[d].dtype == DType::Bool;
        // The conjunction of two masks is a selection of the second against false.
        let choice = match (&self[d].op, &self[d].args[..]) {
            (Op::Select, &[mask, value, none]) if is_mask && self.is_zero(none) => {
                Some(Choice { mask, value, holds: true })
            }
            _ => self.choice(d),
        };
        let Some(choice) = choice else {
            return if is_mask { self.mask_that_holds(d, axes) } else { Ok(None) };
        };
        let own = self.mask_of_rows(choice.mask, choice.holds, axes)?;
        let inner = self.known(Question::Taken(choice.value, axes))?;
        Ok(match (own, inner) {
            (Some(own), Some(inner)) => {
                let none = self.nowhere(inner);
                Some(self.select(own, inner, none))
            }
            (own, inner) => own.or(inner),
        })
    }

    /// The gradient `dx` of an operation on rows along an axis, with zeros in the rows in which `dout` is masked:
    /// elsewhere `dx` may be computed from NaN and infinity.
    pub(crate) fn only_rows_taken(&mut self, dx: Var, dout: Var, axis: isize) -> Var {
        let rank = self[dout].shape.len() as isize;
        let axis = if axis < 0 { axis + rank } else { axis };
        // The rule of the operation refuses an axis out of range.
        if !(0..rank).contains(&axis) || !self.may_be_masked(dout) {
            return dx;
        }
        let axes = 1 << axis;
        let zero = self.number(0.0);
        let taken = self.rows_taken(dout, axes).unwrap_or_else(|| {
            let sizes = self.unary(Unary::Abs, dout);
            let total = self.reduce(Reduce::Sum, sizes, axes);
            self.compare(Compare::Ne, total, zero)
        });
        self.only_taken(Some(taken), dx)
    }

    /// Whether a value is a parameter under another shape.
    pub(crate) fn is_weight(&self, mut v: Var) -> bool {
        while let (Op::Broadcast | Op::Reshape | Op::Transpose(_) | Op::Slice(_), &[inner]) =
            (&self[v].op, &self[v].args[..])
        {
            v = inner;
        }
        matches!(self[v].op, Op::Param(_))
    }

    /// The product of a gradient and a matrix, to which rows and columns of the gradient that are not taken contribute
    /// nothing.
    pub(crate) fn product_of_taken(&mut self, d: Var, b: Var) -> Var {
        let rank = self[d].shape.len();
        let (rows, columns) = (self.rows_taken(d, 1 << (rank - 1)), self.rows_taken(d, 1 << (rank - 2)));
        let columns = columns.filter(|_| !self.is_weight(b)).map(|columns| {
            let order: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
            self.transpose(columns, &order)
        });
        let b = self.only_taken(columns, b);
        let product = self.gradient_product(d, b, false, false);
        self.only_taken(rows, product)
    }

    /// A product of matrices of which one is a gradient: the product of a constant zero is zero, even with infinity.
    pub(crate) fn gradient_product(&mut self, a: Var, b: Var, transpose_a: bool, transpose_b: bool) -> Var {
        let product = self.matmul(a, b, transpose_a, transpose_b);
        let shape = self[product].shape.clone();
        if self.is_zero(a) || self.is_zero(b) { self.fill(0.0, &shape) } else { product }
    }

    /// A value with zeros in the rows that are not taken; `None` stands for all rows.
    pub(crate) fn only_taken(&mut self, rows: Option<Var>, x: Var) -> Var {
        let Some(taken) = rows else { return x };
        let zero = self.number(0.0);
        self.select(taken, x, zero)
    }

    /// The rows in which a mask holds anywhere, or does not hold anywhere.
    fn mask_of_rows(&mut self, mask: Var, holds: bool, axes: u8) -> Answer {
        if holds {
            return self.known(Question::Taken(mask, axes));
        }
        let mask = self.negated(mask, MAX_NESTED_MASKS);
        self.known(Question::Taken(mask, axes))
    }

    /// The negation of a mask; of a disjunction of masks, the conjunction of their negations.
    fn negated(&mut self, mask: Var, nested: usize) -> Var {
        let (views, inner) = self.through_views(mask);
        let none = self.nowhere(inner);
        let negated = match (&self[inner].op, &self[inner].args[..]) {
            (Op::Select, &[a, same, b]) if a == same && nested > 0 => {
                let [a, b] = [a, b].map(|mask| self.negated(mask, nested - 1));
                self.select(a, b, none)
            }
            _ => self.compare(Compare::Eq, inner, none),
        };
        views.into_iter().rev().fold(negated, |negated, view| {
            let (op, shape) = (self[view].op.clone(), self[view].shape.clone());
            self.push(op, vec![negated], shape, DType::Bool)
        })
    }

    /// The rows in which a mask holds that is not composed of others.
    fn mask_that_holds(&mut self, mask: Var, axes: u8) -> Answer {
        // The mask `d != 0` holds in the rows of d that are taken.
        if let (Op::Compare(Compare::Ne), &[d, zero]) = (&self[mask].op, &self[mask].args[..])
            && self.is_zero(zero)
            && let Some(rows) = self.known(Question::Taken(d, axes))?
        {
            return Ok(Some(rows));
        }
        self.known(Question::Same(mask, axes))
    }

    /// The disjunction of two masks.
    fn either(&mut self, a: Var, b: Var) -> Var {
        if a == b { a } else { self.select(a, a, b) }
    }

    /// A mask of the same shape that holds nowhere.
    fn nowhere(&mut self, like: Var) -> Var {
        let shape = self[like].shape.clone();
        self.push(Op::Const(0), vec![], shape, DType::Bool)
    }

    /// The answer to [`Question::Same`].
    fn same_along(&mut self, v: Var, axes: u8) -> Answer {
        let node = self[v].clone();
        let narrow = without(&node.shape, axes);
        if narrow == node.shape {
            return Ok(Some(v));
        }
        Ok(match (&node.op, &node.args[..]) {
            (Op::Const(_), _) => Some(self.push(node.op, vec![], narrow, node.dtype)),
            (Op::Broadcast, &[inner]) => {
                let same = self[inner].shape.iter().zip(&narrow).all(|(&size, &to)| size == 1 || size == to);
                same.then(|| self.broadcast(inner, &narrow))
            }
            (Op::Reshape, &[inner]) => {
                let Some((inner_axes, shape)) = self.before_reshape(v, inner, axes) else { return Ok(None) };
                self.known(Question::Same(inner, inner_axes))?.map(|inner| self.reshape(inner, &shape))
            }
            (Op::Transpose(order), &[inner]) => {
                let inner = self.known(Question::Same(inner, before_transpose(order, axes)))?;
                inner.map(|inner| self.transpose(inner, order))
            }
            (Op::Select | Op::Compare(_), args) => {
                let of = |&arg: &Var| self.known(Question::Same(arg, axes));
                let args: Option<Vec<Var>> = args.iter().map(of).collect::<Result<Vec<_>, _>>()?.into_iter().collect();
                args.map(|args| self.push(node.op, args, narrow, node.dtype))
            }
            _ => None,
        })
    }

    /// For the reshape `v` of `inner`: the axes of `inner` that `axes`, which must be the last ones of `v`, come from;
    /// and the shape of `v` with size one on these axes.
    fn before_reshape(&self, v: Var, inner: Var, axes: u8) -> Option<(u8, Vec<usize>)> {
        let (shape, before) = (&self[v].shape, &self[inner].shape);
        let from = shape.len().min(axes.trailing_zeros() as usize);
        if (from..shape.len()).any(|axis| axes >> axis & 1 == 0) {
            return None;
        }
        let length = |shape: &[usize]| shape.iter().product::<usize>();
        let at = (0..=before.len()).find(|&at| length(&before[at..]) == length(&shape[from..]))?;
        let inner_axes = (at..before.len()).fold(0, |axes, axis| axes | 1 << axis);
        let mut rows = shape.clone();
        rows[from..].fill(1);
        Some((inner_axes, rows))
    }
}

/// The shape with size one on these axes.
fn without(shape: &[usize], axes: u8) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &size)| if axes >> axis & 1 == 1 { 1 } else { size }).collect()
}

/// The axes of the argument of a transposition that these axes of the result are.
fn before_transpose(order: &[usize], axes: u8) -> u8 {
    order.iter().enumerate().fold(0, |before, (to, from)| before | (axes >> to & 1) << from)
}
