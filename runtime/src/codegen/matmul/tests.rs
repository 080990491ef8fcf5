//! Products at every level that the machine has, against sums in f64.

use super::{Product, compile, compile_checked};
use crate::exec::run::{Regions, Side};
use crate::ir::Level;
use crate::ir::product::{Border, MatMul, scratch};

/// Elements behind the result that nothing may touch.
const BEHIND: usize = 16;

/// Numbers in memory that ends where the last matrix ends.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn levels() -> impl Iterator<Item = Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&level| level <= Level::best())
}

/// Where the last element of an operand is, and one more.
fn extent(sizes: &[(usize, isize)]) -> usize {
    if sizes.iter().any(|s| s.0 == 0) { 0 } else { 1 + sizes.iter().map(|s| (s.0 - 1) * s.1 as usize).sum::<usize>() }
}

/// Runs a product at every level and compares.
fn check(p: &MatMul) {
    let [[ar, ac], [br, bc], [cr, cc]] = p.strides;
    let along = |i: usize| p.batch.iter().map(move |(size, strides)| (*size, strides[i]));
    let len = |i, rows, columns| extent(&along(i).chain([rows, columns]).collect::<Vec<_>>());
    let reach = |i: usize| p.sums.iter().map(|(size, s)| (size - 1) * s[i] as usize).sum::<usize>();
    let a = numbers(len(0, (p.m, ar), (p.k, ac)) + reach(0), 1);
    let b = numbers(len(1, (p.k, br), (p.n, bc)) + reach(1), 2);
    let mut want = vec![7.0; len(2, (p.m, cr), (p.n, cc)) + BEHIND];
    let pairs: usize = p.batch.iter().map(|b| b.0).product();
    for pair in 0..pairs {
        let (mut rest, mut start, mut border) = (pair, [0; 3], 0);
        for (axis, (size, strides)) in p.batch.iter().enumerate().rev() {
            if let Some(Border { pairs: (pairs, step), .. }) = p.border
                && pairs == axis
            {
                border = (rest % size) as isize * step;
            }
            for (start, stride) in start.iter_mut().zip(strides) {
                *start += rest % size * *stride as usize;
            }
            rest /= size;
        }
        for i in 0..p.m {
            for j in 0..p.n {
                let a = |k: usize, at: usize| a[start[0] + at + i * ar as usize + k * ac as usize] as f64;
                let b = |k: usize, at: usize| b[start[1] + at + k * br as usize + j * bc as usize] as f64;
                let mut starts = vec![(0, 0)];
                for (axis, (size, s)) in p.sums.iter().enumerate() {
                    let counts = |l: &usize| match &p.border {
                        Some(Border { sum: (sum, step), range, .. }) if *sum == axis => {
                            range.contains(&(border + *l as isize * step))
                        }
                        _ => true,
                    };
                    let step = |&(x, y): &(usize, usize)| {
                        (0..*size).filter(counts).map(move |l| (x + l * s[0] as usize, y + l * s[1] as usize))
                    };
                    starts = starts.iter().flat_map(step).collect();
                }
                let products = starts.iter().flat_map(|&(x, y)| (0..p.k).map(move |k| a(k, x) * b(k, y)));
                want[start[2] + i * cr as usize + j * cc as usize] = products.sum::<f64>() as f32;
            }
        }
    }
    for level in levels() {
        let mut scratch = vec![f32::NAN; scratch(p, level)];
        let mut c = vec![7.0; want.len()];
        let product = compile(&[p], level).unwrap_or_else(|e| panic!("{p:?} at {level:?}: {e}")).remove(0);
        run(&product, a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), scratch.as_mut_ptr());
        let len = want.len() - BEHIND;
        let between = |side| guarded(&product, [&a, &b], len, scratch.len(), side);
        for c in [c, between(Side::Start), between(Side::End)] {
            for (i, (x, y)) in c.iter().zip(&want).enumerate() {
                let terms = p.k * p.sums.iter().map(|s| s.0).product::<usize>();
                let near = (x - y).abs() <= 1e-6 * (terms as f32 + 16.0);
                assert!(near, "{p:?} at {level:?}: element {i} is {x}, not {y}");
            }
        }
    }
}

