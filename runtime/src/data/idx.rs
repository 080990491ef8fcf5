//! Files in the IDX format, in which MNIST and its relatives come, plain or compressed with gzip.
//!
//! A file begins with two zeros, the type of the elements (8: bytes) and the number of axes; then
//! come the sizes as 32-bit numbers, most significant byte first, and the elements. See the end of
//! [The MNIST database](http://yann.lecun.com/exdb/mnist/), where the format is defined.
//!
//! ```
//! use downhill::data::idx;
//!
//! let labels = idx::parse("labels", &[0, 0, 8, 1, 0, 0, 0, 2, 7, 3])?;
//! assert_eq!((labels.shape, labels.data), (vec![2], vec![7, 3]));
//! let error = idx::parse("labels", &[0, 0, 8, 1, 0, 0, 0, 9, 7, 3]).unwrap_err().to_string();
//! assert_eq!(error, "labels: the header says [9], that is 9 bytes; the file ends after 2");
//! # Ok::<(), downhill::Error>(())
//! ```

use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::shape::MAX_RANK;
use crate::tensor::{Index, Tensor};

/// Where the folder of Debian's package `dataset-fashion-mnist` is.
pub const FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

/// The classes of MNIST and of Fashion-MNIST.
const CLASSES: usize = 10;

/// What an IDX file of bytes holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The sizes, outermost first.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub data: Vec<u8>,
}

/// The images of a folder and their labels, for training and for the test.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// Images for training `[60000, 28, 28]`, numbers from 0 to 1, and their classes `[60000]`.
    pub train: (Tensor, Index),
    /// Images for the test `[10000, 28, 28]` and their classes `[10000]`.
    pub test: (Tensor, Index),
}

/// Reads MNIST, or data of the same form such as Fashion-MNIST, from a folder with the files
/// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each plain or with `.gz` behind its name.
///
/// # Errors
///
/// [`Error::Data`] with the name of the file, and where whole ones can be had, when it is missing,
/// truncated, damaged or of another format, when images and labels are not equally many, and when a
/// label is above 9; [`Error::Io`] when it cannot be read.
pub fn mnist(folder: impl AsRef<Path>) -> Result<Mnist> {
    let folder = folder.as_ref();
    let labelled = |part: &str| {
        let images = find(folder, &format!("{part}-images"), "idx3-ubyte")?;
        let labels = find(folder, &format!("{part}-labels"), "idx1-ubyte")?;
        labelled_images(&images, &labels, CLASSES).map_err(|error| match error {
            Error::Data { source_name, message } => data_error(source_name, format!("{message}. {}", sources())),
            other => other,
        })
    };
    Ok(Mnist { train: labelled("train")?, test: labelled("t10k")? })
}

/// Reads images, as `[n, rows, columns]` from 0 to 1, and as many labels, as `[n]` below `classes`.
///
/// # Errors
///
/// Those of [`images`] and [`labels`], and [`Error::Data`] when they are not equally many.
pub fn labelled_images(images: impl AsRef<Path>, labels: impl AsRef<Path>, classes: usize) -> Result<(Tensor, Index)> {
    let (images_path, labels_path) = (images.as_ref(), labels.as_ref());
    let (images, labels) = (self::images(images_path)?, self::labels(labels_path, classes)?);
    let (found, expected) = (labels.shape()[0], images.shape()[0]);
    if found != expected {
        let message = format!("has {found} labels, {} has {expected} images", images_path.display());
        return Err(data_error(labels_path.display(), message));
    }
    Ok((images, labels))
}

/// Reads images, as `[n, rows, columns]`, bytes divided by 255.
///
/// # Errors
///
/// Those of [`read`], and [`Error::Data`] when the file does not have three axes.
pub fn images(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let Idx { shape, data } = read(path)?;
    if shape.len() != 3 {
        let message = format!("holds {shape:?}, expected images [n, rows, columns]");
        return Err(data_error(path.display(), message));
    }
    Tensor::new(shape, data.into_iter().map(|byte| byte as f32 / 255.0).collect::<Vec<_>>())
}

