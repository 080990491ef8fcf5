//! Batch normalisation: gradients, running statistics against plain sums, and networks with it.

use std::fs;

use crate::common::{check_network_in, noise, numbers};
use downhill::network::{Function, Layer, Network};
use downhill::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A normalisation behind parameters, so that the gradient of its input is seen as well.
#[network]
struct Features {
    #[init(zeros)]
    shift: Param<4, 3>,
    norm: BatchNorm1d<3>,
}

#[network]
impl Features {
    fn forward(&self, x: Tensor<4, 3>) -> Tensor<4, 3> {
        let y = self.norm(x + self.shift);
        y * y * y
    }
}

#[network]
struct Sequences {
    #[init(zeros)]
    shift: Param<2, 3, 4>,
    #[layer(affine = false)]
    norm: BatchNorm1d<3>,
}

#[network]
impl Sequences {
    fn forward(&self, x: Tensor<2, 3, 4>) -> Tensor<2, 3, 4> {
        let y = self.norm(x + self.shift);
        y * y * y
    }
}

#[network]
struct Images {
    #[init(zeros)]
    shift: Param<2, 3, 2, 2>,
    norm: BatchNorm2d<3>,
}

#[network]
impl Images {
    fn forward(&self, x: Tensor<2, 3, 2, 2>) -> Tensor<2, 3, 2, 2> {
        let y = self.norm(x + self.shift);
        y * y * y
    }
}

#[test]
fn gradients() {
    for training in [true, false] {
        let x = |shape: &[usize]| [numbers(7, shape, -2.0, 2.0)];
        check_network_in(training, <Features as Layer>::NET, Features::forward, &x(&[4, 3]));
        check_network_in(training, <Sequences as Layer>::NET, Sequences::forward, &x(&[2, 3, 4]));
        check_network_in(training, <Images as Layer>::NET, Images::forward, &x(&[2, 3, 2, 2]));
    }
}

/// One normalisation alone, with a loss that leaves its weight and bias as they are.
macro_rules! alone {
    ($name:ident, $norm:ident) => {
        #[network]
        struct $name {
            #[layer(momentum = 0.3)]
            norm: $norm<3>,
        }

        #[network]
        impl $name {
            fn forward(&self, x: Tensor) -> Tensor {
                self.norm(x)
            }

            fn loss(&self, x: Tensor) -> Tensor {
                mean(self.forward(x))
            }
        }
    };
}

alone!(One, BatchNorm1d);
alone!(Two, BatchNorm2d);

/// Trains on batches of this shape and compares with running statistics in double precision.
fn follows<N: downhill::network::Forward>(
    mut model: Model<N>,
    loss: Function<N>,
    shape: &[usize],
) -> downhill::Result<()> {
    let (channels, inner): (usize, usize) = (shape[1], shape[2..].iter().product());
    let channel = |i: usize| i / inner % channels;
    let (mut mean, mut var) = (vec![0.0; channels], vec![1.0; channels]);
    let mut step = Step::new(&model, loss, Sgd::new(0.0))?;
    for n in 0..5 {
        let data: Vec<f32> = noise(n, shape.iter().product()).into_iter().map(|x| (3.0 * x + 1.0) as f32).collect();
        for c in 0..channels {
            let values: Vec<f64> =
                data.iter().enumerate().filter(|(i, _)| channel(*i) == c).map(|(_, &x)| x as f64).collect();
            let count = values.len() as f64;
            let of_batch = values.iter().sum::<f64>() / count;
            let squares = values.iter().map(|x| (x - of_batch).powi(2)).sum::<f64>();
            mean[c] = 0.7 * mean[c] + 0.3 * of_batch;
            var[c] = 0.7 * var[c] + 0.3 * squares / (count - 1.0);
        }
        step.run(&mut model, &Tensor::new(shape, data)?)?;
    }
    let close = |found: &[f32], expected: &[f64]| {
        for (found, expected) in found.iter().zip(expected) {
            assert!((*found as f64 - expected).abs() < 1e-5, "{found}, expected {expected}");
        }
    };
    close(model.get("norm.running_mean")?.data(), &mean);
    close(model.get("norm.running_var")?.data(), &var);
    assert_eq!(model.get("norm.num_batches_tracked")?.item()?, 5.0);
    // Evaluation uses them, for any batch.
    let shape: Vec<usize> = std::iter::once(1).chain(shape[1..].iter().copied()).collect();
    let x: Vec<f32> = noise(9, shape.iter().product()).into_iter().map(|x| x as f32).collect();
    let expected: Vec<f64> =
        x.iter().enumerate().map(|(i, &x)| (x as f64 - mean[channel(i)]) / (var[channel(i)] + 1e-5).sqrt()).collect();
    close(model.forward(&Tensor::new(shape, x)?)?.data(), &expected);
    Ok(())
}

