//! Register allocation within straight-line code: which values of a strip are in which registers while it is written.
//!
//! If no register is free, the value whose next use is farthest is evicted (Belady). It is spilled to the stack unless
//! it can be reloaded from where it came.

/// Registers of one class.
pub(crate) struct Class {
    /// The value in each register.
    holds: Vec<Option<usize>>,
    /// The registers that may be allocated.
    open: Vec<u8>,
}

/// The registers and spill slots of the values of a strip.
pub(crate) struct Regs {
    pub(crate) vectors: Class,
    pub(crate) masks: Class,
    /// The register of each value.
    reg: Vec<Option<u8>>,
    /// Values that stay in a register for the whole run.
    pinned: Vec<Option<u8>>,
    /// The spill slot of each value.
    slot: Vec<Option<usize>>,
    /// The slots in use.
    slots: usize,
}

/// A register that must be stored in a slot before another value is written to it.
pub(crate) struct Spill {
    pub(crate) reg: u8,
    pub(crate) slot: usize,
}

impl Class {
    pub(crate) fn new(open: Vec<u8>) -> Class {
        Class { holds: vec![None; 32], open }
    }

    fn free(&self) -> Option<u8> {
        self.open.iter().copied().find(|&r| self.holds[r as usize].is_none())
    }
}

impl Regs {
    /// The first `slots` spill slots are in use already.
    pub(crate) fn new(values: usize, vectors: Class, masks: Class, pinned: Vec<Option<u8>>, slots: usize) -> Regs {
        Regs { vectors, masks, reg: pinned.clone(), pinned, slot: vec![None; values], slots }
    }

    pub(crate) fn reg(&self, value: usize) -> Option<u8> {
        self.reg[value]
    }

    pub(crate) fn slot(&self, value: usize) -> Option<usize> {
        self.slot[value]
    }

    pub(crate) fn is_pinned(&self, value: usize) -> bool {
        self.pinned[value].is_some()
    }

    fn class(&mut self, mask: bool) -> &mut Class {
        if mask { &mut self.masks } else { &mut self.vectors }
    }

    /// A register for a value. `next` gives the next use of a value, `reloads` whether a value can be reloaded from
    /// where it came; the values in `keep` are not evicted.
    pub(crate) fn take(
        &mut self,
        value: usize,
        mask: bool,
        keep: &[usize],
        next: impl Fn(usize) -> usize,
        reloads: impl Fn(usize) -> bool,
    ) -> (u8, Option<Spill>) {
        let class = self.class(mask);
        if let Some(r) = class.free() {
            self.give(value, mask, r);
            return (r, None);
        }
        let candidates = class.open.iter().copied().filter_map(|r| Some((r, class.holds[r as usize]?)));
        let last = candidates.filter(|(_, v)| !keep.contains(v)).max_by_key(|(_, v)| next(*v));
        // An instruction has at most three arguments, and there are more registers.
        let Some((r, evicted)) = last else { unreachable!("more registers than an instruction has arguments") };
        self.reg[evicted] = None;
        let spill = (!reloads(evicted) && self.slot[evicted].is_none()).then(|| {
            let slot = self.slots;
            self.slots += 1;
            self.slot[evicted] = Some(slot);
            Spill { reg: r, slot }
        });
        self.give(value, mask, r);
        (r, spill)
    }

    /// Puts a value into a register that is free.
    pub(crate) fn give(&mut self, value: usize, mask: bool, r: u8) {
        self.class(mask).holds[r as usize] = Some(value);
        self.reg[value] = Some(r);
    }

    /// Frees the register of a value whose live range ends.
    pub(crate) fn release(&mut self, value: usize, mask: bool) {
        if self.is_pinned(value) {
            return;
        }
        if let Some(r) = self.reg[value].take() {
            self.class(mask).holds[r as usize] = None;
        }
    }
}
