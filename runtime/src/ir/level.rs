//! Which vector instructions kernels are made of.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The vector instructions that kernels are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Vectors of four elements by Cranelift.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
}

impl Level {
    /// The best level of this machine.
    pub(crate) fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        Level::Portable
    }

    /// Bits of a vector.
    pub(crate) fn bits(self) -> usize {
        match self {
            Level::Portable => 128,
            Level::Avx2 => 256,
            Level::Avx512 => 512,
        }
    }

    /// The level in use: the best, or the lower one that the environment variable `DOWNHILL_SIMD`
    /// asks for. It is read once.
    ///
    /// # Errors
    ///
    /// When the variable names no level, or one that this machine does not have.
    pub(crate) fn current() -> Result<Level> {
        static LEVEL: OnceLock<Result<Level, String>> = OnceLock::new();
        let level = LEVEL.get_or_init(|| {
            let Ok(name) = std::env::var("DOWNHILL_SIMD") else { return Ok(Level::best()) };
            let level = match name.as_str() {
                "avx512" => Level::Avx512,
                "avx2" => Level::Avx2,
                "portable" => Level::Portable,
                _ => return Err(name),
            };
            if level <= Level::best() { Ok(level) } else { Err(format!("{name}, which this machine does not have")) }
        });
        level.clone().map_err(|found| Error::Setting {
            setting: "DOWNHILL_SIMD",
            expected: "avx512, avx2 or portable",
            found,
        })
    }

    /// Elements of a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Level::Portable => 4,
            Level::Avx2 => 8,
            Level::Avx512 => 16,
        }
    }

    /// The number of vector registers, of a level with an emitter of its own.
    pub(crate) fn registers(self) -> usize {
        if self == Level::Avx512 { 32 } else { 16 }
    }
}
