//! PyTorch's operations one by one: outputs and gradients of every case against its own numbers.
//!
//! The cases are read from `tests/golden/ops`, or from the folder that `DOWNHILL_GOLDEN` names. An
//! operation is looked up by its name in `table`; what is not there must be in
//! the list of what is unsupported, with the reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::table;
use crate::table::case::Case;
use crate::table::tape::{T, Tape};
use downhill::Input;
use downhill::prelude::*;
use downhill::shape::DType;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;

/// Numbers of a file, in double precision as they are there.
struct Numbers {
    shape: Vec<usize>,
    dtype: Dtype,
    data: Vec<f64>,
}

impl Numbers {
    fn read(file: &SafeTensors<'_>, key: &str) -> Result<Numbers, String> {
        let view = file.tensor(key).map_err(|e| format!("{key}: {e}"))?;
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b) as f64).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            Dtype::I32 => bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b) as f64).collect(),
            Dtype::BOOL | Dtype::U8 => bytes.iter().map(|&b| b as f64).collect(),
            other => return Err(format!("{key}: elements of type {other:?}")),
        };
        Ok(Numbers { shape: view.shape().to_vec(), dtype: view.dtype(), data })
    }

    fn is_index(&self) -> bool {
        matches!(self.dtype, Dtype::I64 | Dtype::I32)
    }

    fn tensor(&self) -> Tensor {
        Tensor::new(self.shape.clone(), self.data.iter().map(|&x| x as f32).collect::<Vec<_>>()).expect("as many")
    }

    fn index(&self) -> Index {
        Index::new(self.shape.clone(), self.data.iter().map(|&x| x as i32).collect::<Vec<_>>()).expect("as many")
    }
}

/// What an input of a case is held in.
enum Held {
    Tensor(Tensor),
    Index(Index),
}

fn folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ops");
    std::env::var_os("DOWNHILL_GOLDEN").map_or_else(default, PathBuf::from)
}

/// The keys of all tensors that an argument mentions.
fn keys(json: &Json, out: &mut Vec<String>) {
    match json {
        Json::Object(map) => match map.get("tensor").and_then(Json::as_str) {
            Some(key) => out.push(key.to_owned()),
            None => map.values().for_each(|x| keys(x, out)),
        },
        Json::Array(list) => list.iter().for_each(|x| keys(x, out)),
        _ => {}
    }
}

fn compare(what: &str, found: &Tensor, expected: &Numbers, (tolerance, near_zero): (f64, f64)) -> Result<(), String> {
    if found.shape() != expected.shape {
        return Err(format!("{what}: shape {:?}, PyTorch has {:?}", found.shape(), expected.shape));
    }
    let scale = expected.data.iter().filter(|x| x.is_finite()).fold(0f64, |m, x| m.max(x.abs()));
    for (i, (&a, &b)) in found.data().iter().zip(&expected.data).enumerate() {
        let same = a as f64 == b || a == b as f32 || a.is_nan() && b.is_nan();
        // A number that is what is left of larger ones is as exact as these are.
        if !same && ((a as f64 - b).abs() > tolerance * (b.abs() + 0.01 * scale) + near_zero || a.is_nan()) {
            return Err(format!("{what}[{i}]: {a}, PyTorch has {b}"));
        }
    }
    Ok(())
}

