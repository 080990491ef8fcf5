//! How far functions are from their exact values, those of one number over all 2³² numbers: the largest error in
//! units in the last place and where it is. What is more than the README promises is an error, and so is a zero of the
//! wrong sign.
//!
//! ```sh
//! cargo run --release --example accuracy                                    # all functions: half an hour of a core
//! cargo run --release --example accuracy -- sin erfc                        # some
//! DOWNHILL_SIMD=avx2 cargo run --release --example accuracy -- --every 101  # some numbers, with other vectors
//! ```
//!
//! `DOWNHILL_THREADS` says on how many cores. Functions of two numbers are tried on 2³² random pairs: half of them any
//! numbers, half of sizes from 2⁻⁸ to 2⁸.
//!
//! Of all numbers, with AVX-512 (Zen 4):
//!
//! | function | largest error, ulps | at |
//! |---|---|---|
//! | neg | 0.00 | |
//! | abs | 0.00 | |
//! | exp | 0.90 | -5.926467e1 |
//! | log | 0.97 | 1.4783521e0 |
//! | sqrt | 0.50 | 4.701977e-38 |
//! | tanh | 2.61 | 6.241588e-2 |
//! | sigmoid | 3.44 | -1.6765856e1 |
//! | erf | 1.27 | 9.096256e-1 |
//! | sin | 1.53 | 8.882828e4 |
//! | cos | 1.53 | 2.4819902e4 |
//! | expm1 | 1.46 | 3.8107875e-1 |
//! | log1p | 2.47 | 1.5624939e-2 |
//! | erfc | 3.58 | 9.116044e-1 |
//! | tan | 3.53 | 9.727784e4 |
//! | asin | 2.36 | 5.01064e-1 |
//! | acos | 1.28 | -5.0042754e-1 |
//! | atan | 2.80 | 4.3206868e-1 |
//! | sinh | 2.38 | 1.2404172e-1 |
//! | cosh | 1.35 | 5.200064e0 |
//! | asinh | 2.95 | 1.5504748e-2 |
//! | acosh | 3.12 | 1.0283386e0 |
//! | atanh | 3.25 | -5.882165e-2 |
//! | floor | 0.00 | |
//! | exp2 | 0.91 | -1.2643665e2 |
//! | pow | 1.40 | 2.1789481e-1, -4.3215282e1 |
//! | atan2 | 3.19 | -1.7006653e1, 3.931768e1 |
//! | fmod | 0.00 | |
//!
//! With AVX2, all numbers of the first eight rows gave the same, and every 1009th of the others nothing larger; so did
//! every 13th at the portable level, and every 1009th there without an instruction for a product and a sum.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use clap::Parser;
use downhill::ops::elementwise::{Binary, Unary};
use downhill::prelude::*;
use downhill::shape::DType;

/// How many numbers are computed at once.
const BLOCK: usize = 1 << 14;

#[derive(Parser)]
struct Args {
    /// The functions to try; all if none is named.
    names: Vec<String>,
    /// Tries only every so many numbers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    every: u64,
}

/// What is tried.
#[derive(Clone, Copy)]
enum Function {
    OfOne(Unary),
    OfTwo(Binary),
}

impl Function {
    /// Functions of two numbers are those that are more than an instruction.
    fn all() -> impl Iterator<Item = Function> {
        let of_two = [Binary::Pow, Binary::Atan2, Binary::Fmod];
        Unary::ALL.iter().map(|&op| Function::OfOne(op)).chain(of_two.map(Function::OfTwo))
    }

    fn name(self) -> &'static str {
        match self {
            Function::OfOne(op) => op.name(),
            Function::OfTwo(op) => op.name(),
        }
    }

    /// The largest error that it may have.
    fn promised(self) -> f64 {
        match self {
            Function::OfOne(Unary::Neg | Unary::Abs | Unary::Floor) | Function::OfTwo(Binary::Fmod) => 0.0,
            Function::OfOne(Unary::Sqrt) => 0.5,
            Function::OfOne(Unary::Exp | Unary::Exp2) => 2.0,
            _ => 4.0,
        }
    }

    /// The exact value, by the functions of the system or, for those that it lacks, of `libm`.
    fn exact(self, x: f64, y: f64) -> f64 {
        match self {
            Function::OfOne(Unary::Erf) => libm::erf(x),
            Function::OfOne(Unary::Erfc) => libm::erfc(x),
            Function::OfOne(op) => op.reference(x),
            Function::OfTwo(op) => op.reference(x, y),
        }
    }
}

