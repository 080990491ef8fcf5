//! A network with the numbers of its parameters.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::batch_weight::BatchWeights;
use super::bounds::Weights;
use super::staged;
use super::staged::{Signature, Staged};
use super::step::samples;
use crate::error::{Error, Result};
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::graph::{Op, Var};
use crate::ir::LINE;
use crate::kernel::{Extent, Place, Region, Slot};
use crate::network::{Forward, Function, Network, ParamInfo};
use crate::shape::check::Message;
use crate::shape::elements;
use crate::tensor::{Input, Inputs, Tensor};

/// A network with its parameters: what `Gpt::init(seed)` gives.
///
/// Each parameter is named by the path of its field (`blocks.0.up.weight`), and so is each
/// [`State`](crate::network::State).
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential)]
/// struct Net {
///     hidden: Linear<4, 8>,
///     act: Tanh,
///     out: Linear<8, 2>,
/// }
///
/// let model = Net::init(0);
/// assert_eq!(model.params().map(|p| p.name).collect::<Vec<_>>(), ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]);
/// let y = model.forward(&Tensor::new([3, 4], vec![0.5; 12])?)?;
/// assert_eq!(y.shape(), [3, 2]);
/// # Ok::<(), downhill::Error>(())
/// ```
pub struct Model<N: Network> {
    net: N,
    /// The parameters, and behind them the states.
    params: Buffer,
    /// Which measurement of the parameters holds; 0 for none.
    mark: u64,
    /// Where the states begin.
    params_len: usize,
    /// Whether there is memory for the parameters, all of which have names of their own.
    complete: bool,
    /// Shared with the steps that were made for this model.
    entries: Arc<[Entry]>,
    compiled: Mutex<Vec<Compiled<N>>>,
}

/// Where a parameter or state is in the array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) offset: usize,
    pub(crate) state: bool,
}

impl Entry {
    /// The number of elements; the largest number there is where they are more than a tensor can have.
    pub(crate) fn len(&self) -> usize {
        elements(&self.shape).unwrap_or(usize::MAX)
    }

    /// It as a value in memory, called by its name behind `what`.
    pub(crate) fn region(&self, place: Place, what: &str) -> Region {
        Region::numbers(place, &self.shape).called(format!("{what}`{}`", self.name))
    }

    fn info(&self) -> ParamInfo<'_> {
        ParamInfo { name: &self.name, shape: &self.shape }
    }
}

/// The parameters without the states.
pub(crate) fn params(entries: &[Entry]) -> impl Iterator<Item = &Entry> + Clone {
    entries.iter().filter(|entry| !entry.state)
}

/// Where parameters and inputs are.
pub(crate) fn source(entries: &[Entry], inputs: &Signature, op: &Op) -> Result<Region, String> {
    match op {
        Op::Param(id) => {
            let entry =
                entries.get(*id).ok_or_else(|| format!("the model has {} parameters, none is {id}", entries.len()))?;
            Ok(entry.region(Place { slot: Slot::Params, offset: entry.offset }, "parameter "))
        }
        Op::Input(i) => inputs.region(*i),
        _ => Err("random numbers depend on the seed of a step, and this is none".into()),
    }
}

/// The results of a function: number, value and shape.
pub(crate) fn outputs(staged: &Staged) -> impl Iterator<Item = (usize, Var, &[usize])> {
    staged.outputs.iter().enumerate().map(|(i, &v)| (i, v, &staged.graph[v].shape[..]))
}

/// The slot of a result, which was staged and so is not too large.
pub(crate) fn output_slot(i: usize, shape: &[usize]) -> Extent {
    Extent::written(Slot::Output(i), elements(shape).unwrap_or(0))
}

