//! Products as functions of machine code, `fn(a, b, c, scratch)`.
//!
//! Around a tile stand counted loops over chunks, panels and tiles (see `blocking`). In a tile each
//! step along the inner dimension reads a row of the panel as vectors, and every row's element of
//! the left matrix as one value for all lanes. So the left matrix may have any strides; it is packed
//! only where that saves more than it takes.

use iced_x86::IcedError;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use super::simd::{Emit, Simd};
use crate::error::Error;
use crate::ir::product::blocking::{Blocking, Packing, Panel, UNROLL, registers};
use crate::ir::product::{SUMS, Spec};

// The arguments. `A` and `B` move on with the chunks.
pub(super) const A: AsmRegister64 = rdi;
pub(super) const B: AsmRegister64 = rsi;
pub(super) const C: AsmRegister64 = rdx;
pub(super) const SCRATCH: AsmRegister64 = rcx;
/// The chunks that are left, this one included.
pub(super) const CHUNKS: AsmRegister64 = r15;
/// The panels that are left, and where the one at hand is.
pub(super) const PANELS: AsmRegister64 = r13;
pub(super) const B_FROM: AsmRegister64 = rax;
const C_PANEL: AsmRegister64 = rbp;
/// Where the panel is read, packed or not.
const PANEL: AsmRegister64 = r12;
/// The tiles that are left, and where the one at hand is.
pub(super) const TILES: AsmRegister64 = r8;
pub(super) const A_TILE: AsmRegister64 = rbx;
pub(super) const C_TILE: AsmRegister64 = r9;
/// What moves along the inner dimension, and the turns that are left.
pub(super) const A_AT: AsmRegister64 = r10;
pub(super) const B_AT: AsmRegister64 = r11;
pub(super) const TURNS: AsmRegister64 = r14;
/// Registers that belong to the caller.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];

/// A loop around the inner dimension, and the register that counts it.
type SumLoop = ((usize, [isize; 2]), AsmRegister64);

/// Writes a function.
pub(super) struct Emitter<'s> {
    pub(super) simd: Simd,
    pub(super) spec: &'s Spec,
    pub(super) blocking: Blocking,
}

/// The machine code of a product.
pub(super) fn machine_code(spec: &Spec) -> Result<Vec<u8>, Error> {
    let refused = |error: IcedError| Error::Compile {
        what: format!("a product of {} x {} x {}", spec.m, spec.k, spec.n),
        message: error.to_string(),
    };
    let emit = || {
        let mut emitter = Emitter { simd: Simd::new(spec.level)?, spec, blocking: Blocking::new(spec) };
        emitter.function()?;
        emitter.simd.code.assemble(0)
    };
    emit().map_err(refused)
}

/// The memory `bytes` behind a register.
pub(super) fn at(base: AsmRegister64, bytes: i64) -> AsmMemoryOperand {
    base + bytes
}

