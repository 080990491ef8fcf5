//! From a group of nodes to a loop nest: what is computed in which pass over a row, what is kept
//! between passes, and how operands move.
//!
//! A pass ends where a reduction of the row is needed. A value that a later pass needs again is
//! stored and read back, never computed twice: with fused multiply-adds the two copies of a
//! producer of a maximum and of `exp(x - max)` could differ.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::windows;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Node, Op, Var};
use crate::ir::elementwise::Compare;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Op2, Reg, Strip, Walk};
use crate::kernel::fuse::access::Access;
use crate::kernel::fuse::group::{Fusion, Group, Placement, is_ordered};
use crate::kernel::fuse::loops::{Loops, row_axis};
use crate::kernel::fuse::parts;
use crate::kernel::{Call, Home, Operand, Turns, Work};
use crate::shape::DType;

/// What is known of a loop nest while it is built.
struct Lowering<'a> {
    fusion: &'a Fusion<'a>,
    group: &'a Group,
    /// The number of the kernel.
    index: usize,
    /// The axis of the space that vectors go along.
    row: usize,
    /// The pass in which a value for every element is computed, or before which one a row is known.
    level: HashMap<Var, usize>,
    /// The number of a value that is one a row.
    scalar: HashMap<Var, usize>,
    /// Values for every element that a later pass needs.
    kept: BTreeSet<Var>,
    /// Which values are read in which pass.
    reads: HashSet<(Var, usize)>,
    operands: Vec<(Operand, Vec<isize>)>,
    fills: Vec<(usize, usize, u32)>,
    /// The lengths of scratch memory that all threads share.
    shared: &'a mut Vec<usize>,
    scalars: usize,
    passes: Vec<Pass>,
    /// Registers of values in the pass that is being built.
    regs: HashMap<Var, Reg>,
}

/// Lowers a group. Adds the lengths of the scratch memory that it needs: to `scratch` those that each thread has for
/// itself, to `shared` those that all threads share.
pub(crate) fn lower<'a>(
    fusion: &'a Fusion<'a>,
    index: usize,
    group: &'a Group,
    (scratch, shared): (&mut Vec<usize>, &'a mut Vec<usize>),
) -> Call {
    let mut l = Lowering {
        fusion,
        group,
        index,
        row: row_axis(&group.space, group.split, group.parts, &group.strides, |axis| {
            group.members.iter().all(|(v, placement)| match placement {
                Placement::Sink(strides, false) if is_ordered(&fusion.graph[*v].op) => strides[axis] != 0,
                _ => true,
            })
        }),
        level: HashMap::new(),
        scalar: HashMap::new(),
        kept: BTreeSet::new(),
        reads: HashSet::new(),
        operands: Vec::new(),
        fills: Vec::new(),
        shared,
        scalars: 0,
        passes: Vec::new(),
        regs: HashMap::new(),
    };
    l.assign_levels();
    let rooms = l.assign_rooms(scratch);
    let passes = 1 + group.members.iter().map(|(v, p)| l.last_pass(*v, p)).max().unwrap_or(0);
    l.passes = vec![Pass::default(); passes + 1];
    for level in 0..=passes {
        l.build_once(level);
        l.build_each(level, &rooms);
    }
    while l.passes.last().is_some_and(|p| p.once.is_empty() && p.each.is_empty()) {
        l.passes.pop();
    }
    l.finish(scratch)
}

