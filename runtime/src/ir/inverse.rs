//! Inverse, hyperbolic and complementary functions, and powers, built on those of `math`.

use std::f32::consts::{FRAC_PI_2, LN_2, PI};

use super::math::{ERF_BOUND, LN_2_HIGH, LN_2_LOW};
use super::multiply_add::Fma;
use super::strip::{Inst, Kind, Reg, Strip};

impl Strip {
    /// ln(1 + x): the logarithm of u = 1 + x, rounded, times x / (u − 1), which undoes the rounding
    /// (Kahan; Goldberg, What every computer scientist should know, theorem 4).
    pub(crate) fn log1p(&mut self, x: Reg) -> Reg {
        let (one, infinity) = (self.float(1.0), self.float(f32::INFINITY));
        let u = self.add(x, one);
        let log = self.log(u);
        let rest = self.sub(u, one);
        let ratio = self.div(x, rest);
        let y = self.mul(log, ratio);
        let small = self.eq(u, one);
        let y = self.select(small, x, y);
        let large = self.eq(x, infinity);
        self.select(large, x, y)
    }

    /// erfc x: 1 − erf x below one, in an order that rounds little, and exp(−x²) / x P(1 / x²) above, with one P of
    /// least maximal relative error up to two and another beyond; its rounding errors are added back at the end.
    pub(crate) fn erfc(&mut self, x: Reg) -> Reg {
        let (one, two) = (self.float(1.0), self.float(2.0));
        let (p, e) = self.erf_parts(x);
        let (p, rest) = (self.neg(p), self.sub(one, x));
        let near = self.fma(p, x, rest);
        let opposite = self.sub(two, e);
        let (z, zero) = (self.abs(x), self.float(0.0));
        let negative = self.lt(x, zero);
        let outside = self.select(negative, opposite, e);
        let bound = self.float(ERF_BOUND);
        let is_outside = self.lt(bound, z);
        let near = self.select(is_outside, outside, near);

        let square = self.mul(x, x);
        let negative = self.neg(square);
        // The rounding error of x², which exp would amplify.
        let missing = self.fma(x, x, negative);
        let missing = self.neg(missing);
        let e = self.exp(negative);
        let q = self.div(one, x);
        let y = self.mul(q, q);
        let half = self.float(0.5);
        let shifted = self.sub(y, half);
        let middle = self.polynomial(
            shifted,
            &[
                2.326_800_5e-2,
                -4.563_093e-2,
                4.615_603e-2,
                -4.156_419_6e-2,
                4.257_010_7e-2,
                -4.947_321e-2,
                6.707_12e-2,
                -1.205_633_06e-1,
                4.754_642_5e-1,
            ],
        );
        let outer = self.polynomial(
            y,
            &[
                -9.841_866_5,
                1.237_244_7e1,
                -7.264_164_4,
                2.875_551_2,
                -1.010_408_4,
                4.215_725_7e-1,
                -2.820_695_3e-1,
                5.641_894_3e-1,
            ],
        );
        let is_middle = self.lt(x, two);
        let p = self.select(is_middle, middle, outer);
        // The product and the quotient, each with its rounding error.
        let product = self.mul(e, p);
        let minus = self.neg(product);
        let lost = self.fma(e, p, minus);
        let far = self.div(product, x);
        let minus = self.neg(far);
        let rest = self.fma(minus, x, product);
        let rest = self.add(rest, lost);
        let rest = self.fma(product, missing, rest);
        let far = self.fma(rest, q, far);
        // For large x the exponential is zero, and its product with infinity would be NaN.
        let end = self.float(10.5);
        let beyond = self.lt(end, x);
        let far = self.select(beyond, zero, far);
        let is_far = self.lt(one, x);
        self.select(is_far, far, near)
    }

