//! Vector instructions at two widths behind one set of names. Registers and masks are numbered.

use iced_x86::IcedError;
use iced_x86::code_asm::registers::*;
use iced_x86::code_asm::*;

use crate::ir::Level;

pub(super) type Emit = Result<(), IcedError>;

const ZMM: [AsmRegisterZmm; 32] = [
    zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15, zmm16, zmm17,
    zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
];
const YMM: [AsmRegisterYmm; 16] =
    [ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13, ymm14, ymm15];
const XMM: [AsmRegisterXmm; 32] = [
    xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15, xmm16, xmm17,
    xmm18, xmm19, xmm20, xmm21, xmm22, xmm23, xmm24, xmm25, xmm26, xmm27, xmm28, xmm29, xmm30, xmm31,
];

/// An assembler for vectors of 512 or 256 bits.
pub(super) struct Simd {
    pub(super) code: CodeAssembler,
    wide: bool,
    /// The mask of the last vector of a panel, where it is read from memory.
    mask: CodeLabel,
}

/// The register of the mask, for vectors of 256 bits.
const MASK: AsmRegisterYmm = ymm15;

impl Simd {
    pub(super) fn new(level: Level) -> Result<Simd, IcedError> {
        let mut code = CodeAssembler::new(64)?;
        let mask = code.create_label();
        Ok(Simd { code, wide: level == Level::Avx512, mask })
    }

    pub(super) fn wide(&self) -> bool {
        self.wide
    }

    /// Elements of a vector.
    pub(super) fn lanes(&self) -> usize {
        if self.wide { 16 } else { 8 }
    }

    /// Marks this place in the code.
    pub(super) fn here(&mut self) -> Result<CodeLabel, IcedError> {
        let mut label = self.code.create_label();
        self.set(&mut label)?;
        Ok(label)
    }

    /// Marks this place in the code with a label that was jumped to already.
    pub(super) fn set(&mut self, label: &mut CodeLabel) -> Emit {
        self.code.set_label(label)?;
        // An instruction can bear only one label.
        self.code.zero_bytes()
    }

    /// Sets the mask of vectors that have only `lanes` elements.
    pub(super) fn set_mask(&mut self, lanes: usize) -> Emit {
        if self.wide {
            self.code.mov(r10d, (1i32 << lanes) - 1)?;
            self.code.kmovw(k1, r10d)
        } else {
            self.code.vmovups(MASK, ymmword_ptr(self.mask))
        }
    }

    /// What `set_mask` reads; comes after the code.
    pub(super) fn mask_data(&mut self, lanes: usize) -> Emit {
        if self.wide || lanes == 0 {
            return Ok(());
        }
        let words: [u32; 8] = std::array::from_fn(|i| if i < lanes { u32::MAX } else { 0 });
        self.code.set_label(&mut self.mask)?;
        self.code.dd(&words)
    }

    pub(super) fn zero(&mut self, r: usize) -> Emit {
        match (self.wide, r) {
            (_, ..16) => self.code.vxorps(XMM[r], XMM[r], XMM[r]),
            _ => self.code.vpxord(ZMM[r], ZMM[r], ZMM[r]),
        }
    }

    pub(super) fn load(&mut self, r: usize, from: AsmMemoryOperand, masked: bool) -> Emit {
        match (self.wide, masked) {
            (true, true) => self.code.vmovups(ZMM[r].k1().z(), zmmword_ptr(from)),
            (true, false) => self.code.vmovups(ZMM[r], zmmword_ptr(from)),
            (false, true) => self.code.vmaskmovps(YMM[r], MASK, ymmword_ptr(from)),
            (false, false) => self.code.vmovups(YMM[r], ymmword_ptr(from)),
        }
    }

