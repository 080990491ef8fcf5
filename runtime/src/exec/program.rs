//! A graph as a program: kernels in order over one arena.

use std::fmt::Write;

use super::Buffer;
use crate::codegen::matmul::{self, Level, Product};
use crate::codegen::{Compiled, compile};
use crate::error::Result;
use crate::graph::{Graph, Op, Var};
use crate::kernel::{Call, Plan, Spot, Work, plan};

/// Where a value lives that comes from outside or goes there: a pointer of the caller's, and an
/// offset from it in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) offset: usize,
}

/// A compiled graph.
pub(crate) struct Program {
    name: String,
    steps: Vec<Step>,
    /// The operands of all steps, one behind the other.
    pointers: Vec<*mut u8>,
    /// Which of them are the caller's.
    outside: Vec<(usize, Place)>,
    /// What the steps compute in, by the pointers above.
    arena: Buffer,
    report: Report,
}

// SAFETY: the pointers into the arena are the program's own, and those of the caller are set anew
// at every run.
unsafe impl Send for Program {}

/// One kernel of a program.
struct Step {
    kernel: Kernel,
    /// Where its operands start.
    operands: usize,
}

enum Kernel {
    Loop(Compiled),
    MatMul(Product),
    Gather { count: usize, width: usize },
    ScatterAdd { count: usize, width: usize, rows: usize },
}

/// What is told of a program.
struct Report {
    lines: Vec<String>,
    bytes: usize,
    flops: usize,
    unshared: usize,
    /// Bytes of activations that are kept for the gradient, where there is one.
    kept: Option<usize>,
}

impl Program {
    /// Compiles the part of a graph that `outputs` need. `source` says where inputs and parameters are.
    pub(crate) fn compile(
        name: &str,
        graph: &Graph,
        source: &dyn Fn(&Op) -> Place,
        outputs: &[(Var, Place)],
    ) -> Result<Program> {
        let plan = plan(graph, source, outputs)?;
        let loops: Vec<_> = plan.calls.iter().filter_map(Call::loop_kernel).collect();
        let mut compiled = compile(&loops)?.into_iter();
        let products: Vec<_> = plan.calls.iter().filter_map(Call::matmul).collect();
        let mut products = matmul::compile(&products, Level::current()?)?.into_iter();
        let mut arena = arena(&plan);
        let base = arena.as_mut_ptr();
        let mut program = Program {
            name: name.into(),
            steps: Vec::new(),
            pointers: Vec::new(),
            outside: Vec::new(),
            report: Report::new(graph, &plan),
            arena,
        };
        for call in plan.calls {
            let operands = program.pointers.len();
            for operand in &call.operands {
                let pointer = match plan.spots[&operand.home] {
                    Spot::Arena(offset) => base.wrapping_add(offset + operand.offset).cast(),
                    Spot::Nowhere => std::ptr::without_provenance_mut(4 * operand.offset),
                    Spot::Outside(place) => {
                        let offset = place.offset + operand.offset;
                        program.outside.push((program.pointers.len(), Place { offset, ..place }));
                        std::ptr::null_mut()
                    }
                };
                program.pointers.push(pointer);
            }
            let kernel = match call.work {
                Work::Loop(_) => match compiled.next() {
                    Some(code) => Kernel::Loop(code),
                    None => unreachable!("one compiled kernel for each loop"),
                },
                Work::MatMul(_) => match products.next() {
                    Some(product) => Kernel::MatMul(product),
                    None => unreachable!("one compiled product for each"),
                },
                Work::Gather { count, width } => Kernel::Gather { count, width },
                Work::ScatterAdd { count, width, rows } => Kernel::ScatterAdd { count, width, rows },
            };
            program.steps.push(Step { kernel, operands });
        }
        Ok(program)
    }