impl Lowering<'_> {
    fn node(&self, v: Var) -> &Node {
        &self.fusion.graph[v]
    }

    fn placement(&self, v: Var) -> Option<&Placement> {
        self.group.members.iter().find(|(m, _)| *m == v).map(|(_, p)| p)
    }

    /// The pass that a member's own work is in, or the section before it for one number a row.
    fn last_pass(&self, v: Var, placement: &Placement) -> usize {
        match placement {
            Placement::Full | Placement::Row => self.level[&v],
            Placement::Fold => self.level[&v] - 1,
            Placement::Sink(..) => self.level[&v],
        }
    }

    fn assign_levels(&mut self) {
        for (v, placement) in &self.group.members {
            let mut level = 0;
            let mut bases = Vec::new();
            self.arg_bases(*v, &mut bases);
            for base in &bases {
                level = level.max(self.level.get(base).copied().unwrap_or(0));
            }
            for base in bases {
                self.reads.insert((base, level));
                let full = self.placement(base) == Some(&Placement::Full);
                if full && self.level[&base] < level {
                    self.kept.insert(base);
                }
            }
            self.level.insert(*v, level + (*placement == Placement::Fold) as usize);
            if let Placement::Row | Placement::Fold = placement {
                self.scalar.insert(*v, self.scalars);
                self.scalars += 1;
            }
        }
    }

    /// The values behind the arguments of `v`, through what is computed inline.
    fn arg_bases(&self, v: Var, out: &mut Vec<Var>) {
        if self.fusion.is_copy(v) {
            return out.extend(self.fusion.reads(v).0.into_iter().map(|a| a.base));
        }
        for &arg in &self.node(v).args {
            if self.fusion.is_inline(arg, self.index) {
                self.arg_bases(arg, out);
            } else {
                out.push(self.fusion.access(arg).base);
            }
        }
    }

    /// Where kept values are between passes: in their own place if they have one, else in a room
    /// of one row.
    fn assign_rooms(&self, scratch: &mut Vec<usize>) -> HashMap<Var, Operand> {
        let row = self.group.space[self.split()..].iter().product();
        let mut room = |v: Var| {
            let home = if self.fusion.stored.contains(&v) {
                Home::Value(v)
            } else {
                scratch.push(row);
                Home::Scratch(scratch.len() - 1)
            };
            (v, Operand { home, offset: 0 })
        };
        self.kept.iter().map(|&v| room(v)).collect()
    }

    fn split(&self) -> usize {
        self.group.split.unwrap_or(0)
    }

    /// The operand that reads or writes `home` with these strides over the space.
    fn operand(&mut self, home: Home, offset: usize, strides: Vec<isize>) -> (usize, Walk) {
        let walk = walk(strides[self.row]);
        let operand = (Operand { home, offset }, strides);
        let at = self.operands.iter().position(|o| *o == operand).unwrap_or_else(|| {
            self.operands.push(operand);
            self.operands.len() - 1
        });
        (at, walk)
    }

    /// The operand of a value for every element, in its own place or its room.
    fn full_operand(&mut self, operand: Operand) -> (usize, Walk) {
        let mut strides = dense(&self.group.space);
        if let Home::Scratch(_) = operand.home {
            strides[..self.split()].fill(0);
        }
        self.operand(operand.home, operand.offset, strides)
    }

    fn row_operand(&mut self, v: Var) -> usize {
        let mut strides = dense(&self.group.space[..self.split()]);
        strides.resize(self.group.space.len(), 0);
        self.operand(Home::Value(v), 0, strides).0
    }

    /// What is computed once before pass `level`.
    fn build_once(&mut self, level: usize) {
        let mut strip = Strip::default();
        self.regs.clear();
        for (v, placement) in self.group.members.clone() {
            match placement {
                Placement::Row if self.level[&v] == level => {
                    let reg = self.compute(v, &mut strip, false);
                    self.regs.insert(v, reg);
                    let number = storable(&mut strip, reg);
                    strip.effect(Effect::Define(self.scalar[&v], number));
                    self.store_row(v, reg, &mut strip);
                }
                Placement::Fold if self.level[&v] == level => {
                    let reg = self.read_scalar(v, &mut strip);
                    self.store_row(v, reg, &mut strip);
                }
                Placement::Sink(strides, true) if self.level[&v] == level => {
                    let arg = self.node(v).args[0];
                    let shape = self.node(arg).shape.clone();
                    let reg = self.read(arg, &shape, &mut strip, false);
                    self.accumulate(v, strides, reg, true, &mut strip);
                }
                // Rows that were folded in the pass before are added up in memory.
                Placement::Sink(strides, false) if self.level[&v] + 1 == level && strides[self.row] == 0 => {
                    let reg = self.read_scalar(v, &mut strip);
                    self.accumulate(v, strides, reg, false, &mut strip);
                }
                _ => {}
            }
        }
        self.passes[level].once = strip;
    }

    fn store_row(&mut self, v: Var, reg: Reg, strip: &mut Strip) {
        if self.fusion.stored.contains(&v) {
            let operand = self.row_operand(v);
            let reg = storable(strip, reg);
            strip.effect(Effect::Store(operand, Walk::Fixed, reg));
        }
    }

    /// Combines a register, which is one of the `elements` of the argument or a row of them that was folded, with
    /// a reduction in memory.
    fn accumulate(&mut self, v: Var, strides: Vec<isize>, reg: Reg, elements: bool, strip: &mut Strip) {
        let Op::Reduce(op, _) = self.node(v).op else { return };
        let long = op == Reduce::Sum && parts::is_long(self.terms(v, &strides), elements);
        let len = self.node(v).len();
        let (sum, walk) = self.filled(Home::Value(v), len, strides.clone(), op.identity());
        if !long {
            return strip.effect(Effect::Accumulate(sum, walk, op, reg));
        }
        // What rounding has lost of the sum is the operand after it.
        self.shared.push(len);
        let (lost, _) = self.filled(Home::Parts(self.shared.len() - 1), len, strides, 0.0);
        debug_assert_eq!(lost, sum + 1, "nothing else adds to a sum");
        add(strip, [sum, lost], [walk; 2], reg);
    }

    /// The operand of a value that is set before the loops.
    fn filled(&mut self, home: Home, len: usize, strides: Vec<isize>, with: f32) -> (usize, Walk) {
        let (operand, walk) = self.operand(home, 0, strides);
        let fill = (operand, len, with.to_bits());
        if !self.fills.contains(&fill) {
            self.fills.push(fill);
        }
        (operand, walk)
    }

    /// How many numbers are added to each place in memory of a sum that moves by these strides: those of its
    /// parts, if it has any, and rows where these are folded before.
    fn terms(&self, v: Var, strides: &[isize]) -> usize {
        let space = &self.group.space;
        let row = if strides[self.row] == 0 { self.group.split.unwrap_or(self.row) } else { space.len() };
        let terms: usize = (0..row).filter(|&i| strides[i] == 0).map(|i| space[i]).product();
        terms / self.group.parts.filter(|&own| parts::count(self.fusion.graph, v) == Some(own)).unwrap_or(1)
    }

    /// What pass `level` computes for every element.
    fn build_each(&mut self, level: usize, rooms: &HashMap<Var, Operand>) {
        let mut strip = Strip::default();
        self.regs.clear();
        for v in &self.kept.clone() {
            // Kept values are read back at the start of a pass; one that nothing uses is dropped.
            if self.level[v] < level && self.reads.contains(&(*v, level)) {
                let (operand, walk) = self.full_operand(rooms[v]);
                let reg = load(&mut strip, operand, walk, self.node(*v).dtype);
                self.regs.insert(*v, reg);
            }
        }
        for (v, placement) in self.group.members.clone() {
            match placement {
                Placement::Full if self.level[&v] == level => {
                    let reg = self.compute(v, &mut strip, true);
                    self.regs.insert(v, reg);
                    let home = rooms.get(&v).copied().or_else(|| {
                        let stored = self.fusion.stored.contains(&v);
                        stored.then_some(Operand { home: Home::Value(v), offset: 0 })
                    });
                    if let Some(home) = home {
                        let (operand, walk) = self.full_operand(home);
                        let reg = storable(&mut strip, reg);
                        strip.effect(Effect::Store(operand, walk, reg));
                    }
                }
                Placement::Fold if self.level[&v] == level + 1 => self.fold(v, self.scalar[&v], &mut strip),
                Placement::Sink(strides, false) if self.level[&v] == level => {
                    if strides[self.row] == 0 {
                        let scalar = self.scalars;
                        self.scalars += 1;
                        self.scalar.insert(v, scalar);
                        self.fold(v, scalar, &mut strip);
                    } else {
                        let arg = self.node(v).args[0];
                        let shape = self.node(arg).shape.clone();
                        let reg = self.read(arg, &shape, &mut strip, true);
                        self.accumulate(v, strides, reg, true, &mut strip);
                    }
                }
                _ => {}
            }
        }
        self.passes[level].each = strip;
    }

    fn fold(&mut self, v: Var, scalar: usize, strip: &mut Strip) {
        let Op::Reduce(op, _) = self.node(v).op else { return };
        let arg = self.node(v).args[0];
        let shape = self.node(arg).shape.clone();
        let reg = self.read(arg, &shape, strip, true);
        strip.effect(Effect::Fold(scalar, op, reg));
    }

    fn read_scalar(&self, v: Var, strip: &mut Strip) -> Reg {
        let kind = if self.node(v).dtype == DType::I32 { Kind::Int } else { Kind::Float };
        let reg = strip.push(Inst::Scalar(self.scalar[&v]), kind);
        as_mask(strip, reg, self.node(v).dtype)
    }

    /// The register of `v` as it is read under `shape`.
    fn read(&mut self, v: Var, shape: &[usize], strip: &mut Strip, full: bool) -> Reg {
        if self.fusion.is_inline(v, self.index) {
            return match self.regs.get(&v) {
                Some(&reg) => reg,
                None => {
                    let reg = self.compute(v, strip, full);
                    self.regs.insert(v, reg);
                    reg
                }
            };
        }
        let access = self.fusion.access(v);
        self.read_access(&access, shape, strip, full)
    }

    fn read_access(&mut self, a: &Access, shape: &[usize], strip: &mut Strip, full: bool) -> Reg {
        let dtype = self.node(a.base).dtype;
        if let Op::Const(bits) = self.node(a.base).op {
            return match dtype {
                DType::F32 => strip.float(f32::from_bits(bits)),
                DType::I32 => strip.int(bits as i32),
                DType::Bool => strip.mask(bits != 0),
            };
        }
        if let Some(&reg) = self.regs.get(&a.base) {
            return reg;
        }
        if self.scalar.contains_key(&a.base) {
            return self.read_scalar(a.base, strip);
        }
        let strides = self.over_space(shape, &a.strides, full);
        let Operand { home, offset } = self.fusion.operand(a);
        let (operand, walk) = self.operand(home, offset, strides);
        load(strip, operand, walk, dtype)
    }

    /// Computes a node from its arguments.
    fn compute(&mut self, v: Var, strip: &mut Strip, full: bool) -> Reg {
        if self.fusion.is_copy(v) {
            let (reads, shape) = self.fusion.reads(v);
            return self.read_access(&reads[0], &shape, strip, full);
        }
        let node = self.node(v).clone();
        if let Op::Random(stream) = node.op {
            return self.random(&node, stream, strip, full);
        }
        let args: Vec<Reg> = node.args.iter().map(|&arg| self.read(arg, &node.shape, strip, full)).collect();
        let from = self.node(node.args[0]).dtype;
        match node.op {
            Op::Unary(op) => op.lower(strip, args[0]),
            Op::Binary(op) => op.lower(strip, args[0], args[1]),
            Op::Fma(op) => strip.push(Inst::Fma(op, args[0], args[1], args[2]), Kind::Float),
            Op::Compare(op) => compare(strip, op, from, args[0], args[1]),
            Op::Select => strip.select(args[0], args[1], args[2]),
            Op::Cast => cast(strip, from, node.dtype, args[0]),
            _ => unreachable!("only elementwise operations are computed for every element"),
        }
    }

    /// Random numbers from the seed and the number of the element.
    fn random(&mut self, node: &Node, stream: u64, strip: &mut Strip, full: bool) -> Reg {
        let scalar = Access { base: node.args[0], offset: 0, strides: vec![0; node.shape.len()] };
        let seed = self.read_access(&scalar, &node.shape, strip, full);
        let strides = self.over_space(&node.shape, &dense(&node.shape), full);
        let (operand, walk) = self.operand(Home::Nowhere, 0, strides);
        let number = strip.push(Inst::Number(operand, walk), Kind::Int);
        crate::ir::random::lower(strip, seed, stream, number)
    }

    /// Strides under a shape as strides over the space.
    fn over_space(&self, shape: &[usize], strides: &[isize], full: bool) -> Vec<isize> {
        let space = &self.group.space;
        let target = if full { &space[..] } else { &space[..self.split()] };
        let mut strides = reshaped(shape, strides, target).unwrap_or_default();
        strides.resize(space.len(), 0);
        strides
    }

    /// Puts the loop nest and its operands together.
    fn finish(self, scratch: &mut [usize]) -> Call {
        let space = &self.group.space;
        let strides: Vec<&[isize]> = self.operands.iter().map(|(_, s)| s.as_slice()).collect();
        let loops = Loops::new(space, self.group.split, self.row, &strides);
        let kernel = LoopKernel {
            outer: loops.outer(),
            row: loops.row(),
            operands: strides.iter().map(|s| loops.strides(s)).collect(),
            fills: self.fills,
            scalars: self.scalars,
            passes: self.passes,
            ..LoopKernel::default()
        };
        let mut operands: Vec<Operand> = self.operands.into_iter().map(|(operand, _)| operand).collect();
        let mut kernel = kernel.interleaved();
        if self.group.parts.is_none()
            && let Some(unrolled) = windows::unrolled(&kernel, &operands)
        {
            (kernel, operands) = unrolled;
        }
        let mut kernel = kernel.tiled().in_turns();
        let room = |operand: usize| match operands[operand].home {
            Home::Scratch(room) => Some(room),
            _ => None,
        };
        let rows = kernel.put_side_by_side(self.group.parts.unwrap_or(1), |operand| room(operand).is_some());
        let rooms: BTreeSet<usize> = (0..operands.len()).filter_map(room).collect();
        rooms.into_iter().for_each(|room| scratch[room] *= rows);
        Call {
            work: Work::Loop(kernel),
            operands,
            nodes: self.group.members.iter().map(|(v, _)| *v).collect(),
            refused: None,
            turns: Turns::default(),
        }
    }
}

