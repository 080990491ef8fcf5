//! Equations: against a plain loop over all letters, what they are computed by, and what is refused.

use std::collections::BTreeMap;

use downhill::graph::Var;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, check::Check, check::Type};
use proptest::prelude::*;

/// An equation with every axis under a letter of its own: those of `...` are `Y` and `Z`.
#[derive(Clone, Debug)]
struct Equation {
    text: String,
    terms: Vec<Vec<char>>,
    out: Vec<char>,
    shapes: Vec<Vec<usize>>,
}

const LETTERS: [char; 5] = ['c', 'a', 'B', 'e', 'd'];
const DOTS: [char; 2] = ['Y', 'Z'];

fn written(term: &[char]) -> String {
    let mut text = String::new();
    for letter in term {
        match letter {
            'Y' | 'Z' if text.ends_with("...") => {}
            'Y' | 'Z' => text += "...",
            letter => text.push(*letter),
        }
    }
    text
}

/// A tensor's letters, where the dots stand and how many axes they are, and which axes have size one.
type Draw = (Vec<usize>, usize, usize, u8);

fn equations() -> impl Strategy<Value = Equation> {
    let term = (prop::collection::vec(0..5usize, 0..4), 0..4usize, 0..4usize, any::<u8>());
    let out = (Just(LETTERS).prop_shuffle(), 0..6usize, 0..4usize, any::<bool>());
    (prop::collection::vec(1..5usize, 7), prop::collection::vec(term, 1..4), out, any::<bool>()).prop_map(
        |(sizes, draws, (order, count, place, keep_dots), implied)| {
            let size = |letter: char| {
                let all = LETTERS.iter().chain(&DOTS);
                sizes[all.clone().position(|l| *l == letter).expect("a letter of the list")]
            };
            let mut terms = Vec::new();
            let mut shapes = Vec::new();
            for (letters, place, dots, ones) in draws as Vec<Draw> {
                let mut term: Vec<char> = letters.iter().map(|&i| LETTERS[i]).collect();
                // Half of the tensors have dots, for one or two axes.
                let open = &DOTS[2 - dots.min(2)..];
                let at = place.min(term.len());
                if dots > 0 {
                    term.splice(at..at, open.iter().copied());
                }
                let shape = term.iter().enumerate().map(|(i, &letter)| {
                    let once = term.iter().filter(|l| **l == letter).count() == 1;
                    if once && ones >> i & 3 == 3 { 1 } else { size(letter) }
                });
                shapes.push(shape.collect());
                terms.push(term);
            }
            let mentioned = |letter: &char| terms.iter().flatten().any(|l| l == letter);
            let dots: Vec<char> = DOTS.into_iter().filter(mentioned).collect();
            let left = terms.iter().map(|term| written(term)).collect::<Vec<_>>().join(",");
            if implied {
                let mut out = LETTERS.to_vec();
                out.sort_unstable();
                out.retain(|letter| terms.iter().flatten().filter(|l| *l == letter).count() == 1);
                return Equation { text: left, out: [dots, out].concat(), terms, shapes };
            }
            let mut out: Vec<char> = order.into_iter().filter(mentioned).take(count).collect();
            if keep_dots {
                let at = place.min(out.len());
                out.splice(at..at, dots);
            }
            Equation { text: format!("{left} -> {}", written(&out)), terms, out, shapes }
        },
    )
}

impl Equation {
    fn sizes(&self) -> BTreeMap<char, usize> {
        let mut sizes = BTreeMap::new();
        for (&letter, &n) in self.terms.iter().flatten().zip(self.shapes.iter().flatten()) {
            let size = sizes.entry(letter).or_insert(1);
            *size = n.max(*size);
        }
        sizes
    }

    /// Calls `visit` with the places in the result and in every tensor, for all values of the letters.
    fn each(&self, mut visit: impl FnMut(usize, &[usize])) {
        let sizes: Vec<(char, usize)> = self.sizes().into_iter().collect();
        let total: usize = sizes.iter().map(|(_, n)| n).product();
        for flat in 0..total {
            let mut rest = flat;
            let at: BTreeMap<char, usize> = sizes
                .iter()
                .map(|&(letter, n)| {
                    let i = rest % n;
                    rest /= n;
                    (letter, i)
                })
                .collect();
            let full: Vec<usize> = self.out.iter().map(|letter| self.sizes()[letter]).collect();
            let place = |term: &[char], shape: &[usize]| {
                term.iter().zip(shape).fold(0, |flat, (l, &n)| flat * n + if n == 1 { 0 } else { at[l] })
            };
            let places: Vec<usize> = self.terms.iter().zip(&self.shapes).map(|(t, s)| place(t, s)).collect();
            visit(place(&self.out, &full), &places);
        }
    }
}

fn noise(seed: u64, len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| ((i * 7919 + seed * 104_729 + 13) % 257) as f64 / 128.0 - 1.0).collect()
}

