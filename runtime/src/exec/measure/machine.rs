//! What the machine can do: operations and bytes a second, measured.

use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::codegen;
use crate::error::{Error, Result};
use crate::exec::run::Buffer;
use crate::ir::LINE;

/// The rates of one thread of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Floating-point operations a second, of multiply-adds in registers.
    flops: f64,
    /// Bytes that are read and written together, and how many of them a second: few stay in a cache.
    bandwidth: Vec<(usize, f64)>,
}

/// The least and the most bytes for which the rate is measured, and the factor between two of them.
const SMALLEST: usize = 16 << 10;
const LARGEST: usize = 64 << 20;
const FACTOR: usize = 4;

impl Machine {
    /// The rates, measured at the first call.
    pub(crate) fn measured() -> Result<&'static Machine> {
        static MACHINE: OnceLock<Result<Machine, String>> = OnceLock::new();
        let machine = MACHINE.get_or_init(|| Machine::measure().map_err(|error| error.to_string()));
        machine
            .as_ref()
            .map_err(|message| Error::Compile { what: "a measurement of the machine".into(), message: message.clone() })
    }

    fn measure() -> Result<Machine> {
        let sizes = std::iter::successors(Some(SMALLEST), |bytes| Some(bytes * FACTOR));
        let sizes = sizes.take_while(|&bytes| bytes <= LARGEST);
        let bandwidth = sizes.map(|bytes| Ok((bytes, moved(bytes)?))).collect::<Result<_>>()?;
        let (flops, run) = codegen::peak()?;
        Ok(Machine { flops: flops as f64 / best_of(10, run), bandwidth })
    }

    /// The least time for so many operations on so many bytes: the longer one of both. The bytes move at
    /// the rate of the smallest measured number that is not less. A nanosecond is the least that is told.
    pub(crate) fn floor(&self, flops: usize, bytes: usize) -> Duration {
        let found = self.bandwidth.iter().find(|(size, _)| bytes <= *size).or(self.bandwidth.last());
        let moved = found.map_or(0.0, |(_, rate)| bytes as f64 / rate);
        Duration::from_secs_f64(moved.max(flops as f64 / self.flops)).max(Duration::from_nanos(1))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine: {:.0} GFLOP/s; bytes in", self.flops * 1e-9)?;
        for (i, (bytes, rate)) in self.bandwidth.iter().enumerate() {
            write!(f, "{} {} KiB {:.0} GB/s", if i == 0 { "" } else { "," }, bytes >> 10, rate * 1e-9)?;
        }
        Ok(())
    }
}

/// The highest rate in bytes a second at which so many are read or written, half of them each: from one
/// array to another, or within one, as results that take the place of an operand.
fn moved(bytes: usize) -> Result<f64> {
    let len = bytes / 8;
    let what = "measuring the machine";
    let (mut from, mut to) = (Buffer::zeros(len, what)?, Buffer::zeros(len, what)?);
    // Memory that was never written may be no memory yet.
    from.fill(1.0);
    to.fill(1.0);
    let turns = (LARGEST / 8 / bytes).max(1);
    let apart = best_of(10, || (0..turns).for_each(|_| black_box(&mut to[..]).copy_from_slice(black_box(&from))));
    let within = best_of(10, || (0..turns).for_each(|_| black_box(&mut to[..]).copy_within(LINE.., 0)));
    Ok((turns * bytes) as f64 / apart.min(within))
}

/// The lowest time of some runs in seconds.
fn best_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_longer_of_operations_and_bytes() {
        let machine = Machine { flops: 1e9, bandwidth: vec![(1000, 1e9), (4000, 1e8)] };
        assert_eq!(machine.floor(5000, 1000), Duration::from_micros(5));
        assert_eq!(machine.floor(10, 1000), Duration::from_micros(1));
        assert_eq!(machine.floor(10, 2000), Duration::from_micros(20), "past the first cache");
        assert_eq!(machine.floor(10, 8000), Duration::from_micros(80), "past the last size");
    }
}
