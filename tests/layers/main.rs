//! Layers and networks: what they compute, and what a network function may be written with.

#[path = "../common/close.rs"]
mod close;
#[path = "../common/mod.rs"]
mod common;

mod accepted;
mod attention;
mod batch_norm;
mod checkpoint;
mod composition;
mod dropout;
mod init;
mod language;
mod loops;
mod loss_shapes;
mod recurrent;
mod state;
mod targets;
