//! States of a network: what a step makes of them, what it does not, and what they leave alone.

use crate::common::{check_network_in, numbers};
use downhill::network::{Function, Layer, Network};
use downhill::prelude::*;

/// Adds up what it sees, and takes it off.
#[network]
pub struct Follow {
    #[init(constant(1.0))]
    total: State<2>,
    #[init(zeros)]
    runs: State,
    #[init(constant(0.5))]
    weight: Param<2>,
}

#[network]
impl Follow {
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = (x - self.total) * self.weight;
        self.total = self.total * 0.5 + sum_axes(x, [0]);
        self.runs += 1.0;
        if training() { y * self.total } else { y }
    }

    pub fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        sum(self.forward(x) * self.forward(x))
    }
}

#[network]
struct Net {
    first: Linear<2, 2>,
    follow: Follow,
    last: Linear<2, 1>,
}

#[network]
impl Net {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 1> {
        let y = self.follow(self.first(x));
        self.last(self.follow(y))
    }

    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        mean(self.forward(x))
    }
}

fn x() -> Tensor {
    Tensor::new([3, 2], [1.0, 2.0, 3.0, -4.0, 5.0, 0.5]).unwrap()
}

fn all<N: Network>(model: &Model<N>) -> Vec<Tensor> {
    model.params().chain(model.states()).map(|p| model.get(p.name).unwrap()).collect()
}

#[test]
fn parameters_and_states_are_told_apart() -> downhill::Result<()> {
    let model = Follow::init(0);
    assert_eq!(model.params().map(|p| p.name).collect::<Vec<_>>(), ["weight"]);
    assert_eq!(model.states().map(|p| (p.name, p.shape)).collect::<Vec<_>>(), [("total", &[2][..]), ("runs", &[])]);
    assert_eq!(model.param_count(), 2);
    let mut step = Step::new(&model, Follow::loss, Sgd::new(0.1))?;
    for error in [step.freeze("total").unwrap_err(), step.group("runs", Sgd::new(1.0)).unwrap_err()] {
        assert!(error.to_string().ends_with("the model has weight"), "{error}");
    }
    assert!(step.grad("total").is_err());
    Ok(())
}

#[test]
fn a_step_updates_and_evaluation_does_not() -> downhill::Result<()> {
    let mut model = Follow::init(0);
    let before = model.forward(&x())?;
    // (1 - 1) / 2 and so on: the state before, and its value is not assigned.
    assert_eq!(before.data(), [0.0, 0.5, 1.0, -2.5, 2.0, -0.25]);
    assert_eq!(model.forward(&x())?, before);
    let mut step = Step::new(&model, Follow::loss, Sgd::new(0.0))?;
    step.differentiate(&mut model, &x())?;
    assert_eq!(model.forward(&x())?, before);
    // Twice in one step, one after the other: 1 → 9.5 → 13.75 and 1 → -1 → -2.
    step.run(&mut model, &x())?;
    assert_eq!(model.get("total")?.data(), [13.75, -2.0]);
    assert_eq!(model.get("runs")?.item()?, 2.0);
    assert_eq!(model.forward(&x())?.data()[0], (1.0 - 13.75) / 2.0);
    Ok(())
}

#[test]
fn the_second_run_of_a_step_builds_on_the_first() -> downhill::Result<()> {
    let mut model = Net::init(3);
    let (x, w, b) = (x(), model.get("first.weight")?, model.get("first.bias")?);
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.0))?;
    step.run(&mut model, &x)?;
    // By hand, in double precision: what goes in the second time was made with the state from before.
    let (mut total, mut runs) = ([1f64; 2], 0.0);
    let mut rows: Vec<[f64; 2]> = (x.data().chunks(2))
        .map(|x| {
            [0, 1].map(|i| b.data()[i] as f64 + (0..2).map(|j| w.data()[2 * i + j] as f64 * x[j] as f64).sum::<f64>())
        })
        .collect();
    for _ in 0..2 {
        let sum = [0, 1].map(|i| rows.iter().map(|row| row[i]).sum::<f64>());
        let seen = [0, 1].map(|i| 0.5 + sum[i]);
        rows.iter_mut().for_each(|row| *row = [0, 1].map(|i| (row[i] - 1.0) * 0.5 * seen[i]));
        total = [0, 1].map(|i| total[i] * 0.5 + sum[i]);
        runs += 1.0;
    }
    let found = model.get("follow.total")?;
    for (found, expected) in found.data().iter().zip(total) {
        assert!((*found as f64 - expected).abs() < 1e-5, "{found}, expected {expected}");
    }
    assert_eq!(model.get("follow.runs")?.item()?, runs as f32);
    Ok(())
}

