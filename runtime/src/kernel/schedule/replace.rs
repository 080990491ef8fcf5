//! Results in the place of arguments.
//!
//! A loop nest may write a value where another lies that nothing reads later, if it reads each element of that
//! no later than it writes the one of the same place: in the same turn, and in the same pass or one before.

use crate::ir::nest::LoopKernel;
use crate::ir::strip::{Effect, Inst, Strip, Walk};
use crate::kernel::{Call, Home, Work};

impl Call {
    /// The values of other nodes in whose place it may write `result`, as far as the kernel itself goes.
    pub(crate) fn replaced_by(&self, result: Home) -> Vec<Home> {
        let Work::Loop(kernel) = &self.work else { return vec![] };
        let Some(to) = self.only(result) else { return vec![] };
        let Some((pass, walk)) = kernel.first_store(to) else { return vec![] };
        let other = |home: &Home| matches!(home, Home::Value(_)) && *home != result;
        let homes = self.operands.iter().map(|operand| operand.home).filter(other);
        let is_read_before = |from: usize| {
            kernel.operands[from] == kernel.operands[to]
                && kernel.passes.iter().enumerate().all(|(i, p)| {
                    let reads = loads(&p.each, from).all(|load| i <= pass && load == walk);
                    reads && loads(&p.once, from).next().is_none() && !writes(&p.each, from) && !writes(&p.once, from)
                })
        };
        homes.filter(|&home| self.only(home).is_some_and(is_read_before)).collect()
    }

    /// The number of the operand that is this value from its first element on, if no other is a part of it.
    fn only(&self, home: Home) -> Option<usize> {
        let mut at = (0..self.operands.len()).filter(|&i| self.operands[i].home == home);
        let first = at.next()?;
        (at.next().is_none() && self.operands[first].offset == 0).then_some(first)
    }
}

impl LoopKernel {
    /// The first pass that stores an operand for each element, and how it goes through a row; none if
    /// something else is done to it.
    fn first_store(&self, operand: usize) -> Option<(usize, Walk)> {
        let touched = |p: &crate::ir::nest::Pass| writes(&p.each, operand) || writes(&p.once, operand);
        let filled = self.fills.iter().any(|fill| fill.0 == operand);
        let first = self.passes.iter().position(touched).filter(|_| !filled)?;
        self.passes[first].each.effects().iter().find_map(|effect| match *effect {
            Effect::Store(to, walk, _) if to == operand => Some((first, walk)),
            _ => None,
        })
    }
}

/// How a strip goes through an operand that it reads.
fn loads(strip: &Strip, operand: usize) -> impl Iterator<Item = Walk> + '_ {
    strip.insts().iter().filter_map(move |inst| match *inst {
        Inst::Load(from, walk, _) if from == operand => Some(walk),
        _ => None,
    })
}

fn writes(strip: &Strip, operand: usize) -> bool {
    strip.effects().iter().any(|effect| match *effect {
        Effect::Store(to, ..) | Effect::Accumulate(to, ..) => to == operand,
        Effect::Fold(..) | Effect::Define(..) => false,
    })
}
