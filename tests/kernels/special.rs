//! Special functions beside values to 40 digits (mpmath 1.3), of the single-precision numbers nearest to those written.

use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;

/// An argument, the inverse error function, and its slope.
const ERFINV: &[[f64; 3]] = &[
    [1.0000000031710769e-30, 8.862269282630517e-31, 0.886226925452758],
    [9.99999993922529e-09, 8.862269200667396e-09, 0.886226925452758],
    [0.0010000000474974513, 0.0008862271995601054, 0.8862276214944615],
    [0.10000000149011612, 0.08885599182530649, 0.8932517255164802],
    [0.30000001192092896, 0.2724627261055238, 0.9545203647591302],
    [0.5, 0.4769362762044699, 1.1125848189719498],
    [0.75, 0.8134198475976185, 1.7174997693674523],
    [0.8999999761581421, 1.1630870719457722, 3.428042159711315],
    [0.9900000095367432, 1.8213866009002777, 24.450897243025604],
    [0.9998999834060669, 2.7510354379032873, 1715.4208841068935],
    [0.9999999403953552, 3.832506856900711, 2120848.008242037],
    [-0.20000000298023224, -0.17914345734858966, 0.9151293484014578],
    [-0.8500000238418579, -1.0179025243802249, 2.497632570728028],
    [-0.9990000128746033, -2.3267563267961546, 198.94188892962987],
];

/// An argument, the logarithm of the gamma function, its slope, and the slope of that.
const GAMMA: &[[f64; 4]] = &[
    [9.999999682655225e-21, 46.051701891615394, -1.0000000317344784e+20, 1.000000063468958e+40],
    [9.999999747378752e-05, 9.210282683897546, -10000.577303804774, 100000006.69711885],
    [0.10000000149011612, 2.252712636201601, -10.423754789263684, 101.43329616778679],
    [0.25, 1.2880225246980774, -4.2274535333762655, 17.19732915450711],
    [0.5, 0.5723649429247001, -1.9635100260214235, 4.934802200544679],
    [0.75, 0.20328095143129538, -1.0858608797864722, 2.5418796476716063],
    [1.0, 0.0, -0.5772156649015329, 1.6449340668482264],
    [1.2000000476837158, -0.0853741037858107, -0.28903983615893547, 1.2673771349455287],
    [1.4616321325302124, -0.12148629053584953, -1.203605254910667e-08, 0.9676722564619307],
    [1.5, -0.12078223763524522, 0.03648997397857652, 0.9348022005446793],
    [2.0, 0.0, 0.42278433509846713, 0.6449340668482264],
    [2.5, 0.2846828704729192, 0.7031566406452432, 0.49035775610023485],
    [3.0, std::f64::consts::LN_2, 0.9227843350984671, 0.39493406684822646],
    [7.300000190734863, 7.147892888817451, 1.9178203636370565, 0.14679576402856495],
    [20.0, 39.339884187199495, 2.970523992242149, 0.05127082293520312],
    [100.5, 361.4355404677776, 4.605174352581845, 0.009999916669583104],
    [10000.0, 82099.71749644238, 9.210290371142849, 0.00010000500016666666],
    [300000000.0, 5555787900.945435, 19.519293030953808, 3.333333338888889e-09],
    [-0.10000000149011612, 2.3689613189525565, 9.24507289817653, 101.92253698401608],
    [-0.5, 1.2655121234846454, 0.03648997397857652, 8.934802200544679],
    [-1.25, 1.3664317612369763, 3.714139120213528, 19.181879647671607],
    [-2.4570248126983643, -1.1287842529645816e-07, 1.515602724349865, 9.716641272611417],
    [-2.75, 0.004487897535955773, -1.959055264977997, 19.433868949488463],
    [-3.9000000953674316, -0.7094672283168928, -8.185100032416395, 103.12971825825393],
    [-10.399999618530273, -14.857719201230454, 3.409882433097002, 10.819895797022298],
    [-100.69999694824219, -365.6122486370948, 2.3346481449625083, 15.069322288049799],
];

