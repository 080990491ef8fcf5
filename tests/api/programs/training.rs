//! A step of training of a network whose loss is a random program.

use std::cell::Cell;
use std::collections::HashMap;

use downhill::Input;
use downhill::check::{Check, Type};
use downhill::graph::Var;
use downhill::prelude::*;
use downhill::shape::DType;

use super::dice::Dice;
use super::maker::{Made, Maker, Staged};
use super::odd::{self, OddRule};
use super::operations::Grade;
use super::outcome::Outcome;

const LR: f32 = 0.125;

thread_local! {
    /// The seed of the program at hand, and whether its operation is wrong.
    static SEED: Cell<(u64, bool)> = const { Cell::new((0, false)) };
}

/// A loss that random operations are made of.
#[allow(non_camel_case_types)]
enum random_loss {}

impl random_loss {
    fn stage(g: &mut Stage, w: impl Into<Value>, b: impl Into<Value>, x: impl Into<Value>) -> Value {
        let args = [w.into(), b.into(), x.into()];
        let loss = Loss::new(g, args, None).map_or(Value::Unknown, |loss| Value::Var(loss.out));
        let (seed, wrong) = SEED.get();
        let mut dice = Dice::new(seed ^ 1 << 40);
        if wrong && dice.once_in(2) { odd::value(g, &mut dice, &args) } else { loss }
    }

    fn grad(
        g: &mut Stage,
        w: impl Into<Value>,
        b: impl Into<Value>,
        x: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad) {
        let args = [w.into(), b.into(), x.into()];
        let Some(loss) = Loss::new(g, args, None) else { return (None, None, None) };
        let [dw, db] = loss.grads(g, dout);
        let (seed, wrong) = SEED.get();
        if !wrong {
            return (dw, db, None);
        }
        let mut dice = Dice::new(seed ^ 1 << 41);
        let given: Vec<Value> = [dw, db].into_iter().flatten().map(Value::Var).chain(args).collect();
        let mut grad = |g: &mut Stage| match odd::value(g, &mut dice, &given) {
            Value::Var(v) => Some(v),
            _ => None,
        };
        (grad(g), grad(g), grad(g))
    }

    #[track_caller]
    const fn shape(cx: &mut Check, w: Type, b: Type, x: Type) -> Type {
        let y = matmul::shape(cx, x, w);
        let y = add::shape(cx, y, b);
        sum::shape(cx, y)
    }
}

#[network]
struct Net {
    #[init(uniform(-0.5, 0.5))]
    w: Param<7, 5>,
    #[init(uniform(-0.5, 0.5))]
    b: Param<5>,
}

#[network]
impl Net {
    fn loss(&self, x: Tensor<B, 7>) -> Tensor {
        random_loss(self.w, self.b, x)
    }
}

/// A staged loss.
struct Loss {
    out: Var,
    w: Var,
    b: Var,
    /// The sum of a layer's results, and what other values add to it.
    layer: [Value; 4],
    others: Vec<Value>,
    staged: Vec<Staged>,
}

impl Loss {
    /// The loss of the seed at hand; with `noise` results are changed a little.
    fn new(g: &mut Stage, [w, b, x]: [Value; 3], noise: Option<u64>) -> Option<Loss> {
        let (Value::Var(w), Value::Var(b)) = (w, b) else { return None };
        let product = matmul::stage(g, x, w);
        let y = add::stage(g, product, b);
        let y = tanh::stage(g, y);
        let total = sum::stage(g, y);
        let (Value::Var(x), Value::Var(y)) = (x, y) else { return None };
        let maker = Maker::of(g, SEED.get().0, &[w, b, x, y], noise);
        let (values, staged) = (maker.values, maker.staged);
        // What turns on rounding cannot be compared.
        let counts = |made: &&Made| g[made.var].dtype == DType::F32 && made.grade < Grade::Jumps;
        let others: Vec<Value> = values.iter().rev().filter(counts).take(3).map(|made| Value::Var(made.var)).collect();
        let mut out = total;
        for &other in &others {
            let term = mean::stage(g, other);
            let term = tanh::stage(g, term);
            out = add::stage(g, out, term);
        }
        let Value::Var(out) = out else { return None };
        Some(Loss { out, w, b, layer: [Value::Var(x), product, Value::Var(y), total], others, staged })
    }

    /// The gradients of both parameters, by the rules of all operations.
    fn grads(&self, g: &mut Stage, dout: Grad) -> [Grad; 2] {
        let mut grads: HashMap<Var, Var> = HashMap::new();
        let mut add_to = |g: &mut Stage, to: Value, d: Grad| {
            let (Value::Var(to), Some(d)) = (to, d) else { return };
            let sum = g.add(grads.remove(&to), Some(d));
            grads.extend(sum.map(|sum| (to, sum)));
        };
        for &other in &self.others {
            let term = mean::stage(g, other);
            let d = tanh::grad(g, term, dout);
            let d = mean::grad(g, other, d);
            add_to(g, other, d);
        }
        let [x, product, y, _] = self.layer;
        let d = sum::grad(g, y, dout);
        add_to(g, y, d);
        for step in self.staged.iter().rev() {
            let dout = grads.get(&step.read).copied();
            let found = (step.operation.grad)(g, &step.arguments, dout);
            for (&to, d) in step.arguments.iter().zip(found) {
                // What comes later in the program has been passed already.
                if let (Value::Var(to), Some(d)) = (to, d)
                    && to < step.out
                {
                    let sum = g.add(grads.remove(&to), Some(d));
                    grads.extend(sum.map(|sum| (to, sum)));
                }
            }
        }
        let dy = if let Value::Var(y) = y { grads.get(&y).copied() } else { None };
        let inner = add::stage(g, product, self.b);
        let d = tanh::grad(g, inner, dy);
        let (dproduct, db) = add::grad(g, product, self.b, d);
        let (_, dw) = matmul::grad(g, x, self.w, dproduct);
        [(self.w, dw), (self.b, db)].map(|(v, d)| g.add(grads.get(&v).copied(), d))
    }
}

