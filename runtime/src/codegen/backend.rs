//! What made the code of a kernel.

use std::fmt;

use crate::ir::{Fallback, Level};

/// What made the code of a kernel, and how wide its vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The emitter for x86-64, at a level above `Portable`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Emitter(Level),
    /// Cranelift; with the reason, where the level has wider vectors.
    Cranelift(Option<Fallback>),
    /// No code is generated: a function of the runtime.
    Runtime,
}

impl Backend {
    /// Why vectors are narrower than the level has them, if they are.
    pub(crate) fn fallback(self) -> Option<Fallback> {
        match self {
            Backend::Cranelift(fallback) => fallback,
            Backend::Emitter(_) | Backend::Runtime => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Backend::Emitter(level) => format!("x86 {} bits", level.bits()),
            Backend::Cranelift(_) => format!("Cranelift {} bits", Level::Portable.bits()),
            Backend::Runtime => "runtime".into(),
        };
        f.pad(&name)
    }
}