    /// asin of 0 to 1, by Cephes' `asinf`: a polynomial up to ½, and π/2 − 2 asin √((1 − x) / 2) above.
    fn asin_of_positive(&mut self, z: Reg) -> Reg {
        let (one, half) = (self.float(1.0), self.float(0.5));
        let is_far = self.lt(half, z);
        let rest = self.sub(one, z);
        let halved = self.mul(rest, half);
        let square = self.mul(z, z);
        let square = self.select(is_far, halved, square);
        let root = self.sqrt(halved);
        let s = self.select(is_far, root, z);
        let p = self.polynomial(square, &[4.216_32e-2, 2.418_131_2e-2, 4.547_002_6e-2, 7.495_3e-2, 1.666_675_2e-1]);
        let p = self.mul(p, square);
        let near = self.fma(p, s, s);
        let (minus_two, quarter) = (self.float(-2.0), self.float(FRAC_PI_2));
        let far = self.fma(near, minus_two, quarter);
        self.select(is_far, far, near)
    }

    /// The inverse sine; NaN beyond ±1.
    pub(crate) fn asin(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let y = self.asin_of_positive(z);
        self.times_sign_of(y, x)
    }

    /// The inverse cosine: 2 asin √((1 − x) / 2) for x above ½, where π/2 − asin x would cancel.
    pub(crate) fn acos(&mut self, x: Reg) -> Reg {
        let (one, half, zero) = (self.float(1.0), self.float(0.5), self.float(0.0));
        let z = self.abs(x);
        let rest = self.sub(one, z);
        let halved = self.mul(rest, half);
        let root = self.sqrt(halved);
        let y = self.asin_of_positive(root);
        let doubled = self.add(y, y);
        let pi = self.float(PI);
        let mirrored = self.sub(pi, doubled);
        let below = self.lt(x, zero);
        let far = self.select(below, mirrored, doubled);
        let quarter = self.float(FRAC_PI_2);
        let asin = self.asin(x);
        let near = self.sub(quarter, asin);
        let is_far = self.lt(half, z);
        self.select(is_far, far, near)
    }

    /// The inverse tangent, by Cephes' `atanf`: reduced to within tan(π/8).
    pub(crate) fn atan(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let (one, zero) = (self.float(1.0), self.float(0.0));
        let (high, low) = (self.float(2.414_213_6), self.float(0.414_213_57));
        let is_far = self.lt(high, z);
        let is_middle = self.lt(low, z);
        let inverse = self.div(one, z);
        let inverse = self.neg(inverse);
        let (less, more) = (self.sub(z, one), self.add(z, one));
        let ratio = self.div(less, more);
        let r = self.select(is_middle, ratio, z);
        let r = self.select(is_far, inverse, r);
        let (quarter, eighth) = (self.float(FRAC_PI_2), self.float(PI / 4.0));
        let start = self.select(is_middle, eighth, zero);
        let start = self.select(is_far, quarter, start);
        let square = self.mul(r, r);
        let p = self.polynomial(square, &[8.053_745e-2, -1.387_768_6e-1, 1.997_771_1e-1, -3.333_295e-1]);
        let p = self.mul(p, square);
        let y = self.fma(p, r, r);
        let y = self.add(start, y);
        self.times_sign_of(y, x)
    }

    /// The angle of the point (x, y): the inverse tangent of the smaller over the larger coordinate,
    /// in its octant.
    pub(crate) fn atan2(&mut self, y: Reg, x: Reg) -> Reg {
        let zero = self.float(0.0);
        let (ax, ay) = (self.abs(x), self.abs(y));
        let steep = self.lt(ax, ay);
        let small = self.select(steep, ax, ay);
        let large = self.select(steep, ay, ax);
        let ratio = self.div(small, large);
        // The origin has the angle zero, and a diagonal at infinity that of the diagonal.
        let one = self.float(1.0);
        let same = self.eq(small, large);
        let ratio = self.select(same, one, ratio);
        let sum = self.add(ax, ay);
        let origin = self.eq(sum, zero);
        let ratio = self.select(origin, zero, ratio);
        let angle = self.atan(ratio);
        let (quarter, pi) = (self.float(FRAC_PI_2), self.float(PI));
        let turned = self.sub(quarter, angle);
        let angle = self.select(steep, turned, angle);
        let behind = self.sub(pi, angle);
        // The sign bit of x decides, also for a zero.
        let bits = self.bits(x);
        let none = self.int(0);
        let left = self.ilt(bits, none);
        let angle = self.select(left, behind, angle);
        self.times_sign_of(angle, y)
    }

