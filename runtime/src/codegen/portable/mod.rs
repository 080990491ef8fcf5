//! Loop kernels as Cranelift functions.
//!
//! A kernel is `fn(operands: *const *mut u8, from, to)`. Counted loops around each row move the operands' pointers, the
//! outermost from `from` to `to`. A pass over a row is a loop of vectors of four elements, and one of single elements
//! for the tail. If there is no loop around the row, the row itself goes from `from` to `to`. Cranelift's x64 backend
//! has vectors of 128 bits only.

mod memory;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, I8X16, I32, I32X4, I64};
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Endianness, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value,
};
use cranelift_frontend::FunctionBuilder;

use crate::ir::multiply_add::Fma;
use crate::ir::nest::LoopKernel;
use crate::ir::reduce::Reduce;
use crate::ir::strip::{Effect, Inst, Kind, Op1, Op2, Rare, Reg, Strip, Walk};

/// Elements of a vector.
const LANES: usize = 4;

/// Elements of a block of a sum. The total of a block is added to a sum in double precision.
const BLOCK_ELEMENTS: usize = LANES * crate::ir::TERMS;

/// Emits the body of a kernel. `fma` says whether the machine multiplies and adds in one rounding; else double
/// precision does it.
pub(crate) fn emit(b: &mut FunctionBuilder<'_>, kernel: &LoopKernel, fma: bool) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let [table, from, to] = [0, 1, 2].map(|i| b.block_params(entry)[i]);
    let pointers: Vec<Value> = (0..kernel.operands.len())
        .map(|i| b.ins().load(I64, MemFlagsData::trusted().with_readonly(), table, 8 * i as i32))
        .collect();
    let range = LoopBounds { from, to, known: None };
    let mut e = LoopBuilder { b, kernel, fma, scalars: vec![None; kernel.scalars] };
    for &(operand, len, bits) in &kernel.fills {
        let mut fill = Strip::default();
        let value = fill.push(Inst::Const(bits, Kind::Int), Kind::Int);
        fill.effect(Effect::Store(operand, Walk::Contiguous, value));
        let all = e.all(0, len);
        e.run(&fill, all, &pointers);
    }
    if kernel.outer.is_empty() {
        e.row(&pointers, range)
    } else {
        e.nest(0, &pointers, range)
    }
    b.ins().return_(&[]);
}

/// The bounds of a loop.
#[derive(Clone, Copy)]
struct LoopBounds {
    from: Value,
    to: Value,
    /// The same as constants, if they are known.
    known: Option<(usize, usize)>,
}

impl LoopBounds {
    fn is_empty(&self) -> bool {
        self.known.is_some_and(|(from, to)| from >= to)
    }
}

struct LoopBuilder<'e, 'f> {
    b: &'e mut FunctionBuilder<'f>,
    kernel: &'e LoopKernel,
    fma: bool,
    /// The scalars of the row that are computed already.
    scalars: Vec<Option<Value>>,
}

impl LoopBuilder<'_, '_> {
    /// Bounds that are constants.
    fn all(&mut self, from: usize, to: usize) -> LoopBounds {
        let known = Some((from, to));
        let [from, to] = [from, to].map(|i| self.b.ins().iconst(I64, i as i64));
        LoopBounds { from, to, known }
    }

    /// The loops around the row from `depth` inward, the first of them within `range`.
    fn nest(&mut self, depth: usize, pointers: &[Value], range: LoopBounds) {
        let kernel = self.kernel;
        self.count(range, 1, &[], |e, i, _| {
            let moved: Vec<Value> = pointers
                .iter()
                .zip(&kernel.operands)
                .map(|(&pointer, strides)| match strides[depth] {
                    0 => pointer,
                    stride => {
                        let by = e.b.ins().imul_imm_s(i, 4 * stride as i64);
                        e.b.ins().iadd(pointer, by)
                    }
                })
                .collect();
            let inner = e.all(0, kernel.outer.get(depth + 1).copied().unwrap_or(kernel.row));
            if depth + 1 < kernel.outer.len() {
                e.nest(depth + 1, &moved, inner)
            } else {
                e.row(&moved, inner)
            }
            vec![]
        });
    }

