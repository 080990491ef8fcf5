//! A graph as text for [Graphviz](https://graphviz.org/doc/info/lang.html).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, Op, Var};
use crate::shape::DType;

/// The labels of a drawing.
pub(crate) struct Labels<'l> {
    /// The name of the graph.
    pub(crate) name: &'l str,
    /// The user's name of an input, by its node.
    pub(crate) source: &'l dyn Fn(Var) -> Option<String>,
    /// The number of the kernel that computes each node, if one does.
    pub(crate) kernel: &'l dyn Fn(Var) -> Option<usize>,
    /// The description of each kernel, by its number.
    pub(crate) kernels: &'l dyn Fn(usize) -> String,
    /// The results and their names.
    pub(crate) results: &'l [(Var, &'l str)],
}

impl Graph {
    /// The nodes that the results depend on, each with its name, shape and type, and an edge from each argument; the
    /// nodes of a kernel are a cluster.
    pub(crate) fn dot(&self, labels: &Labels<'_>) -> String {
        let live = self.live(labels.results.iter().map(|(v, _)| *v));
        let mut clusters: BTreeMap<Option<usize>, String> = BTreeMap::new();
        let mut edges = String::new();
        for (v, node) in self.vars().filter(|(v, _)| live[v.index()]) {
            let name = match (&node.op, node.dtype) {
                (Op::Const(bits), DType::F32) => format!("{:?}", f32::from_bits(*bits)),
                (Op::Const(bits), _) => (*bits as i32).to_string(),
                _ => (labels.source)(v).unwrap_or_else(|| node.name()),
            };
            let label = quoted(&format!("{} {name}\n{} {:?}", v.index(), node.dtype.name(), node.shape));
            let nodes = clusters.entry((labels.kernel)(v)).or_default();
            let _ = writeln!(nodes, "    {} [label={label}];", id(v));
            for (i, &arg) in node.args.iter().enumerate() {
                let label = if node.args.len() > 1 { format!(" [label=\"{i}\"]") } else { String::new() };
                let _ = writeln!(edges, "  {} -> {}{label};", id(arg), id(v));
            }
        }
        let mut text =
            format!("digraph {} {{\n  node [shape=box, style=filled, fillcolor=white];\n", quoted(labels.name));
        for (kernel, nodes) in clusters {
            let _ = match kernel {
                None => writeln!(text, "  {{\n{nodes}  }}"),
                Some(number) => {
                    let label = quoted(&(labels.kernels)(number));
                    let style = "style=filled; color=lightblue;";
                    writeln!(text, "  subgraph \"cluster_{number}\" {{\n    label={label}; {style}\n{nodes}  }}")
                }
            };
        }
        for (i, (v, name)) in labels.results.iter().enumerate() {
            let _ = writeln!(text, "  \"result{i}\" [label={}, shape=ellipse];", quoted(name));
            let _ = writeln!(edges, "  {} -> \"result{i}\";", id(*v));
        }
        text + &edges + "}\n"
    }
}

/// The name of a node.
fn id(v: Var) -> String {
    format!("\"v{}\"", v.index())
}

/// A name between quotation marks.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Stage;

    #[test]
    fn nodes_are_in_the_cluster_of_their_kernel() {
        let mut g = Stage::new();
        let x = g.input(0, &[2, 3], DType::F32);
        let y = g.add(Some(x), Some(x)).expect("a sum");
        let text = g.graph().dot(&Labels {
            name: "a \"graph\"",
            source: &|v| (v == x).then(|| "x".into()),
            kernel: &|v| (v == y).then_some(7),
            kernels: &|i| format!("kernel {i}"),
            results: &[(y, "the\\sum")],
        });
        let expected = [
            r#"digraph "a \"graph\"" {"#,
            r#"  node [shape=box, style=filled, fillcolor=white];"#,
            r#"  {"#,
            r#"    "v0" [label="0 x\nTensor [2, 3]"];"#,
            r#"  }"#,
            r#"  subgraph "cluster_7" {"#,
            r#"    label="kernel 7"; style=filled; color=lightblue;"#,
            r#"    "v1" [label="1 add\nTensor [2, 3]"];"#,
            r#"  }"#,
            r#"  "result0" [label="the\\sum", shape=ellipse];"#,
            r#"  "v0" -> "v1" [label="0"];"#,
            r#"  "v0" -> "v1" [label="1"];"#,
            r#"  "v1" -> "result0";"#,
            r#"}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
