//! Sums over a few elements each, such as those of a window, as straight lines: each is in a register until it
//! is complete, rather than in memory.

use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Reg, Strip, Walk};
use crate::kernel::Operand;

/// The most elements of a sum, and the most instructions of all of them.
const ELEMENTS: usize = 16;
const INSTS: usize = 256;

/// The kernel without the loops of its sums, and its operands, of which there are more: the elements of a sum
/// are at different places. None if it is no such kernel. The order of additions stays the same.
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
    let fits = (2..=ELEMENTS).contains(&elements) && elements * each.insts().len() <= INSTS;
    let complete = once.is_empty() && each.effects().iter().all(is_whole) && kernel.fills.len() == each.effects().len();
    if !fits || !complete || depths.len() == kernel.outer.len() {
        return None;
    }
    let mut line =
        Line { strip: Strip::default(), operands: operands.to_vec(), origins: (0..operands.len()).collect() };
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
    let kept = |d: &usize| !depths.contains(d);
    let around: Vec<usize> = (0..kernel.outer.len()).filter(kept).collect();
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

/// Whether all that a strip writes stays in place along a loop.
fn is_summed(kernel: &LoopKernel, each: &Strip, depth: usize) -> bool {
    each.effects().iter().all(|effect| match *effect {
        Effect::Store(operand, ..) | Effect::Accumulate(operand, ..) => kernel.operands[operand][depth] == 0,
        Effect::Fold(..) | Effect::Define(..) => false,
    })
}

/// How far the element of a sum of this number is from the first.
fn offset(kernel: &LoopKernel, strides: &[isize], depths: &[usize], element: usize) -> isize {
    let mut left = element;
    let turns = depths.iter().rev().map(|&d| {
        let turn = left % kernel.outer[d];
        left /= kernel.outer[d];
        turn as isize * strides[d]
    });
    turns.sum()
}

/// A strip for all elements of some sums, and its operands.
struct Line {
    strip: Strip,
    operands: Vec<Operand>,
    /// Which operand of the kernel each is of.
    origins: Vec<usize>,
}

impl Line {
    /// What a sum is before its first element.
    fn start(&mut self, effect: &Effect) -> Option<Reg> {
        let Effect::Accumulate(_, _, op, _) = effect else { return None };
        Some(self.strip.push(Inst::Const(op.identity().to_bits(), Kind::Float), Kind::Float))
    }

    /// Adds the elements at some offsets to the totals.
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

    /// The operand so many elements behind another.
    fn operand(&mut self, origin: usize, offset: isize) -> usize {
        let Operand { home, offset: start } = self.operands[origin];
        let place = Operand { home, offset: start.wrapping_add_signed(offset) };
        let same = |i: &usize| self.origins[*i] == origin && self.operands[*i] == place;
        (0..self.operands.len()).find(same).unwrap_or_else(|| {
            self.operands.push(place);
            self.origins.push(origin);
            self.operands.len() - 1
        })
    }
}

impl LoopKernel {
    /// The kernel with loops that all operands run through in equal steps as one.
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
