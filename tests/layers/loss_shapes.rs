//! Losses compare elements of one shape: they refuse what would be broadcast, and take constants.

use downhill::graph::Value;
use downhill::prelude::*;
use downhill::shape::DType;

/// A loss of a prediction and a target, its name, and how it is staged.
type Loss = (&'static str, fn(&mut Stage, Value, Value) -> Value);

macro_rules! losses {
    ($($loss:ident $terms:ident $name:literal ($($more:expr),*);)*) => {[$(
        ($name, (|g, x, y| $loss::stage(g, x, y $(, $more)*)) as fn(&mut Stage, Value, Value) -> Value),
        ($name, |g, x, y| $terms::stage(g, x, y $(, $more)*)),
    )*]};
}

const LOSSES: [Loss; 24] = losses! {
    mse mse_terms "mse" ();
    l1 l1_terms "l1" ();
    smooth_l1 smooth_l1_terms "smooth_l1" (1.0);
    huber huber_terms "huber" (1.0);
    bce bce_terms "bce" ();
    bce_with_logits bce_with_logits_terms "bce_with_logits" ();
    weighted_bce_with_logits weighted_bce_with_logits_terms "weighted_bce_with_logits" (1.0, 2.0);
    kl_div kl_div_terms "kl_div" (false);
    poisson_nll poisson_nll_terms "poisson_nll" (true, false, 1e-8);
    hinge_embedding hinge_embedding_terms "hinge_embedding" (1.0);
    hinge hinge_terms "hinge" ();
    soft_margin soft_margin_terms "soft_margin" ();
};

/// Losses of three tensors, or with another rule.
const MORE: [Loss; 11] = [
    ("weighted_bce", |g, x, y| weighted_bce::stage(g, x, 1.0, y)),
    ("bce", |g, x, y| weighted_bce::stage(g, x, y, 1.0)),
    ("kl_div", |g, x, y| kl_div_batchmean::stage(g, x, y, true)),
    ("gaussian_nll", |g, x, y| gaussian_nll::stage(g, x, y, 1.0, false, 1e-6)),
    ("gaussian_nll", |g, x, y| gaussian_nll_terms::stage(g, x, 1.0, y, true, 1e-6)),
    ("margin_ranking", |g, x, y| margin_ranking::stage(g, x, y, 1.0, 0.5)),
    ("margin_ranking", |g, x, y| margin_ranking_terms::stage(g, x, x, y, 0.5)),
    ("cosine_embedding", |g, x, y| cosine_embedding::stage(g, x, y, 1.0, 0.5)),
    ("triplet_margin", |g, x, y| triplet_margin::stage(g, x, y, x, 1.0, 2.0, 1e-6, false)),
    ("triplet_margin", |g, x, y| triplet_margin_terms::stage(g, x, x, y, 1.0, 2.0, 1e-6, true)),
    ("weighted_bce_with_logits", |g, x, y| weighted_bce_with_logits::stage(g, x, x, 1.0, y)),
];

#[test]
fn different_shapes_are_refused_by_name() {
    for (name, loss) in LOSSES.into_iter().chain(MORE) {
        for (x, y) in [(&[3, 1][..], &[3][..]), (&[1], &[3]), (&[2, 3], &[2, 2, 3]), (&[3, 1], &[3, 4])] {
            let mut g = Stage::new();
            let (a, b) = (g.input(0, x, DType::F32), g.input(1, y, DType::F32));
            loss(&mut g, Value::Var(a), Value::Var(b));
            let error = g.error().unwrap_or_else(|| panic!("{name} of {x:?} and {y:?}"));
            assert!(error.starts_with(&format!("{name}: {x:?} and {y:?}")), "{name} of {x:?} and {y:?}: {error}");
        }
    }
}

#[test]
fn equal_shapes_and_constants_are_taken() {
    for (name, loss) in LOSSES.into_iter().chain(MORE) {
        let mut g = Stage::new();
        let (a, b) = (g.input(0, &[3, 2], DType::F32), g.input(1, &[3, 2], DType::F32));
        loss(&mut g, Value::Var(a), Value::Var(b));
        // A cosine needs two vectors.
        let numbers = [Value::Number(0.5), Value::Int(1)].into_iter().filter(|_| name != "cosine_embedding");
        for number in numbers {
            loss(&mut g, Value::Var(a), number);
        }
        assert_eq!(g.error(), None, "{name}");
    }
}

/// Weights for each class broadcast, but add no elements.
#[test]
fn weights_broadcast() -> downhill::Result<()> {
    let mut g = Stage::new();
    let x = g.constant(&Tensor::new([2, 2], [0.0; 4])?);
    let weight = g.constant(&Tensor::new([2], [1.0, 3.0])?);
    let rows = g.constant(&Tensor::new([2, 1], [1.0, 3.0])?);
    for weight in [weight, rows] {
        let y = weighted_bce_with_logits::stage(&mut g, x, x, weight, weight);
        assert!((g.value(y)?.item()? - 2.0 * std::f32::consts::LN_2).abs() < 1e-6);
        gaussian_nll::stage(&mut g, x, x, weight, false, 1e-6);
    }
    assert_eq!(g.error(), None);
    Ok(())
}

/// The label of a pair has the shape of the pairs.
#[test]
fn labels_of_pairs() -> downhill::Result<()> {
    let mut g = Stage::new();
    let x = g.constant(&Tensor::new([3, 2], [1.0; 6])?);
    let label = g.constant(&Tensor::new([3], [1.0; 3])?);
    let y = cosine_embedding_terms::stage(&mut g, x, x, label, 0.0);
    assert_eq!(g.value(y)?.shape(), [3]);
    let column = g.constant(&Tensor::new([3, 1], [1.0; 3])?);
    cosine_embedding_terms::stage(&mut g, x, x, column, 0.0);
    assert!(g.error().is_some_and(|error| error.starts_with("cosine_embedding: [3] and [3, 1]")), "{:?}", g.error());
    Ok(())
}

#[network(sequential, loss = mse)]
struct Line {
    out: Linear<2, 1>,
}

#[network]
impl Line {
    fn constant(&self, x: Tensor<B, 2>) -> Tensor {
        mse(self.out(x), 1.0)
    }
}

#[test]
fn sizes_that_are_known_late_are_compared_late() -> downhill::Result<()> {
    let mut model = Line::init(0);
    let x = Tensor::new([3, 2], [1.0; 6])?;
    let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
    let error = step.run(&mut model, (&x, &Tensor::new([3], [1.0; 3])?)).unwrap_err().to_string();
    assert!(error.contains("mse: [3, 1] and [3] differ"), "{error}");
    step.run(&mut model, (&x, &Tensor::new([3, 1], [1.0; 3])?))?;
    Step::new(&model, Line::constant, Sgd::new(0.1))?.run(&mut model, &x)?;
    Ok(())
}
