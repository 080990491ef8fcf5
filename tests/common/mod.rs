//! Finite differences on the f64 reference, for every test of gradients, and numbers for tests.
#![allow(dead_code)] // each test program uses a part of it

use downhill::graph::Op;
use downhill::network::{Function, Network};
use downhill::prelude::*;
use downhill::reference::evaluate;
use downhill::shape::DType;

/// An input of a function under test.
#[derive(Clone, Debug)]
pub struct Argument {
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub data: Vec<f64>,
}

/// Numbers that look random and are the same everywhere, from -1 to 1.
pub fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    next();
    (0..len).map(|_| next()).collect()
}

/// Numbers from `low` to `high`.
pub fn numbers(seed: u64, shape: &[usize], low: f64, high: f64) -> Argument {
    let len = shape.iter().product();
    let data = noise(seed, len).into_iter().map(|x| low + (x + 1.0) / 2.0 * (high - low)).collect();
    Argument { shape: shape.to_vec(), dtype: DType::F32, data }
}

/// Whole numbers from 0 to `below` - 1.
pub fn indices(seed: u64, shape: &[usize], below: usize) -> Argument {
    let mut argument = numbers(seed, shape, 0.0, below as f64);
    argument.dtype = DType::I32;
    argument.data.iter_mut().for_each(|x| *x = x.floor().min(below as f64 - 1.0));
    argument
}

/// A function staged together with the gradients of its inputs and parameters.
struct Staged {
    g: Stage,
    outputs: Vec<Value>,
    input_grads: Vec<Grad>,
    param_grads: Vec<Grad>,
}

type Build<'a> = &'a dyn Fn(&mut Stage, &[Value]) -> Vec<Value>;
type Differentiate<'a> = &'a dyn Fn(&mut Stage, &[Value], &[Grad]) -> Vec<Grad>;

/// Checks the gradients of an operation's arguments; those of index arguments are left out.
#[track_caller]
pub fn check_op(name: &str, arguments: &[Argument], build: Build<'_>, differentiate: Differentiate<'_>) {
    check(name, arguments, &[], &[], build, differentiate);
}

/// Checks the gradients of all parameters of a network at a function of it.
#[track_caller]
pub fn check_network<N: Network>(net: N, f: Function<N>, arguments: &[Argument]) {
    check_network_in(false, net, f, arguments);
}

/// The same in a step of training, or in evaluation. States are given, and have no gradient.
#[track_caller]
pub fn check_network_in<N: Network>(training: bool, mut net: N, f: Function<N>, arguments: &[Argument]) {
    net.number(0);
    let (mut params, mut states) = (Vec::new(), Vec::new());
    while let Some((param, _)) = net.param(params.len(), Default::default()) {
        let (low, high) = if param.is_state() { (0.5, 1.5) } else { (-0.5, 0.5) };
        states.extend(param.is_state().then_some(params.len()));
        params.push(numbers(params.len() as u64 + 100, param.sizes(), low, high));
    }
    assert!(!params.is_empty(), "{}: no parameters", f.name());
    let stage = |g: &mut Stage, x: &[Value]| {
        g.set_training(training);
        (f.rules().stage)(&net, g, x)
    };
    check(f.name(), arguments, &params, &states, &stage, &|g, x, dout| {
        (f.rules().grad)(&net, g, x, dout);
        vec![]
    });
}

