//! Sums of products by Einstein's notation.

mod equation;

use equation::Equation;

use super::{diagonal, numbers};
use crate::graph::{Grad, Stage, Value, Var};
use crate::ir::elementwise::Binary;
use crate::ir::reduce::Reduce;
use crate::shape::check::{Check, Message, TensorType, Type};
use crate::shape::{DType, MAX_RANK, Shape};

/// `einsum(equation, xs)`:
/// The sum of products that an equation names, as NumPy's and PyTorch's `einsum` have it: each tensor's axes
/// have a letter, axes of one letter run together, and letters that the result does not have are summed
/// over. A letter twice in a tensor is its diagonal, `...` stands for axes without a letter, and without
/// `->` the result has every letter that comes once, in alphabetical order. An axis of size one is
/// stretched.
///
/// Tensors are multiplied from left to right, two of them by one matrix product where they share a letter
/// that is summed over.
///
/// ```
/// use downhill::prelude::*;
///
/// /// Scores of attention: queries against keys, for each head.
/// #[network]
/// pub fn scores(q: Tensor<B, T, H, D>, k: Tensor<B, S, H, D>) -> Tensor<B, H, T, S> {
///     einsum("bthd,bshd->bhts", [q, k])
/// }
///
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?);
/// let trace = einsum::stage(&mut g, "ii->", [x]);
/// assert_eq!(g.value(trace)?.data(), [5.0]);
/// let product = einsum::stage(&mut g, "ij,jk", [x, x]);
/// assert_eq!(g.value(product)?.data(), [7.0, 10.0, 15.0, 22.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum einsum {}

impl einsum {
    /// Stages the sum of products.
    pub fn stage<const N: usize>(g: &mut Stage, equation: &str, xs: [Value; N]) -> Value {
        let types = xs.map(|x| g.ty(x));
        if g.checked(|cx| Self::shape(cx, equation, types)).is_none() {
            return Value::Unknown;
        }
        let Some((factors, out)) = factors(g, equation, xs) else { return Value::Unknown };
        Value::Var(contract(g, factors.into_iter().map(|factor| factor.term).collect(), &out, false))
    }

    /// Stages the gradient of each tensor: that of the result, contracted with the other tensors.
    pub fn grad<const N: usize>(g: &mut Stage, equation: &str, xs: [Value; N], dout: Grad) -> (Grad, [Grad; N]) {
        let types = xs.map(|x| g.ty(x));
        let dout = super::fitting(g, "einsum", |cx| Self::shape(cx, equation, types), dout);
        let (Some((factors, out)), Some(dout)) = (factors(g, equation, xs), dout) else { return (None, [None; N]) };
        let grads = std::array::from_fn(|i| {
            let others = factors.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, factor)| factor.term.clone());
            let terms: Vec<Labelled> =
                std::iter::once(Labelled { labels: out.clone(), x: dout }).chain(others).collect();
            Some(factors[i].back(g, terms))
        });
        (None, grads)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape<const N: usize>(cx: &mut Check, equation: &str, xs: [Type; N]) -> Type {
        if N == 0 {
            return cx.error(Message::new().str("einsum: expected at least one tensor"));
        }
        let mut types = [TensorType::new(DType::F32, Shape::SCALAR); N];
        let mut all = types[0];
        let mut i = 0;
        while i < N {
            let Some(x) = numbers(cx, "einsum", xs[i]) else { return Type::Unknown };
            types[i] = x;
            all = all.depends(x);
            i += 1;
        }
        let Some(equation) = Equation::parse(cx, equation, &types) else { return Type::Unknown };
        match equation.shape(cx, &types) {
            Some(shape) => Type::Tensor(all.like(DType::F32, shape)),
            None => Type::Unknown,
        }
    }
}

/// A tensor whose axes have a label each.
#[derive(Clone)]
struct Labelled {
    labels: Vec<u8>,
    x: Var,
}

