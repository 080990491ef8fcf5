//! Weights as `safetensors` files: what is written is read again, and what does not fit changes
//! nothing and is named.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use downhill::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

#[network(sequential)]
pub struct Net {
    hidden: Linear<3, 4>,
    act: Tanh,
    out: Linear<4, 2>,
}

#[network(sequential)]
pub struct Wide {
    hidden: Linear<3, 20>,
    act: Tanh,
    head: Linear<20, 2>,
}

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("downhill-weights-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("net.safetensors")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn all<N: downhill::network::Network>(model: &Model<N>) -> Vec<Tensor> {
    model.params().map(|p| model.get(p.name).unwrap()).collect()
}

/// The tensors of a model as bytes of a type, to be tampered with.
fn tensors(model: &Model<Net>, dtype: Dtype, bytes: impl Fn(f32) -> Vec<u8>) -> HashMap<String, Stored> {
    let stored = |name: &str| {
        let x = model.get(name).unwrap();
        Stored { dtype, shape: x.shape().to_vec(), data: x.data().iter().flat_map(|&x| bytes(x)).collect() }
    };
    model.params().map(|p| (p.name.to_owned(), stored(p.name))).collect()
}

#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

fn file(tensors: &HashMap<String, Stored>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// The error of loading these bytes, which must leave the model as it was.
fn refused(folder: &Folder, bytes: &[u8]) -> String {
    fs::write(folder.path(), bytes).unwrap();
    let mut model = Net::init(9);
    let before = all(&model);
    let error = model.load(folder.path()).unwrap_err().to_string();
    assert_eq!(all(&model), before);
    error
}

#[test]
fn what_is_saved_is_loaded() -> Result<()> {
    let folder = Folder::new("round");
    let model = Net::init(1);
    model.save(folder.path())?;
    let mut other = Net::init(2);
    assert_ne!(all(&other), all(&model));
    other.load(folder.path())?;
    assert_eq!(all(&other), all(&model));
    Ok(())
}

#[test]
fn the_file_is_what_pytorch_reads() -> Result<()> {
    let folder = Folder::new("format");
    let model = Net::init(1);
    model.save(folder.path())?;
    let bytes = fs::read(folder.path())?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut names = tensors.names();
    names.sort();
    assert_eq!(names, ["hidden.bias", "hidden.weight", "out.bias", "out.weight"]);
    let weight = tensors.tensor("hidden.weight")?;
    assert_eq!((weight.dtype(), weight.shape()), (Dtype::F32, &[4, 3][..]));
    let numbers: Vec<f32> = weight.data().as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
    assert_eq!(numbers, model.get("hidden.weight")?.data());
    Ok(())
}

#[test]
fn other_types_of_numbers() -> Result<()> {
    let folder = Folder::new("types");
    let mut model = Net::init(1);
    // Numbers that all types have.
    let exact = Tensor::new([4, 3], [0.5, -1.0, 0.25, 3.0, -0.125, 1.5, 0.0, 2.0, -8.0, 96.0, 1.0, -0.75])?;
    model.set("hidden.weight", &exact)?;
    let upper = |x: f32| (x.to_bits() >> 16) as u16;
    // Half precision of normal numbers: five bits of exponent around 15, ten of fraction.
    let half = |x: f32| {
        let (sign, rest) = (x.to_bits() >> 16 & 0x8000, x.to_bits() << 1 >> 14);
        if x == 0.0 { 0 } else { (sign | rest.saturating_sub(112 << 10)) as u16 }
    };
    let files = [
        tensors(&model, Dtype::F64, |x| f64::from(x).to_le_bytes().to_vec()),
        tensors(&model, Dtype::BF16, |x| upper(x).to_le_bytes().to_vec()),
        tensors(&model, Dtype::F16, |x| half(x).to_le_bytes().to_vec()),
    ];
    for tensors in files {
        fs::write(folder.path(), file(&tensors))?;
        let mut other = Net::init(2);
        other.load(folder.path())?;
        assert_eq!(other.get("hidden.weight")?, exact, "{:?}", tensors["out.bias"].dtype);
    }
    Ok(())
}

#[test]
fn parameters_that_do_not_fit() -> Result<()> {
    let folder = Folder::new("misfits");
    let good = tensors(&Net::init(1), Dtype::F32, |x| x.to_le_bytes().to_vec());
    let with = |change: &dyn Fn(&mut HashMap<String, Stored>)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        let error = refused(&folder, &file(&tensors));
        let name = folder.path().display().to_string();
        error.strip_prefix(&format!("{name}: ")).unwrap_or_else(|| panic!("{error} does not name {name}")).to_owned()
    };
    let missing = with(&|t| drop(t.remove("out.bias")));
    assert_eq!(missing, "`out.bias` [2] is missing from the file");
    let unknown = with(&|t| drop(t.insert("out.scale".into(), good["out.bias"].clone())));
    assert_eq!(unknown, "`out.scale` [2] is not in the model");
    let shape = with(&|t| t.get_mut("out.weight").unwrap().shape = vec![4, 2]);
    assert_eq!(shape, "`out.weight` is [2, 4] in the model, [4, 2] in the file");
    let dtype = with(&|t| t.get_mut("out.bias").unwrap().dtype = Dtype::I32);
    assert_eq!(dtype, "`out.bias` is I32 in the file, expected F32, F64, F16 or BF16");
    let renamed = with(&|t| {
        let bias = t.remove("out.bias").unwrap();
        t.insert("out.b".into(), bias);
    });
    assert_eq!(renamed, "`out.bias` [2] is missing from the file; `out.b` [2] is not in the model");
    let many = with(&|t| (0..20).for_each(|i| drop(t.insert(format!("x{i:02}"), good["out.bias"].clone()))));
    assert!(many.starts_with("`x00` [2] is not in the model; ") && many.ends_with("; and 12 more"), "{many}");

    let mut wide = Wide::init(0);
    let before = all(&wide);
    fs::write(folder.path(), file(&good))?;
    assert!(
        wide.load(folder.path()).unwrap_err().to_string().contains("`hidden.weight` is [20, 3] in the model, [4, 3]")
    );
    assert_eq!(all(&wide), before);
    Ok(())
}

#[test]
fn damaged_files() -> Result<()> {
    let folder = Folder::new("damaged");
    let good = file(&tensors(&Net::init(1), Dtype::F32, |x| x.to_le_bytes().to_vec()));
    for len in 0..good.len() {
        let error = refused(&folder, &good[..len]);
        assert!(error.contains("truncated, damaged, or not a safetensors file"), "{len}: {error}");
    }
    refused(&folder, &[&good[..], &[0]].concat());
    refused(&folder, &[255; 100]);
    fs::remove_file(folder.path())?;
    let error = Net::init(0).load(folder.path()).unwrap_err();
    assert!(matches!(error, downhill::Error::Io { .. }), "{error}");
    Ok(())
}

#[test]
fn nothing_is_left_beside_the_file() -> Result<()> {
    let folder = Folder::new("beside");
    let model = Net::init(1);
    model.save(folder.path())?;
    model.save(folder.path())?;
    assert_eq!(fs::read_dir(&folder.0)?.count(), 1);
    // A folder has the name of the file, so that it cannot be replaced.
    fs::create_dir_all(folder.0.join("taken/full"))?;
    assert!(model.save(folder.0.join("taken")).is_err());
    assert_eq!(fs::read_dir(&folder.0)?.count(), 2);
    assert!(model.save(folder.0.join("absent/net.safetensors")).is_err());
    Ok(())
}