/// Computes all parts of a product.
fn run(product: &Product, a: *const f32, b: *const f32, c: *mut f32, scratch: *mut f32) {
    // The parts do not depend on each other: they come in any order.
    for unit in (0..product.units()).rev() {
        // SAFETY: all operands have the length that the sizes and strides say.
        unsafe { product.run(unit..unit + 1, a, b, c, scratch) };
    }
}

/// The result if each operand is between pages that cannot be touched.
fn guarded(product: &Product, [a, b]: [&[f32]; 2], len: usize, scratch: usize, side: Side) -> Vec<f32> {
    let mut regions = Regions::new(side);
    let starts = [a.len(), b.len(), len, scratch].map(|len| regions.add(len));
    let mut buffer = regions.buffer().unwrap_or_else(|e| panic!("{e}"));
    let [to_a, to_b, c, scratch] = starts.map(|start| buffer.as_mut_ptr().wrapping_add(start));
    // SAFETY: the regions are as long as what is copied and written; nothing else has them.
    unsafe {
        std::ptr::copy_nonoverlapping(a.as_ptr(), to_a, a.len());
        std::ptr::copy_nonoverlapping(b.as_ptr(), to_b, b.len());
        std::slice::from_raw_parts_mut(c, len).fill(7.0);
    }
    run(product, to_a, to_b, c, scratch);
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(c, len) }.to_vec()
}

/// A product of dense matrices, stored transposed or not, the right one perhaps with gaps.
fn dense(m: usize, n: usize, k: usize, ta: bool, tb: bool) -> MatMul {
    let matrix = |rows: usize, columns: usize, transposed: bool| {
        if transposed { [1, rows as isize] } else { [columns as isize, 1] }
    };
    let strides = [matrix(m, k, ta), matrix(k, n, tb), matrix(m, n, false)];
    MatMul { m, n, k, strides, ..MatMul::default() }
}

const SIZES: [usize; 19] = [1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100];

#[test]
fn all_sizes_of_two_dimensions() {
    for (i, &x) in SIZES.iter().enumerate() {
        for (j, &y) in SIZES.iter().enumerate() {
            let z = SIZES[(3 * i + 7 * j) % SIZES.len()];
            let transposed = |bit: usize| (i + j) >> bit & 1 == 1;
            let (m, n, k) = [(x, y, z), (z, x, y), (y, z, x)][(i + 2 * j) % 3];
            check(&dense(m, n, k, transposed(0), transposed(1)));
        }
    }
}

#[test]
fn long_sums_and_many_rows() {
    for (m, n, k) in [(5, 40, 1000), (70, 33, 769), (100, 130, 513), (1, 200, 2000), (3, 1, 900), (20, 7, 1537)] {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            check(&dense(m, n, k, ta, tb));
        }
    }
    // Rows a multiple of 4 KiB apart; too few rows to turn the right matrix.
    check(&dense(40, 70, 1024, false, false));
    for m in 1..=8 {
        for (n, k) in [(1, 33), (7, 64), (17, 100), (50, 257)] {
            check(&dense(m, n, k, false, true));
        }
    }
    check(&dense(1600, 40, 9, false, true));
}

#[test]
fn large_matrices() {
    for (m, n, k) in [(29, 270, 503), (7, 130, 1101), (1, 300, 450), (45, 600, 260), (400, 350, 9)] {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            check(&dense(m, n, k, ta, tb));
        }
        // Columns of the left matrix that are far apart: it is packed, where one part reads it often.
        let [_, b, c] = dense(m, n, k, true, false).strides;
        for whole in [false, true] {
            check(&MatMul { m, n, k, whole, strides: [[1, 600], b, c], ..MatMul::default() });
        }
    }
}

