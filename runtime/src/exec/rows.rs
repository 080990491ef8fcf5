//! Rows of a table by number: copied, and added up. Each entry of an index is compared with the rows there are.

use std::ops::Range;

use super::refused::Refuse;

/// The number of the row that an entry names.
fn row(entry: i32, rows: usize) -> Option<usize> {
    usize::try_from(entry).ok().filter(|&row| row < rows)
}

/// Copies the rows that some places of an index name; the first row where an entry names none, which is refused.
///
/// # Safety
///
/// The operands are a table of `rows` rows, one at least, and memory for as many as the index has entries; nothing else
/// may use those of these places.
pub(super) unsafe fn gather(
    places: Range<usize>,
    width: usize,
    rows: usize,
    index: &[i32],
    [table, out]: [*mut u8; 2],
    refuse: Refuse<'_>,
) {
    let (table, out) = (table.cast::<f32>(), out.cast::<f32>());
    for i in places {
        let row = row(index[i], rows).unwrap_or_else(|| {
            refuse.entry(i, index[i]);
            0
        });
        // SAFETY: the row is one of the table; the rest is promised by the caller.
        unsafe { std::ptr::copy_nonoverlapping(table.add(row * width), out.add(i * width), width) };
    }
}

/// Adds some columns of rows to those of others, as an index names them; what names none is refused and left out.
///
/// # Safety
///
/// The operands are as many rows as the index has entries, and `rows` rows that these are added to, of which nothing
/// else uses these columns; the first `zeros` of them are set to zero before. A `long` sum has as many rows behind, of
/// what rounding has lost.
pub(super) unsafe fn scatter_add(
    width: usize,
    [rows, zeros]: [usize; 2],
    long: bool,
    columns: Range<usize>,
    index: &[i32],
    operands: &[*mut u8],
    refuse: Refuse<'_>,
) {
    let (source, out) = (operands[0].cast::<f32>(), operands[1].cast::<f32>());
    let (start, len) = (columns.start, columns.len());
    // SAFETY: promised by the caller, for rows below their number; the slices are of these columns alone.
    unsafe {
        let columns_of = |of: *mut f32, row: usize| std::slice::from_raw_parts_mut(of.add(row * width + start), len);
        (0..zeros).for_each(|i| columns_of(out, i).fill(0.0));
        for (i, &entry) in index.iter().enumerate() {
            let Some(row) = row(entry, rows) else {
                refuse.entry(i, entry);
                continue;
            };
            let source = std::slice::from_raw_parts(source.add(i * width + start), len);
            let to = columns_of(out, row);
            if long {
                add_long(to, columns_of(operands[2].cast::<f32>(), row), source);
            } else {
                to.iter_mut().zip(source).for_each(|(to, from)| *to += from);
            }
        }
    }
}

/// Adds numbers to sums, with what rounding has lost of those before, as the kernels of long sums do.
fn add_long(sums: &mut [f32], lost: &mut [f32], terms: &[f32]) {
    for ((sum, lost), term) in sums.iter_mut().zip(lost).zip(terms) {
        let term = term + *lost;
        let new = *sum + term;
        let left = term - (new - *sum);
        // A sum that is infinite or NaN has lost nothing.
        *lost = if new.is_finite() { left } else { 0.0 };
        *sum = new;
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Rows, Stage, Value};
    use crate::shape::DType;
    use crate::{Index, Result, Tensor};

    /// These kernels are no machine code: an interpreter such as Miri runs the whole program.
    #[test]
    fn rows_of_a_table_and_back() -> Result<()> {
        let mut g = Stage::new();
        let (table, index) = (g.input(0, &[3, 2], DType::F32), g.input(1, &[4], DType::I32));
        let index = g.within(index, Rows::below(3));
        let taken = g.gather(table, index);
        let added = g.scatter_add(index, taken, 3);
        let mut both = g.compile(&[Value::Var(taken), Value::Var(added)])?;
        let table = Tensor::new([3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
        for _ in 0..2 {
            both.run((&table, &Index::new([4], [2, 0, 2, 1])?))?;
            assert_eq!(both.data(0)?, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 3.0, 4.0]);
            assert_eq!(both.data(1)?, [1.0, 2.0, 3.0, 4.0, 10.0, 12.0]);
        }
        Ok(())
    }
}
