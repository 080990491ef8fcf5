//! The order of a strip's instructions: loop-invariant values are computed before the run, loads come just before their
//! first use, and effects as soon as they are possible.

use crate::ir::strip::{Effect, Inst, Kind, Op1, Reg, Strip, Walk};

/// Splits a strip: the loop-invariant part, computed once before a run, and the rest. Values that the rest reads of the
/// first become scalars, numbered from `scalars` on.
pub(crate) fn hoist(strip: &Strip, scalars: &mut usize) -> (Strip, Strip) {
    let (mut before, mut body) = (Strip::default(), Strip::default());
    // The register of each value in the first part and in the second.
    let mut outside: Vec<Option<Reg>> = Vec::new();
    let mut inside: Vec<Option<Reg>> = vec![None; strip.insts().len()];
    for (i, inst) in strip.insts().iter().enumerate() {
        let kind = strip.kind(Reg(i as u32));
        let same = match inst {
            Inst::Const(..) | Inst::Scalar(_) | Inst::Load(_, Walk::Fixed, _) => true,
            Inst::Load(..) | Inst::Number(..) => false,
            inst => kind != Kind::Mask && inst.args().all(|r| outside[r.index()].is_some()),
        };
        outside.push(same.then(|| before.push(inst.map(|r| outside[r.index()].unwrap_or(r)), kind)));
    }
    let mut need = |body: &mut Strip, before: &mut Strip, inside: &mut Vec<Option<Reg>>, r: Reg| {
        if let Some(reg) = inside[r.index()] {
            return reg;
        }
        let kind = strip.kind(r);
        let reg = match strip.insts()[r.index()] {
            inst @ (Inst::Const(..) | Inst::Scalar(_)) => body.push(inst, kind),
            _ => {
                if let Some(value) = outside[r.index()] {
                    before.effect(Effect::Define(*scalars, value));
                }
                *scalars += 1;
                body.push(Inst::Scalar(*scalars - 1), kind)
            }
        };
        inside[r.index()] = Some(reg);
        reg
    };
    for (i, inst) in strip.insts().iter().enumerate() {
        if outside[i].is_none() {
            let args: Vec<Reg> = inst.args().map(|r| need(&mut body, &mut before, &mut inside, r)).collect();
            let mut originals = inst.args();
            let mut args = args.into_iter();
            let pairs: Vec<(Reg, Reg)> = originals.by_ref().zip(&mut args).collect();
            let moved = inst.map(|r| pairs.iter().find(|(from, _)| *from == r).map_or(r, |(_, to)| *to));
            inside[i] = Some(body.push(moved, strip.kind(Reg(i as u32))));
        }
    }
    for effect in strip.effects() {
        let arg = need(&mut body, &mut before, &mut inside, effect.arg());
        body.effect(effect.with(arg));
    }
    (before, body)
}

/// A strip that computes one element: all lanes are equal.
pub(crate) fn single(strip: &Strip) -> Strip {
    let mut out = Strip::default();
    let mut regs: Vec<Reg> = Vec::new();
    for (i, inst) in strip.insts().iter().enumerate() {
        let inst = match inst.map(|r| regs[r.index()]) {
            Inst::Load(operand, _, kind) => Inst::Load(operand, Walk::Fixed, kind),
            Inst::Number(operand, _) => Inst::Number(operand, Walk::Fixed),
            inst => inst,
        };
        regs.push(out.push(inst, strip.kind(Reg(i as u32))));
    }
    for effect in strip.effects() {
        let effect = effect.with(regs[effect.arg().index()]);
        out.effect(match effect {
            Effect::Store(operand, _, r) => Effect::Store(operand, Walk::Fixed, r),
            Effect::Accumulate(operand, _, op, r) => Effect::Accumulate(operand, Walk::Fixed, op, r),
            effect => effect,
        });
    }
    out
}

/// A part of a strip.
#[derive(Clone, Copy)]
pub(crate) enum Item {
    /// The instruction of this number.
    Inst(usize),
    /// The effect of this number.
    Effect(usize),
}

/// An item for one of the vectors that are computed together.
#[derive(Clone, Copy)]
pub(crate) struct Scheduled {
    pub(crate) item: Item,
    /// The number of the vector.
    pub(crate) copy: usize,
}

/// A strip with its instructions in order, for one vector or several. The values of all vectors are numbered; a uniform
/// value has one number.
pub(crate) struct Schedule {
    pub(crate) strip: Strip,
    /// The vectors that are computed together.
    pub(crate) copies: usize,
    pub(crate) order: Vec<Scheduled>,
    /// For each value the positions in `order` that read it.
    pub(crate) uses: Vec<Vec<usize>>,
    /// For each register of the strip the one whose bits it has: conversions of bits cost nothing.
    root: Vec<usize>,
}

