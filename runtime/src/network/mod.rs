//! What `#[network]` implements: parameters, networks and network functions as values.

pub mod init;

use std::any::Any;

use crate::graph::{Grad, Stage, Value};
use crate::shape::check::{Check, Const, Message, ParamSet, TensorType, Type};
use crate::shape::{DType, MAX_RANK, MOST, Shape, elements};
use init::Init;

/// A parameter of a network: its shape and how it starts. The numbers themselves are in the
/// [`Model`](crate::Model).
///
/// In a `#[network]` struct a parameter is a field with an initialiser:
///
/// ```
/// use downhill::prelude::*;
///
/// /// Multiplies every feature by a number of its own.
/// #[network]
/// pub struct Scale<const D: usize> {
///     #[init(ones)]
///     weight: Param<D>,
/// }
///
/// #[network]
/// impl<const D: usize> Scale<D> {
///     pub fn forward(&self, x: Tensor<[N], D>) -> Tensor<[N], D> {
///         x * self.weight
///     }
/// }
///
/// let model = Scale::<3>::init(0);
/// assert_eq!(model.get("weight")?.data(), [1.0, 1.0, 1.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Param {
    id: usize,
    sizes: [usize; MAX_RANK],
    rank: usize,
    init: Init,
    /// Whether `init` was chosen in place of the layer's own.
    chosen: bool,
    present: bool,
    state: bool,
}

impl Param {
    /// A parameter of the given sizes.
    pub const fn new(dims: &[usize], init: Init) -> Param {
        assert!(dims.len() <= MAX_RANK, "a parameter has at most 8 axes");
        let mut sizes = [0; MAX_RANK];
        let mut i = 0;
        while i < dims.len() {
            sizes[i] = dims[i];
            i += 1;
        }
        Param { id: usize::MAX, sizes, rank: dims.len(), init, chosen: false, present: true, state: false }
    }

    /// The same parameter with another start.
    pub const fn starting(mut self, init: Init) -> Param {
        self.init = init;
        self.chosen = true;
        self
    }

    #[doc(hidden)]
    pub const fn resized(mut self, to: Param) -> Param {
        self.sizes = to.sizes;
        if !self.chosen {
            self.init = to.init;
        }
        self
    }

    /// The same parameter, or its absence, as `Linear` without a bias has one.
    pub const fn optional(mut self, present: bool) -> Param {
        self.present = present;
        self
    }

    /// Whether the network has this parameter.
    pub const fn is_some(&self) -> bool {
        self.present
    }

    /// Whether the network goes without this parameter.
    pub const fn is_none(&self) -> bool {
        !self.present
    }

    /// Whether this is a [`State`], which has a place among the parameters and no gradient.
    pub const fn is_state(&self) -> bool {
        self.state
    }

    /// The place of this parameter among those of its model.
    pub const fn id(&self) -> usize {
        self.id
    }

    /// The sizes, outermost first.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes[..self.rank]
    }

    /// How the parameter starts.
    pub const fn init(&self) -> Init {
        self.init
    }

    #[doc(hidden)]
    pub const fn number(&mut self, next: usize) -> usize {
        self.id = next;
        if self.present { next.saturating_add(1) } else { next }
    }

    /// Refuses more elements than a network can have with the `len` before them; gives the number of all.
    #[doc(hidden)]
    #[track_caller]
    pub const fn check_layout(&self, cx: &mut Check, path: Message, len: usize) -> usize {
        if !self.present {
            return len;
        }
        let sizes = self.sizes.split_at(self.rank).0;
        let (what, own) = match elements(sizes) {
            Some(own) => ("a network with parameter `", own),
            None => ("parameter `", MOST + 1),
        };
        if own > MOST - len {
            let message = Message::new().str(what).str(path.get()).str("` ").shape(Shape::sizes(sizes));
            cx.error(message.str(" has more than 2^40 elements"));
            return len;
        }
        len + own
    }

    #[doc(hidden)]
    pub const fn param(&self, id: usize, path: Message) -> Option<(Param, Message)> {
        if self.present && self.id == id { Some((*self, path)) } else { None }
    }

    pub(crate) const fn ty(&self) -> Type {
        let sizes = self.sizes.split_at(self.rank).0;
        if elements(sizes).is_none() {
            // Reported where the network is defined.
            return Type::Unknown;
        }
        let shape = Shape::sizes(sizes);
        let mut ty = TensorType::new(DType::F32, shape).computed();
        if !self.state {
            ty.reach = ParamSet::one(self.id);
        }
        Type::Tensor(ty)
    }
}