impl Labelled {
    fn has(&self, label: u8) -> bool {
        self.labels.contains(&label)
    }

    /// With its axes in another order, as a shape of its own: parts of several axes become one axis each.
    fn arranged(&self, g: &mut Stage, order: &[u8], shape: &[usize]) -> Var {
        let axes: Vec<usize> = order.iter().filter_map(|label| self.labels.iter().position(|l| l == label)).collect();
        let turned = g.transpose(self.x, &axes);
        g.reshape(turned, shape)
    }

    fn size(&self, g: &Stage, label: u8) -> usize {
        self.labels.iter().position(|&l| l == label).map_or(1, |axis| g[self.x].shape[axis])
    }

    fn sizes(&self, g: &Stage, labels: &[u8]) -> Vec<usize> {
        labels.iter().map(|&label| self.size(g, label)).collect()
    }

    /// The sum over the axes whose label is not kept.
    fn summed(self, g: &mut Stage, keep: &dyn Fn(u8) -> bool) -> Labelled {
        let labels: Vec<u8> = self.labels.iter().copied().filter(|&label| keep(label)).collect();
        let gone = (self.labels.iter().enumerate()).fold(0, |axes, (i, &l)| axes | (!keep(l) as u8) << i);
        let shape = self.sizes(g, &labels);
        let sum = g.reduce(Reduce::Sum, self.x, gone);
        Labelled { labels, x: g.reshape(sum, &shape) }
    }
}

/// An argument, and what became of it: each label once, and only axes that have the size of their label.
struct Factor {
    term: Labelled,
    /// Before each diagonal was taken, and of which axes.
    diagonals: Vec<(Var, usize, usize)>,
    /// Each label once, and the sizes before axes that are stretched were left out.
    labels: Vec<u8>,
    sizes: Vec<usize>,
}

/// The arguments of an equation that the shape rule admits, and the labels of the result.
fn factors<const N: usize>(g: &mut Stage, equation: &str, xs: [Value; N]) -> Option<(Vec<Factor>, Vec<u8>)> {
    let vars: Vec<Var> = xs.into_iter().map(|x| g.operand(x)).collect::<Option<_>>()?;
    let types: [TensorType; N] = std::array::from_fn(|i| TensorType::new(DType::F32, Shape::sizes(&g[vars[i]].shape)));
    let equation = Equation::parse(&mut Check::record(), equation, &types)?;
    let mut factors = Vec::with_capacity(N);
    for (&x, term) in vars.iter().zip(&equation.terms) {
        let (mut labels, mut x, mut diagonals) = (term.get().to_vec(), x, Vec::new());
        while let Some((a, b)) = repeated(&labels) {
            diagonals.push((x, a, b));
            x = diagonal::build(g, x, 0, a, b);
            labels.remove(b);
            let label = labels.remove(a);
            labels.push(label);
        }
        let sizes = g[x].shape.clone();
        factors.push(Factor { term: Labelled { labels: labels.clone(), x }, diagonals, labels, sizes });
    }
    let mut widest = [1; 128];
    for factor in &factors {
        for (&label, &size) in factor.labels.iter().zip(&factor.sizes) {
            widest[label as usize] = size.max(widest[label as usize]);
        }
    }
    for factor in &mut factors {
        let full = |&(&label, &size): &(&u8, &usize)| size == widest[label as usize];
        let (labels, sizes): (Vec<u8>, Vec<usize>) = factor.labels.iter().zip(&factor.sizes).filter(full).unzip();
        factor.term = Labelled { labels, x: g.reshape(factor.term.x, &sizes) };
    }
    Some((factors, equation.out.get().to_vec()))
}

/// The first two axes with the same label.
fn repeated(labels: &[u8]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|b| labels[..b].iter().position(|l| *l == labels[b]).map(|a| (a, b)))
}

