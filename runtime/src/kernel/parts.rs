//! Sums over rows in a few parts.
//!
//! A kernel that adds up all its rows in memory is the work of one thread, since the order of additions
//! must not depend on how many there are. Such a kernel, if it is long, adds up a fixed number of runs
//! of rows, each in a place of its own, and a short one behind it adds these up.

use super::{Call, Home, LoopKernel, Operand, Pass, Work};
use crate::codegen::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::ops::reduce::Reduce;

/// The most runs of rows.
const PARTS: usize = 8;

/// A sum over rows: the operand, its length, and how it is combined.
struct Sum {
    operand: usize,
    len: usize,
    op: Reduce,
}

/// Cuts the rows of `call` into runs if that makes them independent. Rooms for their sums are numbered from
/// `rooms` on. Gives what adds them up.
pub(super) fn cut(call: &mut Call, rooms: &mut Vec<usize>) -> Vec<Call> {
    if !call.is_long() {
        return vec![];
    }
    let Work::Loop(kernel) = &mut call.work else { return vec![] };
    let Some(&rows) = kernel.outer.first() else { return vec![] };
    let sums = sums(kernel);
    let parts = (2..=PARTS.min(rows / 2)).rev().find(|parts| rows % parts == 0);
    let (Some(parts), false) = (parts, sums.is_empty()) else { return vec![] };
    kernel.outer[0] = rows / parts;
    kernel.outer.insert(0, parts);
    for strides in &mut kernel.operands {
        strides.insert(0, strides[0] * (rows / parts) as isize);
    }
    let mut behind = Vec::new();
    for Sum { operand, len, op } in sums {
        let part = Operand { home: Home::Parts(rooms.len()), offset: 0 };
        rooms.push(parts * len);
        let whole = std::mem::replace(&mut call.operands[operand], part);
        kernel.operands[operand][0] = len as isize;
        for fill in kernel.fills.iter_mut().filter(|fill| fill.0 == operand) {
            fill.1 = parts * len;
        }
        behind.push(add_up([part, whole], parts, len, op));
    }
    behind
}

/// The operands that all rows of the outermost loop are combined into.
fn sums(kernel: &LoopKernel) -> Vec<Sum> {
    let effects = kernel.passes.iter().flat_map(|pass| pass.once.effects().iter().chain(pass.each.effects()));
    let mut sums: Vec<Sum> = Vec::new();
    for effect in effects {
        if let Effect::Accumulate(operand, _, op, _) = *effect
            && kernel.operands[operand][0] == 0
            && !sums.iter().any(|sum| sum.operand == operand)
            && let Some(fill) = kernel.fills.iter().find(|fill| fill.0 == operand)
        {
            sums.push(Sum { operand, len: fill.1, op });
        }
    }
    sums
}

/// The kernel that combines the parts of a sum.
fn add_up(operands: [Operand; 2], parts: usize, len: usize, op: Reduce) -> Call {
    let mut each = Strip::default();
    let x = each.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    each.effect(Effect::Accumulate(1, Walk::Contiguous, op, x));
    let kernel = LoopKernel {
        outer: vec![parts],
        row: len,
        operands: vec![vec![len as isize], vec![0]],
        fills: vec![(1, len, op.identity().to_bits())],
        passes: vec![Pass { once: Strip::default(), each }],
        ..LoopKernel::default()
    };
    let nodes = if let Home::Value(sum) = operands[1].home { vec![sum] } else { vec![] };
    Call { work: Work::Loop(kernel), operands: operands.to_vec(), nodes, refused: None }
}
