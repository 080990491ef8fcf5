//! A graph that was staged by hand, compiled.

use super::model::input_ptr;
use super::profile::{Pass, Profile};
use super::{Buffer, Place, Program};
use crate::error::{Error, Result};
use crate::graph::{Op, Stage, Var};
use crate::shape::DType;
use crate::tensor::{Inputs, Tensor};

/// Values of a graph as a compiled program, made by [`Stage::compile`]: their memory is allocated once,
/// and a run writes them there.
pub struct Computation {
    program: Program,
    expected: Vec<Expected>,
    results: Vec<Buffer>,
    /// What the results are.
    types: Vec<(Vec<usize>, DType)>,
    /// The inputs, then the results; kept so that a run allocates nothing.
    slots: Vec<*mut f32>,
}

// SAFETY: the pointers in `slots` are written at the start of every run and only used in it.
unsafe impl Send for Computation {}

/// An input that values depend on.
pub(super) struct Expected {
    slot: usize,
    shape: Vec<usize>,
    dtype: DType,
}

/// The inputs that values depend on, which may not depend on anything else.
pub(super) fn expected(g: &Stage, roots: &[Var]) -> Result<Vec<Expected>> {
    let live = g.graph().live(roots.iter().copied());
    let mut inputs = Vec::new();
    for (_, node) in g.graph().vars().filter(|(v, _)| live[v.index()]) {
        if node.is_empty() {
            return Err(refused(&format!("the result of {} has no elements", node.name())));
        }
        match node.op {
            Op::Input(slot) => inputs.push(Expected { slot, shape: node.shape.clone(), dtype: node.dtype }),
            Op::Param(_) => return Err(refused("the value depends on a parameter of a model")),
            Op::Seed => return Err(refused("the value depends on random numbers")),
            _ => {}
        }
    }
    Ok(inputs)
}

/// Refuses inputs of other shapes.
pub(super) fn check_inputs(expected: &[Expected], inputs: &impl Inputs) -> Result<()> {
    for Expected { slot, shape, dtype } in expected {
        let found = (*slot < inputs.count()).then(|| inputs.input(*slot));
        if found.is_some_and(|x| x.shape() == shape && x.dtype() == *dtype) {
            continue;
        }
        let found = found.map_or("none was given".into(), |x| format!("{:?} was given", x.shape()));
        return Err(refused(&format!("input {slot} is {shape:?}, {found}")));
    }
    Ok(())
}

pub(super) fn refused(message: &str) -> Error {
    Error::Shape { function: "graph".into(), message: message.into() }
}

impl Computation {
    pub(super) fn new(g: &Stage, roots: &[Var]) -> Result<Computation> {
        let expected = expected(g, roots)?;
        let inputs = expected.iter().map(|x| x.slot + 1).max().unwrap_or(0);
        let place = |(i, &v): (usize, &Var)| (v, Place { slot: inputs + i, offset: 0 });
        let places: Vec<(Var, Place)> = roots.iter().enumerate().map(place).collect();
        let source = |op: &Op| match op {
            Op::Input(slot) => Place { slot: *slot, offset: 0 },
            _ => unreachable!("everything else from outside was refused"),
        };
        Ok(Computation {
            program: Program::compile("graph", g.graph(), &source, &places)?,
            expected,
            results: roots.iter().map(|&v| Buffer::zeros(g[v].len())).collect(),
            types: roots.iter().map(|&v| (g[v].shape.clone(), g[v].dtype)).collect(),
            slots: vec![std::ptr::null_mut(); inputs + roots.len()],
        })
    }

    /// Computes the values; allocates nothing.
    ///
    /// # Errors
    ///
    /// When an input is missing or has another shape, or an index is out of range; nothing is computed
    /// then.
    pub fn run(&mut self, inputs: impl Inputs) -> Result<()> {
        check_inputs(&self.expected, &inputs)?;
        self.program.check(&inputs, |i| format!("input {i}"))?;
        for &Expected { slot, .. } in &self.expected {
            self.slots[slot] = input_ptr(inputs.input(slot));
        }
        let first = self.slots.len() - self.results.len();
        for (slot, buffer) in self.slots[first..].iter_mut().zip(&mut self.results) {
            *slot = buffer.as_mut_ptr();
        }
        // SAFETY: the inputs have the staged shapes; the results are written to buffers of their size.
        unsafe { self.program.run(&self.slots) }
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

    /// Computes the values several times and times every kernel: see [`Step::profile`](crate::Step::profile).
    ///
    /// # Errors
    ///
    /// As [`Computation::run`].
    pub fn profile(&mut self, inputs: impl Inputs + Copy, runs: usize) -> Result<Profile> {
        let mut profile = Profile::new(runs)?;
        self.program.start_clock();
        let done = profile.measure(|| self.run(inputs));
        profile.stop_clock(&mut self.program, Pass::Forward);
        done.map(|()| profile.finish())
    }

    /// The kernels: what was fused, bytes, flops.
    pub fn explain(&self) -> String {
        self.program.explain(None)
    }
}
