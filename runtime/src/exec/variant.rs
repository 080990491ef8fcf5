//! A training step for one set of input shapes: how it is compiled, and what is told of it.

use std::ops::Range;

use super::model::{self, Entry};
use super::staged::{self, Signature, Staged};
use super::{Place, Program};
use crate::error::Result;
use crate::graph::{Op, Var};
use crate::kernel::{plan, with_multiply_adds};
use crate::network::{Function, Network};
use crate::tensor::{Inputs, Tensor};

/// What a step is compiled from, besides the shapes of its inputs.
pub(super) struct Loss<'a, N: Network> {
    pub(super) function: &'a Function<N>,
    pub(super) entries: &'a [Entry],
    /// The length of all parameters, behind which the states are.
    pub(super) params_len: usize,
    /// The number of each parameter's optimizer; `None` where it is frozen.
    pub(super) assigned: &'a [Option<usize>],
}

/// A compiled step.
pub(super) struct Variant<N> {
    net: N,
    pub(super) signature: Signature,
    pub(super) program: Program,
    /// The places of the states that it assigns.
    pub(super) states: Vec<Range<usize>>,
    /// The results behind the loss.
    pub(super) outputs: Vec<Tensor>,
    /// Whether anything is computed again for the gradient.
    checkpoints: bool,
}

impl<N: Network> Loss<'_, N> {
    /// The step for inputs of these shapes. Slot zero holds parameters and states; then come the inputs, the
    /// loss, the gradients, the seed, the new states, and the results behind the loss.
    pub(super) fn compile(&self, net: &N, inputs: &impl Inputs) -> Result<Variant<N>> {
        let staged = self.stage(net, inputs, true)?;
        let count = inputs.count();
        let program = Program::compile(
            self.function.name,
            &staged.graph,
            &|op| self.source(op, count),
            &self.results(&staged, count),
        )?;
        let outputs = staged.outputs[1..].iter().map(|&v| &staged.graph[v]);
        Ok(Variant {
            net: *net,
            signature: Signature::of(inputs),
            program,
            states: staged.updates.keys().map(|&id| self.state(id)).collect(),
            outputs: outputs
                .map(|node| Tensor::new(node.shape.clone(), vec![0.0; node.len()]))
                .collect::<Result<_>>()?,
            checkpoints: staged.graph.nodes().iter().any(|node| node.scope > 0),
        })
    }

    /// What is told of a step.
    pub(super) fn explain(&self, variant: &Variant<N>) -> String {
        // With checkpoints it has been planned, so there is no reason for an error.
        let without = if variant.checkpoints { self.kept_without_checkpoints(variant).ok().flatten() } else { None };
        variant.program.explain(without)
    }

    /// The bytes of activations that the step would keep if nothing were computed again, for which it is
    /// planned anew.
    fn kept_without_checkpoints(&self, variant: &Variant<N>) -> Result<Option<usize>> {
        let inputs = &variant.signature;
        let staged = self.stage(&variant.net, inputs, false)?;
        let count = inputs.count();
        let results = self.results(&staged, count);
        let graph = with_multiply_adds(&staged.graph, &results);
        Ok(plan(&graph, &|op| self.source(op, count), &results)?.kept(&graph))
    }

    fn stage(&self, net: &N, inputs: &impl Inputs, checkpoints: bool) -> Result<Staged> {
        staged::stage_loss(net, self.function, inputs, &|id| self.assigned[id].is_some(), checkpoints)
    }

    fn source(&self, op: &Op, inputs: usize) -> Place {
        match op {
            Op::Seed => Place { slot: 3 + inputs, offset: 0 },
            op => model::place(self.entries, op),
        }
    }

    /// Where the results go.
    fn results(&self, staged: &Staged, inputs: usize) -> Vec<(Var, Place)> {
        let mut results = vec![(staged.outputs[0], Place { slot: 1 + inputs, offset: 0 })];
        for ((grad, entry), group) in staged.grads.iter().zip(self.entries).zip(self.assigned) {
            if let (Some(v), Some(_)) = (grad, group) {
                results.push((*v, Place { slot: 2 + inputs, offset: entry.offset }));
            }
        }
        let behind = staged.outputs.iter().enumerate().skip(1);
        results.extend(behind.map(|(i, &v)| (v, Place { slot: 4 + inputs + i, offset: 0 })));
        let updates = staged.updates.iter();
        results.extend(updates.map(|(&id, &v)| (v, Place { slot: 4 + inputs, offset: self.state(id).start })));
        results
    }

    /// The place of a state among all states.
    fn state(&self, id: usize) -> Range<usize> {
        let start = self.entries[id].offset - self.params_len;
        start..start + self.entries[id].len()
    }
}
