//! What follows the gradient: clipping and the update of the parameters, compiled over flat arrays.

use super::model::{Entry, params};
use super::rules::Rules;
use super::{Buffer, Place, Program};
use crate::error::{Error, Result};
use crate::graph::{Op, Stage, Value};
use crate::network;
use crate::ops::{maximum, minimum, mul};
use crate::optim::{Norm, Optimizer};
use crate::shape::DType;

/// Elements of a row of the gradient when its norm is taken: each row is added up in single
/// precision, the rows in double, so that a large model loses no digits.
const ROW: usize = 1024;

/// The elements of a gradient within a range.
#[network]
fn clamped(grad: Tensor, limit: f32) -> Tensor {
    maximum(minimum(grad, limit), -limit)
}

/// One gradient more in a sum.
#[network]
fn added(sum: Tensor, grad: Tensor, weight: Tensor) -> Tensor {
    sum + grad * weight
}

/// The compiled update with the state of its optimizer.
pub(super) struct Update {
    pub(super) rules: Rules,
    /// The number of each parameter's optimizer; `None` where it is frozen.
    pub(super) assigned: Vec<Option<usize>>,
    /// Elements of the flat arrays.
    len: usize,
    program: Program,
    norm: Option<(Norm, f32, Program)>,
    /// The parts of the norm, one a row.
    parts: Buffer,
    last_norm: Option<f32>,
    /// One array a state of the optimizer.
    state: Vec<Buffer>,
    /// The factor of the gradient, then what changes from step to step for each optimizer.
    numbers: Buffer,
    slots: Vec<*mut f32>,
}

impl Update {
    /// The update of `len` parameters by `rules`, with a state of zeros.
    pub(super) fn new(rules: Rules, entries: &[Entry], len: usize) -> Result<Update> {
        rules.check()?;
        let assigned = rules.assign(entries)?;
        let states = rules.optimizer.state().len();
        let numbers = 1 + rules.optimizers().map(Optimizer::numbers).sum::<usize>();
        let clipped = rules.clip_norm.filter(|_| len > 0);
        let clipped = clipped.map(|(norm, max)| Ok((norm, max, compile_norm(norm, len)?))).transpose()?;
        Ok(Update {
            program: compile_update(&rules, &assigned, entries, len)?,
            norm: clipped,
            parts: Buffer::zeros(rows(len).0),
            last_norm: None,
            state: (0..states).map(|_| Buffer::zeros(len)).collect(),
            numbers: Buffer::zeros(numbers),
            slots: Vec::with_capacity(3 + states),
            rules,
            assigned,
            len,
        })
    }

    /// The same with other rules; the state is kept.
    pub(super) fn change(&mut self, rules: Rules, entries: &[Entry]) -> Result<()> {
        let mut new = Update::new(rules, entries, self.len)?;
        std::mem::swap(&mut new.state, &mut self.state);
        *self = new;
        Ok(())
    }

    /// Updates `params` by the gradient, which is `grads` over `weight`.
    pub(super) fn run(
        &mut self,
        params: &mut Buffer,
        grads: &mut Buffer,
        weight: f64,
        step: u64,
        lr: f32,
    ) -> Result<()> {
        let mut scale = 1.0 / weight;
        if let Some((norm, max, program)) = &mut self.norm {
            self.slots.clear();
            self.slots.extend([grads.as_mut_ptr(), self.parts.as_mut_ptr()]);
            // SAFETY: both arrays have the lengths the program was compiled for, and the parts are
            // its own.
            unsafe { program.run(&self.slots)? };
            let norm = norm.of(&self.parts) / weight;
            if !norm.is_finite() {
                return Err(Error::NotFiniteGrad { norm: norm as f32, step, epoch: 0 });
            }
            self.last_norm = Some(norm as f32);
            scale *= (f64::from(*max) / (norm + 1e-6)).min(1.0);
        }
        self.numbers[0] = scale as f32;
        let mut from = 1;
        for optimizer in self.rules.optimizers() {
            let to = from + optimizer.numbers();
            optimizer.at(step, self.rules.lr(optimizer, lr), &mut self.numbers[from..to]);
            from = to;
        }
        self.slots.clear();
        self.slots.extend([params.as_mut_ptr(), grads.as_mut_ptr(), self.numbers.as_mut_ptr()]);
        self.slots.extend(self.state.iter_mut().map(Buffer::as_mut_ptr));
        // SAFETY: all arrays have the length the update was compiled for and are borrowed mutably.
        unsafe { self.program.run(&self.slots)? };
        [params, grads].into_iter().chain(&mut self.state).for_each(Buffer::settle);
        Ok(())
    }

