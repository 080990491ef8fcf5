//! Parameters and states as files in the `safetensors` format, named by the paths of their fields.

use std::io::Read;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::file;
use crate::error::{Error, Result};
use crate::exec::Model;
use crate::network::Network;

/// How many problems of a file are named.
const NAMED: usize = 8;

/// The longest header of a `safetensors` file.
const HEADER: usize = 100_000_000;

impl<N: Network> Model<N> {
    /// Writes all parameters and states to a `safetensors` file, as 32-bit floats under the paths of
    /// their fields. PyTorch and others read it; PyTorch's `load_state_dict` makes whole numbers of the
    /// counter of a batch normalisation.
    ///
    /// The file is whole or absent: a temporary file in the same folder is written, synced to disk, and
    /// renamed. Symbolic links are followed, also to a file that is not there yet. An old file passes its
    /// permissions and owner on; a hard link to it keeps the old content. Temporary files that a killed
    /// process has left there (`.downhill-*.tmp`) are removed; those of other writers at work are not.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be written, and when `path` leads to what is no regular file, such as
    /// a folder, device or FIFO, to a file that may not be written, or to one whose owner a new file cannot
    /// be given. An old file is then still there, as it was.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     out: Linear<4, 2>,
    /// }
    ///
    /// let path = std::env::temp_dir().join(format!("weights-{}.safetensors", std::process::id()));
    /// let model = Net::init(1);
    /// model.save(&path)?;
    /// let mut other = Net::init(2);
    /// other.load(&path)?;
    /// assert_eq!(other.get("out.weight")?, model.get("out.weight")?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check()?;
        let path = path.as_ref();
        let bytes: Vec<(&str, &[usize], Vec<u8>)> = self
            .entries()
            .iter()
            .map(|e| {
                let bytes = self.numbers(e).iter().flat_map(|x| x.to_le_bytes()).collect();
                (&*e.name, &*e.shape, bytes)
            })
            .collect();
        let refused = |error: SafeTensorError| Error::Weights { path: path.into(), message: error.to_string() };
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        file::write(path, &safetensors::serialize(views, None).map_err(refused)?)
    }

    /// Sets all parameters and states from a `safetensors` file, such as [`Model::save`] or PyTorch writes.
    ///
    /// The file must have exactly the parameters and states of the model, each of its shape, as `F32`,
    /// `F64`, `F16` or `BF16`; a state, which may be a counter, as `I64` too. Nothing is changed unless
    /// everything fits.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read, and when it is no regular file ([`Model::load_from`] reads
    /// others); [`Error::Weights`] when it is truncated or not in the format, and when parameters are missing, unknown,
    /// or of another shape or type: each is named with what the model has.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Small {
    ///     out: Linear<4, 2>,
    /// }
    ///
    /// #[network(sequential)]
    /// struct Large {
    ///     out: Linear<4, 3>,
    /// }
    ///
    /// let path = std::env::temp_dir().join(format!("small-{}.safetensors", std::process::id()));
    /// Small::init(0).save(&path)?;
    /// let error = Large::init(0).load(&path).unwrap_err().to_string();
    /// assert!(error.contains("`out.weight` is [3, 4] in the model, [2, 4] in the file"));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.check()?;
        let path = path.as_ref();
        self.load_from(path, file::open(path)?)
    }

    /// The same from any reader, to its end: a pipe, or bytes in memory. `source` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], and [`Error::Weights`] when there is more to read than all parameters and states could
    /// take.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential)]
    /// struct Net {
    ///     out: Linear<4, 2>,
    /// }
    ///
    /// let error = Net::init(0).load_from("standard input", std::io::empty()).unwrap_err().to_string();
    /// assert!(error.starts_with("standard input: truncated, damaged, or not a safetensors file"));
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn load_from(&mut self, source: impl AsRef<Path>, reader: impl Read) -> Result<()> {
        self.check()?;
        let path = source.as_ref();
        let refused = |message: String| Error::Weights { path: path.into(), message };
        let numbers: usize = self.entries().iter().map(|entry| entry.len()).sum();
        let most = (HEADER + 8 + 8 * numbers) as u64;
        let mut bytes = Vec::new();
        reader.take(most + 1).read_to_end(&mut bytes).map_err(|error| Error::Io { path: path.into(), error })?;
        if bytes.len() as u64 > most {
            let message = format!("has more than {most} bytes, the most that a header and {numbers} numbers take");
            return Err(refused(message));
        }
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| refused(format!("truncated, damaged, or not a safetensors file ({error})")))?;
        let problems = self.misfits(&tensors);
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(NAMED);
            let named = problems[..problems.len() - more].join("; ");
            return Err(refused(if more == 0 { named } else { format!("{named}; and {more} more") }));
        }
        for (name, view) in tensors.iter() {
            let entry = self.entry(name)?;
            let range = entry.offset..entry.offset + entry.len();
            decode(view.dtype(), view.data(), &mut self.params_mut()[range]);
        }
        Ok(())
    }

    /// What keeps the tensors of a file from being the parameters of this model.
    fn misfits(&self, tensors: &SafeTensors<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        for entry in self.entries().iter() {
            let (name, shape) = (&entry.name, &entry.shape);
            match tensors.tensor(name) {
                Err(_) => problems.push(format!("`{name}` {shape:?} is missing from the file")),
                Ok(view) if view.shape() != shape.as_slice() => {
                    problems.push(format!("`{name}` is {shape:?} in the model, {:?} in the file", view.shape()));
                }
                Ok(view) if width(view.dtype()).is_none() || view.dtype() == Dtype::I64 && !entry.state => {
                    let found = view.dtype();
                    let expected = if entry.state { "F32, F64, F16, BF16 or I64" } else { "F32, F64, F16 or BF16" };
                    problems.push(format!("`{name}` is {found} in the file, expected {expected}"));
                }
                Ok(_) => {}
            }
        }
        let mut unknown: Vec<_> = tensors.iter().filter(|(name, _)| self.entry(name).is_err()).collect();
        unknown.sort_by_key(|(name, _)| *name);
        problems.extend(unknown.iter().map(|(name, view)| format!("`{name}` {:?} is not in the model", view.shape())));
        problems
    }
}

/// The bytes of a number, for the types that can be read.
fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F64 | Dtype::I64 => Some(8),
        Dtype::F32 => Some(4),
        Dtype::F16 | Dtype::BF16 => Some(2),
        _ => None,
    }
}

/// Numbers of a file, little-endian and of any alignment, as 32-bit floats.
fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    let number = |bytes: &[u8]| match (dtype, bytes) {
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Dtype::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        (Dtype::I64, &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        (Dtype::BF16, &[a, b]) => f32::from_bits((u16::from_le_bytes([a, b]) as u32) << 16),
        (_, &[a, b]) => half(u16::from_le_bytes([a, b])),
        _ => 0.0,
    };
    let width = width(dtype).unwrap_or(1);
    out.iter_mut().zip(bytes.chunks_exact(width)).for_each(|(x, bytes)| *x = number(bytes));
}

/// A number in IEEE 754's 16-bit format: one bit of sign, five of exponent, ten of fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (bits >> 10 & 31, (bits & 1023) as f32);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent as i32 - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn halves_of_every_kind() {
        let cases = [(0x0000, 0.0), (0x0001, 5.960_464_5e-8), (0x03ff, 6.097_555e-5), (0x0400, 6.103_515_6e-5)];
        let more = [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x7bff, 65504.0)];
        for (bits, x) in cases.into_iter().chain(more) {
            assert_eq!(half(bits), x, "{bits:#06x}");
        }
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }
}