#[test]
fn gradients_treat_states_as_given() {
    let x = [numbers(1, &[4, 2], -1.0, 1.0)];
    check_network_in(false, <Net as Layer>::NET, Net::loss, &x);
    check_network_in(true, <Branches as Layer>::NET, Branches::loss, &x);
    check_network_in(false, <Scaled as Layer>::NET, Scaled::loss, &x);
    check_network_in(true, <Scaled as Layer>::NET, Scaled::loss, &x);
}

/// Multiplies by what it has just assigned.
#[network]
struct Scaled {
    #[init(ones)]
    scale: State<2>,
    #[init(constant(0.5))]
    weight: Param<2>,
}

#[network]
impl Scaled {
    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        self.scale = self.scale * 2.0 + 0.5;
        sum(tanh(x * self.weight) * self.scale)
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() -> downhill::Result<()> {
    let mut model = Follow::init(0);
    let mut step = Step::new(&model, Follow::loss, Sgd::new(0.1))?;
    step.run(&mut model, &x())?;
    let before = all(&model);
    let bad = Tensor::new([1, 2], [f32::NAN, 1.0])?;
    assert!(step.run(&mut model, &bad).is_err());
    assert!(step.accumulate(&mut model, &bad).is_err());
    assert_eq!(all(&model), before);
    // A norm that overflows where the loss does not is refused too, and leaves the state alone.
    step.clip_norm(1.0)?;
    model.set("weight", &Tensor::new([2], [1e-20, 1e-20])?)?;
    let before = all(&model);
    let large = Tensor::new([1, 2], [1e10, 1e10])?;
    let error = step.run(&mut model, &large).unwrap_err();
    assert!(matches!(error, downhill::Error::NotFiniteGrad { .. }), "{error}");
    assert_eq!(all(&model), before);
    Ok(())
}

#[test]
fn every_micro_batch_updates() -> downhill::Result<()> {
    let mut model = Follow::init(0);
    let mut step = Step::new(&model, Follow::loss, Sgd::new(0.0))?;
    step.accumulate(&mut model, &x())?;
    step.accumulate(&mut model, &Tensor::new([1, 2], [1.0, 1.0])?)?;
    assert_eq!(model.get("runs")?.item()?, 4.0);
    step.update(&mut model)?;
    assert_eq!(model.get("runs")?.item()?, 4.0);
    Ok(())
}

/// Three blocks with a state each, with what is written on them.
macro_rules! model {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        struct $name {
            $(#[$attribute])*
            blocks: [Follow; 3],
        }

        #[network]
        impl $name {
            fn loss(&self, x: Tensor<B, 2>) -> Tensor {
                let mut x = x;
                for block in &self.blocks {
                    x = tanh(block(x));
                    x = x + block(x);
                }
                sum(x * x)
            }
        }
    };
}

model!(Kept);
model!(Again #[checkpoint]);

#[test]
fn what_is_computed_again_updates_once() -> downhill::Result<()> {
    fn bits<N: Network>(mut model: Model<N>, loss: Function<N>) -> downhill::Result<Vec<Vec<f32>>> {
        let mut step = Step::new(&model, loss, Sgd::new(0.01))?;
        for _ in 0..3 {
            step.run(&mut model, &x())?;
        }
        Ok(all(&model).into_iter().map(Tensor::into_data).collect())
    }
    let kept = bits(Kept::init(1), Kept::loss)?;
    assert_eq!(kept, bits(Again::init(1), Again::loss)?);
    assert_eq!(kept.last(), Some(&vec![6.0]));
    Ok(())
}

/// A state that is assigned in branches and loops, and one that is only read.
#[network]
struct Branches {
    #[init(zeros)]
    seen: State<2>,
    #[init(constant(2.0))]
    scale: State<2>,
    lines: [Linear<2, 2>; 3],
    #[option(true)]
    follows: bool,
}

#[network]
impl Branches {
    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        let mut x = x;
        for line in &self.lines {
            x = line(x) * self.scale;
            if self.follows {
                self.seen = self.seen + sum_axes(x, [0]) * 0.0 + 1.0;
            }
        }
        if !training() {
            x = x * 0.0;
        }
        mean(x)
    }
}

#[network]
struct Still {
    #[layer(follows = false)]
    inner: Branches,
}

#[network]
impl Still {
    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        self.inner.loss(x)
    }
}

