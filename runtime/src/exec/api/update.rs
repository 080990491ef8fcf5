//! What follows the gradient: clipping and the update of the parameters, compiled over flat arrays.

use super::bounds::{Bounds, Growth, Weights};
use super::finite;
use super::finite::{Finite, Size, lost, refused_norm};
use super::model::{Entry, params};
use super::rules::Rules;
use crate::error::{Error, Result};
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::graph::{Op, Stage, Value, Var};
use crate::ir::LINE;
use crate::kernel::{Extent, Place, Region, Slot};
use crate::network;
use crate::ops::{maximum, minimum, mul};
use crate::optim::{Norm, Optimizer, Updated};
use crate::shape::DType;

/// Elements of a row of the gradient when its norm is taken: each row is added up in single
/// precision, the rows in double, so that a large model loses no digits.
const ROW: usize = 1024;

/// The most numbers of an optimizer that change from step to step.
const NUMBERS: usize = 1024;

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

/// A gradient to update by: `grads` over `weight`.
pub(crate) struct Gradient<'a> {
    pub(crate) grads: &'a mut Buffer,
    pub(crate) size: Size,
    pub(crate) weight: f64,
}

/// The compiled update with the state of its optimizer.
pub(crate) struct Update {
    pub(crate) rules: Rules,
    /// The number of each parameter's optimizer; `None` where it is frozen.
    pub(crate) assigned: Vec<Option<usize>>,
    /// Elements of the flat arrays.
    len: usize,
    program: Program,
    norm: Option<(Norm, f32, Program)>,
    /// The parts of the norm, one a row.
    parts: Buffer,
    last_norm: Option<f32>,
    /// One array a state of the optimizer.
    state: Vec<Buffer>,
    /// Whether weights and states are sure to stay finite.
    pub(crate) bounds: Bounds,
    /// The states and the parameters before an update on trial; none before the first one.
    before: Vec<Buffer>,
    /// The factor of the gradient, then what changes from step to step for each optimizer.
    numbers: Buffer,
    /// How many of them each optimizer has.
    counts: Vec<usize>,
}

/// What the optimizers of a step say of themselves. They are asked once, since a rule of one's own may say something
/// else each time.
struct Asked {
    /// The number of arrays of state.
    states: usize,
    /// How many numbers of each optimizer change from step to step.
    counts: Vec<usize>,
}

impl Asked {
    fn new(rules: &Rules) -> Result<Asked> {
        let counts: Vec<usize> = rules.optimizers().map(Optimizer::numbers).collect();
        if let Some(count) = counts.iter().find(|&&count| count > NUMBERS) {
            let (setting, expected) = ("Optimizer::numbers", "at most 1024");
            return Err(Error::Setting { setting, expected, found: count.to_string() });
        }
        Ok(Asked { states: rules.optimizer.state().len(), counts })
    }

    /// The factor of the gradient and the numbers of all optimizers.
    fn numbers(&self) -> usize {
        1 + self.counts.iter().sum::<usize>()
    }
}

impl Update {
    /// The update of `len` parameters by `rules`, with a state of zeros.
    pub(crate) fn new(rules: Rules, entries: &[Entry], len: usize) -> Result<Update> {
        rules.check()?;
        let assigned = rules.assign(entries)?;
        let asked = Asked::new(&rules)?;
        let clipped = rules.clip_norm.filter(|_| len > 0);
        let clipped = clipped.map(|(norm, max)| Ok((norm, max, compile_norm(norm, len)?))).transpose()?;
        let (program, growth) = compile_update(&rules, &asked, &assigned, entries, len)?;
        let sizes = (model_len(entries), len, asked.states);
        Ok(Update {
            program,
            bounds: Bounds::new(growth, entries, &assigned, sizes)?,
            before: vec![],
            norm: clipped,
            parts: Buffer::zeros(rows(len).0, "the norm of the gradient")?,
            last_norm: None,
            state: (0..asked.states).map(|_| Buffer::zeros(len, "the optimizer's state")).collect::<Result<_>>()?,
            numbers: Buffer::zeros(asked.numbers(), "the optimizer's numbers")?,
            counts: asked.counts,
            rules,
            assigned,
            len,
        })
    }