/// The largest error, and for which numbers.
#[derive(Clone, Copy)]
struct Worst {
    ulps: f64,
    at: (f32, f32),
}

fn main() -> Result<()> {
    let args = Args::parse();
    for name in &args.names {
        if Function::all().all(|f| f.name() != name) {
            bail!("{name}: expected one of {}", Function::all().map(Function::name).collect::<Vec<_>>().join(", "));
        }
    }
    let workers = downhill::threads()?;
    downhill::set_threads(1);
    println!("| function | largest error, ulps | at |\n|---|---|---|");
    let mut failed = Vec::new();
    for f in Function::all().filter(|f| args.names.is_empty() || args.names.iter().any(|name| name == f.name())) {
        let Worst { ulps, at: (x, y) } = largest(f, args.every, workers)?;
        let at = match f {
            Function::OfOne(_) => format!("{x:e}"),
            Function::OfTwo(_) => format!("{x:e}, {y:e}"),
        };
        println!("| {} | {ulps:.2} | {at} |", f.name());
        if ulps > f.promised() {
            failed.push(f.name());
        }
    }
    if !failed.is_empty() {
        bail!("more than promised: {}", failed.join(", "));
    }
    Ok(())
}

/// The largest error of a function; each worker takes blocks of numbers.
fn largest(f: Function, every: u64, workers: usize) -> Result<Worst> {
    let next = AtomicU64::new(0);
    let found: Vec<Result<Worst>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| of_blocks(f, every, &next))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    let mut worst = Worst { ulps: 0.0, at: (0.0, 0.0) };
    for one in found {
        worst = worse(worst, one?);
    }
    Ok(worst)
}

/// The largest error in the blocks that no other worker has taken.
fn of_blocks(f: Function, every: u64, next: &AtomicU64) -> Result<Worst> {
    let mut g = Stage::new();
    let [x, y] = [0, 1].map(|i| g.input(i, &[BLOCK], DType::F32));
    let value = match f {
        Function::OfOne(op) => g.unary(op, x),
        Function::OfTwo(op) => g.binary(op, x, y),
    };
    let mut function = g.compile(&[Value::Var(value)])?;
    let mut worst = Worst { ulps: 0.0, at: (0.0, 0.0) };
    loop {
        let first = next.fetch_add(BLOCK as u64, Ordering::Relaxed) * every;
        if first > u32::MAX as u64 {
            return Ok(worst);
        }
        // Beyond the last number the first ones follow again.
        let number = |i: usize| first + i as u64 * every;
        let (x, y): (Vec<f32>, Vec<f32>) = match f {
            Function::OfOne(_) => (0..BLOCK).map(|i| (f32::from_bits(number(i) as u32), 0.0)).unzip(),
            Function::OfTwo(_) => (0..BLOCK).map(|i| pair(number(i))).unzip(),
        };
        let (x, y) = (Tensor::new([BLOCK], x)?, Tensor::new([BLOCK], y)?);
        function.run((&x, &y))?;
        for ((&x, &y), &found) in x.data().iter().zip(y.data()).zip(function.data(0)?) {
            worst = worse(worst, Worst { ulps: ulps(found, f.exact(x as f64, y as f64)), at: (x, y) });
        }
    }
}

/// The `i`-th pair of random numbers, by the generator SplitMix64.
fn pair(i: u64) -> (f32, f32) {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let z = z ^ z >> 31;
    let number = |bits: u32| match i % 2 {
        0 => bits,
        _ => bits & !(0xff << 23) | (((bits >> 23) & 0xf) + 127 - 8) << 23,
    };
    (f32::from_bits(number(z as u32)), f32::from_bits(number((z >> 32) as u32)))
}

fn worse(a: Worst, b: Worst) -> Worst {
    if b.ulps > a.ulps { b } else { a }
}

/// Units in the last place between a result and the exact value; infinite where one is NaN, or infinite, and the
/// other is not, and for a zero of the wrong sign.
fn ulps(found: f32, exact: f64) -> f64 {
    if !found.is_finite() || !exact.is_finite() {
        let same = found == exact as f32 || found.is_nan() && exact.is_nan();
        return if same { 0.0 } else { f64::INFINITY };
    }
    if found == 0.0 && found.is_sign_negative() != exact.is_sign_negative() {
        return f64::INFINITY;
    }
    // The distance of the numbers around the exact value, a power of two: its exponent is 23 less than the value's. It
    // is the same for all numbers below the normal ones.
    let exponent = (exact.to_bits() >> 52 & 0x7ff).clamp(1023 - 126, 1023 + 127);
    (found as f64 - exact).abs() / f64::from_bits((exponent - 23) << 52)
}
