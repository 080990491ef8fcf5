//! Random programs, valid and invalid ones, staged through the public interface: each is refused or right, at every
//! level, with every value between pages that nobody may touch. None ends the process, panics or hangs.
//!
//! Each way to run them is a process of its own, so that a program that ends it is a failure with a seed. More of
//! them than the few of the test are run by
//!
//! ```sh
//! DOWNHILL_PROGRAMS=100000 cargo test --release --test api programs -- --nocapture
//! ```
//!
//! and those of a seed alone, in this process, by `DOWNHILL_PROGRAM=SEED`.

mod dice;
mod maker;
mod odd;
mod operations;
mod outcome;
mod runs;
mod training;

#[test]
fn random_programs_are_refused_or_right() {
    runs::all("programs::random_programs_are_refused_or_right", outcome::run);
}

#[test]
fn random_steps_are_refused_or_right() {
    runs::all("programs::random_steps_are_refused_or_right", training::run);
}
