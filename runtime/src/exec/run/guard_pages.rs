//! Values between guard pages, which no access is allowed to: a kernel that reaches past a value ends the process.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::OnceLock;

use super::Buffer;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::op::Class;
use crate::kernel::{Extent, Location, Place, Plan, Storage};

/// Which guard pages a value lies against: those in front of it, or those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Start,
    End,
}

impl Side {
    /// The side that the environment variable `DOWNHILL_GUARD` asks for; programs run as usual without it. It is
    /// read once.
    ///
    /// # Errors
    ///
    /// When the variable names no side, or the system has no pages to protect.
    pub(crate) fn current() -> Result<Option<Side>> {
        static SIDE: OnceLock<Result<Option<Side>, String>> = OnceLock::new();
        let side = SIDE.get_or_init(|| match std::env::var("DOWNHILL_GUARD").as_deref() {
            Err(_) => Ok(None),
            Ok("start") if cfg!(unix) => Ok(Some(Side::Start)),
            Ok("end") if cfg!(unix) => Ok(Some(Side::End)),
            Ok(found) => Err(found.into()),
        });
        side.clone().map_err(|found| Error::Setting {
            setting: "DOWNHILL_GUARD",
            expected: "start or end, on a Unix system",
            found,
        })
    }
}

/// Regions of memory with guard pages in front of, between and behind them.
#[derive(Debug)]
pub(crate) struct Regions {
    side: Side,
    regions: Vec<Range<usize>>,
    /// The elements so far, with the pages between regions.
    len: usize,
}

impl Regions {
    /// Elements between two regions: whole pages on every system.
    const PAGES: usize = (1 << 16) / 4;

    pub(crate) fn new(side: Side) -> Regions {
        Regions { side, regions: Vec::new(), len: Regions::PAGES }
    }

    /// One more region of so many elements; gives where it starts.
    pub(crate) fn add(&mut self, len: usize) -> usize {
        let whole = len.next_multiple_of(Regions::PAGES);
        let start = match self.side {
            Side::Start => self.len,
            Side::End => self.len + whole - len,
        };
        self.regions.push(start..start + len);
        self.len += whole + Regions::PAGES;
        start
    }

    /// The memory, in which nothing but the pages of regions can be touched.
    pub(crate) fn buffer(&self) -> Result<Buffer> {
        let page = |region: &Range<usize>| {
            region.start / Regions::PAGES * Regions::PAGES..region.end.next_multiple_of(Regions::PAGES)
        };
        let (mut between, mut end) = (Vec::new(), 0);
        for region in self.regions.iter().filter(|region| !region.is_empty()).map(page) {
            between.push(end..region.start);
            end = region.end;
        }
        between.push(end..self.len);
        Buffer::guarded(self.len, &between)
    }

    /// Fills all regions with what is neither a number nor the number of a row, so that what is read before
    /// it was written is seen in the results.
    ///
    /// # Safety
    ///
    /// `memory` must be that of a [`Regions::buffer`], which nothing else uses meanwhile.
    unsafe fn spoil(&self, memory: *mut f32, keep: &HashSet<usize>) {
        for region in self.regions.iter().filter(|region| !keep.contains(&region.start)) {
            // SAFETY: regions lie in the memory, and may be touched.
            unsafe { std::slice::from_raw_parts_mut(memory.add(region.start), region.len()) }.fill(f32::NAN);
        }
    }
}

/// The memory of a program that is guarded: each of its values has a region of its own, also those that come
/// from the caller or go there.
pub(crate) struct Guard {
    arena: Regions,
    scratch: Regions,
    /// Where the regions of constants start, which are written once.
    constants: HashSet<usize>,
    /// What is copied from the caller before a run, and to the caller after it.
    inputs: Vec<Transfer>,
    results: Vec<Transfer>,
}

/// A value that is in the caller's memory outside of a run.
struct Transfer {
    place: Place,
    region: Range<usize>,
}

impl Transfer {
    /// Where it is in the memory of the caller, of which these slots are declared.
    fn outside(&self, slots: &[(Extent, *mut f32)]) -> Option<*mut f32> {
        let (_, start) = slots.iter().find(|(extent, _)| extent.slot == self.place.slot)?;
        Some(start.wrapping_add(self.place.offset))
    }
}

