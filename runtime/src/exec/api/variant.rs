//! A training step for one set of input shapes: how it is compiled, and what is told of it.

use std::ops::Range;

use super::batch_weight::BatchWeights;
use super::finite::Finite;
use super::model;
use super::model::Entry;
use super::staged;
use super::staged::{Signature, Staged};
use super::update::padded;
use crate::error::{Error, Result};
use crate::exec::run::Program;
use crate::graph::{Op, Var};
use crate::kernel::{Extent, Outside, Place, Region, Slot, plan, with_multiply_adds};
use crate::network::{Function, Network};
use crate::shape::DType;
use crate::tensor::Tensor;

/// What a step is compiled from, besides the shapes of its inputs.
pub(crate) struct Loss<'a, N: Network> {
    pub(crate) function: &'a Function<N>,
    pub(crate) entries: &'a [Entry],
    /// The length of all parameters, behind which the states are, and of all states.
    pub(crate) params_len: usize,
    pub(crate) states_len: usize,
    /// The number of each parameter's optimizer; `None` where it is frozen.
    pub(crate) assigned: &'a [Option<usize>],
}

/// A compiled step.
pub(crate) struct Variant<N> {
    pub(crate) net: N,
    pub(crate) signature: Signature,
    pub(crate) program: Program,
    /// The pass over the gradients of which the program does not see whether they are finite.
    pub(crate) finite: Finite,
    /// The places of the states that it assigns.
    pub(crate) states: Vec<Range<usize>>,
    /// The results behind the loss.
    pub(crate) outputs: Vec<Tensor>,
    /// What a batch counts in the mean of each result.
    pub(crate) weights: BatchWeights,
    /// Whether anything is computed again for the gradient.
    checkpoints: bool,
}

impl<N: Network> Loss<'_, N> {
    /// The step of a network for inputs of these shapes.
    pub(crate) fn compile(&self, net: &N, signature: Signature) -> Result<Variant<N>> {
        let staged = self.stage(net, &signature, true)?;
        let (results, slots) = (self.results(&staged)?, self.slots(&staged, &signature));
        let program = Program::compile_checked(
            self.function.name,
            &staged.graph,
            &|op| self.source(op, &signature),
            &results,
            &slots,
            Some(Slot::Grads),
        )?;
        let finite = Finite::new(self.entries, self.assigned, program.checked(), padded(self.params_len))?;
        let outputs = staged.outputs[1..].iter().map(|&v| &staged.graph[v].shape);
        Ok(Variant {
            net: *net,
            signature,
            program,
            finite,
            states: staged.updates.keys().map(|&id| self.state(id)).collect::<Result<_>>()?,
            outputs: outputs.map(|shape| Tensor::zeros(shape)).collect::<Result<_>>()?,
            checkpoints: staged.graph.nodes().iter().any(|node| node.scope > 0),
            weights: staged.weights,
        })
    }

    /// What is told of a step.
    pub(crate) fn explain(&self, variant: &Variant<N>) -> String {
        // With checkpoints it has been planned, so there is no reason for an error.
        let without = if variant.checkpoints { self.kept_without_checkpoints(variant).ok().flatten() } else { None };
        variant.program.explain(without)
    }

    /// The bytes of activations that the step would keep if nothing were computed again, for which it is
    /// planned anew.
    fn kept_without_checkpoints(&self, variant: &Variant<N>) -> Result<Option<usize>> {
        let signature = &variant.signature;
        let staged = self.stage(&variant.net, signature, false)?;
        let (results, slots) = (self.results(&staged)?, self.slots(&staged, signature));
        let source = |op: &Op| self.source(op, signature);
        let outside = Outside::new(self.function.name, &staged.graph, &source, &results, &slots)?;
        let graph = with_multiply_adds(&staged.graph, &outside.outputs);
        Ok(plan(&graph, &outside)?.saved_for_backward(&graph))
    }

    fn stage(&self, net: &N, inputs: &Signature, checkpoints: bool) -> Result<Staged> {
        let trained = |id: usize| self.assigned.get(id).is_some_and(Option::is_some);
        staged::stage_loss(net, self.function, inputs, &trained, checkpoints)
    }

    /// The memory of a step: what it reads, and what it writes.
    fn slots(&self, staged: &Staged, inputs: &Signature) -> Vec<Extent> {
        let mut slots = vec![
            Extent::read(Slot::Params, self.params_len + self.states_len),
            Extent::read(Slot::Seed, 1),
            Extent::written(Slot::Grads, padded(self.params_len)),
            Extent::written(Slot::States, self.states_len),
        ];
        slots.extend(inputs.slots());
        slots.extend(model::outputs(staged).map(|(i, _, shape)| model::output_slot(i, shape)));
        slots.extend(staged.weights.slots());
        slots
    }

    fn source(&self, op: &Op, inputs: &Signature) -> Result<Region, String> {
        match op {
            Op::Seed => Ok(Region { dtype: DType::I32, ..Region::numbers(Slot::Seed.start(), &[]) }),
            op => model::source(self.entries, inputs, op),
        }
    }

    /// Where the results go.
    fn results(&self, staged: &Staged) -> Result<Vec<(Var, Region)>> {
        let mut outputs =
            model::outputs(staged).map(|(i, v, shape)| (v, Region::numbers(Slot::Output(i).start(), shape)));
        let mut results: Vec<_> = outputs.next().into_iter().collect();
        for ((grad, entry), group) in staged.grads.iter().zip(self.entries).zip(self.assigned) {
            if let (Some(v), Some(_)) = (grad, group) {
                let place = Place { slot: Slot::Grads, offset: entry.offset };
                results.push((*v, entry.region(place, "the gradient of ")));
            }
        }
        results.extend(outputs);
        for (&id, &v) in &staged.updates {
            let place = Place { slot: Slot::States, offset: self.state(id)?.start };
            results.push((v, self.entries[id].region(place, "state ")));
        }
        results.extend(staged.weights.results(&staged.graph));
        Ok(results)
    }

    /// The place of a state among all states.
    fn state(&self, id: usize) -> Result<Range<usize>> {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.state) else {
            let message = format!("number {id} is assigned, which is no state");
            return Err(Error::Shape { function: self.function.name.into(), message });
        };
        let start = entry.offset - self.params_len;
        Ok(start..start + entry.len())
    }
}
