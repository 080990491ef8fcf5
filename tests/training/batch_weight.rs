//! Micro-batches together are one large batch, whatever the loss divides by.

use anyhow::Result;
use downhill::network::Function;
use downhill::prelude::*;
use downhill::train::evaluate;

#[network]
pub struct Net {
    hidden: Linear<2, 4>,
    out: Linear<4, 3>,
}

#[network]
impl Net {
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 3> {
        self.out(tanh(self.hidden(x)))
    }

    fn terms(&self, x: Tensor<B, 2>, t: Index<B>) -> Tensor<B> {
        weighted_cross_entropy_terms(self.forward(x), t, 1.0, -100, 0.0)
    }

    pub fn plain(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        mean(self.terms(x, t) + 0.0 * m)
    }

    pub fn ignored(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        weighted_cross_entropy(self.forward(x), t, 1.0, -100, 0.0) + 0.0 * sum(m)
    }

    pub fn smoothed(&self, x: Tensor<B, 2>, t: Index<B>, _m: Tensor<B>) -> Tensor {
        let weight = 0.5 + float(iota(3));
        weighted_cross_entropy(self.forward(x), t, weight, -100, 0.2)
    }

    pub fn nll(&self, x: Tensor<B, 2>, t: Index<B>, _m: Tensor<B>) -> Tensor {
        let weight = 2.0 - 0.5 * float(iota(3));
        weighted_nll(log_softmax(self.forward(x), -1), t, weight, -100)
    }

    pub fn masked(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        sum(self.terms(x, t) * m) / sum(m)
    }

    /// Its shape is [1, 1], so that the other term is repeated to it.
    pub fn as_a_product(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        matmul(unsqueeze(self.terms(x, t), 0), unsqueeze(m, 1)) / sum(m) + 0.0 * sum(m)
    }

    pub fn reciprocal(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        sum(self.terms(x, t) * m) * (1.0 / sum(m))
    }

    /// Weights that add up to one.
    pub fn normalised(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        let share = m / sum(m);
        sum(share * self.terms(x, t))
    }

    /// Weights whose mean is one.
    pub fn rescaled(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        mean(m / mean(m) * self.terms(x, t))
    }

    pub fn divided_inside(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        2.0 * sum(self.terms(x, t) * m / (B as f32))
    }

    pub fn counted(&self, x: Tensor<B, 2>, t: Index<B>, _m: Tensor<B>) -> Tensor {
        let counts = t >= 0;
        sum(select(counts, self.terms(x, t), 0.0)) / (sum(float(counts)) + 1e-8)
    }

    pub fn guarded(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        sum(self.terms(x, t) * m) / maximum(sum(m), 1.0)
    }

    pub fn selected(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        let count = sum(m);
        select(count > 0.0, sum(self.terms(x, t) * m) / select(count > 0.0, count, 1.0), 0.0)
    }

    pub fn of_means(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        0.5 * (mean(self.terms(x, t) * m) / mean(m))
    }

    pub fn penalised(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        let penalty = sum(self.out.weight * self.out.weight);
        -(0.1 * -penalty - self.masked(x, t, m) / 3.0)
    }

    pub fn same_weight(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        let y = self.forward(x);
        2.0 * self.masked(x, t, m) + sum(sum_axes(y * y, [-1]) * m) / sum(m)
    }

