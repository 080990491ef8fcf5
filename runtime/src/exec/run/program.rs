//! A graph as a program: kernels in order over one arena.

use std::fmt::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Buffer;
use super::dump;
use super::dump::Forms;
use super::guard_pages::{Guard, Side};
use super::kernel::Kernel;
use super::memory::Memory;
use super::pace::Pace;
use super::perf_map;
use super::refused::{Refuse, Refused};
use super::team::{Barrier, Team, threads};
use crate::codegen::{Backend, Compiled, compile, matmul};
use crate::error::{Error, Result};
use crate::graph::verify::{Bound, Verified, verify};
use crate::graph::{Graph, Op, Var};
use crate::ir::product::MatMul;
use crate::ir::{LINE, Level};
use crate::kernel::{
    Call, Description, Extent, Location, MAX_OPERANDS, Operand as Planned, Outside, Plan, Region, Slot, Work, plan,
    with_multiply_adds,
};
use crate::tensor::{Elements, Input};

/// A compiled graph.
pub(crate) struct Program {
    name: &'static str,
    /// What the entries of inputs may be, by the number of the input.
    bounds: Vec<(usize, Bound)>,
    /// The first entry of an index that named no row in the last run.
    found: Refused,
    steps: Vec<Step>,
    phases: Vec<Phase>,
    /// Where each operand of all steps is, one step behind the other.
    locations: Vec<(Location, usize)>,
    /// The slots it was compiled for, and where each starts in the run at hand.
    slots: Vec<(Extent, *mut f32)>,
    /// The operands that lie in slots.
    outside: Vec<Operand>,
    /// What the steps compute in.
    arena: Buffer,
    /// Where the values are if each is between pages that nobody may touch.
    guard: Option<Guard>,
    /// What each thread brings along; the first is that of the caller.
    seats: Vec<Seat>,
    /// Elements of scratch memory that a kernel needs at most.
    scratch: usize,
    report: Report,
    /// Where the results are of which products see that they are not finite or large, in the slot that was named.
    checked: Vec<Range<usize>>,
    /// Whether threads pay.
    pace: Pace,
    /// The lowest time of each kernel, while they are timed.
    clock: Option<Vec<Duration>>,
}

/// An operand in memory of the caller.
struct Operand {
    /// Its number among the operands of all steps.
    number: usize,
    /// The number of the slot.
    slot: usize,
    /// Elements from the start of the slot on.
    offset: usize,
}

/// The operands as one thread sees them: the same, but for scratch memory of its own.
struct Seat {
    pointers: Vec<*mut u8>,
    /// Used through the pointers.
    scratch: Buffer,
}

// SAFETY: the pointers into the arena are the program's own, and those of the caller are set anew
// at every run.
unsafe impl Send for Program {}
// SAFETY: only `run` writes through the pointers, which borrows the program mutably; the threads of a team
// share it for as long.
unsafe impl Sync for Program {}

/// Kernels between two barriers: one, or the kernels of a chain.
struct Phase {
    steps: Range<usize>,
    /// The sizes of the loops that the kernels share; empty for a kernel by itself.
    turns: Vec<usize>,
    /// The number of parts that can be computed independently.
    units: usize,
    /// Whether all threads compute it, each its share; else the first one does.
    shared: bool,
}

/// One kernel of a program.
struct Step {
    kernel: Kernel,
    /// Where its operands start.
    operands: usize,
    /// For each operand its stride in each shared loop, in elements.
    strides: Vec<Vec<isize>>,
}

/// What is told of a program.
struct Report {
    kernels: Vec<Description>,
    bytes: usize,
    flops: usize,
    /// The elements of the arena, and what they would be if no values shared places.
    arena: usize,
    unshared: usize,
    /// The number of kernels before those of the gradient alone, where there is one.
    forward: Option<usize>,
    /// Bytes of activations that are kept for the gradient, where there is one.
    kept: Option<usize>,
}

