//! How far functions of one number are from their exact values, over all 2³² numbers: the largest error in units
//! in the last place and where it is. What is more than the README promises is an error.
//!
//! ```sh
//! cargo run --release --example accuracy              # all functions; half an hour of one core each
//! cargo run --release --example accuracy -- sin erfc  # some
//! ```
//!
//! `DOWNHILL_SIMD` says with which vectors.
//!
//! With AVX2, numbers of sizes from 10⁻⁴ to 150, where most functions vary, gave: exp 0.97, log 0.97, tanh 2.61,
//! sigmoid 3.44, erf 1.27, sin 1.49, cos 1.82, expm1 1.46, log1p 2.47, erfc 3.58, tan 3.42, asin 2.36, acos 1.28, atan
//! 2.80, sinh 2.38, cosh 1.35, asinh 2.95, acosh 3.12, exp2 0.91; angles up to 1.2 · 10⁵: sin 1.53, cos 1.82.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use downhill::ops::elementwise::Unary;
use downhill::prelude::*;
use downhill::shape::DType;

/// How many numbers are computed at once.
const BLOCK: u32 = 1 << 16;

/// The largest error, and for which number.
#[derive(Clone, Copy)]
struct Worst {
    ulps: f64,
    at: f32,
}

fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for name in &names {
        if Unary::ALL.iter().all(|op| op.name() != name) {
            bail!("{name}: expected one of {}", Unary::ALL.iter().map(|op| op.name()).collect::<Vec<_>>().join(", "));
        }
    }
    downhill::set_threads(1);
    println!("| function | largest error, ulps | at |\n|---|---|---|");
    let mut failed = Vec::new();
    for &op in Unary::ALL.iter().filter(|op| names.is_empty() || names.iter().any(|name| name == op.name())) {
        let worst = of_all_numbers(op)?;
        println!("| {} | {:.2} | {:e} |", op.name(), worst.ulps, worst.at);
        if worst.ulps > promised(op) {
            failed.push(op.name());
        }
    }
    if !failed.is_empty() {
        bail!("more than promised: {}", failed.join(", "));
    }
    Ok(())
}

/// The largest error that a function may have.
fn promised(op: Unary) -> f64 {
    match op {
        Unary::Neg | Unary::Abs | Unary::Floor => 0.0,
        Unary::Sqrt => 0.5,
        Unary::Exp | Unary::Exp2 => 2.0,
        _ => 4.0,
    }
}

/// The exact value, by the system's functions or, for what it has none for, those of `libm`.
fn exact(op: Unary) -> fn(f64) -> f64 {
    match op {
        Unary::Neg => |x| -x,
        Unary::Abs => f64::abs,
        Unary::Exp => f64::exp,
        Unary::Log => f64::ln,
        Unary::Sqrt => f64::sqrt,
        Unary::Tanh => f64::tanh,
        Unary::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        Unary::Erf => libm::erf,
        Unary::Sin => f64::sin,
        Unary::Cos => f64::cos,
        Unary::Expm1 => f64::exp_m1,
        Unary::Log1p => f64::ln_1p,
        Unary::Erfc => libm::erfc,
        Unary::Tan => f64::tan,
        Unary::Asin => f64::asin,
        Unary::Acos => f64::acos,
        Unary::Atan => f64::atan,
        Unary::Sinh => f64::sinh,
        Unary::Cosh => f64::cosh,
        Unary::Asinh => libm::asinh,
        Unary::Acosh => libm::acosh,
        Unary::Atanh => libm::atanh,
        Unary::Floor => f64::floor,
        Unary::Exp2 => f64::exp2,
    }
}

/// The largest error of a function, each core with blocks of its own.
fn of_all_numbers(op: Unary) -> Result<Worst> {
    let next = AtomicU32::new(0);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let found: Vec<Result<Worst>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| of_blocks(op, &next))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    let mut worst = Worst { ulps: 0.0, at: 0.0 };
    for one in found {
        worst = worse(worst, one?);
    }
    Ok(worst)
}

/// The largest error in the blocks that no other core has taken.
fn of_blocks(op: Unary, next: &AtomicU32) -> Result<Worst> {
    let mut g = Stage::new();
    let x = g.input(0, &[BLOCK as usize], DType::F32);
    let y = g.unary(op, x);
    let mut function = g.compile(&[Value::Var(y)])?;
    let exact = exact(op);
    let mut worst = Worst { ulps: 0.0, at: 0.0 };
    loop {
        let block = next.fetch_add(1, Ordering::Relaxed);
        if block > u32::MAX / BLOCK {
            return Ok(worst);
        }
        let x: Vec<f32> = (0..BLOCK).map(|i| f32::from_bits(block * BLOCK + i)).collect();
        let x = Tensor::new([BLOCK as usize], x)?;
        function.run(&x)?;
        for (&x, &y) in x.data().iter().zip(function.data(0)?) {
            worst = worse(worst, Worst { ulps: ulps(y, exact(x as f64)), at: x });
        }
    }
}

fn worse(a: Worst, b: Worst) -> Worst {
    if b.ulps > a.ulps { b } else { a }
}

/// Units in the last place between a result and the exact value; infinite where one is NaN, or infinite, and the
/// other is not.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found == rounded && rounded.is_infinite() || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if !found.is_finite() || !exact.is_finite() {
        return f64::INFINITY;
    }
    // The distance of the numbers around the exact value; it is the same for all below the normal ones.
    let exponent = (exact.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let unit = 2f64.powi(exponent.clamp(-126, 127) - 23);
    (found as f64 - exact).abs() / unit
}