/// Copies elements into a window of `to`, which starts at `offset` and has these strides. With
/// `fill`, the first so many elements of `to` are zeroed before.
pub(crate) fn copy(
    fusion: &Fusion<'_>,
    v: Var,
    to: Home,
    (offset, to_strides): (usize, &[isize]),
    fill: Option<usize>,
) -> Call {
    let (a, node) = (fusion.access(v), &fusion.graph[v]);
    let kept: Vec<usize> = (0..node.shape.len()).filter(|&i| node.shape[i] != 1).collect();
    let mut space: Vec<usize> = kept.iter().map(|&i| node.shape[i]).collect();
    let mut from: Vec<isize> = kept.iter().map(|&i| a.strides[i]).collect();
    let mut into: Vec<isize> = kept.iter().map(|&i| to_strides[i]).collect();
    if space.is_empty() {
        (space, from, into) = (vec![1], vec![0], vec![0]);
    }
    let row = row_axis(&space, None, None, &[from.clone(), into.clone()], |_| true);
    let mut strip = Strip::default();
    let mut operands = vec![Operand { home: to, offset }];
    let mut strides = vec![into.as_slice()];
    let reg = match fusion.graph[a.base].op {
        Op::Const(bits) => strip.push(Inst::Const(bits, Kind::Int), Kind::Int),
        _ => {
            operands.push(fusion.operand(&a));
            strides.push(&from);
            strip.push(Inst::Load(1, walk(from[row]), Kind::Int), Kind::Int)
        }
    };
    strip.effect(Effect::Store(0, walk(into[row]), reg));
    let loops = Loops::new(&space, None, row, &strides);
    // The fill starts at the operand, so the window of a filled value is an operand of its own.
    let mut kernel = LoopKernel {
        outer: loops.outer(),
        row: loops.row(),
        operands: strides.iter().map(|s| loops.strides(s)).collect(),
        passes: vec![Pass { once: Strip::default(), each: strip }],
        ..LoopKernel::default()
    };
    if let Some(len) = fill {
        kernel.fills.push((operands.len(), len, 0));
        kernel.operands.push(vec![0; kernel.outer.len()]);
        operands.push(Operand { home: to, offset: 0 });
    }
    Call {
        work: Work::Loop(kernel.interleaved().tiled()),
        operands,
        nodes: vec![v],
        refused: None,
        turns: Turns::default(),
    }
}

