//! Descriptions of calls and their operands, for people.

use std::fmt;
use std::fmt::Write;

use crate::graph::Graph;
use crate::kernel::{Call, Location, Plan, Refusal, Storage, Work};

/// A description of a kernel.
pub(crate) struct Description {
    /// A loop nest, a product, and so on.
    pub(crate) kind: String,
    /// The sizes of its loops.
    pub(crate) sizes: String,
    pub(crate) bytes: usize,
    pub(crate) flops: usize,
    /// The names of the operations that it computes.
    pub(crate) operations: String,
    /// The kernel of an argument that it could not be a part of, and why.
    refused: Option<(usize, Refusal)>,
}

impl Call {
    /// What is computed over which sizes.
    pub(crate) fn describe(&self, graph: &Graph) -> Description {
        let names: Vec<String> = self.nodes.iter().map(|&v| graph[v].name()).collect();
        let (kind, sizes) = match &self.work {
            Work::Loop(kernel) => {
                let mut sizes: Vec<String> = kernel.outer.iter().map(usize::to_string).collect();
                sizes.push(kernel.row.to_string());
                (
                    format!("loop, {} passes", kernel.passes.iter().filter(|p| !p.each.is_empty()).count()),
                    sizes.join(" x "),
                )
            }
            Work::MatMul(p) => {
                let batch: String = p.batch.iter().map(|(size, _)| format!("{size} x ")).collect();
                let k = p.work() / (p.m * p.n).max(1);
                ("matmul".into(), format!("{batch}{} x {k} x {}", p.m, p.n))
            }
            Work::Gather { count, width, .. } => ("gather".into(), format!("{count} x {width}")),
            Work::Sort { count, rows } => ("sort".into(), format!("{count} by {rows}")),
            Work::ScatterAdd { count, width, .. } => ("scatter".into(), format!("{count} x {width}")),
            Work::Check { count, .. } => ("check".into(), count.to_string()),
            Work::Routine(call) => ("routine".into(), format!("{} x {}", call.units, call.len / call.units)),
        };
        let sizes = match self.shared_loops.sizes.is_empty() {
            true => sizes,
            false => format!("{} turns of {sizes}", self.shared_loops.count()),
        };
        let (bytes, flops) = (self.bytes(), self.flops());
        Description { kind, sizes, bytes, flops, operations: names.join(" "), refused: self.refused }
    }
}

impl Description {
    /// Why it is not a part of the kernel that computes its latest argument.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.map(|(kernel, why)| format!("not in {kernel}, {why}"))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Description { kind, sizes, bytes, flops, operations, .. } = self;
        write!(f, "{kind:<16} {sizes:<20} {bytes:>10} bytes {flops:>12} flops  {operations}")?;
        self.refused().map_or(Ok(()), |why| write!(f, "  ({why})"))
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Value(v) => write!(f, "value {}", v.index()),
            Storage::Copy(i) => write!(f, "copy of result {i}"),
            Storage::Scratch(i) => write!(f, "scratch {i}"),
            Storage::Shared(i) => write!(f, "shared scratch {i}"),
            Storage::Nowhere => f.write_str("numbers of elements"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Arena(start) => write!(f, "arena from {start}"),
            Location::Outside(place) => write!(f, "{} from {}", place.slot, place.offset),
            Location::Scratch(start) => write!(f, "scratch memory from {start}"),
            Location::Nowhere => f.write_str("no memory"),
        }
    }
}

impl Plan {
    /// The operands of a call, a line each: the storage, its location and its length in elements, and the first element
    /// of the operand in it.
    pub(crate) fn operands_as_text(&self, call: &Call) -> String {
        let mut text = String::new();
        for (i, operand) in call.operands.iter().enumerate() {
            let (storage, offset) = (operand.storage, operand.offset);
            let (location, len) = (self.locations[&storage], self.lens[&storage]);
            let _ = write!(text, "  o{i}: {storage}, {location}, {len} elements");
            if offset > 0 {
                let _ = write!(text, ", element {offset} on");
            }
            if let Some(strides) = call.shared_loops.strides.get(i) {
                let _ = write!(text, ", moves by {strides:?} in loops of {:?}", call.shared_loops.sizes);
            }
            text.push('\n');
        }
        text
    }
}
