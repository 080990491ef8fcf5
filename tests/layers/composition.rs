//! Networks put together: results behind the loss, several losses of one model, several inputs, tied
//! weights, frozen parts, changing sizes, and networks of another crate.

use crate::common::{check_network, indices, noise, numbers};
use downhill::network::Layer;
use downhill::prelude::*;
use downhill::train::evaluate;
use downhill_zoo::Residual;

fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::new(shape, noise(seed, shape.iter().product()).into_iter().map(|x| x as f32).collect::<Vec<_>>()).unwrap()
}

fn index(seed: u64, shape: &[usize], below: usize) -> Index {
    Index::new(shape, indices(seed, shape, below).data.into_iter().map(|x| x as i32).collect::<Vec<_>>()).unwrap()
}

#[network]
struct Classifier {
    hidden: Linear<4, 8>,
    out: Linear<8, 3>,
}

#[network]
impl Classifier {
    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        self.out(tanh(self.hidden(x)))
    }

    fn plain(&self, x: Tensor<B, 4>, targets: Index<B>) -> Tensor {
        cross_entropy(self.forward(x), targets)
    }

    /// The loss, the share of samples that are right, the classes, and a number that is not to be lowered.
    fn loss(&self, x: Tensor<B, 4>, targets: Index<B>) -> (Tensor, Tensor, Index<B>, Tensor) {
        let logits = self.forward(x);
        let size = sum(self.out.weight * self.out.weight);
        (cross_entropy(logits, targets), accuracy(logits, targets), argmax(logits), size)
    }

    /// Only the second result reaches `out`.
    fn cut(&self, x: Tensor<B, 4>) -> (Tensor, Tensor) {
        (mean(self.hidden(x)), mean(self.forward(x)))
    }
}

fn classes(count: usize) -> (Tensor, Index) {
    let x = tensor(3, &[count, 4]);
    let largest = x.data().chunks(4).map(|x| (0..3).max_by(|&i, &j| x[i].total_cmp(&x[j])).unwrap() as i32);
    let targets = largest.collect::<Vec<_>>();
    (x, Index::new([count], targets).unwrap())
}

#[test]
fn results_behind_the_loss() -> downhill::Result<()> {
    let mut model = Classifier::init(0);
    let mut other = Classifier::init(0);
    let (x, targets) = classes(10);
    let mut step = Step::new(&model, Classifier::loss, Sgd::new(0.5))?;
    let mut plain = Step::new(&other, Classifier::plain, Sgd::new(0.5))?;
    assert!(step.outputs().is_empty());
    for rows in [10, 4, 10] {
        let x = Tensor::new([rows, 4], &x.data()[..4 * rows])?;
        let targets = Index::new([rows], &targets.data()[..rows])?;
        let expected = model.call(Classifier::loss, (&x, &targets))?;
        let loss = step.run(&mut model, (&x, &targets))?;
        assert_eq!(loss, plain.run(&mut other, (&x, &targets))?);
        assert!((loss - expected[0].item()?).abs() < 1e-6);
        let [accuracy, classes, size] = step.outputs() else { panic!("{:?}", step.outputs()) };
        assert_eq!((accuracy, classes), (&expected[1], &expected[2]));
        assert!((size.item()? - expected[3].item()?).abs() < 1e-5);
        let right = classes.data().iter().zip(targets.data()).filter(|(a, b)| **a == **b as f32).count();
        assert!((accuracy.item()? - right as f32 / rows as f32).abs() < 1e-6);
    }
    // Nothing of the other results is in the gradient.
    assert_eq!(model.get("out.weight")?, other.get("out.weight")?);
    Ok(())
}

#[test]
fn the_loss_is_the_first_result() -> downhill::Result<()> {
    let mut model = Classifier::init(0);
    let error = Step::new(&model, Classifier::cut, Sgd::new(0.1))?.run(&mut model, &classes(2).0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Classifier::cut: parameter `out.weight` cannot influence the loss: use it, or remove it"
    );
    Ok(())
}