    pub(super) fn store(&mut self, to: AsmMemoryOperand, r: usize, masked: bool) -> Emit {
        match (self.wide, masked) {
            (true, true) => self.code.vmovups(zmmword_ptr(to).k1(), ZMM[r]),
            (true, false) => self.code.vmovups(zmmword_ptr(to), ZMM[r]),
            (false, true) => self.code.vmaskmovps(ymmword_ptr(to), MASK, YMM[r]),
            (false, false) => self.code.vmovups(ymmword_ptr(to), YMM[r]),
        }
    }

    /// All lanes of a register from one element.
    pub(super) fn broadcast(&mut self, r: usize, from: AsmMemoryOperand) -> Emit {
        match self.wide {
            true => self.code.vbroadcastss(ZMM[r], dword_ptr(from)),
            false => self.code.vbroadcastss(YMM[r], dword_ptr(from)),
        }
    }

    /// `sum += x * y`, rounded once.
    pub(super) fn fma(&mut self, sum: usize, x: usize, y: usize) -> Emit {
        match self.wide {
            true => self.code.vfmadd231ps(ZMM[sum], ZMM[x], ZMM[y]),
            false => self.code.vfmadd231ps(YMM[sum], YMM[x], YMM[y]),
        }
    }

    /// `sum += x * element`; only with vectors of 512 bits.
    pub(super) fn fma_element(&mut self, sum: usize, x: usize, element: AsmMemoryOperand) -> Emit {
        self.code.vfmadd231ps(ZMM[sum], ZMM[x], dword_bcst(element))
    }

    pub(super) fn add(&mut self, sum: usize, x: usize) -> Emit {
        match self.wide {
            true => self.code.vaddps(ZMM[sum], ZMM[sum], ZMM[x]),
            false => self.code.vaddps(YMM[sum], YMM[sum], YMM[x]),
        }
    }

    pub(super) fn add_memory(&mut self, sum: usize, from: AsmMemoryOperand) -> Emit {
        match self.wide {
            true => self.code.vaddps(ZMM[sum], ZMM[sum], zmmword_ptr(from)),
            false => self.code.vaddps(YMM[sum], YMM[sum], ymmword_ptr(from)),
        }
    }

    /// `sum += x²` in the lanes of the mask; overwrites `other`.
    pub(super) fn square_masked(&mut self, sum: usize, x: usize, other: usize) -> Emit {
        if self.wide {
            return self.code.vfmadd231ps(ZMM[sum].k1(), ZMM[x], ZMM[x]);
        }
        self.code.vandps(YMM[other], YMM[x], MASK)?;
        self.fma(sum, other, other)
    }

    /// Adds the square of register 0, a single number, to one in memory; overwrites register 0.
    pub(super) fn add_square(&mut self, to: AsmMemoryOperand) -> Emit {
        self.code.vmulss(xmm0, xmm0, xmm0)?;
        self.code.vaddss(xmm0, xmm0, dword_ptr(to))?;
        self.code.vmovss(dword_ptr(to), xmm0)
    }

    /// Stores the sum of a register's lanes; overwrites registers 0 and 1.
    pub(super) fn add_lanes(&mut self, r: usize, to: AsmMemoryOperand) -> Emit {
        let code = &mut self.code;
        if self.wide {
            code.vextractf64x4(ymm0, ZMM[r], 0)?;
            code.vextractf64x4(ymm1, ZMM[r], 1)?;
            code.vaddps(ymm0, ymm0, ymm1)?;
            code.vextractf128(xmm1, ymm0, 1)?;
            code.vaddps(xmm0, xmm0, xmm1)?;
        } else {
            code.vextractf128(xmm1, YMM[r], 1)?;
            code.vaddps(xmm0, XMM[r], xmm1)?;
        }
        code.vmovhlps(xmm1, xmm0, xmm0)?;
        code.vaddps(xmm0, xmm0, xmm1)?;
        code.vmovshdup(xmm1, xmm0)?;
        code.vaddss(xmm0, xmm0, xmm1)?;
        code.vmovss(dword_ptr(to), xmm0)
    }