impl Schedule {
    /// The instructions of `copies` vectors alternate, so that fewer of them wait for their arguments.
    pub(crate) fn new(strip: Strip, copies: usize) -> Schedule {
        let count = strip.insts().len();
        let mut root: Vec<usize> = (0..count).collect();
        for (i, inst) in strip.insts().iter().enumerate() {
            if let Inst::One(Op1::Bits | Op1::FromBits, x) = inst {
                root[i] = root[x.index()];
            }
        }
        let mut s = Schedule { order: Vec::new(), uses: vec![Vec::new(); count * copies], copies, root, strip };
        s.order =
            s.items().into_iter().flat_map(|item| (0..copies).map(move |copy| Scheduled { item, copy })).collect();
        for (at, &scheduled) in s.order.iter().enumerate() {
            for value in s.args(scheduled) {
                s.uses[value].push(at);
            }
        }
        s
    }

    /// The values that an instruction or effect reads.
    pub(crate) fn args(&self, scheduled: Scheduled) -> Vec<usize> {
        let copy = scheduled.copy;
        match scheduled.item {
            Item::Inst(i) => self.strip.insts()[i].args().map(|r| self.value(r, copy)).collect(),
            Item::Effect(i) => vec![self.value(self.strip.effects()[i].arg(), copy)],
        }
    }

    /// The value of a register in one of the vectors.
    pub(crate) fn value(&self, r: Reg, copy: usize) -> usize {
        let root = self.root[r.index()];
        if self.is_uniform(root) { root } else { root + copy * self.strip.insts().len() }
    }

    /// The register of a value.
    pub(crate) fn reg(&self, value: usize) -> Reg {
        Reg((value % self.strip.insts().len()) as u32)
    }

    /// Whether a value is a constant or scalar: read from memory that does not change during the run, not computed.
    pub(crate) fn is_uniform(&self, value: usize) -> bool {
        match self.strip.insts()[self.reg(value).index()] {
            Inst::Const(_, kind) => kind != Kind::Mask,
            Inst::Scalar(_) => true,
            _ => false,
        }
    }

    /// The instructions whose results an effect depends on.
    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.strip.insts().len()];
        for effect in self.strip.effects() {
            live[self.root[effect.arg().index()]] = true;
        }
        for (i, inst) in self.strip.insts().iter().enumerate().rev() {
            if live[i] {
                inst.args().for_each(|r| live[self.root[r.index()]] = true);
            }
        }
        live
    }

    /// Instructions and effects in order: loads just before their first use, effects as soon as their argument is
    /// known.
    fn items(&self) -> Vec<Item> {
        let insts = self.strip.insts();
        let live = self.live();
        let late = |i: usize| matches!(insts[i], Inst::Load(..) | Inst::Number(..));
        let is_load = |i: usize| matches!(insts[i], Inst::Load(..));
        let computed: Vec<usize> =
            (0..insts.len()).filter(|&i| live[i] && self.root[i] == i && !self.is_uniform(i)).collect();
        let mut loads = computed.iter().filter(|&&i| is_load(i)).count();
        let mut done = vec![false; insts.len()];
        let mut waiting: Vec<usize> = (0..self.strip.effects().len()).collect();
        let mut items = Vec::new();
        for &i in computed.iter().filter(|&&i| !late(i)) {
            for arg in self.args(Scheduled { item: Item::Inst(i), copy: 0 }).into_iter().chain([i]) {
                if !done[arg] && !self.is_uniform(arg) {
                    done[arg] = true;
                    loads -= is_load(arg) as usize;
                    items.push(Item::Inst(arg));
                }
            }
            // A store may overwrite an operand that is still to be loaded: it waits for the last load.
            waiting.retain(|&e| {
                let effect = self.strip.effects()[e];
                let ready = done[self.root[effect.arg().index()]] && (loads == 0 || matches!(effect, Effect::Fold(..)));
                if ready {
                    items.push(Item::Effect(e));
                }
                !ready
            });
        }
        items.extend(computed.iter().filter(|&&i| late(i) && !done[i]).map(|&i| Item::Inst(i)));
        items.extend(waiting.into_iter().map(Item::Effect));
        items
    }

    /// The most computed values that are live at once, those in mask registers not counted if `masks_apart`.
    pub(crate) fn pressure(&self, masks_apart: bool) -> usize {
        let vector = |value: usize| !(masks_apart && self.strip.kind(self.reg(value)) == Kind::Mask);
        let (mut held, mut most) = (0usize, 0);
        for (at, &scheduled) in self.order.iter().enumerate() {
            held += matches!(scheduled.item, Item::Inst(i) if vector(i)) as usize;
            most = most.max(held);
            let mut args = self.args(scheduled);
            args.sort_unstable();
            args.dedup();
            let last = |value: &usize| self.uses[*value].last() == Some(&at);
            held -= args.iter().filter(|&v| !self.is_uniform(*v) && vector(*v) && last(v)).count();
        }
        most
    }
}