    pub fn of_plain_means(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> Tensor {
        let y = self.forward(x);
        mean(self.terms(x, t) * m) + 0.3 * mean(y * y)
    }

    pub fn with_metric(&self, x: Tensor<B, 2>, t: Index<B>, m: Tensor<B>) -> (Tensor, Tensor, Tensor) {
        let y = self.forward(x);
        let right = float(argmax(y) == t);
        (self.ignored(x, t, m), sum(right * m) / sum(m), mean(right))
    }
}

const LOSSES: [(&str, Function<Net>); 17] = [
    ("plain", Net::plain),
    ("ignored", Net::ignored),
    ("smoothed", Net::smoothed),
    ("nll", Net::nll),
    ("masked", Net::masked),
    ("as_a_product", Net::as_a_product),
    ("reciprocal", Net::reciprocal),
    ("normalised", Net::normalised),
    ("rescaled", Net::rescaled),
    ("divided_inside", Net::divided_inside),
    ("counted", Net::counted),
    ("guarded", Net::guarded),
    ("selected", Net::selected),
    ("of_means", Net::of_means),
    ("penalised", Net::penalised),
    ("same_weight", Net::same_weight),
    ("of_plain_means", Net::of_plain_means),
];

type Data = (Tensor, Index, Tensor);

/// Samples of which the masked ones and those of no class are the same; 4 and 5 are two of them.
fn data(n: usize) -> Data {
    let x: Vec<f32> = (0..2 * n).map(|i| (i as f32 * 0.9).sin() * 2.0).collect();
    let t: Vec<i32> = (0..n as i32).map(|i| if i % 3 == 0 || [4, 5].contains(&i) { -100 } else { i % 2 + 1 }).collect();
    let m: Vec<f32> = t.iter().map(|&t| f32::from(t >= 0)).collect();
    (Tensor::new([n, 2], x).unwrap(), Index::new([n], t).unwrap(), Tensor::new([n], m).unwrap())
}

fn part((x, t, m): &Data, from: usize, to: usize) -> Data {
    let n = to - from;
    let x = Tensor::new([n, 2], &x.data()[2 * from..2 * to]).unwrap();
    let m = Tensor::new([n], &m.data()[from..to]).unwrap();
    (x, Index::new([n], &t.data()[from..to]).unwrap(), m)
}

fn close(name: &str, a: &Model<Net>, b: &Model<Net>) {
    for param in a.params() {
        let (x, y) = (a.get(param.name).unwrap(), b.get(param.name).unwrap());
        for (x, y) in x.data().iter().zip(y.data()) {
            assert!((x - y).abs() < 1e-5, "{name}, {}: {x}, expected {y}", param.name);
        }
    }
}

#[test]
fn micro_batches_of_any_sizes() -> Result<()> {
    let data = data(10);
    for (name, loss) in LOSSES {
        let mut whole = Net::init(3);
        let mut large = Step::new(&whole, loss, Sgd::new(1.0))?;
        let expected = large.run(&mut whole, (&data.0, &data.1, &data.2))?;
        // Samples 3 to 5 are of no class, and so is 9.
        for ends in
            [vec![5, 10], vec![3, 6, 10], vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10], vec![9, 10], vec![3, 4, 6, 7, 10]]
        {
            let mut parts = Net::init(3);
            let mut small = Step::new(&parts, loss, Sgd::new(1.0))?;
            let (mut from, mut sum, mut weight) = (0, 0.0, 0.0);
            for &to in &ends {
                let (x, t, m) = part(&data, from, to);
                let loss = small.accumulate(&mut parts, (&x, &t, &m))?;
                sum += small.weight() * f64::from(loss);
                weight += small.weight();
                from = to;
            }
            small.update(&mut parts)?;
            let found = (sum / weight) as f32;
            assert!((found - expected).abs() < 1e-5, "{name}, {ends:?}: {found}, expected {expected}");
            close(name, &parts, &whole);
        }
    }
    Ok(())
}

#[test]
fn a_trainer_and_its_means() -> Result<()> {
    let data = data(10);
    for (name, loss) in LOSSES {
        for (size, together) in [(4, 3), (3, 4), (1, 10)] {
            let (mut whole, mut parts) = (Net::init(3), Net::init(3));
            let before = evaluate(&whole, loss, &data, 10)?;
            let one = Trainer::new(&mut whole, loss).optimizer(Sgd::new(0.5)).batch_size(10);
            one.progress(false).fit(&data, &(), Epochs(1))?;
            let many = Trainer::new(&mut parts, loss).optimizer(Sgd::new(0.5)).batch_size(size).accumulate(together);
            let report = many.progress(false).fit(&data, &data, Epochs(1))?;
            close(name, &parts, &whole);
            let epoch = report.last().unwrap();
            assert!((epoch.train_loss - before).abs() < 1e-5, "{name}: {}, expected {before}", epoch.train_loss);
            let (after, expected) = (epoch.valid_loss.unwrap(), evaluate(&whole, loss, &data, 10)?);
            assert!((after - expected).abs() < 1e-5, "{name}: {after}, expected {expected}");
        }
    }
    Ok(())
}

