//! Memory for elements of 32 bits, aligned to a cache line.

use std::ops::Range;

use crate::error::{Error, Result};

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
    /// A vector, since pointers into it stay valid when the buffer is moved.
    Lines(Vec<Line>),
    /// Pages of the system's.
    Pages(memmap2::MmapMut),
    /// Pages of which some cannot be touched; as a slice it is empty.
    Guarded(memmap2::MmapMut),
}

impl Buffer {
    /// Bytes of a large page.
    const LARGE: usize = 1 << 21;

    /// An array of zeros, for which an error names `what` it was to hold.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the system has no memory for it.
    pub(crate) fn zeros(len: usize, what: &str) -> Result<Buffer> {
        let refused = || Error::Memory { what: what.into(), elements: len };
        let bytes = len.checked_mul(size_of::<f32>()).ok_or_else(refused)?;
        let pages = (bytes >= Buffer::LARGE).then(|| memmap2::MmapMut::map_anon(bytes).ok()).flatten();
        let memory = pages.map(Memory::Pages).or_else(|| lines(len)).ok_or_else(refused)?;
        Ok(Buffer { memory, len, settled: false })
    }

    /// Memory of so many elements, of which these ranges, which are whole pages, cannot be touched. It is for
    /// pointers alone.
    pub(crate) fn guarded(len: usize, ranges: &[Range<usize>]) -> Result<Buffer> {
        let refused =
            |e: std::io::Error| Error::Compile { what: "memory between guard pages".into(), message: e.to_string() };
        let map = memmap2::MmapMut::map_anon(4 * len).map_err(refused)?;
        #[cfg(unix)]
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let pages = map[4 * range.start..4 * range.end].as_ptr();
            // SAFETY: the pages are a part of the map, which has no other owner and no reader yet; nothing but
            // their protection is changed, and they are given back with the map.
            let done = unsafe { libc::mprotect(pages.cast_mut().cast(), 4 * range.len(), libc::PROT_NONE) };
            if done != 0 {
                return Err(refused(std::io::Error::last_os_error()));
            }
        }
        #[cfg(not(unix))]
        let _ = ranges;
        Ok(Buffer { memory: Memory::Guarded(map), len: 0, settled: true })
    }

    /// Asks for large pages, now that the buffer has been used and will be again: with small ones a step over
    /// tens of megabytes spends some of its time on finding pages. The system exchanges them by and by, so that
    /// no step waits for it; one that has none leaves the small ones.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.ask_for_large_pages();
        }
    }

    #[cold]
    fn ask_for_large_pages(&self) {
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
            Memory::Pages(map) | Memory::Guarded(map) => map.as_mut_ptr().cast(),
        }
    }

    fn as_ptr(&self) -> *const f32 {
        match &self.memory {
            Memory::Lines(lines) => lines.as_ptr().cast(),
            Memory::Pages(map) | Memory::Guarded(map) => map.as_ptr().cast(),
        }
    }
}

/// No elements.
impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { memory: Memory::Lines(Vec::new()), len: 0, settled: false }
    }
}

/// Lines of zeros for so many elements; none if there is no memory.
fn lines(len: usize) -> Option<Memory> {
    let count = len.div_ceil(Line::LEN);
    let mut lines = Vec::new();
    lines.try_reserve_exact(count).ok()?;
    lines.resize(count, Line([0.0; Line::LEN]));
    Some(Memory::Lines(lines))
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