/// Numbers that a network keeps and that are no parameter, such as running statistics: they have a
/// start, are saved and loaded with the weights, get no gradient, and are set by the network itself.
///
/// In a `#[network]` struct a state is a field with an initialiser. A body reads it as a tensor without
/// a gradient, and assigns it. In the body that assigns it, it has the new value from there on, in a training step
/// and in evaluation alike. The state of the model changes with a training step only: a step whose loss is not finite
/// leaves it as it was, and so does evaluation. A step that would make an element infinite or NaN is refused as well,
/// with the name of the state; one that starts as −∞, for a running maximum, may stay so. What shall read the old value in evaluation assigns within
/// `if training()`, as running statistics do.
///
/// Every function that runs in a step reads the state from before the step, also where another one has assigned it.
/// Where a network runs twice in a step, its second assignment builds on what the first one left.
///
/// ```
/// use downhill::prelude::*;
///
/// /// Takes the mean of all inputs so far off, each step counting a tenth.
/// #[network]
/// pub struct Centre<const D: usize> {
///     #[init(zeros)]
///     mean: State<D>,
///     #[init(ones)]
///     weight: Param<D>,
/// }
///
/// #[network]
/// impl<const D: usize> Centre<D> {
///     pub fn forward(&self, x: Tensor<B, D>) -> Tensor<B, D> {
///         if training() {
///             self.mean = self.mean * 0.9 + sum_axes(x, [0]) / B as f32 * 0.1;
///         }
///         (x - self.mean) * self.weight
///     }
///
///     pub fn loss(&self, x: Tensor<B, D>) -> Tensor {
///         mean(self.forward(x))
///     }
/// }
///
/// let mut model = Centre::<2>::init(0);
/// let x = Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])?;
/// Step::new(&model, Centre::<2>::loss, Sgd::new(0.1))?.run(&mut model, &x)?;
/// model.forward(&x)?;
/// assert_eq!(model.get("mean")?.data(), [0.2, 0.3]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State(Param);

impl State {
    /// A state of the given sizes.
    pub const fn new(dims: &[usize], init: Init) -> State {
        let mut param = Param::new(dims, init);
        param.state = true;
        State(param)
    }

    /// The same state with another start.
    pub const fn starting(self, init: Init) -> State {
        State(self.0.starting(init))
    }

    /// The place of this state among the parameters and states of its model.
    pub const fn id(&self) -> usize {
        self.0.id
    }

    /// The sizes, outermost first.
    pub fn sizes(&self) -> &[usize] {
        self.0.sizes()
    }

    #[doc(hidden)]
    pub const fn number(&mut self, next: usize) -> usize {
        self.0.number(next)
    }

    #[doc(hidden)]
    #[track_caller]
    pub const fn check_layout(&self, cx: &mut Check, path: Message, len: usize) -> usize {
        self.0.check_layout(cx, path, len)
    }

    #[doc(hidden)]
    pub const fn param(&self, id: usize, path: Message) -> Option<(Param, Message)> {
        self.0.param(id, path)
    }

    pub(crate) const fn ty(&self) -> Type {
        self.0.ty()
    }
}

/// A field that the body of a network function can assign, which only a [`State`] is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be assigned",
    note = "a network function assigns local variables and states: fields of type `State<..>` with `#[init(..)]`"
)]
pub trait Assign {
    /// The state.
    fn state(&self) -> &State;
}

