//! Steps, update rules, schedules and the trainer.

#[path = "../common/given.rs"]
mod given;

mod batch_weight;
mod determinism;
mod finite;
mod landscape;
mod no_alloc;
mod optim;
mod profile;
mod schedule;
mod settings;
mod trainer;
mod updates;
