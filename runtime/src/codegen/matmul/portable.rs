//! Products by Cranelift, which has vectors of four elements on every machine: the same tiles as in
//! `x86`, smaller, and without chunks.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::{FunctionBuilder, Variable};

use crate::ir::product::portable::{LANES, TILE_ROWS, TILE_VECTORS, has_vectors};
use crate::ir::product::{SEGMENT, Spec};

/// Emits the body of `fn(a, b, c, scratch)`. `fma` says whether the machine multiplies and adds in
/// one rounding.
pub(super) fn emit(b: &mut FunctionBuilder<'_>, spec: &Spec, fma: bool) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let [left, right, result, scratch] = std::array::from_fn(|i| b.block_params(entry)[i]);
    let mut e = ProductBuilder { b, spec, fma, left, scratch };
    let (b_panel, c_panel) = (e.variable(right), e.variable(result));
    let [_, [_, b_column], [_, c_column]] = e.strides();
    let vectors = has_vectors(spec);
    let mut columns = spec.n;
    for (lanes, wide) in [(LANES, TILE_VECTORS), (LANES, 1), (1, 1)] {
        let width = lanes * wide;
        if lanes == 1 || vectors {
            let moves = [(b_panel, width as i64 * b_column), (c_panel, width as i64 * c_column)];
            e.repeat(columns / width, &moves, |e| e.panel(b_panel, c_panel, lanes, wide));
            columns %= width;
        }
    }
    b.ins().return_(&[]);
}

struct ProductBuilder<'e, 'f> {
    b: &'e mut FunctionBuilder<'f>,
    spec: &'e Spec,
    fma: bool,
    left: Value,
    scratch: Value,
}

impl ProductBuilder<'_, '_> {
    /// All strides in bytes.
    fn strides(&self) -> [[i64; 2]; 3] {
        self.spec.strides.map(|s| s.map(|s| 4 * s as i64))
    }

    fn variable(&mut self, value: Value) -> Variable {
        let ty = self.b.func.dfg.value_type(value);
        let variable = self.b.declare_var(ty);
        self.b.def_var(variable, value);
        variable
    }

    /// A loop of `count` iterations, after each of which some pointers move on by bytes.
    fn repeat(&mut self, count: usize, moves: &[(Variable, i64)], body: impl FnOnce(&mut Self)) {
        if count == 0 {
            return;
        }
        let all = self.b.ins().iconst(I64, count as i64);
        let left = self.variable(all);
        let (top, exit) = (self.b.create_block(), self.b.create_block());
        self.b.ins().jump(top, &[]);
        self.b.switch_to_block(top);
        body(self);
        for &(pointer, bytes) in moves {
            let at = self.b.use_var(pointer);
            let next = self.b.ins().iadd_imm_s(at, bytes);
            self.b.def_var(pointer, next);
        }
        let count = self.b.use_var(left);
        let next = self.b.ins().iadd_imm_s(count, -1);
        self.b.def_var(left, next);
        let more = self.b.ins().icmp_imm_s(IntCC::NotEqual, next, 0);
        self.b.ins().brif(more, top, &[], exit, &[]);
        self.b.seal_block(top);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }

    /// The address `pointer + bytes`, as a value and an offset that fits an instruction.
    fn address(&mut self, pointer: Variable, bytes: i64) -> (Value, i32) {
        let at = self.b.use_var(pointer);
        match i32::try_from(bytes) {
            Ok(offset) => (at, offset),
            Err(_) => (self.b.ins().iadd_imm_s(at, bytes), 0),
        }
    }

    fn load(&mut self, ty: Type, pointer: Variable, bytes: i64) -> Value {
        let (at, offset) = self.address(pointer, bytes);
        self.b.ins().load(ty, flags(ty), at, offset)
    }

    fn store(&mut self, value: Value, pointer: Variable, bytes: i64) {
        let ty = self.b.func.dfg.value_type(value);
        let (at, offset) = self.address(pointer, bytes);
        self.b.ins().store(flags(ty), value, at, offset);
    }

