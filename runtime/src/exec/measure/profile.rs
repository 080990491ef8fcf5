//! What each kernel of a step takes, beside what the machine needs for it at least.

use std::fmt;
use std::time::{Duration, Instant};

use super::machine::Machine;
use crate::error::{Error, Result};
use crate::exec::run::Program;
use crate::exec::{Computation, Model, Step};
use crate::network::Network;
use crate::tensor::Inputs;

/// The kernels of a step with their times, made by [`Step::profile`](crate::Step::profile).
///
/// Printed, it is a table that begins with the kernel that loses most time against its floor; a
/// precision says how many rows are shown: `{profile:.15}`.
#[derive(Clone, Debug)]
pub struct Profile {
    runs: usize,
    time: Duration,
    kernels: Vec<KernelProfile>,
    machine: &'static Machine,
}

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// What the loss is computed with, and what is kept for its gradient on the way. Kernels of a
    /// [`Computation`](crate::Computation) all belong to it.
    Forward,
    /// The gradient of the loss, and what is computed after the loss otherwise.
    Backward,
    /// What is done with the gradient.
    Update,
}

/// One kernel of a [`Profile`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KernelProfile {
    /// The program it belongs to: the loss with its gradient, `norm` or `update`.
    pub program: String,
    /// Its number there, as `explain` counts.
    pub index: usize,
    /// The part of the step that it belongs to.
    pub pass: Pass,
    /// What it is: a loop nest, a product and so on.
    pub kind: String,
    /// What made its code, and the width of its vectors: `x86 512 bits` or `x86 256 bits` for the emitter of this
    /// library, `Cranelift 128 bits`, or `runtime` for a function that is not generated.
    pub backend: String,
    /// Why its vectors are narrower than the level of vector instructions in use has them, if they are.
    pub fallback: Option<String>,
    /// The sizes of its loops; of a product rows, inner dimension and columns.
    pub sizes: String,
    /// The operations that are fused in it.
    pub operations: String,
    /// Why it is not a part of the kernel that computes its latest argument.
    pub refused: Option<String>,
    /// Floating-point operations, a function such as `exp` counted by its instructions.
    pub flops: usize,
    /// Bytes read and written, each element of an operand once.
    pub bytes: usize,
    /// The lowest time of all runs.
    pub time: Duration,
    /// What this machine needs at least: as long as the operations take at the rate of its
    /// multiply-add units, or the bytes at its bandwidth, whichever is more. Both rates are measured.
    pub floor: Duration,
    /// The part of the time of all kernels, from 0 to 1.
    pub share: f64,
}

impl KernelProfile {
    /// The time above the floor.
    pub fn lost(&self) -> Duration {
        self.time.saturating_sub(self.floor)
    }
}

impl<N: Network> Step<N> {
    /// Takes `runs` steps as [`Step::run`] does, with the same results, and times every kernel. The
    /// first profile of a process measures the machine as well, which takes a part of a second.
    ///
    /// The lowest time of a kernel counts, since whatever else runs on the machine makes times longer.
    ///
    /// # Errors
    ///
    /// As [`Step::run`], and [`Error::Setting`] when `runs` is 0.
    ///
    /// ```
    /// use downhill::Pass;
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Line {
    ///     line: Linear<1, 1>,
    /// }
    ///
    /// let mut model = Line::init(0);
    /// let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
    /// let x = Tensor::new([2, 1], [1.0, 2.0])?;
    /// let profile = step.profile(&mut model, (&x, &x), 5)?;
    /// assert_eq!(step.steps(), 5);
    /// assert!(profile.kernels().iter().any(|kernel| kernel.program == "update"));
    /// assert!(profile.pass_time(Pass::Backward) < profile.time());
    /// println!("{profile}");
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn profile(&mut self, model: &mut Model<N>, inputs: impl Inputs + Copy, runs: usize) -> Result<Profile> {
        let mut profile = Profile::new(runs)?;
        let variant = self.variant(model, inputs.all().as_ref())?;
        self.programs(variant).for_each(Program::start_clock);
        let done = profile.measure(|| self.run(model, inputs).map(|_| ()));
        for (number, program) in self.programs(variant).enumerate() {
            profile.stop_clock(program, if number == 0 { Pass::Forward } else { Pass::Update });
        }
        done.map(|()| profile.finish())
    }
}

impl Computation {
    /// Computes the values several times and times every kernel: see [`Step::profile`](crate::Step::profile).
    ///
    /// # Errors
    ///
    /// As [`Computation::run`].
    pub fn profile(&mut self, inputs: impl Inputs + Copy, runs: usize) -> Result<Profile> {
        let mut profile = Profile::new(runs)?;
        self.program.start_clock();
        let done = profile.measure(|| self.run(inputs));
        profile.stop_clock(&mut self.program, Pass::Forward);
        done.map(|()| profile.finish())
    }
}

impl Profile {
    pub(crate) fn new(runs: usize) -> Result<Profile> {
        if runs == 0 {
            return Err(Error::Setting { setting: "runs", expected: "1 or more", found: "0".into() });
        }
        Ok(Profile { runs, time: Duration::MAX, kernels: Vec::new(), machine: Machine::measured()? })
    }