#[test]
fn views() {
    // Rows of a wider matrix, every second row, one row for all, one element for all, any strides.
    for strides in [[[40, 1], [70, 1]], [[80, 1], [140, 1]], [[0, 1], [0, 1]], [[0, 0], [0, 0]], [[3, 50], [2, 99]]] {
        for (m, n, k) in [(17, 37, 19), (40, 64, 16), (2, 100, 5), (60, 1, 30), (33, 90, 700)] {
            let strides = [strides[0], strides[1], [n as isize + 3, 1]];
            check(&MatMul { m, n, k, strides, ..MatMul::default() });
            let [a, b, c] = strides;
            check(&MatMul { m, n, k, strides: [a, [b[1], b[0]], c], ..MatMul::default() });
        }
    }
}

#[test]
fn sums_over_several_axes() {
    // Windows of an image: columns, or the inner dimension, go along its rows; channels and rows of a window
    // are loops around.
    for (m, n, k) in [(6, 28, 5), (16, 10, 3), (1, 33, 1), (20, 7, 4), (5, 3, 17), (6, 5, 28), (7, 6, 40), (3, 1, 50)] {
        for sums in [vec![(5, [40, 90])], vec![(3, [70, 300]), (5, [7, 31])], vec![(2, [60, 0]), (1, [0, 9])]] {
            for strides in [[[50, 1], [1, 1]], [[1, 60], [35, 1]], [[45, 1], [2, 3]], [[45, 1], [1, 50]]] {
                let [a, b] = strides;
                let batch = vec![(2, [11, 13, (m * n) as isize])];
                let strides = [a, b, [n as isize, 1]];
                check(&MatMul { m, n, k, strides, sums: sums.clone(), batch, ..MatMul::default() });
            }
        }
    }
    // As many loops as there are.
    let sums = vec![(2, [100, 3]), (3, [10, 40]), (2, [5, 200])];
    check(&MatMul { m: 4, n: 20, k: 5, strides: [[50, 1], [7, 1], [20, 1]], sums, ..MatMul::default() });
}

#[test]
fn columns_of_the_result_that_are_apart() {
    for (m, n, k) in [(25, 16, 7), (10, 16, 5), (5, 6, 30), (31, 40, 9), (9, 33, 64), (1, 20, 3), (28, 3, 600)] {
        // Rows one behind the other, or with gaps; the whole inner dimension, loops around it, no panel as it is.
        for c in [[1, m as isize + 2], [2, 2 * m as isize], [3 * n as isize, 3]] {
            for sums in [vec![], vec![(3, [40, 90])], vec![(2, [9, 300]), (3, [7, 31])]] {
                for (a, b) in [([3, 1], [n as isize, 1]), ([1, 40], [1, 70]), ([50, 1], [1, 70])] {
                    check(&MatMul {
                        m,
                        n,
                        k,
                        strides: [a, b, c],
                        sums: sums.clone(),
                        batch: vec![(2, [11, 13, 5000])],
                        ..MatMul::default()
                    });
                }
            }
        }
    }
}

