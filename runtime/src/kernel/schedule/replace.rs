//! Results in the place of arguments.
//!
//! A loop nest may write a value where another lies that nothing reads later, if it reads each element of that
//! no later than it writes the one of the same place: in the same turn, and in the same pass or one before.

use std::collections::HashMap;

use crate::ir::strip::{Effect, Inst, Walk};
use crate::kernel::{Call, Home, Work};

/// What a call does to its operands, as far as it decides which of them may lie in the place of which. It is found in one
/// pass over a kernel, since a large one has thousands of both.
pub(crate) struct Uses<'c> {
    call: &'c Call,
    of: Vec<Use>,
    /// The number of the operand that is a value from its first element on, if no other is a part of it.
    only: HashMap<Home, Option<usize>>,
}

/// What is done to an operand.
#[derive(Clone, Default)]
struct Use {
    loads: Loads,
    /// The first pass that writes it.
    written: Option<usize>,
    /// How that pass goes through a row, if it stores each element.
    store: Option<Walk>,
}

/// Where an operand is read for each element.
#[derive(Clone, Default)]
enum Loads {
    #[default]
    None,
    /// In the same way in all passes up to this one.
    Alike(usize, Walk),
    /// In different ways, or once a row.
    Otherwise,
}

impl Call {
    /// The values of other nodes in whose place it may write `result`, as far as the kernel itself goes.
    pub(crate) fn replaced_by(&self, result: Home) -> Vec<Home> {
        Uses::new(self).replaced_by(result)
    }
}

impl Uses<'_> {
    pub(crate) fn new(call: &Call) -> Uses<'_> {
        let mut only = HashMap::new();
        for (i, operand) in call.operands.iter().enumerate() {
            only.entry(operand.home).and_modify(|at| *at = None).or_insert((operand.offset == 0).then_some(i));
        }
        let mut of = vec![Use::default(); call.operands.len()];
        let passes = if let Work::Loop(kernel) = &call.work { &kernel.passes[..] } else { &[] };
        for (i, pass) in passes.iter().enumerate() {
            for inst in pass.each.insts() {
                if let Inst::Load(from, walk, _) = *inst {
                    let loads = &mut of[from].loads;
                    *loads = match *loads {
                        Loads::None => Loads::Alike(i, walk),
                        Loads::Alike(_, before) if before == walk => Loads::Alike(i, walk),
                        _ => Loads::Otherwise,
                    };
                }
            }
            for inst in pass.once.insts() {
                if let Inst::Load(from, ..) = *inst {
                    of[from].loads = Loads::Otherwise;
                }
            }
            for effect in pass.each.effects().iter().chain(pass.once.effects()) {
                if let Effect::Store(to, ..) | Effect::Accumulate(to, ..) = *effect {
                    of[to].written.get_or_insert(i);
                }
            }
            for effect in pass.each.effects() {
                if let Effect::Store(to, walk, _) = *effect
                    && of[to].written == Some(i)
                {
                    of[to].store.get_or_insert(walk);
                }
            }
        }
        Uses { call, of, only }
    }

    /// The values of other nodes in whose place `result` may be written, as far as the kernel itself goes.
    pub(crate) fn replaced_by(&self, result: Home) -> Vec<Home> {
        let (Work::Loop(kernel), Some(to)) = (&self.call.work, self.only(result)) else { return vec![] };
        let (Some(pass), Some(walk)) = (self.of[to].written, self.of[to].store) else { return vec![] };
        if kernel.fills.iter().any(|fill| fill.0 == to) {
            return vec![];
        }
        let is_read_before = |from: usize| {
            let loads = match self.of[from].loads {
                Loads::None => true,
                Loads::Alike(last, load) => last <= pass && load == walk,
                Loads::Otherwise => false,
            };
            loads && self.of[from].written.is_none() && kernel.operands[from] == kernel.operands[to]
        };
        let other = |home: &Home| matches!(home, Home::Value(_)) && *home != result;
        let homes = self.call.operands.iter().map(|operand| operand.home).filter(other);
        homes.filter(|&home| self.only(home).is_some_and(is_read_before)).collect()
    }

    fn only(&self, home: Home) -> Option<usize> {
        self.only.get(&home).copied().flatten()
    }
}
