//! How far functions are from their exact values at every level, over all numbers.

use crate::codegen::tests::*;
use crate::ir::elementwise::{Binary, Unary};

/// Units in the last place between a result and the exact value; infinite where one is NaN, or
/// infinite, and the other is not, and for a zero of the wrong sign.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if found == 0.0 && exact.is_sign_negative() != found.is_sign_negative() {
        return f64::INFINITY;
    }
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

/// Pairs of special numbers, among them whole multiples of each other, and of any numbers, half of which are of sizes
/// from 2⁻⁸ to 2⁸.
fn pairs() -> [Vec<f32>; 2] {
    let special = [0.0, 1.0, 2.0, 3.0, 6.0, 0.5, 1e-45, f32::MIN_POSITIVE, 1e10, f32::MAX, f32::INFINITY, f32::NAN];
    let special = || special.iter().flat_map(|&x| [x, -x]);
    let some = special().flat_map(|x| special().map(move |y| (x, y)));
    let number = |i: u32, factor: u32| {
        let bits = i.wrapping_mul(factor) ^ i.wrapping_mul(factor) >> 15;
        let bits = bits.wrapping_mul(0x2c1b_3c6d);
        f32::from_bits(if i.is_multiple_of(2) {
            bits
        } else {
            bits & !(0xff << 23) | (((bits >> 23) & 0xf) + 119) << 23
        })
    };
    some.chain((0..1 << 18).map(|i| (number(i, 0x9e37_79b9), number(i, 0x85eb_ca6b)))).unzip().into()
}

/// A function of every element of rows.
fn kernel(row: usize, args: usize, lower: impl Fn(&mut Strip, &[Reg]) -> Reg) -> LoopKernel {
    let mut each = Strip::default();
    let load = |i| each.push(Inst::Load(i, Walk::Contiguous, Kind::Float), Kind::Float);
    let x: Vec<Reg> = (0..args).map(load).collect();
    let y = lower(&mut each, &x);
    each.effect(Effect::Store(args, Walk::Contiguous, y));
    let passes = vec![Pass { once: Strip::default(), each }];
    LoopKernel { row, operands: vec![vec![]; args + 1], passes, ..LoopKernel::default() }
}

/// Compares what a function gives at every level, and on a machine that has no instruction for a product and a sum,
/// with exact values; says where it is off by more than a bound.
fn compare(
    name: &str,
    bound: f64,
    lower: impl Fn(&mut Strip, &[Reg]) -> Reg,
    x: &mut [Vec<f32>],
    exact: &[f64],
) -> Result<(), String> {
    let kernel = kernel(exact.len(), x.len(), lower);
    let of_levels =
        levels().map(|level| (format!("{level:?}"), compile(&[&kernel], level).map(|mut all| all.remove(0))));
    let machines = of_levels.chain([("no multiply-add".to_string(), compile_without_fma(&kernel))]);
    for (machine, compiled) in machines {
        let compiled = compiled.map_err(|e| format!("{machine}: {e}"))?;
        let mut y = vec![0f32; exact.len()];
        let operands: Vec<*mut u8> = x.iter_mut().chain([&mut y]).map(|x| x.as_mut_ptr().cast()).collect();
        // SAFETY: all are of the row's length.
        unsafe { compiled.run(operands.as_ptr(), 0, kernel.iterations()) };
        let errors = y.iter().zip(exact).map(|(&y, &exact)| ulps(y, exact));
        let (i, worst) = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
        let at: Vec<f32> = x.iter().map(|x| x[i]).collect();
        println!("{name:<8} {machine} {worst:.2} at {at:?}");
        if worst > bound {
            let (y, exact) = (y[i], exact[i]);
            return Err(format!("{machine}: {name} of {at:?} is {y:e}, not {exact:e}: off by {worst:.2} ulps"));
        }
    }
    Ok(())
}

fn assert_all(found: impl Iterator<Item = Result<(), String>>) {
    let failed: Vec<String> = found.filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn functions_of_one_number() {
    let mut x = [numbers()];
    assert_all(Unary::ALL.iter().map(|&op| {
        let bound = match op {
            Unary::Neg | Unary::Abs | Unary::Sqrt | Unary::Floor => 0.501,
            Unary::Exp | Unary::Exp2 => 2.0,
            _ => 4.0,
        };
        let exact: Vec<f64> = x[0].iter().map(|&x| op.reference(x as f64)).collect();
        compare(op.name(), bound, |s, x| op.lower(s, x[0]), &mut x, &exact)
    }));
}

#[test]
fn functions_of_two_numbers() {
    let mut x = pairs();
    assert_all(Binary::ALL.iter().filter(|op| !matches!(op, Binary::Max | Binary::Min)).map(|&op| {
        let bound = match op {
            Binary::Fmod => 0.0,
            Binary::Pow => 2.0,
            Binary::Atan2 => 4.0,
            _ => 0.501,
        };
        let exact: Vec<f64> = x[0].iter().zip(&x[1]).map(|(&x, &y)| op.reference(x as f64, y as f64)).collect();
        compare(op.name(), bound, |s, x| op.lower(s, x[0], x[1]), &mut x, &exact)
    }));
}
