//! Functions of one number as polynomials over the plain instructions of a strip.

use super::multiply_add::Fma;
use super::rare::{COSINE, REMAINDER, SINE};
use super::strip::{Inst, Kind, Rare, Reg, Strip};

/// ln 2 to so few digits that its product with an exponent is exact.
pub(crate) const LN_2_HIGH: f32 = 0.693_145_75;

/// ln 2 − `LN_2_HIGH`.
pub(crate) const LN_2_LOW: f32 = 1.428_606_8e-6;

/// The least argument of an exponential, whose result is far below the smallest number: a product that just underflows
/// takes some processors two hundred cycles.
const LEAST_EXPONENT: f32 = -700.0;

/// (eʳ − 1 − r) / r² within ±½ ln 2 as a polynomial: eʳ is off by at most 3·10⁻⁹ of itself. A fit of least maximal
/// error, by linear programming.
const EXP_REST: [f32; 5] = [1.382_119_6e-3, 8.368_666e-3, 4.166_826e-2, 1.666_652_1e-1, 4.999_999_4e-1];

/// e⁻ʳ within ±½ ln 2 as a polynomial, off by at most 10⁻⁷ of itself: enough for the logistic function. A fit as above.
const EXP_NEGATIVE: [f32; 6] = [-8.289_726e-3, 4.189_785_6e-2, -1.666_764_8e-1, 4.999_915e-1, -9.999_997e-1, 1.0];

/// 1½ 2²³: a sum with it is rounded to a whole number.
const WHOLE: f32 = 12_582_912.0;

/// The largest angle that is reduced in vector code.
const LARGE_ANGLE: f32 = 1e5;

/// The |x| up to which erf x is a polynomial in x², and from which on an exponential.
pub(crate) const ERF_BOUND: f32 = 0.921_875;

impl Strip {
    /// `c[0] xⁿ + … + c[n]`, by Horner's rule.
    pub(crate) fn polynomial(&mut self, x: Reg, coefficients: &[f32]) -> Reg {
        let mut sum = self.float(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.float(c);
            sum = self.fma(sum, x, c);
        }
        sum
    }

    /// n and r of x = n ln 2 + r with a whole number n and r within ±½ ln 2 (ln 2 in two parts, Cody and
    /// Waite), for x up to 10⁶.
    fn by_powers_of_two(&mut self, x: Reg) -> (Reg, Reg) {
        let (log2e, whole) = (self.float(std::f32::consts::LOG2_E), self.float(WHOLE));
        let rounded = self.fma(x, log2e, whole);
        let n = self.sub(rounded, whole);
        let high = self.float(-0.693_359_4);
        let low = self.float(2.121_944_4e-4);
        let r = self.fma(n, high, x);
        (n, self.fma(n, low, r))
    }

    /// eʳ within ±½ ln 2. One is added last, so that no other rounding is visible.
    fn exp_of_part(&mut self, r: Reg) -> Reg {
        let [c6, c5, c4, c3, c2] = EXP_REST;
        self.polynomial(r, &[c6, c5, c4, c3, c2, 1.0, 1.0])
    }