impl Factor {
    /// The gradient of the argument, as what the others and the gradient of the result contract to.
    fn back(&self, g: &mut Stage, terms: Vec<Labelled>) -> Var {
        let reached: Vec<u8> =
            self.term.labels.iter().copied().filter(|&label| terms.iter().any(|term| term.has(label))).collect();
        let d = Labelled { x: contract(g, terms, &reached, true), labels: reached };
        // A label that was summed over alone is the same everywhere.
        let ones = d.sizes(g, &self.term.labels);
        let d = g.reshape(d.x, &ones);
        let shape = g[self.term.x].shape.clone();
        let d = g.broadcast(d, &shape);
        let d = g.reshape(d, &self.sizes);
        self.diagonals.iter().rev().fold(d, |d, &(x, a, b)| diagonal::back(g, x, 0, a, b, d))
    }
}

/// The sum of products of tensors, from left to right; every label of the result is one of theirs. Of a gradient the
/// first is that of the result: where it is zero because a branch was not taken, the others count nothing.
fn contract(g: &mut Stage, terms: Vec<Labelled>, out: &[u8], gradient: bool) -> Var {
    let mut product: Option<Labelled> = None;
    for (i, term) in terms.iter().enumerate() {
        let wanted = |label| out.contains(&label) || terms[i + 1..].iter().any(|later| later.has(label));
        let term = term.clone();
        product = Some(match product {
            None => term.summed(g, &wanted),
            Some(product) => {
                let term = term.summed(g, &|label| wanted(label) || product.has(label));
                multiply(g, product, term, &wanted, gradient)
            }
        });
    }
    match product {
        Some(product) => {
            let shape = product.sizes(g, out);
            product.arranged(g, out, &shape)
        }
        None => g.number(1.0),
    }
}

/// The product of two tensors, summed over the labels of both that are not wanted any more.
fn multiply(g: &mut Stage, a: Labelled, b: Labelled, wanted: &dyn Fn(u8) -> bool, gradient: bool) -> Labelled {
    let pick = |from: &Labelled, keep: &dyn Fn(u8) -> bool| -> Vec<u8> {
        from.labels.iter().copied().filter(|&label| keep(label)).collect()
    };
    let batch = pick(&a, &|label| b.has(label) && wanted(label));
    let inner = pick(&a, &|label| b.has(label) && !wanted(label));
    let (left, right) = (pick(&a, &|label| !b.has(label)), pick(&b, &|label| !a.has(label)));
    let labels = [&batch[..], &left, &right].concat();
    if inner.is_empty() || left.is_empty() && right.is_empty() {
        // No sum, or one for each element of the batch: a loop over the elements.
        let all = [&labels[..], &inner].concat();
        let [x, y] = [&a, &b].map(|factor| {
            let shape = factor.sizes(g, &all);
            factor.arranged(g, &all, &shape)
        });
        let x = if gradient { g.guarded(Binary::Mul, x, y) } else { g.binary(Binary::Mul, x, y) };
        return Labelled { labels: all, x }.summed(g, &|label| !inner.contains(&label));
    }
    let (sizes_left, sizes_right) = (a.sizes(g, &left), b.sizes(g, &right));
    let sizes_batch = a.sizes(g, &batch);
    let length = |sizes: &[usize]| sizes.iter().product::<usize>();
    let outer = if batch.len() + 2 > MAX_RANK { vec![length(&sizes_batch)] } else { sizes_batch.clone() };
    let (m, k, n) = (length(&sizes_left), length(&a.sizes(g, &inner)), length(&sizes_right));
    let x = a.arranged(g, &[&batch[..], &left, &inner].concat(), &[&outer[..], &[m, k]].concat());
    let y = b.arranged(g, &[&batch[..], &inner, &right].concat(), &[&outer[..], &[k, n]].concat());
    let product = if gradient { g.product_of_taken(x, y) } else { g.matmul(x, y, false, false) };
    let shape = [sizes_batch, sizes_left, sizes_right].concat();
    Labelled { labels, x: g.reshape(product, &shape) }
}
