//! What a program is made of, in files: what `DOWNHILL_DUMP` asks for.
//!
//! The files and their forms are described at [`Step::explain`](crate::Step::explain).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Program;
use crate::codegen::disassemble;
use crate::error::{Error, Result};
use crate::graph::{Graph, Labels, Op, Var};
use crate::ir::Level;
use crate::kernel::{Description, Plan, Region, Work};

/// What a program is compiled from.
pub(crate) struct Forms<'f> {
    pub(crate) graph: &'f Graph,
    pub(crate) plan: &'f Plan,
    /// What the values of operations from outside are.
    pub(crate) source: &'f dyn Fn(&Op) -> Result<Region, String>,
    pub(crate) results: &'f [(Var, Region)],
}

/// The folder that the environment variable `DOWNHILL_DUMP` names, if it is set. It is read once.
///
/// # Errors
///
/// When the variable names none.
fn folder() -> Result<Option<&'static Path>> {
    static FOLDER: OnceLock<Result<Option<PathBuf>, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let Some(name) = std::env::var_os("DOWNHILL_DUMP") else { return Ok(None) };
        // The same folder wherever the process goes.
        std::path::absolute(&name).map(Some).map_err(|error| format!("{name:?}: {error}"))
    });
    folder.as_ref().map(Option::as_deref).map_err(|found| refused(found.clone()))
}

fn refused(found: String) -> Error {
    Error::Setting { setting: "DOWNHILL_DUMP", expected: "a folder to which new files can be written", found }
}

/// Writes what a program is made of, if the setting asks for it.
///
/// # Errors
///
/// When a file is there already or cannot be written.
pub(crate) fn write(program: &Program, forms: &Forms<'_>) -> Result<()> {
    let Some(folder) = folder()? else { return Ok(()) };
    let stem = stem(program.name());
    let (code, bytes) = code(program, &stem);
    let mut files = vec![
        ("graph.dot", forms.graph(program).into_bytes()),
        ("kernels.txt", forms.kernels(program).into_bytes()),
        ("strips.txt", forms.strips(program)?.into_bytes()),
        ("code.txt", code.into_bytes()),
    ];
    files.extend(bytes.map(|bytes| ("code.bin", bytes)));
    let refused = |path: &Path, error: io::Error| refused(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| refused(folder, error))?;
    for (kind, bytes) in files {
        let path = folder.join(format!("{stem}.{kind}"));
        let written = File::create_new(&path).and_then(|mut file| io::Write::write_all(&mut file, &bytes));
        written.map_err(|error| refused(&path, error))?;
    }
    Ok(())
}

/// What the names of a program's files begin with: the function's name and a number.
fn stem(function: &str) -> String {
    static NUMBERS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    let words = function.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Some systems take two names for one that differ in capitals alone.
    let number = numbers.entry(name.to_lowercase()).or_default();
    *number += 1;
    format!("{name}-{}", *number - 1)
}

/// What each kernel is.
fn headings(program: &Program) -> impl Iterator<Item = String> {
    program.kernels().enumerate().map(|(i, (kernel, backend))| {
        let Description { kind, sizes, operations, .. } = kernel;
        format!("kernel {i}: {kind}, {sizes}, {backend}: {operations}")
    })
}

impl Forms<'_> {
    fn graph(&self, program: &Program) -> String {
        let headings: Vec<String> = headings(program).collect();
        // What is computed again is in several kernels: the first one counts.
        let mut kernel = BTreeMap::new();
        for (i, call) in self.plan.calls.iter().enumerate().rev() {
            kernel.extend(call.nodes.iter().map(|&v| (v, i)));
        }
        let results: Vec<(Var, &str)> = self.results.iter().map(|(v, region)| (*v, &region.name[..])).collect();
        self.graph.dot(&Labels {
            name: program.name(),
            source: &|v| (self.source)(&self.graph[v].op).ok().map(|region| region.name),
            kernel: &|v| kernel.get(&v).copied(),
            kernels: &|i| headings[i].clone(),
            results: &results,
        })
    }

    fn kernels(&self, program: &Program) -> String {
        let mut text = program.explain(None);
        for (call, heading) in self.plan.calls.iter().zip(headings(program)) {
            let _ = writeln!(text, "\n{heading}");
            for &v in &call.nodes {
                let (number, node) = (v.index(), &self.graph[v]);
                let _ = writeln!(text, "  value {number}: {} {:?} {}", node.dtype.name(), node.shape, node.name());
            }
            text += &self.plan.operands_as_text(call);
        }
        text
    }

    fn strips(&self, program: &Program) -> Result<String> {
        let (mut text, level) = (format!("{}\n", program.name()), Level::current()?);
        for (call, heading) in self.plan.calls.iter().zip(headings(program)) {
            let _ = writeln!(text, "\n{heading}");
            let _ = match &call.work {
                Work::Loop(kernel) => write!(text, "{kernel}"),
                Work::MatMul(product) => write!(text, "{product}{}", product.pieces_as_text(level)),
                _ => writeln!(text, "  a function of the runtime"),
            };
        }
        Ok(text)
    }
}

/// The machine code of all kernels as text; and as bytes, if it is not disassembled.
fn code(program: &Program, stem: &str) -> (String, Option<Vec<u8>>) {
    let machine = if cfg!(target_arch = "x86_64") { "i386:x86-64 -M intel" } else { std::env::consts::ARCH };
    let (mut text, mut all) = (format!("{}\n", program.name()), Vec::new());
    let mut complete = true;
    for (parts, heading) in program.codes().zip(headings(program)) {
        let _ = writeln!(text, "\n{heading}");
        let mut known = HashSet::new();
        for (part, code) in parts.iter().enumerate().filter(|(_, code)| known.insert(code.address())) {
            let bytes = code.bytes();
            let _ = writeln!(text, "part {part}: {} bytes", bytes.len());
            if let Some(instructions) = disassemble(bytes) {
                text += &instructions;
                continue;
            }
            // A cache line, as in memory.
            let start = all.len().next_multiple_of(64);
            let stop = start + bytes.len();
            let range = format!("--start-address={start} --stop-address={stop}");
            let _ = writeln!(text, "objdump -D -b binary -m {machine} {range} {stem}.code.bin");
            all.resize(start, 0);
            all.extend(bytes);
            complete = false;
        }
    }
    (text, (!complete).then_some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain_and_each_is_another() {
        assert_eq!(stem("Gpt::loss of `x`/../y"), "Gpt-loss-of-x-y-0");
        assert_eq!(stem("gpt::loss of x y"), "gpt-loss-of-x-y-1");
        assert_eq!(stem(""), "-0");
    }
}