/// Takes a step, and compares the loss and the parameters with those of the reference.
pub fn run(seed: u64) -> Result<Outcome, String> {
    match seed % 8 {
        0 => Ok(wrong(seed)),
        _ => right(seed),
    }
}

/// Takes steps with an operation or an update rule that is wrong, or with both. They are refused, or do what is said.
fn wrong(seed: u64) -> Outcome {
    let mut dice = Dice::new(!seed);
    let rule = dice.once_in(2);
    SEED.set((seed, !rule || dice.once_in(3)));
    let take = || -> downhill::Result<()> {
        let mut model = Net::init(seed);
        let mut step = match rule {
            true => Step::new(&model, Net::loss, OddRule::new(seed))?,
            false => Step::new(&model, Net::loss, Adam::new(LR))?,
        };
        let x = Tensor::new([3, 7], vec![0.5; 21])?;
        step.run(&mut model, &x)?;
        step.accumulate(&mut model, &x)?;
        step.update(&mut model)?;
        step.clip_norm(1.0)?;
        step.group("b", OddRule::new(seed + 1))?;
        step.run(&mut model, &x)?;
        Ok(())
    };
    if take().is_ok() { Outcome::Unknown } else { Outcome::Refused }
}

/// The loss and the gradients of both parameters.
fn results_of(g: &mut Stage, batch: usize, noise: Option<u64>) -> Result<[Var; 3], String> {
    let shapes: [&[usize]; 3] = [&[7, 5], &[5], &[batch, 7]];
    let args = [0, 1, 2].map(|i| Value::Var(g.input(i, shapes[i], DType::F32)));
    let Some(loss) = Loss::new(g, args, noise) else { return Err(format!("no loss: {:?}", g.error())) };
    let one = g.fill(1.0, &[]);
    match loss.grads(g, Some(one)) {
        [Some(dw), Some(db)] => Ok([loss.out, dw, db]),
        _ => Err("no gradient".into()),
    }
}

fn right(seed: u64) -> Result<Outcome, String> {
    SEED.set((seed, false));
    let mut dice = Dice::new(!seed);
    let batch = 1 + dice.below(9);
    let data: Vec<f32> = (0..7 * batch).map(|_| dice.number() as f32).collect();
    let x = Tensor::new([batch, 7], data).map_err(|e| e.to_string())?;
    let mut model = Net::init(seed);
    let before = ["w", "b"].map(|name| model.get(name).expect("a parameter"));

    let mut g = Stage::new();
    let results = results_of(&mut g, batch, None)?;
    let inputs = [Input::from(&before[0]), Input::from(&before[1]), Input::from(&x)];
    let live: Vec<Value> = {
        let live = g.graph().live(results);
        g.graph().vars().zip(live).filter(|(_, live)| *live).map(|((v, _), _)| Value::Var(v)).collect()
    };
    let known = g.reference(&live, &inputs);
    let tame = |values: &Vec<Vec<f64>>| values.iter().flatten().all(|x| x.abs() < 1e6);
    let tame = known.as_ref().is_ok_and(tame);

    let mut step = Step::new(&model, Net::loss, Sgd::new(LR)).map_err(|e| e.to_string())?;
    let found = match step.run(&mut model, &x) {
        Err(_) => return Ok(Outcome::Refused),
        Ok(_) if !tame => return Ok(Outcome::Unknown),
        Ok(found) => found,
    };
    let expected = g.reference(&results.map(Value::Var), &inputs).map_err(|e| e.to_string())?;
    // Rounding changes results by a part in 10^7; noise of 10^-6 shows how that grows.
    let noisy = (0..4).map(|noise| {
        let mut g = Stage::new();
        let results = results_of(&mut g, batch, Some(noise)).ok()?;
        g.reference(&results.map(Value::Var), &inputs).ok()
    });
    let Some(noisy) = noisy.collect::<Option<Vec<_>>>() else { return Ok(Outcome::Unknown) };
    let spread =
        |i: usize, j: usize| noisy.iter().map(|noisy| (noisy[i][j] - expected[i][j]).abs()).fold(0.0, f64::max);
    let near = |a: f32, b: f64, spread: f64| (a as f64 - b).abs() <= 1e-3 * (1.0 + b.abs()) + 30.0 * spread;
    if !near(found, expected[0][0], spread(0, 0)) {
        return Err(format!("the loss is {found}, the reference has {}", expected[0][0]));
    }
    for (i, name) in ["w", "b"].into_iter().enumerate() {
        let (old, new) = (&before[i], model.get(name).map_err(|e| e.to_string())?);
        for (j, (old, new)) in old.data().iter().zip(new.data()).enumerate() {
            let expected = *old as f64 - LR as f64 * expected[1 + i][j];
            if !near(*new, expected, LR as f64 * spread(1 + i, j)) {
                return Err(format!("element {j} of {name} becomes {new}, the reference has {expected}"));
            }
        }
    }
    Ok(Outcome::Right)
}
