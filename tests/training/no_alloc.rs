//! What allocates nothing. Each test is alone in a process of its own: another thread would be counted too.

mod counting;
mod settings;
mod state;
mod step;
mod trainer;