    /// sinh x = (t + t / (t + 1)) / 2 with t = e^|x| − 1 below one, h − 1 / 4h with h = ½ e^|x| above.
    pub(crate) fn sinh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let t = self.expm1_without_sign(z);
        let (one, half) = (self.float(1.0), self.float(0.5));
        let more = self.add(t, one);
        let ratio = self.div(t, more);
        let sum = self.add(t, ratio);
        let near = self.mul(sum, half);
        let (h, rest) = self.halves_of_exp(z);
        let far = self.sub(h, rest);
        let is_far = self.lt(one, z);
        let y = self.select(is_far, far, near);
        self.times_sign_of(y, x)
    }

    /// cosh x = h + 1 / 4h with h = ½ e^|x|.
    pub(crate) fn cosh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let (h, rest) = self.halves_of_exp(z);
        self.add(h, rest)
    }

    /// ½ eˣ and ½ e⁻ˣ for x that is not negative.
    fn halves_of_exp(&mut self, x: Reg) -> (Reg, Reg) {
        let h = self.half_exp(x);
        let quarter = self.float(0.25);
        (h, self.div(quarter, h))
    }

    /// asinh x = sign x · ln(1 + |x| + x² / (1 + √(1 + x²))); ln 2|x| where the square overflows.
    pub(crate) fn asinh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let one = self.float(1.0);
        let square = self.mul(z, z);
        let root = self.add(square, one);
        let root = self.sqrt(root);
        let root = self.add(root, one);
        let rest = self.div(square, root);
        let sum = self.add(z, rest);
        let near = self.log1p(sum);
        let far = self.log_of_double(z);
        let bound = self.float(1e9);
        let is_far = self.lt(bound, z);
        let y = self.select(is_far, far, near);
        self.times_sign_of(y, x)
    }

    /// acosh x = ln(1 + t + √(2 t + t²)) with t = x − 1; ln 2x where the square overflows.
    pub(crate) fn acosh(&mut self, x: Reg) -> Reg {
        let (one, two) = (self.float(1.0), self.float(2.0));
        let t = self.sub(x, one);
        let square = self.add(t, two);
        let square = self.mul(square, t);
        let root = self.sqrt(square);
        let sum = self.add(t, root);
        let near = self.log1p(sum);
        let far = self.log_of_double(x);
        let bound = self.float(1e9);
        let is_far = self.lt(bound, x);
        let y = self.select(is_far, far, near);
        let nan = self.float(f32::NAN);
        let below = self.lt(x, one);
        self.select(below, nan, y)
    }

    fn log_of_double(&mut self, x: Reg) -> Reg {
        let log = self.log(x);
        let ln_2 = self.float(LN_2);
        self.add(log, ln_2)
    }

    /// atanh x = sign x · ½ ln(1 + 2 |x| / (1 − |x|)).
    pub(crate) fn atanh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let (one, half) = (self.float(1.0), self.float(0.5));
        let rest = self.sub(one, z);
        let doubled = self.add(z, z);
        let ratio = self.div(doubled, rest);
        let log = self.log1p(ratio);
        let y = self.mul(log, half);
        self.times_sign_of(y, x)
    }

    /// The parts e, h and l of ln x = e ln 2 + h + l, right to 2⁻³² of itself; the second part of e ln 2 is with l.
    /// ln m = 2 s (1 + s² / 3 + s⁴ P(s²)) with s = (m − 1) / (m + 1) and a P of least maximal error. The rounding
    /// errors of s, its square and the products are kept (Dekker, 1971).
    fn long_log_parts(&mut self, x: Reg) -> [Reg; 3] {
        let m = self.mantissa(x);
        let e = self.exponent(x, m);
        let one = self.float(1.0);
        let (f, v) = (self.sub(m, one), self.add(m, one));
        let lost = self.sub(v, one);
        let lost = self.sub(m, lost);
        let inverse = self.div(one, v);
        let s = self.mul(f, inverse);
        let rest = self.less_product(f, s, v);
        let rest = self.less_product(rest, s, lost);
        let s_rest = self.mul(rest, inverse);
        let (doubled, doubled_rest) = (self.add(s, s), self.add(s_rest, s_rest));

        let (t, t_rest) = self.exact_product(s, s);
        let t_rest = self.fma(doubled, s_rest, t_rest);
        let p = self.polynomial(t, &[1.193_755_7e-1, 1.426_274_2e-1, 2.000_019_7e-1]);
        let (third, third_rest) = (self.float(1.0 / 3.0), self.float(-9.934_108e-9));
        let q = self.fma(p, t, third);
        let rest = self.sub(third, q);
        let rest = self.fma(p, t, rest);
        let q_rest = self.add(rest, third_rest);
        let (p, p_rest) = self.exact_product(t, q);
        let p_rest = self.fma(t, q_rest, p_rest);
        let p_rest = self.fma(t_rest, q, p_rest);

        let h = self.fma(doubled, p, doubled);
        let rest = self.sub(doubled, h);
        let rest = self.fma(doubled, p, rest);
        let rest = self.fma(doubled, p_rest, rest);
        let more = self.fma(doubled_rest, p, doubled_rest);
        let rest = self.add(rest, more);
        let low = self.float(LN_2_LOW);
        [e, h, self.fma(e, low, rest)]
    }

    /// c − a b, rounded once.
    fn less_product(&mut self, c: Reg, a: Reg, b: Reg) -> Reg {
        self.push(Inst::Fma(Fma::SubMul, a, b, c), Kind::Float)
    }

    /// a b, and its rounding error.
    fn exact_product(&mut self, a: Reg, b: Reg) -> (Reg, Reg) {
        let product = self.mul(a, b);
        (product, self.push(Inst::Fma(Fma::MulSub, a, b, product), Kind::Float))
    }

    /// aᵇ = exp(b ln |a|), negative where a is and b is an odd number. The rounding errors of the
    /// logarithm and of its product with b are kept and added back, or the error would grow with the exponent.
    pub(crate) fn pow(&mut self, a: Reg, b: Reg) -> Reg {
        let (zero, one, half) = (self.float(0.0), self.float(1.0), self.float(0.5));
        let z = self.abs(a);
        let [e, h, l] = self.long_log_parts(z);
        let log = self.log_of_parts([e, h, l]);
        let (exponent, rest) = self.exact_product(b, log);

        // e ln 2 is exact, and so is the rounding error of its sum with h.
        let high = self.float(LN_2_HIGH);
        let large = self.mul(e, high);
        let sum = self.add(large, h);
        let moved = self.sub(sum, large);
        let lost = self.sub(h, moved);
        let low = self.add(lost, l);
        let from_log = self.sub(sum, log);
        let low = self.add(from_log, low);
        let rest = self.fma(b, low, rest);
        // Beyond this exponent the power is zero or infinite, and the rest must not make it NaN.
        let size = self.abs(exponent);
        let bound = self.float(104.0);
        let is_finite = self.lt(size, bound);
        let rest = self.select(is_finite, rest, zero);
        let y = self.exp_with_rest(exponent, rest);
        // 1 to any power is 1, also where b is infinite.
        let unit = self.eq(z, one);
        let y = self.select(unit, one, y);

        let whole = self.floor(b);
        let is_whole = self.eq(whole, b);
        let halved = self.mul(b, half);
        let whole_half = self.floor(halved);
        let is_even = self.eq(whole_half, halved);
        let signed = self.times_sign_of(y, a);
        let signed = self.select(is_even, y, signed);
        // Zero and infinity have a power of every exponent.
        let (nan, infinity) = (self.float(f32::NAN), self.float(f32::INFINITY));
        let is_finite = self.lt(z, infinity);
        let no_number = self.select(is_finite, nan, y);
        let below = self.lt(a, zero);
        let no_number = self.select(below, no_number, y);
        let y = self.select(is_whole, signed, no_number);
        let none = self.eq(b, zero);
        self.select(none, one, y)
    }
}
