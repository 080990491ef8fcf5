//! The training step: forward, backward and update as compiled programs.

use std::ops::Range;
use std::sync::Arc;

use super::finite;
use super::finite::{Size, lost};
use super::model::{Entry, find, params};
use super::rules::Rules;
use super::staged::Signature;
use super::update::{Gradient, Sum, Update, gradient};
use super::variant::{Loss, Variant};
use crate::error::{Error, Result};
use crate::exec::Model;
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::ir::random::hash;
use crate::kernel::Slot;
use crate::network::{Function, Network};
use crate::optim::Optimizer;
use crate::tensor::{Input, Inputs, Tensor};

/// A compiled training step, for a training loop of one's own.
///
/// It is compiled for each set of input shapes at its first run with them, and kept; after that a
/// run allocates nothing. A run takes any model of the same parameters, and computes with the options of that model's
/// network: for other options it is compiled anew too.
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
    pub(crate) entries: Arc<[Entry]>,
    params_len: usize,
    pub(crate) update: Update,
    grads: Buffer,
    /// The gradients of micro-batches since the last update.
    sum: Option<Sum>,
    loss: Buffer,
    /// What the states become if the step counts.
    states: Buffer,
    lr: f32,
    steps: u64,
    /// What the random numbers of a run depend on: its seed is a hash of both.
    seed: u64,
    runs: u64,
    run_seed: Buffer,
    variants: Vec<Variant<N>>,
    /// The variant of the last run, and its number of samples.
    last: Option<usize>,
    samples: usize,
}

impl<N: Network> Step<N> {
    /// A step that lowers `loss` of the model by the rule of `optimizer`. If the function returns a tuple,
    /// the first is the loss; see [`Step::outputs`] for the others.
    ///
    /// # Errors
    ///
    /// When a setting of the optimizer is out of its range, and when the update cannot be compiled.
    pub fn new(model: &Model<N>, loss: Function<N>, optimizer: impl Optimizer + 'static) -> Result<Step<N>> {
        Step::with(model, loss, Rules::new(Arc::new(optimizer)))
    }

    pub(crate) fn with(model: &Model<N>, loss: Function<N>, rules: Rules) -> Result<Step<N>> {
        model.check()?;
        let (len, what) = (model.params_len(), "a step");
        Ok(Step {
            function: loss,
            entries: model.entries().clone(),
            params_len: len,
            lr: rules.optimizer.lr(),
            update: Update::new(rules, model.entries(), len)?,
            grads: gradient(len)?,
            sum: None,
            loss: Buffer::zeros(1, what)?,
            states: Buffer::zeros(model.states_len(), what)?,
            steps: 0,
            seed: 0,
            runs: 0,
            run_seed: Buffer::zeros(1, what)?,
            variants: Vec::new(),
            last: None,
            samples: 0,
        })
    }

    /// Trains by other rules from now on; the state of the optimizer is kept, micro-batches are
    /// forgotten.
    pub(crate) fn set_rules(&mut self, rules: Rules) -> Result<()> {
        rules.check()?;
        rules.check_lr(self.lr)?;
        let before = self.update.assigned.clone();
        self.update.change(rules, &self.entries)?;
        let frozen = |assigned: &[Option<usize>]| assigned.iter().map(Option::is_none).collect::<Vec<_>>();
        if frozen(&before) != frozen(&self.update.assigned) {
            // Which gradients are computed is compiled in.
            self.variants.clear();
            self.sum = None;
            self.grads.fill(0.0);
        }
        self.discard();
        Ok(())
    }

    /// One step: computes the loss and its gradient, updates the parameters, gives the loss from
    /// before the update. Micro-batches that were accumulated before count too.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature or an index is out of range, before anything runs;
    /// when the loss or the gradient of a parameter is infinite or not a number, or the norm of all is where they are
    /// clipped by that, or when a state of the network, a state of the optimizer or a parameter would become infinite or
    /// not a number: parameters, states and the optimizer are then as they were. What is infinite from the start, such as
    /// a running maximum that starts at −∞, may stay so.
    pub fn run(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        if self.sum.as_ref().is_some_and(Sum::is_started) {
            let loss = self.accumulate(model, inputs)?;
            return self.update(model).map(|()| loss);
        }
        let loss = self.finite_loss(model, inputs)?;
        let size = if self.update.norm_tells() { Size::Small } else { self.finite_grad()? };
        self.check_states(model)?;
        let gradient = Gradient { grads: &mut self.grads, size, weight: 1.0 };
        self.update.run(&self.entries, model.weights(), gradient, self.steps + 1, self.lr)?;
        self.keep_states(model);
        self.steps += 1;
        Ok(loss)
    }

