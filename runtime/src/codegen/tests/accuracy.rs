//! How far functions are from their exact values at every level, over all numbers.

use super::*;
use crate::ops::elementwise::Unary;

/// Units in the last place between a result and the exact value; infinite where one is NaN, or
/// infinite, and the other is not.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found == rounded || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if !found.is_finite() || !exact.is_finite() {
        return f64::INFINITY;
    }
    // The results of an overflow may be the largest number.
    let unit = rounded.abs().clamp(f32::MIN_POSITIVE, f32::MAX);
    let unit = unit as f64 - f32::from_bits(unit.to_bits() - 1) as f64;
    (found as f64 - exact).abs() / unit
}

/// Numbers of every exponent and sign, with mantissas spread over their range, and special ones.
fn numbers() -> Vec<f32> {
    let count = 1 << 11;
    let spread = (0..512u32).flat_map(|top| {
        (0..count).map(move |i: u32| f32::from_bits(top << 23 | i.wrapping_mul(0x9e37_79b9).wrapping_add(top) >> 9))
    });
    spread.chain((0..512).map(|top| f32::from_bits(top << 23))).collect()
}

/// What a function gives for numbers.
fn run(level: Level, lower: impl Fn(&mut Strip, Reg) -> Reg, x: &mut [f32]) -> Vec<f32> {
    let mut each = Strip::default();
    let r = each.push(Inst::Load(0, Walk::Contiguous, Kind::Float), Kind::Float);
    let r = lower(&mut each, r);
    each.effect(Effect::Store(1, Walk::Contiguous, r));
    let kernel = LoopKernel {
        row: x.len(),
        operands: vec![vec![], vec![]],
        passes: vec![Pass { once: Strip::default(), each }],
        ..LoopKernel::default()
    };
    let compiled = compile(&[&kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
    let mut y = vec![0f32; x.len()];
    let operands = [x.as_mut_ptr().cast(), y.as_mut_ptr().cast()];
    // SAFETY: both are of the row's length.
    unsafe { compiled.run(operands.as_ptr(), 0, kernel.turns()) };
    y
}

#[test]
fn functions_of_one_number() {
    let mut failed = Vec::new();
    for &op in Unary::ALL {
        let bound = match op {
            Unary::Neg | Unary::Abs | Unary::Sqrt | Unary::Floor => 0.501,
            Unary::Exp | Unary::Exp2 => 2.0,
            _ => 4.0,
        };
        let mut x = numbers();
        let exact: Vec<f64> = x.iter().map(|&x| op.reference(x as f64)).collect();
        for level in levels() {
            let y = run(level, |s, x| op.lower(s, x), &mut x);
            let errors = y.iter().zip(&exact).map(|(&y, &exact)| ulps(y, exact));
            let (i, worst) = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
            println!("{:<8} {level:?} {worst:.2} at {:e}", op.name(), x[i]);
            if worst > bound {
                failed.push(format!(
                    "{level:?}: {}({:e}) is {:e}, not {:e}: off by {worst:.2} units in the last place",
                    op.name(),
                    x[i],
                    y[i],
                    exact[i]
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