    /// The same with other rules; the state is kept.
    pub(crate) fn change(&mut self, rules: Rules, entries: &[Entry]) -> Result<()> {
        let mut new = Update::new(rules, entries, self.len)?;
        if new.state.len() != self.state.len() {
            let (setting, expected) = ("Optimizer::state", "the same state as before");
            let found = format!("{} arrays, not {}", new.state.len(), self.state.len());
            return Err(Error::Setting { setting, expected, found });
        }
        std::mem::swap(&mut new.state, &mut self.state);
        *self = new;
        Ok(())
    }

    /// Whether the norm that the gradient is clipped by is finite only where all of the gradient is, as a sum of sizes
    /// or squares.
    pub(crate) fn norm_tells(&self) -> bool {
        matches!(self.norm, Some((Norm::L1 | Norm::L2, ..)))
    }

    /// Updates weights by a gradient, which is finite but where the norm tells that.
    pub(crate) fn run(
        &mut self,
        entries: &[Entry],
        mut weights: Weights<'_>,
        Gradient { grads, mut size, weight }: Gradient<'_>,
        step: u64,
        lr: f32,
    ) -> Result<()> {
        let mut scale = 1.0 / weight;
        if let Some((norm, max, program)) = &mut self.norm {
            // SAFETY: the gradient is only read, and the parts are the update's own.
            unsafe {
                program.run(&mut |slot| match slot {
                    Slot::Grads => Some(Memory::read(grads)),
                    Slot::Norms => Some(Memory::write(&mut self.parts)),
                    _ => None,
                })
            }?;
            let (tells, whole) = (matches!(norm, Norm::L1 | Norm::L2), norm.of(&self.parts));
            let norm = whole / weight;
            if tells {
                size = Size::of_norm(whole);
            }
            if !norm.is_finite() {
                return Err(refused_norm(entries, grads, norm as f32, step));
            }
            self.last_norm = Some(norm as f32);
            scale *= (f64::from(*max) / (norm + 1e-6)).min(1.0);
        }
        self.numbers[0] = scale as f32;
        let mut from = 1;
        for (optimizer, count) in self.rules.optimizers().zip(&self.counts) {
            let to = from + count;
            let lr = self.rules.lr(optimizer, lr);
            optimizer.at(step, lr, &mut self.numbers[from..to]);
            if self.numbers[from..to].iter().any(|number| !number.is_finite()) {
                let (setting, expected) = ("lr", "a rate by which the optimizer's numbers are finite");
                return Err(Error::Setting { setting, expected, found: format!("{lr} at step {step}") });
            }
            from = to;
        }
        if size == Size::Small && self.bounds.foresee(&mut weights, &self.state, &self.numbers)? {
            self.write(weights.params, grads)?;
        } else {
            self.write_on_trial(entries, &mut weights, grads, step)?;
        }
        weights.params.settle();
        grads.settle();
        self.state.iter_mut().for_each(Buffer::settle);
        Ok(())
    }

    fn write(&mut self, params: &mut Buffer, grads: &mut Buffer) -> Result<()> {
        // SAFETY: all arrays are borrowed mutably, and there are no indices.
        unsafe {
            self.program.run(&mut |slot| match slot {
                Slot::Params => Some(Memory::write(params)),
                Slot::Grads => Some(Memory::read(grads)),
                Slot::Numbers => Some(Memory::read(&self.numbers)),
                Slot::Moment(i) => self.state.get_mut(i).map(|state| Memory::write(state)),
                _ => None,
            })
        }
    }

