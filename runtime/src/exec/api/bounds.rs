//! How large weights and states of the optimizer are, and for how many steps an update is sure to keep them finite.
//!
//! To undo an update takes a copy of all that it writes, which costs about as much as the update. So it is foreseen
//! whether one may be needed: from the ends of all arrays, which are measured, intervals are followed through the update
//! again and again, for any gradient that is not large and for numbers of the optimizer that are not much larger than
//! now. As long as each interval ends far from the largest number there is, no update can make one infinite, whatever the
//! rule is. When these steps are over, the arrays are measured again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::finite::{rows, trained};
use super::model::Entry;
use super::update::Staged;
use crate::codegen::matmul::LARGE_SQUARES;
use crate::error::Result;
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::graph::verify::intervals_from;
use crate::graph::{Graph, Op, Var};
use crate::kernel::{Extent, Place, Region, Slot, with_multiply_adds};
use crate::network;
use crate::ops::{max_axes, min_axes};
use crate::shape::check::Interval;

/// Numbers of up to this size are far from the largest there is.
const FAR: f64 = 1e38;

/// The most steps that are foreseen at once.
const STEPS: u32 = 256;

/// How many times larger than now weights, states and numbers may become before they are followed anew.
const ROOM: f64 = 4.0;

/// Marks that were given away; no model has the mark 0.
static MARKS: AtomicU64 = AtomicU64::new(1);

#[network]
fn largest(x: Tensor) -> Tensor {
    max_axes(x, [1])
}

#[network]
fn smallest(x: Tensor) -> Tensor {
    min_axes(x, [1])
}

/// The weights to update, with a mark of who measured them: whatever else changes them takes it away.
pub(crate) struct Weights<'a> {
    pub(crate) params: &'a mut Buffer,
    pub(crate) mark: &'a mut u64,
}

/// What is known of the weights and the states, which are arrays of the same elements, in this order.
pub(crate) struct Bounds {
    growth: Growth,
    measure: Option<Program>,
    /// The ends of each row: of each array the largest numbers, then the smallest.
    ends: Buffer,
    /// The ends of each array when they were measured.
    arrays: Vec<Interval>,
    /// The mark of the weights that were measured, and whether there has been no update since.
    mark: u64,
    is_fresh: bool,
    /// For how many more updates all arrays are sure to stay finite.
    left: u32,
}

impl Bounds {
    /// The bounds of the parameters that have an optimizer, and of so many states, each of `len` elements.
    pub(crate) fn new(
        growth: Growth,
        entries: &[Entry],
        assigned: &[Option<usize>],
        (params_len, len, states): (usize, usize, usize),
    ) -> Result<Bounds> {
        let parts: Vec<_> = trained(entries, assigned, &[]).into_iter().flat_map(rows).collect();
        let mut staged = Staged::default();
        let mut end = 0;
        for slot in slots(states) {
            for stage in [largest::stage, smallest::stage] {
                for &(offset, rows, row) in &parts {
                    let x = staged.input(Place { slot, offset }, &[rows, row]);
                    staged.result(Place { slot: Slot::Norms, offset: end }, &[rows], |g| stage(g, x));
                    end += rows;
                }
            }
        }
        let mut extents = vec![Extent::read(Slot::Params, params_len), Extent::written(Slot::Norms, end)];
        extents.extend((0..states).map(|i| Extent::read(Slot::Moment(i), len)));
        let measure = (end > 0).then(|| staged.compile("bounds", &extents)).transpose()?;
        let ends = Buffer::zeros(end, "the bounds of the parameters")?;
        let arrays = vec![Interval::from_to(0.0, 0.0); 1 + states];
        Ok(Bounds { growth, measure, ends, arrays, mark: 0, is_fresh: false, left: 0 })
    }

    /// Whether an update by a gradient that is not large, and these numbers, is sure to keep everything finite.
    pub(crate) fn foresee(&mut self, weights: &mut Weights<'_>, states: &[Buffer], numbers: &[f32]) -> Result<bool> {
        if *weights.mark != self.mark || self.left == 0 || !self.growth.admits(numbers) {
            if *weights.mark != self.mark || !self.is_fresh {
                self.measure(weights, states)?;
            }
            self.left = self.growth.steps(&self.arrays, numbers);
        }
        self.is_fresh = false;
        let sure = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Ok(sure)
    }