impl Assign for State {
    fn state(&self) -> &State {
        self
    }
}

/// A field that the body of a network function can read: a parameter, a state or a plain option.
pub trait Field {
    /// What the field is in a body: a [`Value`] for a parameter or state, itself for an option.
    type Staged;

    /// The field as an argument of network functions.
    fn staged(&self, g: &mut Stage) -> Self::Staged;

    /// Adds to the gradient of the field.
    fn accumulate(&self, _g: &mut Stage, _d: Grad) {}
}

impl Field for Param {
    type Staged = Value;

    fn staged(&self, g: &mut Stage) -> Value {
        if !self.present {
            g.refuse("a parameter that the network was built without was read");
            return Value::Unknown;
        }
        Value::Var(g.param(self.id, self.sizes()))
    }

    fn accumulate(&self, g: &mut Stage, d: Grad) {
        g.add_param_grad(self.id, d);
    }
}

impl Field for State {
    type Staged = Value;

    fn staged(&self, g: &mut Stage) -> Value {
        self.0.staged(g)
    }
}

macro_rules! option_fields {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            type Staged = $ty;

            fn staged(&self, _g: &mut Stage) -> $ty {
                *self
            }
        }
    )*};
}
option_fields!(f32, f64, usize, isize, bool);

/// A network as a value: its sizes and its parameters in order.
pub trait Network: Copy + 'static {
    /// The name of the struct.
    const NAME: &'static str;

    /// Numbers the parameters and states in the order of their fields from `next` on; gives the next
    /// number.
    fn number(&mut self, next: usize) -> usize;

    /// Parameter or state `id` and its dotted path, such as `blocks.0.up.weight`, behind `path`.
    fn param(&self, id: usize, path: Message) -> Option<(Param, Message)>;

    /// Whether another network computes the same from the same numbers: it has the same sizes and options. What is
    /// compiled for the one is then right for the other.
    fn same(&self, other: &Self) -> bool;
}

/// What tells two networks of one type apart, beside their layers: parameters and options.
#[doc(hidden)]
pub trait Same {
    /// Whether both mean the same.
    fn same(&self, other: &Self) -> bool;
}

impl Same for Param {
    fn same(&self, other: &Param) -> bool {
        // Sizes behind the last are zero, and arrays of one length are compared without a call.
        self.present == other.present && self.rank == other.rank && self.sizes == other.sizes
    }
}

impl Same for State {
    fn same(&self, other: &State) -> bool {
        self.0.same(&other.0)
    }
}

/// Whether two options are the same: numbers to the bit, since one that is NaN is the same option, and -0 is another
/// one than 0.
#[doc(hidden)]
pub fn same_option<T: PartialEq + 'static>(a: &T, b: &T) -> bool {
    let bits = |x: &dyn Any| {
        let single = x.downcast_ref::<f32>().map(|x| u64::from(x.to_bits()));
        single.or_else(|| x.downcast_ref::<f64>().map(|x| x.to_bits()))
    };
    match (bits(a), bits(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A network as a type with its sizes: `Linear<64, 10>` is the notation for `Linear::new(64, 10)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network",
    note = "a field of a `#[network]` struct is a network, an array of networks, a `Param` with `#[init(..)]`, or a plain value with `#[option(..)]`"
)]
pub trait Layer {
    /// The network without sizes in its type.
    type Net: Network;
    /// The network of these sizes.
    const NET: Self::Net;
}

/// A network with a `forward` function, which `Model::forward` calls.
#[diagnostic::on_unimplemented(message = "`{Self}` has no function `forward` on tensors")]
pub trait Forward: Network {
    /// The function.
    const FORWARD: Function<Self>;
}