    /// An update that may make a weight or a state infinite or no number, by a square of a large gradient for example, so
    /// that a parameter would never be trained again. Then everything is as it was before.
    fn write_on_trial(
        &mut self,
        entries: &[Entry],
        weights: &mut Weights<'_>,
        grads: &mut Buffer,
        step: u64,
    ) -> Result<()> {
        if self.before.is_empty() {
            let arrays = self.state.iter().chain([&*weights.params]);
            let copies = arrays.map(|array| Buffer::zeros(array.len(), "a copy of the parameters before an update"));
            self.before = copies.collect::<Result<_>>()?;
        }
        let copies = self.state.iter().chain([&*weights.params]).zip(&mut self.before);
        copies.for_each(|(array, before)| before.copy_from_slice(array));
        self.write(weights.params, grads)?;
        if self.bounds.measure(weights, &self.state)? {
            return Ok(());
        }
        let Some(error) = self.lost(entries, weights.params, step) else { return Ok(()) };
        let arrays = self.state.iter_mut().chain([&mut *weights.params]);
        arrays.zip(&self.before).for_each(|(array, before)| array.copy_from_slice(before));
        self.bounds.forget();
        Err(error)
    }

    /// The error of the first state or weight that became infinite or no number by the last update, on trial.
    fn lost(&self, entries: &[Entry], params: &Buffer, step: u64) -> Option<Error> {
        let names = self.rules.optimizer.state().iter().copied().chain(["weight"]);
        let arrays = self.state.iter().chain([params]).zip(&self.before).zip(names);
        { arrays }.find_map(|((array, before), state)| {
            let trained = entries.iter().zip(&self.assigned).filter(|(_, group)| group.is_some());
            { trained }.find_map(|(entry, _)| {
                let range = entry.offset..entry.offset + entry.len();
                let value = lost(&before[range.clone()], &array[range])?;
                Some(Error::NotFiniteState { state, parameter: entry.name.clone(), value, step, epoch: 0 })
            })
        })
    }

    /// The norm of the gradient at the last update, before it was clipped.
    pub(crate) fn last_norm(&self) -> Option<f32> {
        self.last_norm
    }

    /// The programs in the order in which they run.
    pub(crate) fn programs(&mut self) -> impl Iterator<Item = &mut Program> {
        self.norm.iter_mut().map(|(_, _, program)| program).chain(std::iter::once(&mut self.program))
    }

    pub(crate) fn explain(&self) -> String {
        self.norm.as_ref().map(|(_, _, program)| program.explain(None)).unwrap_or_default()
            + &self.program.explain(None)
    }
}

/// A sum of gradients, each with a weight.
pub(crate) struct Sum {
    pub(crate) grads: Buffer,
    /// The weights together.
    weight: f64,
    /// Whether there is a batch in it, and whether one had nothing to add.
    started: bool,
    empty: bool,
    program: Program,
    finite: Finite,
}

impl Sum {
    /// An empty sum of gradients of `len` parameters.
    pub(crate) fn new(entries: &[Entry], assigned: &[Option<usize>], len: usize) -> Result<Sum> {
        let mut staged = Staged::default();
        let sum = staged.input(Slot::Sum.start(), &[len]);
        let grad = staged.input(Slot::Grads.start(), &[len]);
        let weight = staged.input(Slot::Weight.start(), &[]);
        staged.result(Slot::Sum.start(), &[len], |g| added::stage(g, sum, grad, weight));
        let all = padded(len);
        let slots = [Extent::written(Slot::Sum, all), Extent::read(Slot::Grads, all), Extent::read(Slot::Weight, 1)];
        let program = staged.compile("accumulate", &slots)?;
        let finite = Finite::new(entries, assigned, &[], all)?;
        Ok(Sum { grads: gradient(len)?, weight: 0.0, started: false, empty: false, program, finite })
    }

