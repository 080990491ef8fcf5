//! Elements of operands: loads, stores, and the numbers of elements.

use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;
use iced_x86::{MemoryOperand, Register};

use super::asm::{Emit, SCRATCH_MASK, Src, at};
use super::codes;
use super::frame::{BUFFER, Frame, LEFT, Lanes, SCRATCH, STRIDED, TAIL_LANES};
use super::group::VectorGroup;
use crate::ir::reduce::Reduce;
use crate::ir::strip::Walk;

/// The memory so many bytes further on.
fn further(from: MemoryOperand, bytes: i64) -> MemoryOperand {
    MemoryOperand { displacement: from.displacement + bytes, displ_size: 1, ..from }
}

impl VectorGroup<'_, '_> {
    /// Loads elements of an operand.
    pub(crate) fn load(&mut self, v: usize, operand: usize, walk: Walk) -> Emit {
        let d = self.result(v)?;
        self.load_into(d, operand, walk)
    }

    fn load_into(&mut self, d: u8, operand: usize, walk: Walk) -> Emit {
        let (position, lanes) = (self.position(), self.lanes);
        let frame = &mut *self.frame;
        let from = frame.address(operand, walk, position)?;
        match walk {
            Walk::Fixed => frame.asm.broadcast(d, from),
            Walk::Contiguous => frame.load_run(d, from, lanes),
            Walk::Strided(stride) => frame.load_strided(d, from, stride as i64, lanes),
            Walk::Repeated(times) => frame.load_repeated(d, from, times, lanes),
        }
    }

    /// Stores a register's elements; a single one if the operand is fixed.
    pub(crate) fn store(&mut self, operand: usize, walk: Walk, r: u8) -> Emit {
        let (position, lanes) = (self.position(), self.lanes);
        let frame = &mut *self.frame;
        let to = frame.address(operand, walk, position)?;
        match walk {
            Walk::Fixed => frame.asm.store_first(to, r),
            Walk::Contiguous => frame.store_run(to, r, lanes),
            Walk::Strided(stride) => frame.store_strided(to, r, stride as i64, lanes),
            Walk::Repeated(_) => unreachable!("repeated elements are only read"),
        }
    }

    /// Combines elements of an operand with a register.
    pub(crate) fn accumulate(&mut self, operand: usize, walk: Walk, op: Reduce, r: u8) -> Emit {
        let total = self.borrow()?;
        self.load_into(total, operand, walk)?;
        self.asm().combine(op, total, r)?;
        self.store(operand, walk, total)?;
        self.give_back();
        Ok(())
    }

    /// The numbers of elements. The operand starts at address zero, so that an address is a number times four.
    pub(crate) fn number(&mut self, v: usize, operand: usize, walk: Walk) -> Emit {
        let d = self.result(v)?;
        let position = self.position();
        let address = self.frame.address(operand, walk, position)?;
        let asm = &mut self.frame.asm;
        asm.code.lea(SCRATCH, address_of(address))?;
        asm.code.shr(SCRATCH, 2)?;
        asm.spread_integer(d, ecx)?;
        let stride = match walk {
            Walk::Fixed => return Ok(()),
            Walk::Contiguous => 1,
            Walk::Strided(stride) => stride as i32,
            Walk::Repeated(_) => unreachable!("every element has a number of its own"),
        };
        let steps = (0..asm.lanes() as i32).map(|lane| lane.wrapping_mul(stride) as u32).collect();
        let steps = asm.lane_constants(steps);
        asm.three(codes::IADD, d, d, Src::Mem(steps))
    }
}

/// The same address for an instruction on general registers.
fn address_of(m: MemoryOperand) -> AsmMemoryOperand {
    let base =
        [rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15].into_iter().find(|&r| m.base == r.into());
    let base = base.unwrap_or(rsp);
    if m.index == Register::None { qword_ptr(base + m.displacement) } else { qword_ptr(base + rax + m.displacement) }
}

impl Frame {
    /// Loads contiguous elements.
    fn load_run(&mut self, d: u8, from: MemoryOperand, lanes: Lanes) -> Emit {
        if lanes == Lanes::All {
            return self.asm.copy(d, Src::Mem(from));
        }
        if !self.asm.wide() {
            self.load_tail_lanes(lanes)?;
        }
        self.asm.load_tail(d, from)
    }

    /// Puts the mask of a tail into the scratch register; with vectors of 256 bits.
    pub(crate) fn load_tail_lanes(&mut self, lanes: Lanes) -> Emit {
        let mask = match lanes {
            Lanes::First(count) => {
                self.asm.lane_constants((0..8).map(|i| if i < count { u32::MAX } else { 0 }).collect())
            }
            _ => at(Register::RSP, TAIL_LANES),
        };
        self.asm.copy(self.asm.scratch(), Src::Mem(mask))
    }

    /// Stores contiguous elements.
    fn store_run(&mut self, to: MemoryOperand, r: u8, lanes: Lanes) -> Emit {
        if lanes == Lanes::All {
            return self.asm.store(to, r);
        }
        match lanes {
            // A store under a mask takes several times longer.
            Lanes::First(count) if self.asm.wide() => self.asm.store_wide_pieces(to, r, count),
            Lanes::First(count) => self.asm.store_pieces(to, r, count),
            _ => {
                if !self.asm.wide() {
                    self.load_tail_lanes(lanes)?;
                }
                self.asm.store_tail(to, r)
            }
        }
    }