/// A function of a network as a value: `Gpt::loss` of type `Function<Gpt>`, which `#[network]` makes.
///
/// ```
/// use downhill::prelude::*;
///
/// #[network(sequential, loss = mse)]
/// struct Line {
///     line: Linear<1, 1>,
/// }
///
/// assert_eq!(Line::loss.name(), "Line::loss");
/// assert_eq!(Line::loss.inputs(), ["x", "targets"]);
/// assert_eq!(Line::loss.outputs(), ["mse"]);
/// ```
pub struct Function<N: 'static> {
    pub(crate) name: &'static str,
    pub(crate) inputs: &'static [&'static str],
    pub(crate) outputs: &'static [&'static str],
    pub(crate) rules: Rules<N>,
}

/// What a network function becomes.
#[doc(hidden)]
pub struct Rules<N: 'static> {
    /// Stages the results.
    pub stage: fn(&N, &mut Stage, &[Value]) -> Vec<Value>,
    /// Stages the gradients of the parameters, given one for each result.
    pub grad: fn(&N, &mut Stage, &[Value], &[Grad]),
    /// Checks the shapes of the inputs and everything behind them; gives those of the results.
    pub shape: fn(&N, &mut Check, &[Type]) -> Vec<Type>,
}

impl<N> Function<N> {
    /// A function with inputs and outputs of these names. What it stages is checked before it is compiled, so that a
    /// wrong one is refused or computes something else.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        inputs: &'static [&'static str],
        outputs: &'static [&'static str],
        rules: Rules<N>,
    ) -> Function<N> {
        Function { name, inputs, outputs, rules }
    }

    /// The network and the function: `Gpt::loss`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The names of its parameters.
    pub const fn inputs(&self) -> &'static [&'static str] {
        self.inputs
    }

    /// What its results are called: after the variables or functions that they come from.
    pub const fn outputs(&self) -> &'static [&'static str] {
        self.outputs
    }

    /// What stages it.
    #[doc(hidden)]
    pub const fn rules(&self) -> Rules<N> {
        self.rules
    }

    /// Whether both compute the same: the name alone may be that of several networks.
    pub(crate) fn is(&self, other: &Function<N>) -> bool {
        self.name == other.name
            && std::ptr::fn_addr_eq(self.rules.stage, other.rules.stage)
            && std::ptr::fn_addr_eq(self.rules.shape, other.rules.shape)
    }
}

impl<N> Clone for Rules<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Rules<N> {}

impl<N> Clone for Function<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Function<N> {}

impl<N> std::fmt::Debug for Function<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.inputs.join(", "))
    }
}

/// The name and shape of a parameter or state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamInfo<'a> {
    /// The path of its field, such as `blocks.0.up.weight`.
    pub name: &'a str,
    /// The sizes, outermost first.
    pub shape: &'a [usize],
}

impl Const<Param> {
    /// A parameter.
    pub const fn arg(self) -> Type {
        self.0.ty()
    }
}

impl Const<State> {
    /// A state.
    pub const fn arg(self) -> Type {
        self.0.ty()
    }
}

/// Reports a parameter called `name`, unless the gradient of the loss `y` reaches it; a state needs none.
#[track_caller]
pub const fn parameter(cx: &mut Check, y: Type, param: Param, name: Message) {
    let Type::Tensor(loss) = y else { return };
    let id = param.id();
    if param.is_state() || id >= ParamSet::CAPACITY || loss.reach.has(id) {
        return;
    }
    let message = Message::new().str("parameter `").str(name.get());
    cx.error(if loss.cut.has(id) {
        message.str("` gets no gradient: every way to the loss goes through an operation without one (`stop_gradient` says that this is meant)")
    } else {
        message.str("` cannot influence the loss: use it, or remove it")
    });
}

impl Stage {
    /// Reads a field of a network.
    pub fn field<F: Field>(&mut self, field: &F) -> F::Staged {
        field.staged(self)
    }

    /// Adds to the gradient of a field.
    pub fn accumulate(&mut self, field: &impl Field, d: Grad) {
        field.accumulate(self, d);
    }
}
