//! Results that overwrite arguments.
//!
//! A loop nest may write its result over an argument that nothing reads later, if it reads each element of the argument
//! no later than it writes the element of the same index: in the same iteration, and in the same or an earlier pass.

use std::collections::HashMap;

use crate::ir::strip::{Effect, Inst, Walk};
use crate::kernel::{Call, Storage, Work};

/// How a call uses its operands, as far as that decides which of them may overwrite which. One traversal of the kernel
/// collects this for all operands: a large kernel has thousands of operands and instructions.
pub(crate) struct Uses<'c> {
    call: &'c Call,
    /// For each operand, how it is used.
    of: Vec<Use>,
    /// The number of the only operand in each storage, if it starts at the first element.
    only: HashMap<Storage, Option<usize>>,
}

/// How a kernel uses an operand.
#[derive(Clone, Default)]
struct Use {
    loads: Loads,
    /// The first pass that writes it.
    written: Option<usize>,
    /// The walk along a row with which that pass stores every element; `None` if it does not.
    store: Option<Walk>,
}

/// The loads of an operand.
#[derive(Clone, Default)]
enum Loads {
    #[default]
    None,
    /// With the same walk in all passes; the last pass that loads, and the walk.
    Alike(usize, Walk),
    /// With different walks, or once for a row.
    Otherwise,
}

impl Call {
    /// The values that `result` may overwrite, as far as this kernel is concerned.
    pub(crate) fn replaced_by(&self, result: Storage) -> Vec<Storage> {
        Uses::new(self).replaced_by(result)
    }
}

impl Uses<'_> {
    pub(crate) fn new(call: &Call) -> Uses<'_> {
        let mut only = HashMap::new();
        for (i, operand) in call.operands.iter().enumerate() {
            only.entry(operand.storage)
                .and_modify(|operand| *operand = None)
                .or_insert((operand.offset == 0).then_some(i));
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

    /// The values that `result` may overwrite, as far as this kernel is concerned.
    pub(crate) fn replaced_by(&self, result: Storage) -> Vec<Storage> {
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
        let other = |storage: &Storage| matches!(storage, Storage::Value(_)) && *storage != result;
        let storages = self.call.operands.iter().map(|operand| operand.storage).filter(other);
        storages.filter(|&storage| self.only(storage).is_some_and(is_read_before)).collect()
    }

    fn only(&self, storage: Storage) -> Option<usize> {
        self.only.get(&storage).copied().flatten()
    }
}
