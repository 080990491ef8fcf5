//! A network with the numbers of its parameters.

use std::sync::{Arc, Mutex};

use super::staged::{self, Signature};
use super::{Buffer, Place, Program};
use crate::check::Message;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::network::{Forward, Function, Network};
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
    /// Where the states begin.
    params_len: usize,
    /// Shared with the steps that were made for this model.
    entries: Arc<[Entry]>,
    compiled: Mutex<Vec<Compiled>>,
}

/// Where a parameter or state is in the array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) offset: usize,
    pub(super) state: bool,
}

impl Entry {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn info(&self) -> ParamInfo<'_> {
        ParamInfo { name: &self.name, shape: &self.shape }
    }
}

/// The parameters without the states.
pub(super) fn params(entries: &[Entry]) -> impl Iterator<Item = &Entry> + Clone {
    entries.iter().filter(|entry| !entry.state)
}

/// Where parameters and inputs are: slot zero holds all parameters and states, the inputs follow.
pub(super) fn place(entries: &[Entry], op: &Op) -> Place {
    match op {
        Op::Param(id) => Place { slot: 0, offset: entries[*id].offset },
        Op::Input(i) => Place { slot: 1 + i, offset: 0 },
        _ => unreachable!("only inputs and parameters come from outside"),
    }
}

/// Gives the parameters, or the states, places from `offset` on; gives the end of the last one.
fn lay_out(entries: &mut [Entry], states: bool, mut offset: usize) -> usize {
    for entry in entries.iter_mut().filter(|entry| entry.state == states) {
        entry.offset = offset;
        offset += entry.len().next_multiple_of(Buffer::LINE);
    }
    offset
}

/// The name and shape of a parameter or state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamInfo<'a> {
    /// The path of its field, such as `blocks.0.up.weight`.
    pub name: &'a str,
    /// The sizes, outermost first.
    pub shape: &'a [usize],
}

/// A function compiled for the shapes of its inputs.
struct Compiled {
    function: &'static str,
    signature: Signature,
    program: Program,
    outputs: Vec<(Vec<usize>, Buffer)>,
}

impl<N: Network> Model<N> {
    /// A network with parameters initialised from `seed`; `Gpt::init(seed)` is the short form.
    ///
    /// The numbers of a parameter depend on the seed and on its place alone.
    pub fn new(mut net: N, seed: u64) -> Model<N> {
        net.number(0);
        let mut entries = Vec::new();
        while let Some((param, name)) = net.param(entries.len(), Message::new()) {
            let (name, shape) = (name.get().to_owned(), param.sizes().to_vec());
            entries.push(Entry { name, shape, offset: 0, state: param.is_state() });
        }
        let params_len = lay_out(&mut entries, false, 0);
        let len = lay_out(&mut entries, true, params_len);
        let mut params = Buffer::zeros(len);
        for (id, entry) in entries.iter().enumerate() {
            if let Some((param, _)) = net.param(id, Message::new()) {
                param.init().fill(&mut params[entry.offset..entry.offset + entry.len()], seed, id);
            }
        }
        Model { net, params, params_len, entries: entries.into(), compiled: Mutex::default() }
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
        params(&self.entries).map(Entry::len).sum()
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
        self.params[range].copy_from_slice(value.data());
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
        let mut compiled = self.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = compiled.iter().position(|c| c.function == function.name && c.signature.fits(&inputs));
        let i = match found {
            Some(i) => i,
            None => {
                compiled.push(self.compile(&function, &inputs)?);
                compiled.len() - 1
            }
        };
        let c = &mut compiled[i];
        c.program.check(&inputs, |i| function.inputs[i].into())?;
        let mut slots = vec![self.params.as_ptr().cast_mut()];
        slots.extend((0..inputs.count()).map(|i| input_ptr(inputs.input(i))));
        slots.extend(c.outputs.iter_mut().map(|(_, buffer)| buffer.as_mut_ptr()));
        // SAFETY: parameters and inputs are as the program was compiled for and only read, and the
        // outputs are its own.
        unsafe { c.program.run(&slots)? };
        c.outputs.iter().map(|(shape, data)| Tensor::new(shape.clone(), &data[..])).collect()
    }

    fn compile(&self, function: &Function<N>, inputs: &impl Inputs) -> Result<Compiled> {
        let mut staged = staged::stage(&self.net, function, inputs)?;
        let outputs: Vec<_> = staged
            .outputs
            .iter()
            .map(|&v| (staged.graph[v].shape.clone(), Buffer::zeros(staged.graph[v].len())))
            .collect();
        let roots = std::mem::take(&mut staged.outputs);
        let count = inputs.count();
        let places: Vec<_> =
            roots.into_iter().enumerate().map(|(i, v)| (v, Place { slot: 1 + count + i, offset: 0 })).collect();
        let program = Program::compile(function.name, &staged.graph, &|op| place(&self.entries, op), &places)?;
        Ok(Compiled { function: function.name, signature: Signature::of(inputs), program, outputs })
    }

    pub(super) fn entry(&self, name: &str) -> Result<&Entry> {
        find(self.entries.iter(), name)
    }

    /// The numbers of a parameter.
    pub(super) fn numbers(&self, entry: &Entry) -> &[f32] {
        &self.params[entry.offset..entry.offset + entry.len()]
    }

    pub(super) fn entries(&self) -> &Arc<[Entry]> {
        &self.entries
    }

    pub(super) fn params_mut(&mut self) -> &mut Buffer {
        &mut self.params
    }

    /// The length of all parameters.
    pub(super) fn params_len(&self) -> usize {
        self.params_len
    }

    /// The length of all states.
    pub(super) fn states_len(&self) -> usize {
        self.params.len() - self.params_len
    }
}

/// The parameter of a name.
pub(super) fn find<'e>(entries: impl Iterator<Item = &'e Entry> + Clone, name: &str) -> Result<&'e Entry> {
    entries.clone().find(|e| e.name == name).ok_or_else(|| Error::UnknownParam {
        name: name.into(),
        known: entries.map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

pub(super) fn input_ptr(input: Input<'_>) -> *mut f32 {
    match input {
        Input::Tensor(_, data) => data.as_ptr().cast_mut(),
        Input::Index(_, data) => data.as_ptr().cast_mut().cast(),
    }
}
