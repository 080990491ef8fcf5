//! From a network function and the shapes of its inputs to a graph that is known to be sound.

use super::batch_weight::BatchWeights;
use crate::error::{Error, Result};
use crate::graph::{Grad, Graph, Stage, Updates, Value, Var};
use crate::kernel::{Extent, Region, Slot};
use crate::network::{Function, Network};
use crate::shape::check::{Check, Message, ParamSet, Type};
use crate::shape::{DType, Shape, elements};
use crate::tensor::Input;

/// The element type and shape of every input: what a compiled function is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature(Vec<(DType, Vec<usize>)>);

impl Signature {
    pub(crate) fn of(inputs: &[Input<'_>]) -> Signature {
        Signature(inputs.iter().map(|x| (x.dtype(), x.shape().to_vec())).collect())
    }

    /// Whether inputs have these shapes; allocates nothing.
    pub(crate) fn fits(&self, inputs: &[Input<'_>]) -> bool {
        let fits = |((dtype, shape), x): (&(DType, Vec<usize>), &Input<'_>)| x.dtype() == *dtype && x.shape() == shape;
        self.0.len() == inputs.len() && self.0.iter().zip(inputs).all(fits)
    }

    /// The number of inputs.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The type and shape of each input.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DType, &[usize])> {
        self.0.iter().map(|(dtype, shape)| (*dtype, &shape[..]))
    }

    /// The slots of the inputs.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Extent> {
        // A shape that is too large was refused with its input.
        self.iter().enumerate().map(|(i, (_, shape))| Extent::read(Slot::Input(i), elements(shape).unwrap_or(0)))
    }

    /// Where an input is, if there is such.
    pub(crate) fn region(&self, i: usize) -> Result<Region, String> {
        let (dtype, shape) = self.0.get(i).ok_or_else(|| format!("there are {} inputs, none is {i}", self.len()))?;
        Ok(Region { dtype: *dtype, ..Region::numbers(Slot::Input(i).start(), shape) })
    }
}

/// A staged function.
pub(crate) struct Staged {
    pub(crate) graph: Graph,
    pub(crate) outputs: Vec<Var>,
    /// The gradient of every parameter of a loss.
    pub(crate) grads: Vec<Grad>,
    /// The new value of every state that a loss assigns, by number.
    pub(crate) updates: Updates,
    /// What the inputs count in the mean of each result over batches, where that is known.
    pub(crate) weights: BatchWeights,
}

/// Stages a function without its gradient.
pub(crate) fn stage<N: Network>(net: &N, f: &Function<N>, inputs: &Signature) -> Result<Staged> {
    let (mut g, values, _) = checked(net, f, inputs)?;
    let results = (f.rules.stage)(net, &mut g, &values);
    let outputs = tensors(&mut g, f, results)?;
    let weights = BatchWeights::new(&g, &outputs);
    finish(g, f, outputs, Updates::new(), weights)
}

/// Stages a loss, which is the first result, and the gradients of all parameters; those that are not
/// `trained` need none. Without `checkpoints` nothing is computed again.
pub(crate) fn stage_loss<N: Network>(
    net: &N,
    f: &Function<N>,
    inputs: &Signature,
    trained: &dyn Fn(usize) -> bool,
    checkpoints: bool,
) -> Result<Staged> {
    let (mut g, values, types) = checked(net, f, inputs)?;
    g.set_training(true);
    g.set_checkpoints(checkpoints);
    check_gradients(net, f, &types, trained)?;
    g.start_updates();
    let results = (f.rules.stage)(net, &mut g, &values);
    let updates = g.take_updates();
    let outputs = tensors(&mut g, f, results)?;
    let Some(&loss) = outputs.first().filter(|&&loss| g[loss].len() == 1 && g[loss].dtype == DType::F32) else {
        return Err(not_a_loss(&g, f, &outputs));
    };
    g.set_loss(loss);
    let weights = BatchWeights::new(&g, &outputs);
    let shape = g[loss].shape.clone();
    let mut douts = vec![None; outputs.len()];
    douts[0] = Some(g.fill(1.0, &shape));
    (f.rules.grad)(net, &mut g, &values, &douts);
    finish(g, f, outputs, updates, weights)
}

fn not_a_loss<N>(g: &Stage, f: &Function<N>, outputs: &[Var]) -> Error {
    let found: Vec<String> = outputs.iter().map(|&v| format!("{:?}", g[v].shape)).collect();
    Error::NotALoss { function: f.name, found: found.join(", ") }
}

/// Runs the shape rules on the inputs and, where they fit, makes nodes of them.
fn checked<N>(net: &N, f: &Function<N>, inputs: &Signature) -> Result<(Stage, Vec<Value>, Vec<Type>)> {
    if inputs.len() != f.inputs.len() {
        return Err(Error::InputCount {
            function: f.name,
            expected: f.inputs.len(),
            names: f.inputs.join(", "),
            found: inputs.len(),
        });
    }
    if let Some((name, (_, shape))) = f.inputs.iter().zip(inputs.iter()).find(|(_, (_, shape))| shape.contains(&0)) {
        let message = format!("`{name}` has no elements, its shape is {shape:?}");
        return Err(Error::Shape { function: f.name.into(), message });
    }
    let types: Vec<Type> = inputs.iter().map(|(dtype, shape)| Type::tensor(dtype, Shape::sizes(shape))).collect();
    let mut cx = Check::record();
    let results = (f.rules.shape)(net, &mut cx, &types);
    if let Some(message) = cx.first() {
        // A mistake in the inputs themselves already begins with the name of the function.
        let message = message.strip_prefix(f.name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
        return Err(Error::Shape { function: f.name.into(), message: message.into() });
    }
    let mut g = Stage::new();
    let values = inputs.iter().enumerate().map(|(i, (dtype, shape))| Value::Var(g.input(i, shape, dtype))).collect();
    Ok((g, values, results))
}

/// Every parameter must be reached by the gradient of the loss, unless that was cut on purpose or
/// the parameter is not trained.
fn check_gradients<N: Network>(
    net: &N,
    f: &Function<N>,
    results: &[Type],
    trained: &dyn Fn(usize) -> bool,
) -> Result<()> {
    let mut cx = Check::record();
    let mut id = 0;
    while let Some((param, name)) = net.param(id, Message::new()) {
        if id < ParamSet::CAPACITY && trained(id) {
            results.first().into_iter().for_each(|&ty| crate::network::parameter(&mut cx, ty, param, name));
        }
        id += 1;
    }
    match cx.first() {
        Some(message) => Err(Error::Gradient { function: f.name, message: message.into() }),
        None => Ok(()),
    }
}

fn tensors<N>(g: &mut Stage, f: &Function<N>, values: Vec<Value>) -> Result<Vec<Var>> {
    let refused = |g: &Stage| Error::Shape {
        function: f.name.into(),
        message: g.error().unwrap_or("a result is not a tensor").into(),
    };
    // Whole numbers and truth values are given as numbers.
    let tensor = |value| {
        let v = g.operand(value).filter(|&v| g.graph().has(v)).ok_or_else(|| refused(g))?;
        Ok(g.cast(v, DType::F32))
    };
    values.into_iter().map(tensor).collect()
}

fn finish<N>(g: Stage, f: &Function<N>, outputs: Vec<Var>, updates: Updates, weights: BatchWeights) -> Result<Staged> {
    if let Some(message) = g.error() {
        return Err(Error::Shape { function: f.name.into(), message: message.into() });
    }
    g.check_sizes()?;
    let (graph, grads) = g.finish();
    let foreign = |v: &&Var| !graph.has(**v);
    if outputs.iter().chain(grads.iter().flatten()).chain(updates.values()).any(|v| foreign(&v)) {
        return Err(Error::Shape { function: f.name.into(), message: "a result is of another graph".into() });
    }
    // Loops run at least once, so nothing without elements may be compiled.
    if let Some(node) = graph.nodes().iter().find(|node| node.is_empty()) {
        let message = format!("the result of {} has no elements, its shape is {:?}", node.name(), node.shape);
        return Err(Error::Shape { function: f.name.into(), message });
    }
    Ok(Staged { graph, outputs, grads, updates, weights })
}