#[track_caller]
fn check(
    name: &str,
    arguments: &[Argument],
    params: &[Argument],
    states: &[usize],
    build: Build<'_>,
    differentiate: Differentiate<'_>,
) {
    let staged = stage(name, arguments, build, differentiate);
    let mut inputs = arguments.to_vec();
    let mut params = params.to_vec();
    let value = |inputs: &[Argument], params: &[Argument]| weighted(name, &staged, inputs, params);
    let all_grads = [(&staged.input_grads, false), (&staged.param_grads, true)];
    for (grads, of_params) in all_grads {
        let count = if of_params { params.len() } else { grads.len() };
        for i in 0..count {
            let grad = grads.get(i).copied().flatten();
            let target = if of_params { &params[i] } else { &inputs[i] };
            if target.dtype != DType::F32 || of_params && states.contains(&i) {
                assert_eq!(grad, None, "{name}: an index or state has no gradient");
                continue;
            }
            let analytic = match grad {
                Some(v) => {
                    assert_eq!(staged.g.graph()[v].shape, target.shape, "{name}: shape of gradient {i}");
                    run(name, &staged, &[v], &inputs, &params).remove(0)
                }
                None => vec![0.0; target.data.len()],
            };
            let step = 1e-5;
            for (j, &analytic) in analytic.iter().enumerate() {
                let mut at = |delta: f64| {
                    let all = if of_params { &mut params } else { &mut inputs };
                    let kept = all[i].data[j];
                    all[i].data[j] = kept + delta;
                    let result = value(&inputs, &params);
                    let all = if of_params { &mut params } else { &mut inputs };
                    all[i].data[j] = kept;
                    result
                };
                let numeric = (at(step) - at(-step)) / (2.0 * step);
                let error = (numeric - analytic).abs();
                let what = if of_params { "parameter" } else { "argument" };
                assert!(
                    error <= 1e-6 * (1.0 + numeric.abs()),
                    "{name}: gradient of {what} {i}, element {j}: {analytic}, finite differences give {numeric}"
                );
            }
        }
    }
}

fn stage(name: &str, arguments: &[Argument], build: Build<'_>, differentiate: Differentiate<'_>) -> Staged {
    let mut g = Stage::new();
    let inputs: Vec<Value> =
        arguments.iter().enumerate().map(|(i, a)| Value::Var(g.input(i, &a.shape, a.dtype))).collect();
    let outputs = build(&mut g, &inputs);
    assert_eq!(g.error(), None, "{name}");
    let cotangents: Vec<Grad> = (outputs.iter().enumerate())
        .map(|(i, &output)| {
            let Value::Var(v) = output else { panic!("{name}: output {i} is not a tensor") };
            let shape = g.graph()[v].shape.clone();
            let data: Vec<f32> = cotangent(i, shape.iter().product()).into_iter().map(|x| x as f32).collect();
            let Value::Var(d) = g.constant(&Tensor::new(shape, data).unwrap()) else { unreachable!() };
            Some(d)
        })
        .collect();
    let input_grads = differentiate(&mut g, &inputs, &cotangents);
    assert_eq!(g.error(), None, "{name}: gradient");
    let param_grads = g.param_grads().to_vec();
    Staged { g, outputs, input_grads, param_grads }
}

/// The weights of an output in the sum that is differentiated; exact in single precision.
fn cotangent(output: usize, len: usize) -> Vec<f64> {
    noise(output as u64 + 1, len).into_iter().map(|x| (x * 64.0).round() / 64.0).collect()
}

fn weighted(name: &str, staged: &Staged, inputs: &[Argument], params: &[Argument]) -> f64 {
    let roots: Vec<_> =
        staged.outputs.iter().filter_map(|v| if let Value::Var(v) = v { Some(*v) } else { None }).collect();
    let values = run(name, staged, &roots, inputs, params);
    let sums =
        values.iter().enumerate().map(|(i, y)| y.iter().zip(cotangent(i, y.len())).map(|(y, c)| y * c).sum::<f64>());
    sums.sum()
}

fn run(
    name: &str,
    staged: &Staged,
    roots: &[downhill::graph::Var],
    inputs: &[Argument],
    params: &[Argument],
) -> Vec<Vec<f64>> {
    let source = |op: &Op| match op {
        Op::Input(i) => inputs[*i].data.clone(),
        Op::Param(id) => params[*id].data.clone(),
        _ => unreachable!("only inputs and parameters have a source"),
    };
    evaluate(staged.g.graph(), roots, &source).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// `check!(name(a = argument, b = argument; plain))`: the gradients of an operation's tensors.
#[allow(unused_macros)]
macro_rules! check {
    ($op:ident($($x:ident = $argument:expr),+ $(; $($plain:expr),+)?)) => {
        crate::common::check_op(
            stringify!($op),
            &[$($argument),+],
            &|g, x| {
                let &[$($x),+] = x else { unreachable!("as many as were given") };
                vec![$op::stage(g, $($x),+ $($(, $plain)+)?)]
            },
            &|g, x, d| {
                let &[$($x),+] = x else { unreachable!("as many as were given") };
                let ($($x,)+ ..) = $op::grad(g, $($x,)+ $($($plain,)+)? d[0]);
                vec![$($x),+]
            },
        )
    };
}