#[test]
fn a_trainer_reports_the_results_behind_the_loss() -> downhill::Result<()> {
    let (train, valid) = (classes(50), classes(7));
    let mut model = Classifier::init(1);
    let mut trainer = Trainer::new(&mut model, Classifier::loss).optimizer(Sgd::new(0.0)).batch_size(8).progress(false);
    let report = trainer.fit(&train, &valid, Epochs(1))?;
    assert_eq!(report.metrics, ["accuracy", "size"]);
    let epoch = report.last().unwrap();
    let whole = |data: &(Tensor, Index)| model.call(Classifier::loss, (&data.0, &data.1));
    for (found, expected) in [(epoch.train_loss, &epoch.train_metrics), (epoch.valid_loss.unwrap(), &epoch.metrics)]
        .into_iter()
        .zip([whole(&train)?, whole(&valid)?])
    {
        assert!((found.0 - expected[0].item()?).abs() < 1e-5);
        assert!((found.1[0] - expected[1].item()?).abs() < 1e-5);
        assert!((found.1[1] - expected[3].item()?).abs() < 1e-5);
    }
    assert!(report.to_string().contains("train accuracy  train size  valid accuracy  valid size"), "{report}");
    assert_eq!(evaluate(&model, Classifier::loss, &valid, 3)?, evaluate(&model, Classifier::plain, &valid, 3)?);
    Trainer::new(&mut model, Classifier::loss).optimizer(Adam::new(0.02)).fit(&train, &(), Epochs(60))?;
    assert!(model.call(Classifier::loss, (&train.0, &train.1))?[1].item()? > 0.9);
    Ok(())
}

/// A network with two tasks.
#[network]
struct Tasks {
    body: Linear<4, 8>,
    first: Linear<8, 1>,
    second: Linear<8, 3>,
}

#[network]
impl Tasks {
    fn first_loss(&self, x: Tensor<B, 4>, y: Tensor<B, 1>) -> Tensor {
        mse(self.first(relu(self.body(x))), y)
    }

    fn second_loss(&self, x: Tensor<B, 4>, targets: Index<B>) -> Tensor {
        cross_entropy(self.second(relu(self.body(x))), targets)
    }

    /// Both at once, of inputs of several kinds.
    fn both(&self, x: Tensor<B, 4>, y: Tensor<B, 1>, targets: Index<B>, weights: Tensor<2>) -> Tensor {
        let losses = concat([unsqueeze(self.first_loss(x, y), 0), unsqueeze(self.second_loss(x, targets), 0)], 0);
        sum(losses * weights)
    }
}

#[test]
fn several_losses_of_one_model() -> downhill::Result<()> {
    let mut model = Tasks::init(0);
    let (x, targets) = classes(12);
    let y = tensor(5, &[12, 1]);
    let mut first = Step::new(&model, Tasks::first_loss, Sgd::new(0.1))?;
    let error = first.run(&mut model, (&x, &y)).unwrap_err().to_string();
    assert_eq!(error, "Tasks::first_loss: parameter `second.weight` cannot influence the loss: use it, or remove it");
    first.freeze("second.*")?;
    let mut second = Step::new(&model, Tasks::second_loss, Adam::new(0.01))?;
    second.freeze("first.*")?;
    let before = [first.differentiate(&mut model, (&x, &y))?, second.differentiate(&mut model, (&x, &targets))?];
    let kept = model.get("second.weight")?;
    first.run(&mut model, (&x, &y))?;
    assert_eq!(model.get("second.weight")?, kept);
    for _ in 0..100 {
        first.run(&mut model, (&x, &y))?;
        second.run(&mut model, (&x, &targets))?;
    }
    assert_ne!(model.get("second.weight")?, kept);
    let after = [first.differentiate(&mut model, (&x, &y))?, second.differentiate(&mut model, (&x, &targets))?];
    assert!(after[0] < 0.5 * before[0] && after[1] < 0.5 * before[1], "{before:?} {after:?}");
    Ok(())
}

#[test]
fn inputs_of_several_kinds() -> downhill::Result<()> {
    let arguments = [
        numbers(1, &[5, 4], -1.0, 1.0),
        numbers(2, &[5, 1], -1.0, 1.0),
        indices(3, &[5], 3),
        numbers(4, &[2], 0.0, 1.0),
    ];
    check_network(<Tasks as Layer>::NET, Tasks::both, &arguments);
    let mut model = Tasks::init(0);
    let (x, targets) = classes(12);
    let (y, weights) = (tensor(5, &[12, 1]), Tensor::new([2], [0.25, 2.0])?);
    let parts = [model.call(Tasks::first_loss, (&x, &y))?, model.call(Tasks::second_loss, (&x, &targets))?];
    let mut step = Step::new(&model, Tasks::both, Sgd::new(0.1))?;
    let loss = step.run(&mut model, (&x, &y, &targets, &weights))?;
    assert!((loss - 0.25 * parts[0][0].item()? - 2.0 * parts[1][0].item()?).abs() < 1e-5);
    let error = step.run(&mut model, (&x, &y, &y, &weights)).unwrap_err().to_string();
    assert_eq!(error, "Tasks::both: `targets`: expected Index, found Tensor");
    Ok(())
}

const VOCAB: usize = 7;

/// A model whose table is also its head.
#[network]
struct Tied {
    tokens: Embedding<VOCAB, 6>,
    block: Residual<6>,
    norm: LayerNorm<6>,
}

