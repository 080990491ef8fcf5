//! Graphs that were staged by hand and break a rule: refused wherever they would be computed, never computed and
//! never a panic.

use anyhow::Result;
use downhill::graph::{Rows, Var};
use downhill::ops::elementwise::{Binary, Compare, Unary};
use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, Tensor};

/// What is staged on, or is a value of another graph.
struct Args {
    /// `[4]`, `[2, 3]`, a number, and whole numbers `[4]`.
    x: Var,
    matrix: Var,
    number: Var,
    index: Var,
    mask: Var,
    foreign: Var,
}

type Mistake = fn(&mut Stage, &Args) -> Var;

/// Each mistake, and what is said of it.
const MISTAKES: &[(Mistake, &str)] = &[
    (|g, a| g.slice(a.x, &[(1 << 30, 1)], &[4]), "slice: elements 1073741824 to 1073741827 of axis 0 of [4]"),
    (|g, a| g.slice(a.x, &[(3, -1)], &[5]), "slice: elements -1 to 3"),
    (|g, a| g.slice(a.x, &[(usize::MAX, isize::MIN)], &[usize::MAX >> 3]), "slice: "),
    (|g, a| g.slice(a.x, &[], &[4]), "slice: expected a start and a step for each axis"),
    (|g, a| g.slice(a.matrix, &[(0, 1)], &[2]), "slice: expected 2 axes"),
    (|g, a| g.pad(a.x, &[1], &[4]), "pad: [4] at [1] reaches beyond [4]"),
    (|g, a| g.pad(a.x, &[usize::MAX], &[4]), "pad: "),
    (|g, a| g.pad(a.x, &[], &[4]), "pad: "),
    (|g, a| g.pad(a.x, &[0], &[1 << 62]), "pad: a tensor of shape [4611686018427387904]"),
    (|g, a| g.windows(a.x, 0, 0, (3, 1), (3, 1)), "windows: elements 0 to 4"),
    (|g, a| g.windows(a.x, 1, 0, (1, 1), (1, 1)), "windows: no axis 1"),
    (|g, a| g.windows(a.x, usize::MAX, 0, (1, 1), (1, 1)), "windows: "),
    (|g, a| g.windows(a.x, 0, 3, (2, -2), (2, -2)), "windows: elements -1 to 3"),
    (|g, a| g.windows(a.x, 0, 0, (1 << 40, 0), (1 << 40, 0)), "windows: a tensor of shape"),
    (|g, a| g.transpose(a.matrix, &[0, 0]), "transpose: expected each axis of [2, 3] once, found [0, 0]"),
    (|g, a| g.transpose(a.matrix, &[0, 9]), "transpose: "),
    (|g, a| g.transpose(a.matrix, &[0]), "transpose: "),
    (|g, _| g.concat(&[], 0), "concat: "),
    (|g, a| g.concat(&[a.x, a.x], 1), "concat: no axis 1 in [4]"),
    (|g, a| g.concat(&[a.x, a.matrix], 0), "concat: "),
    (|g, a| g.concat(&[a.x, a.index], 0), "concat: expected Tensor, found Index"),
    (|g, a| g.reshape(a.x, &[3]), "reshape: [4] has 4 elements, [3] has 3"),
    (|g, a| g.reshape(a.x, &[1 << 32, 1 << 32, 4]), "reshape: "),
    (|g, a| g.reshape(a.x, &[1, 1, 1, 1, 1, 1, 1, 1, 4]), "reshape: a tensor has at most 8 axes, found 9"),
    (|g, a| g.broadcast(a.x, &[5]), "broadcast: [4] does not broadcast to [5]"),
    (|g, a| g.broadcast(a.matrix, &[3]), "broadcast: "),
    (|g, a| g.broadcast(a.number, &[1 << 40, 1 << 40]), "broadcast: "),
    (|g, a| g.unbroadcast(a.x, &[3, 4]), "reshape: "),
    (|g, a| g.reduce(Reduce::Sum, a.x, 0b10), "sum: axes [1] of [4]"),
    (|g, a| g.matmul(a.x, a.x, false, false), "matmul: [4] and [4]"),
    (|g, a| g.matmul(a.matrix, a.matrix, false, false), "matmul: [2, 3] and [2, 3] do not give [2, 3]"),
    (|g, a| g.matmul(a.number, a.matrix, true, true), "matmul: "),
    (|g, a| g.contract(a.matrix, a.matrix, "ij,jk"), "contract: expected axes such as `ij,jk->ik`, found `ij,jk`"),
    (|g, a| g.contract(a.matrix, a.matrix, "ij->ij"), "contract: "),
    (|g, a| g.contract(a.matrix, a.matrix, "ij,jk->ik"), "contract: axis `j` has several sizes"),
    (|g, a| g.contract(a.matrix, a.x, "ij,k->ik"), "contract: axis `j` is in one tensor alone"),
    (|g, a| g.contract(a.matrix, a.matrix, "i,j->ij"), "contract: 1 letters for the axes of [2, 3]"),
    (|g, a| g.contract(a.matrix, a.matrix, "ij,ij->z"), "contract: axis `z` is in one tensor alone"),
    (|g, a| g.gather(a.number, a.index), "gather: no axis 0 in []"),
    (|g, a| g.gather(a.matrix, a.x), "gather: expected Index, found Tensor"),
    (|g, a| g.gather(a.matrix, a.mask), "gather: expected Index, found Mask"),
    (|g, a| g.scatter_add(a.index, a.number, 3), "scatter_add: expected [4], found []"),
    (|g, a| g.scatter_add(a.index, a.x, 1 << 62), "scatter_add: a tensor of shape"),
    (|g, a| g.scatter_add(a.x, a.x, 3), "scatter_add: expected Index, found Tensor"),
    (|g, a| g.binary(Binary::Add, a.x, a.matrix), "broadcast: "),
    (|g, a| g.select(a.x, a.x, a.x), "select: expected Mask, found Tensor"),
    (|g, a| g.within(a.x, Rows::below(3)), "within: expected Index, found Tensor"),
    (|g, a| g.within(a.index, Rows::below(0)), "within: expected at least one row"),
    (|g, _| g.iota(1 << 40), "iota: expected at most 2147483648 numbers"),
    (|g, _| g.fill(1.0, &[1 << 33, 1 << 33]), "const: a tensor of shape [8589934592, 8589934592] has more"),
    (|g, _| g.fill(1.0, &[1; 9]), "const: a tensor has at most 8 axes"),
    (|g, _| g.input(7, &[1 << 60, 1 << 60], DType::I32), "input 7: a tensor of shape"),
    (|g, _| g.param(7, &[1 << 60, 1 << 60]), "parameter 7: a tensor of shape"),
    (|g, a| g.random_for(a.foreign), "value of another graph"),
    (|g, a| g.unary(Unary::Exp, a.foreign), "an argument is a value of another graph"),
    (|g, a| g.binary(Binary::Mul, a.x, a.foreign), "value of another graph"),
    (|g, a| g.select(a.foreign, a.x, a.x), "value of another graph"),
    (|g, a| g.cast(a.foreign, DType::F32), "value of another graph"),
    (|g, a| g.reduce(Reduce::Sum, a.foreign, 0), "value of another graph"),
    (|g, a| g.slice(a.foreign, &[(0, 1)], &[4]), "value of another graph"),
    (|g, a| g.concat(&[a.x, a.foreign], 0), "value of another graph"),
    (|g, a| g.matmul(a.foreign, a.matrix, false, false), "value of another graph"),
    (|g, a| g.contract(a.foreign, a.matrix, "ij,jk->ik"), "value of another graph"),
    (|g, a| g.gather(a.matrix, a.foreign), "value of another graph"),
    (|g, a| g.scatter_add(a.foreign, a.x, 3), "value of another graph"),
    (
        |g, a| match exp::stage(g, a.foreign) {
            Value::Var(v) => v,
            _ => a.x,
        },
        "value of another graph",
    ),
];

