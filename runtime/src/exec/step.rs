//! The training step: forward, backward and update as compiled programs.

use std::sync::Arc;

use super::model::{Entry, find, input_ptr};
use super::staged::{self, Signature};
use super::{Buffer, Model, Place, Program};
use crate::error::{Error, Result};
use crate::graph::{Op, Stage, Value};
use crate::network::{Function, Network};
use crate::optim::Optimizer;
use crate::shape::DType;
use crate::tensor::{Inputs, Tensor};

/// A compiled training step, for a training loop of one's own.
///
/// It is compiled for each set of input shapes at its first run with them, and kept; after that a
/// run allocates nothing.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential, loss = mse)]
/// struct Line {
///     line: Linear<1, 1>,
/// }
///
/// let mut model = Line::init(0);
/// let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
/// let x = Tensor::new([4, 1], [0.0, 1.0, 2.0, 3.0])?;
/// let y = Tensor::new([4, 1], [1.0, 3.0, 5.0, 7.0])?;
/// for _ in 0..200 {
///     step.run(&mut model, (&x, &y))?;
/// }
/// assert!((model.get("line.weight")?.item()? - 2.0).abs() < 0.01);
/// # Ok::<(), downhill::Error>(())
/// ```
pub struct Step<N: Network> {
    function: Function<N>,
    entries: Arc<[Entry]>,
    optimizer: Arc<dyn Optimizer>,
    update: Program,
    /// One array a state of the optimizer.
    state: Vec<Buffer>,
    grads: Buffer,
    numbers: Vec<f32>,
    loss: Buffer,
    lr: f32,
    steps: u64,
    variants: Vec<Variant>,
    /// The pointers of a run, kept so that a run allocates nothing.
    slots: Vec<*mut f32>,
}

// SAFETY: the pointers in `slots` are written at the start of every run and only used in it.
unsafe impl<N: Network> Send for Step<N> {}

/// The step for one set of input shapes.
struct Variant {
    signature: Signature,
    bounds: Vec<Option<usize>>,
    program: Program,
}

impl<N: Network> Step<N> {
    /// A step that lowers `loss` of the model by the rule of `optimizer`.
    ///
    /// # Errors
    ///
    /// When a setting of the optimizer is out of its range, and when the update cannot be compiled.
    pub fn new(model: &Model<N>, loss: Function<N>, optimizer: impl Optimizer + 'static) -> Result<Step<N>> {
        Step::shared(model, loss, Arc::new(optimizer))
    }

    pub(crate) fn shared(model: &Model<N>, loss: Function<N>, optimizer: Arc<dyn Optimizer>) -> Result<Step<N>> {
        optimizer.check()?;
        let len = model.params_len();
        Ok(Step {
            function: loss,
            entries: model.entries().clone(),
            update: compile_update(&*optimizer, len)?,
            state: optimizer.state().iter().map(|_| Buffer::zeros(len)).collect(),
            grads: Buffer::zeros(len),
            numbers: vec![0.0; optimizer.numbers()],
            loss: Buffer::zeros(1),
            lr: optimizer.lr(),
            steps: 0,
            variants: Vec::new(),
            slots: Vec::with_capacity(3 + optimizer.numbers() + optimizer.state().len() + loss.inputs.len()),
            optimizer,
        })
    }

    /// One step: computes the loss and its gradient, updates the parameters, gives the loss from
    /// before the update.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature or an index is out of range, before anything runs;
    /// and when the loss is infinite or not a number, before the parameters are touched.
    pub fn run(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        let loss = self.differentiate(model, inputs)?;
        if !loss.is_finite() {
            return Err(Error::NotFinite { loss, step: self.steps + 1, epoch: 0 });
        }
        self.steps += 1;
        self.optimizer.at(self.steps, self.lr, &mut self.numbers);
        self.slots.clear();
        self.slots.push(model.params_mut().as_mut_ptr());
        self.slots.push(self.grads.as_mut_ptr());
        self.slots.extend(self.state.iter_mut().map(Buffer::as_mut_ptr));
        self.slots.extend(self.numbers.iter_mut().map(std::ptr::from_mut));
        // SAFETY: all arrays have the length the update was compiled for and belong to this step
        // or to the model, which is borrowed mutably.
        unsafe { self.update.run(&self.slots) };
        Ok(loss)
    }

