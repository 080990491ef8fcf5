//! How parameters start: PyTorch's default distribution for each layer.

use downhill::prelude::*;

#[network]
struct Net {
    linear: Linear<400, 300>,
    table: Embedding<500, 60>,
    norm: LayerNorm<70>,
    #[init(normal(0.02))]
    normal: Param<100, 100>,
    #[init(uniform(-3.0, 5.0))]
    uniform: Param<10000>,
    #[init(constant(0.5))]
    constant: Param<3, 2>,
}

/// Mean, standard deviation, least and largest element.
fn moments(x: &Tensor) -> (f64, f64, f32, f32) {
    let n = x.data().len() as f64;
    let mean = x.data().iter().map(|&x| x as f64).sum::<f64>() / n;
    let variance = x.data().iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
    let (low, high) = x.data().iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    (mean, variance.sqrt(), low, high)
}

/// A uniform distribution has standard deviation (high - low) / √12, and comes close to its bounds.
#[track_caller]
fn assert_uniform(x: &Tensor, low: f32, high: f32) {
    let (mean, deviation, least, largest) = moments(x);
    let width = (high - low) as f64;
    let tolerance = 5.0 * width / (12.0 * x.data().len() as f64).sqrt();
    assert!((mean - (low + high) as f64 / 2.0).abs() < tolerance, "mean {mean}");
    assert!((deviation / (width / 12f64.sqrt()) - 1.0).abs() < 0.1, "deviation {deviation}");
    assert!(low <= least && largest <= high, "{least} to {largest}");
    assert!((largest - least) as f64 > 0.9 * width, "{least} to {largest}");
}

#[track_caller]
fn assert_normal(x: &Tensor, std: f64) {
    let (mean, deviation, _, largest) = moments(x);
    assert!(mean.abs() < 5.0 * std / (x.data().len() as f64).sqrt(), "mean {mean}");
    assert!((deviation / std - 1.0).abs() < 0.05, "deviation {deviation}");
    assert!(largest as f64 > 3.0 * std, "{largest}");
}

#[test]
fn layers_start_as_in_pytorch() -> downhill::Result<()> {
    let model = Net::init(3);
    // kaiming_uniform with a = √5 is uniform within 1/√(fan in), and so is the bias.
    assert_uniform(&model.get("linear.weight")?, -0.05, 0.05);
    assert_uniform(&model.get("linear.bias")?, -0.05, 0.05);
    assert_normal(&model.get("table.weight")?, 1.0);
    assert!(model.get("norm.weight")?.data().iter().all(|&x| x == 1.0));
    assert!(model.get("norm.bias")?.data().iter().all(|&x| x == 0.0));
    Ok(())
}

#[test]
fn own_parameters_start_as_they_say() -> downhill::Result<()> {
    let model = Net::init(3);
    assert_normal(&model.get("normal")?, 0.02);
    assert_uniform(&model.get("uniform")?, -3.0, 5.0);
    assert!(model.get("constant")?.data().iter().all(|&x| x == 0.5));
    Ok(())
}
