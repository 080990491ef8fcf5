//! How parameters start.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};

/// How a parameter starts, written `#[init(normal(0.02))]` on its field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Every element the same number.
    Constant(f32),
    /// Normal around zero with this standard deviation.
    Normal(f32),
    /// Uniform between two bounds.
    Uniform(f32, f32),
    /// Uniform within ±1/√n of zero, n the inputs of one output: what PyTorch's `nn.Linear` and
    /// `nn.Conv2d` do by default (`kaiming_uniform_` with a = √5).
    FanIn(usize),
}

/// Every element zero.
#[allow(non_upper_case_globals)]
pub const zeros: Init = Init::Constant(0.0);

/// Every element one.
#[allow(non_upper_case_globals)]
pub const ones: Init = Init::Constant(1.0);

/// Every element the same number.
pub const fn constant(value: f32) -> Init {
    Init::Constant(value)
}

/// Normal around zero with standard deviation `std`.
pub const fn normal(std: f32) -> Init {
    Init::Normal(std)
}

/// Uniform from `low` to `high`.
pub const fn uniform(low: f32, high: f32) -> Init {
    Init::Uniform(low, high)
}

/// Uniform within ±1/√n of zero, n the inputs of one output.
pub const fn fan_in(n: usize) -> Init {
    Init::FanIn(n)
}

impl Init {
    /// Fills a parameter. Its numbers depend on the seed of the model and on the parameter's place
    /// alone, so that a change to one parameter leaves the others as they were.
    pub(crate) fn fill(self, out: &mut [f32], seed: u64, id: usize) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(id as u64);
        let uniform =
            |low: f32, high: f32, out: &mut [f32], rng: &mut ChaCha8Rng| match Uniform::new_inclusive(low, high) {
                Ok(distribution) => out.fill_with(|| distribution.sample(rng)),
                Err(_) => out.fill(low),
            };
        match self {
            Init::Constant(value) => out.fill(value),
            Init::Normal(std) => match Normal::new(0.0, std) {
                Ok(distribution) => out.fill_with(|| distribution.sample(&mut rng)),
                Err(_) => out.fill(0.0),
            },
            Init::Uniform(low, high) => uniform(low, high, out, &mut rng),
            Init::FanIn(n) => {
                let bound = 1.0 / (n.max(1) as f32).sqrt();
                uniform(-bound, bound, out, &mut rng);
            }
        }
    }
}