/// Adds a register to a long sum in memory, with what rounding has lost of the terms before (Kahan, Further remarks
/// on reducing truncation errors, 1965).
pub(crate) fn add(strip: &mut Strip, [sum, lost]: [usize; 2], walks: [Walk; 2], x: Reg) {
    let mut load = |operand, walk| strip.push(Inst::Load(operand, walk, Kind::Float), Kind::Float);
    let (old, before) = (load(sum, walks[0]), load(lost, walks[1]));
    let term = strip.add(x, before);
    let new = strip.add(old, term);
    let added = strip.sub(new, old);
    let left = strip.sub(term, added);
    // A sum that is infinite or NaN has lost nothing.
    let zero = strip.float(0.0);
    let difference = strip.sub(new, new);
    let is_finite = strip.eq(difference, zero);
    let left = strip.select(is_finite, left, zero);
    strip.effect(Effect::Store(sum, walks[0], new));
    strip.effect(Effect::Store(lost, walks[1], left));
}

fn walk(stride: isize) -> Walk {
    match stride {
        0 => Walk::Fixed,
        1 => Walk::Contiguous,
        stride => Walk::Strided(stride),
    }
}

/// Loads elements; a mask in memory is a number that is zero or not.
pub(crate) fn load(strip: &mut Strip, operand: usize, walk: Walk, dtype: DType) -> Reg {
    let kind = if dtype == DType::I32 { Kind::Int } else { Kind::Float };
    let reg = strip.push(Inst::Load(operand, walk, kind), kind);
    as_mask(strip, reg, dtype)
}