fn args(g: &mut Stage) -> Args {
    let mut other = Stage::new();
    let foreign = (0..1000).map(|i| other.number(i as f64)).last().expect("many values");
    let x = g.input(0, &[4], DType::F32);
    let (matrix, number, index) = (g.input(1, &[2, 3], DType::F32), g.number(0.5), g.input(2, &[4], DType::I32));
    let mask = g.compare(Compare::Lt, x, number);
    Args { x, matrix, number, index, mask, foreign }
}

#[test]
fn what_breaks_a_rule_is_refused_everywhere() -> Result<()> {
    for (i, (mistake, expected)) in MISTAKES.iter().enumerate() {
        let mut g = Stage::new();
        let args = args(&mut g);
        let y = mistake(&mut g, &args);
        // Whatever follows.
        let exp = Value::Var(g.unary(Unary::Exp, y));
        let mean = mean::stage(&mut g, y);
        let (x, matrix) = (Tensor::new([4], [0.0; 4])?, Tensor::new([2, 3], [0.0; 6])?);
        let index = downhill::Index::new([4], [0; 4])?;
        let inputs = [Input::from(&x), Input::from(&matrix), Input::from(&index)];
        let error = g.error().unwrap_or_default().to_owned();
        assert!(error.contains(expected), "{i}: {error}, expected {expected}");
        for values in [&[Value::Var(y)][..], &[exp], &[mean], &[Value::Var(args.x)]] {
            let found = [
                g.compute(values, &inputs).map(|_| ()),
                g.compile(values).map(|_| ()),
                g.reference(values, &inputs).map(|_| ()),
                g.value(values[0]).map(|_| ()),
            ];
            for found in found {
                let found = found.expect_err(expected).to_string();
                // Sizes that are too large are said of the first tensor of such, whatever is wrong behind it.
                let too_large = error.contains("has more") || error.contains("a tensor of shape");
                assert!(too_large || found.contains(&error), "{i}: {found}, expected {error}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_value_of_another_graph_is_no_result() {
    let mut g = Stage::new();
    let args = args(&mut g);
    let value = [Value::Var(args.foreign)];
    assert!(g[args.foreign].shape.is_empty());
    assert_eq!(g.ty(value[0]).operand(&mut downhill::check::Check::record(), "x").map(|x| x.shape.rank()), Some(0));
    let found = [g.compile(&value).map(|_| ()), g.compute(&value, &[]).map(|_| ()), g.value(value[0]).map(|_| ())];
    for found in found {
        assert_eq!(found.unwrap_err().to_string(), "graph: a value is one of another graph");
    }
    assert_eq!(g.graph().live([args.foreign]).iter().filter(|live| **live).count(), 0);
}

/// A rule of one's own that reads behind the gradient.
struct Wrong;

impl Optimizer for Wrong {
    fn state(&self) -> &'static [&'static str] {
        &[]
    }

    fn numbers(&self) -> usize {
        0
    }

    fn at(&self, _: u64, _: f32, _: &mut [f32]) {}

    fn lr(&self) -> f32 {
        0.1
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, _: &[Value], _: &[Value]) -> Updated {
        let (Value::Var(weight), Value::Var(grad)) = (weight, grad) else { panic!("two tensors") };
        let shape = g[grad].shape.clone();
        let far = g.slice(grad, &[(1 << 40, 1)], &shape);
        Updated { weight: Value::Var(g.binary(Binary::Sub, weight, far)), state: vec![] }
    }
}

#[network(sequential, loss = mse)]
struct Line {
    line: Linear<2, 1>,
}

#[test]
fn an_update_that_breaks_a_rule_is_refused() {
    let model = Line::init(0);
    let error = Step::new(&model, Line::loss, Wrong).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("Optimizer::update: slice: elements 1099511627776 to "), "{error}");
}
