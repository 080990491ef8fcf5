//! Kernels that threads can share.
//!
//! Work is split along the outermost loop, over outputs. A kernel that adds up all its rows in memory would
//! be the work of one thread, since the order of additions must not depend on how many there are. So a long
//! sum adds up a fixed number of runs of rows, each in a place of its own, and a short kernel behind it adds
//! these up. A run that is long itself keeps what rounding loses of it (see `lower`). What a long kernel fills
//! before its loops becomes a short one in front of it.

use crate::graph::{Graph, Op, Var};
use crate::ir::TERMS;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::kernel::{Call, Home, Operand, Turns, Work};

/// The runs of rows that are wanted, and the most there are so that none is too long.
const PARTS: usize = 8;
const MOST: usize = 32;

/// Elements that are added to each other in single precision: as many equal ones, for which the error is largest, are
/// added up to a millionth.
const ELEMENTS: usize = 2 * TERMS;

/// The elements from which on a sum is long.
const LONG: usize = 1 << 15;

/// The number of parts in which a sum over rows is added up, if it is long. It depends on the sum alone,
/// whatever else is in its kernel.
pub(crate) fn count(graph: &Graph, v: Var) -> Option<usize> {
    let Op::Reduce(_, axes) = graph[v].op else { return None };
    let arg = &graph[graph[v].args[0]];
    let first = arg.shape.iter().position(|&size| size != 1)?;
    let rows = arg.shape[first];
    let long = arg.len() >= LONG && graph[v].len() > 1 && axes >> first & 1 == 1;
    let mut counts = (2..=PARTS).rev().chain(PARTS + 1..=MOST).filter(|&parts| long && rows.is_multiple_of(parts));
    let most = counts.clone().next();
    let terms = arg.len() / graph[v].len();
    counts.find(|parts| terms / parts <= ELEMENTS).or(most.filter(|&parts| parts <= PARTS))
}

/// Whether sums of so many numbers, elements or sums of rows, are so long that what rounding loses is kept.
pub(crate) fn is_long(terms: usize, elements: bool) -> bool {
    terms > if elements { ELEMENTS } else { TERMS }
}

/// A sum over rows: the operand, its length, how it is combined, and the operand of what rounding has lost of a
/// long one.
struct Sum {
    operand: usize,
    len: usize,
    op: Reduce,
    lost: Option<usize>,
}

/// The calls in place of `call`, whose sums are added up in so many `parts`. Rooms for the sums of some rows
/// are numbered from `rooms` on.
pub(crate) fn cut(graph: &Graph, mut call: Call, parts: Option<usize>, rooms: &mut Vec<usize>) -> Vec<Call> {
    let behind = parts.map_or(vec![], |parts| cut_sums(graph, &mut call, parts, rooms));
    let mut calls = Vec::new();
    if Call::are_long(std::slice::from_ref(&call)) && call.is_split() {
        calls.extend(take_fills(&mut call));
    }
    calls.push(call);
    calls.extend(behind);
    calls
}

/// Cuts the rows of a call into runs. Gives what adds up the runs' sums.
fn cut_sums(graph: &Graph, call: &mut Call, parts: usize, rooms: &mut Vec<usize>) -> Vec<Call> {
    let Work::Loop(kernel) = &mut call.work else { return vec![] };
    let mut sums = sums(kernel, &call.operands);
    sums.retain(|sum| matches!(call.operands[sum.operand].home, Home::Value(v) if count(graph, v) == Some(parts)));
    let rows = kernel.outer.first().copied().unwrap_or(1);
    debug_assert!(rows.is_multiple_of(parts) && !sums.is_empty(), "the outermost loop is that of the rows");
    kernel.outer[0] = rows / parts;
    kernel.outer.insert(0, parts);
    for strides in &mut kernel.operands {
        strides.insert(0, strides[0] * (rows / parts) as isize);
    }
    let mut behind = Vec::new();
    for Sum { operand, len, op, lost } in sums {
        let part = Operand { home: Home::Parts(rooms.len()), offset: 0 };
        rooms.push(parts * len);
        let whole = std::mem::replace(&mut call.operands[operand], part);
        for operand in [Some(operand), lost].into_iter().flatten() {
            kernel.operands[operand][0] = len as isize;
            for fill in kernel.fills.iter_mut().filter(|fill| fill.0 == operand) {
                fill.1 = parts * len;
            }
            if let Home::Parts(room) = call.operands[operand].home {
                rooms[room] = parts * len;
            }
        }
        behind.push(add_up([part, whole], parts, len, op));
    }
    behind
}

/// The operands that all rows of the outermost loop are combined into.
fn sums(kernel: &LoopKernel, operands: &[Operand]) -> Vec<Sum> {
    let effects = kernel.passes.iter().flat_map(|pass| pass.once.effects().iter().chain(pass.each.effects()));
    let filled = |operand: usize| kernel.fills.iter().find(|fill| fill.0 == operand);
    let mut sums: Vec<Sum> = Vec::new();
    for effect in effects {
        let (operand, op, lost) = match *effect {
            Effect::Accumulate(operand, _, op, _) => (operand, op, None),
            // What is set before the loops and then stored is a long sum, or what it has lost.
            Effect::Store(operand, ..) => (operand, Reduce::Sum, Some(operand + 1)),
            _ => continue,
        };
        if kernel.operands[operand][0] == 0
            && !matches!(operands[operand].home, Home::Parts(_))
            && !sums.iter().any(|sum| sum.operand == operand)
            && let Some(fill) = filled(operand)
        {
            sums.push(Sum { operand, len: fill.1, op, lost });
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
    short(kernel, operands.to_vec(), operands[1])
}

/// Takes what a kernel fills before its loops out of it, as kernels of their own.
fn take_fills(call: &mut Call) -> Vec<Call> {
    let Work::Loop(kernel) = &mut call.work else { return vec![] };
    let fills = std::mem::take(&mut kernel.fills).into_iter();
    fills.map(|(operand, len, bits)| filled(call.operands[operand], len, bits)).collect()
}

/// The kernel that sets so many elements to these bits.
pub(crate) fn filled(to: Operand, len: usize, bits: u32) -> Call {
    let mut each = Strip::default();
    let value = each.push(Inst::Const(bits, Kind::Int), Kind::Int);
    each.effect(Effect::Store(0, Walk::Contiguous, value));
    let passes = vec![Pass { once: Strip::default(), each }];
    short(LoopKernel { row: len, operands: vec![vec![]], passes, ..LoopKernel::default() }, vec![to], to)
}

/// A call without what it fills before its loops, and that as calls of their own.
pub(crate) fn without_fills(call: &Call) -> (Vec<Call>, Call) {
    let mut call = call.clone();
    (take_fills(&mut call), call)
}

/// A call of a short kernel that writes `result`.
fn short(kernel: LoopKernel, operands: Vec<Operand>, result: Operand) -> Call {
    let nodes = if let Home::Value(value) = result.home { vec![value] } else { vec![] };
    Call { work: Work::Loop(kernel), operands, nodes, refused: None, turns: Turns::default() }
}