    /// Computes the loss of a micro-batch and adds its gradient to those of others: [`Step::update`]
    /// then takes the mean of all. Together they are what one batch of all their samples is, of whatever sizes they
    /// are: each counts what it [weighs](Step::weight).
    ///
    /// A micro-batch in which no target counts, so that its loss is 0 / 0, has a loss of 0 and adds nothing.
    ///
    /// The first call allocates room for the sum.
    ///
    /// # Errors
    ///
    /// As [`Step::run`]; the micro-batch is then left out, those before it stay.
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
    /// for part in [[0.0, 1.0], [2.0, 3.0]] {
    ///     let (x, y) = (Tensor::new([2, 1], part)?, Tensor::new([2, 1], part)?);
    ///     step.accumulate(&mut model, (&x, &y))?;
    /// }
    /// step.update(&mut model)?;
    /// assert_eq!(step.steps(), 1);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn accumulate(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        let loss = self.differentiate(model, inputs)?;
        let weight = self.weight();
        let empty = weight == 0.0 && loss.is_nan();
        if !empty {
            self.check_finite(if weight.is_finite() { loss } else { f32::NAN })?;
            self.finite_grad()?;
        }
        self.check_states(model)?;
        self.keep_states(model);
        let sum = match &mut self.sum {
            Some(sum) => sum,
            None => self.sum.insert(Sum::new(&self.entries, &self.update.assigned, model.params_len())?),
        };
        if empty {
            sum.add_nothing();
            return Ok(0.0);
        }
        sum.add(&mut self.grads, weight)?;
        Ok(loss)
    }

    /// One step by the mean gradient of the micro-batches since the last one.
    ///
    /// # Errors
    ///
    /// When there was none; when the model is another, when no target counts in any of them; when the sum of their
    /// gradients is not finite, or the norm that it is clipped by: parameters and the optimizer are then as they were,
    /// and the micro-batches forgotten.
    pub fn update(&mut self, model: &mut Model<N>) -> Result<()> {
        self.check_model(model)?;
        let Some(sum) = self.sum.as_mut().filter(|sum| sum.is_started()) else {
            let (setting, expected) = ("update", "at least one micro-batch before it");
            return Err(Error::Setting { setting, expected, found: "none".into() });
        };
        let Some(weight) = sum.take_weight() else { return self.check_finite(f32::NAN) };
        let tells = self.update.norm_tells();
        let size = if tells { Size::Small } else { sum.check(&self.entries, self.steps + 1)? };
        let gradient = Gradient { grads: &mut sum.grads, size, weight };
        self.update.run(&self.entries, model.weights(), gradient, self.steps + 1, self.lr)?;
        self.steps += 1;
        Ok(())
    }

    /// Forgets the micro-batches since the last update.
    pub fn discard(&mut self) {
        if let Some(sum) = &mut self.sum {
            sum.clear();
        }
    }

    /// What the last batch counts in a mean over several, for averages of losses of one's own.
    ///
    /// It is what the loss is divided by, where that is a sum over the inputs: the sum of the weights of the targets
    /// that count in [`weighted_cross_entropy`](crate::nn::weighted_cross_entropy), or of a mask in
    /// `sum(mask * terms) / sum(mask)`, also as `maximum(sum(mask), 1.0)`. For a plain mean it is the number of its
    /// elements. A multiple of such a loss has the same weight or a multiple of it, and so has its sum with a penalty
    /// that depends on no input. A sum of several such losses has it if they are plain means, or are divided by the
    /// same number.
    ///
    /// In all these cases several batches are together what one large batch is. Any other loss counts by the number of
    /// samples, the first axis of the first input: the root of a mean, for example, a mean over some of the targets
    /// plus one over all, or a divisor that a parameter has a part in.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network]
    /// struct Net {
    ///     out: Linear<2, 3>,
    /// }
    ///
    /// #[network]
    /// impl Net {
    ///     fn loss(&self, x: Tensor<B, 2>, targets: Index<B>) -> Tensor {
    ///         weighted_cross_entropy(self.out(x), targets, 1.0, -100, 0.0)
    ///     }
    /// }
    ///
    /// let mut model = Net::init(0);
    /// let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    /// let x = Tensor::new([3, 2], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?;
    /// step.accumulate(&mut model, (&x, &Index::new([3], [2, -100, 0])?))?;
    /// assert_eq!(step.weight(), 2.0);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn weight(&self) -> f64 {
        self.output_weight(0)
    }

    /// The same for a result of the loss function; the loss is number 0.
    pub(crate) fn output_weight(&self, output: usize) -> f64 {
        let variant = self.last.and_then(|i| self.variants.get(i));
        variant.map_or(0.0, |variant| variant.weights.get(output, self.samples))
    }

    fn finite_loss(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        let loss = self.differentiate(model, inputs)?;
        self.check_finite(loss).map(|()| loss)
    }

    fn check_finite(&self, loss: f32) -> Result<()> {
        if loss.is_finite() { Ok(()) } else { Err(Error::NotFinite { loss, step: self.steps + 1, epoch: 0 }) }
    }

    /// Refuses a gradient of the last run that is infinite or not a number.
    fn finite_grad(&mut self) -> Result<Size> {
        let Some(variant) = self.last.and_then(|i| self.variants.get_mut(i)) else { return Ok(Size::Small) };
        // Both are asked, so that nothing is kept for the next run.
        if variant.program.has_seen() | !variant.finite.are_small(&self.grads)? {
            return finite::check(&self.entries, &self.grads, self.steps + 1);
        }
        Ok(Size::Small)
    }

    /// Refuses a state that the last run has made infinite or no number.
    fn check_states(&self, model: &Model<N>) -> Result<()> {
        let Some(variant) = self.last.and_then(|i| self.variants.get(i)) else { return Ok(()) };
        let before = &model.all()[self.params_len..];
        let lost = |range: Range<usize>| Some((range.start, lost(&before[range.clone()], &self.states[range])?));
        let Some((start, value)) = variant.states.iter().cloned().find_map(lost) else { return Ok(()) };
        let mut states = self.entries.iter().filter(|entry| entry.state);
        let parameter = states.find(|entry| entry.offset == self.params_len + start);
        let parameter = parameter.map(|entry| entry.name.clone()).unwrap_or_default();
        Err(Error::NotFiniteState { state: "value", parameter, value, step: self.steps + 1, epoch: 0 })
    }

    /// The states that the last run assigned become those of the model.
    fn keep_states(&self, model: &mut Model<N>) {
        let Some(variant) = self.last.and_then(|i| self.variants.get(i)) else { return };
        for range in &variant.states {
            model.states_mut()[range.clone()].copy_from_slice(&self.states[range.clone()]);
        }
    }

    fn check_model(&self, model: &Model<N>) -> Result<()> {
        model.check()?;
        if Arc::ptr_eq(model.entries(), &self.entries) || **model.entries() == *self.entries {
            return Ok(());
        }
        Err(Error::OtherModel { expected: N::NAME, parameters: params(&self.entries).map(Entry::len).sum() })
    }

    /// Computes the loss and the gradient of every parameter, and updates neither parameters nor states.
    ///
    /// # Errors
    ///
    /// When the inputs do not fit the signature or an index is out of range.
    pub fn differentiate(&mut self, model: &mut Model<N>, inputs: impl Inputs) -> Result<f32> {
        let inputs = inputs.all();
        let inputs = inputs.as_ref();
        let i = self.variant(model, inputs)?;
        let Variant { program, outputs, weights, .. } = &mut self.variants[i];
        program.check(inputs, |i| self.function.inputs[i].into())?;
        let words = [self.seed, self.runs].map(|word| (word ^ word >> 32) as u32);
        self.run_seed[0] = f32::from_bits(hash(hash(words[0]) ^ words[1]));
        self.runs += 1;
        self.last = Some(i);
        self.samples = samples(inputs);
        // SAFETY: all that is written is the step's own.
        unsafe {
            program.run(&mut |slot| match slot {
                Slot::Params => Some(Memory::read(model.all())),
                Slot::Input(i) => inputs.get(i).map(Memory::input),
                Slot::Output(0) => Some(Memory::write(&mut self.loss)),
                Slot::Output(i) => outputs.get_mut(i - 1).map(|output| Memory::write(output.data_mut())),
                Slot::Grads => Some(Memory::write(&mut self.grads)),
                Slot::Seed => Some(Memory::read(&self.run_seed)),
                Slot::States => Some(Memory::write(&mut self.states)),
                Slot::Count(i) => weights.memory(i),
                _ => None,
            })
        }?;
        Ok(self.loss[0])
    }

    /// Compiles the step for the shapes of these inputs, so that shapes that it refuses are noticed before it runs.
    pub(crate) fn prepare(&mut self, model: &Model<N>, inputs: impl Inputs) -> Result<()> {
        self.variant(model, inputs.all().as_ref()).map(drop)
    }

    /// The number of the variant for these inputs and the options of this model, compiled if it is not there yet.
    pub(crate) fn variant(&mut self, model: &Model<N>, inputs: &[Input<'_>]) -> Result<usize> {
        self.check_model(model)?;
        if let Some(i) = self.variants.iter().position(|v| v.signature.fits(inputs) && v.net.same(model.net())) {
            return Ok(i);
        }
        let variant = self.loss_of_model().compile(model.net(), Signature::of(inputs))?;
        self.variants.push(variant);
        Ok(self.variants.len() - 1)
    }

    /// The programs that a run of a variant runs.
    pub(crate) fn programs(&mut self, variant: usize) -> impl Iterator<Item = &mut Program> {
        let tells = self.update.norm_tells();
        let Variant { program, finite, .. } = &mut self.variants[variant];
        let finite = finite.program().filter(|_| !tells);
        std::iter::once(program).chain(finite).chain(self.update.programs())
    }

    /// The results of the loss function behind the loss, from the last run, such as an accuracy: a loss
    /// function may return a tuple, of which the first is the loss. Whole numbers and truth values are given as
    /// numbers.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network]
    /// struct Net {
    ///     out: Linear<4, 3>,
    /// }
    ///
    /// #[network]
    /// impl Net {
    ///     fn loss(&self, x: Tensor<B, 4>, targets: Index<B>) -> (Tensor, Tensor) {
    ///         let logits = self.out(x);
    ///         (cross_entropy(logits, targets), accuracy(logits, targets))
    ///     }
    /// }
    ///
    /// let mut model = Net::init(0);
    /// let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    /// let (x, targets) = (Tensor::new([2, 4], vec![0.5; 8])?, Index::new([2], [1, 2])?);
    /// step.run(&mut model, (&x, &targets))?;
    /// // Both samples are the same, so one of them at most is right.
    /// assert!(step.outputs()[0].item()? <= 0.5);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn outputs(&self) -> &[Tensor] {
        self.last.and_then(|i| self.variants.get(i)).map_or(&[], |variant| &variant.outputs)
    }

    /// The gradient of a parameter at the last run, before it was clipped; zeros where the parameter
    /// is frozen.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn grad(&self, name: &str) -> Result<Tensor> {
        let entry = find(params(&self.entries), name)?;
        Tensor::new(entry.shape.clone(), &self.grads[entry.offset..entry.offset + entry.len()])
    }

    /// The norm of the gradient at the last update, before it was clipped; `None` unless it is
    /// clipped by its norm.
    pub fn grad_norm(&self) -> Option<f32> {
        self.update.last_norm()
    }

    /// Sets the learning rate of the steps to come. Those of groups stay in proportion to it.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] unless it is a finite number of at least 0, and those of groups are; the rate stays as it
    /// was.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Line {
    ///     line: Linear<1, 1>,
    /// }
    ///
    /// let mut step = Step::new(&Line::init(0), Line::loss, Sgd::new(0.1))?;
    /// step.set_lr(0.01)?;
    /// let error = step.set_lr(f32::NAN).unwrap_err().to_string();
    /// assert_eq!(error, "lr: expected a finite number of at least 0, found NaN");
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn set_lr(&mut self, lr: f32) -> Result<()> {
        self.update.rules.check_lr(lr)?;
        self.lr = lr;
        Ok(())
    }

    /// Sets what the random numbers of the runs to come depend on, together with their order: those
    /// of `Dropout`, for example. It is 0 at first.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        self.runs = 0;
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn loss_of_model(&self) -> Loss<'_, N> {
        let Step { function, entries, params_len, .. } = self;
        let states_len = self.states.len();
        Loss { function, entries, params_len: *params_len, states_len, assigned: &self.update.assigned }
    }

    /// The kernels of the compiled programs: what made the code of each and how wide its vectors are, what was
    /// fused, bytes, flops, and why a kernel is not a part of the one that computes its latest argument; how many
    /// bytes of activations are kept for the gradient, and how many more `#[checkpoint]` saves.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Net {
    ///     line: Linear<4, 2>,
    ///     act: Tanh,
    /// }
    ///
    /// let mut model = Net::init(0);
    /// let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    /// let (x, y) = (Tensor::new([3, 4], vec![0.5; 12])?, Tensor::new([3, 2], vec![0.0; 6])?);
    /// step.run(&mut model, (&x, &y))?;
    /// let activation = step.explain().lines().find(|line| line.contains("tanh")).unwrap().to_owned();
    /// assert!(activation.ends_with("(not in 0, which is no loop)"), "kernel 0 is the product: {activation}");
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ///
    /// A kernel is `x86 512 bits` or `x86 256 bits` if the emitter of this library made it, `Cranelift 128 bits`, or
    /// `runtime` if it is a function that is not generated, such as a look-up of rows by number. Where the machine has
    /// wider vectors than a kernel, the line below it begins with `128 bits instead of 512` and says why.
    ///
    /// # Files
    ///
    /// With the environment variable `DOWNHILL_DUMP=folder`, every program that is compiled, be it a step, an update, a
    /// function of a model or a graph, is written to that folder. It is made if it is not there. A file that is there
    /// is never written over: this is an [`Error::Setting`], and so is one that cannot be written. The names begin with
    /// the function and the number of the program among those of this function in the process:
    ///
    /// - `Net-loss-0.graph.dot`: the graph for Graphviz, with the number, name, type and shape of each node, an edge
    ///   from each argument, and a cluster for each kernel;
    /// - `Net-loss-0.kernels.txt`: what this function tells, and of each kernel the values that it computes and its
    ///   operands, as in `o2: value 9, arena from 64, 32 elements`;
    /// - `Net-loss-0.strips.txt`: of a loop nest its loops and the vector code of each pass, of a product its strides
    ///   and the parts that are compiled;
    /// - `Net-loss-0.code.txt`: the machine code of each kernel, disassembled with the feature `dump` on x86-64; without
    ///   it, the commands by which `objdump` does it;
    /// - `Net-loss-0.code.bin`: the bytes of the machine code, where they are not disassembled.
    ///
    /// In vector code `r3` is a register, `o2[i]` element `i` of a row of operand 2, `s0` a number that is the same for
    /// the whole row.
    ///
    /// # Profilers
    ///
    /// With `DOWNHILL_PERF=1`, on Linux, a process writes the start and size of each kernel's code to
    /// `/tmp/perf-PID.map`, so that `perf report` names kernels: `Net::loss#3 matmul` is kernel 3 of `Net::loss`. A
    /// kernel of several programs has the name of the first. Names of code that was freed stay in the file. A link of
    /// the file's name is never followed: it is an [`Error::Setting`]. [`Step::profile`] needs no such tool.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for variant in &self.variants {
            text += &self.loss_of_model().explain(variant);
            text += &if self.update.norm_tells() { String::new() } else { variant.finite.explain() };
        }
        text + &self.update.explain()
    }
}

/// The number of samples: the first axis of the first input that has axes.
pub(crate) fn samples(inputs: &[Input<'_>]) -> usize {
    inputs.iter().find_map(|input| input.shape().first().copied()).unwrap_or(1)
}
