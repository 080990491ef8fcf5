//! What is told of kernels: which emitter made each, how wide its vectors are and why they are narrower than asked for;
//! what a program is made of, in files; and the names of kernels for a profiler.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use downhill::prelude::*;
use downhill::shape::DType;

use crate::guarded::levels;

#[network(sequential, loss = mse)]
struct Net {
    hidden: Linear<6, 8>,
    act: Tanh,
    out: Linear<8, 3>,
}

/// One test of this file in a process of its own with these variables.
fn alone(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut again = Command::new(std::env::current_exe().expect("the path of this program"));
    again.args([&format!("inside::{test}"), "--exact", "--nocapture", "--ignored"]);
    again.envs(variables.iter().copied());
    again
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// What such a test prints.
fn printed(test: &str, variables: &[(&str, &str)]) -> String {
    let output = alone(test, variables).output().expect("a process");
    let text = text(&output);
    assert!(output.status.success(), "{variables:?}: {text}");
    text
}

/// The error of a step with these variables.
fn error(variables: &[(&str, &str)]) -> String {
    let output = alone("runs_a_step", variables).output().expect("a process");
    assert!(!output.status.success(), "{variables:?}");
    line(&text(&output), &["Setting {"]).to_owned()
}

/// A product, a loop and a look-up of rows.
fn three_kernels() -> downhill::Result<downhill::Computation> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[40, 24], DType::F32));
    let index = Value::Var(g.input(1, &[6], DType::I32));
    let weight = Value::Var(g.input(2, &[24, 16], DType::F32));
    let product = matmul::stage(&mut g, x, weight);
    let hidden = tanh::stage(&mut g, product);
    let rows = gather::stage(&mut g, hidden, index);
    g.compile(&[rows])
}

/// `tanh` of elements that are further apart than offsets of emitted kernels reach, and a product of such rows.
fn far_kernels() -> downhill::Result<[String; 2]> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[3 << 24], DType::F32));
    let apart = stride::stage(&mut g, x, 0, (1 << 24) + 1);
    let apart = tanh::stage(&mut g, apart);
    let apart = g.compile(&[apart])?.explain();
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[2, 2_100_000], DType::F32));
    let x = slice::stage(&mut g, x, -1, 0, 8);
    let weight = Value::Var(g.input(1, &[8, 16], DType::F32));
    let product = matmul::stage(&mut g, x, weight);
    Ok([apart, g.compile(&[product])?.explain()])
}

#[test]
#[ignore = "for a process of its own"]
fn tells_of_three_kernels() -> downhill::Result<()> {
    println!("{}", three_kernels()?.explain());
    Ok(())
}

#[test]
#[ignore = "for a process of its own"]
fn tells_of_far_kernels() -> downhill::Result<()> {
    println!("{}", far_kernels()?.concat());
    Ok(())
}

/// What makes the code of a level.
fn backend(level: &str) -> &'static str {
    match level {
        "avx512" => "x86 512 bits",
        "avx2" => "x86 256 bits",
        _ => "Cranelift 128 bits",
    }
}

/// The line of a text in which all of these words are.
fn line<'t>(text: &'t str, words: &[&str]) -> &'t str {
    let found = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line with {words:?}: {text}"))
}

#[test]
fn explain_says_what_made_each_kernel() {
    for level in levels() {
        let text = printed("tells_of_three_kernels", &[("DOWNHILL_SIMD", level)]);
        for kernel in ["tanh", "matmul"] {
            line(&text, &[backend(level), kernel]);
        }
        line(&text, &["runtime", "gather"]);
        assert!(!text.contains("instead of"), "{text}");
    }
}

#[test]
fn a_kernel_of_narrower_vectors_says_why() {
    for level in levels() {
        let text = printed("tells_of_far_kernels", &[("DOWNHILL_SIMD", level)]);
        for kernel in ["tanh", "matmul"] {
            line(&text, &["Cranelift 128 bits", kernel]);
        }
        let bits = backend(level).split(' ').nth(1).unwrap();
        match level {
            "portable" => assert!(!text.contains("instead of"), "{text}"),
            _ => {
                let instead = format!("128 bits instead of {bits}: ");
                line(&text, &[&instead, "elements of a row are 16777217 apart, more than 16777216"]);
                line(&text, &[&instead, "rows or columns of a matrix are 2100000 elements apart, more than 2097152"]);
            }
        }
    }
}

#[test]
#[ignore = "for a process of its own"]
fn runs_a_step() -> downhill::Result<()> {
    let mut model = Net::init(0);
    let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    let (x, y) = (Tensor::new([4, 6], vec![0.5; 24])?, Tensor::new([4, 3], vec![0.0; 12])?);
    step.run(&mut model, (&x, &y))?;
    Ok(())
}

/// A folder that is removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("downhill-inside-{name}-{}", std::process::id())))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a step that writes what its programs are made of.
fn dump(folder: &Path) -> String {
    printed("runs_a_step", &[("DOWNHILL_DUMP", folder.to_str().unwrap()), ("DOWNHILL_SIMD", levels().last().unwrap())])
}

/// The text with `""` for each name between quotation marks, and the names.
fn names(text: &str) -> (String, Vec<String>) {
    let (mut rest, mut names, mut chars) = (String::new(), Vec::new(), text.chars());
    while let Some(c) = chars.next() {
        rest.push(c);
        if c != '"' {
            continue;
        }
        let mut name = String::new();
        loop {
            match chars.next().expect("the end of a name") {
                '"' => break,
                '\\' => name.extend(['\\', chars.next().expect("what is escaped")]),
                '\n' => panic!("a name over two lines: {name}"),
                c => name.push(c),
            }
        }
        rest.push('"');
        names.push(name);
    }
    (rest, names)
}

