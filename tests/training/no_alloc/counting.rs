//! An allocator that counts, and a process in which nothing else does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator; growing a block counts, since the
// default `realloc` allocates a new one.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// How many allocations there were so far.
pub fn allocations() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Set for the process that a test runs in.
const ALONE: &str = "DOWNHILL_TEST_ALONE";

/// Runs a test, which has this name, alone in a process of its own; in that process it is false and does nothing.
pub fn runs_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut alone = Command::new(std::env::current_exe().expect("the path of this program"));
    let output = alone.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(ALONE, "1").output();
    let output = output.expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    true
}
