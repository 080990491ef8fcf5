//! The loops of a call, from which some are taken out: what is left is a call of its own, run once a turn.

use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Walk};
use crate::kernel::{Call, Turns, Work};

/// A call as a list of loops.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    pub(crate) call: Call,
    axes: Vec<Axis>,
    /// The loops that were taken out.
    pub(crate) turns: Vec<Axis>,
}

/// A loop: its size, and how far each operand moves with it, in elements.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    role: Role,
    pub(crate) size: usize,
    pub(crate) strides: Vec<isize>,
}

/// What a loop is to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A loop around a row, or over pairs of matrices.
    Around,
    /// Rows side by side, and the row of a loop nest.
    Side,
    Row,
    /// The rows and the columns of a product.
    Rows,
    Columns,
    /// What a product adds up: the inner dimension, and the loops around it.
    Inner,
    Sum,
}

impl Nest {
    /// The loops of a call, outermost first; none if it has no loops to take out.
    pub(crate) fn new(call: &Call) -> Option<Nest> {
        let axes = match &call.work {
            Work::Loop(kernel) if kernel.fills.is_empty() => of_loop(kernel)?,
            Work::MatMul(product) if product.border.is_none() => of_product(product, call.operands.len()),
            _ => return None,
        };
        Some(Nest { call: call.clone(), axes, turns: Vec::new() })
    }

    /// The size of loop number `axis`, if it is one over pairs of matrices or around a row.
    pub(crate) fn around(&self, axis: usize) -> Option<usize> {
        self.axes.get(axis).filter(|axis| axis.role == Role::Around).map(|axis| axis.size)
    }

    /// The loop of this role, which there is only one of.
    pub(crate) fn find(&self, role: Role) -> Option<usize> {
        self.axes.iter().position(|axis| axis.role == role)
    }

    pub(crate) fn size(&self, axis: usize) -> usize {
        self.axes[axis].size
    }

    /// The loop and the number of its steps in a turn, if turns that move an operand by `stride` are a part of it.
    pub(crate) fn seek(&self, operand: usize, turns: usize, stride: isize) -> Option<(usize, usize)> {
        self.axes.iter().enumerate().find_map(|(i, axis)| {
            let own = axis.strides[operand];
            let steps = if own > 0 && stride % own == 0 { (stride / own) as usize } else { 0 };
            (steps > 0 && axis.size.is_multiple_of(steps * turns) && self.may_split(axis)).then_some((i, steps))
        })
    }

    /// Whether parts of a loop may be computed at different times.
    fn may_split(&self, axis: &Axis) -> bool {
        match (axis.role, &self.call.work) {
            (Role::Row, Work::Loop(kernel)) => kernel.passes.iter().all(|pass| {
                let whole = |effect: &Effect| match effect {
                    Effect::Fold(..) | Effect::Define(..) => true,
                    Effect::Store(_, walk, _) | Effect::Accumulate(_, walk, ..) => *walk == Walk::Fixed,
                };
                let scalar = |inst: &Inst| matches!(inst, Inst::Scalar(_));
                pass.once.is_empty() && !pass.each.effects().iter().any(whole) && !pass.each.insts().iter().any(scalar)
            }),
            (role, _) => !matches!(role, Role::Side | Role::Inner | Role::Sum),
        }
    }

    /// Takes a loop of `turns` out of loop number `axis`, `steps` of which are a turn.
    pub(crate) fn take(&mut self, axis: usize, turns: usize, steps: usize) {
        let Axis { role, size, strides } = self.axes[axis].clone();
        let by = |steps: usize| strides.iter().map(|s| s * steps as isize).collect();
        self.turns.push(Axis { role, size: turns, strides: by(steps) });
        let more = size / (turns * steps);
        self.axes[axis].size = steps;
        if steps == 1 && role == Role::Around {
            self.axes.remove(axis);
        }
        if more > 1 {
            self.axes.insert(axis, Axis { role: Role::Around, size: more, strides: by(turns * steps) });
        }
    }

    /// The elements of an operand that a turn touches, as loops over memory: the largest stride first, those
    /// that go on where another ends as one.
    pub(crate) fn footprint(&self, operand: usize) -> Vec<(usize, isize)> {
        let loops = self.axes.iter().map(|axis| (axis.size, axis.strides[operand]));
        let mut loops: Vec<_> = loops.filter(|&(size, stride)| size > 1 && stride != 0).collect();
        loops.sort_by_key(|&(_, stride)| -stride);
        let mut merged: Vec<(usize, isize)> = Vec::new();
        for (size, stride) in loops {
            match merged.last_mut() {
                Some(last) if last.1 == size as isize * stride => *last = (last.0 * size, stride),
                _ => merged.push((size, stride)),
            }
        }
        merged
    }

    /// Whether no two turns touch the same elements of an operand.
    pub(crate) fn is_apart(&self, operand: usize) -> bool {
        let loops = self.axes.iter().chain(&self.turns).map(|axis| (axis.size, axis.strides[operand].abs()));
        let mut loops: Vec<_> = loops.filter(|&(size, _)| size > 1).collect();
        loops.sort_by_key(|&(_, stride)| stride);
        let mut reach = 0;
        let moves = self.turns.iter().all(|axis| axis.strides[operand] != 0);
        moves
            && loops.into_iter().filter(|&(_, stride)| stride != 0).all(|(size, stride)| {
                let apart = stride > reach;
                reach += (size as isize - 1) * stride;
                apart
            })
    }