#[test]
fn a_step_is_written_to_files() {
    let folder = Folder::new("files");
    dump(&folder.0.join("new"));
    let folder = Folder(folder.0.join("new"));
    let mut kinds: Vec<String> = fs::read_dir(&folder.0)
        .expect("the folder is made")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_prefix("Net-loss-0.").map(str::to_owned))
        .collect();
    kinds.sort();
    let all = ["code.bin", "code.txt", "graph.dot", "kernels.txt", "strips.txt"];
    let disassembled = cfg!(all(feature = "dump", target_arch = "x86_64"));
    assert_eq!(kinds, all[disassembled as usize..]);
    assert!(folder.0.join("update-0.graph.dot").exists());

    let kernels = folder.read("Net-loss-0.kernels.txt");
    line(&kernels, &["kernel 0: matmul, 4 x 6 x 8, ", "bits: matmul"]);
    line(&kernels, &["o1: value ", "the parameters from 0, 48 elements"]);
    line(&kernels, &["the gradient from 0, 48 elements"]);

    let strips = folder.read("Net-loss-0.strips.txt");
    line(&strips, &["kernel 1: loop, ", "tanh"]);
    for op in ["float = o0[i]", "= add r", "= mul_add r", "= div r", "= scale r", "o2[i] = r", "sum over the row of r"]
    {
        line(&strips, &[op]);
    }
    line(&strips, &["a product of 4 x 6 and 6 x 8 elements"]);

    let code = folder.read("Net-loss-0.code.txt");
    line(&code, &["kernel 0: matmul"]);
    match disassembled {
        true => line(&code, &["  ret"]),
        false => line(&code, &["objdump -D -b binary", "Net-loss-0.code.bin"]),
    };
}

#[test]
fn the_graph_is_well_formed() {
    let folder = Folder::new("graph");
    dump(&folder.0);
    let graph = folder.read("Net-loss-0.graph.dot");
    let (rest, _) = names(&graph);
    let words = rest.split(|c: char| c.is_whitespace() || "{}[]=,;\"".contains(c)).filter(|word| !word.is_empty());
    let known = "digraph node subgraph label shape style color fillcolor box ellipse filled white lightblue ->";
    let known: HashSet<&str> = known.split(' ').collect();
    assert_eq!(words.filter(|word| !known.contains(word)).collect::<Vec<_>>(), [""; 0], "names have quotation marks");
    for (open, close) in [('{', '}'), ('[', ']')] {
        assert_eq!(rest.matches(open).count(), rest.matches(close).count());
    }
    let (mut nodes, mut ends) = (HashSet::new(), HashSet::new());
    for line in graph.lines().map(str::trim_start).filter(|line| line.starts_with('"')) {
        match names(line).1 {
            found if line.contains(" -> ") => ends.extend([found[0].clone(), found[1].clone()]),
            found => assert!(nodes.insert(found[0].clone()), "{line}"),
        }
    }
    assert_eq!(nodes, ends, "every node has an edge, and every edge two nodes");
    line(&graph, &["parameter `hidden.weight`\\nTensor [8, 6]"]);
    line(&graph, &["the gradient of `out.bias`"]);
    line(&graph, &["label=\"kernel 1: loop, "]);
}

#[test]
fn what_is_there_is_not_written_over() {
    let folder = Folder::new("twice");
    dump(&folder.0);
    let before = folder.read("update-0.code.txt");
    fs::remove_file(folder.0.join("Net-loss-0.graph.dot")).unwrap();
    let error = |name: &str| error(&[("DOWNHILL_DUMP", name)]);
    let there = error(folder.0.to_str().unwrap());
    assert!(there.contains("DOWNHILL_DUMP") && there.contains("-0.graph.dot: File exists"), "{there}");
    assert_eq!(folder.read("update-0.code.txt"), before);
    let file = folder.0.join("update-0.code.txt");
    for name in ["", file.to_str().unwrap()] {
        assert!(error(name).contains("DOWNHILL_DUMP"), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_profiler_is_told_the_names_of_kernels() {
    let process = alone("runs_a_step", &[("DOWNHILL_PERF", "1")]).stdout(std::process::Stdio::null()).spawn();
    let mut process = process.expect("a process");
    let path = format!("/tmp/perf-{}.map", process.id());
    assert!(process.wait().expect("its end").success());
    let map = fs::read_to_string(&path).expect("a map");
    fs::remove_file(&path).unwrap();
    let mut kernels: Vec<(u64, u64, &str)> = map
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut number = || u64::from_str_radix(words.next().unwrap(), 16).expect("a number");
            let (start, size) = (number(), number());
            (start, size, words.next().expect("a name"))
        })
        .collect();
    for name in ["Net::loss#0 matmul", "Net::loss#1 loop", "update#0 loop"] {
        assert_eq!(kernels.iter().filter(|kernel| kernel.2 == name).count(), 1, "{name}: {map}");
    }
    kernels.sort();
    assert!(kernels.iter().all(|kernel| kernel.0 > 0 && kernel.1 > 0), "{map}");
    assert!(kernels.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "no code has two names: {map}");
}

#[test]
fn another_value_is_refused() {
    let error = error(&[("DOWNHILL_PERF", "yes")]);
    assert!(error.contains("DOWNHILL_PERF") && error.contains("found: \"yes\""), "{error}");
}