    /// Four elements in each 128 bits of a register; parts without a source are zero.
    pub(super) fn quarters(&mut self, r: usize, from: &[Option<AsmMemoryOperand>]) -> Emit {
        match from[0] {
            Some(first) => self.code.vmovups(XMM[r], xmmword_ptr(first))?,
            None => self.code.vxorps(XMM[r], XMM[r], XMM[r])?,
        }
        for (i, &from) in from.iter().enumerate().skip(1) {
            let Some(from) = from else { continue };
            // A broadcast under a mask needs no shuffle, unlike an insertion.
            match (self.wide, i) {
                (false, _) => self.code.vinsertf128(YMM[r], YMM[r], xmmword_ptr(from), 1)?,
                (true, 1) => self.code.vbroadcastf32x4(ZMM[r].k2(), xmmword_ptr(from))?,
                (true, 2) => self.code.vbroadcastf32x4(ZMM[r].k3(), xmmword_ptr(from))?,
                (true, _) => self.code.vbroadcastf32x4(ZMM[r].k4(), xmmword_ptr(from))?,
            }
        }
        Ok(())
    }

    /// Sets the masks that `quarters` uses.
    pub(super) fn set_quarter_masks(&mut self) -> Emit {
        if !self.wide {
            return Ok(());
        }
        for (mask, bits) in [(k2, 0x00f0), (k3, 0x0f00), (k4, 0xf000)] {
            self.code.mov(r10d, bits)?;
            self.code.kmovw(mask, r10d)?;
        }
        Ok(())
    }

    /// Four registers, each 128 bits of them a 4 x 4 matrix that is transposed; overwrites four others.
    pub(super) fn transpose(&mut self, r: [usize; 4], other: [usize; 4]) -> Emit {
        for (to, (x, y)) in [([other[0], other[1]], (r[0], r[1])), ([other[2], other[3]], (r[2], r[3]))] {
            match self.wide {
                true => {
                    self.code.vunpcklps(ZMM[to[0]], ZMM[x], ZMM[y])?;
                    self.code.vunpckhps(ZMM[to[1]], ZMM[x], ZMM[y])?;
                }
                false => {
                    self.code.vunpcklps(YMM[to[0]], YMM[x], YMM[y])?;
                    self.code.vunpckhps(YMM[to[1]], YMM[x], YMM[y])?;
                }
            }
        }
        for (to, (x, y)) in [([r[0], r[1]], (other[0], other[2])), ([r[2], r[3]], (other[1], other[3]))] {
            match self.wide {
                true => {
                    self.code.vunpcklpd(ZMM[to[0]], ZMM[x], ZMM[y])?;
                    self.code.vunpckhpd(ZMM[to[1]], ZMM[x], ZMM[y])?;
                }
                false => {
                    self.code.vunpcklpd(YMM[to[0]], YMM[x], YMM[y])?;
                    self.code.vunpckhpd(YMM[to[1]], YMM[x], YMM[y])?;
                }
            }
        }
        Ok(())
    }

    /// Stores 128 bits of a register.
    pub(super) fn store_quarter(&mut self, to: AsmMemoryOperand, r: usize, quarter: usize) -> Emit {
        match self.wide {
            true => self.code.vextractf32x4(xmmword_ptr(to), ZMM[r], quarter as u32),
            false => self.code.vextractf128(xmmword_ptr(to), YMM[r], quarter as u32),
        }
    }

    /// Stores the elements of 128 bits of a register at different places; overwrites another.
    pub(super) fn store_elements(&mut self, to: &[AsmMemoryOperand], r: usize, quarter: usize, other: usize) -> Emit {
        match self.wide {
            true => self.code.vextractf32x4(XMM[other], ZMM[r], quarter as u32)?,
            false => self.code.vextractf128(XMM[other], YMM[r], quarter as u32)?,
        }
        for (i, &to) in to.iter().enumerate() {
            // Only the longer encoding has registers from 16 on.
            let code = if self.wide { self.code.evex() } else { self.code.vex() };
            code.vextractps(dword_ptr(to), XMM[other], i as u32)?;
        }
        Ok(())
    }
}
