//! What each call reads and writes, element by element, and whether that is within the storage of its operands.

use std::collections::HashMap;

use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Strip, Walk};
use crate::kernel::{Call, Operand, Storage, Work};

/// The accesses of a loop nest.
pub(crate) struct NestAccesses {
    /// The sizes of the loops, outermost first.
    pub(crate) outer: Vec<usize>,
    /// In each iteration, in this order: the length of a run of elements, and the accesses for each element of the run.
    pub(crate) runs: Vec<(usize, Vec<Access>)>,
}

/// An element of an operand that is read or written: its stride in each loop, and its walk along a run.
pub(crate) struct Access {
    pub(crate) operand: usize,
    pub(crate) mode: Mode,
    pub(crate) outer: Vec<isize>,
    pub(crate) walk: Walk,
}

/// Whether an access reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
    /// It reads the element, then writes it.
    ReadWrite,
}

impl Access {
    fn new(operand: usize, mode: Mode, walk: Walk) -> Access {
        Access { operand, mode, outer: vec![], walk }
    }

    /// The first and the last element that is accessed, relative to the start of the operand.
    fn reach(&self, outer: &[usize], run: usize) -> (isize, isize) {
        let run = along(self.walk, run - 1);
        let ends = outer.iter().zip(&self.outer).map(|(&size, &stride)| (size as isize - 1) * stride).chain([run]);
        ends.fold((0, 0), |(first, last), end| (first + end.min(0), last + end.max(0)))
    }
}

impl NestAccesses {
    /// The number of accesses.
    pub(crate) fn count(&self) -> usize {
        let runs = self.runs.iter().map(|(len, accesses)| len * accesses.len()).sum::<usize>();
        self.outer.iter().product::<usize>().saturating_mul(runs)
    }
}

/// The distance of element `i` of a run from the first.
pub(crate) fn along(walk: Walk, i: usize) -> isize {
    match walk {
        Walk::Contiguous => i as isize,
        Walk::Fixed => 0,
        Walk::Strided(stride) => i as isize * stride,
        Walk::Repeated(times) => (i / times) as isize,
    }
}

/// The accesses of a call, in the order in which they happen.
pub(crate) fn accesses(call: &Call) -> Vec<NestAccesses> {
    let run = |len: usize, operand: usize, mode: Mode| {
        let access = Access::new(operand, mode, Walk::Contiguous);
        NestAccesses { outer: vec![], runs: vec![(len, vec![access])] }
    };
    match call.work {
        Work::Loop(ref kernel) => {
            let fills = kernel.fills.iter().map(|&(operand, len, _)| run(len, operand, Mode::Write));
            fills.chain([of_loop(kernel)]).collect()
        }
        Work::MatMul(ref product) => of_product(product),
        Work::Gather { count, width, rows } => {
            vec![run(count, 1, Mode::Read), run(rows * width, 0, Mode::Read), run(count * width, 2, Mode::Write)]
        }
        Work::Sort { count, rows } => {
            vec![run(count, 0, Mode::Read), run(count, 1, Mode::Write), run(rows, 2, Mode::Write)]
        }
        Work::ScatterAdd { count, width, rows, added } => {
            let reads = [run(count, 0, Mode::Read), run(rows, 1, Mode::Read), run(count * width, 2, Mode::Read)];
            let result = run(rows * width, 3, if added { Mode::ReadWrite } else { Mode::Write });
            reads.into_iter().chain([result]).collect()
        }
        Work::Check { count, .. } => vec![run(count, 0, Mode::Read)],
        Work::Routine(ref call) => {
            let args = call.args.iter().enumerate().map(|(i, &len)| run(len, i, Mode::Read));
            args.chain([run(call.len, call.args.len(), Mode::Write)]).collect()
        }
    }
}

fn of_loop(kernel: &LoopKernel) -> NestAccesses {
    let of_strip = |strip: &Strip| -> Vec<Access> {
        let loads = strip.insts().iter().filter_map(|inst| match *inst {
            Inst::Load(operand, walk, _) => Some((operand, Mode::Read, walk)),
            _ => None,
        });
        let effects = strip.effects().iter().filter_map(|effect| match *effect {
            Effect::Store(operand, walk, _) => Some((operand, Mode::Write, walk)),
            Effect::Accumulate(operand, walk, ..) => Some((operand, Mode::ReadWrite, walk)),
            Effect::Fold(..) | Effect::Define(..) => None,
        });
        let access = |(operand, mode, walk): (usize, Mode, Walk)| Access {
            outer: kernel.operands[operand].clone(),
            ..Access::new(operand, mode, walk)
        };
        loads.chain(effects).map(access).collect()
    };
    let runs = kernel.passes.iter().flat_map(|pass| [(1, of_strip(&pass.once)), (kernel.row, of_strip(&pass.each))]);
    NestAccesses { outer: kernel.outer.clone(), runs: runs.collect() }
}

fn of_product(p: &MatMul) -> Vec<NestAccesses> {
    let matrix = |operand: usize, (rows, columns): (usize, usize), mode: Mode| {
        let batch = p.batch.iter().map(|&(size, strides)| (size, strides[operand]));
        let sums = p.sums.iter().filter(|_| operand < 2).map(|&(size, strides)| (size, strides[operand]));
        let [row, column] = p.strides[operand];
        let loops: Vec<(usize, isize)> = batch.chain(sums).chain([(rows, row)]).collect();
        let outer = loops.iter().map(|&(_, stride)| stride).collect();
        let access = Access { outer, ..Access::new(operand, mode, Walk::Strided(column)) };
        NestAccesses { outer: loops.iter().map(|&(size, _)| size).collect(), runs: vec![(columns, vec![access])] }
    };
    vec![matrix(0, (p.m, p.k), Mode::Read), matrix(1, (p.k, p.n), Mode::Read), matrix(2, (p.m, p.n), Mode::Write)]
}

/// The storage that a call accesses in other modes than `except`.
pub(crate) fn accessed(call: &Call, except: Mode) -> Vec<Storage> {
    let accesses = accesses(call).into_iter().flat_map(|nest| nest.runs).flat_map(|(_, accesses)| accesses);
    let others = accesses.filter(|access| access.mode != except);
    others.map(|access| call.operands[access.operand].storage).collect()
}

/// Refuses a call that accesses an operand outside of its storage, whose lengths are `lens`.
pub(crate) fn check_bounds(call: &Call, lens: &HashMap<Storage, usize>) -> Result<(), String> {
    for nest in accesses(call) {
        for (run, access) in nest.runs.iter().flat_map(|(run, all)| all.iter().map(move |access| (*run, access))) {
            let Operand { storage, offset } = call.operands[access.operand];
            let (mut first, mut last) = access.reach(&nest.outer, run);
            let strides = call.shared_loops.strides.get(access.operand).into_iter().flatten();
            for (&size, stride) in call.shared_loops.sizes.iter().zip(strides) {
                let end = (size as isize - 1) * stride;
                (first, last) = (first + end.min(0), last + end.max(0));
            }
            let (first, last, len) = (first + offset as isize, last + offset as isize, lens[&storage]);
            if storage == Storage::Nowhere || first < 0 || last >= len as isize {
                return Err(format!("elements {first} to {last} of {storage:?}, which has {len}: {:?}", call.nodes));
            }
        }
    }
    Ok(())
}