    /// Computes the loss and the gradient of every parameter, and updates nothing.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature or an index is out of range.
    pub fn differentiate(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        if !Arc::ptr_eq(model.entries(), &self.entries) && **model.entries() != *self.entries {
            return Err(Error::OtherModel { expected: N::NAME, parameters: self.entries.iter().map(Entry::len).sum() });
        }
        let found = self.variants.iter().position(|v| v.signature.fits(&inputs));
        let i = match found {
            Some(i) => i,
            None => {
                self.variants.push(compile_loss(model, &self.function, &inputs)?);
                self.variants.len() - 1
            }
        };
        let variant = &mut self.variants[i];
        staged::check_bounds(&self.function, &inputs, &variant.bounds)?;
        self.slots.clear();
        self.slots.push(model.params_mut().as_mut_ptr());
        self.slots.extend((0..inputs.count()).map(|i| input_ptr(inputs.input(i))));
        self.slots.push(self.loss.as_mut_ptr());
        self.slots.push(self.grads.as_mut_ptr());
        // SAFETY: the inputs have the shapes of this variant and their indices were checked;
        // parameters, loss and gradients have the layout it was compiled for.
        unsafe { variant.program.run(&self.slots) };
        Ok(self.loss[0])
    }

    /// The gradient of a parameter at the last run.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn grad(&self, name: &str) -> Result<Tensor> {
        let entry = find(&self.entries, name)?;
        Tensor::new(entry.shape.clone(), &self.grads[entry.offset..entry.offset + entry.len()])
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_lr(&mut self, lr: f32) {
        self.lr = lr;
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The kernels of the compiled programs: what was fused, bytes, flops.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for variant in &self.variants {
            text += &variant.program.explain();
        }
        text + &self.update.explain()
    }
}

fn compile_loss<N: Network>(model: &Model<N>, function: &Function<N>, inputs: &impl Inputs) -> Result<Variant> {
    let staged = staged::stage_loss(model.net(), function, inputs)?;
    let count = inputs.count();
    let mut outputs = vec![(staged.outputs[0], Place { slot: 1 + count, offset: 0 })];
    for (grad, entry) in staged.grads.iter().zip(model.entries().iter()) {
        if let Some(v) = grad {
            outputs.push((*v, Place { slot: 2 + count, offset: entry.offset }));
        }
    }
    let program = Program::compile(function.name, &staged.graph, &|op| model.place(op), &outputs)?;
    Ok(Variant { signature: Signature::of(inputs), bounds: staged.bounds, program })
}

/// The update over all parameters at once: slot zero holds them, then come their gradients, the
/// states, and the numbers that change from step to step.
fn compile_update(optimizer: &dyn Optimizer, len: usize) -> Result<Program> {
    let states = optimizer.state().len();
    let mut g = Stage::new();
    let array = |g: &mut Stage, slot: usize| Value::Var(g.input(slot, &[len], DType::F32));
    let (weight, grad) = (array(&mut g, 0), array(&mut g, 1));
    let state: Vec<Value> = (0..states).map(|i| array(&mut g, 2 + i)).collect();
    let numbers: Vec<Value> =
        (0..optimizer.numbers()).map(|i| Value::Var(g.input(2 + states + i, &[], DType::F32))).collect();
    let updated = optimizer.update(&mut g, weight, grad, &state, &numbers);
    let results = std::iter::once((updated.weight, 0)).chain(updated.state.into_iter().zip(2..2 + states));
    let outputs = results.map(|(value, slot)| match value {
        Value::Var(v) if g[v].shape == [len] && g[v].dtype == DType::F32 => Ok((v, Place { slot, offset: 0 })),
        _ => Err(Error::Shape {
            function: "Optimizer::update".into(),
            message: g.error().unwrap_or("a result does not have the shape of the weights").into(),
        }),
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    let source = |op: &Op| match op {
        Op::Input(slot) => Place { slot: *slot, offset: 0 },
        _ => unreachable!("an update reads inputs only"),
    };
    Program::compile("update", g.graph(), &source, &outputs)
}
