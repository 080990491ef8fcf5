//! Memory for elements of 32 bits, aligned to a cache line.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Line::LEN]);

impl Line {
    const LEN: usize = 16;
}

/// An array of numbers that starts at a cache line and never moves.
#[derive(Clone)]
pub(crate) struct Buffer {
    lines: Box<[Line]>,
    len: usize,
}

impl Buffer {
    /// Elements that a line holds; offsets of parameters and values are multiples of it.
    pub(crate) const LINE: usize = Line::LEN;

    /// An array of zeros.
    pub(crate) fn zeros(len: usize) -> Buffer {
        Buffer { lines: vec![Line([0.0; Line::LEN]); len.div_ceil(Line::LEN)].into_boxed_slice(), len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is a C array of 16 floats without padding, and `len` is at most 16 times
        // the number of lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
