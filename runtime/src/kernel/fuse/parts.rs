//! Long sums split into parts, so that threads can share them.
//!
//! Threads share a kernel along its outermost loop, over outputs. A kernel that accumulates all its rows in one result
//! could not be shared, since the order of additions must not depend on the number of threads. So the rows of a long
//! sum are split into a fixed number of parts with partial sums of their own, and a short kernel afterwards combines
//! the partial sums. A part that is long itself is a compensated sum (see `lower::add`). The fills of a long kernel
//! become short kernels before it, since they cannot be shared either.

use crate::graph::{Graph, Op, Var};
use crate::ir::TERMS;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::kernel::{Call, Operand, Scratch, SharedLoops, Storage, Work};

/// The number of parts that are wanted: enough for eight threads.
const WANTED_PARTS: usize = 8;

/// The most parts, where eight would have more than `MAX_TERMS` terms each.
const MAX_PARTS: usize = 32;

/// The most elements that are added up in single precision without compensation. For as many equal elements, where the
/// error is largest, the relative error is a millionth.
const MAX_TERMS: usize = 2 * TERMS;

/// The fewest elements of a sum that is split: 128 KiB, which one core reads in some microseconds.
const MIN_SPLIT_ELEMENTS: usize = 1 << 15;

/// The number of parts that a sum over rows is split into, if it is long. The number depends on the sum alone, whatever
/// else is in its kernel.
pub(crate) fn count(graph: &Graph, v: Var) -> Option<usize> {
    let Op::Reduce(_, axes) = graph[v].op else { return None };
    let arg = &graph[graph[v].args[0]];
    let first = arg.shape.iter().position(|&size| size != 1)?;
    let rows = arg.shape[first];
    let long = arg.len() >= MIN_SPLIT_ELEMENTS && graph[v].len() > 1 && axes >> first & 1 == 1;
    let mut counts = (2..=WANTED_PARTS)
        .rev()
        .chain(WANTED_PARTS + 1..=MAX_PARTS)
        .filter(|&parts| long && rows.is_multiple_of(parts));
    let most = counts.clone().next();
    let terms = arg.len() / graph[v].len();
    counts.find(|parts| terms / parts <= MAX_TERMS).or(most.filter(|&parts| parts <= WANTED_PARTS))
}

/// Whether a sum of so many terms, which are elements or else sums of rows, is compensated.
pub(crate) fn is_compensated(terms: usize, elements: bool) -> bool {
    terms > if elements { MAX_TERMS } else { TERMS }
}

/// A sum over rows: its operand, its length, how it is combined, and the operand of the compensation of a compensated
/// one.
struct Sum {
    operand: usize,
    len: usize,
    op: Reduce,
    compensation: Option<usize>,
}

/// The calls in place of `call`, whose long sums are split into so many `parts`. The partial sums are in new shared
/// memory.
pub(crate) fn split(graph: &Graph, mut call: Call, parts: Option<usize>, scratch: &mut Scratch) -> Vec<Call> {
    let combine = parts.map_or(vec![], |parts| split_sums(graph, &mut call, parts, scratch));
    let mut calls = Vec::new();
    if Call::are_long(std::slice::from_ref(&call)) && call.is_split() {
        calls.extend(take_fills(&mut call));
    }
    calls.push(call);
    calls.extend(combine);
    calls
}

/// Splits the rows of a call into parts. Returns the calls that combine the partial sums.
fn split_sums(graph: &Graph, call: &mut Call, parts: usize, scratch: &mut Scratch) -> Vec<Call> {
    let Work::Loop(kernel) = &mut call.work else { return vec![] };
    let mut sums = sums(kernel, &call.operands);
    sums.retain(
        |sum| matches!(call.operands[sum.operand].storage, Storage::Value(v) if count(graph, v) == Some(parts)),
    );
    let rows = kernel.outer.first().copied().unwrap_or(1);
    debug_assert!(rows.is_multiple_of(parts) && !sums.is_empty(), "the outermost loop is that of the rows");
    kernel.outer[0] = rows / parts;
    kernel.outer.insert(0, parts);
    for strides in &mut kernel.operands {
        strides.insert(0, strides[0] * (rows / parts) as isize);
    }
    let mut combine = Vec::new();
    for Sum { operand, len, op, compensation } in sums {
        let part = scratch.add_shared(parts * len);
        let whole = std::mem::replace(&mut call.operands[operand], part);
        for operand in [Some(operand), compensation].into_iter().flatten() {
            kernel.operands[operand][0] = len as isize;
            for fill in kernel.fills.iter_mut().filter(|fill| fill.0 == operand) {
                fill.1 = parts * len;
            }
            if let Storage::Shared(i) = call.operands[operand].storage {
                scratch.shared[i] = parts * len;
            }
        }
        combine.push(add_up([part, whole], parts, len, op));
    }
    combine
}

/// The sums that all iterations of the outermost loop accumulate in.
fn sums(kernel: &LoopKernel, operands: &[Operand]) -> Vec<Sum> {
    let effects = kernel.passes.iter().flat_map(|pass| pass.once.effects().iter().chain(pass.each.effects()));
    let filled = |operand: usize| kernel.fills.iter().find(|fill| fill.0 == operand);
    let mut sums: Vec<Sum> = Vec::new();
    for effect in effects {
        let (operand, op, compensation) = match *effect {
            Effect::Accumulate(operand, _, op, _) => (operand, op, None),
            // An operand that is filled and then stored is a compensated sum, whose compensation is the next operand,
            // or is a compensation, which `Storage::Shared` tells apart.
            Effect::Store(operand, ..) => (operand, Reduce::Sum, Some(operand + 1)),
            _ => continue,
        };
        if kernel.operands[operand][0] == 0
            && !matches!(operands[operand].storage, Storage::Shared(_))
            && !sums.iter().any(|sum| sum.operand == operand)
            && let Some(fill) = filled(operand)
        {
            sums.push(Sum { operand, len: fill.1, op, compensation });
        }
    }
    sums
}

/// The call that combines the partial sums.
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

/// Takes the fills out of a kernel, as calls of their own.
fn take_fills(call: &mut Call) -> Vec<Call> {
    let Work::Loop(kernel) = &mut call.work else { return vec![] };
    let fills = std::mem::take(&mut kernel.fills).into_iter();
    fills.map(|(operand, len, bits)| filled(call.operands[operand], len, bits)).collect()
}

/// The call that sets so many elements to these bits.
pub(crate) fn filled(to: Operand, len: usize, bits: u32) -> Call {
    let mut each = Strip::default();
    let value = each.push(Inst::Const(bits, Kind::Int), Kind::Int);
    each.effect(Effect::Store(0, Walk::Contiguous, value));
    let passes = vec![Pass { once: Strip::default(), each }];
    short(LoopKernel { row: len, operands: vec![vec![]], passes, ..LoopKernel::default() }, vec![to], to)
}

/// The fills of a call as calls of their own, and the call without them.
pub(crate) fn without_fills(call: &Call) -> (Vec<Call>, Call) {
    let mut call = call.clone();
    (take_fills(&mut call), call)
}

/// A call of a short kernel that writes `result`.
fn short(kernel: LoopKernel, operands: Vec<Operand>, result: Operand) -> Call {
    let nodes = if let Storage::Value(value) = result.storage { vec![value] } else { vec![] };
    Call { work: Work::Loop(kernel), operands, nodes, refused: None, shared_loops: SharedLoops::default() }
}