    /// eˣ = 2ⁿ eʳ.
    pub(crate) fn exp(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 89.0);
        let x = self.at_least(x, LEAST_EXPONENT);
        let (n, r) = self.by_powers_of_two(x);
        let y = self.exp_of_part(r);
        self.scale(y, n)
    }

    /// eˣ (1 + rest) for a rest much less than one. Only the last operation rounds to a subnormal number or to
    /// infinity.
    pub(crate) fn exp_with_rest(&mut self, x: Reg, rest: Reg) -> Reg {
        let x = self.at_most(x, 89.0);
        let x = self.at_least(x, LEAST_EXPONENT);
        let (n, r) = self.by_powers_of_two(x);
        let y = self.exp_of_part(r);
        let y = self.fma(y, rest, y);
        self.scale(y, n)
    }

    /// 2ˣ = 2ⁿ eʳ with x = n + r / ln 2.
    pub(crate) fn exp2(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 129.0);
        let x = self.at_least(x, LEAST_EXPONENT);
        let n = self.nearest(x);
        let rest = self.sub(x, n);
        let ln_2 = self.float(std::f32::consts::LN_2);
        let r = self.mul(rest, ln_2);
        let y = self.exp_of_part(r);
        self.scale(y, n)
    }

    /// ½ eˣ for x that is not negative, which is finite where eˣ is just not.
    pub(crate) fn half_exp(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 90.0);
        let (n, r) = self.by_powers_of_two(x);
        let y = self.exp_of_part(r);
        let one = self.float(1.0);
        let n = self.sub(n, one);
        self.scale(y, n)
    }

    /// eʳ − 1 and n of eˣ = 2ⁿ eʳ.
    fn expm1_parts(&mut self, x: Reg) -> (Reg, Reg) {
        let (n, r) = self.by_powers_of_two(x);
        let p = self.polynomial(r, &EXP_REST);
        let square = self.mul(r, r);
        (self.fma(p, square, r), n)
    }

    /// eˣ − 1; zero with its sign.
    pub(crate) fn expm1(&mut self, x: Reg) -> Reg {
        let y = self.expm1_without_sign(x);
        let zero = self.float(0.0);
        let is_zero = self.eq(x, zero);
        self.select(is_zero, x, y)
    }

    /// eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1), all halved on the way, since 2ⁿ may be too large; zero for either zero.
    pub(crate) fn expm1_without_sign(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 89.0);
        let x = self.at_least(x, -20.0);
        let (q, n) = self.expm1_parts(x);
        let (one, minus_half) = (self.float(1.0), self.float(-0.5));
        let n = self.sub(n, one);
        let power = self.scale(one, n);
        let rest = self.add(power, minus_half);
        let y = self.fma(q, power, rest);
        self.add(y, y)
    }

    /// The smaller of x and a constant; NaN if x is.
    fn at_most(&mut self, x: Reg, bound: f32) -> Reg {
        let bound = self.float(bound);
        self.min(x, bound)
    }

    /// The larger of x and a constant; NaN if x is.
    fn at_least(&mut self, x: Reg, bound: f32) -> Reg {
        let bound = self.float(bound);
        self.max(x, bound)
    }

    /// ln x = e ln 2 + ln m with x = 2ᵉ m and m from ¾ to 1½. ln m = f − f²/2 + f³ P(f) with f = m − 1 and
    /// a P of least maximal error, relative to ln m. For zero and infinity e is infinite, for negative
    /// numbers and NaN m is NaN, and the parts of ln 2 are positive; so no argument is a special case.
    pub(crate) fn log(&mut self, x: Reg) -> Reg {
        let parts = self.log_parts(x);
        self.log_of_parts(parts)
    }

    /// The parts e, m − 1 and ln m − (m − 1) of a logarithm; the second part of e ln 2 is with the last.
    fn log_parts(&mut self, x: Reg) -> [Reg; 3] {
        let m = self.mantissa(x);
        let e = self.exponent(x, m);
        let one = self.float(1.0);
        let f = self.sub(m, one);
        let p = self.polynomial(
            f,
            &[
                -4.507_486_5e-2,
                1.046_302_4e-1,
                -1.316_119e-1,
                1.447_839_3e-1,
                -1.664_731_2e-1,
                1.999_086_1e-1,
                -2.500_009_5e-1,
                3.333_345e-1,
            ],
        );
        let square = self.mul(f, f);
        let minus_half = self.float(-0.5);
        let p = self.fma(p, f, minus_half);
        let low = self.float(LN_2_LOW);
        let rest = self.mul(e, low);
        [e, f, self.fma(p, square, rest)]
    }

    /// The sum of the parts of a logarithm.
    pub(crate) fn log_of_parts(&mut self, [e, f, rest]: [Reg; 3]) -> Reg {
        let y = self.add(f, rest);
        let high = self.float(LN_2_HIGH);
        self.fma(e, high, y)
    }

    /// tanh x = sign x · t / (t + 2) with t = e^(2 |x|) − 1.
    pub(crate) fn tanh(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let z = self.at_most(z, 10.0);
        let doubled = self.add(z, z);
        let (q, n) = self.expm1_parts(doubled);
        let (one, minus_one, two) = (self.float(1.0), self.float(-1.0), self.float(2.0));
        let power = self.scale(one, n);
        let rest = self.add(power, minus_one);
        let t = self.fma(q, power, rest);
        let denominator = self.add(t, two);
        let y = self.div(t, denominator);
        self.times_sign_of(y, x)
    }

    /// A number times the sign of another, also that of zero.
    pub(crate) fn times_sign_of(&mut self, y: Reg, x: Reg) -> Reg {
        let sign = self.int(i32::MIN);
        let bits = self.bits(x);
        let sign = self.iand(bits, sign);
        let bits = self.bits(y);
        let bits = self.iadd(bits, sign);
        self.from_bits(bits)
    }

    /// 1 / (1 + e⁻ˣ) = 2ⁿ / (2ⁿ + e⁻ʳ) with x = n ln 2 + r, where nothing overflows.
    pub(crate) fn sigmoid(&mut self, x: Reg) -> Reg {
        let x = self.at_most(x, 30.0);
        let x = self.at_least(x, LEAST_EXPONENT);
        let (n, r) = self.by_powers_of_two(x);
        let inverse = self.polynomial(r, &EXP_NEGATIVE);
        let one = self.float(1.0);
        let power = self.scale(one, n);
        let denominator = self.add(power, inverse);
        self.div(power, denominator)
    }

    /// erf x: x + x P(x²) below 0.92 and 1 − exp(−(x + x Q(x))) above; the polynomials are fits of
    /// least maximal relative error, by linear programming.
    pub(crate) fn erf(&mut self, x: Reg) -> Reg {
        let (p, e) = self.erf_parts(x);
        let near = self.fma(p, x, x);
        let one = self.float(1.0);
        let far = self.sub(one, e);
        let far = self.times_sign_of(far, x);
        let (z, bound) = (self.abs(x), self.float(ERF_BOUND));
        let is_far = self.lt(bound, z);
        self.select(is_far, far, near)
    }

    /// P(x²), and exp(−(x + x Q(x))) of |x|.
    pub(crate) fn erf_parts(&mut self, x: Reg) -> (Reg, Reg) {
        let z = self.abs(x);
        let square = self.mul(x, x);
        let p = self.polynomial(
            square,
            &[-5.919_353e-4, 4.979_114_5e-3, -2.675_702_2e-2, 1.128_155_2e-1, -3.761_246_8e-1, 1.283_791_5e-1],
        );
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
        (p, self.exp(q))
    }

    /// sin x = sign x · sin |x|.
    pub(crate) fn sin(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let y = self.circular(z, 0);
        let y = self.times_sign_of(y, x);
        self.of_large_angle(SINE, y, x)
    }

    /// cos x = cos |x|.
    pub(crate) fn cos(&mut self, x: Reg) -> Reg {
        let z = self.abs(x);
        let y = self.circular(z, 1);
        self.of_large_angle(COSINE, y, x)
    }

    /// sin(x + quarters π/2) for x that is not negative: x is reduced by multiples of π/2 in four parts (Cody and
    /// Waite) to within ±π/4, where Cephes' `sinf` and `cosf` polynomials hold.
    fn circular(&mut self, x: Reg, quarters: i32) -> Reg {
        let (per_quarter, whole) = (self.float(std::f32::consts::FRAC_2_PI), self.float(WHOLE));
        let rounded = self.fma(x, per_quarter, whole);
        let n = self.sub(rounded, whole);
        let mut r = x;
        for part in [-1.570_312_5, -4.837_513e-4, -7.549_79e-8, 1.715_124_5e-15] {
            let part = self.float(part);
            r = self.fma(n, part, r);
        }
        // The last bits of `rounded` are those of n.
        let n = self.bits(rounded);
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

    /// y, or a function of an angle x by scalar code where |x| is so large that its reduction would lose digits.
    fn of_large_angle(&mut self, function: Rare, y: Reg, x: Reg) -> Reg {
        let (size, bound) = (self.abs(x), self.float(LARGE_ANGLE));
        let is_large = self.lt(bound, size);
        self.rare(function, is_large, y, x)
    }

    /// The remainder |a| − ⌊|a| / |b|⌋ |b|, with the sign of a. The quotient may be rounded up to a whole number, which
    /// subtracts one |b| too many; all else is exact. Where the quotient has more digits than a number, or is NaN,
    /// scalar code computes the remainder.
    pub(crate) fn fmod(&mut self, a: Reg, b: Reg) -> Reg {
        let (size, by) = (self.abs(a), self.abs(b));
        let quotient = self.div(size, by);
        let whole = self.floor(quotient);
        let rest = self.push(Inst::Fma(Fma::SubMul, whole, by, size), Kind::Float);
        let more = self.add(rest, by);
        let zero = self.float(0.0);
        let below = self.lt(rest, zero);
        let rest = self.select(below, more, rest);
        let y = self.times_sign_of(rest, a);
        let (digits, infinity) = (self.float(4_194_304.0), self.float(f32::INFINITY));
        let fits = self.lt(quotient, digits);
        let not = self.not(fits);
        let endless = self.eq(by, infinity);
        let is_rare = self.or(not, endless);
        let rare = self.rare(REMAINDER, is_rare, a, b);
        self.select(is_rare, rare, y)
    }
}
