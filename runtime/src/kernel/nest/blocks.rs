//! Products with a very long inner dimension, split into blocks of it.
//!
//! A product kernel adds up some hundred terms in registers, and accumulates these sums one after another. Where there
//! are so many terms that rounding would show, the inner loops are split into blocks with results of their own, and a
//! loop nest adds up these results with compensation. The split follows from the sizes alone.

use super::lower::add;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::kernel::{Call, Operand, Scratch, SharedLoops, Work};

/// The most terms of a product that is not split. The rounding error grows with the terms.
const MAX_WHOLE_TERMS: usize = 1 << 14;

/// The terms of a block, where memory allows (see `ARGUMENTS_OVER_RESULTS`).
const BLOCK_TERMS: usize = 1 << 12;

/// How many times more elements the arguments must have than the results of all blocks together, so that storing and
/// adding up these results takes little time beside the products.
const ARGUMENTS_OVER_RESULTS: usize = 16;

/// Equal blocks of a product: where the first block begins in each argument, the loops over the blocks with their
/// strides in the arguments, and the product of one block.
struct Piece {
    starts: [isize; 2],
    blocks: Vec<(usize, [isize; 2])>,
    product: MatMul,
}

/// A loop over the terms of a product: the inner dimension, or a loop around it.
#[derive(Clone, Copy)]
enum Inner {
    Axis,
    Around(usize),
}

/// A long product as products of blocks.
pub(crate) struct Blocks {
    /// Each product computes some blocks. It begins at these offsets in the arguments and in the results, which are
    /// contiguous.
    pub(crate) products: Vec<(MatMul, [isize; 3])>,
    /// The number of blocks.
    pub(crate) count: usize,
}

/// The blocks of a product; `None` if it is short, or its result is too large beside the arguments.
pub(crate) fn blocks(product: &MatMul) -> Option<Blocks> {
    let (terms, [left, right, _]) = (product.terms(), product.elements());
    let fit = (left + right) / (ARGUMENTS_OVER_RESULTS * len(product)).max(1);
    if terms <= MAX_WHOLE_TERMS || fit < 2 {
        return None;
    }
    let most = BLOCK_TERMS.max(terms.div_ceil(fit));
    let mut pieces = Vec::new();
    cut(Piece { starts: [0; 2], blocks: vec![], product: product.clone() }, most, &mut pieces);
    let len = len(product);
    let mut count = 0;
    let products = pieces.into_iter().map(|Piece { starts: [a, b], blocks, mut product }| {
        let start = [a, b, (count * len) as isize];
        product.strides[2] = [product.n as isize, 1];
        // The results of a block are dense, those of all its pairs too, and the results of blocks follow one another.
        let mut step = (product.m * product.n) as isize;
        for (size, strides) in product.batch.iter_mut().rev() {
            strides[2] = step;
            step *= *size as isize;
        }
        for &(size, [a, b]) in blocks.iter().rev() {
            product.batch.insert(0, (size, [a, b, step]));
            step *= size as isize;
        }
        if let Some(border) = &mut product.border {
            border.pairs.0 += blocks.len();
        }
        count += blocks.iter().map(|(size, _)| size).product::<usize>();
        (product, start)
    });
    let products = products.collect();
    Some(Blocks { products, count })
}

/// The number of elements of a result.
pub(crate) fn len(p: &MatMul) -> usize {
    p.m * p.n * p.pairs()
}

/// Splits the longest loop over terms until a block has at most `most` terms.
fn cut(piece: Piece, most: usize, pieces: &mut Vec<Piece>) {
    let Piece { starts, blocks, product } = &piece;
    let around = (0..product.sums.len()).filter(|&i| product.border.as_ref().is_none_or(|border| border.sum.0 != i));
    let loops = around.map(Inner::Around).chain([Inner::Axis]);
    let Some(longest) = loops.max_by_key(|&inner| size(product, inner)) else { return pieces.push(piece) };
    let all = size(product, longest);
    if product.terms() <= most || all == 1 {
        return pieces.push(piece);
    }
    // Blocks of sizes as equal as possible.
    let wanted = (most / (product.terms() / all)).max(1);
    let steps = all.div_ceil(all.div_ceil(wanted));
    let [a, b] = match longest {
        Inner::Axis => [product.strides[0][1], product.strides[1][0]],
        Inner::Around(i) => product.sums[i].1,
    };
    let moved = |steps: usize| [a * steps as isize, b * steps as isize];
    let of = |steps: usize| {
        let mut product = product.clone();
        match longest {
            Inner::Axis => product.k = steps,
            Inner::Around(i) => product.sums[i].0 = steps,
        }
        product
    };
    let (count, rest) = (all / steps, all % steps);
    let more = [&blocks[..], &[(count, moved(steps))]].concat();
    cut(Piece { starts: *starts, blocks: more, product: of(steps) }, most, pieces);
    if rest > 0 {
        let [a, b] = moved(count * steps);
        let starts = [starts[0] + a, starts[1] + b];
        cut(Piece { starts, blocks: blocks.clone(), product: of(rest) }, most, pieces);
    }
}

fn size(product: &MatMul, inner: Inner) -> usize {
    match inner {
        Inner::Axis => product.k,
        Inner::Around(i) => product.sums[i].0,
    }
}

/// The calls that add up the results of `count` blocks, which are at `from`, and write the sum to the result `to` of
/// the product.
pub(crate) fn add_up(p: &MatMul, count: usize, from: Operand, to: Operand, scratch: &mut Scratch) -> Vec<Call> {
    let len = len(p);
    let call = |outer: Vec<usize>, row, operands: Vec<(Operand, Vec<isize>)>, fills, each: Strip| {
        let (operands, strides) = operands.into_iter().unzip();
        let passes = vec![Pass { once: Strip::default(), each }];
        let kernel = LoopKernel { outer, row, operands: strides, fills, passes, ..LoopKernel::default() };
        Call { work: Work::Loop(kernel), operands, nodes: vec![], refused: None, shared_loops: SharedLoops::default() }
    };
    let load = |strip: &mut Strip| strip.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    // The other blocks are added to the first. All elements of a result are one row: the rows of the product may be
    // short.
    let mut others = Strip::default();
    let x = load(&mut others);
    add(&mut others, [1, 2], [Walk::Contiguous; 2], x);
    let compensation = scratch.add_shared(len);
    let second = Operand { offset: from.offset + len, ..from };
    let operands = vec![(second, vec![len as isize]), (from, vec![0]), (compensation, vec![0])];
    let sums = call(vec![count - 1], len, operands, vec![(2, len, 0)], others);
    let around: Vec<usize> = p.batch.iter().map(|(size, _)| *size).chain([p.m]).collect();
    let own: Vec<isize> = p.batch.iter().map(|(_, strides)| strides[2]).chain([p.strides[2][0]]).collect();
    let mut dense: Vec<isize> = vec![p.n as isize; around.len()];
    for i in (0..around.len() - 1).rev() {
        dense[i] = dense[i + 1] * around[i + 1] as isize;
    }
    let walk = if p.strides[2][1] == 1 { Walk::Contiguous } else { Walk::Strided(p.strides[2][1]) };
    let mut copy = Strip::default();
    let x = load(&mut copy);
    copy.effect(Effect::Store(1, walk, x));
    vec![sums, call(around, p.n, vec![(from, dense), (to, own)], vec![], copy)]
}