#[test]
fn assignments_in_loops_and_branches() -> downhill::Result<()> {
    let mut model = Branches::init(0);
    Step::new(&model, Branches::loss, Sgd::new(0.1))?.run(&mut model, &x())?;
    assert_eq!(model.get("seen")?.data(), [3.0, 3.0]);
    assert_eq!(model.get("scale")?.data(), [2.0, 2.0]);
    assert_eq!(model.call(Branches::loss, &x())?[0].item()?, 0.0);
    let mut model = Still::init(0);
    Step::new(&model, Still::loss, Sgd::new(0.1))?.run(&mut model, &x())?;
    assert_eq!(model.get("inner.seen")?.data(), [0.0, 0.0]);
    Ok(())
}

/// An operation that does more while training, by a number and by what it computes.
#[network]
fn louder(x: Tensor) -> Tensor {
    let factor = if training() { 3.0 } else { 1.0 };
    let y = x * factor;
    if !training() { y } else { y + x * x }
}

#[network]
struct Loud {
    #[init(constant(2.0))]
    weight: Param<2>,
}

#[network]
impl Loud {
    fn loss(&self, x: Tensor<2>) -> Tensor {
        sum(louder(self.weight * x))
    }
}

#[test]
fn an_operation_knows_whether_it_is_trained() -> downhill::Result<()> {
    let x = [numbers(1, &[2], -1.0, 1.0)];
    check_network_in(false, <Loud as Layer>::NET, Loud::loss, &x);
    check_network_in(true, <Loud as Layer>::NET, Loud::loss, &x);
    let (mut model, x) = (Loud::init(0), Tensor::new([2], [1.0, 0.5])?);
    assert_eq!(model.call(Loud::loss, &x)?[0].item()?, 3.0);
    let mut step = Step::new(&model, Loud::loss, Sgd::new(0.0))?;
    assert_eq!(step.run(&mut model, &x)?, 3.0 * 3.0 + 5.0);
    assert_eq!(step.grad("weight")?.data(), [7.0, 2.5]);
    Ok(())
}

/// Reads its states behind assignments: one after another, in a loop over networks and one over slices, in a branch,
/// and what others have assigned.
#[network]
struct ReadBack {
    #[init(constant(10.0))]
    count: State,
    #[init(ones)]
    seen: State<2>,
    #[init(constant(0.5))]
    weight: Param<2>,
    lines: [Linear<2, 2>; 2],
    inner: Counter,
    #[option(true)]
    follows: bool,
}

#[network]
impl ReadBack {
    fn loss(&self, x: Tensor<3, 2>) -> (Tensor, Tensor, Tensor<2>, Tensor<3, 2>, Tensor, Tensor) {
        self.count = self.count + 1.0;
        let counted = self.count * 2.0;
        self.count += 1.0;
        let mut y = x;
        for line in &self.lines {
            self.seen = self.seen * 0.5 + sum_axes(y, [0]);
            y = line(y) * self.seen;
        }
        let rows = for row in unbind(y, 0) {
            self.seen = self.seen + row;
            self.seen * row
        };
        if self.follows {
            self.seen = self.seen * 2.0;
        }
        let mut called = self.inner.next();
        called = called + self.inner.next();
        let _ = self.bump();
        (sum(rows * self.weight), counted + self.count, self.seen, rows, called, self.inner.count + self.bumped())
    }