#[network]
impl Tied {
    fn forward(&self, tokens: Index<B, T>) -> Tensor<B, T, VOCAB> {
        let x = self.norm(self.block(self.tokens(tokens)));
        matmul(x, transpose(self.tokens.weight, 0, 1))
    }

    fn loss(&self, tokens: Index<B, T>, targets: Index<B, T>) -> Tensor {
        cross_entropy(self.forward(tokens), targets)
    }
}

#[test]
fn a_table_that_is_also_the_head() -> downhill::Result<()> {
    check_network(<Tied as Layer>::NET, Tied::loss, &[indices(1, &[2, 3], VOCAB), indices(2, &[2, 3], VOCAB)]);
    let mut model = Tied::init(0);
    assert_eq!(model.params().filter(|p| p.shape == [VOCAB, 6]).count(), 1);
    let tokens = index(4, &[3, 5], VOCAB);
    let mut step = Step::new(&model, Tied::loss, Adam::new(0.02))?;
    let first = step.run(&mut model, (&tokens, &tokens))?;
    for _ in 0..50 {
        step.run(&mut model, (&tokens, &tokens))?;
    }
    assert!(step.differentiate(&mut model, (&tokens, &tokens))? < 0.2 * first);
    Ok(())
}

#[test]
fn sizes_that_change_from_step_to_step() -> downhill::Result<()> {
    // One step for all sizes, and a new one for each: the same model comes out.
    let (mut model, mut other) = (Tied::init(2), Tied::init(2));
    let mut step = Step::new(&model, Tied::loss, Sgd::new(0.1))?;
    for (n, shape) in [[2, 3], [5, 3], [2, 8], [2, 3], [1, 1], [5, 3]].into_iter().enumerate() {
        let (tokens, targets) = (index(n as u64, &shape, VOCAB), index(n as u64 + 50, &shape, VOCAB));
        let loss = step.run(&mut model, (&tokens, &targets))?;
        let mut fresh = Step::new(&other, Tied::loss, Sgd::new(0.1))?;
        assert_eq!(loss, fresh.run(&mut other, (&tokens, &targets))?);
        assert_eq!(model.forward(&tokens)?.shape(), [shape[0], shape[1], VOCAB]);
    }
    for param in model.params() {
        assert_eq!(model.get(param.name)?, other.get(param.name)?, "{}", param.name);
    }
    Ok(())
}

#[test]
fn freezing_and_unfreezing() -> downhill::Result<()> {
    let mut model = Tied::init(1);
    let tokens = index(4, &[3, 5], VOCAB);
    let moved = |model: &Model<Tied>, before: &[Tensor]| -> Vec<String> {
        let params = model.params().zip(before);
        params.filter(|(p, before)| model.get(p.name).unwrap() != **before).map(|(p, _)| p.name.to_owned()).collect()
    };
    let all = |model: &Model<Tied>| model.params().map(|p| model.get(p.name).unwrap()).collect::<Vec<_>>();
    let mut step = Step::new(&model, Tied::loss, AdamW::new(0.01))?;
    step.freeze("block.*")?;
    step.freeze("tokens.weight")?;
    let before = all(&model);
    step.run(&mut model, (&tokens, &tokens))?;
    assert_eq!(moved(&model, &before), ["norm.weight", "norm.bias"]);
    step.unfreeze("block.down.*")?;
    let before = all(&model);
    step.run(&mut model, (&tokens, &tokens))?;
    assert_eq!(moved(&model, &before), ["block.down.weight", "block.down.bias", "norm.weight", "norm.bias"]);
    step.unfreeze("*")?;
    let before = all(&model);
    step.run(&mut model, (&tokens, &tokens))?;
    assert_eq!(moved(&model, &before).len(), before.len());
    Ok(())
}

/// Networks of another crate: an array of layers, an operation, and a constant as a size.
#[network]
struct Foreign {
    enter: Linear<3, { downhill_zoo::WIDTH }>,
    #[checkpoint]
    blocks: [Residual<{ downhill_zoo::WIDTH }>; 2],
}

#[network]
impl Foreign {
    fn loss(&self, x: Tensor<B, 3>) -> Tensor {
        let mut x = self.enter(x);
        for block in &self.blocks {
            x = downhill_zoo::swish(block(x));
        }
        mean(x * x)
    }
}

#[test]
fn networks_of_another_crate() -> downhill::Result<()> {
    check_network(<Foreign as Layer>::NET, Foreign::loss, &[numbers(1, &[4, 3], -1.0, 1.0)]);
    let mut model = Foreign::init(0);
    let x = tensor(6, &[9, 3]);
    let mut step = Step::new(&model, Foreign::loss, Adam::new(0.01))?;
    let first = step.run(&mut model, &x)?;
    for _ in 0..50 {
        step.run(&mut model, &x)?;
    }
    assert!(step.differentiate(&mut model, &x)? < 0.5 * first);
    Ok(())
}
