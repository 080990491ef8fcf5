//! Whether a gradient is finite: what is not would ruin every parameter that an update touches.
//!
//! Products that write a gradient see it themselves (see `codegen/matmul/check`), where they are emitted for vectors of
//! 256 or 512 bits. A pass looks at the rest. Both tell by sums of squares, which are small only where all that is added
//! up is; where one is not, each number is looked at. So a gradient is known too that is finite, but so large that a
//! state of the optimizer may not be, by its square for example.

use std::ops::Range;

use super::model::{Entry, params};
use super::update::Staged;
use crate::codegen::matmul::LARGE_SQUARES;
use crate::error::{Error, Result};
use crate::exec::run::memory::Memory;
use crate::exec::run::{Buffer, Program};
use crate::ir::LINE;
use crate::kernel::{Extent, Place, Slot};
use crate::network;
use crate::ops::sum_axes;

/// Elements that are added up to one number.
const ROW: usize = 1024;

/// The squares of each row, added up.
#[network]
fn squares(x: Tensor) -> Tensor {
    sum_axes(x * x, [1])
}

/// What a gradient is that is finite.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Size {
    Small,
    /// Large enough for a state of an optimizer to become infinite.
    Large,
}

impl Size {
    /// The size of a gradient of this norm.
    pub(crate) fn of_norm(norm: f64) -> Size {
        if norm * norm < f64::from(LARGE_SQUARES) { Size::Small } else { Size::Large }
    }
}

/// Elements that are looked at faster than a program is begun.
const FEW: usize = 256;

/// A pass over parts of the gradient, compiled so that it is as fast in a debug build.
pub(crate) struct Finite {
    /// Parts of a few elements together, which need no program.
    few: Vec<Range<usize>>,
    program: Option<Program>,
    sums: Buffer,
}

impl Finite {
    /// The pass over all parameters that have an optimizer, but for those whose gradients are `checked`.
    /// The gradient has `len` elements.
    pub(crate) fn new(
        entries: &[Entry],
        assigned: &[Option<usize>],
        checked: &[Range<usize>],
        len: usize,
    ) -> Result<Finite> {
        let mut ranges = trained(entries, assigned, checked);
        let few = if ranges.iter().map(Range::len).sum::<usize>() > FEW { vec![] } else { std::mem::take(&mut ranges) };
        let (mut staged, mut count) = (Staged::default(), 0);
        for (offset, rows, row) in ranges.into_iter().flat_map(rows) {
            let grads = staged.input(Place { slot: Slot::Grads, offset }, &[rows, row]);
            staged.result(Place { slot: Slot::Norms, offset: count }, &[rows], |g| squares::stage(g, grads));
            count += rows;
        }
        let slots = [Extent::read(Slot::Grads, len), Extent::written(Slot::Norms, count)];
        let program = (count > 0).then(|| staged.compile("finite", &slots)).transpose()?;
        Ok(Finite { few, program, sums: Buffer::zeros(count, "the sums of the gradient")? })
    }

    /// Whether these parts of a gradient are small, and so finite.
    pub(crate) fn are_small(&mut self, grads: &Buffer) -> Result<bool> {
        if let Some(program) = &mut self.program {
            // SAFETY: the gradient is only read, the sums are the pass's own, and there are no indices.
            unsafe {
                program.run(&mut |slot| match slot {
                    Slot::Grads => Some(Memory::read(grads)),
                    Slot::Norms => Some(Memory::write(&mut self.sums)),
                    _ => None,
                })
            }?;
        }
        Ok(are_below(&self.sums, LARGE_SQUARES)
            && self.few.iter().all(|range| are_below(&grads[range.clone()], LARGE_SQUARES.sqrt())))
    }

    pub(crate) fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    pub(crate) fn explain(&self) -> String {
        self.program.as_ref().map(|program| program.explain(None)).unwrap_or_default()
    }
}

/// The parts of the flat arrays that belong to parameters with an optimizer, but for those that are left out.
pub(crate) fn trained(entries: &[Entry], assigned: &[Option<usize>], left_out: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let trained = entries.iter().zip(assigned).filter(|(_, group)| group.is_some()).map(|(entry, _)| entry);
    for range in trained.map(|entry| entry.offset..entry.offset + entry.len()).filter(|r| !left_out.contains(r)) {
        match ranges.last_mut() {
            // Between parameters there are zeros.
            Some(last) if range.start < last.end + LINE => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Whether the size of all numbers is below a limit, without a branch for each.
fn are_below(numbers: &[f32], limit: f32) -> bool {
    numbers.iter().fold(true, |below, x| below & (x.abs() < limit))
}

/// A range as whole rows and what is left: where each begins, the number of rows and their length.
pub(crate) fn rows(range: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
    let (rows, rest) = (range.len() / ROW, range.len() % ROW);
    [(range.start, rows, ROW), (range.start + rows * ROW, 1, rest)].into_iter().filter(|(_, rows, row)| rows * row > 0)
}

/// Refuses a gradient that is not finite, after each number was looked at.
pub(crate) fn check(entries: &[Entry], grads: &[f32], step: u64) -> Result<Size> {
    match culprit(entries, grads) {
        Some((name, value)) => Err(Error::NotFiniteGrad { parameter: Some(name), value, step, epoch: 0 }),
        None => Ok(Size::Large),
    }
}

/// The error of a norm that is not finite: it names the first parameter whose gradient is not, if there is one.
pub(crate) fn refused_norm(entries: &[Entry], grads: &[f32], norm: f32, step: u64) -> Error {
    let (parameter, value) = culprit(entries, grads).map_or((None, norm), |(name, value)| (Some(name), value));
    Error::NotFiniteGrad { parameter, value, step, epoch: 0 }
}

/// The first parameter whose gradient is not finite, and its first number that is not.
fn culprit(entries: &[Entry], grads: &[f32]) -> Option<(String, f32)> {
    params(entries).find_map(|entry| {
        let grad = &grads[entry.offset..entry.offset + entry.len()];
        grad.iter().find(|x| !x.is_finite()).map(|&x| (entry.name.clone(), x))
    })
}

/// What becomes infinite or no number from one array to the next. What is infinite from the start may stay so.
pub(crate) fn lost(before: &[f32], after: &[f32]) -> Option<f32> {
    if after.iter().fold(true, |finite, x| finite & x.is_finite()) {
        return None;
    }
    let is_lost = |before: f32, after: f32| before.is_finite() || after.is_nan() && !before.is_nan();
    let mut elements = before.iter().zip(after).filter(|(_, after)| !after.is_finite());
    elements.find(|&(&before, &after)| is_lost(before, after)).map(|(_, &after)| after)
}