    fn row(&mut self, pointers: &[Value], range: LoopBounds) {
        let kernel = self.kernel;
        for pass in &kernel.passes {
            if !pass.once.is_empty() {
                let zero = self.b.ins().iconst(I64, 0);
                let mut one = Elements { pointers, at: zero, lanes: 1, fixed: Vec::new() };
                self.elements(&pass.once.plain(false), &mut one, &mut []);
            }
            if !pass.each.is_empty() {
                self.run(&pass.each.plain(false), range, pointers);
            }
        }
    }

    /// Runs a strip over a range of elements, and makes scalars of its folds.
    fn run(&mut self, strip: &Strip, range: LoopBounds, pointers: &[Value]) {
        let folds: Vec<(usize, Reduce)> = strip.folds().collect();
        // A row that is folded is computed as a whole.
        let len = if folds.is_empty() { None } else { Some(range.known.map_or(self.kernel.row, |(_, end)| end)) };
        let range = len.map_or(range, |len| self.all(0, len));
        let sums = |op: Reduce| op == Reduce::Sum;
        let totals = match len.filter(|&len| len > BLOCK_ELEMENTS && folds.iter().any(|&(_, op)| sums(op))) {
            Some(len) => {
                let start: Vec<Value> = folds
                    .iter()
                    .map(|&(_, op)| if sums(op) { self.b.ins().f64const(0.0) } else { self.start(op) })
                    .collect();
                let add = |e: &mut Self, block: LoopBounds, totals: &[Value]| -> Vec<Value> {
                    let found = e.block(strip, &folds, block, pointers);
                    let pairs = totals.iter().zip(found).zip(&folds);
                    pairs.map(|((&total, x), &(_, op))| e.complete(op, total, x)).collect()
                };
                let blocks = self.all(0, len - len % BLOCK_ELEMENTS);
                let totals = self.count(blocks, BLOCK_ELEMENTS, &start, |e, from, totals| {
                    let to = e.b.ins().iadd_imm_s(from, BLOCK_ELEMENTS as i64);
                    add(e, LoopBounds { from, to, known: None }, totals)
                });
                let rest = self.all(len - len % BLOCK_ELEMENTS, len);
                let totals = if rest.is_empty() { totals } else { add(self, rest, &totals) };
                let single = |e: &mut Self, (&(_, op), total): (&(usize, Reduce), Value)| match sums(op) {
                    true => e.b.ins().fdemote(F32, total),
                    false => total,
                };
                folds.iter().zip(totals).map(|pair| single(self, pair)).collect()
            }
            None => self.block(strip, &folds, range, pointers),
        };
        for ((scalar, _), total) in folds.into_iter().zip(totals) {
            self.scalars[scalar] = Some(total);
        }
    }

    /// Runs a strip over a range of elements; gives the totals of its folds.
    fn block(&mut self, strip: &Strip, folds: &[(usize, Reduce)], range: LoopBounds, pointers: &[Value]) -> Vec<Value> {
        let mut totals: Vec<Value> = folds.iter().map(|&(_, op)| self.start(op)).collect();
        let (vectors, rest) = self.in_vectors(range);
        if !vectors.is_empty() {
            let start: Vec<Value> = totals.iter().map(|&total| self.b.ins().splat(F32X4, total)).collect();
            let sums = self.sweep(strip, vectors, LANES, pointers, &start);
            for ((total, sum), (_, op)) in totals.iter_mut().zip(sums).zip(folds) {
                *total = self.across(*op, sum);
            }
        }
        self.sweep(strip, rest, 1, pointers, &totals)
    }