fn input(data: &[f64], shape: &[usize]) -> Tensor {
    Tensor::new(shape, data.iter().map(|&x| x as f32).collect::<Vec<_>>()).expect("as many as the shape says")
}

fn staged(g: &mut Stage, equation: &str, xs: &[Value]) -> Value {
    match *xs {
        [a] => einsum::stage(g, equation, [a]),
        [a, b] => einsum::stage(g, equation, [a, b]),
        [a, b, c] => einsum::stage(g, equation, [a, b, c]),
        _ => unreachable!("one to three tensors"),
    }
}

fn gradients(g: &mut Stage, equation: &str, xs: &[Value], d: Grad) -> Vec<Grad> {
    match *xs {
        [a] => einsum::grad(g, equation, [a], d).1.to_vec(),
        [a, b] => einsum::grad(g, equation, [a, b], d).1.to_vec(),
        [a, b, c] => einsum::grad(g, equation, [a, b, c], d).1.to_vec(),
        _ => unreachable!("one to three tensors"),
    }
}

/// Numbers that agree but for rounding; `sizes` are the sums of the sizes of what was added up.
fn agree(what: &str, found: &Tensor, expected: &[f64], sizes: &[f64]) {
    assert_eq!(found.data().len(), expected.len(), "{what}");
    for (i, (&a, &b)) in found.data().iter().zip(expected).enumerate() {
        assert!((a as f64 - b).abs() <= 2e-6 * sizes[i] + 1e-30, "{what}[{i}]: {a}, expected {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn equations_agree_with_a_plain_loop(equation in equations(), seed in 0..1000u64) {
        let data: Vec<Vec<f64>> =
            equation.shapes.iter().zip(seed..).map(|(shape, seed)| noise(seed, shape.iter().product())).collect();
        let out_shape: Vec<usize> = equation.out.iter().map(|letter| equation.sizes()[letter]).collect();
        let cotangent = noise(seed + 9, out_shape.iter().product());

        let mut result = vec![[0.0; 2]; cotangent.len()];
        let mut slopes: Vec<Vec<[f64; 2]>> = data.iter().map(|x| vec![[0.0; 2]; x.len()]).collect();
        equation.each(|out, places| {
            let factor = |skip: usize| -> f64 {
                places.iter().enumerate().filter(|(i, _)| *i != skip).map(|(i, &at)| data[i][at]).product()
            };
            let add = |to: &mut [f64; 2], x: f64| *to = [to[0] + x, to[1] + x.abs()];
            add(&mut result[out], factor(usize::MAX));
            for (i, &at) in places.iter().enumerate() {
                add(&mut slopes[i][at], cotangent[out] * factor(i));
            }
        });

        let mut g = Stage::new();
        let xs: Vec<Value> =
            equation.shapes.iter().enumerate().map(|(i, s)| g.input(i, s, DType::F32).into()).collect();
        let y = staged(&mut g, &equation.text, &xs);
        prop_assert_eq!(g.error(), None, "{:?}", &equation);
        let Value::Var(y) = y else { unreachable!("no error was reported") };
        prop_assert_eq!(&g.graph()[y].shape, &out_shape, "{:?}", &equation);
        let d = g.input(xs.len(), &out_shape, DType::F32);
        let grads = gradients(&mut g, &equation.text, &xs, Some(d));
        let roots: Vec<Value> = std::iter::once(y).chain(grads.into_iter().flatten()).map(Value::from).collect();
        prop_assert_eq!(roots.len(), xs.len() + 1);
        let mut inputs: Vec<Tensor> = data.iter().zip(&equation.shapes).map(|(x, s)| input(x, s)).collect();
        inputs.push(input(&cotangent, &out_shape));
        let inputs: Vec<Input<'_>> = inputs.iter().map(Input::from).collect();
        let found = g.compute(&roots, &inputs).unwrap();
        let all = std::iter::once(&result).chain(&slopes);
        for (i, (found, expected)) in found.iter().zip(all).enumerate() {
            let [values, sizes] = [0, 1].map(|part| expected.iter().map(|x| x[part]).collect::<Vec<_>>());
            agree(&format!("{equation:?} value {i}"), found, &values, &sizes);
        }
    }

    /// Whatever stands in an equation, it is refused or understood.
    #[test]
    fn any_text_is_refused_or_understood(text in "[a-cA-B.,> -]{0,14}|.{0,6}", ranks in prop::collection::vec(0..4usize, 2)) {
        let mut g = Stage::new();
        let xs = [0, 1].map(|i| Value::Var(g.input(i, &vec![2; ranks[i]], DType::F32)));
        let y = einsum::stage(&mut g, &text, xs);
        prop_assert_eq!(matches!(y, Value::Unknown), g.error().is_some());
        if let Some(error) = g.error() {
            prop_assert!(error.starts_with("einsum: "), "{}", error);
        }
    }
}

/// How many nodes that are no views the equation takes, and of what kind.
fn work(equation: &str, shapes: &[&[usize]]) -> Vec<String> {
    let mut g = Stage::new();
    let xs: Vec<Value> = shapes.iter().enumerate().map(|(i, s)| g.input(i, s, DType::F32).into()).collect();
    let Value::Var(y) = staged(&mut g, equation, &xs) else { panic!("{:?}", g.error()) };
    let live = g.graph().live([y]);
    let views = ["transpose", "reshape", "broadcast", "slice"];
    let nodes = g.graph().vars().filter(|(v, _)| live[index(&g, *v)]).map(|(_, node)| node.name());
    nodes.filter(|name| !name.starts_with("input") && !views.contains(&name.as_str())).collect()
}

fn index(g: &Stage, v: Var) -> usize {
    g.graph().vars().position(|(u, _)| u == v).expect("a node of the graph")
}

#[test]
fn two_tensors_are_one_matrix_product() {
    assert_eq!(work("ij,jk->ik", &[&[2, 3], &[3, 4]]), ["matmul"]);
    assert_eq!(work("bthd,bshd->bhts", &[&[2, 3, 5, 4], &[2, 6, 5, 4]]), ["matmul"]);
    assert_eq!(work("bhts,bshd->bthd", &[&[2, 5, 3, 6], &[2, 6, 5, 4]]), ["matmul"]);
    assert_eq!(work("...i,oi->...o", &[&[2, 3, 4], &[5, 4]]), ["matmul"]);
    assert_eq!(work("abij,ijc->abc", &[&[2, 3, 4, 5], &[4, 5, 6]]), ["matmul"]);
    assert_eq!(work("ij,jk,kl->il", &[&[2, 3], &[3, 4], &[4, 5]]), ["matmul", "matmul"]);
    // What is in one tensor alone is summed first.
    assert_eq!(work("ijx,jk->ik", &[&[2, 3, 7], &[3, 4]]), ["sum", "matmul"]);
    // Nothing to sum over, and one sum for each element, are loops.
    assert_eq!(work("i,j->ij", &[&[2], &[3]]), ["mul"]);
    assert_eq!(work("bi,bi->b", &[&[2, 3], &[2, 3]]), ["mul", "sum"]);
}

#[test]
fn what_is_refused() {
    let refused = |equation: &str, shapes: &[&[usize]]| {
        let mut g = Stage::new();
        let xs: Vec<Value> = shapes.iter().enumerate().map(|(i, s)| g.input(i, s, DType::F32).into()).collect();
        assert_eq!(staged(&mut g, equation, &xs), Value::Unknown, "{equation}");
        g.error().unwrap_or_default().to_owned()
    };
    let pair: &[&[usize]] = &[&[2, 3], &[3, 4]];
    assert_eq!(refused("ij,jk->iz", pair), "einsum: `z` of the result is in no tensor");
    assert_eq!(refused("ij,jk->ii", pair), "einsum: `i` stands twice in the result");
    assert_eq!(refused("ij,kj->ik", pair), "einsum: `j` is 3 in one place and 4 in another");
    assert_eq!(refused("ii,jk->ik", pair), "einsum: `i` is 2 in one place and 3 in another");
    assert_eq!(refused("ij->ij", pair), "einsum: the equation has 1 tensors, 2 are given");
    assert_eq!(refused("ij,jk,k->i", pair), "einsum: the equation has 3 tensors, 2 are given");
    assert_eq!(refused("ijk,jk->i", pair), "einsum: the equation names 3 axes of [2, 3]");
    assert_eq!(refused("i,jk->i", pair), "einsum: the equation names 1 axes of [2, 3]");
    assert_eq!(refused("i%,jk->i", pair), "einsum: an equation is made of letters, `,`, `->` and `...`");
    assert_eq!(refused("ij,jk-ik", pair), "einsum: expected one result behind `->`");
    assert_eq!(refused("ij,jk->i,k", pair), "einsum: expected one result behind `->`");
    assert_eq!(refused("i..,jk->i", pair), "einsum: expected three dots, once for a tensor");
    assert_eq!(refused("...i...,jk->i", pair), "einsum: expected three dots, once for a tensor");
    assert_eq!(
        refused("...i,...j->...", &[&[2, 3], &[4, 4]]),
        "einsum: an axis of `...` is 2 in one place and 4 in another"
    );
    assert_eq!(refused("abcdefghi,i->a", &[&[1; 8], &[1]]), "einsum: a tensor has at most 8 axes");
    let many: &[&[usize]] = &[&[1; 4], &[1; 4], &[1; 4]];
    assert_eq!(refused("abcd,efgh,ijkl->", many), "einsum: more than two tensors have at most 8 letters together");
    let mut cx = Check::record();
    einsum::shape(&mut cx, "->", [] as [Type; 0]);
    assert_eq!(cx.first(), Some("einsum: expected at least one tensor"));
}
