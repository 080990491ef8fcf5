//! Elements of operands: loads, stores, and the numbers of elements.

use cranelift_codegen::ir::types::{I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};

use super::{Elements, LANES, LoopBuilder, lane_type};
use crate::ir::strip::{Kind, Walk};

impl LoopBuilder<'_, '_> {
    /// The address of the first element, and the distance of the next lanes in bytes.
    fn address(&mut self, p: &Elements<'_>, operand: usize, walk: Walk) -> (Value, i32) {
        let stride = match walk {
            Walk::Fixed => return (p.pointers[operand], 0),
            Walk::Contiguous => 4,
            Walk::Strided(stride) => 4 * stride,
            Walk::Repeated(times) => {
                let at = self.b.ins().udiv_imm_u(p.at, times as i64);
                let by = self.b.ins().ishl_imm_s(at, 2);
                return (self.b.ins().iadd(p.pointers[operand], by), 0);
            }
        };
        let by =
            if stride == 4 { self.b.ins().ishl_imm_s(p.at, 2) } else { self.b.ins().imul_imm_s(p.at, stride as i64) };
        (self.b.ins().iadd(p.pointers[operand], by), stride as i32)
    }

    pub(crate) fn load(&mut self, p: &Elements<'_>, operand: usize, walk: Walk, kind: Kind) -> Value {
        let (address, stride) = self.address(p, operand, walk);
        let flags = MemFlagsData::trusted();
        if p.lanes == 1 || stride == 4 {
            return self.b.ins().load(lane_type(kind, p.lanes), unaligned(flags, p.lanes), address, 0);
        }
        let first = self.b.ins().load(lane_type(kind, 1), flags, address, 0);
        let mut vector = self.b.ins().splat(lane_type(kind, LANES), first);
        let element = |lane: i32| match walk {
            Walk::Repeated(times) => 4 * (lane / times as i32),
            _ => lane * stride,
        };
        for lane in (1..LANES as u8).filter(|&lane| element(lane as i32) != 0) {
            let element = self.b.ins().load(lane_type(kind, 1), flags, address, element(lane as i32));
            vector = self.b.ins().insertlane(vector, element, lane);
        }
        vector
    }

    /// The operand starts at address zero, so that an address is the number of the element times its
    /// size.
    pub(crate) fn number(&mut self, p: &Elements<'_>, operand: usize, walk: Walk) -> Value {
        let (address, stride) = self.address(p, operand, walk);
        let number = self.b.ins().ushr_imm_u(address, 2);
        let first = self.b.ins().ireduce(I32, number);
        if p.lanes == 1 {
            return first;
        }
        let mut numbers = self.b.ins().splat(I32X4, first);
        for lane in 1..LANES as u8 {
            let number = self.b.ins().iadd_imm_s(first, lane as i64 * (stride / 4) as i64);
            numbers = self.b.ins().insertlane(numbers, number, lane);
        }
        numbers
    }

    pub(crate) fn store(&mut self, p: &Elements<'_>, operand: usize, walk: Walk, x: Value) {
        let (address, stride) = self.address(p, operand, walk);
        let flags = MemFlagsData::trusted();
        if p.lanes == 1 || stride == 4 {
            self.b.ins().store(unaligned(flags, p.lanes), x, address, 0);
            return;
        }
        for lane in 0..LANES as u8 {
            let element = self.b.ins().extractlane(x, lane);
            let by = self.b.ins().iadd_imm_s(address, lane as i64 * stride as i64);
            self.b.ins().store(flags, element, by, 0);
        }
    }
}

/// Inputs of the user and rows inside a matrix need not start at a multiple of 16 bytes.
fn unaligned(flags: MemFlagsData, lanes: usize) -> MemFlagsData {
    if lanes == 1 { flags } else { MemFlagsData::new().with_notrap() }
}
