//! Kernels as a program runs them: compiled code, and rows by number, which Rust copies and adds up.

use std::ops::Range;

use super::refused::Refuse;
use super::rows::{gather, scatter_add, sort};
use crate::codegen::matmul::Product;
use crate::codegen::{Backend, Compiled, CompiledLoop};
use crate::graph::op::MAX_ARGS;
use crate::ir::LINE;
use crate::kernel::RoutineCall;
use crate::shape::Rows;

/// What a step of a program runs.
pub(crate) enum Kernel {
    /// So many turns; parts of whole grains may run at the same time.
    Loop {
        code: CompiledLoop,
        turns: usize,
        grain: usize,
    },
    MatMul(Product),
    Gather {
        count: usize,
        width: usize,
        rows: usize,
    },
    Sort {
        count: usize,
        rows: usize,
    },
    ScatterAdd {
        count: usize,
        width: usize,
        rows: usize,
        added: bool,
    },
    Check {
        count: usize,
        rows: Rows,
    },
    Routine(RoutineCall),
}

impl Kernel {
    /// The code of each part; none of what is a function of the runtime.
    pub(crate) fn codes(&self) -> Vec<&Compiled> {
        match self {
            Kernel::Loop { code, .. } => vec![code.code()],
            Kernel::MatMul(product) => product.codes().collect(),
            Kernel::Gather { .. }
            | Kernel::Sort { .. }
            | Kernel::ScatterAdd { .. }
            | Kernel::Check { .. }
            | Kernel::Routine(_) => vec![],
        }
    }

    /// What made its code, which is the same for all parts.
    pub(crate) fn backend(&self) -> Backend {
        self.codes().first().map_or(Backend::Runtime, |code| code.backend())
    }

    /// The number of parts that can be computed independently.
    pub(crate) fn units(&self) -> usize {
        match self {
            Kernel::Loop { turns, grain, .. } => turns.div_ceil(*grain),
            Kernel::MatMul(product) => product.units(),
            Kernel::Gather { count, .. } | Kernel::Check { count, .. } => *count,
            Kernel::Sort { .. } => 1,
            Kernel::Routine(call) => call.units,
            // Each thread adds up other columns of all rows, since any row may be named.
            Kernel::ScatterAdd { width, .. } => width.div_ceil(LINE),
        }
    }

    /// Computes some parts.
    ///
    /// # Safety
    ///
    /// The operands must be those the kernel was planned for; nothing else may use what these parts write.
    pub(crate) unsafe fn run(&self, units: Range<usize>, operands: &[*mut u8], refuse: Refuse<'_>) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Kernel::Loop { code, turns, grain } => {
                    code.run(operands.as_ptr(), units.start * grain, (units.end * grain).min(*turns));
                }
                Kernel::MatMul(product) => {
                    // A product without packing has no scratch memory, and touches none.
                    let scratch = operands.get(3).map_or(std::ptr::null_mut(), |room| room.cast());
                    product.run(units, operands[0].cast(), operands[1].cast(), operands[2].cast(), scratch);
                }
                Kernel::Gather { count, width, rows } => {
                    let index = std::slice::from_raw_parts(operands[1].cast(), *count);
                    gather(units, *width, *rows, index, [operands[0], operands[2]], refuse);
                }
                Kernel::Sort { count, rows } => {
                    let index = std::slice::from_raw_parts(operands[0].cast(), *count);
                    let places = std::slice::from_raw_parts_mut(operands[1].cast(), *count);
                    let ends = std::slice::from_raw_parts_mut(operands[2].cast(), *rows);
                    sort(index, places, ends, refuse);
                }
                Kernel::ScatterAdd { count, width, rows, added } => {
                    let columns = units.start * LINE..(units.end * LINE).min(*width);
                    let places = std::slice::from_raw_parts(operands[0].cast(), *count);
                    let ends = std::slice::from_raw_parts(operands[1].cast(), *rows);
                    scatter_add(*width, columns, [places, ends], *added, [operands[2], operands[3]]);
                }
                Kernel::Check { count, rows } => {
                    let index = std::slice::from_raw_parts(operands[0].cast::<i32>(), *count);
                    let refused = units.filter(|&i| !rows.admits(index[i]));
                    refused.for_each(|i| refuse.entry(i, index[i]));
                }
                Kernel::Routine(RoutineCall { op, units: parts, args, len, .. }) => {
                    let mut given: [&[f32]; MAX_ARGS] = [&[]; MAX_ARGS];
                    for ((to, &from), &len) in given.iter_mut().zip(operands).zip(args) {
                        *to = std::slice::from_raw_parts(from.cast(), len);
                    }
                    let part = len / parts;
                    for unit in units {
                        let to = operands[args.len()].cast::<u32>().add(unit * part);
                        op.0.run(unit, &given[..args.len()], std::slice::from_raw_parts_mut(to, part));
                    }
                }
            }
        }
    }
}
