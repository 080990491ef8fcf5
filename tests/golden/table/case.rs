//! A case as its JSON describes it: the tensors, and the arguments by place or by name.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::tape::{Grads, T, Tape};
use downhill::prelude::*;
use downhill::shape::DType;

/// The arguments of a case, and the tape that its operation is staged on.
pub struct Case<'a> {
    pub t: Tape,
    pub spec: &'a Json,
    pub tensors: HashMap<String, T>,
    /// Those that hold truth values.
    pub masks: HashSet<String>,
}

impl Case<'_> {
    /// An argument by its place behind the input or by its name; none where it is left out or null.
    pub fn arg(&self, place: usize, name: &str) -> Option<&Json> {
        let by_place = (place != NO_PLACE).then(|| self.spec["args"].get(place)).flatten();
        by_place.or_else(|| self.spec["kwargs"].get(name)).filter(|x| !x.is_null())
    }

    pub fn tensor_in(&self, json: &Json) -> Option<T> {
        json.get("tensor").and_then(Json::as_str).map(|key| self.tensors[key])
    }

    pub fn x(&self) -> T {
        self.tensor_in(&self.spec["input"]).expect("the input is a tensor")
    }

    /// The input as a list of tensors.
    pub fn xs(&self) -> Vec<T> {
        let list = self.spec["input"].as_array().expect("the input is a list");
        list.iter().filter_map(|x| self.tensor_in(x)).collect()
    }

    pub fn tensor(&self, place: usize, name: &str) -> Option<T> {
        self.arg(place, name).and_then(|json| self.tensor_in(json))
    }

    /// A tensor of numbers, or a number as one.
    pub fn operand(&mut self, place: usize, name: &str) -> Option<T> {
        match self.tensor(place, name) {
            Some(x) => Some(if self.is_index(x) { op!(self.t, float(x)) } else { x }),
            None => self.number(place, name).map(|x| self.t.push(x)),
        }
    }

    pub fn number(&self, place: usize, name: &str) -> Option<f64> {
        self.arg(place, name).and_then(number)
    }

    pub fn number_or(&self, place: usize, name: &str, default: f64) -> f32 {
        self.number(place, name).unwrap_or(default) as f32
    }

    pub fn int(&self, place: usize, name: &str) -> Option<isize> {
        self.arg(place, name).and_then(Json::as_i64).map(|n| n as isize)
    }

    pub fn bool(&self, place: usize, name: &str) -> bool {
        self.arg(place, name).and_then(Json::as_bool).unwrap_or(false)
    }

    pub fn text(&self, place: usize, name: &str) -> Option<&str> {
        self.arg(place, name).and_then(Json::as_str)
    }

    /// A list of numbers, or one number as a list.
    pub fn ints(&self, place: usize, name: &str) -> Option<Vec<isize>> {
        match self.arg(place, name)? {
            Json::Array(list) => list.iter().map(|n| n.as_i64().map(|n| n as isize)).collect(),
            n => n.as_i64().map(|n| vec![n as isize]),
        }
    }

    /// Sizes as a list, or as all arguments from `place` on.
    pub fn sizes(&self, name: &str) -> Vec<isize> {
        match self.ints(0, name) {
            Some(list) if self.spec["args"].get(1).is_none() => list,
            _ => self.spec["args"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|n| n.as_i64().map(|n| n as isize))
                .collect(),
        }
    }

    /// A value for each of `n` axes from a list, or one for all.
    pub fn each(&self, place: usize, name: &str, n: usize, default: isize) -> Vec<usize> {
        let list = self.ints(place, name).filter(|l| !l.is_empty()).unwrap_or(vec![default]);
        (0..n).map(|i| list[if list.len() == 1 { 0 } else { i }] as usize).collect()
    }

    pub fn is_index(&self, x: T) -> bool {
        matches!(self.t.value(x), Value::Var(v) if self.t.g.graph()[v].dtype == DType::I32)
    }

    /// Whether an argument holds truth values, which are zeros and ones here.
    pub fn is_mask(&self, place: usize, name: &str) -> bool {
        let key = self.arg(place, name).and_then(|json| json.get("tensor")).and_then(Json::as_str);
        key.is_some_and(|key| self.masks.contains(key))
    }

    pub fn reduction(&self) -> &str {
        self.text(NO_PLACE, "reduction").unwrap_or("mean")
    }

    /// An axis from zero on.
    pub fn axis(&self, x: T, axis: isize) -> usize {
        let rank = self.t.rank(x).max(1) as isize;
        (if axis < 0 { axis + rank } else { axis }) as usize
    }

    /// A place along an axis, counted from the end when negative.
    pub fn axis_size(&self, x: T, axis: usize, place: isize) -> usize {
        let n = self.t.shape(x)[axis] as isize;
        (if place < 0 { place + n } else { place }) as usize
    }

    /// The axes of an argument; none or an empty list stands for all.
    pub fn axes(&self, x: T, place: usize, name: &str) -> Vec<isize> {
        let rank = self.t.rank(x) as isize;
        match self.ints(place, name) {
            Some(list) if !list.is_empty() && rank > 0 => list,
            _ => (0..rank).collect(),
        }
    }
}

/// For arguments that come by name only.
pub const NO_PLACE: usize = usize::MAX;

pub fn number(json: &Json) -> Option<f64> {
    match json {
        Json::String(s) => match s.as_str() {
            "inf" | "Infinity" => Some(f64::INFINITY),
            "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        Json::Bool(b) => Some(*b as u8 as f64),
        json => json.as_f64(),
    }
}

/// A list of sizes or axes as an argument.
pub fn ints(list: &[isize]) -> Value {
    let mut all = [0; 8];
    all[..list.len()].copy_from_slice(list);
    Value::Ints { list: all, len: list.len() }
}

pub fn dims(list: &[usize]) -> Value {
    ints(&list.iter().map(|&n| n as isize).collect::<Vec<_>>())
}