impl Emitter<'_> {
    fn function(&mut self) -> Emit {
        for r in SAVED {
            self.simd.code.push(r)?;
        }
        let dots = self.blocking.packing == Packing::Dots;
        self.start_totals()?;
        self.start_check()?;
        if dots {
            self.dots()?;
        } else {
            self.chunks()?;
        }
        self.end_check()?;
        self.end_totals()?;
        for r in SAVED.into_iter().rev() {
            self.simd.code.pop(r)?;
        }
        self.simd.code.vzeroupper()?;
        self.simd.code.ret()?;
        self.simd.mask_data(if dots { self.spec.k } else { self.spec.n } % self.simd.lanes())
    }

    /// All chunks of the inner dimension.
    fn chunks(&mut self) -> Emit {
        let blocking = self.blocking.clone();
        // A place for the number of turns in a chunk.
        self.simd.code.push(CHUNKS)?;
        if blocking.packing == Packing::Transposed {
            self.simd.set_quarter_masks()?;
        }
        let [[_, a_column], [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let chunk = blocking.chunk as i64;
        self.repeat(CHUNKS, blocking.chunks, &[(A, chunk * a_column), (B, chunk * b_row)], |e| {
            e.set_turns()?;
            e.pack_left()?;
            e.simd.code.mov(B_FROM, B)?;
            e.simd.code.mov(C_PANEL, C)?;
            blocking.panels.iter().try_for_each(|panel| e.panels(panel))
        })?;
        self.simd.code.pop(CHUNKS)
    }

    /// A loop of `count` turns, after each of which some registers move on by bytes.
    pub(super) fn repeat(
        &mut self,
        counter: AsmRegister64,
        count: usize,
        moves: &[(AsmRegister64, i64)],
        body: impl FnOnce(&mut Self) -> Emit,
    ) -> Emit {
        self.simd.code.mov(counter, count as i64)?;
        let top = self.simd.here()?;
        body(self)?;
        for &(register, bytes) in moves {
            match i32::try_from(bytes) {
                Ok(0) => {}
                Ok(bytes) => self.simd.code.add(register, bytes)?,
                Err(_) => {
                    self.simd.code.mov(A_AT, bytes)?;
                    self.simd.code.add(register, A_AT)?;
                }
            }
        }
        if count > 1 {
            self.simd.code.dec(counter)?;
            self.simd.code.jne(top)?;
        }
        Ok(())
    }

    /// Whether chunks have different numbers of turns.
    fn uneven(&self) -> bool {
        self.blocking.chunk / UNROLL != self.blocking.last / UNROLL
    }

    /// Keeps the number of turns in this chunk.
    fn set_turns(&mut self) -> Emit {
        if !self.uneven() {
            return Ok(());
        }
        let mut kept = self.simd.code.create_label();
        self.simd.code.mov(TURNS, (self.blocking.chunk / UNROLL) as i64)?;
        self.simd.code.cmp(CHUNKS, 1)?;
        self.simd.code.jne(kept)?;
        self.simd.code.mov(TURNS, (self.blocking.last / UNROLL) as i64)?;
        self.simd.set(&mut kept)?;
        self.simd.code.mov(qword_ptr(rsp), TURNS)
    }

    /// Goes along the chunk's steps, `UNROLL` at a time and then those that are left. The registers
    /// move on by so many bytes at each step.
    pub(super) fn sweep(&mut self, moves: &[(AsmRegister64, i64)], body: &dyn Fn(&mut Self, usize) -> Emit) -> Emit {
        let turns = self.blocking.chunk / UNROLL;
        if self.uneven() {
            let mut done = self.simd.code.create_label();
            self.simd.code.mov(TURNS, qword_ptr(rsp))?;
            self.simd.code.test(TURNS, TURNS)?;
            self.simd.code.je(done)?;
            self.repeat_turns(moves, body)?;
            self.simd.set(&mut done)?;
        } else {
            self.turns(turns, moves, body)?;
        }
        let left = self.blocking.last % UNROLL;
        if left > 0 {
            let mut done = self.simd.code.create_label();
            if self.blocking.chunks > 1 {
                self.simd.code.cmp(CHUNKS, 1)?;
                self.simd.code.jne(done)?;
            }
            body(self, left)?;
            if self.blocking.chunks > 1 {
                self.simd.set(&mut done)?;
            }
        }
        Ok(())
    }

    /// So many turns of `UNROLL` steps each.
    fn turns(&mut self, turns: usize, moves: &[(AsmRegister64, i64)], body: &dyn Fn(&mut Self, usize) -> Emit) -> Emit {
        if turns == 0 {
            return Ok(());
        }
        self.simd.code.mov(TURNS, turns as i64)?;
        self.repeat_turns(moves, body)
    }

    /// As many turns as `TURNS` says, at least one.
    fn repeat_turns(&mut self, moves: &[(AsmRegister64, i64)], body: &dyn Fn(&mut Self, usize) -> Emit) -> Emit {
        let top = self.simd.here()?;
        body(self, UNROLL)?;
        for &(register, bytes) in moves {
            self.simd.code.add(register, (bytes * UNROLL as i64) as i32)?;
        }
        self.simd.code.dec(TURNS)?;
        self.simd.code.jne(top)
    }

    /// The loops around the inner dimension. `body` goes along it, and leaves `A_AT` and `B_AT` so many
    /// bytes behind where it starts.
    pub(super) fn sums(&mut self, a_moved: i64, b_moved: i64, body: &dyn Fn(&mut Self) -> Emit) -> Emit {
        // Without chunks and packing these are free.
        let counters: [_; SUMS] = [CHUNKS, SCRATCH];
        let loops: Vec<_> = self.spec.sums.iter().copied().zip(counters).collect();
        self.sum_loops(&loops, (a_moved, b_moved), body)
    }

    fn sum_loops(&mut self, loops: &[SumLoop], (a, b): (i64, i64), body: &dyn Fn(&mut Self) -> Emit) -> Emit {
        let [((size, strides), counter), inner @ ..] = loops else { return body(self) };
        let [a_step, b_step] = strides.map(|s| 4 * s as i64);
        // Where the pointers are at the end of a turn, behind where the turn starts.
        let behind = match inner.first() {
            Some(((size, [a, b]), _)) => (4 * *size as i64 * *a as i64, 4 * *size as i64 * *b as i64),
            None => (a, b),
        };
        let moves = [(A_AT, a_step - behind.0), (B_AT, b_step - behind.1)];
        self.repeat(*counter, *size, &moves, |e| e.sum_loops(inner, (a, b), body))
    }

    /// Panels of one width, one behind the other.
    fn panels(&mut self, panel: &Panel) -> Emit {
        let [_, [_, b_column], [_, c_column]] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let columns = panel.columns as i64;
        if panel.masked {
            self.simd.set_mask(panel.columns % self.simd.lanes())?;
        }
        self.repeat(PANELS, panel.count, &[(B_FROM, columns * b_column), (C_PANEL, columns * c_column)], |e| {
            e.pack(panel)?;
            e.simd.code.mov(PANEL, if e.blocking.packing == Packing::Direct { B_FROM } else { SCRATCH })?;
            match e.blocking.left {
                Some(_) => e.simd.code.lea(A_TILE, at(SCRATCH, 4 * e.blocking.panel() as i64))?,
                None => e.simd.code.mov(A_TILE, A)?,
            }
            e.simd.code.mov(C_TILE, C_PANEL)?;
            for &(count, rows) in &panel.tiles {
                let [a, c] = e.spec.row(rows).map(|s| 4 * s as i64);
                let a = e.blocking.left.map_or(a, |rows| 4 * e.blocking.tile(rows) as i64);
                let moves = [(A_TILE, a), (C_TILE, c)];
                e.repeat(TILES, count, &moves, |e| e.tile(panel, (count, rows)))?;
            }
            Ok(())
        })
    }

    /// Some rows of a panel: sums over the chunk, stored or added to those of earlier chunks.
    fn tile(&mut self, panel: &Panel, (tiles, rows): (usize, usize)) -> Emit {
        let [_, [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let a_column = self.a_column();
        let bytes = 4 * self.simd.lanes() as i64;
        let packed = self.blocking.packing != Packing::Direct;
        let b_row = if packed { panel.vectors as i64 * bytes } else { b_row };
        let sums = Sums::new(self, panel, rows);
        for r in 0..sums.registers() {
            self.simd.zero(r)?;
        }
        self.simd.code.mov(A_AT, A_TILE)?;
        self.simd.code.mov(B_AT, PANEL)?;
        let moves = [(A_AT, a_column), (B_AT, b_row)];
        let steps = |e: &mut Self, steps: usize| {
            e.ahead(panel, (tiles, rows), steps)?;
            (0..steps).try_for_each(|step| e.step(panel, &sums, step, b_row, panel.masked && !packed))
        };
        if self.blocking.chunks > 1 {
            self.sweep(&moves, &steps)?;
        } else {
            let turned = (self.spec.k / UNROLL * UNROLL) as i64;
            let moved = (turned * a_column, turned * b_row);
            self.sums_with_totals(0..sums.registers(), self.spec.k, moved, &|e, count, _| {
                e.turns(count / UNROLL, &moves, &steps)?;
                if count.is_multiple_of(UNROLL) { Ok(()) } else { steps(e, count % UNROLL) }
            })?;
        }
        for set in 1..sums.sets {
            for r in 0..sums.tile() {
                self.simd.add(r, set * sums.tile() + r)?;
            }
        }
        self.store(panel, &sums)
    }

    /// Bytes from one column of a tile's left matrix to the next.
    fn a_column(&self) -> i64 {
        4 * self.blocking.left.map_or(self.spec.strides[0][1] as i64, |rows| rows as i64)
    }

    /// One step along the inner dimension, the `step`th of a turn.
    fn step(&mut self, panel: &Panel, sums: &Sums, step: usize, b_row: i64, masked: bool) -> Emit {
        let a_column = self.a_column();
        let bytes = 4 * self.simd.lanes() as i64;
        for j in 0..panel.vectors {
            let place = at(B_AT, step as i64 * b_row + j as i64 * bytes);
            self.simd.load(sums.free + j, place, masked && j + 1 == panel.vectors)?;
        }
        for i in 0..sums.rows {
            let row = if self.blocking.left.is_some() { i as isize } else { self.spec.row(i)[0] };
            let element = at(A_AT, step as i64 * a_column + 4 * row as i64);
            let set = step % sums.sets;
            if panel.vectors == 1 && self.simd.wide() {
                self.simd.fma_element(sums.at(set, i, 0), sums.free, element)?;
                continue;
            }
            let left = sums.free + panel.vectors;
            self.simd.broadcast(left, element)?;
            for j in 0..panel.vectors {
                self.simd.fma(sums.at(set, i, j), sums.free + j, left)?;
            }
        }
        Ok(())
    }
}

/// Which registers hold the sums of a tile.
pub(super) struct Sums {
    pub(super) rows: usize,
    vectors: usize,
    /// The steps of a turn are added up in so many sets of sums, so that a small tile too has
    /// enough additions that do not wait for each other.
    sets: usize,
    /// The first register behind.
    pub(super) free: usize,
}

impl Sums {
    fn new(e: &Emitter<'_>, panel: &Panel, rows: usize) -> Sums {
        let tile = rows * panel.vectors;
        let mask = (panel.masked && !e.simd.wide()) as usize;
        let room = registers(e.spec.level) - panel.vectors - 1 - mask;
        let fits = |sets: &usize| sets * tile <= room && (sets / 2) * tile < 8;
        let sets = [4, 2].into_iter().find(fits).unwrap_or(1);
        Sums { rows, vectors: panel.vectors, sets, free: sets * tile }
    }

    /// The registers of one set.
    pub(super) fn tile(&self) -> usize {
        self.rows * self.vectors
    }

    pub(super) fn registers(&self) -> usize {
        self.sets * self.tile()
    }

    pub(super) fn at(&self, set: usize, row: usize, vector: usize) -> usize {
        set * self.tile() + row * self.vectors + vector
    }
}