    /// A panel: all rows of some vectors of columns.
    fn panel(&mut self, b_panel: Variable, c_panel: Variable, lanes: usize, vectors: usize) {
        let [[a_row, _], [b_row, b_column], [c_row, _]] = self.strides();
        let width = lanes * vectors;
        let (mut from, mut step) = (self.b.use_var(b_panel), b_row);
        if lanes > 1 && b_column != 4 {
            let (source, to) = (self.variable(from), self.variable(self.scratch));
            (from, step) = (self.scratch, 4 * width as i64);
            self.repeat(self.spec.k, &[(source, b_row), (to, step)], |e| {
                for i in 0..width as i64 {
                    let element = e.load(F32, source, i * b_column);
                    e.store(element, to, 4 * i);
                }
            });
        }
        let first = self.b.use_var(c_panel);
        let (a_tile, c_tile) = (self.variable(self.left), self.variable(first));
        for (count, rows) in [(self.spec.m / TILE_ROWS, TILE_ROWS), (1, self.spec.m % TILE_ROWS)] {
            if rows > 0 {
                let moves = [(a_tile, rows as i64 * a_row), (c_tile, rows as i64 * c_row)];
                self.repeat(count, &moves, |e| e.tile(a_tile, c_tile, (from, step), rows, (lanes, vectors)));
            }
        }
    }

    /// A tile of the panel at `from`, whose rows are `step` bytes apart.
    fn tile(
        &mut self,
        a_tile: Variable,
        c_tile: Variable,
        (from, step): (Value, i64),
        rows: usize,
        (lanes, vectors): (usize, usize),
    ) {
        let [[_, a_column], _, [c_row, _]] = self.strides();
        let zero = self.b.ins().f32const(0.0);
        let zero = if lanes == 1 { zero } else { self.b.ins().splat(F32X4, zero) };
        let sums: Vec<Variable> = (0..rows * vectors).map(|_| self.variable(zero)).collect();
        let first = self.b.use_var(a_tile);
        let (a_at, b_at) = (self.variable(first), self.variable(from));
        let ends = [self.spec.k as i64 * a_column, self.spec.k as i64 * step];
        let mut steps = |e: &mut Self, count: usize| {
            e.repeat(count, &[(a_at, a_column), (b_at, step)], |e| e.step(a_at, b_at, &sums, (lanes, vectors)));
        };
        if self.spec.terms() > SEGMENT {
            let totals = Totals::new(self, &sums, zero);
            self.sums(&self.spec.sums, [a_at, b_at], ends, &mut |e| totals.sweep(e, &mut steps));
            totals.add(self);
            sums.iter().zip(&totals.totals).for_each(|(&sum, &total)| {
                let total = self.b.use_var(total);
                self.b.def_var(sum, total);
            });
        } else {
            self.sums(&self.spec.sums, [a_at, b_at], ends, &mut |e| steps(e, e.spec.k));
        }
        for (i, sums) in sums.chunks(vectors).enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                let sum = self.b.use_var(sum);
                self.store(sum, c_tile, i as i64 * c_row + 16 * j as i64);
            }
        }
    }

    /// The loops around the inner dimension. `body` goes along the inner dimension, and moves the pointers on by `ends`
    /// bytes.
    fn sums(
        &mut self,
        loops: &[(usize, [isize; 2])],
        pointers: [Variable; 2],
        ends: [i64; 2],
        body: &mut dyn FnMut(&mut Self),
    ) {
        let [(size, strides), inner @ ..] = loops else { return body(self) };
        let moved = inner.first().map_or(ends, |(size, strides)| strides.map(|s| 4 * *size as i64 * s as i64));
        let moves: [_; 2] = std::array::from_fn(|i| (pointers[i], 4 * strides[i] as i64 - moved[i]));
        self.repeat(*size, &moves, |e| e.sums(inner, pointers, ends, body));
    }

    /// One step along the inner dimension.
    fn step(&mut self, a_at: Variable, b_at: Variable, sums: &[Variable], (lanes, vectors): (usize, usize)) {
        let [[a_row, _], ..] = self.strides();
        let ty = if lanes == 1 { F32 } else { F32X4 };
        let right: Vec<Value> = (0..vectors).map(|j| self.load(ty, b_at, 16 * j as i64)).collect();
        for (i, sums) in sums.chunks(vectors).enumerate() {
            let x = self.load(F32, a_at, i as i64 * a_row);
            let x = if lanes == 1 { x } else { self.b.ins().splat(F32X4, x) };
            for (&sum, &y) in sums.iter().zip(&right) {
                let old = self.b.use_var(sum);
                let new = self.multiply_add(x, y, old);
                self.b.def_var(sum, new);
            }
        }
    }

    fn multiply_add(&mut self, x: Value, y: Value, sum: Value) -> Value {
        if self.fma {
            return self.b.ins().fma(x, y, sum);
        }
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fadd(sum, product)
    }
}