/// Each result has a weight of its own.
#[test]
fn metrics_of_a_loss() -> Result<()> {
    let data = data(10);
    let mut model = Net::init(3);
    let whole = model.call(Net::with_metric, (&data.0, &data.1, &data.2))?;
    let trainer = Trainer::new(&mut model, Net::with_metric).optimizer(Sgd::new(0.0)).batch_size(4).accumulate(3);
    let report = trainer.progress(false).fit(&data, &data, Epochs(1))?;
    let epoch = report.last().unwrap();
    for (i, expected) in whole[1..].iter().enumerate() {
        let expected = expected.item()?;
        for found in [epoch.train_metrics[i], epoch.metrics[i]] {
            assert!((found - expected).abs() < 1e-6, "metric {i}: {found}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn where_no_target_counts() -> Result<()> {
    let data = data(10);
    let (x, t, m) = part(&data, 3, 6);
    let mut model = Net::init(3);
    let before = model.get("out.weight")?;
    let mut step = Step::new(&model, Net::ignored, Sgd::new(1.0))?;
    assert_eq!(step.accumulate(&mut model, (&x, &t, &m))?, 0.0);
    assert_eq!(step.weight(), 0.0);
    // Of the large batch it would be 0 / 0 too.
    let error = step.update(&mut model).unwrap_err();
    assert!(matches!(error, downhill::Error::NotFinite { .. }), "{error}");
    assert!(step.run(&mut model, (&x, &t, &m)).is_err());
    assert_eq!(model.get("out.weight")?, before);
    // With a guard it is 0, and so is the gradient.
    let mut step = Step::new(&model, Net::guarded, Sgd::new(1.0))?;
    assert_eq!(step.accumulate(&mut model, (&x, &t, &m))?, 0.0);
    step.update(&mut model)?;
    assert_eq!(model.get("out.weight")?, before);
    // A loss that is not a number for another reason is still refused.
    let mut bad = x.clone();
    bad.data_mut().fill(f32::NAN);
    let mut step = Step::new(&model, Net::ignored, Sgd::new(1.0))?;
    let counted = Index::new([3], [0, 1, -100])?;
    assert!(step.accumulate(&mut model, (&bad, &counted, &m)).is_err());
    Ok(())
}

#[network]
pub struct Scale {
    #[init(ones)]
    w: Param,
}

#[network]
impl Scale {
    /// A mean over all tokens, of which sequences have different numbers.
    fn tokens(&self, x: Tensor<B, T>) -> Tensor {
        let error = x * self.w - 1.0;
        mean(error * error)
    }

    /// No sum over a count.
    fn root(&self, x: Tensor<B, T>) -> Tensor {
        sqrt(self.tokens(x))
    }

    fn with_count(&self, x: Tensor<B, T>) -> (Tensor, Tensor) {
        (sum(x * self.w) / sum(x), sum(x))
    }

    fn learned(&self, x: Tensor<B, T>) -> Tensor {
        sum(x * x) / sum(x * self.w)
    }

    fn mixed(&self, x: Tensor<B, T>) -> Tensor {
        self.tokens(x) + sum(x * self.w) / sum(x * x)
    }
}

#[test]
fn what_a_batch_weighs() -> Result<()> {
    let mut model = Scale::init(0);
    let x = Tensor::new([2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    let mut weight = |loss: Function<Scale>| {
        let mut step = Step::new(&model, loss, Sgd::new(0.0))?;
        step.accumulate(&mut model, &x)?;
        anyhow::Ok(step.weight())
    };
    assert!((weight(Scale::tokens)? - 6.0).abs() < 1e-6);
    let mut step = Step::new(&Scale::init(0), Scale::with_count, Sgd::new(0.0))?;
    step.run(&mut Scale::init(0), &x)?;
    assert_eq!((step.weight(), step.outputs()[0].item()?), (21.0, 21.0));
    // The number of samples, where the loss is none of these.
    assert_eq!(weight(Scale::root)?, 2.0);
    assert_eq!(weight(Scale::learned)?, 2.0);
    assert_eq!(weight(Scale::mixed)?, 2.0);
    Ok(())
}