    /// Runs everything that is to be timed.
    pub(crate) fn measure(&mut self, mut run: impl FnMut() -> Result<()>) -> Result<()> {
        for _ in 0..self.runs {
            let start = Instant::now();
            run()?;
            self.time = self.time.min(start.elapsed());
        }
        Ok(())
    }

    /// Ends the timing of a program that begins with this part of a step, and takes its kernels over.
    pub(crate) fn stop_clock(&mut self, program: &mut Program, begins: Pass) {
        let forward = program.forward().unwrap_or(usize::MAX);
        let times = program.stop_clock();
        for (index, ((kernel, backend), time)) in program.kernels().zip(times).enumerate() {
            self.kernels.push(KernelProfile {
                program: program.name().into(),
                index,
                pass: if index < forward { begins } else { Pass::Backward },
                kind: kernel.kind.clone(),
                backend: backend.to_string(),
                fallback: backend.fallback().map(|fallback| fallback.to_string()),
                sizes: kernel.sizes.clone(),
                operations: kernel.operations.clone(),
                refused: kernel.refused(),
                flops: kernel.flops,
                bytes: kernel.bytes,
                time,
                floor: self.machine.floor(kernel.flops, kernel.bytes),
                share: 0.0,
            });
        }
    }

    /// The profile, now that all kernels are there.
    pub(crate) fn finish(mut self) -> Profile {
        let all = self.kernel_time().as_secs_f64();
        for kernel in &mut self.kernels {
            kernel.share = kernel.time.as_secs_f64() / all.max(f64::MIN_POSITIVE);
        }
        self
    }

    /// All kernels in the order in which they run.
    pub fn kernels(&self) -> &[KernelProfile] {
        &self.kernels
    }

    /// The kernels that lose most time against their floor, worst first.
    pub fn worst(&self) -> Vec<&KernelProfile> {
        let mut worst: Vec<_> = self.kernels.iter().collect();
        worst.sort_by_key(|kernel| std::cmp::Reverse(kernel.lost()));
        worst
    }

    /// The lowest time of a whole run, with what is done between kernels.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The time of all kernels together.
    pub fn kernel_time(&self) -> Duration {
        self.kernels.iter().map(|kernel| kernel.time).sum()
    }

    /// The time of all kernels of a part of the step.
    pub fn pass_time(&self, pass: Pass) -> Duration {
        self.kernels.iter().filter(|kernel| kernel.pass == pass).map(|kernel| kernel.time).sum()
    }

    /// The number of runs.
    pub fn runs(&self) -> usize {
        self.runs
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let floor = self.kernels.iter().map(|kernel| kernel.floor).sum();
        writeln!(
            f,
            "{:.1} us, {:.1} us of it in {} kernels, floor {:.1} us; the lowest times of {} runs",
            micros(self.time),
            micros(self.kernel_time()),
            self.kernels.len(),
            micros(floor),
            self.runs
        )?;
        if self.kernels.iter().any(|kernel| kernel.pass != Pass::Forward) {
            let [forward, backward, update] =
                [Pass::Forward, Pass::Backward, Pass::Update].map(|pass| micros(self.pass_time(pass)));
            writeln!(f, "forward {forward:.1} us, backward {backward:.1} us, update {update:.1} us")?;
        }
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "{:>10} {:>7} {:>10} {:>8} {:>10}  {:<22} {:<15} {:<18} sizes, operations",
            "us", "share", "floor us", "x floor", "lost us", "kernel", "kind", "backend"
        )?;
        for kernel in self.worst().into_iter().take(f.precision().unwrap_or(usize::MAX)) {
            let [time, floor, lost] = [kernel.time, kernel.floor, kernel.lost()].map(micros);
            write!(
                f,
                "{time:>10.2} {:>6.1}% {floor:>10.2} {:>8.1} {lost:>10.2}  {:<22} {:<15} {:<18} {}: {}",
                100.0 * kernel.share,
                time / floor,
                format!("{} {}", kernel.program, kernel.index),
                kernel.kind,
                kernel.backend,
                kernel.sizes,
                kernel.operations
            )?;
            for why in kernel.refused.iter().chain(&kernel.fallback) {
                write!(f, "  ({why})")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