    /// Refuses a sum that is not finite.
    pub(crate) fn check(&mut self, entries: &[Entry], step: u64) -> Result<Size> {
        let small = self.finite.are_small(&self.grads)?;
        if small { Ok(Size::Small) } else { finite::check(entries, &self.grads, step) }
    }

    /// Whether there is a batch in it.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Forgets all batches.
    pub(crate) fn clear(&mut self) {
        self.started = false;
    }

    /// Ends the sum; gives the weights together, or `None` where the mean is not a number, since nothing was added.
    pub(crate) fn take_weight(&mut self) -> Option<f64> {
        self.started = false;
        match (self.weight == 0.0, self.empty) {
            (true, true) => None,
            // Nothing counts, and the gradients are zeros.
            (true, false) => Some(1.0),
            (false, _) => Some(self.weight),
        }
    }

    fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.grads.fill(0.0);
            (self.weight, self.empty) = (0.0, false);
        }
    }

    /// Adds a batch that has no mean, since nothing in it counts.
    pub(crate) fn add_nothing(&mut self) {
        self.start();
        self.empty = true;
    }

    /// Adds a gradient.
    pub(crate) fn add(&mut self, grads: &mut Buffer, weight: f64) -> Result<()> {
        self.start();
        self.weight += weight;
        let weight = weight as f32;
        // SAFETY: the sum alone is written, and there are no indices.
        unsafe {
            self.program.run(&mut |slot| match slot {
                Slot::Sum => Some(Memory::write(&mut self.grads)),
                Slot::Grads => Some(Memory::read(grads)),
                Slot::Weight => Some(Memory::read(std::slice::from_ref(&weight))),
                _ => None,
            })
        }
    }
}

/// Room for the gradient of `len` parameters, in whole rows. What is behind them stays zero.
pub(crate) fn gradient(len: usize) -> Result<Buffer> {
    Buffer::zeros(padded(len), "the gradient")
}

/// The elements of the gradient of `len` parameters.
pub(crate) fn padded(len: usize) -> usize {
    let (rows, row) = rows(len);
    rows * row
}

/// The rows in which the norm of a gradient is taken, and the elements of one.
fn rows(len: usize) -> (usize, usize) {
    let row = len.min(ROW);
    (len.div_ceil(row.max(1)), row)
}

/// The parts of the norm of a gradient.
fn compile_norm(norm: Norm, len: usize) -> Result<Program> {
    let (rows, row) = rows(len);
    let mut staged = Staged::default();
    let grads = staged.input(Slot::Grads.start(), &[rows, row]);
    staged.result(Slot::Norms.start(), &[rows], |g| norm.stage(g, grads));
    staged.compile("norm", &[Extent::read(Slot::Grads, rows * row), Extent::written(Slot::Norms, rows)])
}