fn as_mask(strip: &mut Strip, reg: Reg, dtype: DType) -> Reg {
    if dtype != DType::Bool {
        return reg;
    }
    let zero = strip.float(0.0);
    strip.push(Inst::Two(Op2::Ne, reg, zero), Kind::Mask)
}

/// A register in the form in which it is stored.
fn storable(strip: &mut Strip, reg: Reg) -> Reg {
    if strip.kind(reg) == Kind::Mask { strip.mask_to_float(reg) } else { reg }
}

fn compare(strip: &mut Strip, op: Compare, dtype: DType, a: Reg, b: Reg) -> Reg {
    match (dtype, op) {
        (DType::F32, Compare::Lt) => strip.lt(a, b),
        (DType::F32, Compare::Le) => strip.le(a, b),
        (DType::F32, Compare::Eq) => strip.eq(a, b),
        (DType::F32, Compare::Ne) => strip.ne(a, b),
        (DType::I32, Compare::Lt) => strip.ilt(a, b),
        (DType::I32, Compare::Le) => strip.ile(a, b),
        (DType::I32, Compare::Eq) => strip.ieq(a, b),
        (DType::I32, Compare::Ne) => {
            let equal = strip.ieq(a, b);
            strip.not(equal)
        }
        (DType::Bool, Compare::Ne) => strip.differ(a, b),
        (DType::Bool, Compare::Eq) => {
            let differ = strip.differ(a, b);
            strip.not(differ)
        }
        (DType::Bool, Compare::Lt | Compare::Le) => unreachable!("masks are compared for equality alone"),
    }
}

fn cast(strip: &mut Strip, from: DType, to: DType, x: Reg) -> Reg {
    match (from, to) {
        (DType::F32, DType::I32) => strip.to_int(x),
        (DType::I32, DType::F32) => strip.to_float(x),
        (DType::Bool, DType::F32) => strip.mask_to_float(x),
        (DType::Bool, DType::I32) => {
            let one = strip.mask_to_float(x);
            strip.to_int(one)
        }
        (DType::F32, DType::Bool) => {
            let zero = strip.float(0.0);
            strip.ne(x, zero)
        }
        (DType::I32, DType::Bool) => {
            let zero = strip.int(0);
            let equal = strip.ieq(x, zero);
            strip.not(equal)
        }
        _ => x,
    }
}
