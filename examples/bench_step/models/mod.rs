//! The workloads: each is a network, an optimizer and one fixed random batch, or a function alone.

mod elementwise;
mod gpt;
mod lenet;
mod mlp;
mod training;

use anyhow::Result;
use downhill::Profile;

/// What is measured, with everything it works on.
pub trait Bench {
    /// One step: forward, loss, backward and update.
    fn step(&mut self) -> Result<()>;

    /// The loss of the latest step, from before its update.
    fn loss(&self) -> f64;

    /// The loss alone, without gradients.
    fn forward(&mut self) -> Result<()>;

    /// Steps whose kernels are timed one by one.
    fn profile(&mut self, runs: usize) -> Result<Profile>;
}

/// Makes the model and its optimizer; the data is there already.
pub type Build = Box<dyn FnOnce() -> Result<Box<dyn Bench>>>;

/// The names of all workloads.
pub const NAMES: [&str; 8] =
    ["mlp_tiny", "mlp_small", "mlp_wide", "lenet", "chargpt", "gpt2_124m", "elementwise_16k", "elementwise_16m"];

/// Makes the data of a workload; `None` if there is none of this name.
pub fn workload(name: &str) -> Option<Result<Build>> {
    Some(match name {
        "mlp_tiny" => mlp::tiny(),
        "mlp_small" => mlp::small(),
        "mlp_wide" => mlp::wide(),
        "lenet" => lenet::lenet(),
        "chargpt" => gpt::char_gpt(),
        "gpt2_124m" => gpt::gpt2_124m(),
        "elementwise_16k" => elementwise::workload(16 << 10),
        "elementwise_16m" => elementwise::workload(16 << 20),
        _ => return None,
    })
}
