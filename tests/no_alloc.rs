//! A compiled step allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use downhill::prelude::*;

/// Counts allocations.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
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

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[network]
struct Net {
    table: Embedding<11, 24>,
    norm: LayerNorm<24>,
    hidden: Linear<24, 300>,
    out: Linear<300, 11>,
}

#[network]
impl Net {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, 11> {
        self.out(gelu(self.hidden(self.norm(self.table(tokens)))))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

/// One test alone in its program: another thread would be counted too.
#[test]
fn a_step_allocates_nothing() -> downhill::Result<()> {
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, AdamW::new(1e-3))?;
    let batch = |rows: usize| Index::new([rows, 40], (0..rows * 40).map(|i| (i % 11) as i32).collect::<Vec<_>>());
    let (full, short) = (batch(32)?, batch(5)?);
    for x in [&full, &short] {
        step.run(&mut model, (x, x))?;
    }
    let before = COUNT.load(Ordering::Relaxed);
    for x in [&full, &short, &full, &full, &short] {
        step.run(&mut model, (x, x))?;
    }
    assert_eq!(COUNT.load(Ordering::Relaxed) - before, 0);
    Ok(())
}
