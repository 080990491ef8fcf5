//! Hashes of what nodes compute, equal for equal computations in different scopes.

use std::hash::{Hash, Hasher};

use super::Node;

/// The hash of what a node computes, from the hashes `of` the nodes before it.
pub(crate) fn structure(node: &Node, of: &[u64]) -> u64 {
    let mut args: Vec<u64> = node.args.iter().map(|arg| of[arg.index()]).collect();
    if node.op.facts().commutes {
        args.sort_unstable(); // in the graph, arguments that commute are ordered by their numbers
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    (&node.op, args, &node.shape, node.dtype).hash(&mut hasher);
    hasher.finish()
}

/// The hash FNV-1a.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
