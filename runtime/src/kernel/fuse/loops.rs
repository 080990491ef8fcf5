//! The loops of a kernel: which axis of its iteration space is vectorised, and which axes become one loop.

/// The shortest row that is vectorised as it is: half a vector of 512 bits, or one of 256.
pub(crate) const MIN_ROW: usize = 8;

/// The elements of a vector of 512 bits.
const LANES: usize = 16;

/// The axis that is vectorised, called the row: the innermost axis, unless it is short. Then the axis with the fewest
/// loads and stores for each element, where contiguous elements are loaded as a vector and scattered ones one by one.
/// If a reduction of rows has fixed the number of axes around the row (`split`), the innermost axis stays the row. The
/// outermost axis stays outermost if it is split into `parts`. An axis that is not `open` cannot be the row: a sum goes
/// along it, whose order of additions must not change.
pub(crate) fn row_axis(
    space: &[usize],
    split: Option<usize>,
    parts: Option<usize>,
    strides: &[Vec<isize>],
    open: impl Fn(usize) -> bool,
) -> usize {
    let innermost = space.len() - 1;
    let together = |i: usize| strides.iter().all(|s| s[i] == s[i + 1] * space[i + 1] as isize);
    let run = (0..innermost).rev().take_while(|&i| together(i)).map(|i| space[i]).product::<usize>();
    if split.is_some() || run * space[innermost] >= MIN_ROW {
        return innermost;
    }
    let cost = |&i: &usize| {
        let vector = LANES.div_ceil(space[i]);
        let operands = strides.iter().map(|s| if matches!(s[i], 0..=2) { vector } else { LANES });
        vector + operands.sum::<usize>()
    };
    let first = parts.is_some() as usize;
    (first..space.len()).rev().filter(|&i| open(i)).min_by_key(cost).unwrap_or(innermost)
}

/// The loops of an iteration space, after merging adjacent axes that all operands go through in equal steps.
pub(crate) struct Loops {
    /// The size of each loop and the innermost of the axes merged in it: the row first, then outwards.
    merged: Vec<(usize, usize)>,
}

impl Loops {
    /// No loop merges axes on both sides of `split`, the number of axes around the row.
    pub(crate) fn new(space: &[usize], split: Option<usize>, row: usize, operands: &[&[isize]]) -> Loops {
        let mut merged: Vec<(usize, usize)> = vec![(space[row], row)];
        for i in (0..space.len()).rev().filter(|&i| i != row) {
            match merged.last_mut() {
                Some((size, axis))
                    if split != Some(i + 1) && operands.iter().all(|s| s[i] == s[*axis] * *size as isize) =>
                {
                    *size *= space[i];
                }
                _ => merged.push((space[i], i)),
            }
        }
        Loops { merged }
    }

    /// The length of the row.
    pub(crate) fn row(&self) -> usize {
        self.merged[0].0
    }

    /// The sizes of the loops around the row, outermost first.
    pub(crate) fn outer(&self) -> Vec<usize> {
        self.merged[1..].iter().rev().map(|(size, _)| *size).collect()
    }

    /// Strides over the iteration space as strides over the loops around the row.
    pub(crate) fn strides(&self, over_space: &[isize]) -> Vec<isize> {
        self.merged[1..].iter().rev().map(|(_, axis)| over_space[*axis]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_go_along_another_axis() {
        // Windows of 2 by 2 of planes with 6 by 5 of them, and a value for each.
        let space = [40, 6, 2, 5, 2];
        let strides = [vec![120, 20, 10, 2, 1], vec![30, 5, 0, 1, 0]];
        let axis = |open: &[usize]| row_axis(&space, None, None, &strides, |i| open.contains(&i));
        assert_eq!(axis(&[0, 1, 2, 3, 4]), 3);
        // Forty elements that are scattered take longer than short rows of neighbours, but order comes first.
        assert_eq!(axis(&[0, 1, 3]), 3);
        assert_eq!(axis(&[0]), 0);
        assert_eq!(row_axis(&[3, 40, 4], None, None, &[vec![160, 4, 1]], |_| true), 2, "as they lie");
        assert_eq!(row_axis(&[3, 40, 4], Some(1), None, &[vec![1, 3, 120]], |_| true), 2, "as was fixed");
        assert_eq!(row_axis(&[3, 40, 4], None, None, &[vec![1, 3, 120]], |_| true), 0);
    }
}