/// Reads labels, as `[n]`, all below `classes`.
///
/// # Errors
///
/// Those of [`read`], and [`Error::Data`] when the file has more than one axis or a label is not
/// below `classes`.
pub fn labels(path: impl AsRef<Path>, classes: usize) -> Result<Index> {
    let path = path.as_ref();
    let Idx { shape, data } = read(path)?;
    let refused = |message| Err(data_error(path.display(), message));
    if shape.len() != 1 {
        return refused(format!("holds {shape:?}, expected labels [n]"));
    }
    if let Some((sample, label)) = data.iter().enumerate().find(|&(_, &label)| usize::from(label) >= classes) {
        return refused(format!("label {label} at sample {sample}, expected below {classes}"));
    }
    Index::new(shape, data.into_iter().map(i32::from).collect::<Vec<_>>())
}

/// Reads an IDX file of bytes, plain or compressed with gzip (told by its first bytes).
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read, and those of [`parse`].
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    parse(&path.display().to_string(), &crate::exec::file::read(path)?)
}

/// Reads an IDX file of bytes from memory, plain or compressed with gzip.
///
/// # Errors
///
/// [`Error::Data`], which begins with `name`, when it is truncated, damaged, longer than its header
/// says, or of another format.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Idx> {
    match bytes {
        [0x1f, 0x8b, ..] => elements(name, MultiGzDecoder::new(bytes)),
        _ => elements(name, bytes),
    }
}

fn elements(name: &str, mut bytes: impl Read) -> Result<Idx> {
    let refused = |message: String| data_error(name, message);
    let shape = header(&mut bytes).map_err(refused)?;
    let expected = shape.iter().try_fold(1, |product: u64, &size| product.checked_mul(u64::from(size)));
    let expected = expected.filter(|&expected| usize::try_from(expected).is_ok_and(|n| n < isize::MAX as usize));
    let Some(expected) = expected else {
        return Err(refused(format!("the header says {shape:?}, which no file can hold")));
    };
    // One byte more than there should be, to notice files that are too long. What a lying header
    // promises is never allocated beforehand.
    let mut data = Vec::new();
    bytes.take(expected + 1).read_to_end(&mut data).map_err(|error| refused(damaged(&error)))?;
    let found = data.len() as u64;
    if found != expected {
        let rest = if found < expected { format!("ends after {found}") } else { "has more".into() };
        return Err(refused(format!("the header says {shape:?}, that is {expected} bytes; the file {rest}")));
    }
    Ok(Idx { shape: shape.iter().map(|&size| size as usize).collect(), data })
}

/// The sizes.
fn header(bytes: &mut impl Read) -> Result<Vec<u32>, String> {
    let mut next = || {
        let mut word = [0; 4];
        bytes.read_exact(&mut word).map(|()| word).map_err(|error| damaged(&error))
    };
    let [zero, zero_too, kind, rank] = next()?;
    if (zero, zero_too) != (0, 0) {
        return Err(format!("not an IDX file: it begins with {:02x?}, expected [00, 00]", [zero, zero_too]));
    }
    if kind != 8 {
        return Err(format!("elements of type {kind:#04x}, expected 0x08, bytes"));
    }
    if !(1..=MAX_RANK).contains(&usize::from(rank)) {
        return Err(format!("{rank} axes, expected 1 to {MAX_RANK}"));
    }
    (0..rank).map(|_| next().map(u32::from_be_bytes)).collect()
}

fn damaged(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "truncated".into(),
        _ => format!("damaged: {error}"),
    }
}

/// The file of a folder, by the names it goes by.
fn find(folder: &Path, stem: &str, kind: &str) -> Result<PathBuf> {
    let names = ["-", "."].map(|dot| ["", ".gz"].map(|end| format!("{stem}{dot}{kind}{end}")));
    names.as_flattened().iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let message = format!("no such file, and none with .gz behind its name. {}", sources());
        data_error(folder.join(&names[0][0]).display(), message)
    })
}

/// Where whole files can be had.
fn sources() -> String {
    format!(
        "MNIST's four files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, \
         t10k-labels-idx1-ubyte.gz) are at https://ossci-datasets.s3.amazonaws.com/mnist/; Debian's package \
         dataset-fashion-mnist has Fashion-MNIST in the same form, in {FASHION_MNIST}"
    )
}

fn data_error(source: impl Display, message: String) -> Error {
    Error::Data { source_name: source.to_string(), message }
}