    /// Measures all arrays; gives whether each element is finite.
    pub(crate) fn measure(&mut self, weights: &mut Weights<'_>, states: &[Buffer]) -> Result<bool> {
        if let Some(program) = &mut self.measure {
            // SAFETY: weights and states are only read, the ends are the pass's own, and there are no indices.
            unsafe {
                program.run(&mut |slot| match slot {
                    Slot::Params => Some(Memory::read(weights.params)),
                    Slot::Moment(i) => states.get(i).map(|state| Memory::read(state)),
                    Slot::Norms => Some(Memory::write(&mut self.ends)),
                    _ => None,
                })
            }?;
        }
        let len = self.ends.len() / (2 * self.arrays.len());
        for (i, array) in self.arrays.iter_mut().enumerate() {
            let (most, least) = self.ends[2 * i * len..2 * (i + 1) * len].split_at(len);
            *array = Interval::of(most.iter().chain(least));
        }
        self.mark = MARKS.fetch_add(1, Ordering::Relaxed);
        *weights.mark = self.mark;
        (self.is_fresh, self.left) = (true, 0);
        Ok(self.arrays.iter().all(|array| array.is_at_most(f32::MAX.into())))
    }

    /// Forgets what was measured, since the weights or states were changed.
    pub(crate) fn forget(&mut self) {
        self.mark = 0;
    }
}

/// The slots of the weights and of so many states.
fn slots(states: usize) -> impl Iterator<Item = Slot> {
    std::iter::once(Slot::Params).chain((0..states).map(Slot::Moment))
}

/// How far one update after the other can take the weights and states.
pub(crate) struct Growth {
    graph: Graph,
    live: Vec<bool>,
    /// Where each node comes from that is an input.
    sources: Vec<Option<Place>>,
    /// The new weights and states, each with the number of its array.
    results: Vec<(Var, usize)>,
    /// The intervals of all nodes in the last update that was followed.
    intervals: Vec<Interval>,
    /// The ends of the arrays in front of it, and behind it.
    arrays: [Vec<Option<Interval>>; 2],
    /// From which arrays and numbers updates were followed, and how many of them were sure.
    start: Vec<Interval>,
    numbers: Vec<Interval>,
    steps: u32,
}

impl Growth {
    /// Of an update that reads these inputs and writes these results.
    pub(crate) fn new(graph: &Graph, inputs: &[Region], results: &[(Var, Region)], numbers: usize) -> Growth {
        let places: Vec<_> = results.iter().map(|(v, region)| (*v, region.place)).collect();
        let graph = with_multiply_adds(graph, &places);
        let live = graph.live(places.iter().map(|&(v, _)| v));
        let source = |op: &Op| match op {
            Op::Input(i) => inputs.get(*i).map(|region| region.place),
            _ => None,
        };
        let sources = graph.nodes().iter().map(|node| source(&node.op)).collect();
        let results: Vec<_> = places.iter().filter_map(|&(v, place)| Some((v, array(place.slot)?))).collect();
        let arrays = results.iter().map(|&(_, array)| array + 1).max().unwrap_or(0);
        Growth {
            intervals: Vec::with_capacity(graph.nodes().len()),
            graph,
            live,
            sources,
            results,
            arrays: [vec![None; arrays], vec![None; arrays]],
            start: Vec::with_capacity(arrays),
            numbers: vec![Interval::from_to(0.0, 0.0); numbers],
            steps: 0,
        }
    }

    /// Whether these numbers are among those for which updates were followed.
    fn admits(&self, numbers: &[f32]) -> bool {
        self.numbers
            .iter()
            .zip(numbers)
            .all(|(interval, &x)| Interval::from_to(x.into(), x.into()).is_inside(*interval))
    }

    /// For how many updates from these arrays on, and with numbers like these, everything is sure to be finite.
    fn steps(&mut self, arrays: &[Interval], numbers: &[f32]) -> u32 {
        // Fewer steps than that may have become more.
        let known = self.steps == STEPS && self.admits(numbers);
        if !known || !arrays.iter().zip(&self.start).all(|(array, start)| array.is_inside(*start)) {
            self.numbers.iter_mut().zip(numbers).for_each(|(interval, &x)| *interval = room_for_number(x.into()));
            self.start.clear();
            self.start.extend(arrays.iter().map(|array| array.widened(ROOM)));
            self.steps = self.follow();
        }
        self.steps
    }