    fn bump(&self) -> Tensor {
        self.count = self.count + 100.0;
        self.count
    }

    fn bumped(&self) -> Tensor {
        self.count + 0.0
    }
}

#[network]
struct Counter {
    #[init(zeros)]
    count: State,
}

#[network]
impl Counter {
    fn next(&self) -> Tensor {
        self.count += 1.0;
        self.count + 0.0
    }
}

#[test]
fn a_state_reads_as_assigned_in_evaluation_too() -> downhill::Result<()> {
    let mut model = ReadBack::init(4);
    let before = all(&model);
    let called = model.call(ReadBack::loss, &x())?;
    assert_eq!(all(&model), before);
    // (11 · 2) + 12; each body that is called sees the state from before.
    assert_eq!(called[1].item()?, 34.0);
    assert_eq!(called[4].item()?, 2.0);
    assert_eq!(called[5].item()?, 10.0);
    let mut step = Step::new(&model, ReadBack::loss, Sgd::new(0.0))?;
    let loss = step.run(&mut model, &x())?;
    assert_eq!(called[0].item()?, loss);
    assert_eq!(called[1..], *step.outputs());
    assert_eq!(model.get("seen")?, called[2]);
    assert_eq!(model.get("inner.count")?.item()?, 2.0);
    assert_eq!(model.get("count")?.item()?, 112.0);
    Ok(())
}

/// A state of a network, made of what is given.
#[network]
struct Watched {
    #[init(ones)]
    weight: Param<2>,
    #[init(zeros)]
    first: State<2>,
    #[init(constant(f32::NEG_INFINITY))]
    largest: State<2>,
    #[init(zeros)]
    last: State,
}

#[network]
impl Watched {
    fn loss(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor {
        self.first = self.first * 0.5 + x;
        self.largest = maximum(self.largest, y);
        self.last += 1.0;
        sum(self.weight * self.weight)
    }
}

/// What a step would make infinite or no number is refused, as a loss is.
#[test]
fn a_state_that_is_no_number_is_refused() -> downhill::Result<()> {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let mut model = Watched::init(0);
    let mut step = Step::new(&model, Watched::loss, Adam::new(0.1))?;
    let good = Tensor::new([2], [1.0, -inf])?;
    // What is infinite from the start may stay so.
    step.run(&mut model, (&Tensor::new([2], [1.0, 2.0])?, &good))?;
    let before = all(&model);
    assert_eq!(model.get("largest")?.data(), [1.0, -inf]);
    let bad = [([1.0, inf], [0.0; 2], "first", "inf"), ([nan, 1.0], [0.0; 2], "first", "NaN")];
    let worse = [([1.0; 2], [inf, 0.0], "largest", "inf"), ([1.0; 2], [0.0, nan], "largest", "NaN")];
    for (x, y, name, value) in bad.into_iter().chain(worse) {
        let (x, y) = (Tensor::new([2], x)?, Tensor::new([2], y)?);
        for error in [step.run(&mut model, (&x, &y)), step.accumulate(&mut model, (&x, &y))] {
            let error = error.unwrap_err().to_string();
            let expected =
                format!("value of `{name}` became {value} at step 2; the step before it was the last one kept");
            assert_eq!(error, expected);
        }
        assert_eq!((all(&model), step.steps()), (before.clone(), 1));
    }
    // The optimizer is as it was, too.
    let mut other = Watched::init(0);
    let mut straight = Step::new(&other, Watched::loss, Adam::new(0.1))?;
    for _ in 0..2 {
        straight.run(&mut other, (&Tensor::new([2], [1.0, 2.0])?, &good))?;
    }
    step.run(&mut model, (&Tensor::new([2], [1.0, 2.0])?, &good))?;
    assert_eq!(all(&model), all(&other));
    Ok(())
}
