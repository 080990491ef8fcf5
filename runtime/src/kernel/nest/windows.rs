//! Reductions over a few elements each, such as those of a pooling window, unrolled to straight-line code: the result
//! stays in a register until it is complete, instead of being accumulated in memory.

use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Reg, Strip, Walk};
use crate::kernel::Operand;

/// The most elements of a reduction that is unrolled: a window of four by four.
const MAX_ELEMENTS: usize = 16;

/// The most instructions of an unrolled strip: some kilobytes of machine code.
const MAX_INSTRUCTIONS: usize = 256;

/// The kernel with the loops of its reductions unrolled, and its operands, of which there are more: each element of a
/// window is an operand of its own. `None` if the kernel has other effects or too many elements. The order of additions
/// stays the same.
pub(crate) fn unrolled(kernel: &LoopKernel, operands: &[Operand]) -> Option<(LoopKernel, Vec<Operand>)> {
    let [Pass { once, each }] = kernel.passes.as_slice() else { return None };
    let depths: Vec<usize> = (0..kernel.outer.len()).filter(|&d| is_summed(kernel, each, d)).collect();
    let elements = depths.iter().map(|&d| kernel.outer[d]).product::<usize>();
    let whole = (kernel.row * kernel.outer.iter().product::<usize>()).checked_div(elements)?;
    let is_whole = |effect: &Effect| match *effect {
        Effect::Accumulate(operand, walk, op, _) => {
            let fill = (operand, whole, op.identity().to_bits());
            walk != Walk::Fixed && kernel.fills.contains(&fill)
        }
        _ => false,
    };
    let fits = (2..=MAX_ELEMENTS).contains(&elements) && elements * each.insts().len() <= MAX_INSTRUCTIONS;
    let complete = once.is_empty() && each.effects().iter().all(is_whole) && kernel.fills.len() == each.effects().len();
    if !fits || !complete || depths.len() == kernel.outer.len() {
        return None;
    }
    let mut line =
        Unrolled { strip: Strip::default(), operands: operands.to_vec(), origins: (0..operands.len()).collect() };
    let mut totals: Vec<Reg> = each.effects().iter().filter_map(|effect| line.start(effect)).collect();
    for element in 0..elements {
        let offsets: Vec<isize> =
            kernel.operands.iter().map(|strides| offset(kernel, strides, &depths, element)).collect();
        line.add(each, &offsets, &mut totals);
    }
    for (effect, total) in each.effects().iter().zip(totals) {
        if let Effect::Accumulate(operand, walk, ..) = *effect {
            line.strip.effect(Effect::Store(operand, walk, total));
        }
    }
    let is_left = |d: &usize| !depths.contains(d);
    let around: Vec<usize> = (0..kernel.outer.len()).filter(is_left).collect();
    let strides = line.origins.iter().map(|&origin| around.iter().map(|&d| kernel.operands[origin][d]).collect());
    let unrolled = LoopKernel {
        outer: around.iter().map(|&d| kernel.outer[d]).collect(),
        row: kernel.row,
        operands: strides.collect(),
        passes: vec![Pass { once: Strip::default(), each: line.strip }],
        ..LoopKernel::default()
    };
    Some((unrolled.merged(), line.operands))
}

/// Whether loop number `depth` writes the same elements in every iteration.
fn is_summed(kernel: &LoopKernel, each: &Strip, depth: usize) -> bool {
    each.effects().iter().all(|effect| match *effect {
        Effect::Store(operand, ..) | Effect::Accumulate(operand, ..) => kernel.operands[operand][depth] == 0,
        Effect::Fold(..) | Effect::Define(..) => false,
    })
}

/// The distance of element number `element` of a reduction from the first, in the loops `depths`.
fn offset(kernel: &LoopKernel, strides: &[isize], depths: &[usize], element: usize) -> isize {
    let mut left = element;
    let steps = depths.iter().rev().map(|&d| {
        let i = left % kernel.outer[d];
        left /= kernel.outer[d];
        i as isize * strides[d]
    });
    steps.sum()
}

/// The unrolled strip, and its operands.
struct Unrolled {
    strip: Strip,
    operands: Vec<Operand>,
    /// For each operand, the operand of the kernel that it is shifted from.
    origins: Vec<usize>,
}

impl Unrolled {
    /// A register with the identity of a reduction.
    fn start(&mut self, effect: &Effect) -> Option<Reg> {
        let Effect::Accumulate(_, _, op, _) = effect else { return None };
        Some(self.strip.push(Inst::Const(op.identity().to_bits(), Kind::Float), Kind::Float))
    }

    /// Combines the elements at these offsets with the totals.
    fn add(&mut self, each: &Strip, offsets: &[isize], totals: &mut [Reg]) {
        let mut regs: Vec<Reg> = Vec::new();
        for (i, inst) in each.insts().iter().enumerate() {
            let inst = match inst.map(|r| regs[r.index()]) {
                Inst::Load(operand, walk, kind) => Inst::Load(self.operand(operand, offsets[operand]), walk, kind),
                Inst::Number(operand, walk) => Inst::Number(self.operand(operand, offsets[operand]), walk),
                inst => inst,
            };
            regs.push(self.strip.push(inst, each.kind(Reg(i as u32))));
        }
        for (effect, total) in each.effects().iter().zip(totals) {
            if let Effect::Accumulate(_, _, op, r) = *effect {
                let x = regs[r.index()];
                *total = match op {
                    Reduce::Sum => self.strip.add(*total, x),
                    Reduce::Prod => self.strip.mul(*total, x),
                    Reduce::Max => self.strip.max(*total, x),
                    Reduce::Min => self.strip.min(*total, x),
                };
            }
        }
    }

    /// The operand at an offset from operand `origin` of the kernel.
    fn operand(&mut self, origin: usize, offset: isize) -> usize {
        let Operand { storage, offset: start } = self.operands[origin];
        let shifted = Operand { storage, offset: start.wrapping_add_signed(offset) };
        let same = |i: &usize| self.origins[*i] == origin && self.operands[*i] == shifted;
        (0..self.operands.len()).find(same).unwrap_or_else(|| {
            self.operands.push(shifted);
            self.origins.push(origin);
            self.operands.len() - 1
        })
    }
}

impl LoopKernel {
    /// Merges adjacent loops that all operands go through in equal steps.
    fn merged(mut self) -> LoopKernel {
        for depth in (1..self.outer.len()).rev() {
            let size = self.outer[depth];
            if self.operands.iter().all(|strides| strides[depth - 1] == strides[depth] * size as isize) {
                self.outer.remove(depth);
                self.outer[depth - 1] *= size;
                self.operands.iter_mut().for_each(|strides| {
                    strides.remove(depth - 1);
                });
            }
        }
        self
    }
}
