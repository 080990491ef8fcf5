//! The loops of a call, some of which are hoisted: what is left is a call that runs once in each iteration of these.

use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Walk};
use crate::kernel::{Call, SharedLoops, Work};

/// A call as a loop nest, whatever it runs.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    pub(crate) call: Call,
    loops: Vec<Loop>,
    /// The loops that were hoisted, outermost first.
    pub(crate) hoisted: Vec<Loop>,
}

/// A loop: its size, and the stride of each operand, in elements.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    role: Role,
    pub(crate) size: usize,
    pub(crate) strides: Vec<isize>,
}

/// The role of a loop in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A loop around the row of a loop nest, or over the pairs of matrices of a product.
    Around,
    /// The unrolled and jammed loop around the row of a loop nest.
    Jammed,
    /// The row of a loop nest.
    Row,
    /// The rows of a product.
    Rows,
    /// The columns of a product.
    Columns,
    /// The inner dimension of a product.
    Inner,
    /// A loop around the inner dimension of a product.
    Sum,
}

impl Nest {
    /// The loops of a call, outermost first; `None` if none of them can be hoisted.
    pub(crate) fn new(call: &Call) -> Option<Nest> {
        let loops = match &call.work {
            Work::Loop(kernel) if kernel.fills.is_empty() => of_loop(kernel)?,
            Work::MatMul(product) if product.border.is_none() => of_product(product, call.operands.len()),
            _ => return None,
        };
        Some(Nest { call: call.clone(), loops, hoisted: Vec::new() })
    }

    /// The size of a loop by number, if its role is [`Role::Around`].
    pub(crate) fn around(&self, number: usize) -> Option<usize> {
        self.loops.get(number).filter(|l| l.role == Role::Around).map(|l| l.size)
    }

    /// The number of the first loop of a role.
    pub(crate) fn find(&self, role: Role) -> Option<usize> {
        self.loops.iter().position(|l| l.role == role)
    }

    pub(crate) fn size(&self, number: usize) -> usize {
        self.loops[number].size
    }

    /// Finds the loop from which a loop of `count` iterations can be hoisted that moves `operand` by `stride`. Returns
    /// the number of the loop, and how many of its steps are one iteration.
    pub(crate) fn seek(&self, operand: usize, count: usize, stride: isize) -> Option<(usize, usize)> {
        self.loops.iter().enumerate().find_map(|(i, l)| {
            let own = l.strides[operand];
            let steps = if own > 0 && stride % own == 0 { (stride / own) as usize } else { 0 };
            (steps > 0 && l.size.is_multiple_of(steps * count) && self.may_split(l)).then_some((i, steps))
        })
    }

    /// Whether parts of a loop may run at different times.
    fn may_split(&self, l: &Loop) -> bool {
        match (l.role, &self.call.work) {
            (Role::Row, Work::Loop(kernel)) => kernel.passes.iter().all(|pass| {
                let whole = |effect: &Effect| match effect {
                    Effect::Fold(..) | Effect::Define(..) => true,
                    Effect::Store(_, walk, _) | Effect::Accumulate(_, walk, ..) => *walk == Walk::Fixed,
                };
                let scalar = |inst: &Inst| matches!(inst, Inst::Scalar(_));
                pass.once.is_empty() && !pass.each.effects().iter().any(whole) && !pass.each.insts().iter().any(scalar)
            }),
            (role, _) => !matches!(role, Role::Jammed | Role::Inner | Role::Sum),
        }
    }

    /// Hoists a loop of `count` iterations out of a loop by number, `steps` steps of which are one iteration.
    pub(crate) fn hoist(&mut self, number: usize, count: usize, steps: usize) {
        let Loop { role, size, strides } = self.loops[number].clone();
        let by = |steps: usize| strides.iter().map(|s| s * steps as isize).collect();
        self.hoisted.push(Loop { role, size: count, strides: by(steps) });
        let more = size / (count * steps);
        self.loops[number].size = steps;
        if steps == 1 && role == Role::Around {
            self.loops.remove(number);
        }
        if more > 1 {
            self.loops.insert(number, Loop { role: Role::Around, size: more, strides: by(count * steps) });
        }
    }

