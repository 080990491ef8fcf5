//! Functions of one number as polynomials over the plain instructions of a strip.

use super::strip::{Reg, Strip};

/// ln 2 to so few digits that its product with an exponent is exact.
pub(super) const LN_2_HIGH: f32 = 0.693_359_4;

impl Strip {
    /// `c[0] xⁿ + … + c[n]`, by Horner's rule.
    pub(super) fn polynomial(&mut self, x: Reg, coefficients: &[f32]) -> Reg {
        let mut sum = self.float(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.float(c);
            sum = self.fma(sum, x, c);
        }
        sum
    }

    /// eˣ. With n = round(x / ln 2) and r = x − n ln 2 (in two parts, Cody and Waite), eˣ = 2ⁿ eʳ;
    /// the polynomial for eʳ is that of Cephes' `expf`. 2ⁿ is applied in two factors, so that
    /// results below the normal range are rounded once.
    pub(crate) fn exp(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 89.0);
        let x = self.at_least(x, -104.0);
        let log2e = self.float(std::f32::consts::LOG2_E);
        let scaled = self.mul(x, log2e);
        let n = self.nearest(scaled);
        let high = self.float(-0.693_359_4);
        let low = self.float(2.121_944_4e-4);
        let r = self.fma(n, high, x);
        let r = self.fma(n, low, r);
        let p = self.polynomial(r, &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1]);
        let square = self.mul(r, r);
        let one = self.float(1.0);
        let linear = self.add(r, one);
        let y = self.fma(p, square, linear);
        self.scale(y, n)
    }

    /// The smaller of both for a constant bound; NaN stays.
    fn at_most(&mut self, x: Reg, bound: f32) -> Reg {
        let bound = self.float(bound);
        self.min(x, bound)
    }

    fn at_least(&mut self, x: Reg, bound: f32) -> Reg {
        let bound = self.float(bound);
        self.max(x, bound)
    }

    /// ln x = e ln 2 + ln m with x = 2ᵉ m and m in [√½, √2); the polynomial for ln m is that of
    /// Cephes' `logf`.
    pub(crate) fn log(&mut self, x: Reg) -> Reg {
        let parts = self.log_parts(x);
        self.log_of_parts(x, parts)
    }

    /// The parts e, m − 1 and ln m − (m − 1) of a logarithm; the second part of e ln 2 is with the last.
    pub(super) fn log_parts(&mut self, x: Reg) -> [Reg; 3] {
        // Numbers below the normal range are brought into it first.
        let tiny = self.float(f32::MIN_POSITIVE);
        let small = self.lt(x, tiny);
        let scale = self.float(8_388_608.0);
        let scaled = self.mul(x, scale);
        let normal = self.select(small, scaled, x);
        let (shift, none) = (self.float(-23.0), self.float(0.0));
        let extra = self.select(small, shift, none);

        let bits = self.bits(normal);
        let bias = self.int(0x3f35_04f3);
        let above = self.isub(bits, bias);
        let exponent = self.shr(above, 23);
        let whole = self.shl(exponent, 23);
        let mantissa = self.isub(bits, whole);
        let m = self.from_bits(mantissa);
        let e = self.to_float(exponent);
        let e = self.add(e, extra);

        let one = self.float(1.0);
        let f = self.sub(m, one);
        let square = self.mul(f, f);
        let p = self.polynomial(
            f,
            &[
                7.037_683_6e-2,
                -1.151_461e-1,
                1.167_699_9e-1,
                -1.242_014_1e-1,
                1.424_932_3e-1,
                -1.666_805_7e-1,
                2.000_071_5e-1,
                -2.499_999_4e-1,
                3.333_333e-1,
            ],
        );
        let p = self.mul(p, f);
        let p = self.mul(p, square);
        let low = self.float(-2.121_944_4e-4);
        let p = self.fma(e, low, p);
        let minus_half = self.float(-0.5);
        [e, f, self.fma(square, minus_half, p)]
    }

    /// The sum of the parts of ln x, and what it is of numbers without one.
    pub(super) fn log_of_parts(&mut self, x: Reg, [e, f, p]: [Reg; 3]) -> Reg {
        let y = self.add(f, p);
        let high = self.float(LN_2_HIGH);
        let y = self.fma(e, high, y);

        // Zero, infinity, negative numbers and NaN.
        let zero = self.float(0.0);
        let minus_infinity = self.float(f32::NEG_INFINITY);
        let is_zero = self.eq(x, zero);
        let y = self.select(is_zero, minus_infinity, y);
        let infinity = self.float(f32::INFINITY);
        let is_finite = self.lt(x, infinity);
        let y = self.select(is_finite, y, x);
        let negative = self.lt(x, zero);
        let nan = self.float(f32::NAN);
        self.select(negative, nan, y)
    }

    /// tanh x, by Cephes' polynomial near zero and 1 − 2 / (e²ˣ + 1) elsewhere.
    pub(crate) fn tanh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let square = self.mul(x, x);
        let p =
            self.polynomial(square, &[-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
        let p = self.mul(p, square);
        let near = self.fma(p, x, x);

        let doubled = self.add(z, z);
        let doubled = self.at_most(doubled, 40.0);
        let e = self.exp(doubled);
        let one = self.float(1.0);
        let denominator = self.add(e, one);
        let minus_two = self.float(-2.0);
        let rest = self.div(minus_two, denominator);
        let far = self.add(one, rest);
        let far = self.with_sign_of(far, x);

        let bound = self.float(0.625);
        let is_near = self.lt(z, bound);
        self.select(is_near, near, far)
    }

    /// A number that is not negative with the sign of another.
    pub(super) fn with_sign_of(&mut self, magnitude: Reg, of: Reg) -> Reg {
        let sign = self.int(i32::MIN);
        let bits = self.bits(of);
        let sign = self.iand(bits, sign);
        let bits = self.bits(magnitude);
        let bits = self.iadd(bits, sign);
        self.from_bits(bits)
    }

    /// 1 / (1 + e⁻ˣ).
    pub(crate) fn sigmoid(&mut self, x: Reg) -> Reg {
        let negative = self.neg(x);
        let e = self.exp(negative);
        let one = self.float(1.0);
        let denominator = self.add(e, one);
        self.div(one, denominator)
    }

    /// erf x: x + x P(x²) below 0.92 and 1 − exp(−(x + x Q(x))) above; both polynomials are fits of
    /// least maximal relative error, by linear programming.
    pub(crate) fn erf(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let square = self.mul(x, x);
        let p = self.polynomial(
            square,
            &[-5.919_353e-4, 4.979_114_5e-3, -2.675_702_2e-2, 1.128_155_2e-1, -3.761_246_8e-1, 1.283_791_5e-1],
        );
        let near = self.fma(p, x, x);

        let q = self.polynomial(
            z,
            &[
                5.378_995_4e-6,
                -5.084_490_5e-5,
                -2.325_365_9e-5,
                2.858_61e-3,
                -2.256_009e-2,
                1.051_560_1e-1,
                6.356_795_4e-1,
                1.285_401_7e-1,
            ],
        );
        let q = self.fma(q, z, z);
        let q = self.neg(q);
        let e = self.exp(q);
        let one = self.float(1.0);
        let far = self.sub(one, e);
        let far = self.with_sign_of(far, x);

        let bound = self.float(0.921_875);
        let is_far = self.lt(bound, z);
        self.select(is_far, far, near)
    }

    pub(crate) fn sin(&mut self, x: Reg) -> Reg {
        self.circular(x, 0)
    }

    pub(crate) fn cos(&mut self, x: Reg) -> Reg {
        self.circular(x, 1)
    }

    /// sin(x + quarters π/2): x is reduced by multiples of π/2 in three parts (Cody and Waite) to
    /// within ±π/4, where Cephes' `sinf` and `cosf` polynomials hold. Good for |x| up to about 10⁵;
    /// beyond it the reduction loses digits.
    fn circular(&mut self, x: Reg, quarters: i32) -> Reg {
        let per_quarter = self.float(std::f32::consts::FRAC_2_PI);
        let scaled = self.mul(x, per_quarter);
        let n = self.nearest(scaled);
        let mut r = x;
        for part in [-1.570_312_5, -4.837_513e-4, -7.549_79e-8] {
            let part = self.float(part);
            r = self.fma(n, part, r);
        }
        let n = self.to_int(n);
        let offset = self.int(quarters);
        let quadrant = self.iadd(n, offset);

        let square = self.mul(r, r);
        let p = self.polynomial(square, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
        let p = self.mul(p, square);
        let sine = self.fma(p, r, r);
        let p = self.polynomial(square, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
        let fourth = self.mul(square, square);
        let p = self.mul(p, fourth);
        let minus_half = self.float(-0.5);
        let p = self.fma(square, minus_half, p);
        let one = self.float(1.0);
        let cosine = self.add(p, one);

        let bit = self.int(1);
        let odd = self.iand(quadrant, bit);
        let is_odd = self.ieq(odd, bit);
        let y = self.select(is_odd, cosine, sine);
        let bit = self.int(2);
        let lower = self.iand(quadrant, bit);
        let sign = self.shl(lower, 30);
        let bits = self.bits(y);
        let bits = self.ixor(bits, sign);
        self.from_bits(bits)
    }
}
