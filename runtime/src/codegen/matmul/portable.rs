//! Products in plain Rust, for machines without a kernel of their own.

use super::Spec;

/// Rows and columns of the result that are computed together.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// Computes one product.
///
/// # Safety
///
/// `a`, `b` and `c` must point to matrices of these sizes and strides, and nothing else may use `c`.
pub(super) unsafe fn multiply(spec: &Spec, a: *const f32, b: *const f32, c: *mut f32) {
    let [[a_row, a_col], [b_row, b_col], [c_row, c_col]] = spec.strides;
    for column in (0..spec.n).step_by(COLUMNS) {
        let columns = COLUMNS.min(spec.n - column);
        for row in (0..spec.m).step_by(ROWS) {
            let rows = ROWS.min(spec.m - row);
            let mut sums = [[0.0f32; COLUMNS]; ROWS];
            for k in 0..spec.k as isize {
                let mut right = [0.0; COLUMNS];
                for (j, x) in right[..columns].iter_mut().enumerate() {
                    // SAFETY: the element is in the matrix, as the caller promised.
                    *x = unsafe { *b.offset(k * b_row + (column + j) as isize * b_col) };
                }
                for (i, sums) in sums[..rows].iter_mut().enumerate() {
                    // SAFETY: as above.
                    let left = unsafe { *a.offset((row + i) as isize * a_row + k * a_col) };
                    for (sum, x) in sums.iter_mut().zip(right) {
                        *sum += left * x;
                    }
                }
            }
            for (i, sums) in sums[..rows].iter().enumerate() {
                for (j, &sum) in sums[..columns].iter().enumerate() {
                    // SAFETY: as above, and the result is the caller's alone.
                    unsafe { *c.offset((row + i) as isize * c_row + (column + j) as isize * c_col) = sum };
                }
            }
        }
    }
}