    fn follow(&mut self) -> u32 {
        // A sum of squares may be rounded.
        let large = 1.001 * f64::from(LARGE_SQUARES).sqrt();
        let [before, after] = &mut self.arrays;
        before.iter_mut().zip(&self.start).for_each(|(array, start)| *array = Some(*start));
        for step in 0..STEPS {
            let (sources, numbers) = (&self.sources, &self.numbers);
            let source = |v: Var| {
                let place = sources[v.index()]?;
                match place.slot {
                    Slot::Grads => Some(Interval::from_to(-large, large)),
                    Slot::Numbers => numbers.get(place.offset).copied(),
                    slot => before.get(array(slot)?).copied().flatten(),
                }
            };
            intervals_from(&self.graph, &self.live, &source, &mut self.intervals);
            after.fill(None);
            for &(v, array) in &self.results {
                let interval = self.intervals[v.index()];
                if !interval.is_at_most(FAR) {
                    return step;
                }
                after[array] = Some(after[array].map_or(interval, |other| other.hull(interval)));
            }
            std::mem::swap(before, after);
        }
        STEPS
    }
}

/// The numbers among which one is that changes from step to step. Those up to 1 stay so: many are what is left of a
/// weight.
fn room_for_number(x: f64) -> Interval {
    let size = if x.abs() <= 1.0 { (ROOM * x.abs()).min(1.0) } else { ROOM * x.abs() };
    if x < 0.0 { Interval::from_to(-size, 0.0) } else { Interval::from_to(0.0, size) }
}

/// The number of an array.
fn array(slot: Slot) -> Option<usize> {
    match slot {
        Slot::Params => Some(0),
        Slot::Moment(i) => Some(1 + i),
        _ => None,
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::exec::api::rules::Rules;
    use crate::exec::api::update::Update;
    use crate::optim::*;

    /// For how many steps a rule is foreseen, from weights and states up to this size on.
    fn foreseen(rule: impl Optimizer + 'static, size: f64) -> u32 {
        let entries = [Entry { name: "w".into(), shape: vec![40], offset: 0, state: false }];
        let signed = ["momentum_buffer", "exp_avg", "grad_avg"];
        let low = |name: &&str| if signed.contains(name) { -size } else { 0.0 };
        let states: Vec<Interval> = rule.state().iter().map(|name| Interval::from_to(low(name), size)).collect();
        let arrays = [vec![Interval::from_to(-size, size)], states].concat();
        let numbers = [1, 1000].map(|step| {
            let mut numbers = vec![1.0; 1 + rule.numbers()];
            rule.at(step, rule.lr(), &mut numbers[1..]);
            numbers
        });
        let mut update = Update::new(Rules::new(Arc::new(rule)), &entries, 48).unwrap();
        numbers.map(|numbers| update.bounds.growth.steps(&arrays, &numbers)).into_iter().min().unwrap()
    }

    /// None of the usual rules needs a copy of its weights, and most are measured rarely.
    #[test]
    fn all_rules_are_foreseen() {
        for size in [1.0, 1e3, 1e8] {
            let long = [
                foreseen(Sgd::new(0.1), size),
                foreseen(Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(1e-3), size),
                foreseen(Adam::new(1e-2), size),
                foreseen(Adam::new(1e-2).amsgrad(true), size),
                foreseen(AdamW::new(1e-2).weight_decay(0.1), size),
                foreseen(NAdam::new(1e-2), size),
                foreseen(RAdam::new(1e-2), size),
                foreseen(Adamax::new(1e-2), size),
                foreseen(Adagrad::new(1e-2), size),
                foreseen(RmsProp::new(1e-2), size),
                foreseen(RmsProp::new(1e-2).momentum(0.9).centered(true), size),
                foreseen(Lion::new(1e-4).weight_decay(1.0), size),
            ];
            assert_eq!(long, [STEPS; 12], "{size}");
            // By intervals a weight that decays by its gradient is a large gradient in the next step.
            assert!(foreseen(Adam::new(1e-3).weight_decay(1e-4), size) > 4);
            assert!(foreseen(RmsProp::new(1e-2).weight_decay(1e-4), size) > 2);
            assert!(foreseen(Adagrad::new(1e-2).weight_decay(1e-4), size) > 1);
        }
        assert!(foreseen(Adadelta::new(1.0), 1.0) > 0);
    }

    #[test]
    fn what_may_become_infinite_is_not_foreseen() {
        assert_eq!(foreseen(Adam::new(1e-2).weight_decay(1e-2), 1e22), 0);
        assert_eq!(foreseen(Adam::new(1e-2).eps(0.0), 1.0), 0);
        assert_eq!(foreseen(Sgd::new(1e30), 1.0), 0);
        assert!((1..STEPS).contains(&foreseen(Sgd::new(1.0).momentum(2.0), 1.0)));
    }
}