#[test]
fn running_statistics() -> downhill::Result<()> {
    follows(One::init(0), One::loss, &[6, 3])?;
    follows(One::init(0), One::loss, &[2, 3, 5])?;
    follows(Two::init(0), Two::loss, &[2, 3, 4, 5])
}

#[test]
fn one_value_a_channel_cannot_be_trained_on() -> downhill::Result<()> {
    let mut model = One::init(0);
    let mut step = Step::new(&model, One::loss, Sgd::new(0.1))?;
    let x = Tensor::new([1, 3], [1.0, 2.0, 3.0])?;
    let error = step.run(&mut model, &x).unwrap_err().to_string();
    assert_eq!(error, "One::loss: batch normalisation: expected more than one value a channel while training");
    assert_eq!(model.forward(&x)?.shape(), [1, 3]);
    let error = model.forward(&Tensor::new([2, 4], vec![0.0; 8])?).unwrap_err().to_string();
    assert!(error.contains("expected [2, 3, M], found [2, 4, 1]"), "{error}");
    Ok(())
}

/// A layer on a parameter, in a loss whose gradient by the result is what is given.
macro_rules! golden {
    ($name:ident, $norm:ident<$c:literal>, $($size:literal)*) => {
        #[network]
        struct $name {
            #[init(zeros)]
            x: Param<$($size),*>,
            norm: $norm<$c>,
        }

        #[network]
        impl $name {
            fn loss(&self, cotangent: Tensor) -> (Tensor, Tensor) {
                let y = self.norm(self.x);
                (sum(y * cotangent), y)
            }
        }
    };
}

golden!(Case0, BatchNorm1d<5>, 5 5 5);
golden!(Case2, BatchNorm1d<1>, 3 1);
golden!(Case4, BatchNorm2d<2>, 3 2 3 4);
golden!(Case6, BatchNorm1d<1>, 2 1);

#[test]
fn pytorch_has_the_same_results_and_gradients() -> downhill::Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ops/nn.functional.batch_norm.safetensors");
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |case: usize, key: &str| {
        let view = file.tensor(&format!("nn.functional.batch_norm/{case}/{key}")).unwrap();
        let data: Vec<f32> = view.data().as_chunks().0.iter().map(|&x| f64::from_le_bytes(x) as f32).collect();
        Tensor::new(view.shape(), data).unwrap()
    };
    fn run<N: Network>(
        net: N,
        loss: Function<N>,
        training: bool,
        read: &dyn Fn(&str) -> Tensor,
    ) -> downhill::Result<()> {
        let mut model = Model::new(net, 0);
        let names = ["x", "norm.running_mean", "norm.running_var", "norm.weight", "norm.bias"];
        for (name, key) in names.into_iter().zip(["in", "arg0", "arg1", "arg2", "arg3"]) {
            model.set(name, &read(key))?;
        }
        let close = |what: &str, found: &Tensor, expected: Tensor| {
            assert_eq!(found.shape(), expected.shape(), "{what}");
            for (a, b) in found.data().iter().zip(expected.data()) {
                assert!((a - b).abs() <= 1e-4 * b.abs() + 2e-5, "{} {what}: {a}, PyTorch has {b}", N::NAME);
            }
        };
        let cotangent = read("cot0");
        if !training {
            close("out", &model.call(loss, &cotangent)?[1], read("out0"));
            return Ok(());
        }
        let mut step = Step::new(&model, loss, Sgd::new(0.0))?;
        step.differentiate(&mut model, &cotangent)?;
        close("out", &step.outputs()[0], read("out0"));
        for (name, key) in [("x", "grad_in"), ("norm.weight", "grad_arg2"), ("norm.bias", "grad_arg3")] {
            close(key, &step.grad(name)?, read(key));
        }
        Ok(())
    }
    let mut net = <Case0 as Layer>::NET;
    net.norm = net.norm.eps(0.6);
    run(net, Case0::loss, true, &|key| read(0, key))?;
    run(<Case2 as Layer>::NET, Case2::loss, true, &|key| read(2, key))?;
    let mut net = <Case4 as Layer>::NET;
    net.norm = net.norm.eps(0.5);
    run(net, Case4::loss, false, &|key| read(4, key))?;
    run(<Case6 as Layer>::NET, Case6::loss, true, &|key| read(6, key))?;
    run(<Case6 as Layer>::NET, Case6::loss, false, &|key| read(8, key))
}

