//! A graph that was staged by hand, compiled.

use super::model::output_slot;
use crate::error::{Error, Result};
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::graph::{Op, Stage, Var};
use crate::kernel::{Extent, Region, Slot};
use crate::shape::{DType, elements};
use crate::tensor::{Input, Inputs, Tensor};

/// Values of a graph as a compiled program, made by [`Stage::compile`]: their memory is allocated once,
/// and a run writes them there.
pub struct Computation {
    pub(crate) program: Program,
    expected: Vec<Expected>,
    results: Vec<Buffer>,
    /// What the results are.
    types: Vec<(Vec<usize>, DType)>,
}

/// The most inputs of a graph that was staged by hand.
const INPUTS: usize = 1 << 16;

/// An input that values depend on.
pub(crate) struct Expected {
    pub(crate) number: usize,
    shape: Vec<usize>,
    dtype: DType,
}

/// The inputs that values depend on, which may not depend on anything else.
pub(crate) fn expected(g: &Stage, roots: &[Var]) -> Result<Vec<Expected>> {
    let live = g.graph().live(roots.iter().copied());
    let mut inputs: Vec<Expected> = Vec::new();
    for (_, node) in g.graph().vars().filter(|(v, _)| live[v.index()]) {
        if node.checked_len().is_none() {
            return Err(node.too_large());
        }
        if node.is_empty() {
            return Err(refused(&format!("the result of {} has no elements", node.name())));
        }
        match node.op {
            Op::Input(number) if number >= INPUTS => {
                return Err(refused(&format!("input {number} was staged, the last one may be {}", INPUTS - 1)));
            }
            Op::Input(number) => match inputs.iter().find(|x| x.number == number) {
                Some(x) => {
                    let (before, now) = (&x.shape, &node.shape);
                    return Err(refused(&format!("input {number} was staged twice, as {before:?} and {now:?}")));
                }
                None => inputs.push(Expected { number, shape: node.shape.clone(), dtype: node.dtype }),
            },
            Op::Param(_) => return Err(refused("the value depends on a parameter of a model")),
            Op::Seed => return Err(refused("the value depends on random numbers")),
            _ => {}
        }
    }
    Ok(inputs)
}

/// Refuses inputs of other shapes.
pub(crate) fn check_inputs(expected: &[Expected], inputs: &[Input<'_>]) -> Result<()> {
    for Expected { number, shape, dtype } in expected {
        let found = inputs.get(*number);
        if found.is_some_and(|x| x.shape() == shape && x.dtype() == *dtype) {
            continue;
        }
        let (ours, theirs) = match found.map(Input::dtype) {
            Some(found) if found != *dtype => (format!("{} ", dtype.name()), format!("{} ", found.name())),
            _ => Default::default(),
        };
        let found = found.map_or("none was given".into(), |x| format!("{theirs}{:?} was given", x.shape()));
        return Err(refused(&format!("input {number} is {ours}{shape:?}, {found}")));
    }
    Ok(())
}

pub(crate) fn refused(message: &str) -> Error {
    Error::Shape { function: "graph".into(), message: message.into() }
}

impl Computation {
    pub(crate) fn new(g: &Stage, roots: &[Var]) -> Result<Computation> {
        let expected = expected(g, roots)?;
        let slots = expected.iter().map(|x| Extent::read(Slot::Input(x.number), elements(&x.shape).unwrap_or(0)));
        let slots = slots.chain(roots.iter().enumerate().map(|(i, &v)| output_slot(i, &g[v].shape)));
        let region = |slot: Slot, shape: &[usize], dtype| Region { dtype, ..Region::numbers(slot.start(), shape) };
        let source = |op: &Op| {
            let input = expected.iter().find(|x| *op == Op::Input(x.number));
            let input = input.ok_or("a value depends on what is no input")?;
            Ok(region(Slot::Input(input.number), &input.shape, input.dtype))
        };
        let result = |(i, &v): (usize, &Var)| (v, region(Slot::Output(i), &g[v].shape, g[v].dtype));
        let outputs: Vec<(Var, Region)> = roots.iter().enumerate().map(result).collect();
        Ok(Computation {
            program: Program::compile("graph", g.graph(), &source, &outputs, &slots.collect::<Vec<_>>())?,
            results: roots.iter().map(|&v| Buffer::zeros(g[v].len(), "a result")).collect::<Result<_>>()?,
            types: roots.iter().map(|&v| (g[v].shape.clone(), g[v].dtype)).collect(),
            expected,
        })
    }

    /// Computes the values; allocates nothing.
    ///
    /// # Errors
    ///
    /// When an input is missing or has another shape, or an index is out of range; nothing is computed
    /// then.
    pub fn run(&mut self, inputs: impl Inputs) -> Result<()> {
        let inputs = inputs.all();
        let inputs = inputs.as_ref();
        check_inputs(&self.expected, inputs)?;
        self.program.check(inputs, |i| format!("input {i}"))?;
        // SAFETY: the results are written to memory of their own.
        unsafe {
            self.program.run(&mut |slot| match slot {
                Slot::Input(i) => inputs.get(i).map(Memory::input),
                Slot::Output(i) => self.results.get_mut(i).map(|result| Memory::write(result)),
                _ => None,
            })
        }
    }

    /// The elements of value `i` at the last run; zeros before the first one. Those of whole numbers and
    /// truth values are bits: [`Computation::tensor`] gives numbers.
    ///
    /// # Errors
    ///
    /// When there are not so many values.
    pub fn data(&self, i: usize) -> Result<&[f32]> {
        let count = self.results.len();
        self.results.get(i).map(|buffer| &buffer[..]).ok_or_else(|| refused(&format!("value {i} of {count} was read")))
    }

    /// A copy of value `i` at the last run. Whole numbers and truth values come as numbers.
    ///
    /// # Errors
    ///
    /// When there are not so many values.
    pub fn tensor(&self, i: usize) -> Result<Tensor> {
        let data = self.data(i)?;
        let (shape, dtype) = &self.types[i];
        let data: Vec<f32> = match dtype {
            DType::I32 => data.iter().map(|x| x.to_bits() as i32 as f32).collect(),
            _ => data.to_vec(),
        };
        Tensor::new(shape.clone(), data)
    }

    /// The kernels: what made each and how wide its vectors are, what was fused, bytes, flops; see
    /// [`Step::explain`](crate::Step::explain).
    pub fn explain(&self) -> String {
        self.program.explain(None)
    }
}