/// Gives the parameters, or the states, places from `offset` on; gives the end of the last one. Refuses what no memory
/// can hold.
fn lay_out(entries: &mut [Entry], states: bool, mut offset: usize) -> Result<usize> {
    for entry in entries.iter_mut().filter(|entry| entry.state == states) {
        let refused = |what| Err(Error::TooLarge { what, shape: entry.shape.clone() });
        let Some(len) = elements(&entry.shape) else { return refused(format!("parameter `{}`", entry.name)) };
        let end = offset + len.next_multiple_of(LINE);
        if elements(&[end]).is_none() {
            return refused(format!("a network with parameter `{}`", entry.name));
        }
        entry.offset = offset;
        offset = end;
    }
    Ok(offset)
}

/// Gives all parameters and states places; gives where the states begin and end.
fn lay_out_all(network: &'static str, entries: &mut [Entry]) -> Result<(usize, usize)> {
    check_names(network, entries)?;
    let params_len = lay_out(entries, false, 0)?;
    Ok((params_len, lay_out(entries, true, params_len)?))
}

/// Refuses two parameters of one name.
fn check_names(network: &'static str, entries: &[Entry]) -> Result<()> {
    let mut names = HashSet::new();
    match entries.iter().find(|entry| !names.insert(&*entry.name)) {
        Some(entry) => Err(Error::SameName { network, name: entry.name.clone() }),
        None => Ok(()),
    }
}

/// A function compiled for the shapes of its inputs.
struct Compiled<N: 'static> {
    function: Function<N>,
    signature: Signature,
    program: Program,
    outputs: Vec<(Vec<usize>, Buffer)>,
    /// What a batch counts in the mean of each result.
    weights: BatchWeights,
}

impl<N: Network> Model<N> {
    /// A network with parameters initialised from `seed`; `Gpt::init(seed)` is the short form.
    ///
    /// The numbers of a parameter depend on the seed and on its place alone.
    ///
    /// A network of constant sizes that no memory can hold does not compile:
    ///
    /// ```compile_fail,E0080
    /// use downhill::prelude::*;
    ///
    /// let model = Linear::<{ 1 << 40 }, { 1 << 40 }>::init(0);
    /// ```
    ///
    /// Where sizes are computed, it becomes a model without numbers: whatever that is used for gives the error that
    /// [`Model::try_new`] gives at once.
    pub fn new(net: N, seed: u64) -> Model<N> {
        let mut model = Model::without_numbers(net);
        // The error is found again when the model is used.
        let _ = model.start(seed);
        model
    }

    /// The same as [`Model::new`] for a network whose sizes are computed.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] and [`Error::Memory`] for parameters that memory cannot hold, and [`Error::SameName`] for two
    /// of one name.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// let rows: usize = 1 << 40; // read from a file, say
    /// let error = Model::try_new(Linear::new(rows, rows), 0).err().unwrap().to_string();
    /// assert_eq!(error, "parameter `weight` [1099511627776, 1099511627776] has more than 2^40 elements");
    /// ```
    pub fn try_new(net: N, seed: u64) -> Result<Model<N>> {
        let mut model = Model::without_numbers(net);
        model.start(seed)?;
        Ok(model)
    }

    /// The layout of a network.
    fn without_numbers(mut net: N) -> Model<N> {
        net.number(0);
        let mut entries = Vec::new();
        while let Some((param, name)) = net.param(entries.len(), Message::new()) {
            let (name, shape) = (name.get().to_owned(), param.sizes().to_vec());
            entries.push(Entry { name, shape, offset: 0, state: param.is_state() });
        }
        let (params, compiled) = (Buffer::default(), Mutex::default());
        Model { net, params, mark: 0, params_len: 0, complete: false, entries: entries.into(), compiled }
    }

    /// Gives all parameters and states their places and their first numbers.
    fn start(&mut self, seed: u64) -> Result<()> {
        let mut entries = self.entries.to_vec();
        let (params_len, len) = lay_out_all(N::NAME, &mut entries)?;
        let mut params = Buffer::zeros(len, &format!("the parameters of {}", N::NAME))?;
        for (id, entry) in entries.iter().enumerate() {
            if let Some((param, _)) = self.net.param(id, Message::new()) {
                param.init().fill(&mut params[entry.offset..entry.offset + entry.len()], seed, id);
            }
        }
        *self = Model {
            net: self.net,
            params,
            mark: 0,
            params_len,
            complete: true,
            entries: entries.into(),
            compiled: Mutex::default(),
        };
        Ok(())
    }

