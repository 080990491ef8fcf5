//! Strides: the distance of two neighbouring elements along each axis.

/// The strides of a contiguous tensor of a shape; zero along axes of size one.
pub(crate) fn dense(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = if size == 1 { 0 } else { step };
        step *= size as isize;
    }
    strides
}

/// The strides of a contiguous tensor of a shape, where axes of size one have the stride of a longer axis.
pub(crate) fn steps(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

/// The strides that read the same elements under another shape of as many elements; `None` if no strides do.
pub(crate) fn reshaped(from: &[usize], strides: &[isize], to: &[usize]) -> Option<Vec<isize>> {
    let from: Vec<(usize, isize)> =
        from.iter().copied().zip(strides.iter().copied()).filter(|(size, _)| *size != 1).collect();
    let mut out = vec![0; to.len()];
    let (mut i, mut j) = (from.len(), to.len());
    // From the innermost axis on, axes of both shapes are grouped so that groups have as many elements in each shape.
    while i > 0 || j > 0 {
        if j > 0 && to[j - 1] == 1 {
            j -= 1;
            continue;
        }
        if i == 0 || j == 0 {
            return None;
        }
        let (stop_i, stop_j) = (i, j);
        i -= 1;
        j -= 1;
        let (mut have, mut want) = (from[i].0, to[j]);
        while have != want {
            if have < want {
                i = i.checked_sub(1)?;
                have *= from[i].0;
            } else {
                j = j.checked_sub(1)?;
                want *= to[j];
            }
        }
        let together = from[i..stop_i].windows(2).all(|w| w[0].1 == w[1].1 * w[1].0 as isize);
        if !together {
            return None;
        }
        let mut stride = from[stop_i - 1].1;
        for axis in (j..stop_j).rev() {
            out[axis] = if to[axis] == 1 { 0 } else { stride };
            stride *= to[axis] as isize;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_strides_skip_axes_of_size_one() {
        assert_eq!(dense(&[2, 1, 3]), [3, 0, 1]);
    }

    #[test]
    fn a_reshape_of_contiguous_axes_is_a_view() {
        assert_eq!(reshaped(&[2, 6], &[6, 1], &[2, 3, 2]), Some(vec![6, 2, 1]));
        assert_eq!(reshaped(&[2, 3, 4], &[12, 4, 1], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshaped(&[6], &[1], &[1, 6, 1]), Some(vec![0, 1, 0]));
        assert_eq!(reshaped(&[1, 6], &[0, 0], &[2, 3]), Some(vec![0, 0]));
    }

    #[test]
    fn a_reshape_across_a_transposition_is_none() {
        assert_eq!(reshaped(&[3, 2], &[1, 3], &[6]), None);
        assert_eq!(reshaped(&[3, 2], &[1, 3], &[3, 2, 1]), Some(vec![1, 3, 0]));
    }
}
