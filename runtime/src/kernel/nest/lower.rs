//! From a group of nodes to a loop nest: what is computed in which pass over a row, which values are spilled between
//! passes, and the strides of the operands.
//!
//! A pass ends where the result of a reduction of the row is needed. A value that a later pass reads is spilled to
//! memory and reloaded, never computed twice: with fused multiply-adds, the `x` of a maximum and the `x` of
//! `exp(x - max)` could differ if each pass computed its own.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::windows;
use crate::graph::strides::{dense, reshaped};
use crate::graph::{Node, Op, Var};
use crate::ir::elementwise::Compare;
use crate::ir::nest::{LoopKernel, Pass};
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Op2, Reg, Strip, Walk};
use crate::kernel::fuse::group::{Fusion, Group, Placement, is_ordered};
use crate::kernel::fuse::loops::{Loops, row_axis};
use crate::kernel::fuse::parts;
use crate::kernel::fuse::view::View;
use crate::kernel::{Call, Operand, Scratch, SharedLoops, Storage, Work};
use crate::shape::DType;

/// A loop nest while it is built.
struct Lowering<'a> {
    fusion: &'a Fusion<'a>,
    group: &'a Group,
    /// The number of the kernel among the items of the fusion.
    index: usize,
    /// The axis of the iteration space that is vectorised.
    row: usize,
    /// For a value of every element, the pass that computes it; for a value of each row, the first pass that can read
    /// it.
    pass_of: HashMap<Var, usize>,
    /// The numbers of the values of each row.
    scalar: HashMap<Var, usize>,
    /// Values of every element that a later pass reads.
    spilled: BTreeSet<Var>,
    /// The values that each pass reads.
    reads: HashSet<(Var, usize)>,
    /// Each operand, and its strides over the iteration space.
    operands: Vec<(Operand, Vec<isize>)>,
    /// Operands that are set before the loops: which, how many elements, and the bits of each.
    fills: Vec<(usize, usize, u32)>,
    scratch: &'a mut Scratch,
    scalars: usize,
    passes: Vec<Pass>,
    /// The registers of values in the strip that is being built.
    regs: HashMap<Var, Reg>,
}

/// Lowers group number `index` to a call of a loop nest, which may need more scratch memory.
pub(crate) fn lower<'a>(fusion: &'a Fusion<'a>, index: usize, group: &'a Group, scratch: &'a mut Scratch) -> Call {
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
        pass_of: HashMap::new(),
        scalar: HashMap::new(),
        spilled: BTreeSet::new(),
        reads: HashSet::new(),
        operands: Vec::new(),
        fills: Vec::new(),
        scratch,
        scalars: 0,
        passes: Vec::new(),
        regs: HashMap::new(),
    };
    l.assign_passes();
    let spills = l.assign_spills();
    let passes = 1 + group.members.iter().map(|(v, p)| l.last_pass(*v, p)).max().unwrap_or(0);
    l.passes = vec![Pass::default(); passes + 1];
    for pass in 0..=passes {
        l.build_once(pass);
        l.build_each(pass, &spills);
    }
    while l.passes.last().is_some_and(|p| p.once.is_empty() && p.each.is_empty()) {
        l.passes.pop();
    }
    l.finish()
}