fn run(case: &Json, file: &SafeTensors<'_>, build: table::Builder, tolerance: (f64, f64)) -> Result<(), String> {
    let (op, id) = (case["op"].as_str().unwrap_or_default(), &case["id"]);
    let read = |key: &str| Numbers::read(file, &format!("{op}/{id}/{key}"));
    let mut names = Vec::new();
    keys(&case["spec"], &mut names);
    let mut tape = Tape::default();
    let (mut held, mut tensors, mut masks) = (Vec::new(), HashMap::new(), HashSet::new());
    for name in names {
        let numbers = read(&name)?;
        let dtype = if numbers.is_index() { DType::I32 } else { DType::F32 };
        let slot = tape.g.input(held.len(), &numbers.shape, dtype);
        let x = tape.push(slot);
        if numbers.dtype == Dtype::BOOL {
            masks.insert(name.clone());
        }
        tensors.insert(name, x);
        held.push(if numbers.is_index() { Held::Index(numbers.index()) } else { Held::Tensor(numbers.tensor()) });
    }
    let mut c = Case { t: tape, spec: &case["spec"], tensors, masks };
    let outputs: Vec<T> = build(&mut c);
    if let Some(error) = c.t.g.error() {
        return Err(format!("refused: {error}"));
    }
    let count = case["n_out"].as_u64().unwrap_or(1) as usize;
    if outputs.len() != count {
        return Err(format!("{} outputs, PyTorch has {count}", outputs.len()));
    }
    let mut roots = Vec::new();
    let mut expected = Vec::new();
    let mut cotangents = Vec::new();
    for (i, &output) in outputs.iter().enumerate() {
        roots.push(Value::Var(c.t.var(output)));
        expected.push((format!("output {i}"), read(&format!("out{i}"))?));
        if let Ok(numbers) = read(&format!("cot{i}")) {
            let slot = c.t.g.input(held.len(), &numbers.shape, DType::F32);
            if numbers.shape != c.t.shape(output) {
                return Err(format!("output {i}: shape {:?}, PyTorch has {:?}", c.t.shape(output), numbers.shape));
            }
            held.push(Held::Tensor(numbers.tensor()));
            cotangents.push((output, slot));
        }
    }
    let grads = c.t.backward(&cotangents);
    for key in case["grads"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        let Some(&x) = c.tensors.get(key) else { return Err(format!("{key}: no such tensor")) };
        let numbers = read(&format!("grad_{key}"))?;
        let grad = match Tape::grad_of(&grads, x) {
            Some(grad) => grad,
            None => c.t.g.fill(0.0, &numbers.shape),
        };
        roots.push(Value::Var(grad));
        expected.push((format!("gradient of {key}"), numbers));
    }
    if let Some(error) = c.t.g.error() {
        return Err(format!("gradient refused: {error}"));
    }
    let inputs: Vec<Input<'_>> = held
        .iter()
        .map(|x| match x {
            Held::Tensor(x) => Input::from(x),
            Held::Index(x) => Input::from(x),
        })
        .collect();
    let found = c.t.g.compute(&roots, &inputs).map_err(|e| e.to_string())?;
    for (found, (what, expected)) in found.iter().zip(&expected) {
        compare(what, found, expected, tolerance)?;
    }
    Ok(())
}

#[test]
fn every_operation_agrees_with_pytorch() {
    let folder = folder();
    let path = folder.join("cases.json");
    let json = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json: Json = serde_json::from_str(&json.replace("-Infinity", "\"-inf\"").replace("Infinity", "\"inf\""))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let table = table::table();
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let (mut passed, mut failed) = (0, 0);
    let mut unsupported: BTreeMap<String, usize> = BTreeMap::new();
    for case in json["cases"].as_array().expect("a list of cases") {
        let op = case["op"].as_str().expect("the name of an operation").to_owned();
        let Some(build) = table.get(op.as_str()) else {
            if table::UNSUPPORTED.iter().any(|(name, _)| *name == op) {
                *unsupported.entry(op).or_default() += 1;
            } else {
                failed += 1;
                println!("{op}/{}: neither in the table nor among what is unsupported", case["id"]);
            }
            continue;
        };
        let bytes = files.entry(op.clone()).or_insert_with(|| {
            let path = folder.join(format!("{op}.safetensors"));
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        });
        let looser = table::TOLERANCES.iter().find(|(name, ..)| *name == op);
        let tolerance = looser.map_or((1e-4, 1e-12), |t| (t.1, t.2));
        let result = catch_unwind(AssertUnwindSafe(|| {
            let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
            run(case, &file, *build, tolerance)
        }));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default())
        });
        match result {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                println!("{op}/{} {}: {error}", case["id"], case["spec"]);
            }
        }
    }
    let count: usize = unsupported.values().sum();
    println!("golden: {passed} passed, {failed} failed, {count} unsupported");
    for (op, cases) in unsupported {
        let reason = table::UNSUPPORTED.iter().find(|(name, _)| *name == op).map_or("", |(_, reason)| reason);
        println!("unsupported: {op} ({cases} cases): {reason}");
    }
    assert_eq!(failed, 0, "{failed} cases failed");
}