/// How an operation is staged.
type Staged = fn(&mut Stage, Value) -> Value;

/// The values of an operation and of its gradient at these numbers, by kernels and by the reference.
fn computed(
    xs: Vec<f32>,
    stage: Staged,
    grad: fn(&mut Stage, Value, Grad) -> Grad,
) -> downhill::Result<[Vec<Vec<f64>>; 2]> {
    let mut g = Stage::new();
    let x: Value = g.input(0, &[xs.len()], DType::F32).into();
    let one = g.fill(1.0, &[xs.len()]);
    let y = stage(&mut g, x);
    let dx = grad(&mut g, x, Some(one)).expect("a gradient");
    let input = Tensor::new([xs.len()], xs)?;
    let kernels = g.compute(&[y, dx.into()], &[Input::from(&input)])?;
    let reference = g.reference(&[y, dx.into()], &[Input::from(&input)])?;
    let kernels = kernels.iter().map(|y| y.data().iter().map(|&y| y.into()).collect()).collect();
    Ok([kernels, reference])
}

fn compare<const N: usize>(
    table: &[[f64; N]],
    column: usize,
    stage: Staged,
    grad: fn(&mut Stage, Value, Grad) -> Grad,
) -> downhill::Result<()> {
    let [kernels, reference] = computed(table.iter().map(|row| row[0] as f32).collect(), stage, grad)?;
    for (i, row) in table.iter().enumerate() {
        for (what, found, relative) in [("kernel", &kernels, 1.5e-7), ("reference", &reference, 1e-12)] {
            let (y, expected) = (found[0][i], row[column]);
            let off = (y - expected).abs();
            assert!(
                off <= relative * expected.abs() + 1e-14 || y == expected as f32 as f64,
                "{what} at {}: {y}, expected {expected}",
                row[0]
            );
        }
        // A slope is made of several operations, each of which is rounded.
        let (slope, expected) = (kernels[1][i], row[column + 1]);
        let fits = (slope - expected).abs() <= 2e-5 * expected.abs() || slope == expected as f32 as f64;
        assert!(fits, "slope at {}: {slope}, expected {expected}", row[0]);
    }
    Ok(())
}

#[test]
fn erfinv_and_its_slope() -> downhill::Result<()> {
    compare(ERFINV, 1, erfinv::stage, erfinv::grad)
}

#[test]
fn lgamma_and_its_slope() -> downhill::Result<()> {
    compare(GAMMA, 1, lgamma::stage, lgamma::grad)
}

#[test]
fn digamma_and_its_slope() -> downhill::Result<()> {
    compare(GAMMA, 2, digamma::stage, digamma::grad)
}

#[test]
fn ends_and_poles() -> downhill::Result<()> {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // As PyTorch has them.
    let cases: [(Staged, &[(f32, f32)]); 3] = [
        (erfinv::stage, &[(1.0, inf), (-1.0, -inf), (1.5, nan), (0.0, 0.0), (-0.0, -0.0), (nan, nan)]),
        (lgamma::stage, &[(0.0, inf), (-1.0, inf), (inf, inf), (-inf, inf), (2.0, 0.0), (nan, nan)]),
        (digamma::stage, &[(0.0, -inf), (-0.0, inf), (-3.0, nan), (inf, inf), (-inf, nan), (nan, nan)]),
    ];
    for (stage, values) in cases {
        let xs: Vec<f32> = values.iter().map(|(x, _)| *x).collect();
        let [kernels, _] = computed(xs, stage, |_, x, _| match x {
            Value::Var(x) => Some(x),
            _ => None,
        })?;
        for (&(x, expected), &found) in values.iter().zip(&kernels[0]) {
            let same = found as f32 == expected && found.is_sign_negative() == expected.is_sign_negative();
            assert!(same || found.is_nan() && expected.is_nan(), "at {x}: {found}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn between_guard_pages() {
    crate::guarded::run_tests_again(module_path!());
}