/// The update of all parameters. Neighbours with the same optimizer are one array.
fn compile_update(
    rules: &Rules,
    asked: &Asked,
    assigned: &[Option<usize>],
    entries: &[Entry],
    len: usize,
) -> Result<(Program, Growth)> {
    let mut staged = Staged::default();
    let number = |staged: &mut Staged, i: usize| staged.input(Place { slot: Slot::Numbers, offset: i }, &[]);
    let scale = number(&mut staged, 0);
    let mut from = 1;
    let mut optimizers = Vec::new();
    for (optimizer, count) in rules.optimizers().zip(&asked.counts) {
        let numbers: Vec<Value> = (from..from + count).map(|i| number(&mut staged, i)).collect();
        from += count;
        optimizers.push((optimizer, numbers));
    }
    for (group, range) in runs(assigned, entries, len) {
        let (optimizer, numbers) = &optimizers[group];
        let (shape, offset) = ([range.len()], range.start);
        let at = |slot: Slot| Place { slot, offset };
        let weight = staged.input(at(Slot::Params), &shape);
        let grad = staged.input(at(Slot::Grads), &shape);
        let grad = mul::stage(&mut staged.g, grad, scale);
        let grad = rules.clip_value.map_or(grad, |limit| clamped::stage(&mut staged.g, grad, limit));
        let state: Vec<Value> = (0..asked.states).map(|i| staged.input(at(Slot::Moment(i)), &shape)).collect();
        let Updated { weight, state } = optimizer.update(&mut staged.g, weight, grad, &state, numbers);
        if state.len() != asked.states {
            return Err(refused(format!("gives {} states, expected {}", state.len(), asked.states)));
        }
        staged.result(at(Slot::Params), &shape, |_| weight);
        for (i, state) in state.into_iter().enumerate() {
            staged.result(at(Slot::Moment(i)), &shape, |_| state);
        }
    }
    if staged.results.is_empty() && len > 0 {
        let (setting, expected) = ("freeze", "at least one parameter that is not frozen");
        return Err(Error::Setting { setting, expected, found: "none".into() });
    }
    let slots = [
        Extent::written(Slot::Params, model_len(entries)),
        Extent::read(Slot::Grads, padded(len)),
        Extent::read(Slot::Numbers, asked.numbers()),
    ];
    let states = (0..asked.states).map(|i| Extent::written(Slot::Moment(i), len));
    let growth = Growth::new(staged.g.graph(), &staged.inputs, &staged.outputs()?, asked.numbers());
    let program = staged.compile("update", &slots.into_iter().chain(states).collect::<Vec<_>>())?;
    Ok((program, growth))
}

/// The elements of all parameters and states.
fn model_len(entries: &[Entry]) -> usize {
    let end = |entry: &Entry| (entry.offset + entry.len()).next_multiple_of(LINE);
    entries.iter().map(end).max().unwrap_or(0)
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

/// A graph over flat arrays, and where they are.
#[derive(Default)]
pub(crate) struct Staged {
    g: Stage,
    inputs: Vec<Region>,
    results: Vec<(Value, Region)>,
}

impl Staged {
    /// Numbers that are read.
    pub(crate) fn input(&mut self, place: Place, shape: &[usize]) -> Value {
        self.inputs.push(Region::numbers(place, shape));
        Value::Var(self.g.input(self.inputs.len() - 1, shape, DType::F32))
    }

    /// Numbers that are written.
    pub(crate) fn result(&mut self, place: Place, shape: &[usize], value: impl FnOnce(&mut Stage) -> Value) {
        let value = value(&mut self.g);
        self.results.push((value, Region::numbers(place, shape)));
    }

    /// The results, each of which is a value of the graph.
    fn outputs(&self) -> Result<Vec<(Var, Region)>> {
        let Staged { g, results, .. } = self;
        g.check_sizes()?;
        if let Some(message) = g.error() {
            return Err(refused(message.into()));
        }
        let result = |(value, region): &(Value, Region)| match *value {
            Value::Var(v) if g.graph().has(v) => Ok((v, region.clone())),
            _ => Err(refused("a result is not a tensor".into())),
        };
        results.iter().map(result).collect()
    }

    pub(crate) fn compile(self, name: &'static str, slots: &[Extent]) -> Result<Program> {
        let outputs = self.outputs()?;
        let Staged { g, inputs, .. } = self;
        let source = |op: &Op| match op {
            Op::Input(i) => {
                inputs.get(*i).cloned().ok_or_else(|| format!("there are {} inputs, none is {i}", inputs.len()))
            }
            _ => Err("an update reads weights, gradients, states and numbers alone".into()),
        };
        let program = Program::compile(name, g.graph(), &source, &outputs, slots)?;
        // Results lie in the place of what is updated, so it is too late to refuse an entry when the program runs.
        match program.proves_indices() {
            true => Ok(program),
            false => Err(refused("the range of an index is not known".into())),
        }
    }
}

fn refused(message: String) -> Error {
    Error::Shape { function: "Optimizer::update".into(), message }
}