/// A small convolutional network, with what is written on its blocks.
macro_rules! model {
    ($name:ident $(#[$attribute:meta])*) => {
        #[network]
        pub struct $name {
            $(#[$attribute])*
            first: Block,
            out: Linear<32, 2>,
        }

        #[network]
        impl $name {
            pub fn forward(&self, x: Tensor<B, 1, 6, 6>) -> Tensor<B, 2> {
                self.out(flatten(max_pool2d(self.first(x), 2, 2, 0, 1, false), 1, -1))
            }

            pub fn loss(&self, x: Tensor<B, 1, 6, 6>, targets: Index<B>) -> Tensor {
                cross_entropy(self.forward(x), targets)
            }

            pub fn accuracy(&self, x: Tensor<B, 1, 6, 6>, targets: Index<B>) -> Tensor {
                accuracy(self.forward(x), targets)
            }
        }
    };
}

#[network]
struct Block {
    #[layer(bias = false)]
    conv: Conv2d<1, 8, 3>,
    norm: BatchNorm2d<8>,
}

#[network]
impl Block {
    fn forward(&self, x: Tensor<B, 1, 6, 6>) -> Tensor {
        relu(self.norm(self.conv(x)))
    }
}

model!(Net);
model!(Again #[checkpoint]);

/// Images with a bright row, or a bright column.
fn images(seed: u64, count: usize) -> (Tensor, Index) {
    let mut x: Vec<f32> = noise(seed, 36 * count).into_iter().map(|x| 1.0 + 0.5 * x as f32).collect();
    let targets: Vec<i32> = (0..count as i32).map(|i| i % 2).collect();
    for i in 0..count {
        for j in 0..6 {
            let at = i / 2 % 6;
            x[36 * i + if i % 2 == 0 { 6 * at + j } else { 6 * j + at }] += 1.0;
        }
    }
    (Tensor::new([count, 1, 6, 6], x).unwrap(), Index::new([count], targets).unwrap())
}

fn trained<N: Network>(mut model: Model<N>, loss: Function<N>) -> downhill::Result<Model<N>> {
    let mut trainer = Trainer::new(&mut model, loss).optimizer(Adam::new(3e-3)).batch_size(16).seed(3);
    trainer.fit(&images(1, 96), &(), Epochs(40))?;
    Ok(model)
}

fn bits<N: Network>(model: &Model<N>) -> Vec<u32> {
    let all = model.params().chain(model.states());
    all.flat_map(|p| model.get(p.name).unwrap().into_data()).map(f32::to_bits).collect()
}

#[test]
fn a_network_learns_with_it() -> downhill::Result<()> {
    let model = trained(Net::init(2), Net::loss)?;
    let (x, targets) = images(5, 60);
    let accuracy = model.call(Net::accuracy, (&x, &targets))?[0].item()?;
    assert!(accuracy > 0.95, "{accuracy}");
    assert_eq!(model.get("first.norm.num_batches_tracked")?.item()?, 240.0);
    assert_eq!(bits(&model), bits(&trained(Net::init(2), Net::loss)?), "the same seed gives other bits");
    assert_eq!(bits(&model), bits(&trained(Again::init(2), Again::loss)?), "a checkpoint gives other bits");
    Ok(())
}

#[test]
fn weights_interchange() -> downhill::Result<()> {
    let path = std::env::temp_dir().join(format!("downhill-batch-norm-{}.safetensors", std::process::id()));
    let model = trained(Net::init(2), Net::loss)?;
    model.save(&path)?;
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<_> = tensors.names().into_iter().map(|name| name.replace("first.norm.", "")).collect();
    names.sort();
    let expected = ["bias", "first.conv.weight", "num_batches_tracked", "out.bias", "out.weight"];
    assert_eq!(names, [&expected[..], &["running_mean", "running_var", "weight"]].concat());
    let mut other = Net::init(9);
    other.load(&path)?;
    assert_eq!(bits(&other), bits(&model));
    // PyTorch's file has the counter as a whole number without axes.
    let count = 1234i64.to_le_bytes();
    let with = |dtype: Dtype, changed: &str| {
        let views = tensors.iter().map(|(name, view)| match name == changed {
            true => (name, TensorView::new(dtype, vec![], &count[..]).unwrap()),
            false => (name, TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap()),
        });
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    with(Dtype::I64, "first.norm.num_batches_tracked");
    other.load(&path)?;
    assert_eq!(other.get("first.norm.num_batches_tracked")?.item()?, 1234.0);
    with(Dtype::U64, "first.norm.num_batches_tracked");
    let error = other.load(&path).unwrap_err().to_string();
    let expected = "`first.norm.num_batches_tracked` is U64 in the file, expected F32, F64, F16, BF16 or I64";
    assert!(error.ends_with(expected), "{error}");
    fs::remove_file(&path).unwrap();
    Ok(())
}
