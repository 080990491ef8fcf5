//! Loop kernels at every level that the machine has, against what they mean.

mod accuracy;
mod interpret;
mod random;

use interpret::{interpret, same};

use super::Level;
use super::loops::compile;
use super::strip::{Effect, Inst, Kind, Op1, Op2, Reg, Strip, Walk};
use crate::kernel::{LoopKernel, Pass};
use crate::ops::reduce::Reduce;

fn levels() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&level| level <= Level::best())
}

/// An operand while a test is made: where it starts, and what is in its memory.
#[derive(Clone, Debug)]
struct Memory {
    start: usize,
    words: Vec<u32>,
    kind: Kind,
    /// How far results may be off, relative to their size.
    tolerance: f32,
    /// The operand starts at address zero, and has no memory.
    nowhere: bool,
}

/// Elements before and behind an operand that nothing may touch.
const GUARD: usize = 20;

impl Memory {
    /// Room for all that a kernel reaches of an operand, with elements from `word`.
    fn new(kernel: &LoopKernel, operand: usize, walks: &[Walk], kind: Kind, word: impl Fn(usize) -> u32) -> Memory {
        let reach = |walk: &Walk| match *walk {
            Walk::Fixed => 0,
            Walk::Contiguous => 1,
            Walk::Strided(stride) => stride,
        };
        let mut ends = vec![(0isize, 0isize)];
        let along = |ends: &mut Vec<(isize, isize)>, by: isize| {
            let (low, high) = ends[0];
            ends[0] = (low + by.min(0), high + by.max(0));
        };
        for (&size, &stride) in kernel.outer.iter().zip(&kernel.operands[operand]) {
            along(&mut ends, (size as isize - 1) * stride);
        }
        let row = (kernel.row as isize - 1).max(0);
        let low = walks.iter().map(|w| (row * reach(w)).min(0)).min().unwrap_or(0);
        let high = walks.iter().map(|w| (row * reach(w)).max(0)).max().unwrap_or(0);
        let filled = kernel.fills.iter().filter(|fill| fill.0 == operand).map(|fill| fill.1).max().unwrap_or(0);
        let (low, high) = (ends[0].0 + low, (ends[0].1 + high).max(filled as isize));
        let len = (high - low) as usize + 1 + 2 * GUARD;
        Memory {
            start: GUARD + (-low) as usize,
            words: (0..len).map(word).collect(),
            kind,
            tolerance: 0.0,
            nowhere: false,
        }
    }
}

/// Runs a kernel at every level, whole and in parts, and compares with what it means.
fn check(kernel: &LoopKernel, memories: &[Memory]) {
    let starts: Vec<usize> = memories.iter().map(|m| if m.nowhere { 0 } else { m.start }).collect();
    let mut expected: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
    interpret(kernel, &mut expected, &starts);
    for level in levels() {
        #[cfg(target_arch = "x86_64")]
        if level > Level::Portable {
            let emitted = super::wide::machine_code(kernel, level).unwrap_or_else(|e| panic!("{level:?}: {e}"));
            assert!(emitted.is_some(), "{level:?} leaves it to Cranelift: {kernel:?}");
        }
        let compiled = compile(&[kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}\n{kernel:?}")).remove(0);
        let turns = kernel.turns();
        let parts = if kernel.split().is_some() {
            vec![vec![turns], vec![turns / 3, turns / 2, turns]]
        } else {
            vec![vec![turns]]
        };
        for ends in parts {
            let mut found: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
            let pointers: Vec<*mut u8> = found
                .iter_mut()
                .zip(memories)
                .map(
                    |(words, m)| {
                        if m.nowhere { std::ptr::null_mut() } else { words.as_mut_ptr().wrapping_add(m.start).cast() }
                    },
                )
                .collect();
            let mut from = 0;
            for &to in &ends {
                // SAFETY: every memory has room for all that the kernel reaches.
                unsafe { compiled.run_range(pointers.as_ptr(), from, to) };
                from = to;
            }
            for (operand, m) in memories.iter().enumerate() {
                for (i, (&a, &b)) in found[operand].iter().zip(&expected[operand]).enumerate() {
                    assert!(
                        same(m.kind, a, b, m.tolerance),
                        "{level:?} in parts to {ends:?}: operand {operand}, element {} is {a:#x} ({}), expected {b:#x} ({})\n{kernel:#?}",
                        i as isize - m.start as isize,
                        f32::from_bits(a),
                        f32::from_bits(b),
                    );
                }
            }
        }
    }
}