    /// Refuses a model without numbers, with the reason why it has none.
    pub(crate) fn check(&self) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        let (_, elements) = lay_out_all(N::NAME, &mut self.entries.to_vec())?;
        Err(Error::Memory { what: format!("the parameters of {}", N::NAME), elements })
    }

    /// The network without its numbers.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The names and shapes of all parameters, in the order of their fields.
    pub fn params(&self) -> impl Iterator<Item = ParamInfo<'_>> {
        params(&self.entries).map(Entry::info)
    }

    /// The names and shapes of all states, such as the running statistics of
    /// [`BatchNorm2d`](crate::nn::BatchNorm2d), in the order of their fields.
    pub fn states(&self) -> impl Iterator<Item = ParamInfo<'_>> {
        self.entries.iter().filter(|entry| entry.state).map(Entry::info)
    }

    /// How many numbers the parameters have together.
    pub fn param_count(&self) -> usize {
        params(&self.entries).map(Entry::len).fold(0, usize::saturating_add)
    }

    /// A copy of a parameter or state.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let entry = self.entry(name)?;
        Tensor::new(entry.shape.clone(), self.numbers(entry))
    }

    /// Sets a parameter or state.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or its shape is another.
    pub fn set(&mut self, name: &str, value: &Tensor) -> Result<()> {
        let entry = self.entry(name)?;
        if entry.shape != value.shape() {
            return Err(Error::ParamShape {
                name: name.into(),
                expected: entry.shape.clone(),
                found: format!("{:?}", value.shape()),
            });
        }
        let range = entry.offset..entry.offset + entry.len();
        self.params_mut()[range].copy_from_slice(value.data());
        Ok(())
    }

    /// Computes `forward` of the inputs.
    ///
    /// It is compiled for the shapes of the inputs at the first call with them, and kept.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature; nothing is computed then.
    pub fn forward(&self, inputs: impl Inputs) -> Result<Tensor>
    where
        N: Forward,
    {
        let results = self.call(N::FORWARD, inputs)?;
        let found = results.len();
        results.into_iter().next().ok_or(Error::Elements { shape: vec![], expected: 1, found })
    }

    /// Computes a function of the network: `model.call(Gpt::loss, (&tokens, &targets))`. Whole
    /// numbers and truth values come back as numbers.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature; nothing is computed then.
    pub fn call(&self, function: Function<N>, inputs: impl Inputs) -> Result<Vec<Tensor>> {
        self.results(function, inputs, |result, _| result)
    }

    /// The results of a function, each with what these inputs count in its mean over batches.
    pub(crate) fn call_weighed(&self, function: Function<N>, inputs: impl Inputs) -> Result<Vec<(Tensor, f64)>> {
        self.results(function, inputs, |result, weight| (result, weight))
    }

    /// What is made of each result of a function and its weight.
    fn results<T>(&self, function: Function<N>, inputs: impl Inputs, of: impl Fn(Tensor, f64) -> T) -> Result<Vec<T>> {
        self.check()?;
        let inputs = inputs.all();
        let inputs = inputs.as_ref();
        let mut compiled = self.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let i = self.compiled_for(&mut compiled, function, inputs)?;
        let Compiled { program, outputs, weights, .. } = &mut compiled[i];
        program.check(inputs, |i| function.inputs[i].into())?;
        // SAFETY: parameters and inputs are only read, outputs and counts are the program's own.
        unsafe {
            program.run(&mut |slot| match slot {
                Slot::Params => Some(Memory::read(&self.params)),
                Slot::Input(i) => inputs.get(i).map(Memory::input),
                Slot::Output(i) => outputs.get_mut(i).map(|(_, data)| Memory::write(data)),
                Slot::Count(i) => weights.memory(i),
                _ => None,
            })
        }?;
        let samples = samples(inputs);
        let results = outputs.iter().enumerate();
        results.map(|(i, (shape, data))| Ok(of(Tensor::copied(shape, data)?, weights.get(i, samples)))).collect()
    }

    /// Compiles a function for the shapes of these inputs, so that shapes that it refuses are noticed before it runs.
    pub(crate) fn prepare(&self, function: Function<N>, inputs: impl Inputs) -> Result<()> {
        self.check()?;
        let mut compiled = self.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.compiled_for(&mut compiled, function, inputs.all().as_ref()).map(drop)
    }

    /// The number of a function compiled for these shapes, compiled now if it is not there yet.
    fn compiled_for(
        &self,
        compiled: &mut Vec<Compiled<N>>,
        function: Function<N>,
        inputs: &[Input<'_>],
    ) -> Result<usize> {
        let found = compiled.iter().position(|c| c.function.is(&function) && c.signature.fits(inputs));
        if let Some(i) = found {
            return Ok(i);
        }
        compiled.push(self.compile(function, Signature::of(inputs))?);
        Ok(compiled.len() - 1)
    }

    fn compile(&self, function: Function<N>, signature: Signature) -> Result<Compiled<N>> {
        let staged = staged::stage(&self.net, &function, &signature)?;
        let mut slots = vec![Extent::read(Slot::Params, self.params.len())];
        slots.extend(signature.slots());
        slots.extend(outputs(&staged).map(|(i, _, shape)| output_slot(i, shape)));
        let mut results: Vec<_> =
            outputs(&staged).map(|(i, v, shape)| (v, Region::numbers(Slot::Output(i).start(), shape))).collect();
        slots.extend(staged.weights.slots());
        results.extend(staged.weights.results(&staged.graph));
        let source = |op: &Op| source(&self.entries, &signature, op);
        let program = Program::compile(function.name, &staged.graph, &source, &results, &slots)?;
        let memory = |(_, v, shape): (usize, Var, &[usize])| {
            Ok((shape.to_vec(), Buffer::zeros(staged.graph[v].len(), &format!("the results of {}", function.name))?))
        };
        let outputs = outputs(&staged).map(memory).collect::<Result<_>>()?;
        Ok(Compiled { function, signature, program, outputs, weights: staged.weights })
    }

    pub(crate) fn entry(&self, name: &str) -> Result<&Entry> {
        self.check()?;
        find(self.entries.iter(), name)
    }

    /// The numbers of a parameter.
    pub(crate) fn numbers(&self, entry: &Entry) -> &[f32] {
        &self.params[entry.offset..entry.offset + entry.len()]
    }

    pub(crate) fn entries(&self) -> &Arc<[Entry]> {
        &self.entries
    }

    /// The parameters and states.
    pub(crate) fn all(&self) -> &[f32] {
        &self.params
    }

    /// The parameters and states to be changed, by which no measurement holds any more.
    pub(crate) fn params_mut(&mut self) -> &mut [f32] {
        self.mark = 0;
        &mut self.params
    }

    /// The parameters to be updated.
    pub(crate) fn weights(&mut self) -> Weights<'_> {
        Weights { params: &mut self.params, mark: &mut self.mark }
    }

    /// The states to be changed.
    pub(crate) fn states_mut(&mut self) -> &mut [f32] {
        &mut self.params[self.params_len..]
    }

    /// The length of all parameters.
    pub(crate) fn params_len(&self) -> usize {
        self.params_len
    }

    /// The length of all states.
    pub(crate) fn states_len(&self) -> usize {
        self.params.len() - self.params_len
    }
}

/// The parameter of a name.
pub(crate) fn find<'e>(entries: impl Iterator<Item = &'e Entry> + Clone, name: &str) -> Result<&'e Entry> {
    entries.clone().find(|e| e.name == name).ok_or_else(|| Error::UnknownParam {
        name: name.into(),
        known: entries.map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}
