//! How far sums of up to a billion positive numbers are off, relative to sums in double precision.
//!
//! ```text
//! cargo run --release --example long_sums
//! DOWNHILL_SIMD=portable cargo run --release --example long_sums -- 1e8
//! ```
//!
//! The largest length is given, or 1e9, which takes 5 GB of memory. Each line is one length: sums and means over all
//! numbers, over rows and over columns, behind a pass over rows, and products over a long inner axis.
//! Ends with an error if a sum is off by more than a millionth, or a product by more than 1e-5.

use downhill::prelude::*;
use downhill::shape::DType;

/// What a sum and a product may be off.
const SUM: f64 = 1e-6;
const PRODUCT: f64 = 1e-5;

/// A value to compute, and what it is in double precision.
struct Case {
    name: &'static str,
    build: fn(&mut Stage, Value) -> Value,
    exact: fn(&Tensor) -> Vec<f64>,
    most: f64,
}

/// The columns of the matrix that is added up.
const COLUMNS: usize = 8;

fn double(x: &Tensor) -> impl Iterator<Item = f64> {
    x.data().iter().map(|&x| f64::from(x))
}

/// Sums of rows or of columns, of a function of the elements.
fn columns(x: &Tensor, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; COLUMNS];
    double(x).enumerate().for_each(|(i, x)| sums[i % COLUMNS] += f(x));
    sums
}

const CASES: [Case; 7] = [
    Case { name: "sum", build: |g, x| sum::stage(g, x), exact: |x| vec![double(x).sum()], most: SUM },
    Case {
        name: "mean of squares",
        build: |g, x| {
            let squares = square::stage(g, x);
            mean::stage(g, squares)
        },
        exact: |x| vec![x.data().iter().map(|x| f64::from(x * x)).sum::<f64>() / x.data().len() as f64],
        most: SUM,
    },
    Case { name: "columns", build: |g, x| sum_axes::stage(g, x, [0]), exact: |x| columns(x, |x| x), most: SUM },
    Case {
        name: "rows",
        build: |g, x| {
            let turned = reshape::stage(g, x, [COLUMNS as isize, -1]);
            sum_axes::stage(g, turned, [1])
        },
        exact: |x| {
            x.data().chunks(x.data().len() / COLUMNS).map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect()
        },
        most: SUM,
    },
    Case {
        name: "largest of each row",
        build: |g, x| {
            let rows = max_axes::stage(g, x, [1]);
            sum::stage(g, rows)
        },
        exact: |x| vec![x.data().chunks(COLUMNS).map(|row| f64::from(row.iter().copied().fold(0.0, f32::max))).sum()],
        most: SUM,
    },
    Case {
        name: "variance",
        build: |g, x| variance::stage(g, x, [0, 1], 0.0),
        exact: |x| {
            let mean = double(x).sum::<f64>() / x.data().len() as f64;
            vec![double(x).map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.data().len() as f64]
        },
        most: SUM,
    },
    Case {
        name: "product",
        build: |g, x| {
            let turned = transpose::stage(g, x, 0, 1);
            let product = matmul::stage(g, turned, x);
            // The diagonal is the squares of the columns.
            let first = slice::stage(g, product, 0, 0, 1);
            slice::stage(g, first, 1, 0, 1)
        },
        exact: |x| vec![columns(x, |x| x * x)[0]],
        most: PRODUCT,
    },
];

fn main() -> anyhow::Result<()> {
    let most: f64 = std::env::args().nth(1).map_or(Ok(1e9), |arg| arg.parse())?;
    let mut worst = Ok(());
    for len in [1e5, 1e6, 1e7, 1e8, 1e9].into_iter().filter(|len| *len <= most) {
        for (what, number) in [("tenths", None), ("hundredths", Some(101))] {
            let rows = len as usize / COLUMNS;
            let number = |i: usize| number.map_or(0.1, |n| (i % n) as f32 / 100.0);
            let x = Tensor::new([rows, COLUMNS], (0..rows * COLUMNS).map(number).collect::<Vec<_>>())?;
            print!("{len:>5.0e} {what:>11}:");
            for Case { name, build, exact, most } in CASES {
                // All tenths are the same distance from their mean, which is a rounding error.
                if (what, name) == ("tenths", "variance") {
                    continue;
                }
                let mut g = Stage::new();
                let input = g.input(0, x.shape(), DType::F32);
                let value = build(&mut g, Value::Var(input));
                let mut program = g.compile(&[value])?;
                program.run(&x)?;
                let errors =
                    program.data(0)?.iter().zip(exact(&x)).map(|(&x, exact)| (f64::from(x) / exact - 1.0).abs());
                let error = errors.fold(0.0, f64::max);
                print!(" {name} {error:.1e}");
                if error.is_nan() || error > most {
                    worst = Err(anyhow::anyhow!("{name} of {len:.0e} {what} is off by {error:.1e}"));
                }
            }
            println!();
        }
    }
    worst
}
