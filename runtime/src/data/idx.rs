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
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::exec::io::file;
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

/// Bytes that a compressed file may hold whatever its length, unless a limit was set.
const SMALL: u64 = 64 << 20;

/// How many times its own length a compressed file may hold beyond that. Images and labels are compressed two to
/// ten times as a rule; gzip could go to a thousand.
const EXPANSION: u64 = 256;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// Reads MNIST, or data of the same form such as Fashion-MNIST, from a folder with the files
/// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each plain or with `.gz` behind its name.
///
/// # Errors
///
/// [`Error::Data`] with the name of the file, and where whole ones can be had, when it is missing,
/// truncated, damaged, too large or of another format, when images and labels are not equally many, and when a
/// label is above 9; [`Error::Io`] when it cannot be read or is no regular file.
pub fn mnist(folder: impl AsRef<Path>) -> Result<Mnist> {
    Reader::new().mnist(folder)
}

/// Reads images, as `[n, rows, columns]` from 0 to 1, and as many labels, as `[n]` below `classes`.
///
/// # Errors
///
/// Those of [`images`] and [`labels`], and [`Error::Data`] when they are not equally many.
pub fn labelled_images(images: impl AsRef<Path>, labels: impl AsRef<Path>, classes: usize) -> Result<(Tensor, Index)> {
    Reader::new().labelled_images(images, labels, classes)
}

/// Reads images, as `[n, rows, columns]`, bytes divided by 255.
///
/// # Errors
///
/// Those of [`read`], and [`Error::Data`] when the file does not have three axes.
pub fn images(path: impl AsRef<Path>) -> Result<Tensor> {
    Reader::new().images(path)
}

/// Reads labels, as `[n]`, all below `classes`.
///
/// # Errors
///
/// Those of [`read`], and [`Error::Data`] when the file has more than one axis or a label is not
/// below `classes`.
pub fn labels(path: impl AsRef<Path>, classes: usize) -> Result<Index> {
    Reader::new().labels(path, classes)
}

/// Reads an IDX file of bytes, plain or compressed with gzip (told by its first bytes).
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read or is no regular file, and those of [`parse`].
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    Reader::new().read(path)
}

/// Reads an IDX file of bytes from memory, plain or compressed with gzip.
///
/// # Errors
///
/// [`Error::Data`], which begins with `name`, when it is truncated, damaged, longer than its header
/// says, of another format, or compressed and larger than [`Reader::limit`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Idx> {
    Reader::new().parse(name, bytes)
}

/// Settings of reading; the functions of this module read by the defaults.
///
/// | setting | default |
/// |---|---|
/// | `limit` | compressed files: 64 MiB, or 256 times the file where that is more; plain files: none |
/// | `special_files` | refused |
///
/// ```
/// use downhill::data::idx::Reader;
///
/// let bytes = [0, 0, 8, 1, 0, 0, 0, 2, 7, 3];
/// assert_eq!(Reader::new().limit(2).parse("labels", &bytes)?.data, [7, 3]);
/// let error = Reader::new().limit(1).parse("labels", &bytes).unwrap_err().to_string();
/// assert_eq!(error, "labels: the header says [2], that is 2 bytes, above the limit of 1 (see `Reader::limit`)");
/// # Ok::<(), downhill::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    limit: Option<u64>,
    special_files: bool,
}

impl Reader {
    /// The defaults.
    pub const fn new() -> Reader {
        Reader { limit: None, special_files: false }
    }

    /// How many bytes a file may hold, without its header and before they become numbers. A header that promises
    /// more is refused before anything is read.
    pub const fn limit(mut self, bytes: u64) -> Reader {
        self.limit = Some(bytes);
        self
    }

    /// Whether FIFOs and devices are read too. Of one no more than [`Reader::limit`] is read, by default 64 MiB.
    pub const fn special_files(mut self, read: bool) -> Reader {
        self.special_files = read;
        self
    }

    /// [`mnist`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`mnist`].
    pub fn mnist(&self, folder: impl AsRef<Path>) -> Result<Mnist> {
        let folder = folder.as_ref();
        let labelled = |part: &str| {
            let images = find(folder, &format!("{part}-images"), "idx3-ubyte")?;
            let labels = find(folder, &format!("{part}-labels"), "idx1-ubyte")?;
            self.labelled_images(&images, &labels, CLASSES).map_err(|error| match error {
                Error::Data { source_name, message } => data_error(source_name, format!("{message}. {}", sources())),
                other => other,
            })
        };
        Ok(Mnist { train: labelled("train")?, test: labelled("t10k")? })
    }

    /// [`labelled_images`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`labelled_images`].
    pub fn labelled_images(
        &self,
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        classes: usize,
    ) -> Result<(Tensor, Index)> {
        let (images_path, labels_path) = (images.as_ref(), labels.as_ref());
        let (images, labels) = (self.images(images_path)?, self.labels(labels_path, classes)?);
        let (found, expected) = (labels.shape()[0], images.shape()[0]);
        if found != expected {
            let message = format!("has {found} labels, {} has {expected} images", images_path.display());
            return Err(data_error(labels_path.display(), message));
        }
        Ok((images, labels))
    }