    /// The elements of an operand that one iteration accesses, as loops over memory with the largest stride first.
    /// Loops that are contiguous are merged.
    pub(crate) fn footprint(&self, operand: usize) -> Vec<(usize, isize)> {
        let loops = self.loops.iter().map(|l| (l.size, l.strides[operand]));
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

    /// Whether no two iterations access the same elements of an operand.
    pub(crate) fn is_disjoint(&self, operand: usize) -> bool {
        let loops = self.loops.iter().chain(&self.hoisted).map(|l| (l.size, l.strides[operand].abs()));
        let mut loops: Vec<_> = loops.filter(|&(size, _)| size > 1).collect();
        loops.sort_by_key(|&(_, stride)| stride);
        let mut reach = 0;
        let moves = self.hoisted.iter().all(|l| l.strides[operand] != 0);
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

    /// Replaces each `stride` of an operand by `to(stride)`; false, and nothing changes, if that is not possible.
    pub(crate) fn restride(&mut self, operand: usize, to: impl Fn(isize) -> Option<isize>) -> bool {
        let moved = |l: &Loop| match (l.size, l.strides[operand]) {
            (1, _) | (_, 0) => Some(0),
            (_, stride) => to(stride),
        };
        let Some(strides) = self.loops.iter().map(moved).collect::<Option<Vec<_>>>() else { return false };
        let row = self.loops.iter().zip(&strides).find(|(l, _)| l.role == Role::Row);
        if row.is_some_and(|(l, &stride)| l.size > 1 && l.strides[operand] != stride) {
            return false;
        }
        self.loops.iter_mut().zip(strides).for_each(|(l, stride)| l.strides[operand] = stride);
        self.hoisted.iter_mut().for_each(|l| l.strides[operand] = 0);
        true
    }

    /// The call of one iteration.
    pub(crate) fn finish(self) -> Call {
        let Nest { mut call, loops, hoisted } = self;
        match &mut call.work {
            Work::Loop(kernel) => {
                let (row, around) = loops.split_last().map_or((1, &[][..]), |(row, around)| (row.size, around));
                kernel.outer = around.iter().map(|l| l.size).collect();
                kernel.row = row;
                for (i, strides) in kernel.operands.iter_mut().enumerate() {
                    *strides = around.iter().map(|l| l.strides[i]).collect();
                }
            }
            Work::MatMul(product) => *product = product_of(&loops),
            _ => {}
        }
        let strides = (0..call.operands.len()).map(|i| hoisted.iter().map(|l| l.strides[i]).collect()).collect();
        call.shared_loops = SharedLoops { sizes: hoisted.iter().map(|l| l.size).collect(), strides };
        call
    }
}

/// The loops of a loop nest; `None` if an operand has different strides in different passes, or is repeated.
fn of_loop(kernel: &LoopKernel) -> Option<Vec<Loop>> {
    let mut loops: Vec<Loop> = Vec::new();
    for (i, &size) in kernel.outer.iter().enumerate() {
        let strides = kernel.operands.iter().map(|strides| strides[i]).collect();
        loops.push(Loop { role: Role::Around, size, strides });
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
    if let Some(innermost) = loops.last_mut().filter(|_| kernel.side_by_side) {
        innermost.role = Role::Jammed;
    }
    loops.push(Loop { role: Role::Row, size: kernel.row, strides });
    Some(loops)
}

/// The loops of matrix products with so many operands.
fn of_product(p: &MatMul, operands: usize) -> Vec<Loop> {
    let [[a_row, a_column], [b_row, b_column], [c_row, c_column]] = p.strides;
    let over = |role: Role, size: usize, [a, b, c]: [isize; 3]| {
        let mut strides = vec![a, b, c];
        strides.resize(operands, 0);
        Loop { role, size, strides }
    };
    let batch = p.batch.iter().map(|&(size, strides)| over(Role::Around, size, strides));
    let sums = p.sums.iter().map(|&(size, [a, b])| over(Role::Sum, size, [a, b, 0]));
    let inner = [
        over(Role::Rows, p.m, [a_row, 0, c_row]),
        over(Role::Columns, p.n, [0, b_column, c_column]),
        over(Role::Inner, p.k, [a_column, b_row, 0]),
    ];
    batch.chain(sums).chain(inner).collect()
}

/// The matrix products over these loops.
fn product_of(loops: &[Loop]) -> MatMul {
    let mut p = MatMul::default();
    for Loop { role, size, strides } in loops {
        let &[a, b, c, ..] = &strides[..] else { unreachable!("a product has three operands") };
        match role {
            Role::Around | Role::Jammed | Role::Row => p.batch.push((*size, [a, b, c])),
            Role::Sum => p.sums.push((*size, [a, b])),
            Role::Rows => (p.m, p.strides[0][0], p.strides[2][0]) = (*size, a, c),
            Role::Columns => (p.n, p.strides[1][1], p.strides[2][1]) = (*size, b, c),
            Role::Inner => (p.k, p.strides[0][1], p.strides[1][0]) = (*size, a, b),
        }
    }
    p
}
