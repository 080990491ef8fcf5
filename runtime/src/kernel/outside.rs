//! The memory of the caller: what a graph may read and write there, and what each run must provide.
//!
//! A program is compiled for slots of declared lengths. Whatever code has staged the graph, each value that it reads or
//! writes in a slot must have the declared shape and type and lie inside the slot, and each run must provide memory of
//! the declared lengths. So no kernel accesses memory that its caller does not own.

use std::collections::HashMap;
use std::fmt;

use crate::error::{Error, Result};
use crate::graph::op::Class;
use crate::graph::{Graph, Op, Var};
use crate::shape::DType;

/// Memory of the caller, by its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// The parameters of a model, followed by its states.
    Params,
    /// An input of a function, by number.
    Input(usize),
    /// A result of a function, by number; result 0 of a training step is the loss.
    Output(usize),
    /// The gradient of all parameters.
    Grads,
    /// The new values of the states of a model.
    States,
    /// The seed of the random numbers of a run.
    Seed,
    /// The numbers of an update that change from step to step, such as the learning rate.
    Numbers,
    /// An array of the state of an optimizer, by number, such as a moment of Adam.
    Moment(usize),
    /// The norms of the rows of a gradient.
    Norms,
    /// The sum of the gradients of micro-batches.
    Sum,
    /// The divisor of a result, by number.
    Count(usize),
    /// The weight of the gradient of a micro-batch in `Sum`.
    Weight,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Params => f.write_str("the parameters"),
            Slot::Input(i) => write!(f, "input {i}"),
            Slot::Output(i) => write!(f, "result {i}"),
            Slot::Grads => f.write_str("the gradient"),
            Slot::States => f.write_str("the states"),
            Slot::Seed => f.write_str("the seed"),
            Slot::Numbers => f.write_str("the numbers of the update"),
            Slot::Moment(i) => write!(f, "state {i} of the optimizer"),
            Slot::Norms => f.write_str("the norms"),
            Slot::Count(i) => write!(f, "count {i} of a batch"),
            Slot::Sum => f.write_str("the sum of gradients"),
            Slot::Weight => f.write_str("the weight of a gradient"),
        }
    }
}

/// The address of a value in the memory of the caller: a slot, and an offset in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    pub(crate) offset: usize,
}

impl Slot {
    /// The start of the slot.
    pub(crate) const fn start(self) -> Place {
        Place { slot: self, offset: 0 }
    }
}

/// A value in the memory of the caller, as declared.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) place: Place,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    /// The name in error messages.
    pub(crate) name: String,
}

impl Region {
    /// A region of numbers of this shape, with the name of its slot.
    pub(crate) fn numbers(place: Place, shape: &[usize]) -> Region {
        Region { place, shape: shape.to_vec(), dtype: DType::F32, name: place.slot.to_string() }
    }

    /// The same region with another name.
    pub(crate) fn called(self, name: String) -> Region {
        Region { name, ..self }
    }
}

/// A slot, as declared: the number of its elements, and whether a program may write them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) slot: Slot,
    pub(crate) len: usize,
    pub(crate) written: bool,
}

impl Extent {
    /// A slot that is only read.
    pub(crate) const fn read(slot: Slot, len: usize) -> Extent {
        Extent { slot, len, written: false }
    }

    /// A slot that is written, and may be read.
    pub(crate) const fn written(slot: Slot, len: usize) -> Extent {
        Extent { slot, len, written: true }
    }
}

/// The places that a graph reads and writes in the memory of the caller, all verified against their declarations.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    /// Inputs, parameters and the seed.
    pub(crate) sources: HashMap<Var, Place>,
    pub(crate) outputs: Vec<(Var, Place)>,
}

impl Outside {
    /// The places of the outputs of a graph and of the inputs that they depend on; refuses a value that is not as
    /// declared. `source` gives the region that an input operation reads, or the error that there is none.
    pub(crate) fn new(
        name: &str,
        graph: &Graph,
        source: &dyn Fn(&Op) -> Result<Region, String>,
        outputs: &[(Var, Region)],
        slots: &[Extent],
    ) -> Result<Outside> {
        let refused = |message| Error::Shape { function: name.into(), message };
        let live = graph.live(outputs.iter().map(|(v, _)| *v));
        let mut sources = HashMap::new();
        for (v, node) in graph.vars().filter(|(v, _)| live[v.index()]) {
            if node.checked_len().is_none() {
                return Err(node.too_large());
            }
            if !node.op.is(Class::Outside) {
                continue;
            }
            let region = source(&node.op).map_err(refused)?;
            region.check(graph, v, slots, false).map_err(refused)?;
            sources.insert(v, region.place);
        }
        let mut ends: Vec<(&Region, usize)> = Vec::with_capacity(outputs.len());
        for (v, region) in outputs {
            ends.push((region, region.check(graph, *v, slots, true).map_err(refused)?));
        }
        ends.sort_by_key(|(region, _)| (region.place.slot, region.place.offset));
        for pair in ends.windows(2) {
            let [(before, end), (next, _)] = pair else { continue };
            if before.place.slot == next.place.slot && *end > next.place.offset {
                return Err(refused(format!("{} and {} would be written to the same memory", before.name, next.name)));
            }
        }
        let outputs = outputs.iter().map(|(v, region)| (*v, region.place)).collect();
        Ok(Outside { sources, outputs })
    }
}

impl Region {
    /// Refuses a value of another shape or type, or outside of its slot. Returns the end of the region in its slot.
    fn check(&self, graph: &Graph, v: Var, slots: &[Extent], written: bool) -> Result<usize, String> {
        let (node, name) = (&graph[v], &self.name);
        if node.shape != self.shape || node.dtype != self.dtype {
            let kind = |dtype: DType| dtype.name();
            let (expected, found) = (kind(self.dtype), kind(node.dtype));
            return Err(format!("{name} is {expected} {:?}, found {found} {:?}", self.shape, node.shape));
        }
        let end = node.checked_len().and_then(|len| self.place.offset.checked_add(len));
        let fits = |extent: &&Extent| {
            extent.slot == self.place.slot && end.is_some_and(|end| end <= extent.len) && extent.written >= written
        };
        match (slots.iter().find(fits), end) {
            (Some(_), Some(end)) => Ok(end),
            _ => Err(format!("{name} {:?} is not within {}", self.shape, self.place.slot)),
        }
    }
}
