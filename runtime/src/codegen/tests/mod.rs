//! Loop kernels at every level that the machine has, against what they mean.

mod accuracy;
mod fallback;
mod interpret;
mod random;

use interpret::{interpret, same};

use super::loops::{CompiledLoop, compile, compile_without_fma};
use crate::exec::run::{Regions, Side};
use crate::ir::Level;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Op1, Op2, Reg, Strip, Walk};
use crate::kernel::{Operand, Storage, unrolled};

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
    /// The operand has no memory: the numbers of its elements count from address zero.
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
            Walk::Repeated(_) => 1,
        };
        let mut ends = vec![(0isize, 0isize)];
        let along = |ends: &mut Vec<(isize, isize)>, by: isize| {
            let (low, high) = ends[0];
            ends[0] = (low + by.min(0), high + by.max(0));
        };
        for (&size, &stride) in kernel.outer.iter().zip(&kernel.operands[operand]) {
            along(&mut ends, (size as isize - 1) * stride);
        }
        let row = |walk: &Walk| match *walk {
            Walk::Repeated(times) => (kernel.row as isize - 1).max(0) / times as isize,
            _ => (kernel.row as isize - 1).max(0),
        };
        let low = walks.iter().map(|w| (row(w) * reach(w)).min(0)).min().unwrap_or(0);
        let high = walks.iter().map(|w| (row(w) * reach(w)).max(0)).max().unwrap_or(0);
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

    /// The operand, if its first element is the one at `start` of a memory.
    fn pointer(&self, memory: *mut u32, start: usize) -> *mut u8 {
        match self.nowhere {
            true => std::ptr::without_provenance_mut(4 * self.start),
            false => memory.wrapping_add(start).cast(),
        }
    }
}

