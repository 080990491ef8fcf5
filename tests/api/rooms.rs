//! The modules stand in the order of the work, and none imports one that comes later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of a folder in order, and which of the rooms before them each may import.
type Order = &'static [(&'static str, &'static [&'static str])];

/// Each folder whose rooms, which are folders or files, are in order.
const HOUSE: &[(&str, Order)] = &[
    (
        "runtime/src",
        &[
            ("error", &[]),
            ("ir", &["error"]),
            ("shape", &["ir"]),
            ("tensor", &["error", "shape"]),
            ("graph", &["error", "ir", "shape", "tensor"]),
            ("network", &["shape", "graph"]),
            ("ops", &["ir", "shape", "graph", "network"]),
            ("nn", &["shape", "graph", "network", "ops"]),
            ("kernel", &["error", "ir", "shape", "graph"]),
            ("codegen", &["error", "ir"]),
            ("optim", &["error", "graph", "network", "ops"]),
            ("exec", &["error", "ir", "shape", "tensor", "graph", "network", "ops", "kernel", "codegen", "optim"]),
            ("data", &["error", "shape", "tensor", "exec"]),
            ("train", &["error", "tensor", "network", "optim", "exec", "data"]),
        ],
    ),
    (
        "runtime/src/ir/product",
        &[
            ("matmul", &[]),
            ("spec", &["matmul"]),
            ("portable", &["spec"]),
            ("dots", &["spec"]),
            ("blocking", &["spec", "dots"]),
            ("numbers", &["spec", "portable", "blocking"]),
            ("canonical", &["matmul", "spec"]),
            ("pieces", &["matmul", "spec", "canonical"]),
        ],
    ),
    ("runtime/src/kernel", &[("fuse", &[]), ("nest", &["fuse"]), ("schedule", &["fuse", "nest"])]),
    ("runtime/src/codegen", &[("portable", &[]), ("x86", &[]), ("matmul", &["x86"])]),
    (
        "runtime/src/codegen/x86",
        &[
            ("codes", &[]),
            ("asm", &["codes"]),
            ("lanes", &["codes", "asm"]),
            ("quarters", &["codes", "asm"]),
            ("schedule", &[]),
            ("regs", &[]),
            ("frame", &["asm"]),
            ("call", &["asm", "frame"]),
            ("group", &["asm", "schedule", "regs", "frame"]),
            ("memory", &["codes", "asm", "frame", "group"]),
            ("inst", &["codes", "asm", "group"]),
            ("effects", &["asm", "schedule", "frame", "group"]),
            ("run", &["asm", "schedule", "regs", "frame", "group"]),
        ],
    ),
    (
        "runtime/src/codegen/matmul",
        &[
            ("portable", &[]),
            ("emitter", &[]),
            ("sums", &[]),
            ("ahead", &["emitter"]),
            ("check", &["emitter", "sums"]),
            ("totals", &["emitter"]),
            ("pack", &["emitter"]),
            ("store", &["emitter", "sums"]),
            ("tile", &["emitter", "sums"]),
            ("dots", &["emitter"]),
            ("x86", &["emitter"]),
        ],
    ),
    ("runtime/src/exec", &[("run", &[]), ("api", &["run"]), ("io", &["api"]), ("measure", &["run", "api"])]),
    (
        "macros/src",
        &[
            ("error", &[]),
            ("names", &[]),
            ("parse", &["error", "names"]),
            ("lower", &["error", "names", "parse"]),
            ("gradient", &["names", "parse", "lower"]),
            ("emit", &["names", "parse", "lower", "gradient"]),
            ("expand", &["error", "names", "parse", "lower", "emit"]),
        ],
    ),
];

/// Files of a folder and below that are no tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap();
        match path.is_dir() {
            _ if name == "tests" => {}
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

/// The code of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The modules of a folder that a text names after `prefix`, such as `a` and `b` in `crate::{a::X, b}`.
fn named(text: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap(),
        };
        names.extend(list.split(',').map(|path| path.trim().split("::").next().unwrap().to_string()));
    }
    names
}

#[test]
fn no_import_goes_against_the_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for (folder, order) in HOUSE {
        let inside =
            folder.split_once("src/").map_or(String::new(), |(_, inside)| format!("{}::", inside.replace('/', "::")));
        let before: BTreeMap<&str, &[&str]> = order.iter().copied().collect();
        for (i, (room, may)) in order.iter().enumerate() {
            let earlier = |name: &&str| order[..i].iter().any(|(room, _)| room == name);
            assert!(may.iter().all(earlier), "{folder}: {room} may import what comes later");
            let path = root.join(folder).join(room);
            let is_folder = path.is_dir();
            let files = if is_folder { files(&path) } else { vec![path.with_extension("rs")] };
            for file in files {
                let text = code(&file);
                let mut names = named(&text, &format!("crate::{inside}"));
                // Files of one folder import each other by `super`.
                names.extend(if is_folder { vec![] } else { named(&text, "super::") });
                for name in names {
                    if before.contains_key(&name[..]) && name != *room && !may.contains(&&name[..]) {
                        faults.push(format!("{} imports {name}", file.strip_prefix(root).unwrap().display()));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, order) in HOUSE {
        let has_files = order.iter().any(|(room, _)| root.join(folder).join(room).with_extension("rs").is_file());
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            // Files beside folders alone are what all of them share.
            let is_room = if path.is_dir() { !files(&path).is_empty() } else { has_files };
            let known = ["lib", "mod", "tests", "docs"].contains(&name) || order.iter().any(|(room, _)| *room == name);
            assert!(!is_room || known, "{folder}: {name} has no place in the order");
        }
    }
}
