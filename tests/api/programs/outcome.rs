//! What becomes of a random program: it is refused, or right.

use downhill::Input;
use downhill::graph::Var;
use downhill::prelude::*;
use downhill::shape::DType;

use super::maker::{Data, Made, Maker};
use super::operations::Grade;

/// Elements that are too many for any memory.
const BEYOND: usize = 1 << 40;
/// Elements that a test has the time for.
const MOST: usize = 1 << 16;

/// What became of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Right,
    Refused,
    /// It ran, but its values are beyond what single precision tells, or turn on rounding.
    Unknown,
    /// It would take too long.
    Skipped,
}

/// Computes the program of a seed, and compares with the reference.
pub fn run(seed: u64) -> Result<Outcome, String> {
    let mut g = Stage::new();
    let mut maker = Maker::new(&mut g, seed, None);
    let roots = maker.roots();
    let vars: Vec<Var> = roots.iter().map(|made| made.var).collect();
    let values: Vec<Value> = vars.iter().copied().map(Value::Var).collect();
    let inputs = inputs(&maker);
    let largest = maker.g.graph().nodes().iter().map(|node| len(&node.shape)).max().unwrap_or(0);
    if (MOST..BEYOND).contains(&largest) {
        return Ok(Outcome::Skipped);
    }
    let computed = maker.g.compute(&values, &inputs);
    let compiled = maker.g.compile(&values).and_then(|mut computation| {
        computation.run(&inputs[..])?;
        (0..values.len()).map(|i| computation.tensor(i)).collect::<downhill::Result<Vec<Tensor>>>()
    });
    let expected = maker.g.reference(&values, &inputs);
    for result in [computed.as_ref().err(), compiled.as_ref().err()].into_iter().flatten() {
        if let downhill::Error::Compile { .. } = result {
            return Err(format!("admitted, but: {result}"));
        }
    }
    let (Ok(computed), Ok(expected)) = (&computed, &expected) else {
        return match (&computed, &compiled, &expected) {
            (Ok(_), _, Err(e)) | (_, Ok(_), Err(e)) if roots.iter().all(|made| made.grade < Grade::Jumps) => {
                Err(format!("computed, but the reference says: {e}"))
            }
            (Ok(_), _, Err(_)) => Ok(Outcome::Unknown),
            _ => Ok(Outcome::Refused),
        };
    };
    if let Ok(compiled) = &compiled
        && compiled.iter().zip(computed).any(|(a, b)| bits(a) != bits(b))
    {
        return Err("two runs of the same program differ".into());
    }
    let Some(scale) = scale(&maker, &vars, &inputs) else { return Ok(Outcome::Unknown) };
    let Some(noisy) = noisy(seed) else { return Ok(Outcome::Unknown) };
    // A value of another graph may stand for another one where there are more of them.
    let alike = |noisy: &Vec<Vec<f64>>| noisy.iter().zip(expected.iter()).all(|(a, b)| a.len() == b.len());
    if !noisy.iter().all(|noisy| noisy.len() == expected.len() && alike(noisy)) {
        return Ok(Outcome::Unknown);
    }
    let mut outcome = Outcome::Unknown;
    for (i, made) in roots.iter().enumerate() {
        let tolerance = match made.grade {
            Grade::Exact if scale.exact => 0.0,
            Grade::Smooth => 2e-5,
            _ => continue,
        };
        outcome = Outcome::Right;
        for (j, (&a, &b)) in computed[i].data().iter().zip(&expected[i]).enumerate() {
            // Rounding changes results by a part in 10^7, of what is added up too; noise of 10^-6 shows how that grows.
            let spread = noisy.iter().map(|noisy| (noisy[i][j] - b).abs()).fold(0f64, f64::max);
            // What becomes infinite by noise may be the product of infinity and zero on the way.
            let unsure = noisy.iter().any(|noisy| !noisy[i][j].is_finite());
            let bound = tolerance * (b.abs() + 0.1 * scale.largest) + if tolerance > 0.0 { 30.0 * spread } else { 0.0 };
            let same = a.is_nan() && b.is_nan() || (a as f64 - b).abs() <= bound;
            if !same && !unsure {
                return Err(format!("value {i}, element {j} is {a}, the reference has {b} (up to {spread} by noise)"));
            }
        }
    }
    Ok(outcome)
}

/// The nodes of the program of a seed.
pub fn describe(seed: u64) {
    let mut g = Stage::new();
    let mut maker = Maker::new(&mut g, seed, None);
    let roots: Vec<Var> = maker.roots().into_iter().map(|made| made.var).collect();
    let live = maker.g.graph().live(roots.iter().copied());
    for ((v, node), _) in maker.g.graph().vars().zip(live).filter(|(_, live)| *live) {
        println!("{v:?} = {:?} of {:?}: {} {:?}", node.op, node.args, node.dtype.name(), node.shape);
    }
    println!("results {roots:?}");
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.data().iter().map(|x| x.to_bits()).collect()
}

/// The number of elements, or more than any memory holds.
fn len(shape: &[usize]) -> usize {
    match shape.contains(&0) {
        true => 0,
        false => shape.iter().fold(1, |len: usize, &size| len.saturating_mul(size)),
    }
}

fn inputs<'m>(maker: &'m Maker<'_>) -> Vec<Input<'m>> {
    fn input(data: &Data) -> Input<'_> {
        match data {
            Data::Numbers(x) => Input::from(x),
            Data::Indices(x) => Input::from(x),
        }
    }
    maker.inputs.iter().map(input).collect()
}

/// How large the values on the way are.
struct Scale {
    /// Whole numbers are exact in single precision, their sums too.
    exact: bool,
    largest: f64,
}

/// `None` where a value on the way is too large or too small for single precision.
fn scale(maker: &Maker<'_>, roots: &[Var], inputs: &[Input<'_>]) -> Option<Scale> {
    let graph = maker.g.graph();
    let live = graph.live(roots.iter().copied());
    let on_the_way: Vec<(Var, DType, usize)> = graph
        .vars()
        .zip(live)
        .filter(|(_, live)| *live)
        .map(|((v, node), _)| (v, node.dtype, node.shape.iter().product()))
        .collect();
    let values: Vec<Value> = on_the_way.iter().map(|(v, ..)| Value::Var(*v)).collect();
    let found = maker.g.reference(&values, inputs).ok()?;
    let mut scale = Scale { exact: true, largest: 0.0 };
    let longest = on_the_way.iter().map(|(.., len)| *len).max().unwrap_or(1).max(1) as f64;
    for (value, (_, dtype, _)) in found.iter().zip(&on_the_way) {
        for x in value {
            let size = x.abs();
            let tiny = *dtype == DType::F32 && size > 0.0 && size < 1e-25;
            if x.is_infinite() || size > 1e25 || *dtype == DType::I32 && size > 1e9 || tiny {
                return None;
            }
            scale.largest = scale.largest.max(size);
            scale.exact &= x.fract() == 0.0 && size * longest < (1 << 24) as f64;
        }
    }
    Some(scale)
}

/// The values of the same program whose results are changed a little, several times; `None` where it is refused then.
fn noisy(seed: u64) -> Option<Vec<Vec<Vec<f64>>>> {
    let mut all = Vec::new();
    for noise in 0..4 {
        let mut g = Stage::new();
        let mut maker = Maker::new(&mut g, seed, Some(noise));
        let values: Vec<Value> = maker.roots().iter().map(|Made { var, .. }| Value::Var(*var)).collect();
        let found = maker.g.reference(&values, &inputs(&maker));
        all.push(found.ok()?);
    }
    Some(all)
}
