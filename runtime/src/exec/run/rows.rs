//! Rows of a table by number: copied, and added up. Each entry of an index is compared with the rows there are.

use std::ops::Range;

use super::refused::Refuse;
use crate::ir::{LINE, TERMS};

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
pub(crate) unsafe fn gather(
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

/// Sorts the places of an index by the row that they name, in their order where it is the same, and says where those of
/// each row end. A place that names no row is refused and left out.
pub(crate) fn sort(index: &[i32], places: &mut [u32], ends: &mut [u32], refuse: Refuse<'_>) {
    ends.fill(0);
    for (i, &entry) in index.iter().enumerate() {
        match row(entry, ends.len()) {
            Some(row) => ends[row] += 1,
            None => refuse.entry(i, entry),
        }
    }
    // Where the places of each row start; they end where all have been written.
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    for (i, &entry) in (0..).zip(index) {
        if let Some(row) = row(entry, ends.len()) {
            places[ends[row] as usize] = i;
            ends[row] += 1;
        }
    }
}

/// Adds some columns of the rows at `places` to those of other rows, each of which has the places up to its end, or
/// sets them to these sums unless they are `added` to.
///
/// # Safety
///
/// The operands are a row of this width for each place, and as many rows as there are ends, of which nothing else uses
/// these columns.
pub(crate) unsafe fn scatter_add(
    width: usize,
    columns: Range<usize>,
    [places, ends]: [&[u32]; 2],
    added: bool,
    [source, out]: [*mut u8; 2],
) {
    let (source, out) = (source.cast::<f32>(), out.cast::<f32>());
    let (start, len) = (columns.start, columns.len());
    let mut first = 0;
    for (row, &end) in ends.iter().enumerate() {
        // SAFETY: promised by the caller; the slices are of these columns alone.
        let to = unsafe { std::slice::from_raw_parts_mut(out.add(row * width + start), len) };
        if !added {
            to.fill(0.0);
        }
        let places = &places[first..end as usize];
        first = end as usize;
        // SAFETY: as above.
        let of = |&place: &u32| unsafe { std::slice::from_raw_parts(source.add(place as usize * width + start), len) };
        if places.len() <= TERMS {
            for from in places.iter().map(of) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
            continue;
        }
        for (i, sums) in to.chunks_mut(LINE).enumerate() {
            let mut lost = [0.0; LINE];
            for from in places.iter().map(of) {
                add_long(sums, &mut lost, &from[i * LINE..]);
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
    use crate::graph::{Stage, Value};
    use crate::shape::{DType, Rows};
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