    /// The initial total of a fold.
    fn start(&mut self, op: Reduce) -> Value {
        self.b.ins().f32const(op.identity())
    }

    /// The total of a block combined with that of the blocks before; sums are in double precision.
    fn complete(&mut self, op: Reduce, total: Value, x: Value) -> Value {
        if op != Reduce::Sum {
            return self.combine(op, total, x);
        }
        let x = self.b.ins().fpromote(F64, x);
        self.b.ins().fadd(total, x)
    }

    /// A range in whole vectors, and its tail.
    fn in_vectors(&mut self, range: LoopBounds) -> (LoopBounds, LoopBounds) {
        let LoopBounds { from, to, known } = range;
        if let Some((first, end)) = known {
            let middle = end - (end - first) % LANES;
            return (self.all(first, middle), self.all(middle, end));
        }
        let len = self.b.ins().isub(to, from);
        let whole = self.b.ins().band_imm_s(len, -(LANES as i64));
        let middle = self.b.ins().iadd(from, whole);
        (LoopBounds { from, to: middle, known }, LoopBounds { from: middle, to, known })
    }

    /// The elements of a range, `lanes` in an iteration; gives the totals of folds.
    fn sweep(
        &mut self,
        strip: &Strip,
        range: LoopBounds,
        lanes: usize,
        pointers: &[Value],
        folds: &[Value],
    ) -> Vec<Value> {
        let mut fixed = vec![None; strip.insts().len()];
        if !range.is_empty() {
            for (i, inst) in strip.insts().iter().enumerate() {
                fixed[i] = self.invariant(inst, lanes, pointers);
            }
        }
        self.count(range, lanes, folds, |e, at, folds| {
            let mut folds = folds.to_vec();
            e.elements(strip, &mut Elements { pointers, at, lanes, fixed: fixed.clone() }, &mut folds);
            folds
        })
    }

    /// The value of an instruction that is invariant in the loop over a run.
    fn invariant(&mut self, inst: &Inst, lanes: usize, pointers: &[Value]) -> Option<Value> {
        let scalar = match *inst {
            Inst::Const(bits, Kind::Float) => self.b.ins().f32const(f32::from_bits(bits)),
            Inst::Const(bits, _) => self.b.ins().iconst(I32, bits as i32 as i64),
            Inst::Load(operand, Walk::Fixed, kind) => {
                self.b.ins().load(lane_type(kind, 1), MemFlagsData::trusted(), pointers[operand], 0)
            }
            Inst::Scalar(i) => self.scalars[i]?,
            _ => return None,
        };
        let ty = self.b.func.dfg.value_type(scalar);
        Some(if lanes == 1 { scalar } else { self.b.ins().splat(if ty == F32 { F32X4 } else { I32X4 }, scalar) })
    }