    /// The norm of the gradient at the last update, before it was clipped.
    pub(super) fn last_norm(&self) -> Option<f32> {
        self.last_norm
    }

    /// The programs in the order in which they run.
    pub(super) fn programs(&mut self) -> impl Iterator<Item = &mut Program> {
        self.norm.iter_mut().map(|(_, _, program)| program).chain(std::iter::once(&mut self.program))
    }

    pub(super) fn explain(&self) -> String {
        self.norm.as_ref().map(|(_, _, program)| program.explain(None)).unwrap_or_default()
            + &self.program.explain(None)
    }
}

/// A sum of gradients, each with a weight.
pub(super) struct Sum {
    pub(super) grads: Buffer,
    /// The weights together; zero when there is no gradient in it.
    pub(super) weight: f64,
    program: Program,
}

impl Sum {
    /// An empty sum of gradients of `len` parameters.
    pub(super) fn new(len: usize) -> Result<Sum> {
        let mut g = Stage::new();
        let array = |g: &mut Stage, slot: usize| Value::Var(g.input(slot, &[len], DType::F32));
        let (sum, grad) = (array(&mut g, 0), array(&mut g, 1));
        let weight = Value::Var(g.input(2, &[], DType::F32));
        let results = [(added::stage(&mut g, sum, grad, weight), Place { slot: 0, offset: 0 })];
        let program = compile("accumulate", &g, &results, &[len], &|slot| Place { slot, offset: 0 })?;
        Ok(Sum { grads: gradient(len), weight: 0.0, program })
    }

    /// Adds a gradient.
    pub(super) fn add(&mut self, grads: &mut Buffer, weight: f32) -> Result<()> {
        if self.weight == 0.0 {
            self.grads.fill(0.0);
        }
        self.weight += f64::from(weight);
        let mut weight = weight;
        // SAFETY: both arrays have at least the length the program was compiled for.
        unsafe { self.program.run(&[self.grads.as_mut_ptr(), grads.as_mut_ptr(), &raw mut weight]) }
    }
}

/// Room for the gradient of `len` parameters, in whole rows. What is behind them stays zero.
pub(super) fn gradient(len: usize) -> Buffer {
    let (rows, row) = rows(len);
    Buffer::zeros(rows * row)
}

/// The rows in which the norm of a gradient is taken, and the elements of one.
fn rows(len: usize) -> (usize, usize) {
    let row = len.min(ROW);
    (len.div_ceil(row.max(1)), row)
}

/// The parts of the norm: slot zero holds the gradient, slot one takes them.
fn compile_norm(norm: Norm, len: usize) -> Result<Program> {
    let (rows, row) = rows(len);
    let mut g = Stage::new();
    let grads = Value::Var(g.input(0, &[rows, row], DType::F32));
    let results = [(norm.stage(&mut g, grads), Place { slot: 1, offset: 0 })];
    compile("norm", &g, &results, &[rows], &|slot| Place { slot, offset: 0 })
}