    /// [`images`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`images`].
    pub fn images(&self, path: impl AsRef<Path>) -> Result<Tensor> {
        let path = path.as_ref();
        let images = |shape: &[usize]| match shape.len() {
            3 => Ok(()),
            _ => Err(format!("holds {shape:?}, expected images [n, rows, columns]")),
        };
        let (shape, data) = self.file(path, &images, &|byte| f32::from(byte) / 255.0)?;
        Tensor::new(shape, data)
    }

    /// [`labels`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`labels`].
    pub fn labels(&self, path: impl AsRef<Path>, classes: usize) -> Result<Index> {
        let path = path.as_ref();
        let labels = |shape: &[usize]| match shape.len() {
            1 => Ok(()),
            _ => Err(format!("holds {shape:?}, expected labels [n]")),
        };
        let (shape, data) = self.file(path, &labels, &i32::from)?;
        if let Some((sample, label)) = data.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
            let message = format!("label {label} at sample {sample}, expected below {classes}");
            return Err(data_error(path.display(), message));
        }
        Index::new(shape, data)
    }

    /// [`read`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`read`].
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Idx> {
        let (shape, data) = self.file(path.as_ref(), &|_| Ok(()), &|byte| byte)?;
        Ok(Idx { shape, data })
    }

    /// [`parse`] by these settings.
    ///
    /// # Errors
    ///
    /// Those of [`parse`].
    pub fn parse(&self, name: &str, bytes: &[u8]) -> Result<Idx> {
        let (shape, data) = self.elements(name, bytes, Some(bytes.len() as u64), &|_| Ok(()), &|byte| byte)?;
        Ok(Idx { shape, data })
    }

    /// The sizes and the elements of a file, if it has an expected shape.
    fn file<T: Copy>(
        &self,
        path: &Path,
        expected: &dyn Fn(&[usize]) -> Result<(), String>,
        element: &dyn Fn(u8) -> T,
    ) -> Result<(Vec<usize>, Vec<T>)> {
        let io = |error| Error::Io { path: path.into(), error };
        let file = if self.special_files { File::open(path).map_err(io)? } else { file::open(path)? };
        let found = file.metadata().map_err(io)?;
        let len = found.is_file().then_some(found.len());
        self.elements(&path.display().to_string(), file, len, expected, element)
    }

    /// The sizes and the elements of `len` bytes, plain or compressed.
    fn elements<T: Copy>(
        &self,
        name: &str,
        mut bytes: impl Read,
        len: Option<u64>,
        expected: &dyn Fn(&[usize]) -> Result<(), String>,
        element: &dyn Fn(u8) -> T,
    ) -> Result<(Vec<usize>, Vec<T>)> {
        let refused = |message: String| data_error(name, message);
        let mut first = Vec::new();
        (&mut bytes).take(2).read_to_end(&mut first).map_err(|error| refused(damaged(&error)))?;
        let compressed = first == [0x1f, 0x8b];
        let bytes = first.as_slice().chain(bytes);
        let limit = self.limit.unwrap_or(match len {
            Some(len) if compressed => len.saturating_mul(EXPANSION).max(SMALL),
            Some(_) => u64::MAX,
            None => SMALL,
        });
        match compressed {
            true => uncompressed(MultiGzDecoder::new(bytes), limit, expected, element),
            false => uncompressed(bytes, limit, expected, element),
        }
        .map_err(refused)
    }
}

/// The sizes and the elements of a file, which may be `limit` bytes behind its header.
fn uncompressed<T: Copy>(
    mut bytes: impl Read,
    limit: u64,
    expected: &dyn Fn(&[usize]) -> Result<(), String>,
    element: &dyn Fn(u8) -> T,
) -> Result<(Vec<usize>, Vec<T>), String> {
    let sizes = header(&mut bytes)?;
    let count = sizes.iter().try_fold(1, |product: u64, &size| product.checked_mul(u64::from(size)));
    let most = (isize::MAX as usize / size_of::<T>()) as u64;
    let Some(count) = count.filter(|&count| count < most) else {
        return Err(format!("the header says {sizes:?}, which no file can hold"));
    };
    let shape: Vec<usize> = sizes.iter().map(|&size| size as usize).collect();
    expected(&shape)?;
    if count > limit {
        let said = format!("the header says {sizes:?}, that is {count} bytes");
        return Err(format!("{said}, above the limit of {limit} (see `Reader::limit`)"));
    }
    // Each element is kept once, as what it becomes, and memory grows with what is there: what a lying header
    // promises is never allocated beforehand. One byte more than there should be is read, to notice files that are
    // too long.
    let (mut data, mut chunk, mut bytes) = (Vec::new(), vec![0; CHUNK], bytes.take(count + 1));
    let table: [T; 256] = std::array::from_fn(|byte| element(byte as u8));
    loop {
        let read = match bytes.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(&error)),
        };
        data.try_reserve(read).map_err(|_| format!("has {count} elements, for which there is no memory"))?;
        data.extend(chunk[..read].iter().map(|&byte| table[usize::from(byte)]));
    }
    let found = data.len() as u64;
    if found != count {
        let rest = if found < count { format!("ends after {found}") } else { "has more".into() };
        return Err(format!("the header says {sizes:?}, that is {count} bytes; the file {rest}"));
    }
    Ok((shape, data))
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
