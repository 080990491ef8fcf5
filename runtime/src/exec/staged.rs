//! From a network function and the shapes of its inputs to a graph that is known to be sound.

use crate::check::{Check, Message, ParamSet, Type};
use crate::error::{Error, Result};
use crate::graph::{Grad, Graph, Stage, Value, Var};
use crate::network::{Function, Network};
use crate::shape::{DType, Shape};
use crate::stage::Updates;
use crate::tensor::{Input, Inputs};

/// The element type and shape of every input: what a compiled function is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature(Vec<(DType, Vec<usize>)>);

impl Signature {
    pub(super) fn of(inputs: &impl Inputs) -> Signature {
        Signature((0..inputs.count()).map(|i| inputs.input(i)).map(|x| (x.dtype(), x.shape().to_vec())).collect())
    }

    /// Whether inputs have these shapes; allocates nothing.
    pub(super) fn fits(&self, inputs: &impl Inputs) -> bool {
        self.0.len() == inputs.count()
            && self.0.iter().enumerate().all(|(i, (dtype, shape))| {
                let x = inputs.input(i);
                x.dtype() == *dtype && x.shape() == shape.as_slice()
            })
    }
}

/// Inputs without elements, which suffice to stage a function.
impl Inputs for Signature {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn input(&self, i: usize) -> Input<'_> {
        match &self.0[i] {
            (DType::I32, shape) => Input::Index(shape, &[]),
            (_, shape) => Input::Tensor(shape, &[]),
        }
    }
}

/// A staged function.
pub(super) struct Staged {
    pub(super) graph: Graph,
    pub(super) outputs: Vec<Var>,
    /// The gradient of every parameter of a loss.
    pub(super) grads: Vec<Grad>,
    /// The new value of every state that a loss assigns, by number.
    pub(super) updates: Updates,
}

/// Stages a function without its gradient.
pub(super) fn stage<N: Network>(net: &N, f: &Function<N>, inputs: &impl Inputs) -> Result<Staged> {
    let (mut g, values, _) = checked(net, f, inputs)?;
    let results = (f.stage)(net, &mut g, &values);
    let outputs = tensors(&mut g, f, results)?;
    finish(g, f, outputs, Updates::new())
}

/// Stages a loss, which is the first result, and the gradients of all parameters; those that are not
/// `trained` need none. Without `checkpoints` nothing is computed again.
pub(super) fn stage_loss<N: Network>(
    net: &N,
    f: &Function<N>,
    inputs: &impl Inputs,
    trained: &dyn Fn(usize) -> bool,
    checkpoints: bool,
) -> Result<Staged> {
    let (mut g, values, types) = checked(net, f, inputs)?;
    g.set_training(true);
    g.set_checkpoints(checkpoints);
    check_gradients(net, f, &types, trained)?;
    g.start_updates();
    let results = (f.stage)(net, &mut g, &values);
    let updates = g.take_updates();
    let outputs = tensors(&mut g, f, results)?;
    let Some(&loss) = outputs.first().filter(|&&loss| g[loss].len() == 1 && g[loss].dtype == DType::F32) else {
        return Err(not_a_loss(&g, f, &outputs));
    };
    g.set_loss(loss);
    let shape = g[loss].shape.clone();
    let mut douts = vec![None; outputs.len()];
    douts[0] = Some(g.fill(1.0, &shape));
    (f.grad)(net, &mut g, &values, &douts);
    finish(g, f, outputs, updates)
}

fn not_a_loss<N>(g: &Stage, f: &Function<N>, outputs: &[Var]) -> Error {
    let found: Vec<String> = outputs.iter().map(|&v| format!("{:?}", g[v].shape)).collect();
    Error::NotALoss { function: f.name, found: found.join(", ") }
}

/// Runs the shape rules on the inputs and, where they fit, makes nodes of them.
fn checked<N>(net: &N, f: &Function<N>, inputs: &impl Inputs) -> Result<(Stage, Vec<Value>, Vec<Type>)> {
    if inputs.count() != f.inputs.len() {
        return Err(Error::InputCount {
            function: f.name,
            expected: f.inputs.len(),
            names: f.inputs.join(", "),
            found: inputs.count(),
        });
    }
    if let Some(i) = (0..inputs.count()).find(|&i| inputs.input(i).shape().contains(&0)) {
        let message = format!("`{}` has no elements, its shape is {:?}", f.inputs[i], inputs.input(i).shape());
        return Err(Error::Shape { function: f.name.into(), message });
    }
    let types: Vec<Type> = (0..inputs.count())
        .map(|i| inputs.input(i))
        .map(|x| Type::tensor(x.dtype(), Shape::sizes(x.shape())))
        .collect();
    let mut cx = Check::record();
    let results = (f.shape)(net, &mut cx, &types);
    if let Some(message) = cx.first() {
        // A mistake in the inputs themselves already begins with the name of the function.
        let message = message.strip_prefix(f.name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
        return Err(Error::Shape { function: f.name.into(), message: message.into() });
    }
    let mut g = Stage::new();
    let values = (0..inputs.count())
        .map(|i| inputs.input(i))
        .enumerate()
        .map(|(i, x)| Value::Var(g.input(i, x.shape(), x.dtype())))
        .collect();
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
            results.first().into_iter().for_each(|&ty| crate::check::parameter(&mut cx, ty, param, name));
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
    let tensor = |value| g.operand(value).map(|v| g.cast(v, DType::F32)).ok_or_else(|| refused(g));
    values.into_iter().map(tensor).collect()
}

fn finish<N>(g: Stage, f: &Function<N>, outputs: Vec<Var>, updates: Updates) -> Result<Staged> {
    if let Some(message) = g.error() {
        return Err(Error::Shape { function: f.name.into(), message: message.into() });
    }
    let (graph, grads) = g.finish();
    // Loops run at least once, so nothing without elements may be compiled.
    if let Some(node) = graph.nodes().iter().find(|node| node.is_empty()) {
        let message = format!("the result of {} has no elements, its shape is {:?}", node.name(), node.shape);
        return Err(Error::Shape { function: f.name.into(), message });
    }
    Ok(Staged { graph, outputs, grads, updates })
}