/// The update of all parameters: slot zero holds them, then come their gradients, the numbers that
/// change from step to step, and the states. Neighbours with the same optimizer are one array.
fn compile_update(rules: &Rules, assigned: &[Option<usize>], entries: &[Entry], len: usize) -> Result<Program> {
    let mut g = Stage::new();
    let mut places = Vec::new();
    let mut input = |g: &mut Stage, shape: &[usize], slot: usize, offset: usize| {
        places.push(Place { slot, offset });
        Value::Var(g.input(places.len() - 1, shape, DType::F32))
    };
    let scale = input(&mut g, &[], 2, 0);
    let mut from = 1;
    let mut optimizers = Vec::new();
    for optimizer in rules.optimizers() {
        let numbers: Vec<Value> = (from..from + optimizer.numbers()).map(|i| input(&mut g, &[], 2, i)).collect();
        from += numbers.len();
        optimizers.push((optimizer, numbers));
    }
    let mut results = Vec::new();
    let mut lens = Vec::new();
    for (group, range) in runs(assigned, entries, len) {
        let (optimizer, numbers) = &optimizers[group];
        let (shape, offset) = ([range.len()], range.start);
        let weight = input(&mut g, &shape, 0, offset);
        let grad = input(&mut g, &shape, 1, offset);
        let grad = mul::stage(&mut g, grad, scale);
        let grad = rules.clip_value.map_or(grad, |limit| clamped::stage(&mut g, grad, limit));
        let states = 3..3 + optimizer.state().len();
        let state: Vec<Value> = states.clone().map(|slot| input(&mut g, &shape, slot, offset)).collect();
        let updated = optimizer.update(&mut g, weight, grad, &state, numbers);
        let new = std::iter::once((updated.weight, 0)).chain(updated.state.into_iter().zip(states));
        for (value, slot) in new {
            results.push((value, Place { slot, offset }));
            lens.push(range.len());
        }
    }
    if results.is_empty() && len > 0 {
        let (setting, expected) = ("freeze", "at least one parameter that is not frozen");
        return Err(Error::Setting { setting, expected, found: "none".into() });
    }
    compile("update", &g, &results, &lens, &|i| places[i])
}

/// The ranges of the flat arrays that belong to one optimizer each, up to the next parameter of
/// another one.
fn runs(assigned: &[Option<usize>], entries: &[Entry], len: usize) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut runs: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    let ends = params(entries).skip(1).map(|next| next.offset).chain([len]);
    let trained = assigned.iter().zip(entries).filter(|(_, entry)| !entry.state);
    for ((group, entry), end) in trained.zip(ends) {
        let Some(group) = *group else { continue };
        match runs.last_mut() {
            Some((last, range)) if *last == group && range.end == entry.offset => range.end = end,
            _ => runs.push((group, entry.offset..end)),
        }
    }
    runs
}

/// Compiles flat results of these lengths.
fn compile(
    name: &'static str,
    g: &Stage,
    results: &[(Value, Place)],
    lens: &[usize],
    place: &dyn Fn(usize) -> Place,
) -> Result<Program> {
    if let Some(message) = g.error() {
        return Err(Error::Shape { function: "Optimizer::update".into(), message: message.into() });
    }
    let outputs = results.iter().zip(lens).map(|(&(value, place), &len)| match value {
        Value::Var(v) if g[v].shape == [len] && g[v].dtype == DType::F32 => Ok((v, place)),
        _ => Err(Error::Shape {
            function: "Optimizer::update".into(),
            message: "a result does not have the shape of the weights".into(),
        }),
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    let source = |op: &Op| match op {
        Op::Input(slot) => place(*slot),
        _ => unreachable!("an update reads inputs only"),
    };
    let program = Program::compile(name, g.graph(), &source, &outputs)?;
    if !program.proves_indices() {
        // Results lie in the place of what is updated, so it is too late to refuse an entry when the program runs.
        let message = "the range of an index is not known".into();
        return Err(Error::Shape { function: "Optimizer::update".into(), message });
    }
    Ok(program)
}