impl Program {
    /// Compiles the part of a graph that `outputs` need, to be run on memory of these `slots`. `source` says where
    /// inputs and parameters are; whatever is not there as declared is refused.
    ///
    /// # Errors
    ///
    /// When the graph breaks a rule of its operations (see `verify`), before anything is planned.
    pub(crate) fn compile(
        name: &'static str,
        graph: &Graph,
        source: &dyn Fn(&Op) -> Result<Region, String>,
        outputs: &[(Var, Region)],
        slots: &[Extent],
    ) -> Result<Program> {
        Program::compile_checked(name, graph, source, outputs, slots, None)
    }

    /// The same, where products whose results go to a slot see whether these are finite.
    pub(crate) fn compile_checked(
        name: &'static str,
        graph: &Graph,
        source: &dyn Fn(&Op) -> Result<Region, String>,
        outputs: &[(Var, Region)],
        slots: &[Extent],
        checked: Option<Slot>,
    ) -> Result<Program> {
        threads()?;
        let outside = Outside::new(name, graph, source, outputs, slots)?;
        let roots: Vec<Var> = outputs.iter().map(|&(v, _)| v).collect();
        let refused = |message| Error::Shape { function: name.into(), message };
        let joined = with_multiply_adds(graph, &outside.outputs);
        let Verified { graph, bounds } = verify(joined, &roots).map_err(refused)?;
        let graph = &graph;
        let mut plan = plan(graph, &outside)?;
        let report = Report::new(graph, &plan);
        let guard = Side::current()?.map(|side| Guard::new(side, graph, &mut plan));
        let mut arena = match &guard {
            Some(guard) => guard.arena()?,
            None => Buffer::zeros(plan.arena, name)?,
        };
        write_constants(&mut arena, &plan.data);
        let loops: Vec<_> = plan.calls.iter().filter_map(Call::loop_kernel).collect();
        let mut compiled = compile(&loops, Level::current()?)?.into_iter();
        let products: Vec<_> = plan.calls.iter().filter_map(Call::matmul).collect();
        let ends: Vec<Option<Range<usize>>> = ends(&plan, checked);
        let products = matmul::compile_checked(&products, &|i| ends[i].is_some(), Level::current()?)?;
        let checked = products.iter().zip(ends).filter(|(product, _)| product.is_checked());
        let checked = checked.filter_map(|(_, end)| end).collect();
        let mut products = products.into_iter();
        let mut program = Program {
            name,
            bounds,
            found: Refused::default(),
            steps: Vec::new(),
            phases: Vec::new(),
            locations: Vec::new(),
            slots: slots.iter().map(|&extent| (extent, std::ptr::null_mut())).collect(),
            outside: Vec::new(),
            arena,
            guard,
            seats: Vec::new(),
            scratch: plan.scratch,
            report,
            checked,
            pace: Pace::new(),
            clock: None,
        };
        let mut sizes = Vec::new();
        let long: Vec<bool> = plan.phases.iter().map(|phase| Call::are_long(&plan.calls[phase.clone()])).collect();
        for call in &plan.calls {
            let operands = program.locations.len();
            program.locations.extend(call.operands.iter().map(|o| (plan.locations[&o.storage], o.offset)));
            let split = call.is_split();
            let kernel = match call.work {
                Work::Loop(ref kernel) => match compiled.next() {
                    Some(code) => {
                        let turns = kernel.iterations();
                        let grain = match kernel.outer.is_empty() {
                            _ if !split || !kernel.fills.is_empty() => turns,
                            // Threads write other cache lines.
                            true => LINE,
                            false => 1,
                        };
                        Kernel::Loop { code, turns, grain }
                    }
                    None => unreachable!("one compiled kernel for each loop"),
                },
                Work::MatMul(_) => match products.next() {
                    Some(product) => Kernel::MatMul(product),
                    None => unreachable!("one compiled product for each"),
                },
                Work::Gather { count, width, rows } => Kernel::Gather { count, width, rows },
                Work::Sort { count, rows } => Kernel::Sort { count, rows },
                Work::ScatterAdd { count, width, rows, added } => Kernel::ScatterAdd { count, width, rows, added },
                Work::Check { count, rows } => Kernel::Check { count, rows },
                Work::Routine(ref call) => Kernel::Routine(call.clone()),
            };
            program.steps.push(Step { kernel, operands, strides: call.shared_loops.strides.clone() });
            sizes.push(&call.shared_loops.sizes);
        }
        for (steps, long) in plan.phases.iter().cloned().zip(long) {
            let turns = sizes[steps.start].clone();
            let units = match turns.is_empty() {
                true => program.steps[steps.start].kernel.units(),
                false => turns.iter().product(),
            };
            program.phases.push(Phase { steps, turns, units, shared: long && units > 1 });
        }
        program.outside = program.outside()?;
        let caller = program.seat()?;
        program.seats.push(caller);
        dump::write(&program, &Forms { graph, plan: &plan, source, results: outputs })?;
        perf_map::add(&program)?;
        Ok(program)
    }