    /// The operands that are read.
    pub(crate) fn reads(&self) -> Vec<usize> {
        match &self.call.work {
            Work::Loop(kernel) => {
                let strips = kernel.passes.iter().flat_map(|pass| [&pass.once, &pass.each]);
                let of = |operand: usize| {
                    strips.clone().any(|strip| {
                        let load = |inst: &Inst| matches!(*inst, Inst::Load(o, ..) if o == operand);
                        let add = |effect: &Effect| matches!(*effect, Effect::Accumulate(o, ..) if o == operand);
                        strip.insts().iter().any(load) || strip.effects().iter().any(add)
                    })
                };
                (0..kernel.operands.len()).filter(|&operand| of(operand)).collect()
            }
            _ => vec![0, 1],
        }
    }

    /// The operands that are written.
    pub(crate) fn writes(&self) -> Vec<usize> {
        match &self.call.work {
            Work::Loop(kernel) => {
                let strips = kernel.passes.iter().flat_map(|pass| [&pass.once, &pass.each]);
                let effects = strips.flat_map(|strip| strip.effects());
                let mut writes: Vec<usize> = effects
                    .filter_map(|effect| match *effect {
                        Effect::Store(operand, ..) | Effect::Accumulate(operand, ..) => Some(operand),
                        _ => None,
                    })
                    .collect();
                writes.sort_unstable();
                writes.dedup();
                writes
            }
            _ => vec![2],
        }
    }

    /// Whether an operand can move by other strides, and does so from now on: each `stride` becomes `to(stride)`.
    pub(crate) fn restride(&mut self, operand: usize, to: impl Fn(isize) -> Option<isize>) -> bool {
        let moved = |axis: &Axis| match (axis.size, axis.strides[operand]) {
            (1, _) | (_, 0) => Some(0),
            (_, stride) => to(stride),
        };
        let Some(strides) = self.axes.iter().map(moved).collect::<Option<Vec<_>>>() else { return false };
        let row = self.axes.iter().zip(&strides).find(|(axis, _)| axis.role == Role::Row);
        if row.is_some_and(|(axis, &stride)| axis.size > 1 && axis.strides[operand] != stride) {
            return false;
        }
        self.axes.iter_mut().zip(strides).for_each(|(axis, stride)| axis.strides[operand] = stride);
        self.turns.iter_mut().for_each(|axis| axis.strides[operand] = 0);
        true
    }

    /// The call that a turn is.
    pub(crate) fn finish(self) -> Call {
        let Nest { mut call, axes, turns } = self;
        match &mut call.work {
            Work::Loop(kernel) => {
                let (row, around) = axes.split_last().map_or((1, &[][..]), |(row, around)| (row.size, around));
                kernel.outer = around.iter().map(|axis| axis.size).collect();
                kernel.row = row;
                for (i, strides) in kernel.operands.iter_mut().enumerate() {
                    *strides = around.iter().map(|axis| axis.strides[i]).collect();
                }
            }
            Work::MatMul(product) => *product = product_of(&axes),
            _ => {}
        }
        let strides = (0..call.operands.len()).map(|i| turns.iter().map(|axis| axis.strides[i]).collect()).collect();
        call.turns = Turns { sizes: turns.iter().map(|axis| axis.size).collect(), strides };
        call
    }
}

/// None if an operand is not read in the same way in all passes, or not in equal steps.
fn of_loop(kernel: &LoopKernel) -> Option<Vec<Axis>> {
    let mut axes: Vec<Axis> = Vec::new();
    for (i, &size) in kernel.outer.iter().enumerate() {
        let strides = kernel.operands.iter().map(|strides| strides[i]).collect();
        axes.push(Axis { role: Role::Around, size, strides });
    }
    let along = |operand: usize| {
        let mut walks = kernel.passes.iter().filter_map(|pass| pass.each.walk(operand));
        let walk = walks.next().unwrap_or(Walk::Fixed);
        let stride = match walk {
            Walk::Contiguous => Some(1),
            Walk::Strided(stride) => Some(stride),
            Walk::Fixed => Some(0),
            Walk::Repeated(_) => None,
        };
        stride.filter(|_| walks.all(|other| other == walk))
    };
    let strides = (0..kernel.operands.len()).map(along).collect::<Option<_>>()?;
    if let Some(axis) = axes.last_mut().filter(|_| kernel.side_by_side) {
        axis.role = Role::Side;
    }
    axes.push(Axis { role: Role::Row, size: kernel.row, strides });
    Some(axes)
}

fn of_product(p: &MatMul, operands: usize) -> Vec<Axis> {
    let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
    let axis = |role: Role, size: usize, [a, b, c]: [isize; 3]| {
        let mut strides = vec![a, b, c];
        strides.resize(operands, 0);
        Axis { role, size, strides }
    };
    let batch = p.batch.iter().map(|&(size, strides)| axis(Role::Around, size, strides));
    let sums = p.sums.iter().map(|&(size, [a, b])| axis(Role::Sum, size, [a, b, 0]));
    let inner = [
        axis(Role::Rows, p.m, [a_row, 0, c_row]),
        axis(Role::Columns, p.n, [0, b_column, c_column]),
        axis(Role::Inner, p.k, [a_column, b_row, 0]),
    ];
    batch.chain(sums).chain(inner).collect()
}

fn product_of(axes: &[Axis]) -> MatMul {
    let mut p = MatMul::default();
    for Axis { role, size, strides } in axes {
        let &[a, b, c, ..] = &strides[..] else { unreachable!("a product has three operands") };
        match role {
            Role::Around | Role::Side | Role::Row => p.batch.push((*size, [a, b, c])),
            Role::Sum => p.sums.push((*size, [a, b])),
            Role::Rows => (p.m, p.strides[0][0], p.strides[2][0]) = (*size, a, c),
            Role::Columns => (p.n, p.strides[1][1], p.strides[2][1]) = (*size, b, c),
            Role::Inner => (p.k, p.strides[0][1], p.strides[1][0]) = (*size, a, b),
        }
    }
    p
}
