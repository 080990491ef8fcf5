//! Entries of an index that name no row, found while kernels run.

use std::sync::{Mutex, PoisonError};

/// The first entry that a kernel refused in a run, which is the same for any number of threads: the number of the kernel,
/// the place of the entry, and the entry.
#[derive(Default)]
pub(crate) struct Refused(Mutex<Option<(usize, usize, i32)>>);

impl Refused {
    /// Where a kernel notes what it refuses.
    pub(crate) fn by(&self, kernel: usize) -> Refuse<'_> {
        Refuse { to: self, kernel }
    }

    /// What was refused since the last time.
    pub(crate) fn take(&mut self) -> Option<(usize, usize, i32)> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where a kernel notes what it refuses.
#[derive(Clone, Copy)]
pub(crate) struct Refuse<'a> {
    to: &'a Refused,
    kernel: usize,
}

impl Refuse<'_> {
    /// Notes an entry and its place.
    #[cold]
    pub(crate) fn entry(self, place: usize, entry: i32) {
        let new = (self.kernel, place, entry);
        let mut first = self.to.0.lock().unwrap_or_else(PoisonError::into_inner);
        *first = Some(first.map_or(new, |first| first.min(new)));
    }
}
