//! Memory for elements of 32 bits, aligned to a cache line.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Line::LEN]);

impl Line {
    const LEN: usize = 16;
}

/// An array of numbers that starts at a cache line and never moves.
pub(crate) struct Buffer {
    memory: Memory,
    len: usize,
    /// Whether large pages were asked for.
    settled: bool,
}

enum Memory {
    Lines(Box<[Line]>),
    /// Pages of the system's.
    Pages(memmap2::MmapMut),
}

impl Buffer {
    /// Elements that a line holds; offsets of parameters and values are multiples of it.
    pub(crate) const LINE: usize = Line::LEN;

    /// Bytes of a large page.
    const LARGE: usize = 1 << 21;

    /// An array of zeros.
    pub(crate) fn zeros(len: usize) -> Buffer {
        let lines = || Memory::Lines(vec![Line([0.0; Line::LEN]); len.div_ceil(Line::LEN)].into_boxed_slice());
        let pages = || memmap2::MmapMut::map_anon(4 * len).map_or_else(|_| lines(), Memory::Pages);
        let memory = if 4 * len < Buffer::LARGE { lines() } else { pages() };
        Buffer { memory, len, settled: false }
    }

    /// Asks for large pages, now that the buffer has been used and will be again: with small ones a step over
    /// tens of megabytes spends some of its time on finding pages. The system exchanges them by and by, so that
    /// no step waits for it; one that has none leaves the small ones.
    pub(crate) fn settle(&mut self) {
        if self.settled {
            return;
        }
        self.settled = true;
        #[cfg(target_os = "linux")]
        if let Memory::Pages(map) = &self.memory {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        match &mut self.memory {
            Memory::Lines(lines) => lines.as_mut_ptr().cast(),
            Memory::Pages(map) => map.as_mut_ptr().cast(),
        }
    }

    fn as_ptr(&self) -> *const f32 {
        match &self.memory {
            Memory::Lines(lines) => lines.as_ptr().cast(),
            Memory::Pages(map) => map.as_ptr().cast(),
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut copy = Buffer::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is a C array of 16 floats without padding, and `len` is at most 16 times
        // the number of lines.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len) }
    }
}
