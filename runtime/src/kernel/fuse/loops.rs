//! The loops of a kernel: which axis of its space is the row that vectors go along, and which axes are one
//! loop.

/// A row shorter than this leaves most of a vector empty.
pub(crate) const SHORT: usize = 8;

/// The elements of a large vector.
const VECTOR: usize = 16;

/// The axis that vectors go along: the innermost, unless it is short. Then it is the one along which the least
/// is loaded and stored for each element: a vector of neighbours at once, elements that are scattered each for
/// itself. `split` axes around the row were fixed by a reduction; the outermost axis stays outermost where
/// it is cut into `parts`. Axes that are not `open` are those of sums, whose order of additions must not
/// depend on what else is computed.
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
    if split.is_some() || run * space[innermost] >= SHORT {
        return innermost;
    }
    let cost = |&i: &usize| {
        let vector = VECTOR.div_ceil(space[i]);
        let operands = strides.iter().map(|s| if matches!(s[i], 0..=2) { vector } else { VECTOR });
        vector + operands.sum::<usize>()
    };
    let first = parts.is_some() as usize;
    (first..space.len()).rev().filter(|&i| open(i)).min_by_key(cost).unwrap_or(innermost)
}

/// The loops of a space, where those that all operands run through in equal steps are one.
pub(crate) struct Loops {
    /// The size of each loop and the innermost axis of those merged in it, the row first.
    merged: Vec<(usize, usize)>,
}

impl Loops {
    /// No loop reaches across `split`, the number of axes around the row.
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

    pub(crate) fn row(&self) -> usize {
        self.merged[0].0
    }

    pub(crate) fn outer(&self) -> Vec<usize> {
        self.merged[1..].iter().rev().map(|(size, _)| *size).collect()
    }

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