    /// Code for each lane that is an element of the run.
    fn each_lane(&mut self, lanes: Lanes, mut body: impl FnMut(&mut Frame, usize) -> Emit) -> Emit {
        let count = if let Lanes::First(count) = lanes { count } else { self.asm.lanes() };
        let mut done = self.asm.code.create_label();
        for lane in 0..count {
            if lanes == Lanes::Left && lane > 0 {
                self.asm.code.cmp(qword_ptr(rsp + LEFT), lane as i32)?;
                self.asm.code.jbe(done)?;
            }
            body(self, lane)?;
        }
        if lanes == Lanes::Left { self.asm.set(&mut done) } else { Ok(()) }
    }

    fn load_strided(&mut self, d: u8, from: MemoryOperand, stride: i64, lanes: Lanes) -> Emit {
        if lanes == Lanes::Left {
            self.each_lane(lanes, |f, lane| {
                f.asm.load_first(d, further(from, 4 * stride * lane as i64))?;
                f.asm.store_first(at(Register::RSP, BUFFER + 4 * lane as i64), d)
            })?;
            return self.asm.copy(d, Src::Mem(at(Register::RSP, BUFFER)));
        }
        let count = if let Lanes::First(count) = lanes { count } else { self.asm.lanes() };
        if stride == 2 && self.asm.wide() && count > 2 {
            return self.load_every_second(d, from, count);
        }
        for start in (0..count).step_by(4) {
            // Four elements are put together in the first quarter of a register; the first four right in the result.
            let four = if start == 0 { d } else { self.asm.scratch() };
            self.asm.load_first(four, further(from, 4 * stride * start as i64))?;
            for lane in start + 1..count.min(start + 4) {
                self.asm.insert(four, (lane - start) as u32, further(from, 4 * stride * lane as i64))?;
            }
            if start > 0 {
                self.asm.insert_four(d, (start / 4) as u32, four)?;
            }
        }
        Ok(())
    }

    /// Every second element, of two vectors, or halves or quarters of one; the second of them ends with the
    /// last element that is wanted, so that nothing beyond it is read. More than two elements with vectors of
    /// 512 bits.
    fn load_every_second(&mut self, d: u8, from: MemoryOperand, count: usize) -> Emit {
        let last = 2 * (count - 1);
        let size = if count > 8 {
            16
        } else if count > 4 {
            8
        } else {
            4
        };
        let second = last + 1 - size;
        let place = |lane: usize| match 2 * lane {
            at if at > last => 0,
            at if at < size => at,
            at => size + at - second,
        };
        let places = self.asm.lane_constants((0..16).map(|lane| place(lane) as u32).collect());
        let index = self.asm.scratch();
        self.asm.copy(index, Src::Mem(places))?;
        let rest = further(from, 4 * second as i64);
        if size == 16 {
            self.asm.copy(d, Src::Mem(from))?;
            return self.asm.choose(d, index, rest);
        }
        self.asm.load_part(d, from, size)?;
        self.asm.insert_part(d, rest, size)?;
        self.asm.permute(d, index, d)
    }

    /// Each element so many times. The vector starts with the first copy of an element.
    fn load_repeated(&mut self, d: u8, from: MemoryOperand, times: usize, lanes: Lanes) -> Emit {
        let all = self.asm.lanes();
        let count = if let Lanes::First(count) = lanes { count } else { all }.div_ceil(times);
        if count == 4 || count == 8 {
            self.asm.load_part(d, from, count)?;
        } else if self.asm.wide() {
            let mask = self.asm.lane_constants(vec![(1 << count) - 1]);
            self.asm.load_mask(SCRATCH_MASK, mask)?;
            self.asm.load_masked(d, SCRATCH_MASK, from)?;
        } else {
            self.load_strided(d, from, 1, Lanes::First(count))?;
        }
        let places = self.asm.lane_constants((0..all).map(|lane| (lane / times) as u32).collect());
        let index = self.asm.scratch();
        self.asm.copy(index, Src::Mem(places))?;
        self.asm.permute(d, index, d)
    }

    fn store_strided(&mut self, to: MemoryOperand, r: u8, stride: i64, lanes: Lanes) -> Emit {
        self.asm.store(at(Register::RSP, BUFFER), r)?;
        let free = self.asm.scratch();
        self.each_lane(lanes, |f, lane| {
            f.asm.load_first(free, at(Register::RSP, BUFFER + 4 * lane as i64))?;
            f.asm.store_first(further(to, 4 * stride * lane as i64), free)
        })
    }

    /// Sets the mask of the lanes of a tail.
    pub(crate) fn set_tail(&mut self, lanes: Lanes) -> Emit {
        let wide = self.asm.wide();
        match lanes {
            Lanes::All => Ok(()),
            Lanes::First(count) if wide => {
                self.asm.code.mov(ecx, (1i32 << count) - 1)?;
                self.asm.code.kmovw(k1, ecx)
            }
            // `load_tail_lanes` reads a constant.
            Lanes::First(_) => Ok(()),
            Lanes::Left if wide => {
                self.asm.code.mov(SCRATCH, qword_ptr(rsp + LEFT))?;
                self.asm.code.mov(edx, 1)?;
                self.asm.code.shl(edx, cl)?;
                self.asm.code.dec(edx)?;
                self.asm.code.kmovw(k1, edx)
            }
            Lanes::Left => {
                // A window over eight lanes that are set and eight that are not.
                let table = self.asm.lane_constants((0..16).map(|i| if i < 8 { u32::MAX } else { 0 }).collect());
                self.asm.code.mov(STRIDED, 8i64)?;
                self.asm.code.sub(STRIDED, qword_ptr(rsp + LEFT))?;
                let window = MemoryOperand { index: STRIDED.into(), scale: 4, ..table };
                self.asm.copy(self.asm.scratch(), Src::Mem(window))?;
                self.asm.store(at(Register::RSP, TAIL_LANES), self.asm.scratch())
            }
        }
    }
}
