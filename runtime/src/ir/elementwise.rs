//! Functions of the elements of the same place.
//!
//! A function is one row of a list: its name, an example, the interval of its results, its value in double precision, its
//! gradient, and its vector code. The lists are read here for the functions themselves, in `ops::elementwise` for the
//! gradient, which is an expression of the graph, and in `ops::interval` for intervals.

use super::rare::scalar;
use super::reduce::{larger, smaller};
use super::strip::{Kind, Reg, Strip};

/// The functions of one number. The interval of results is `None` where kernels may give any number, as those that are
/// rounded. A gradient is made of the stage, the argument, the result, and the gradient of that.
macro_rules! unary_functions {
    ($list:ident) => {
        $list! {
            /// The negative, −x.
            Neg neg ("2.0" => "-2.0")
                interval x => Some(x.negative());
                reference |x| -x;
                grad |g, _, _, dy| Some(g.negate(dy));
                lower |s, x| s.neg(x);
            /// The absolute value |x|; its gradient at zero is zero, as PyTorch has it.
            Abs abs ("-2.0" => "2.0")
                interval x => Some(x.size());
                reference f64::abs;
                grad |g, x, _, dy| {
                    let zero = g.number(0.0);
                    let above = g.compare(Compare::Lt, zero, x);
                    let below = g.compare(Compare::Lt, x, zero);
                    let negative = g.negate(dy);
                    let rest = g.choose(below, negative, zero);
                    Some(g.choose(above, dy, rest))
                };
                lower |s, x| s.abs(x);
            /// The exponential eˣ.
            Exp exp ("1.0" => "2.718_281_8")
                interval x => None;
                reference f64::exp;
                grad |g, _, y, dy| Some(g.scale(dy, y));
                lower |s, x| s.exp(x);
            /// The natural logarithm.
            Log log ("2.0" => "0.693_147_2")
                interval x => None;
                reference f64::ln;
                grad |g, x, _, dy| Some(g.divide(dy, x));
                lower |s, x| s.log(x);
            /// The square root.
            Sqrt sqrt ("9.0" => "3.0")
                interval x => Some(x.root());
                reference f64::sqrt;
                grad |g, _, y, dy| {
                    let half = g.number(0.5);
                    let dy = g.scale(dy, half);
                    Some(g.divide(dy, y))
                };
                lower |s, x| s.sqrt(x);
            /// The hyperbolic tangent.
            Tanh tanh ("0.5" => "0.462_117_2")
                interval x => None;
                reference f64::tanh;
                grad |g, _, y, dy| {
                    let square = g.binary(Binary::Mul, y, y);
                    let one = g.number(1.0);
                    let slope = g.binary(Binary::Sub, one, square);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.tanh(x);
            /// The logistic function 1 / (1 + e⁻ˣ).
            Sigmoid sigmoid ("0.0" => "0.5")
                interval x => None;
                reference |x| 1.0 / (1.0 + (-x).exp());
                grad |g, _, y, dy| {
                    // One operation, rounded once; y itself is no more exact where it is nearly 1.
                    let square = g.binary(Binary::Mul, y, y);
                    let slope = g.binary(Binary::Sub, y, square);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.sigmoid(x);
            /// The error function 2/√π ∫₀ˣ e^(−t²) dt.
            Erf erf ("0.5" => "0.520_499_9")
                interval x => None;
                reference libm::erf;
                grad |g, x, _, dy| {
                    let square = g.binary(Binary::Mul, x, x);
                    let negative = g.unary(Unary::Neg, square);
                    let bell = g.unary(Unary::Exp, negative);
                    let scale = g.number(std::f64::consts::FRAC_2_SQRT_PI);
                    let slope = g.binary(Binary::Mul, bell, scale);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.erf(x);
            /// The sine of an angle in radians.
            Sin sin ("0.5" => "0.479_425_5")
                interval x => None;
                reference f64::sin;
                grad |g, x, _, dy| {
                    let slope = g.unary(Unary::Cos, x);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.sin(x);
            /// The cosine of an angle in radians.
            Cos cos ("0.5" => "0.877_582_6")
                interval x => None;
                reference f64::cos;
                grad |g, x, _, dy| {
                    let sin = g.unary(Unary::Sin, x);
                    let slope = g.unary(Unary::Neg, sin);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.cos(x);
            /// 1 less than the exponential, eˣ − 1, without losing small x.
            Expm1 expm1 ("0.001" => "0.001_000_5")
                interval x => None;
                reference f64::exp_m1;
                grad |g, _, y, dy| {
                    let one = g.number(1.0);
                    let slope = g.binary(Binary::Add, y, one);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.expm1(x);
            /// The natural logarithm of 1 + x, without losing small x.
            Log1p log1p ("0.001" => "0.000_999_5")
                interval x => None;
                reference f64::ln_1p;
                grad |g, x, _, dy| {
                    let one = g.number(1.0);
                    let sum = g.binary(Binary::Add, x, one);
                    Some(g.divide(dy, sum))
                };
                lower |s, x| s.log1p(x);
            /// The complementary error function 1 − erf x, without losing large x.
            Erfc erfc ("2.0" => "0.004_677_7")
                interval x => None;
                reference libm::erfc;
                grad |g, x, _, dy| {
                    let square = g.binary(Binary::Mul, x, x);
                    let negative = g.unary(Unary::Neg, square);
                    let bell = g.unary(Unary::Exp, negative);
                    let scale = g.number(-std::f64::consts::FRAC_2_SQRT_PI);
                    let slope = g.binary(Binary::Mul, bell, scale);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.erfc(x);
            /// The tangent of an angle in radians.
            Tan tan ("0.5" => "0.546_302_5")
                interval x => None;
                reference f64::tan;
                grad |g, _, y, dy| {
                    let square = g.binary(Binary::Mul, y, y);
                    let one = g.number(1.0);
                    let slope = g.binary(Binary::Add, square, one);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| {
                    let (sine, cosine) = (s.sin(x), s.cos(x));
                    s.div(sine, cosine)
                };
            /// The inverse sine, in radians.
            Asin asin ("0.5" => "0.523_598_8")
                interval x => None;
                reference f64::asin;
                grad |g, x, _, dy| {
                    let root = root_of(g, x, -1.0, 1.0);
                    Some(g.divide(dy, root))
                };
                lower |s, x| s.asin(x);
            /// The inverse cosine, in radians.
            Acos acos ("0.5" => "1.047_197_6")
                interval x => None;
                reference f64::acos;
                grad |g, x, _, dy| {
                    let root = root_of(g, x, -1.0, 1.0);
                    let d = g.divide(dy, root);
                    Some(g.negate(d))
                };
                lower |s, x| s.acos(x);
            /// The inverse tangent, in radians.
            Atan atan ("1.0" => "0.785_398_2")
                interval x => None;
                reference f64::atan;
                grad |g, x, _, dy| {
                    let square = g.binary(Binary::Mul, x, x);
                    let one = g.number(1.0);
                    let sum = g.binary(Binary::Add, square, one);
                    Some(g.divide(dy, sum))
                };
                lower |s, x| s.atan(x);
            /// The hyperbolic sine.
            Sinh sinh ("0.5" => "0.521_095_3")
                interval x => None;
                reference f64::sinh;
                grad |g, x, _, dy| {
                    let slope = g.unary(Unary::Cosh, x);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.sinh(x);
            /// The hyperbolic cosine.
            Cosh cosh ("0.5" => "1.127_626")
                interval x => None;
                reference f64::cosh;
                grad |g, x, _, dy| {
                    let slope = g.unary(Unary::Sinh, x);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.cosh(x);
            /// The inverse hyperbolic sine.
            Asinh asinh ("0.5" => "0.481_211_8")
                interval x => None;
                reference |x| x.abs().asinh().copysign(x);
                grad |g, x, _, dy| {
                    let root = root_of(g, x, 1.0, 1.0);
                    Some(g.divide(dy, root))
                };
                lower |s, x| s.asinh(x);
            /// The inverse hyperbolic cosine, of numbers from 1 on.
            Acosh acosh ("2.0" => "1.316_957_9")
                interval x => None;
                reference f64::acosh;
                grad |g, x, _, dy| {
                    let root = root_of(g, x, 1.0, -1.0);
                    Some(g.divide(dy, root))
                };
                lower |s, x| s.acosh(x);
            /// The inverse hyperbolic tangent, of numbers within ±1.
            Atanh atanh ("0.5" => "0.549_306_1")
                interval x => None;
                reference f64::atanh;
                grad |g, x, _, dy| {
                    let square = g.binary(Binary::Mul, x, x);
                    let one = g.number(1.0);
                    let rest = g.binary(Binary::Sub, one, square);
                    Some(g.divide(dy, rest))
                };
                lower |s, x| s.atanh(x);
            /// The largest whole number that is not above x. It has no gradient.
            Floor floor ("-1.5" => "-2.0")
                interval x => Some(x.floor());
                reference f64::floor;
                grad |_, _, _, _| None;
                lower |s, x| s.floor(x);
            /// The power of two, 2ˣ.
            Exp2 exp2 ("3.0" => "8.0")
                interval x => None;
                reference f64::exp2;
                grad |g, _, y, dy| {
                    let ln_2 = g.number(std::f64::consts::LN_2);
                    let slope = g.binary(Binary::Mul, y, ln_2);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.exp2(x);
            /// The inverse error function, of numbers within ±1.
            Erfinv erfinv ("0.5" => "0.476_936_3")
                interval x => None;
                reference inverse_erf;
                grad |g, _, y, dy| {
                    let square = g.binary(Binary::Mul, y, y);
                    let growth = g.unary(Unary::Exp, square);
                    let half = g.number(std::f64::consts::PI.sqrt() / 2.0);
                    let slope = g.binary(Binary::Mul, growth, half);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.scalar(scalar!("erfinv", |_, x| inverse_erf(x.into()) as f32), x);
            /// The logarithm of the size of the gamma function.
            Lgamma lgamma ("0.5" => "0.572_364_9")
                interval x => None;
                reference libm::lgamma;
                grad |g, x, _, dy| {
                    let slope = g.unary(Unary::Digamma, x);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.scalar(scalar!("lgamma", |_, x| libm::lgamma(x.into()) as f32), x);
            /// The digamma function, the slope of `lgamma`.
            Digamma digamma ("1.0" => "-0.577_215_7")
                interval x => None;
                reference slope_of_lgamma;
                grad |g, x, _, dy| {
                    // The trigamma function at z, which is x, or 1 − x below one half: the terms of its series to z + 6,
                    // and from there on an asymptotic one (Abramowitz and Stegun, 6.4.10 and 6.4.12).
                    let [one, half] = [1.0, 0.5].map(|x| g.number(x));
                    let is_left = g.compare(Compare::Lt, x, half);
                    let mirrored = g.binary(Binary::Sub, one, x);
                    let z = g.select(is_left, mirrored, x);
                    let mut sum = g.number(0.0);
                    for k in 0..6 {
                        let k = g.number(k.into());
                        let at = g.binary(Binary::Add, z, k);
                        let inverse = g.binary(Binary::Div, one, at);
                        let term = g.binary(Binary::Mul, inverse, inverse);
                        sum = g.binary(Binary::Add, sum, term);
                    }
                    let six = g.number(6.0);
                    let far = g.binary(Binary::Add, z, six);
                    let inverse = g.binary(Binary::Div, one, far);
                    let square = g.binary(Binary::Mul, inverse, inverse);
                    let mut rest = g.number(1.0 / 42.0);
                    for factor in [-1.0 / 30.0, 1.0 / 6.0] {
                        let factor = g.number(factor);
                        let product = g.binary(Binary::Mul, rest, square);
                        rest = g.binary(Binary::Add, product, factor);
                    }
                    // 1/z + 1/2z² + 1/6z³ − 1/30z⁵ + 1/42z⁷.
                    let rest = g.binary(Binary::Mul, rest, inverse);
                    let rest = g.binary(Binary::Add, rest, half);
                    let rest = g.binary(Binary::Mul, rest, square);
                    let rest = g.binary(Binary::Add, rest, inverse);
                    let right = g.binary(Binary::Add, sum, rest);
                    // To the left (6.4.7): π² / sin² πx less the function at 1 − x. The sine is that of the part of x.
                    let shifted = g.binary(Binary::Add, x, half);
                    let whole = g.unary(Unary::Floor, shifted);
                    let part = g.binary(Binary::Sub, x, whole);
                    let pi = g.number(std::f64::consts::PI);
                    let angle = g.binary(Binary::Mul, part, pi);
                    let sine = g.unary(Unary::Sin, angle);
                    let ratio = g.binary(Binary::Div, pi, sine);
                    let ratio = g.binary(Binary::Mul, ratio, ratio);
                    let left = g.binary(Binary::Sub, ratio, right);
                    let slope = g.select(is_left, left, right);
                    Some(g.scale(dy, slope))
                };
                lower |s, x| s.scalar(scalar!("digamma", |_, x| slope_of_lgamma(x.into()) as f32), x);
        }
    };
}
pub(crate) use unary_functions;

macro_rules! unary {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident $name:ident ($x:literal => $y:literal)
            interval $at:ident => $interval:expr;
            reference $reference:expr;
            grad $grad:expr;
            lower $lower:expr;
    )*) => {
        /// A function of one number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unary {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Unary {
            /// All functions of one number.
            pub const ALL: &[Unary] = &[$(Unary::$variant),*];

            /// The name of the operation.
            pub const fn name(self) -> &'static str {
                match self { $(Unary::$variant => stringify!($name),)* }
            }

            /// The function in double precision.
            pub fn reference(self, x: f64) -> f64 {
                let f: fn(f64) -> f64 = match self { $(Unary::$variant => $reference,)* };
                f(x)
            }

            /// The function in vector code.
            pub(crate) fn lower(self, s: &mut Strip, x: Reg) -> Reg {
                let f: fn(&mut Strip, Reg) -> Reg = match self { $(Unary::$variant => $lower,)* };
                f(s, x)
            }
        }
    };
}
unary_functions!(unary);

impl Unary {
    /// Whether the function is flat wherever it has a slope, so that no gradient passes.
    pub(crate) const fn is_flat(self) -> bool {
        matches!(self, Unary::Floor)
    }
}

/// The functions of two numbers. A gradient is made of the stage, the two arguments, and the gradient of the result.
macro_rules! binary_functions {
    ($list:ident) => {
        $list! {
            /// The sum a + b.
            Add add ("2.0", "3.0" => "5.0")
                reference |a, b| a + b;
                grad |_, _, _, dy| (dy, dy);
                lower Strip::add;
                whole i32::wrapping_add, Strip::iadd;
            /// The difference a − b.
            Sub sub ("2.0", "3.0" => "-1.0")
                reference |a, b| a - b;
                grad |g, _, _, dy| (dy, g.negate(dy));
                lower Strip::sub;
                whole i32::wrapping_sub, Strip::isub;
            /// The product a · b.
            Mul mul ("2.0", "3.0" => "6.0")
                reference |a, b| a * b;
                grad |g, a, b, dy| (g.scale(dy, b), g.scale(dy, a));
                lower Strip::mul;
                whole i32::wrapping_mul, Strip::imul;
            /// The quotient a / b; on `Index` operands there is none.
            Div div ("6.0", "3.0" => "2.0")
                reference |a, b| a / b;
                grad |g, a, b, dy| {
                    let y = g.binary(Binary::Div, a, b);
                    let da = g.divide(dy, b);
                    let db = g.scale(da, y);
                    (da, g.negate(db))
                };
                lower Strip::div;
                whole;
            /// The larger of a and b; where they are equal, each gets half of the gradient.
            Max maximum ("2.0", "3.0" => "3.0")
                reference larger;
                grad |g, a, b, dy| extreme_grad(g, a, b, dy);
                lower Strip::max;
                whole Ord::max, Strip::imax;
            /// The smaller of a and b; where they are equal, each gets half of the gradient.
            Min minimum ("2.0", "3.0" => "2.0")
                reference smaller;
                grad |g, a, b, dy| extreme_grad(g, b, a, dy);
                lower Strip::min;
                whole Ord::min, Strip::imin;
            /// The power aᵇ. A negative base has one only for a whole exponent.
            Pow pow ("2.0", "3.0" => "8.0")
                reference f64::powf;
                grad |g, a, b, dy| {
                    let (zero, one) = (g.number(0.0), g.number(1.0));
                    let less = g.binary(Binary::Sub, b, one);
                    let power = g.binary(Binary::Pow, a, less);
                    let slope = g.binary(Binary::Mul, power, b);
                    // A constant has no slope, even where 0 to the power -1 is infinite.
                    let flat = g.compare(Compare::Eq, b, zero);
                    let da = g.scale(dy, slope);
                    let da = g.choose(flat, zero, da);
                    let y = g.binary(Binary::Pow, a, b);
                    let log = g.unary(Unary::Log, a);
                    let slope = g.binary(Binary::Mul, y, log);
                    // 0ᵇ is zero for every b above zero.
                    let at_zero = g.compare(Compare::Eq, a, zero);
                    let grows = g.compare(Compare::Le, zero, b);
                    let db = g.scale(dy, slope);
                    let kept = g.choose(grows, zero, db);
                    (da, g.choose(at_zero, kept, db))
                };
                lower Strip::pow;
                whole;
            /// The angle of the point (b, a) in radians, from −π to π.
            Atan2 atan2 ("0.0", "1.0" => "0.0")
                reference f64::atan2;
                grad |g, a, b, dy| {
                    let (aa, bb) = (g.binary(Binary::Mul, a, a), g.binary(Binary::Mul, b, b));
                    let sum = g.binary(Binary::Add, aa, bb);
                    // The origin has no angle, and none near it: no gradient, as PyTorch has it.
                    let zero = g.number(0.0);
                    let origin = g.compare(Compare::Eq, sum, zero);
                    let share = g.divide(dy, sum);
                    let share = g.choose(origin, zero, share);
                    let da = g.scale(share, b);
                    let db = g.scale(share, a);
                    (da, g.negate(db))
                };
                lower Strip::atan2;
                whole;
            /// The remainder of a / b, with the quotient rounded towards zero, exactly; it has the sign of `a`.
            Fmod fmod ("-3.0", "2.0" => "-1.0")
                reference |a, b| a % b;
                grad |g, a, b, dy| {
                    let rest = g.binary(Binary::Fmod, a, b);
                    let taken = g.binary(Binary::Sub, a, rest);
                    let whole = g.binary(Binary::Div, taken, b);
                    let slope = g.unary(Unary::Neg, whole);
                    (dy, g.scale(dy, slope))
                };
                lower Strip::fmod;
                whole;
        }
    };
}
pub(crate) use binary_functions;

/// The function of whole numbers and its vector code, if a row has them.
macro_rules! whole {
    () => {
        None
    };
    ($f:expr, $lower:expr) => {
        Some(($f, $lower))
    };
}

macro_rules! binary {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident $name:ident ($x:literal, $y:literal => $z:literal)
            reference $reference:expr;
            grad $grad:expr;
            lower $lower:expr;
            whole $($whole:expr, $lower_whole:expr)?;
    )*) => {
        /// A function of two numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Binary {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Binary {
            /// All functions of two numbers.
            pub const ALL: &[Binary] = &[$(Binary::$variant),*];

            /// The name of the operation.
            pub const fn name(self) -> &'static str {
                match self { $(Binary::$variant => stringify!($name),)* }
            }

            /// The function in double precision.
            pub fn reference(self, a: f64, b: f64) -> f64 {
                let f: fn(f64, f64) -> f64 = match self { $(Binary::$variant => $reference,)* };
                f(a, b)
            }

            /// The function of whole numbers and its vector code, if there is one.
            const fn of_whole(self) -> Option<(fn(i32, i32) -> i32, fn(&mut Strip, Reg, Reg) -> Reg)> {
                match self { $(Binary::$variant => whole!($($whole, $lower_whole)?),)* }
            }

            /// Whether there is such a function of whole numbers.
            pub const fn is_whole(self) -> bool {
                self.of_whole().is_some()
            }

            /// The function of whole numbers, whose sums and products wrap around; `None` where there is none.
            pub fn whole(self, a: i32, b: i32) -> Option<i32> {
                self.of_whole().map(|(f, _)| f(a, b))
            }

            /// The function in vector code, on numbers or whole numbers.
            pub(crate) fn lower(self, s: &mut Strip, a: Reg, b: Reg) -> Reg {
                if let (Kind::Int, Some((_, lower))) = (s.kind(a), self.of_whole()) {
                    return lower(s, a, b);
                }
                let f: fn(&mut Strip, Reg, Reg) -> Reg = match self { $(Binary::$variant => $lower,)* };
                f(s, a, b)
            }
        }
    };
}
binary_functions!(binary);

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// a < b.
    Lt,
    /// a ≤ b.
    Le,
    /// a = b.
    Eq,
    /// a ≠ b.
    Ne,
}

impl Compare {
    /// All comparisons.
    pub const ALL: &[Compare] = &[Compare::Lt, Compare::Le, Compare::Eq, Compare::Ne];

    /// The name of the operation.
    pub const fn name(self) -> &'static str {
        match self {
            Compare::Lt => "lt",
            Compare::Le => "le",
            Compare::Eq => "eq",
            Compare::Ne => "ne",
        }
    }

    /// The comparison in double precision.
    pub fn reference(self, a: f64, b: f64) -> bool {
        match self {
            Compare::Lt => a < b,
            Compare::Le => a <= b,
            Compare::Eq => a == b,
            Compare::Ne => a != b,
        }
    }
}

/// The inverse error function in double precision: an approximation (M. Giles, Approximating the erfinv function, 2012),
/// and two steps of Halley's method.
fn inverse_erf(x: f64) -> f64 {
    // The distance from ±1, which is exact.
    let rest = 1.0 - x.abs();
    if rest <= 0.0 || x.is_nan() {
        return if rest == 0.0 { f64::INFINITY.copysign(x) } else { f64::NAN };
    }
    let w = -(rest * (1.0 + x.abs())).ln();
    let (t, factors): (f64, [f64; 9]) = if w < 5.0 {
        let near = [
            2.810_226_36e-8,
            3.432_739_39e-7,
            -3.523_387_7e-6,
            -4.391_506_54e-6,
            2.185_808_7e-4,
            -1.253_725_03e-3,
            -4.177_681_64e-3,
            2.466_407_27e-1,
            1.501_409_41,
        ];
        (w - 2.5, near)
    } else {
        let far = [
            -2.002_142_57e-4,
            1.009_505_58e-4,
            1.349_343_22e-3,
            -3.673_428_44e-3,
            5.739_507_73e-3,
            -7.622_461_3e-3,
            9.438_870_47e-3,
            1.001_674_06,
            2.832_976_82,
        ];
        (w.sqrt() - 3.0, far)
    };
    let mut y = x.abs() * factors.into_iter().fold(0.0, |sum, factor| sum * t + factor);
    for _ in 0..2 {
        let off = if y < 0.5 { libm::erf(y) - x.abs() } else { rest - libm::erfc(y) };
        let step = off / (std::f64::consts::FRAC_2_SQRT_PI * (-y * y).exp());
        y -= step / (1.0 + y * step);
    }
    y.copysign(x)
}

/// The digamma function in double precision: by its recurrence up to 10, from there on by its asymptotic series
/// (Abramowitz and Stegun, 6.3.5 to 6.3.18), and mirrored below zero.
fn slope_of_lgamma(x: f64) -> f64 {
    if x == 0.0 {
        return (-f64::INFINITY).copysign(-x);
    }
    if x < 0.0 {
        let part = x - x.floor();
        // At whole numbers digamma has poles, with a positive and a negative side.
        return if part == 0.0 || x.is_infinite() {
            f64::NAN
        } else {
            slope_of_lgamma(1.0 - x) - std::f64::consts::PI / (std::f64::consts::PI * part).tan()
        };
    }
    // Near the root of digamma, which is the sum of two numbers, by its series there.
    const ROOT: (f64, f64) = (1.4616321449683622, 9.549995429965697e-17);
    const SERIES: [f64; 6] = [
        0.9676722454476212,
        -0.4427631689835921,
        0.258499760955651,
        -0.16394270544240652,
        0.10782405069126237,
        -0.07219956125645471,
    ];
    let from_root = (x - ROOT.0) - ROOT.1;
    if from_root.abs() < 1e-3 {
        return from_root * SERIES.into_iter().rev().fold(0.0, |sum, factor| sum * from_root + factor);
    }
    let (mut z, mut sum) = (x, 0.0);
    while z < 10.0 {
        sum -= 1.0 / z;
        z += 1.0;
    }
    let square = 1.0 / (z * z);
    let factors = [-1.0 / 132.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0];
    sum + z.ln() - 0.5 / z + square * factors.into_iter().fold(0.0, |series, factor| series * square + factor)
}