    /// The operands that lie in slots.
    fn outside(&self) -> Result<Vec<Operand>> {
        let mut operands = Vec::new();
        for (number, (location, offset)) in self.locations.iter().enumerate() {
            let Location::Outside(place) = location else { continue };
            let slot = self.slots.iter().position(|(extent, _)| extent.slot == place.slot);
            let slot = slot.ok_or_else(|| self.refused(format!("{} was not declared", place.slot)))?;
            operands.push(Operand { number, slot, offset: place.offset + offset });
        }
        Ok(operands)
    }

    fn refused(&self, message: String) -> Error {
        Error::Shape { function: self.name.into(), message }
    }

    /// Whether all entries of indices name rows, whatever the inputs are.
    pub(crate) fn proves_indices(&self) -> bool {
        let checks = |step: &Step| matches!(step.kernel, Kernel::Check { .. });
        self.bounds.is_empty() && !self.steps.iter().any(checks)
    }

    /// Refuses entries of index inputs that name no row. `name` says what an input is called.
    ///
    /// # Errors
    ///
    /// The first such entry of the first such input.
    pub(crate) fn check(&self, inputs: &[Input<'_>], name: impl Fn(usize) -> String) -> Result<()> {
        for (i, bound) in &self.bounds {
            let Some(Elements::Index(entries)) = inputs.get(*i).map(Input::elements) else { continue };
            if let Some((position, value, rows)) = bound.find(entries) {
                return Err(Error::IndexRange { function: self.name, input: name(*i), position, value, rows });
            }
        }
        Ok(())
    }

    /// The error of the entry that a kernel refused, if one did.
    fn take_refused(&mut self) -> Result<()> {
        let Some((step, position, value)) = self.found.take() else { return Ok(()) };
        let (operation, rows) = match self.steps[step].kernel {
            Kernel::Gather { rows, .. } => ("gather", rows),
            Kernel::Sort { rows, .. } => ("scatter_add", rows),
            Kernel::Check { rows, .. } => ("within", rows.count),
            Kernel::Loop { .. } | Kernel::MatMul(_) | Kernel::ScatterAdd { .. } | Kernel::Routine(_) => ("index", 0),
        };
        let input = format!("the index of {operation}");
        Err(Error::IndexRange { function: self.name, input, position, value, rows })
    }

    /// Runs all kernels; allocates nothing, but for what each other thread brings along at the first run
    /// with so many. `memory` gives the memory of each slot.
    ///
    /// # Errors
    ///
    /// When a slot is missing, or has another length than it was declared with; nothing is computed then. When an entry
    /// of an index names no row: the results then are not to be used.
    ///
    /// # Safety
    ///
    /// The memory of slots that are written may not be that of other slots, and nothing else may use it meanwhile.
    pub(crate) unsafe fn run(&mut self, memory: &mut dyn FnMut(Slot) -> Option<Memory>) -> Result<()> {
        for i in 0..self.slots.len() {
            let (extent, start) = &mut self.slots[i];
            match Memory::of(memory(extent.slot), extent) {
                Ok(found) => *start = found,
                Err(message) => return Err(self.refused(message)),
            }
        }
        // Compilation has seen that the number of threads is known. What is timed runs on one.
        let shared = self.clock.is_none() && self.phases.iter().any(|phase| phase.shared);
        let most = if shared { threads().unwrap_or(1) } else { 1 };
        let threads = if most > 1 && self.pace.together() { most } else { 1 };
        while self.seats.len() < threads {
            let seat = self.seat()?;
            self.seats.push(seat);
        }
        for seat in &mut self.seats[..threads] {
            for operand in &self.outside {
                seat.pointers[operand.number] = self.slots[operand.slot].1.wrapping_add(operand.offset).cast();
            }
        }
        let arena = self.arena.as_mut_ptr();
        if let Some(guard) = &self.guard {
            let scratch = self.seats.iter_mut().map(|seat| seat.scratch.as_mut_ptr());
            // SAFETY: the slots are as the caller promised, and the memory is the program's own.
            unsafe { guard.enter(&self.slots, arena, scratch) };
        }
        // SAFETY: promised by the caller; what the slots hold is where the pointers of the operands lead.
        unsafe { self.compute(threads, (most > 1).then(Instant::now)) };
        if let Some(guard) = &self.guard {
            // SAFETY: as before.
            unsafe { guard.leave(&self.slots, arena) };
        }
        self.take_refused()
    }

    /// Runs all kernels on so many threads.
    ///
    /// # Safety
    ///
    /// As `run`; the pointers of all operands must be set.
    unsafe fn compute(&mut self, threads: usize, start: Option<Instant>) {
        if let Some(mut times) = self.clock.take() {
            // SAFETY: as below.
            unsafe { self.time(&mut times) };
            self.clock = Some(times);
            return;
        }
        let program = &*self;
        // SAFETY: the plan gave every operand a place that covers what the kernels reach, the caller
        // answers for those outside, and threads compute parts of a kernel that do not overlap.
        let share = |number: usize, barrier: &Barrier| unsafe { program.work(number, Some(barrier)) };
        let together = threads > 1 && Team::of(threads).is_some_and(|team| team.run(&share));
        if !together {
            // SAFETY: as above.
            unsafe { program.work(0, None) };
        }
        if let Some(start) = start {
            self.pace.took(start.elapsed());
        }
        self.arena.settle();
    }

    /// What one of several threads does, or a thread alone.
    ///
    /// # Safety
    ///
    /// As `run`; all threads of the barrier must do this at the same time, and no other.
    unsafe fn work(&self, number: usize, barrier: Option<&Barrier>) {
        let threads = barrier.map_or(1, Barrier::threads);
        let mut before = false;
        for (i, phase) in self.phases.iter().enumerate() {
            // Phases of the first thread alone need not wait for each other.
            if let Some(barrier) = barrier.filter(|_| i > 0 && (before || phase.shared)) {
                barrier.wait();
            }
            before = phase.shared;
            let units = phase.units;
            let share = match phase.shared {
                true => units * number / threads..units * (number + 1) / threads,
                false if number == 0 => 0..units,
                false => continue,
            };
            let pointers = &self.seats[number].pointers;
            if phase.turns.is_empty() {
                let step = &self.steps[phase.steps.start];
                let refuse = self.found.by(phase.steps.start);
                // SAFETY: promised by the caller.
                unsafe { step.kernel.run(share, &pointers[step.operands..], refuse) };
                continue;
            }
            for turn in share {
                for number in phase.steps.clone() {
                    // SAFETY: promised by the caller.
                    unsafe { self.steps[number].take(turn, &phase.turns, pointers, self.found.by(number)) };
                }
            }
        }
    }

    /// The results of which products see that they are not finite or large.
    pub(crate) fn checked(&self) -> &[Range<usize>] {
        &self.checked
    }

    /// Whether any of these did in the last run.
    pub(crate) fn has_seen(&mut self) -> bool {
        let products = self.steps.iter_mut().filter_map(|step| match &mut step.kernel {
            Kernel::MatMul(product) => Some(product),
            _ => None,
        });
        products.fold(false, |seen, product| product.has_seen() | seen)
    }

    /// Runs all kernels on one thread, and notes what each takes where that is less than before.
    ///
    /// # Safety
    ///
    /// As `run`.
    unsafe fn time(&self, times: &mut [Duration]) {
        let pointers = &self.seats[0].pointers;
        for phase in &self.phases {
            let mut taken = vec![Duration::ZERO; phase.steps.len()];
            let mut before = Instant::now();
            for turn in 0..phase.turns.iter().product() {
                for (number, taken) in phase.steps.clone().zip(&mut taken) {
                    // SAFETY: promised by the caller.
                    unsafe { self.steps[number].take(turn, &phase.turns, pointers, self.found.by(number)) };
                    let now = Instant::now();
                    *taken += now - before;
                    before = now;
                }
            }
            for (time, taken) in times[phase.steps.clone()].iter_mut().zip(taken) {
                *time = (*time).min(taken);
            }
        }
    }

    /// The operands of one more thread; those of the caller are set at each run.
    fn seat(&mut self) -> Result<Seat> {
        let mut scratch = match &self.guard {
            Some(guard) => guard.scratch()?,
            None => Buffer::zeros(self.scratch, self.name)?,
        };
        let (arena, room) = (self.arena.as_mut_ptr(), scratch.as_mut_ptr());
        let pointer = |&(location, offset): &(Location, usize)| match location {
            Location::Arena(start) => arena.wrapping_add(start + offset).cast(),
            Location::Scratch(start) => room.wrapping_add(start + offset).cast(),
            Location::Nowhere => std::ptr::without_provenance_mut(4 * offset),
            Location::Outside(_) => std::ptr::null_mut(),
        };
        Ok(Seat { pointers: self.locations.iter().map(pointer).collect(), scratch })
    }

    /// Times the kernels of all runs from now on.
    pub(crate) fn start_clock(&mut self) {
        self.clock = Some(vec![Duration::MAX; self.steps.len()]);
    }

    /// Ends that, and gives the lowest time of each kernel.
    pub(crate) fn stop_clock(&mut self) -> Vec<Duration> {
        self.clock.take().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The number of kernels before those of the gradient alone, where there is one.
    pub(crate) fn forward(&self) -> Option<usize> {
        self.report.forward
    }

    /// What the kernels are, and what made their code.
    pub(crate) fn kernels(&self) -> impl Iterator<Item = (&Description, Backend)> {
        self.report.kernels.iter().zip(self.steps.iter().map(|step| step.kernel.backend()))
    }

    /// The code of the parts of each kernel.
    pub(crate) fn codes(&self) -> impl Iterator<Item = Vec<&Compiled>> {
        self.steps.iter().map(|step| step.kernel.codes())
    }

    /// What the kernels are, what made their code, and what they read, write and compute; where a kernel has
    /// narrower vectors than the level, why. `without` are the bytes of activations that would be kept without
    /// checkpoints.
    pub(crate) fn explain(&self, without: Option<usize>) -> String {
        let Report { kernels, bytes, flops, arena, unshared, kept, .. } = &self.report;
        let mut text = String::new();
        let arena = 4 * arena;
        let _ = writeln!(
            text,
            "{}: {} kernels, {flops} flops, {bytes} bytes moved; arena {arena} bytes ({} without sharing), {} a thread",
            self.name,
            kernels.len(),
            4 * unshared,
            4 * self.scratch
        );
        if let Some(kept) = kept {
            let saved = without.map_or(String::new(), |all| match all.checked_sub(*kept) {
                Some(more) => format!(", {more} more without checkpoints"),
                None => format!(", {all} without checkpoints"),
            });
            let _ = writeln!(text, "      activations: {kept} bytes kept for the gradient{saved}");
        }
        for (i, (kernel, backend)) in self.kernels().enumerate() {
            let _ = writeln!(text, "{i:>4}  {backend:<18} {kernel}");
            if let Some(fallback) = backend.fallback() {
                let _ = writeln!(text, "      {fallback}");
            }
        }
        text
    }
}

/// For each product the elements of a slot that it computes alone, and no other kernel touches.
fn ends(plan: &Plan, slot: Option<Slot>) -> Vec<Option<Range<usize>>> {
    let places = |call: &Call| -> Vec<usize> {
        let place = |operand: &Planned| match plan.locations[&operand.storage] {
            Location::Outside(place) if Some(place.slot) == slot => Some(place.offset + operand.offset),
            _ => None,
        };
        call.operands.iter().filter_map(place).collect()
    };
    let touched: Vec<usize> = plan.calls.iter().flat_map(&places).collect();
    let products = plan.calls.iter().filter_map(|call| call.matmul().map(|product| (call, product)));
    let end = |(call, product): (&Call, &MatMul)| {
        let &[start] = &places(call)[..] else { return None };
        let range = start..start + product.elements()[2];
        let alone = touched.iter().filter(|place| range.contains(place)).count() == 1;
        (alone && call.shared_loops.sizes.is_empty()).then_some(range)
    };
    products.map(end).collect()
}

/// Writes what is known before the first run.
fn write_constants(arena: &mut Buffer, constants: &[(usize, Vec<u32>)]) {
    let memory = arena.as_mut_ptr();
    for (offset, bits) in constants {
        // SAFETY: the plan has a place in the arena for each constant.
        unsafe { std::ptr::copy_nonoverlapping(bits.as_ptr().cast(), memory.add(*offset), bits.len()) };
    }
}

impl Report {
    fn new(graph: &Graph, plan: &Plan) -> Report {
        Report {
            kernels: plan.calls.iter().map(|call| call.describe(graph)).collect(),
            bytes: plan.calls.iter().map(Call::bytes).sum(),
            flops: plan.calls.iter().map(Call::flops).sum(),
            arena: plan.arena,
            unshared: plan.unshared,
            forward: plan.forward(graph),
            kept: plan.saved_for_backward(graph),
        }
    }
}

impl Step {
    /// Runs the whole kernel for one turn; a kernel by itself has only one.
    ///
    /// # Safety
    ///
    /// As [`Kernel::run`], for this turn's part of the operands.
    unsafe fn take(&self, turn: usize, sizes: &[usize], pointers: &[*mut u8], refuse: Refuse<'_>) {
        let pointers = &pointers[self.operands..];
        let units = 0..self.kernel.units();
        if self.strides.is_empty() {
            // SAFETY: promised by the caller.
            return unsafe { self.kernel.run(units, pointers, refuse) };
        }
        let mut moved = [std::ptr::null_mut(); MAX_OPERANDS];
        for ((moved, pointer), strides) in moved.iter_mut().zip(pointers).zip(&self.strides) {
            let (mut left, mut offset) = (turn, 0);
            for (size, stride) in sizes.iter().zip(strides).rev() {
                offset += (left % size) as isize * stride;
                left /= size;
            }
            *moved = pointer.wrapping_offset(4 * offset);
        }
        // SAFETY: promised by the caller.
        unsafe { self.kernel.run(units, &moved[..self.strides.len()], refuse) };
    }
}