impl Guard {
    /// Moves all values of a plan to regions of their own.
    pub(crate) fn new(side: Side, graph: &Graph, plan: &mut Plan) -> Guard {
        let mut guard = Guard {
            arena: Regions::new(side),
            scratch: Regions::new(side),
            constants: HashSet::new(),
            inputs: Vec::new(),
            results: Vec::new(),
        };
        let mut constants: HashMap<usize, Vec<u32>> = plan.data.drain(..).collect();
        let mut moved = HashSet::new();
        for operand in plan.calls.iter().flat_map(|call| &call.operands) {
            let storage = operand.storage;
            let Some(location) = plan.locations.get_mut(&storage).filter(|_| moved.insert(storage)) else { continue };
            let len = plan.lens[&storage];
            *location = match *location {
                Location::Nowhere => Location::Nowhere,
                Location::Scratch(_) => Location::Scratch(guard.scratch.add(len)),
                Location::Arena(before) => {
                    let start = guard.arena.add(len);
                    if let Some(bits) = constants.remove(&before) {
                        plan.data.push((start, bits));
                        guard.constants.insert(start);
                    }
                    Location::Arena(start)
                }
                Location::Outside(place) => {
                    let start = guard.arena.add(len);
                    let transfer = Transfer { place, region: start..start + len };
                    match storage {
                        Storage::Value(v) if graph[v].op.is(Class::Outside) => guard.inputs.push(transfer),
                        _ => guard.results.push(transfer),
                    }
                    Location::Arena(start)
                }
            };
        }
        guard
    }

    /// Memory for all values of the program but those of one kernel.
    pub(crate) fn arena(&self) -> Result<Buffer> {
        self.arena.buffer()
    }

    /// Memory that a thread has for the kernels at hand.
    pub(crate) fn scratch(&self) -> Result<Buffer> {
        self.scratch.buffer()
    }

    /// Copies what a run reads from the caller.
    ///
    /// # Safety
    ///
    /// `slots` must be as for the run, and `arena` and `scratch` the program's.
    pub(crate) unsafe fn enter(
        &self,
        slots: &[(Extent, *mut f32)],
        arena: *mut f32,
        scratch: impl Iterator<Item = *mut f32>,
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            self.arena.spoil(arena, &self.constants);
            scratch.for_each(|memory| self.scratch.spoil(memory, &HashSet::new()));
            for input in &self.inputs {
                let Some(from) = input.outside(slots) else { continue };
                std::ptr::copy_nonoverlapping(from, arena.add(input.region.start), input.region.len());
            }
        }
    }

    /// Copies the results to the caller.
    ///
    /// # Safety
    ///
    /// As [`Guard::enter`].
    pub(crate) unsafe fn leave(&self, slots: &[(Extent, *mut f32)], arena: *const f32) {
        for result in &self.results {
            let Some(to) = result.outside(slots) else { continue };
            // SAFETY: promised by the caller.
            unsafe { std::ptr::copy_nonoverlapping(arena.add(result.region.start), to, result.region.len()) };
        }
    }
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Reads one element of a region, counted from its first one, in a process of its own; gives the signal that
    /// ends the process.
    fn read(side: &str, element: i32) -> Option<i32> {
        let mut again = Command::new(std::env::current_exe().expect("a program"));
        again.args(["--exact", "exec::run::guard_pages::tests::read_one_element", "--ignored"]);
        let output = again.env("READ_ONE_ELEMENT", format!("{side} {element}")).output().expect("a process");
        assert!(output.status.code() == Some(0) || output.status.signal().is_some(), "{output:?}");
        output.status.signal()
    }

    #[test]
    #[ignore = "for a process of its own"]
    fn read_one_element() {
        let Ok(what) = std::env::var("READ_ONE_ELEMENT") else { return };
        let (side, element) = what.split_once(' ').expect("a side and an element");
        let mut regions = Regions::new(if side == "start" { Side::Start } else { Side::End });
        regions.add(3);
        let start = regions.add(5);
        let mut buffer = regions.buffer().expect("memory");
        let element = element.parse::<isize>().expect("an element");
        // SAFETY: none; that this may not be read is what is to be seen.
        let found = unsafe { buffer.as_mut_ptr().wrapping_add(start).offset(element).read_volatile() };
        assert_eq!(found, 0.0);
    }

    #[test]
    fn what_is_past_a_region_cannot_be_read() {
        for side in ["start", "end"] {
            assert_eq!([0, 4].map(|element| read(side, element)), [None; 2]);
        }
        let ended = |signal: Option<i32>| matches!(signal, Some(libc::SIGSEGV | libc::SIGBUS));
        assert!(ended(read("start", -1)) && ended(read("end", 5)));
    }
}
