//! The reader of IDX files: what it reads, and that it refuses everything else in plain words.
#![cfg(feature = "data")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use downhill::data::idx::{self, Idx};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("downhill-idx-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn file(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refused(bytes: &[u8]) -> String {
    idx::parse("file", bytes).unwrap_err().to_string()
}

/// Two images of 2×2 and their labels, by the names in `names`.
fn mnist(folder: &Folder, names: [&str; 4], labels: &[u8]) {
    let images = file(&[2, 2, 2], &[0, 255, 51, 0, 0, 0, 0, 102]);
    let labels = file(&[labels.len() as u32], labels);
    for (name, bytes) in names.iter().zip([&images, &labels, &images, &labels]) {
        let bytes = if name.ends_with(".gz") { gzip(bytes) } else { bytes.clone() };
        folder.write(name, &bytes);
    }
}

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

#[test]
fn plain_and_compressed() -> Result<()> {
    let bytes = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let expected = Idx { shape: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] };
    assert_eq!(idx::parse("plain", &bytes)?, expected);
    assert_eq!(idx::parse("compressed", &gzip(&bytes))?, expected);
    assert!(idx::parse("empty", &file(&[0, 28], &[]))?.data.is_empty());
    Ok(())
}

#[test]
fn a_folder_under_all_names() -> Result<()> {
    let gz = NAMES.map(|name| format!("{name}.gz"));
    let dots = NAMES.map(|name| name.replace("-idx", ".idx"));
    let all = [NAMES, gz.each_ref().map(String::as_str), dots.each_ref().map(String::as_str)];
    for (i, names) in all.into_iter().enumerate() {
        let folder = Folder::new(&format!("names{i}"));
        mnist(&folder, names, &[3, 9]);
        let (images, labels) = idx::mnist(&folder.0)?.train;
        assert_eq!((images.shape(), labels.data()), (&[2, 2, 2][..], &[3, 9][..]));
        assert_eq!(images.data(), [0.0, 1.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.4]);
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_a_file() {
    let good = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(refused(b""), "file: truncated");
    assert_eq!(refused(&good[..7]), "file: truncated");
    assert_eq!(refused(&good[..17]), "file: the header says [2, 3], that is 6 bytes; the file ends after 5");
    let long = [&good[..], &[0]].concat();
    assert_eq!(refused(&long), "file: the header says [2, 3], that is 6 bytes; the file has more");
    assert_eq!(refused(b"\x89PNG1234"), "file: not an IDX file: it begins with [89, 50], expected [00, 00]");
    assert_eq!(refused(&[0, 0, 13, 1, 0, 0, 0, 0]), "file: elements of type 0x0d, expected 0x08, bytes");
    assert_eq!(refused(&[0, 0, 8, 0]), "file: 0 axes, expected 1 to 8");
    assert_eq!(refused(&[0, 0, 8, 9]), "file: 9 axes, expected 1 to 8");
    assert!(refused(&file(&[u32::MAX; 8], &[1])).contains("which no file can hold"));
    assert!(refused(&file(&[u32::MAX, 1000], &[1])).contains("the file ends after 1"));
}

#[test]
fn damaged_compression() {
    let good = gzip(&file(&[2000], &(0..2000).map(|i| (i * i) as u8).collect::<Vec<_>>()));
    assert_eq!(refused(&good[..good.len() / 2]), "file: truncated");
    let mut bad = good.clone();
    let last = bad.len() - 6;
    bad[last] ^= 1;
    assert!(refused(&bad).starts_with("file: damaged: "), "{}", refused(&bad));
}

#[test]
fn what_is_wrong_with_a_folder() {
    let folder = Folder::new("wrong");
    let error = || idx::mnist(&folder.0).unwrap_err().to_string();
    assert!(error().contains("train-images-idx3-ubyte: no such file"));
    assert!(error().contains("dataset-fashion-mnist"));
    mnist(&folder, NAMES, &[3, 10]);
    let expected = "train-labels-idx1-ubyte: label 10 at sample 1, expected below 10. MNIST's four files";
    assert!(error().contains(expected), "{}", error());
    mnist(&folder, NAMES, &[3]);
    let expected = "t10k-labels-idx1-ubyte: has 1 labels";
    assert!(error().contains(&expected.replace("t10k", "train")), "{}", error());
    mnist(&folder, NAMES, &[3, 4]);
    let labels = folder.0.join(NAMES[1]);
    assert!(idx::images(&labels).unwrap_err().to_string().ends_with("holds [2], expected images [n, rows, columns]"));
    let images = folder.0.join(NAMES[0]);
    assert!(idx::labels(&images, 10).unwrap_err().to_string().ends_with("holds [2, 2, 2], expected labels [n]"));
    assert!(idx::read(Path::new("/no/such/file")).unwrap_err().to_string().starts_with("/no/such/file: "));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = idx::parse("bytes", &bytes);
    }

    #[test]
    fn no_header_makes_it_panic(kind in 7u8..10, rank in 0u8..12, rest in prop::collection::vec(0u8..4, 0..60)) {
        let bytes = [&[0, 0, kind, rank][..], &rest].concat();
        if let Ok(Idx { shape, data }) = idx::parse("bytes", &bytes) {
            prop_assert_eq!(shape.iter().product::<usize>(), data.len());
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_read(at in 0usize..60, to: u8, compressed: bool) {
        let good = file(&[2, 4, 5], &[7; 40]);
        let mut bytes = if compressed { gzip(&good) } else { good };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        if let Ok(Idx { shape, data }) = idx::parse("bytes", &bytes) {
            prop_assert_eq!(shape.iter().product::<usize>(), data.len());
        }
    }
}