    /// Runs all kernels; allocates nothing.
    ///
    /// # Safety
    ///
    /// Every slot must point to memory that holds what was placed there at compilation, and
    /// nothing else may use the memory of outputs meanwhile. Index entries must be in range.
    pub(crate) unsafe fn run(&mut self, slots: &[*mut f32]) {
        for &(i, place) in &self.outside {
            self.pointers[i] = slots[place.slot].wrapping_add(place.offset).cast();
        }
        for step in &self.steps {
            let operands = &self.pointers[step.operands..];
            // SAFETY: the plan gave every operand a place that covers what the kernel reaches;
            // the caller answers for those outside.
            unsafe { step.kernel.run(operands) };
        }
    }

    /// What the kernels are, and what they read, write and compute. `without` are the bytes of activations
    /// that would be kept without checkpoints.
    pub(crate) fn explain(&self, without: Option<usize>) -> String {
        let Report { lines, bytes, flops, unshared, kept } = &self.report;
        let mut text = String::new();
        let arena = 4 * self.arena.len();
        let _ = writeln!(
            text,
            "{}: {} kernels, {flops} flops, {bytes} bytes moved; arena {arena} bytes ({} without sharing)",
            self.name,
            lines.len(),
            4 * unshared
        );
        if let Some(kept) = kept {
            let saved = without.map_or(String::new(), |all| match all.checked_sub(*kept) {
                Some(more) => format!(", {more} more without checkpoints"),
                None => format!(", {all} without checkpoints"),
            });
            let _ = writeln!(text, "      activations: {kept} bytes kept for the gradient{saved}");
        }
        for (i, line) in lines.iter().enumerate() {
            let _ = writeln!(text, "{i:>4}  {line}");
        }
        text
    }
}

fn arena(plan: &Plan) -> Buffer {
    let mut arena = Buffer::zeros(plan.arena);
    for (offset, bits) in &plan.data {
        for (to, &bits) in arena[*offset..].iter_mut().zip(bits) {
            *to = f32::from_bits(bits);
        }
    }
    arena
}

impl Report {
    fn new(graph: &Graph, plan: &Plan) -> Report {
        Report {
            lines: plan.calls.iter().map(|call| call.describe(graph)).collect(),
            bytes: plan.calls.iter().map(Call::bytes).sum(),
            flops: plan.calls.iter().map(Call::flops).sum(),
            unshared: plan.unshared,
            kept: plan.kept(graph),
        }
    }
}

impl Kernel {
    /// # Safety
    ///
    /// The operands must be those the kernel was planned for, and indices in range.
    unsafe fn run(&self, operands: &[*mut u8]) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Kernel::Loop(code) => code.run(operands.as_ptr()),
                Kernel::MatMul(product) => {
                    // A product without packing has no room of its own, and touches none.
                    let scratch = operands.get(3).map_or(std::ptr::null_mut(), |room| room.cast());
                    product.run(operands[0].cast(), operands[1].cast(), operands[2].cast(), scratch);
                }
                Kernel::Gather { count, width } => gather(*count, *width, operands),
                Kernel::ScatterAdd { count, width, rows } => scatter_add(*count, *width, *rows, operands),
            }
        }
    }
}

/// # Safety
///
/// The operands are a table, `count` row numbers in range, and room for as many rows.
unsafe fn gather(count: usize, width: usize, operands: &[*mut u8]) {
    let (table, index, out) = (operands[0].cast::<f32>(), operands[1].cast::<i32>(), operands[2].cast::<f32>());
    for i in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let row = *index.add(i) as usize;
            std::ptr::copy_nonoverlapping(table.add(row * width), out.add(i * width), width);
        }
    }
}

/// # Safety
///
/// The operands are `count` row numbers below `rows`, as many rows, and room for `rows` rows.
unsafe fn scatter_add(count: usize, width: usize, rows: usize, operands: &[*mut u8]) {
    let (index, source, out) = (operands[0].cast::<i32>(), operands[1].cast::<f32>(), operands[2].cast::<f32>());
    // SAFETY: promised by the caller.
    unsafe {
        let out = std::slice::from_raw_parts_mut(out, rows * width);
        out.fill(0.0);
        for i in 0..count {
            let row = *index.add(i) as usize;
            let source = std::slice::from_raw_parts(source.add(i * width), width);
            for (to, from) in out[row * width..(row + 1) * width].iter_mut().zip(source) {
                *to += from;
            }
        }
    }
}
