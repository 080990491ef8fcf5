//! The instructions in use, with vectors of 512 and of 256 bits.

use iced_x86::Code::{self, *};

use crate::ir::multiply_add::Fma;

/// An instruction at both widths.
#[derive(Clone, Copy)]
pub(crate) struct Pair(pub(crate) Code, pub(crate) Code);

pub(crate) const LOAD: Pair = Pair(EVEX_Vmovups_zmm_k1z_zmmm512, VEX_Vmovups_ymm_ymmm256);
pub(crate) const STORE: Pair = Pair(EVEX_Vmovups_zmmm512_k1z_zmm, VEX_Vmovups_ymmm256_ymm);
pub(crate) const BROADCAST: Pair = Pair(EVEX_Vbroadcastss_zmm_k1z_xmmm32, VEX_Vbroadcastss_ymm_m32);
pub(crate) const INSERT_FOUR: Pair =
    Pair(EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8, VEX_Vinsertf128_ymm_ymm_xmmm128_imm8);

pub(crate) const PERMUTE: Pair = Pair(EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32, VEX_Vpermps_ymm_ymm_ymmm256);

pub(crate) const UNPACK_LOW: Pair = Pair(EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32, VEX_Vunpcklps_ymm_ymm_ymmm256);
pub(crate) const UNPACK_HIGH: Pair = Pair(EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32, VEX_Vunpckhps_ymm_ymm_ymmm256);
pub(crate) const UNPACK_LOW_PAIRS: Pair = Pair(EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64, VEX_Vunpcklpd_ymm_ymm_ymmm256);
pub(crate) const UNPACK_HIGH_PAIRS: Pair = Pair(EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64, VEX_Vunpckhpd_ymm_ymm_ymmm256);
pub(crate) const EXTRACT_FOUR: Pair = Pair(EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8, VEX_Vextractf128_xmmm128_ymm_imm8);

pub(crate) const ADD: Pair = Pair(EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vaddps_ymm_ymm_ymmm256);
pub(crate) const SUB: Pair = Pair(EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vsubps_ymm_ymm_ymmm256);
pub(crate) const MUL: Pair = Pair(EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vmulps_ymm_ymm_ymmm256);
pub(crate) const DIV: Pair = Pair(EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vdivps_ymm_ymm_ymmm256);
/// They give the second argument where either one is NaN or both are zero.
pub(crate) const MAX: Pair = Pair(EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, VEX_Vmaxps_ymm_ymm_ymmm256);
pub(crate) const MIN: Pair = Pair(EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae, VEX_Vminps_ymm_ymm_ymmm256);

/// A fused multiply-add that overwrites one of its arguments: `d = x d + y`, `d = x y + d` and `d = d y + x`.
pub(crate) struct Fused {
    pub(crate) x_d_y: Pair,
    pub(crate) x_y_d: Pair,
    pub(crate) d_y_x: Pair,
}

pub(crate) fn fused(op: Fma) -> Fused {
    match op {
        Fma::MulAdd => Fused {
            x_d_y: Pair(EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmadd213ps_ymm_ymm_ymmm256),
            x_y_d: Pair(EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmadd231ps_ymm_ymm_ymmm256),
            d_y_x: Pair(EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmadd132ps_ymm_ymm_ymmm256),
        },
        Fma::MulSub => Fused {
            x_d_y: Pair(EVEX_Vfmsub213ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmsub213ps_ymm_ymm_ymmm256),
            x_y_d: Pair(EVEX_Vfmsub231ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmsub231ps_ymm_ymm_ymmm256),
            d_y_x: Pair(EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfmsub132ps_ymm_ymm_ymmm256),
        },
        Fma::SubMul => Fused {
            x_d_y: Pair(EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfnmadd213ps_ymm_ymm_ymmm256),
            x_y_d: Pair(EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfnmadd231ps_ymm_ymm_ymmm256),
            d_y_x: Pair(EVEX_Vfnmadd132ps_zmm_k1z_zmm_zmmm512b32_er, VEX_Vfnmadd132ps_ymm_ymm_ymmm256),
        },
    }
}

pub(crate) const SQRT: Pair = Pair(EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, VEX_Vsqrtps_ymm_ymmm256);
pub(crate) const ROUND: Pair = Pair(EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae, VEX_Vroundps_ymm_ymmm256_imm8);
pub(crate) const TO_INT: Pair = Pair(EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae, VEX_Vcvttps2dq_ymm_ymmm256);
pub(crate) const TO_FLOAT: Pair = Pair(EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er, VEX_Vcvtdq2ps_ymm_ymmm256);

/// Only with vectors of 512 bits; for the others `Strip::plain` expands the operations.
pub(crate) const SCALE: Pair = Pair(EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er, INVALID);
pub(crate) const EXPONENT: Pair = Pair(EVEX_Vgetexpps_zmm_k1z_zmmm512b32_sae, INVALID);
pub(crate) const MANTISSA: Pair = Pair(EVEX_Vgetmantps_zmm_k1z_zmmm512b32_imm8_sae, INVALID);
pub(crate) const BLEND_BY_MASK: Pair = Pair(EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, INVALID);

pub(crate) const IADD: Pair = Pair(EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32, VEX_Vpaddd_ymm_ymm_ymmm256);
pub(crate) const ISUB: Pair = Pair(EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, VEX_Vpsubd_ymm_ymm_ymmm256);
pub(crate) const IMUL: Pair = Pair(EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32, VEX_Vpmulld_ymm_ymm_ymmm256);
pub(crate) const IMIN: Pair = Pair(EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32, VEX_Vpminsd_ymm_ymm_ymmm256);
pub(crate) const IMAX: Pair = Pair(EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32, VEX_Vpmaxsd_ymm_ymm_ymmm256);
pub(crate) const AND: Pair = Pair(EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, VEX_Vandps_ymm_ymm_ymmm256);
pub(crate) const OR: Pair = Pair(EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, VEX_Vorps_ymm_ymm_ymmm256);
pub(crate) const XOR: Pair = Pair(EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, VEX_Vxorps_ymm_ymm_ymmm256);
pub(crate) const SHL: Pair = Pair(EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, VEX_Vpslld_ymm_ymm_imm8);
pub(crate) const SHR: Pair = Pair(EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8, VEX_Vpsrad_ymm_ymm_imm8);
pub(crate) const SHR_UNSIGNED: Pair = Pair(EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8, VEX_Vpsrld_ymm_ymm_imm8);