/// Runs a kernel at every level, whole and in parts, and compares with what it means.
fn check(kernel: &LoopKernel, memories: &[Memory]) {
    let starts: Vec<usize> = memories.iter().map(|m| m.start).collect();
    let mut expected: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
    interpret(kernel, &mut expected, &starts);
    for level in levels() {
        #[cfg(target_arch = "x86_64")]
        if level > Level::Portable {
            let emitted = super::x86::machine_code(kernel, level).unwrap_or_else(|e| panic!("{level:?}: {e}"));
            // Only strips with hundreds of values that live at once need a larger frame than there is.
            let moderate = kernel.passes.iter().all(|pass| pass.each.insts().len() <= 200);
            assert!(emitted.is_ok() || !moderate, "{level:?} leaves it to Cranelift: {kernel:?}");
        }
        let compiled = compile(&[kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}\n{kernel:?}")).remove(0);
        let all = kernel.iterations();
        // Scratch memory is shared here: the parts run one after the other.
        let parts = if kernel.fills.is_empty() && kernel.is_split(|_| true) {
            vec![vec![all], vec![all / 3, all / 2, all]]
        } else {
            vec![vec![all]]
        };
        for ends in parts {
            let found = plain(&compiled, &ends, memories);
            let part = |m: &Memory| if m.nowhere { 0..m.words.len() } else { GUARD..m.words.len() - GUARD };
            let results = [Side::Start, Side::End].map(|side| guarded(&compiled, &ends, memories, side));
            for (operand, m) in memories.iter().enumerate() {
                let between = results.iter().map(|found| (part(m), &found[operand]));
                for (range, found) in std::iter::once((0..m.words.len(), &found[operand])).chain(between) {
                    let first = range.start as isize - m.start as isize;
                    for (i, (&a, &b)) in found.iter().zip(&expected[operand][range]).enumerate() {
                        assert!(
                            same(m.kind, a, b, m.tolerance),
                            "{level:?} in parts to {ends:?}: operand {operand}, element {} is {a:#x} ({}), expected {b:#x} ({})\n{kernel:#?}",
                            i as isize + first,
                            f32::from_bits(a),
                            f32::from_bits(b),
                        );
                    }
                }
            }
        }
    }
}

/// Runs a kernel in ranges that end at these iterations, and gives what is in its memory then.
fn plain(compiled: &CompiledLoop, ends: &[usize], memories: &[Memory]) -> Vec<Vec<u32>> {
    let mut found: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
    let pointers: Vec<*mut u8> =
        found.iter_mut().zip(memories).map(|(words, m)| m.pointer(words.as_mut_ptr(), m.start)).collect();
    run(compiled, ends, &pointers);
    found
}

/// The same with what the kernel may reach of each memory between pages that cannot be touched.
fn guarded(compiled: &CompiledLoop, ends: &[usize], memories: &[Memory], side: Side) -> Vec<Vec<u32>> {
    let mut regions = Regions::new(side);
    let inside = |m: &Memory| m.words.len() - 2 * GUARD;
    let starts: Vec<usize> = memories.iter().map(|m| if m.nowhere { 0 } else { regions.add(inside(m)) }).collect();
    let mut buffer = regions.buffer().unwrap_or_else(|e| panic!("{e}"));
    let memory: *mut u32 = buffer.as_mut_ptr().cast();
    let mut pointers = Vec::new();
    for (m, &start) in memories.iter().zip(&starts) {
        if !m.nowhere {
            // SAFETY: the region is as long as what is copied.
            unsafe { std::ptr::copy_nonoverlapping(m.words[GUARD..].as_ptr(), memory.add(start), inside(m)) };
        }
        pointers.push(m.pointer(memory, start + m.start.wrapping_sub(GUARD)));
    }
    run(compiled, ends, &pointers);
    let words = |(m, &start): (&Memory, &usize)| match m.nowhere {
        true => m.words.clone(),
        // SAFETY: as above, and the kernel is done.
        false => unsafe { std::slice::from_raw_parts(memory.add(start), inside(m)).to_vec() },
    };
    memories.iter().zip(&starts).map(words).collect()
}

fn run(compiled: &CompiledLoop, ends: &[usize], pointers: &[*mut u8]) {
    let mut from = 0;
    for &to in ends {
        // SAFETY: every memory is as long as the kernel's accesses reach.
        unsafe { compiled.run(pointers.as_ptr(), from, to) };
        from = to;
    }
}

/// A kernel of one pass.
fn kernel(outer: Vec<usize>, row: usize, operands: Vec<Vec<isize>>, each: Strip) -> LoopKernel {
    LoopKernel { outer, row, operands, passes: vec![Pass { once: Strip::default(), each }], ..LoopKernel::default() }
}

#[test]
fn results_may_take_the_place_of_arguments() {
    // An update in place: two operands are the same memory, and both are written after all is read.
    let mut s = Strip::default();
    let a = s.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    let b = s.push(Inst::Load(1, Walk::Contiguous, Kind::Float), Kind::Float);
    let sum = s.add(a, b);
    s.effect(Effect::Store(2, Walk::Contiguous, sum));
    let c = s.push(Inst::Load(3, Walk::Contiguous, Kind::Float), Kind::Float);
    let product = s.mul(sum, c);
    s.effect(Effect::Store(4, Walk::Contiguous, product));
    for len in [1, 7, 16, 50, 200] {
        let kernel = kernel(vec![], len, vec![vec![]; 5], s.clone());
        for level in levels() {
            let mut x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let mut y: Vec<f32> = (0..len).map(|i| i as f32 + 0.5).collect();
            let (px, py): (*mut u8, *mut u8) = (x.as_mut_ptr().cast(), y.as_mut_ptr().cast());
            let compiled = compile(&[&kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
            // SAFETY: all operands are one of two rows of the kernel's length.
            unsafe { compiled.run([px, py, py, py, px].as_ptr(), 0, kernel.iterations()) };
            for i in 0..len {
                let (a, b) = (i as f32, i as f32 + 0.5);
                assert_eq!((x[i], y[i]), ((a + b) * b, a + b), "{level:?}, element {i} of {len}");
            }
        }
    }
}

#[test]
fn what_can_be_split() {
    let mut copy = Strip::default();
    let x = copy.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    let mut sum = copy.clone();
    copy.effect(Effect::Store(1, Walk::Contiguous, x));
    sum.effect(Effect::Accumulate(1, Walk::Contiguous, Reduce::Sum, x));
    let mut fold = copy.clone();
    fold.effect(Effect::Fold(0, Reduce::Sum, x));
    let around = |strides: isize, each: &Strip| kernel(vec![5], 8, vec![vec![8], vec![strides]], each.clone());
    let none = |_: usize| false;
    assert!(around(8, &copy).is_split(none) && around(8, &fold).is_split(none) && around(8, &sum).is_split(none));
    // A row that all iterations write must be scratch memory of each thread; sums over rows cannot be split.
    assert!(!around(0, &copy).is_split(none) && around(0, &copy).is_split(|operand| operand == 1));
    assert!(!around(0, &sum).is_split(none));
    let flat = |each: &Strip| kernel(vec![], 8, vec![vec![], vec![]], each.clone());
    assert!(flat(&copy).is_split(none) && flat(&sum).is_split(none) && !flat(&fold).is_split(none));
    let mut filled = around(8, &copy);
    filled.fills.push((1, 40, 0));
    assert!(filled.is_split(none), "what is filled is taken out of a kernel that is split");
    assert_eq!((filled.iterations(), flat(&copy).iterations()), (5, 8));
}

#[test]
fn the_order_of_a_sum_depends_on_its_length_alone() {
    let mut s = Strip::default();
    let x = s.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    s.effect(Effect::Fold(0, Reduce::Sum, x));
    let mut once = Strip::default();
    let total = once.push(Inst::Scalar(0), Kind::Float);
    once.effect(Effect::Store(1, Walk::Fixed, total));
    let mut kernel = kernel(vec![4], 333, vec![vec![0], vec![1]], s);
    kernel.scalars = 1;
    kernel.passes.push(Pass { once, each: Strip::default() });
    let x: Vec<f32> = (0..333).map(|i| (i as f32 * 0.37).sin()).collect();
    for level in levels() {
        let compiled = compile(&[&kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
        // At whatever address the row starts.
        for shift in 0..4 {
            let mut moved = vec![0.0; shift];
            moved.extend(&x);
            let mut sums = [0f32; 4];
            let row: *mut f32 = moved[shift..].as_mut_ptr();
            // SAFETY: a row of the kernel's length, and memory for four sums.
            unsafe { compiled.run([row.cast(), sums.as_mut_ptr().cast()].as_ptr(), 0, kernel.iterations()) };
            assert!(sums.iter().all(|s| s.to_bits() == sums[0].to_bits()), "{level:?}: {sums:?}");
            let exact: f64 = x.iter().map(|&x| x as f64).sum();
            assert!((sums[0] as f64 - exact).abs() < 1e-4, "{level:?}: {} is not {exact}", sums[0]);
        }
    }
}

/// Multiples of a row, some with a function of many instructions, each added up; and the largest element of each.
fn multiples(row: usize, of: &[(f32, bool)]) -> LoopKernel {
    let (mut each, mut once) = (Strip::default(), Strip::default());
    let x = each.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    for (i, &(factor, long)) in of.iter().enumerate() {
        let factor = each.float(factor);
        let mut term = each.mul(x, factor);
        for _ in 0..if long { 20 } else { 0 } {
            let root = each.sqrt(term);
            term = each.fma(root, x, term);
        }
        each.effect(Effect::Fold(2 * i, Reduce::Sum, term));
        each.effect(Effect::Fold(2 * i + 1, Reduce::Max, term));
        for scalar in [2 * i, 2 * i + 1] {
            let total = once.push(Inst::Scalar(scalar), Kind::Float);
            once.effect(Effect::Store(1 + scalar, Walk::Fixed, total));
        }
    }
    let operands = std::iter::once(vec![row as isize]).chain((0..2 * of.len()).map(|_| vec![1])).collect();
    let passes = vec![Pass { once: Strip::default(), each }, Pass { once, each: Strip::default() }];
    LoopKernel { outer: vec![2], row, operands, scalars: 2 * of.len(), passes, ..LoopKernel::default() }
}

#[test]
fn sums_are_right_to_a_millionth_and_the_same_beside_others() {
    let all: Vec<(f32, bool)> = (0..7).map(|i| (0.1 + i as f32 / 7.0, i % 3 == 1)).collect();
    for row in [1, 7, 30, 64, 100, 255, 512, 513, 1025, 1100, 4096, 5003, 70_000] {
        let mut x: Vec<f32> = (0..2 * row).map(|i| 0.1 + (i % 13) as f32 / 13.0).collect();
        for level in levels() {
            let mut sums = |of: &[(f32, bool)]| {
                let kernel = multiples(row, of);
                #[cfg(target_arch = "x86_64")]
                for level in [Level::Avx2, Level::Avx512] {
                    let emitted = super::x86::machine_code(&kernel, level).expect("all that is used has a code");
                    assert!(emitted.is_ok(), "{level:?}");
                }
                let compiled = compile(&[&kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
                let mut found = vec![[0f32; 2]; 2 * of.len()];
                let mut pointers: Vec<*mut u8> = vec![x.as_mut_ptr().cast()];
                pointers.extend(found.iter_mut().map(|sums| sums.as_mut_ptr().cast::<u8>()));
                // SAFETY: two rows of the kernel's length, and memory for as many sums each.
                unsafe { compiled.run(pointers.as_ptr(), 0, 2) };
                found
            };
            let together = sums(&all);
            for (i, &(factor, long)) in all.iter().enumerate() {
                let alone = sums(&[(factor, long)]);
                let bits = |sums: &[[f32; 2]]| sums.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u32>>();
                assert_eq!(bits(&alone), bits(&together[2 * i..][..2]), "{level:?}, {row} numbers, sum {i}");
            }
            let two = sums(&[all[3], all[5], (0.1, false), (0.1, false)]);
            for (factor, found) in [(all[3].0, two[0]), (all[5].0, two[2]), (0.1, two[4])] {
                for (found, x) in found.iter().zip(x.chunks(row)) {
                    let exact: f64 = x.iter().map(|&x| f64::from(x * factor)).sum();
                    let error = (f64::from(*found) / exact - 1.0).abs();
                    assert!(error < 1e-6, "{level:?}, {row} numbers times {factor}: {found} is not {exact}");
                }
            }
        }
    }
}

#[test]
fn tiles_compute_the_same() {
    for (row, tile) in [(64, 16), (72, 24), (96, 16), (40, 40), (67, 67)] {
        // A transposing copy of two matrices, with the number of each element added.
        let mut s = Strip::default();
        let x = s.push(Inst::Load(0, Walk::Strided(20), Kind::Int), Kind::Int);
        let number = s.push(Inst::Number(2, Walk::Contiguous), Kind::Int);
        let sum = s.iadd(x, number);
        s.effect(Effect::Store(1, Walk::Contiguous, sum));
        let len = 20 * row as isize;
        let plain = kernel(vec![2, 20], row, vec![vec![len, 1], vec![len, row as isize], vec![len, row as isize]], s);
        let tiled = plain.clone().tiled();
        assert_eq!(tiled.row, tile);
        let walks = [Walk::Strided(20), Walk::Contiguous, Walk::Contiguous];
        let mut memories: Vec<Memory> =
            (0..3).map(|i| Memory::new(&plain, i, &walks[i..=i], Kind::Int, |word| word as u32 * 7)).collect();
        (memories[2].start, memories[2].nowhere) = (0, true);
        let starts: Vec<usize> = memories.iter().map(|m| m.start).collect();
        let [a, b] = [&plain, &tiled].map(|kernel| {
            let mut words: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
            interpret(kernel, &mut words, &starts);
            words
        });
        assert!(a == b, "rows of {row}");
        check(&tiled, &memories);
    }
}

#[test]
fn rows_in_turns_compute_the_same() {
    // Sums over two loops, of short rows, within planes; the order of additions is that of these loops.
    for (planes, rows, turns) in [(3, 12, Some(12)), (2, 10, Some(10)), (2, 34, None), (1, 40, Some(10))] {
        let mut s = Strip::default();
        let x = s.push(Inst::Load(0, Walk::Strided(2), Kind::Float), Kind::Float);
        s.effect(Effect::Accumulate(1, Walk::Contiguous, Reduce::Sum, x));
        let (row, line) = (7, 14);
        let x_strides = vec![2 * rows * line, 2 * line, line, 1];
        let y_strides = vec![rows * row as isize, row as isize, 0, 0];
        let plain = kernel(vec![planes, rows as usize, 2, 2], row, vec![x_strides, y_strides], s);
        let moved = plain.clone().interchanged();
        assert_eq!(moved.outer.last().copied().filter(|_| moved != plain), turns);
        let walks = [Walk::Strided(2), Walk::Contiguous];
        let number = |word: usize| ((word % 101) as f32 * 0.37).to_bits();
        let memories: Vec<Memory> =
            (0..2).map(|i| Memory::new(&plain, i, &walks[i..=i], Kind::Float, number)).collect();
        let starts: Vec<usize> = memories.iter().map(|m| m.start).collect();
        let [a, b] = [&plain, &moved].map(|kernel| {
            let mut words: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
            interpret(kernel, &mut words, &starts);
            words
        });
        assert!(a == b, "{planes} planes of {rows} rows");
        check(&moved, &memories);
    }
}

#[test]
fn rows_side_by_side_compute_the_same() {
    // Rows less their largest element, which are kept in scratch memory, their sums, and the sum of all rows.
    let (mut less, mut sum) = (Strip::default(), Strip::default());
    let mut largest = Strip::default();
    let x = largest.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    largest.effect(Effect::Store(1, Walk::Contiguous, x));
    largest.effect(Effect::Fold(0, Reduce::Max, x));
    let [x, most] = [Inst::Load(1, Walk::Contiguous, Kind::Float), Inst::Scalar(0)].map(|i| less.push(i, Kind::Float));
    let rest = less.sub(x, most);
    less.effect(Effect::Store(1, Walk::Contiguous, rest));
    less.effect(Effect::Fold(1, Reduce::Sum, rest));
    let mut once = Strip::default();
    let total = once.push(Inst::Scalar(1), Kind::Float);
    once.effect(Effect::Store(2, Walk::Fixed, total));
    let x = sum.push(Inst::Load(1, Walk::Contiguous, Kind::Float), Kind::Float);
    sum.effect(Effect::Accumulate(3, Walk::Contiguous, Reduce::Sum, x));
    let passes = [(Strip::default(), largest), (Strip::default(), less), (once, sum)];
    let row = 9;
    for (outer, parts, rows) in
        [(vec![32], 1, 4), (vec![32], 8, 4), (vec![32], 5, 1), (vec![3, 6], 3, 3), (vec![5], 1, 1)]
    {
        let mut plain = LoopKernel { outer: outer.clone(), row, scalars: 2, ..LoopKernel::default() };
        plain.passes = passes.iter().cloned().map(|(once, each)| Pass { once, each }).collect();
        let count = outer.iter().product::<usize>();
        let dense = |inner: isize| match outer[..] {
            [_, rows] => vec![rows as isize * inner, inner],
            _ => vec![inner],
        };
        plain.operands = vec![dense(row as isize), dense(0), dense(1), dense(0)];
        let mut moved = plain.clone();
        assert_eq!(moved.unroll_and_jam(parts, |operand| operand == 1), rows, "{outer:?} in {parts} parts");
        assert_eq!((moved.side_by_side, moved.outer.iter().product::<usize>()), (rows > 1, count));
        let number = |word: usize| ((word % 101) as f32 * 0.37).to_bits();
        let memories: Vec<Memory> = (0..4)
            .map(|i| {
                let walk = if i == 2 { Walk::Fixed } else { Walk::Contiguous };
                let mut memory = Memory::new(&moved, i, &[walk], Kind::Float, number);
                memory.tolerance = 1e-4;
                memory
            })
            .collect();
        let starts: Vec<usize> = memories.iter().map(|m| m.start).collect();
        let [a, b] = [&plain, &moved].map(|kernel| {
            let mut words: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
            interpret(kernel, &mut words, &starts);
            // All but the scratch memory.
            words.remove(1);
            words
        });
        assert!(a == b, "{outer:?} in {parts} parts");
        check(&moved, &memories);
    }
}

#[test]
fn interleaved_rows_compute_the_same() {
    // The gradient of a pool: each number goes to the places of a window, if it is the largest.
    for (columns, window, merged) in [(7, 2, true), (40, 4, true), (16, 2, true), (5, 3, false)] {
        let mut s = Strip::default();
        let x = s.push(Inst::Load(0, Walk::Strided(window), Kind::Float), Kind::Float);
        let y = s.push(Inst::Load(1, Walk::Contiguous, Kind::Float), Kind::Float);
        let by = s.push(Inst::Load(2, Walk::Fixed, Kind::Float), Kind::Float);
        let number = s.push(Inst::Number(4, Walk::Strided(window)), Kind::Int);
        let number = s.to_float(number);
        let product = s.fma(x, by, number);
        let least = s.lt(x, y);
        let result = s.select(least, product, y);
        s.effect(Effect::Store(3, Walk::Strided(window), result));
        let wide = columns * window;
        let every = vec![wide * window, wide, 1];
        let operands = vec![every.clone(), vec![columns, 0, 0], vec![1, 0, 0], every.clone(), every];
        let plain = kernel(vec![3, window as usize, window as usize], columns as usize, operands, s);
        let moved = plain.clone().interleaved();
        let row = if merged { wide } else { columns };
        assert_eq!((moved.row, moved.outer.len()), (row as usize, 3 - merged as usize), "windows of {window}");
        let walks =
            [Walk::Strided(window), Walk::Contiguous, Walk::Fixed, Walk::Strided(window), Walk::Strided(window)];
        let number = |word: usize| ((word % 101) as f32 * 0.37).to_bits();
        let mut memories: Vec<Memory> =
            (0..5).map(|i| Memory::new(&plain, i, &walks[i..=i], Kind::Float, number)).collect();
        (memories[4].start, memories[4].nowhere) = (0, true);
        same_results(&plain, &moved, &memories);
        check(&moved, &memories);
    }
}

#[test]
fn sums_over_windows_are_straight_lines() {
    for (op, window, line) in
        [(Reduce::Max, 2, true), (Reduce::Sum, 3, true), (Reduce::Prod, 2, true), (Reduce::Sum, 5, false)]
    {
        let mut s = Strip::default();
        let x = s.push(Inst::Load(0, Walk::Strided(2), Kind::Float), Kind::Float);
        let y = s.push(Inst::Load(1, Walk::Contiguous, Kind::Float), Kind::Float);
        let number = s.push(Inst::Number(2, Walk::Strided(2)), Kind::Int);
        let number = s.to_float(number);
        let half = s.float(1.0 / 64.0);
        let shifted = s.fma(number, half, x);
        let less = s.sub(shifted, y);
        s.effect(Effect::Accumulate(3, Walk::Contiguous, op, less));
        // Planes of 6 rows of 7, each of a window that overlaps the next.
        let every = vec![400, 1, 40, 20];
        let operands = vec![every.clone(), vec![42, 0, 7, 0], every, vec![42, 0, 7, 0]];
        let (planes, rows, row) = (3, 6, 7);
        let mut plain = kernel(vec![planes, window, rows, window], row, operands, s);
        let whole = planes * rows * row;
        plain.fills.push((3, whole, op.identity().to_bits()));
        let plain_operands: Vec<Operand> =
            (0..4).map(|i| Operand { storage: Storage::Scratch(i), offset: 0 }).collect();
        let Some((moved, places)) = unrolled(&plain, &plain_operands) else {
            assert!(!line, "{op:?} over {window} by {window}");
            continue;
        };
        assert!(line && moved.fills.is_empty() && moved.outer == [planes, rows], "{op:?}: {moved:?}");
        let walks = [Walk::Strided(2), Walk::Contiguous, Walk::Strided(2), Walk::Contiguous];
        let number = |word: usize| ((word % 101) as f32 * 0.013 + 0.5).to_bits();
        let mut memories: Vec<Memory> =
            (0..4).map(|i| Memory::new(&plain, i, &walks[i..=i], Kind::Float, number)).collect();
        (memories[2].start, memories[2].nowhere) = (0, true);
        let place = |place: &Operand| match place.storage {
            Storage::Scratch(i) => Memory { start: memories[i].start + place.offset, ..memories[i].clone() },
            _ => unreachable!("operands of the test are scratch memory"),
        };
        let places: Vec<Memory> = places.iter().map(place).collect();
        let [a, b] = [(&plain, &memories), (&moved, &places)].map(|(kernel, memories)| {
            let mut words: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
            interpret(kernel, &mut words, &memories.iter().map(|m| m.start).collect::<Vec<_>>());
            words.swap_remove(3)
        });
        assert!(a == b, "{op:?} over {window} by {window}");
        check(&moved, &places);
    }
}

/// Two kernels leave the same bits behind.
fn same_results(a: &LoopKernel, b: &LoopKernel, memories: &[Memory]) {
    let starts: Vec<usize> = memories.iter().map(|m| m.start).collect();
    let [x, y] = [a, b].map(|kernel| {
        let mut words: Vec<Vec<u32>> = memories.iter().map(|m| m.words.clone()).collect();
        interpret(kernel, &mut words, &starts);
        words
    });
    assert!(x == y, "{a:#?}\n{b:#?}");
}