    /// A loop over a range in steps that divide it, with loop-carried values.
    fn count(
        &mut self,
        range: LoopBounds,
        step: usize,
        carried: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        if range.is_empty() {
            return carried.to_vec();
        }
        if range.known.is_some_and(|(from, to)| to - from == step) {
            return body(self, range.from, carried);
        }
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(header, I64);
        let inside: Vec<Value> = carried
            .iter()
            .map(|&value| {
                let ty = self.b.func.dfg.value_type(value);
                self.b.append_block_param(header, ty)
            })
            .collect();
        let outside: Vec<Value> = carried
            .iter()
            .map(|&value| {
                let ty = self.b.func.dfg.value_type(value);
                self.b.append_block_param(exit, ty)
            })
            .collect();
        let args: Vec<BlockArg> =
            std::iter::once(range.from).chain(carried.iter().copied()).map(BlockArg::from).collect();
        if range.known.is_some() {
            self.b.ins().jump(header, &args);
        } else {
            let some = self.b.ins().icmp(IntCC::UnsignedLessThan, range.from, range.to);
            let none: Vec<BlockArg> = carried.iter().copied().map(BlockArg::from).collect();
            self.b.ins().brif(some, header, &args, exit, &none);
        }
        self.b.switch_to_block(header);
        let results = body(self, i, &inside);
        let next = self.b.ins().iadd_imm_s(i, step as i64);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, range.to);
        let results: Vec<BlockArg> = results.into_iter().map(BlockArg::from).collect();
        let again: Vec<BlockArg> = std::iter::once(BlockArg::from(next)).chain(results.iter().copied()).collect();
        self.b.ins().brif(more, header, &again, exit, &results);
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
        outside
    }

    /// The strip for one element, or for four at once.
    fn elements(&mut self, strip: &Strip, p: &mut Elements<'_>, folds: &mut [Value]) {
        let mut regs: Vec<Value> = Vec::with_capacity(strip.insts().len());
        for (i, inst) in strip.insts().iter().enumerate() {
            let known = p.fixed.get(i).copied().flatten();
            let value = match known.or_else(|| self.invariant(inst, p.lanes, p.pointers)) {
                Some(value) => value,
                None => self.inst(strip, inst, p, &regs),
            };
            regs.push(value);
        }
        let mut fold = folds.iter_mut();
        for effect in strip.effects() {
            match *effect {
                Effect::Store(operand, walk, r) => self.store(p, operand, walk, regs[r.index()]),
                Effect::Accumulate(operand, walk, op, r) => {
                    let old = self.load(p, operand, walk, Kind::Float);
                    let new = self.combine(op, old, regs[r.index()]);
                    self.store(p, operand, walk, new);
                }
                Effect::Fold(_, op, r) => {
                    if let Some(total) = fold.next() {
                        *total = self.combine(op, *total, regs[r.index()]);
                    }
                }
                Effect::Define(scalar, r) => self.scalars[scalar] = Some(regs[r.index()]),
            }
        }
    }

    fn inst(&mut self, strip: &Strip, inst: &Inst, p: &Elements<'_>, regs: &[Value]) -> Value {
        let r = |r: Reg| regs[r.index()];
        let float = lane_type(Kind::Float, p.lanes);
        let int = lane_type(Kind::Int, p.lanes);
        match *inst {
            Inst::Load(operand, walk, kind) => self.load(p, operand, walk, kind),
            Inst::Number(operand, walk) => self.number(p, operand, walk),
            Inst::One(op, x) => self.one(op, r(x), float, int),
            Inst::Two(op, x, y) => self.two(op, strip.kind(x), r(x), r(y), p.lanes),
            Inst::Fma(op, x, y, z) => self.multiply_add(op, r(x), r(y), r(z)),
            Inst::Select(mask, x, y) => self.select(r(mask), r(x), r(y)),
            Inst::Rare(f, mask, x, y) => self.rare(f, r(mask), r(x), r(y)),
            Inst::Const(..) | Inst::Scalar(_) => unreachable!("computed before the loop"),
        }
    }

    fn multiply_add(&mut self, op: Fma, x: Value, y: Value, z: Value) -> Value {
        let (x, z) = match op {
            Fma::MulAdd => (x, z),
            Fma::MulSub => (x, self.b.ins().fneg(z)),
            Fma::SubMul => (self.b.ins().fneg(x), z),
        };
        if self.fma {
            return self.b.ins().fma(x, y, z);
        }
        if self.b.func.dfg.value_type(x) == F32 {
            let [x, y, z] = [x, y, z].map(|x| self.b.ins().fpromote(F64, x));
            let sum = self.multiply_add_double(x, y, z);
            return self.b.ins().fdemote(F32, sum);
        }
        let high = [x, y, z].map(|x| self.halves(x, x, [1, 0]));
        let [low, high] = [[x, y, z], high].map(|args| {
            let [x, y, z] = args.map(|x| self.b.ins().fvpromote_low(x));
            let sum = self.multiply_add_double(x, y, z);
            self.b.ins().fvdemote(sum)
        });
        self.halves(low, high, [0, 2])
    }

    /// A product of single-precision numbers is exact in double precision, and its sum with a third number nearly so.
    /// Functions rely on it to compute the rounding error of a product.
    fn multiply_add_double(&mut self, x: Value, y: Value, z: Value) -> Value {
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fadd(product, z)
    }

    /// Two of the halves of two vectors, by number.
    fn halves(&mut self, x: Value, y: Value, which: [u8; 2]) -> Value {
        let bytes: Vec<u8> = which.iter().flat_map(|half| 8 * half..8 * half + 8).collect();
        let mask = self.b.func.dfg.immediates.push(bytes.into());
        let [x, y] = [x, y].map(|x| self.bitcast(I8X16, x));
        let chosen = self.b.ins().shuffle(x, y, mask);
        self.bitcast(F32X4, chosen)
    }

    fn one(&mut self, op: Op1, x: Value, float: Type, int: Type) -> Value {
        match op {
            Op1::Neg => self.b.ins().fneg(x),
            Op1::Abs => self.b.ins().fabs(x),
            Op1::Sqrt => self.b.ins().sqrt(x),
            Op1::Nearest => self.b.ins().nearest(x),
            Op1::Floor => self.b.ins().floor(x),
            Op1::ToInt | Op1::ToIntInRange => self.b.ins().fcvt_to_sint_sat(int, x),
            Op1::ToFloat => self.b.ins().fcvt_from_sint(float, x),
            Op1::Bits => self.bitcast(int, x),
            Op1::FromBits => self.bitcast(float, x),
            Op1::Shl(by) => self.b.ins().ishl_imm_s(x, by as i64),
            Op1::ShrUnsigned(by) => self.b.ins().ushr_imm_u(x, by as i64),
            Op1::Shr(by) => self.b.ins().sshr_imm_s(x, by as i64),
            Op1::Mantissa => unreachable!("expanded by `Strip::plain`"),
            Op1::MaskToFloat => {
                let one = self.b.ins().f32const(1.0);
                let one = if int == I32 { one } else { self.b.ins().splat(F32X4, one) };
                let one = self.bitcast(int, one);
                let kept = self.b.ins().band(x, one);
                self.bitcast(float, kept)
            }
        }
    }

    fn two(&mut self, op: Op2, kind: Kind, x: Value, y: Value, lanes: usize) -> Value {
        let ins = self.b.ins();
        match op {
            Op2::Add => ins.fadd(x, y),
            Op2::Sub => ins.fsub(x, y),
            Op2::Mul => ins.fmul(x, y),
            Op2::Div => ins.fdiv(x, y),
            Op2::Max | Op2::Min | Op2::Scale | Op2::Exponent => unreachable!("expanded by `Strip::plain`"),
            Op2::IAdd => ins.iadd(x, y),
            Op2::ISub => ins.isub(x, y),
            Op2::IMul => ins.imul(x, y),
            Op2::IMin => ins.smin(x, y),
            Op2::IMax => ins.smax(x, y),
            Op2::And => ins.band(x, y),
            Op2::Or => ins.bor(x, y),
            Op2::Xor => ins.bxor(x, y),
            Op2::Lt | Op2::Le | Op2::Eq | Op2::Ne => {
                debug_assert_eq!(kind, Kind::Float);
                let condition = match op {
                    Op2::Lt => FloatCC::LessThan,
                    Op2::Le => FloatCC::LessThanOrEqual,
                    Op2::Eq => FloatCC::Equal,
                    _ => FloatCC::NotEqual,
                };
                let holds = ins.fcmp(condition, x, y);
                self.as_mask(holds, lanes)
            }
            Op2::ILt | Op2::ILe | Op2::IEq => {
                let condition = match op {
                    Op2::ILt => IntCC::SignedLessThan,
                    Op2::ILe => IntCC::SignedLessThanOrEqual,
                    _ => IntCC::Equal,
                };
                let holds = ins.icmp(condition, x, y);
                self.as_mask(holds, lanes)
            }
        }
    }

    /// A comparison as a mask: Cranelift gives a byte for single elements, and all bits of a lane for vectors.
    fn as_mask(&mut self, holds: Value, lanes: usize) -> Value {
        if lanes == 1 { self.b.ins().bmask(I32, holds) } else { holds }
    }

    fn select(&mut self, mask: Value, x: Value, y: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        let bits = if ty == F32 || ty == I32 { I32 } else { I32X4 };
        let (x, y) = (self.bitcast(bits, x), self.bitcast(bits, y));
        let chosen = self.b.ins().bitselect(mask, x, y);
        self.bitcast(ty, chosen)
    }

    /// Calls scalar code with its two operands on the stack, if the mask holds in any lane.
    fn rare(&mut self, f: Rare, mask: Value, x: Value, y: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        let places = if ty == F32 { self.b.ins().band_imm_u(mask, 1) } else { self.b.ins().vhigh_bits(I32, mask) };
        let (some, done) = (self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(done, ty);
        self.b.set_cold_block(some);
        self.b.ins().brif(places, some, &[], done, &[BlockArg::from(x)]);
        self.b.switch_to_block(some);
        self.b.seal_block(some);
        let slot = || StackSlotData::new(StackSlotKind::ExplicitSlot, 4 * LANES as u32, 4);
        let [to, with] = [x, y].map(|value| {
            let slot = self.b.create_sized_stack_slot(slot());
            self.b.ins().stack_store(I64, value, slot, 0);
            slot
        });
        let addresses = [to, with].map(|slot| self.b.ins().stack_addr(I64, slot, 0));
        let mut signature = Signature::new(self.b.func.signature.call_conv);
        signature.params = [I64, I64, I32].map(AbiParam::new).to_vec();
        let signature = self.b.import_signature(signature);
        let function = self.b.ins().iconst(I64, f.address() as i64);
        self.b.ins().call_indirect(signature, function, &[addresses[0], addresses[1], places]);
        let computed = self.b.ins().stack_load(I64, ty, to, 0);
        self.b.ins().jump(done, &[BlockArg::from(computed)]);
        self.b.switch_to_block(done);
        self.b.seal_block(done);
        result
    }

    fn bitcast(&mut self, to: Type, x: Value) -> Value {
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        if self.b.func.dfg.value_type(x) == to { x } else { self.b.ins().bitcast(to, flags, x) }
    }

    fn combine(&mut self, op: Reduce, total: Value, x: Value) -> Value {
        match op {
            Reduce::Sum => self.b.ins().fadd(total, x),
            Reduce::Max => self.b.ins().fmax(total, x),
            Reduce::Min => self.b.ins().fmin(total, x),
            Reduce::Prod => self.b.ins().fmul(total, x),
        }
    }

    /// All lanes of a vector combined.
    fn across(&mut self, op: Reduce, vector: Value) -> Value {
        let lanes: Vec<Value> = (0..LANES as u8).map(|lane| self.b.ins().extractlane(vector, lane)).collect();
        let first = self.combine(op, lanes[0], lanes[2]);
        let second = self.combine(op, lanes[1], lanes[3]);
        self.combine(op, first, second)
    }
}

/// The elements that one evaluation of a strip computes: one, or a vector.
struct Elements<'p> {
    pointers: &'p [Value],
    /// The number of the first element in the run.
    at: Value,
    lanes: usize,
    /// The values of loop-invariant instructions.
    fixed: Vec<Option<Value>>,
}

fn lane_type(kind: Kind, lanes: usize) -> Type {
    match (kind, lanes) {
        (Kind::Float, 1) => F32,
        (Kind::Float, _) => F32X4,
        (_, 1) => I32,
        (_, _) => I32X4,
    }
}