/// Totals of sums of many terms: after `SEGMENT` steps at most sums are added to them and start again at zero, since
/// the larger a sum, the more a step is rounded.
struct Totals {
    sums: Vec<Variable>,
    zero: Value,
    totals: Vec<Variable>,
    /// The sweeps along a short inner dimension that are left until the next addition to the totals.
    left: Variable,
}

impl Totals {
    fn new(e: &mut ProductBuilder<'_, '_>, sums: &[Variable], zero: Value) -> Totals {
        let sweeps = e.b.ins().iconst(I64, Totals::sweeps(e.spec));
        let totals = sums.iter().map(|_| e.variable(zero)).collect();
        Totals { sums: sums.to_vec(), zero, totals, left: e.variable(sweeps) }
    }

    /// Sweeps from one addition to the totals to the next.
    fn sweeps(spec: &Spec) -> i64 {
        (SEGMENT / spec.k.max(1)) as i64
    }

    /// A sweep along the inner dimension, and additions to the totals where they are due.
    fn sweep<'e, 'f>(&self, e: &mut ProductBuilder<'e, 'f>, steps: &mut dyn FnMut(&mut ProductBuilder<'e, 'f>, usize)) {
        let k = e.spec.k;
        if k > SEGMENT {
            e.repeat(k / SEGMENT, &[], |e| {
                steps(e, SEGMENT);
                self.add(e);
            });
            steps(e, k % SEGMENT);
            return self.add(e);
        }
        steps(e, k);
        let (due, later) = (e.b.create_block(), e.b.create_block());
        let left = e.b.use_var(self.left);
        let left = e.b.ins().iadd_imm_s(left, -1);
        e.b.def_var(self.left, left);
        e.b.ins().brif(left, later, &[], due, &[]);
        e.b.switch_to_block(due);
        e.b.seal_block(due);
        self.add(e);
        let sweeps = e.b.ins().iconst(I64, Totals::sweeps(e.spec));
        e.b.def_var(self.left, sweeps);
        e.b.ins().jump(later, &[]);
        e.b.switch_to_block(later);
        e.b.seal_block(later);
    }

    /// Adds the sums to the totals, and sets them to zero.
    fn add(&self, e: &mut ProductBuilder<'_, '_>) {
        for (&sum, &total) in self.sums.iter().zip(&self.totals) {
            let (x, old) = (e.b.use_var(sum), e.b.use_var(total));
            let new = e.b.ins().fadd(old, x);
            e.b.def_var(total, new);
            e.b.def_var(sum, self.zero);
        }
    }
}

/// Vectors need not start at a multiple of 16 bytes.
fn flags(ty: Type) -> MemFlagsData {
    if ty == F32 { MemFlagsData::trusted() } else { MemFlagsData::new().with_notrap() }
}