impl Lowering<'_> {
    fn node(&self, v: Var) -> &Node {
        &self.fusion.graph[v]
    }

    fn placement(&self, v: Var) -> Option<&Placement> {
        self.group.members.iter().find(|(m, _)| *m == v).map(|(_, p)| p)
    }

    /// The pass that computes a member for every element, or before which it is computed once.
    fn last_pass(&self, v: Var, placement: &Placement) -> usize {
        match placement {
            Placement::Full | Placement::Row => self.pass_of[&v],
            Placement::Fold => self.pass_of[&v] - 1,
            Placement::Sink(..) => self.pass_of[&v],
        }
    }

    /// Assigns each member to a pass, each value of a row to a scalar, and finds the values to spill.
    fn assign_passes(&mut self) {
        for (v, placement) in &self.group.members {
            let mut pass = 0;
            let mut bases = Vec::new();
            self.arg_bases(*v, &mut bases);
            for base in &bases {
                pass = pass.max(self.pass_of.get(base).copied().unwrap_or(0));
            }
            for base in bases {
                self.reads.insert((base, pass));
                let full = self.placement(base) == Some(&Placement::Full);
                if full && self.pass_of[&base] < pass {
                    self.spilled.insert(base);
                }
            }
            self.pass_of.insert(*v, pass + (*placement == Placement::Fold) as usize);
            if let Placement::Row | Placement::Fold = placement {
                self.scalar.insert(*v, self.scalars);
                self.scalars += 1;
            }
        }
    }

    /// The stored values and members that `v` reads, also through inlined arguments.
    fn arg_bases(&self, v: Var, out: &mut Vec<Var>) {
        if self.fusion.is_copy(v) {
            return out.extend(self.fusion.reads(v).0.into_iter().map(|a| a.base));
        }
        for &arg in &self.node(v).args {
            if self.fusion.is_inline(arg, self.index) {
                self.arg_bases(arg, out);
            } else {
                out.push(self.fusion.view(arg).base);
            }
        }
    }

    /// The memory of each spilled value: its own if it is stored anyway, else scratch memory for one row.
    fn assign_spills(&mut self) -> HashMap<Var, Operand> {
        let row = self.group.space[self.split()..].iter().product();
        let mut spill = |v: Var| match self.fusion.stored.contains(&v) {
            true => (v, Operand { storage: Storage::Value(v), offset: 0 }),
            false => (v, self.scratch.add(row)),
        };
        self.spilled.iter().map(|&v| spill(v)).collect()
    }

    /// The number of loops around the row.
    fn split(&self) -> usize {
        self.group.split.unwrap_or(0)
    }

    /// The number of the operand at an offset of `storage` with these strides over the iteration space, and its walk
    /// along the row.
    fn operand(&mut self, storage: Storage, offset: usize, strides: Vec<isize>) -> (usize, Walk) {
        let walk = walk(strides[self.row]);
        let operand = (Operand { storage, offset }, strides);
        let at = self.operands.iter().position(|o| *o == operand).unwrap_or_else(|| {
            self.operands.push(operand);
            self.operands.len() - 1
        });
        (at, walk)
    }

    /// The operand of a value of every element, in its own memory or in scratch memory for one row.
    fn full_operand(&mut self, operand: Operand) -> (usize, Walk) {
        let mut strides = dense(&self.group.space);
        if let Storage::Scratch(_) = operand.storage {
            strides[..self.split()].fill(0);
        }
        self.operand(operand.storage, operand.offset, strides)
    }

    /// The operand of a stored value of each row.
    fn row_operand(&mut self, v: Var) -> usize {
        let mut strides = dense(&self.group.space[..self.split()]);
        strides.resize(self.group.space.len(), 0);
        self.operand(Storage::Value(v), 0, strides).0
    }

    /// Builds what is computed once for a row, before pass `pass`.
    fn build_once(&mut self, pass: usize) {
        let mut strip = Strip::default();
        self.regs.clear();
        for (v, placement) in self.group.members.clone() {
            match placement {
                Placement::Row if self.pass_of[&v] == pass => {
                    let reg = self.compute(v, &mut strip, false);
                    self.regs.insert(v, reg);
                    let number = storable(&mut strip, reg);
                    strip.effect(Effect::Define(self.scalar[&v], number));
                    self.store_row(v, reg, &mut strip);
                }
                Placement::Fold if self.pass_of[&v] == pass => {
                    let reg = self.read_scalar(v, &mut strip);
                    self.store_row(v, reg, &mut strip);
                }
                Placement::Sink(strides, true) if self.pass_of[&v] == pass => {
                    let arg = self.node(v).args[0];
                    let shape = self.node(arg).shape.clone();
                    let reg = self.read(arg, &shape, &mut strip, false);
                    self.accumulate(v, strides, reg, true, &mut strip);
                }
                // The results of rows that the pass before has folded are accumulated in memory.
                Placement::Sink(strides, false) if self.pass_of[&v] + 1 == pass && strides[self.row] == 0 => {
                    let reg = self.read_scalar(v, &mut strip);
                    self.accumulate(v, strides, reg, false, &mut strip);
                }
                _ => {}
            }
        }
        self.passes[pass].once = strip;
    }

    /// Stores a value of a row, if other kernels read it.
    fn store_row(&mut self, v: Var, reg: Reg, strip: &mut Strip) {
        if self.fusion.stored.contains(&v) {
            let operand = self.row_operand(v);
            let reg = storable(strip, reg);
            strip.effect(Effect::Store(operand, Walk::Fixed, reg));
        }
    }

    /// Accumulates a register in a reduction in memory. The register is an element of the argument, if `elements` is
    /// set, or else the result of a folded row.
    fn accumulate(&mut self, v: Var, strides: Vec<isize>, reg: Reg, elements: bool, strip: &mut Strip) {
        let Op::Reduce(op, _) = self.node(v).op else { return };
        let compensated = op == Reduce::Sum && parts::is_compensated(self.terms(v, &strides), elements);
        let len = self.node(v).len();
        let (sum, walk) = self.filled(Storage::Value(v), len, strides.clone(), op.identity());
        if !compensated {
            return strip.effect(Effect::Accumulate(sum, walk, op, reg));
        }
        // The compensation of a sum is the operand after it; `parts` relies on that.
        let storage = self.scratch.add_shared(len).storage;
        let (compensation, _) = self.filled(storage, len, strides, 0.0);
        debug_assert_eq!(compensation, sum + 1, "nothing else adds to a sum");
        add(strip, [sum, compensation], [walk; 2], reg);
    }

    /// An operand that is set before the loops.
    fn filled(&mut self, storage: Storage, len: usize, strides: Vec<isize>, with: f32) -> (usize, Walk) {
        let (operand, walk) = self.operand(storage, 0, strides);
        let fill = (operand, len, with.to_bits());
        if !self.fills.contains(&fill) {
            self.fills.push(fill);
        }
        (operand, walk)
    }

    /// How many terms are accumulated in each element of a sum with these strides, or in each element of its partial
    /// sums. Where rows are folded, each row is one term.
    fn terms(&self, v: Var, strides: &[isize]) -> usize {
        let space = &self.group.space;
        let row = if strides[self.row] == 0 { self.group.split.unwrap_or(self.row) } else { space.len() };
        let terms: usize = (0..row).filter(|&i| strides[i] == 0).map(|i| space[i]).product();
        terms / self.group.parts.filter(|&own| parts::count(self.fusion.graph, v) == Some(own)).unwrap_or(1)
    }

    /// Builds what pass `pass` computes for every element.
    fn build_each(&mut self, pass: usize, spills: &HashMap<Var, Operand>) {
        let mut strip = Strip::default();
        self.regs.clear();
        for v in &self.spilled.clone() {
            // Spilled values are reloaded at the start of each pass that reads them.
            if self.pass_of[v] < pass && self.reads.contains(&(*v, pass)) {
                let (operand, walk) = self.full_operand(spills[v]);
                let reg = load(&mut strip, operand, walk, self.node(*v).dtype);
                self.regs.insert(*v, reg);
            }
        }
        for (v, placement) in self.group.members.clone() {
            match placement {
                Placement::Full if self.pass_of[&v] == pass => {
                    let reg = self.compute(v, &mut strip, true);
                    self.regs.insert(v, reg);
                    let result = spills.get(&v).copied().or_else(|| {
                        let stored = self.fusion.stored.contains(&v);
                        stored.then_some(Operand { storage: Storage::Value(v), offset: 0 })
                    });
                    if let Some(result) = result {
                        let (operand, walk) = self.full_operand(result);
                        let reg = storable(&mut strip, reg);
                        strip.effect(Effect::Store(operand, walk, reg));
                    }
                }
                Placement::Fold if self.pass_of[&v] == pass + 1 => self.fold(v, self.scalar[&v], &mut strip),
                Placement::Sink(strides, false) if self.pass_of[&v] == pass => {
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
        self.passes[pass].each = strip;
    }

    /// Reduces the argument of `v` over a row to a scalar.
    fn fold(&mut self, v: Var, scalar: usize, strip: &mut Strip) {
        let Op::Reduce(op, _) = self.node(v).op else { return };
        let arg = self.node(v).args[0];
        let shape = self.node(arg).shape.clone();
        let reg = self.read(arg, &shape, strip, true);
        strip.effect(Effect::Fold(scalar, op, reg));
    }

    /// The register of a value of the row.
    fn read_scalar(&self, v: Var, strip: &mut Strip) -> Reg {
        let kind = if self.node(v).dtype == DType::I32 { Kind::Int } else { Kind::Float };
        let reg = strip.push(Inst::Scalar(self.scalar[&v]), kind);
        as_mask(strip, reg, self.node(v).dtype)
    }

    /// The register of `v`, read under `shape`: for every element if `full` is set, else once for the row.
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
        let view = self.fusion.view(v);
        self.read_view(&view, shape, strip, full)
    }

    fn read_view(&mut self, a: &View, shape: &[usize], strip: &mut Strip, full: bool) -> Reg {
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
        let Operand { storage, offset } = self.fusion.operand(a);
        let (operand, walk) = self.operand(storage, offset, strides);
        load(strip, operand, walk, dtype)
    }

    /// The register of a node, computed from its arguments.
    fn compute(&mut self, v: Var, strip: &mut Strip, full: bool) -> Reg {
        if self.fusion.is_copy(v) {
            let (reads, shape) = self.fusion.reads(v);
            return self.read_view(&reads[0], &shape, strip, full);
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
        let scalar = View { base: node.args[0], offset: 0, strides: vec![0; node.shape.len()] };
        let seed = self.read_view(&scalar, &node.shape, strip, full);
        let strides = self.over_space(&node.shape, &dense(&node.shape), full);
        let (operand, walk) = self.operand(Storage::Nowhere, 0, strides);
        let number = strip.push(Inst::Number(operand, walk), Kind::Int);
        crate::ir::random::lower(strip, seed, stream, number)
    }

    /// Strides under a shape as strides over the iteration space.
    fn over_space(&self, shape: &[usize], strides: &[isize], full: bool) -> Vec<isize> {
        let space = &self.group.space;
        let target = if full { &space[..] } else { &space[..self.split()] };
        let mut strides = reshaped(shape, strides, target).unwrap_or_default();
        strides.resize(space.len(), 0);
        strides
    }

    /// Puts the loop nest and its operands together, and transforms its loops.
    fn finish(self) -> Call {
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
        let mut kernel = kernel.tiled().interchanged();
        let scratch = |operand: usize| match operands[operand].storage {
            Storage::Scratch(i) => Some(i),
            _ => None,
        };
        let rows = kernel.unroll_and_jam(self.group.parts.unwrap_or(1), |operand| scratch(operand).is_some());
        let spills: BTreeSet<usize> = (0..operands.len()).filter_map(scratch).collect();
        spills.into_iter().for_each(|i| self.scratch.of_thread[i] *= rows);
        Call {
            work: Work::Loop(kernel),
            operands,
            nodes: self.group.members.iter().map(|(v, _)| *v).collect(),
            refused: None,
            shared_loops: SharedLoops::default(),
        }
    }
}

/// The call that copies the elements of `v` to `to`, from `offset` on with these strides. With `fill`, the first so
/// many elements of `to` are zeroed before.
pub(crate) fn copy(
    fusion: &Fusion<'_>,
    v: Var,
    to: Storage,
    (offset, to_strides): (usize, &[isize]),
    fill: Option<usize>,
) -> Call {
    let (a, node) = (fusion.view(v), &fusion.graph[v]);
    let axes: Vec<usize> = (0..node.shape.len()).filter(|&i| node.shape[i] != 1).collect();
    let mut space: Vec<usize> = axes.iter().map(|&i| node.shape[i]).collect();
    let mut from: Vec<isize> = axes.iter().map(|&i| a.strides[i]).collect();
    let mut into: Vec<isize> = axes.iter().map(|&i| to_strides[i]).collect();
    if space.is_empty() {
        (space, from, into) = (vec![1], vec![0], vec![0]);
    }
    let row = row_axis(&space, None, None, &[from.clone(), into.clone()], |_| true);
    let mut strip = Strip::default();
    let mut operands = vec![Operand { storage: to, offset }];
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
    // A fill starts where its operand starts, so that all of `to` is an operand of its own.
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
        operands.push(Operand { storage: to, offset: 0 });
    }
    Call {
        work: Work::Loop(kernel.interleaved().tiled()),
        operands,
        nodes: vec![v],
        refused: None,
        shared_loops: SharedLoops::default(),
    }
}

/// Adds a register to a compensated sum in memory: the operand `compensation` holds what rounding has lost so far
/// (Kahan, Further remarks on reducing truncation errors, 1965).
pub(crate) fn add(strip: &mut Strip, [sum, compensation]: [usize; 2], walks: [Walk; 2], x: Reg) {
    let mut load = |operand, walk| strip.push(Inst::Load(operand, walk, Kind::Float), Kind::Float);
    let (old, before) = (load(sum, walks[0]), load(compensation, walks[1]));
    let term = strip.add(x, before);
    let new = strip.add(old, term);
    let added = strip.sub(new, old);
    let left = strip.sub(term, added);
    // The compensation of a sum that is infinite or NaN is zero.
    let zero = strip.float(0.0);
    let difference = strip.sub(new, new);
    let is_finite = strip.eq(difference, zero);
    let left = strip.select(is_finite, left, zero);
    strip.effect(Effect::Store(sum, walks[0], new));
    strip.effect(Effect::Store(compensation, walks[1], left));
}

/// How an operand with this stride goes along a row.
fn walk(stride: isize) -> Walk {
    match stride {
        0 => Walk::Fixed,
        1 => Walk::Contiguous,
        stride => Walk::Strided(stride),
    }
}

/// Loads elements. A mask is stored as a number, zero where it does not hold.
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

/// A register as it is stored: a mask as numbers.
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
