//! What can go wrong, in the names a user knows.

use std::path::PathBuf;

/// Everything that the library refuses at run time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Sizes that do not fit each other or the signature of a function.
    #[error("{function}: {message}")]
    Shape {
        /// The network function, such as `Gpt::loss`.
        function: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A number of inputs other than the function has.
    #[error("{function} takes {expected} inputs ({names}), {found} were given")]
    InputCount {
        /// The network function.
        function: &'static str,
        /// How many inputs it has.
        expected: usize,
        /// Their names.
        names: String,
        /// How many were given.
        found: usize,
    },
    /// An index that names no row of the table, or no class.
    #[error("{function}: `{input}` holds {value} at position {position}, expected 0 to {}", .rows - 1)]
    IndexRange {
        /// The network function.
        function: &'static str,
        /// The name of the input, or which index it is if that is computed.
        input: String,
        /// The place of the value in it, counted in elements.
        position: usize,
        /// The value.
        value: i32,
        /// The number of rows or classes.
        rows: usize,
    },
    /// A parameter whose gradient does not exist.
    #[error("{function}: {message}")]
    Gradient {
        /// The network function that was to be a loss.
        function: &'static str,
        /// Which parameter, and why.
        message: String,
    },
    /// A loss or metric that is not a single number.
    #[error("{function} gives {found}, a loss or metric is a single number")]
    NotALoss {
        /// The network function.
        function: &'static str,
        /// The shapes of its results.
        found: String,
    },
    /// A tensor whose data does not fill its shape.
    #[error("a tensor of shape {shape:?} has {expected} elements, {found} were given")]
    Elements {
        /// The shape.
        shape: Vec<usize>,
        /// The product of its sizes.
        expected: usize,
        /// The number of elements given.
        found: usize,
    },
    /// Sizes whose product is more than any memory can hold.
    #[error("{what} {shape:?} has more than 2^40 elements")]
    TooLarge {
        /// What has them, such as a parameter by its name.
        what: String,
        /// The sizes.
        shape: Vec<usize>,
    },
    /// Memory that the system did not give.
    #[error("no memory for {what}: {elements} elements of 4 bytes")]
    Memory {
        /// What it was to hold.
        what: String,
        /// How many elements.
        elements: usize,
    },
    /// Two parameters or states of one name.
    #[error("{network} has two parameters called `{name}`; `#[layer(name = ..)]` gives a layer another name")]
    SameName {
        /// The network.
        network: &'static str,
        /// The name.
        name: String,
    },
    /// A parameter name that the model does not have.
    #[error("no parameter `{name}`; the model has {known}")]
    UnknownParam {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A parameter of another shape than the model's.
    #[error("parameter `{name}` is {expected:?} in the model, {found} was given")]
    ParamShape {
        /// The name.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// What was given instead.
        found: String,
    },
    /// A file of weights that does not fit the model; nothing was loaded from it.
    #[error("{}: {message}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which parameters, what the model has, and what the file has.
        message: String,
    },
    /// A model that a step or trainer was not made for.
    #[error("this step was made for a {expected} of {parameters} parameters, the model given has another layout")]
    OtherModel {
        /// The name of the network.
        expected: &'static str,
        /// How many numbers its parameters have.
        parameters: usize,
    },
    /// A setting outside its range.
    #[error("{setting}: expected {expected}, found {found}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A loss that stopped being a number.
    #[error("the loss became {loss} at step {step}{}; the step before it was the last one kept", in_epoch(*epoch))]
    NotFinite {
        /// The loss.
        loss: f32,
        /// The number of the step, from one.
        step: u64,
        /// The number of the epoch, from one; zero outside a trainer.
        epoch: u64,
    },
    /// A gradient that stopped being a number: parameters, states and optimizer are as they were before the step.
    #[error("the {} became {value} at step {step}{}; the step before it was the last one kept", gradient_of(parameter.as_deref()), in_epoch(*epoch))]
    NotFiniteGrad {
        /// The first parameter whose gradient is infinite or not a number; `None` where each is finite, but not the
        /// norm that the gradient is clipped by.
        parameter: Option<String>,
        /// The first number of that gradient that is not finite, or the norm.
        value: f32,
        /// The number of the step, from one.
        step: u64,
        /// The number of the epoch, from one; zero outside a trainer.
        epoch: u64,
    },
    /// A state of the optimizer or of the network, or a parameter, that a step would have made infinite or not a number:
    /// all of them are as they were before it.
    #[error("{state} of `{parameter}` became {value} at step {step}{}; the step before it was the last one kept", in_epoch(*epoch))]
    NotFiniteState {
        /// The state of the optimizer, such as `exp_avg_sq`, `weight` for a parameter itself, or `value` for a state of the
        /// network.
        state: &'static str,
        /// The first parameter of which that is so, or the state of the network.
        parameter: String,
        /// The first such number.
        value: f32,
        /// The number of the step, from one.
        step: u64,
        /// The number of the epoch, from one; zero outside a trainer.
        epoch: u64,
    },
    /// Data that cannot be used.
    #[error("{source_name}: {message}")]
    Data {
        /// The file or input.
        source_name: String,
        /// What is wrong with it and what was expected.
        message: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// A graph that could not be turned into machine code: a mistake of the library.
    #[error("cannot compile {what}: {message}")]
    Compile {
        /// The kernel or function.
        what: String,
        /// What the code generator said.
        message: String,
    },
}

impl Error {
    /// The same, known to be of an epoch.
    pub(crate) fn in_epoch(mut self, number: u64) -> Error {
        if let Error::NotFinite { epoch, .. }
        | Error::NotFiniteGrad { epoch, .. }
        | Error::NotFiniteState { epoch, .. } = &mut self
        {
            *epoch = number;
        }
        self
    }
}

fn gradient_of(parameter: Option<&str>) -> String {
    parameter.map_or("norm of the gradient".into(), |name| format!("gradient of `{name}`"))
}

fn in_epoch(epoch: u64) -> String {
    if epoch == 0 { String::new() } else { format!(" (epoch {epoch})") }
}

/// The result of a fallible operation of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;