#[test]
fn many_terms_are_added_to_totals() {
    // One segment and a step more, some and a part of one, few steps a sweep and many sweeps.
    for (k, sums) in [
        (641, vec![]),
        (1923, vec![]),
        (5, vec![(150, [5, 9])]),
        (33, vec![(3, [40, 90]), (17, [7, 31])]),
        (700, vec![(3, [40, 90])]),
    ] {
        for (m, n) in [(3, 5), (17, 40), (30, 9), (1, 70)] {
            for (a, b) in [([3, 1], [n as isize, 1]), ([1, 40], [1, 70]), ([700, 1], [1, 700]), ([50, 1], [2, 3])] {
                for c in [[n as isize, 1], [1, m as isize + 2]] {
                    let strides = [a, b, c];
                    check(&MatMul { m, n, k, strides, sums: sums.clone(), ..MatMul::default() });
                }
            }
        }
    }
    // Vectors of more than a segment of steps, and several sweeps along them.
    let strides = [[11_000, 1], [1, 11_000], [4, 1]];
    for sums in [vec![], vec![(2, [11_000, 5])]] {
        check(&MatMul { m: 3, n: 4, k: 10_777, strides, sums, ..MatMul::default() });
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn chunks_are_the_whole_inner_dimension() {
    use crate::ir::product::blocking::{Blocking, UNROLL};
    for level in levels().filter(|&level| level != Level::Portable) {
        for (m, n) in SIZES.into_iter().flat_map(|m| SIZES.map(|n| (m, n))).chain([(1, 700), (9, 3000)]) {
            for k in [0, 1, 3, 511, 641, 1301, 2050, 9000, 16_000, 16_383] {
                for (ta, tb) in [(false, false), (false, true), (true, false)] {
                    let spec = crate::ir::product::Spec::new(&dense(m, n, k, ta, tb), level);
                    let Blocking { chunks, chunk, last, .. } = Blocking::new(&spec);
                    let what = format!("{m} x {k} x {n} at {level:?}: {chunks} of {chunk} and {last}");
                    assert_eq!((chunks - 1) * chunk + last, k, "{what}");
                    assert!(last <= chunk && (last > 0 || k == 0) && (chunks == 1 || chunk % UNROLL == 0), "{what}");
                }
            }
        }
    }
}

#[test]
fn pairs_that_share_the_right_matrix() {
    // Few rows of each pair are the rows of a tile together, those of many are not.
    for (m, n, k) in [(1, 16, 9), (5, 16, 10), (3, 40, 7), (2, 100, 33), (40, 10, 6), (4, 7, 1)] {
        let (rows, columns) = (m as isize, n as isize);
        for sums in [vec![], vec![(3, [40, 90])]] {
            for c in [[columns, 1], [1, 600]] {
                for (first, second) in [(7, 1), (2, 5), (3, 10), (1, 13)] {
                    let strides = [[2, 3], [columns, 1], c];
                    let next = if c[1] == 1 { rows * columns } else { rows };
                    let batch = vec![(first, [1, 5, 20_000]), (second, [30, 0, next])];
                    check(&MatMul { m, n, k, strides, sums: sums.clone(), batch, ..MatMul::default() });
                }
            }
        }
    }
    // One row, whose strides say nothing.
    let mut p = dense(1, 16, 9, false, false);
    (p.strides[0][0], p.strides[2][0], p.batch) = (1 << 40, 1 << 40, vec![(12, [9, 0, 16])]);
    check(&p);
    p.batch = vec![(12, [3 << 20, 0, 16])];
    check(&p);
}

#[test]
fn zeros_around_an_image_are_left_out() {
    for (m, n, k) in [(6, 14, 5), (3, 33, 4), (10, 16, 5), (1, 20, 3), (7, 1, 9), (4, 4, 40)] {
        // Windows that reach over both ends, over one, over none; some reach nothing, or none does.
        for (steps, range) in [([1, 1], 2..7), ([2, 1], 1..30), ([1, 2], -5..40), ([3, -1], 6..12), ([1, 1], 50..60)] {
            for strides in [[[50, 1], [1, 1]], [[1, 60], [35, 1]], [[45, 1], [1, 50]]] {
                for (pairs, sum) in [(0, 1), (1, 0)] {
                    let border = Border { pairs: (pairs, steps[0]), sum: (sum, steps[1]), range: range.clone() };
                    let sums = vec![(3, [70, 300]), (5, [7, 31])];
                    let size = (m * n) as isize;
                    let batch = vec![(9, [11, 13, 4 * size]), (4, [30, 0, size])];
                    let [a, b] = strides;
                    let strides = [a, b, [n as isize, 1]];
                    check(&MatMul { m, n, k, strides, sums, batch, border: Some(border), ..MatMul::default() });
                }
            }
        }
    }
}

#[test]
fn batches() {
    for (m, n, k) in [(5, 6, 7), (32, 32, 16), (16, 48, 20)] {
        let mut p = dense(m, n, k, false, true);
        let [a, b, c] = [m * k, n * k, m * n].map(|len| len as isize);
        p.batch = vec![(3, [2 * a, 0, 2 * c]), (2, [a, b, c])];
        check(&p);
        p.batch = vec![(0, [a, b, c])];
        check(&p);
    }
}

#[test]
fn sums_of_nothing_are_zero() {
    for (m, n) in [(3, 5), (20, 40), (0, 4), (4, 0)] {
        check(&dense(m, n, 0, false, false));
        check(&dense(m, n, 0, false, true));
    }
    check(&dense(0, 3, 4, false, false));
}

#[test]
fn strides_beyond_32_bits_are_not_emitted() {
    let mut p = dense(2, 20, 3, false, false);
    p.strides[0] = [3 << 20, 1];
    check(&p);
    // Nothing goes along an axis of size one.
    let mut p = dense(1, 20, 1, false, false);
    p.strides[0] = [1 << 40; 2];
    check(&p);
}

/// A product with rows longer than its matrices, between which there are numbers that it may not look at.
fn with_gaps(m: usize, n: usize, k: usize, turned: [bool; 3]) -> (MatMul, [usize; 3]) {
    let mut lens = [0; 3];
    let strides = std::array::from_fn(|i| {
        let [rows, columns] = [[m, k], [k, n], [m, n]][i];
        let row = if turned[i] { rows + 3 } else { columns + 3 };
        lens[i] = row * if turned[i] { columns } else { rows } + 64;
        if turned[i] { [1, row as isize] } else { [row as isize, 1] }
    });
    (MatMul { m, n, k, strides, ..MatMul::default() }, lens)
}

#[test]
fn a_checked_product_sees_what_is_not_finite() {
    for (m, n, k) in [(1, 1, 1), (3, 5, 2), (13, 17, 9), (32, 10, 64), (40, 33, 31), (7, 65, 300), (65, 7, 1100)] {
        for turned in (0..8).map(|bits| [0, 1, 2].map(|i| bits >> i & 1 == 1)) {
            let (p, lens) = with_gaps(m, n, k, turned);
            for level in levels() {
                let mut product = compile_checked(&[&p], &|_| true, level).unwrap().remove(0);
                assert_eq!(product.is_checked(), level != Level::Portable);
                let gaps = lens.map(|len| vec![f32::NAN; len]);
                let [mut a, mut b, _] = gaps.clone();
                let place = |i: usize, row: usize, column: usize| {
                    (row as isize * p.strides[i][0] + column as isize * p.strides[i][1]) as usize
                };
                for (j, (to, rows, columns)) in [(&mut a, m, k), (&mut b, k, n)].into_iter().enumerate() {
                    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                        to[place(j, row, column)] = ((row * 7 + column * 5) % 11) as f32 - 5.5;
                    }
                }
                let mut scratch = vec![f32::NAN; scratch(&p, level)];
                for bad in [None, Some(f32::INFINITY), Some(f32::NAN), Some(3e38), None] {
                    for (row, column) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
                        let (mut a, mut b, mut c) = (a.clone(), b.clone(), gaps[2].clone());
                        if let Some(bad) = bad {
                            (a[place(0, row, k - 1)], b[place(1, k - 1, column)]) = (bad, bad);
                        }
                        let units = 0..product.units();
                        // SAFETY: all operands are as large as the product says.
                        unsafe { product.run(units, a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), scratch.as_mut_ptr()) };
                        let seen = product.has_seen();
                        let what = format!("{p:?} at {level:?}, {bad:?} at {row}, {column}");
                        assert_eq!(seen, bad.is_some() && product.is_checked(), "{what}");
                        assert!(bad.is_none() || !c[place(2, row, column)].is_finite(), "{what}");
                        assert!(!product.has_seen());
                    }
                }
            }
        }
    }
}
