//! The loops of a kernel: which axis of its space is the row that vectors go along, and which axes are one
//! loop.

/// A row shorter than this leaves most of a vector empty.
pub(super) const SHORT: usize = 8;

/// The axis that vectors go along: the innermost, unless it is short and another is not. Of these it is the
/// one along which the fewest values are scattered. `split` axes around the row were fixed by a reduction;
/// the outermost axis stays outermost where it is cut into `parts`.
pub(super) fn row_axis(space: &[usize], split: Option<usize>, parts: Option<usize>, strides: &[Vec<isize>]) -> usize {
    let innermost = space.len() - 1;
    let together = |i: usize| strides.iter().all(|s| s[i] == s[i + 1] * space[i + 1] as isize);
    let run = (0..innermost).rev().take_while(|&i| together(i)).map(|i| space[i]).product::<usize>();
    if split.is_some() || run * space[innermost] >= SHORT {
        return innermost;
    }
    let scattered = |i: usize| strides.iter().filter(|s| !matches!(s[i], 0 | 1)).count();
    let first = parts.is_some() as usize;
    (first..space.len()).rev().filter(|&i| space[i] >= SHORT).min_by_key(|&i| scattered(i)).unwrap_or(innermost)
}

/// The loops of a space, where those that all operands run through in equal steps are one.
pub(super) struct Loops {
    /// The size of each loop and the innermost axis of those merged in it, the row first.
    merged: Vec<(usize, usize)>,
}

impl Loops {
    /// No loop reaches across `split`, the number of axes around the row.
    pub(super) fn new(space: &[usize], split: Option<usize>, row: usize, operands: &[&[isize]]) -> Loops {
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

    pub(super) fn row(&self) -> usize {
        self.merged[0].0
    }

    pub(super) fn outer(&self) -> Vec<usize> {
        self.merged[1..].iter().rev().map(|(size, _)| *size).collect()
    }

    pub(super) fn strides(&self, over_space: &[isize]) -> Vec<isize> {
        self.merged[1..].iter().rev().map(|(_, axis)| over_space[*axis]).collect()
    }
}
