//! Each operation refuses what breaks its rule.

use std::sync::Arc;

use super::*;
use crate::shape::{DType, MAX_RANK};

use DType::{Bool, F32, I32};

fn node(op: Op, args: &[u32], shape: &[usize], dtype: DType) -> Node {
    let args = args.iter().map(|&v| Var(v)).collect();
    Node { op, args, shape: shape.to_vec(), dtype, scope: 0 }
}

/// Arguments for the nodes below.
fn graph() -> Graph {
    let inputs = [
        (&[4, 6][..], F32),
        (&[4, 6], F32),
        (&[4, 6], I32),
        (&[4, 6], Bool),
        (&[6, 5], F32),
        (&[], I32),
        (&[4, 1], F32),
        (&[3], I32),
        (&[3, 6], F32),
        (&[7], I32),
    ];
    let nodes = inputs.iter().enumerate().map(|(i, &(shape, dtype))| node(Op::Input(i), &[], shape, dtype));
    Graph { nodes: nodes.collect(), ..Graph::default() }
}

/// A node of each operation that keeps its rule, and whether its shape is free.
fn sound() -> Vec<(Node, bool)> {
    let contraction = |left: &[u8], right: &[u8], result: &[u8]| {
        let [left, right, result] = [left, right, result].map(|letters| letters.to_vec());
        Op::Contract(Arc::new(Contraction { left, right, result }))
    };
    let windows = Op::Windows { axis: 1, start: 1, step: 2, dilation: -1 };
    vec![
        (node(Op::Input(3), &[], &[4, 6], I32), true),
        (node(Op::Param(3), &[], &[4, 6], F32), true),
        (node(Op::Const(1), &[], &[4, 6], F32), true),
        (node(Op::Data(vec![0; 6].into()), &[], &[2, 3], F32), false),
        (node(Op::Iota, &[], &[5], I32), true),
        (node(Op::Seed, &[], &[], I32), false),
        (node(Op::Random(7), &[5], &[4, 6], F32), true),
        (node(Op::Unary(Unary::Exp), &[0], &[4, 6], F32), false),
        (node(Op::Unary(Unary::Neg), &[2], &[4, 6], I32), false),
        (node(Op::Binary(Binary::Pow), &[0, 1], &[4, 6], F32), false),
        (node(Op::Binary(Binary::Max), &[2, 2], &[4, 6], I32), false),
        (node(Op::Fma(Fma::MulAdd), &[0, 1, 0], &[4, 6], F32), false),
        (node(Op::Compare(Compare::Lt), &[0, 1], &[4, 6], Bool), false),
        (node(Op::Compare(Compare::Eq), &[3, 3], &[4, 6], Bool), false),
        (node(Op::Select, &[3, 0, 1], &[4, 6], F32), false),
        (node(Op::Cast, &[0], &[4, 6], I32), false),
        (node(Op::Within(Rows::below(3)), &[2], &[4, 6], I32), false),
        (node(Op::Checked(Rows::below(3)), &[2], &[4, 6], I32), false),
        (node(Op::Reduce(Reduce::Sum, 0b10), &[0], &[4, 1], F32), false),
        (node(Op::Broadcast, &[6], &[4, 6], F32), false),
        (node(Op::Reshape, &[0], &[3, 8], F32), false),
        (node(Op::Transpose(vec![1, 0]), &[0], &[6, 4], F32), false),
        (node(Op::Slice(vec![(3, -1), (1, 2)]), &[0], &[4, 3], F32), false),
        (node(windows, &[0], &[4, 3, 2], F32), false),
        (node(Op::Pad(vec![1, 0]), &[0], &[5, 6], F32), false),
        (node(Op::Concat(0), &[0, 8, 1], &[11, 6], F32), false),
        (node(Op::MatMul(false, false), &[0, 4], &[4, 5], F32), false),
        (node(Op::MatMul(true, true), &[4, 0], &[5, 4], F32), false),
        (node(contraction(b"ij", b"jk", b"ki"), &[0, 4], &[5, 4], F32), false),
        (node(Op::Gather, &[0, 7], &[3, 6], F32), false),
        (node(Op::ScatterAdd, &[7, 8], &[9, 6], F32), false),
        (node(Op::ScatterAdd, &[7, 8, 0], &[4, 6], F32), false),
    ]
}

fn checked(node: &Node) -> Result<(), String> {
    let graph = graph();
    check(&graph, node, graph.nodes().len())
}

#[test]
fn sound_nodes_are_admitted() {
    for (node, _) in sound() {
        assert_eq!(checked(&node), Ok(()), "{node:?}");
    }
}

#[test]
fn each_operation_has_so_many_arguments() {
    for (sound, _) in sound() {
        let mut more = sound.clone();
        more.args.extend([Var(5); 3]);
        checked(&more).unwrap_err();
        let mut foreign = sound.clone();
        foreign.args.push(Var(10));
        checked(&foreign).unwrap_err();
        if !sound.args.is_empty() {
            let mut none = sound.clone();
            none.args.clear();
            checked(&none).unwrap_err();
            // A node is no argument of one before it.
            check(&graph(), &sound, 0).unwrap_err();
        }
    }
}

#[test]
fn each_argument_has_a_type_and_a_shape() {
    for (sound, _) in sound() {
        for i in 0..sound.args.len() {
            let wrong = |arg: u32| {
                let mut node = sound.clone();
                node.args[i] = Var(arg);
                checked(&node)
            };
            // The seven whole numbers go where other whole numbers of one axis go, and into casts.
            let found = [wrong(9), wrong(3), wrong(5)];
            let refused = found.iter().filter(|found| found.is_err()).count();
            let same = |arg: u32| sound.args[i] == Var(arg);
            let admitted = [9, 3, 5].into_iter().filter(|&arg| same(arg)).count() + (sound.op == Op::Cast) as usize;
            assert_eq!(refused, 3 - admitted, "{sound:?}, argument {i}: {found:?}");
        }
    }
}

#[test]
fn each_result_has_a_type_and_a_shape() {
    for (sound, free) in sound() {
        let mut refused = Vec::new();
        for axis in 0..sound.shape.len() {
            for size in [sound.shape[axis] + 1, usize::MAX, 1 << 62] {
                let mut node = sound.clone();
                node.shape[axis] = size;
                let grows = match sound.op {
                    Op::Pad(_) => true,
                    Op::Broadcast => axis == 1,
                    Op::ScatterAdd => axis == 0 && sound.args.len() < 3,
                    _ => false,
                };
                let stays = size == sound.shape[axis] + 1 && (free || grows);
                if !stays {
                    refused.push(checked(&node).err().unwrap_or_else(|| panic!("{node:?}")));
                }
            }
        }
        let mut node = sound.clone();
        node.shape = vec![1; MAX_RANK + 1];
        checked(&node).unwrap_err();
        if !free {
            let mut node = sound.clone();
            node.shape.insert(0, 2);
            checked(&node).unwrap_err();
        }
        let types = [F32, I32, Bool].map(|dtype| checked(&Node { dtype, ..sound.clone() }).is_ok());
        let several = matches!(sound.op, Op::Input(_) | Op::Const(_) | Op::Data(_) | Op::Cast);
        assert_eq!(types.iter().filter(|ok| **ok).count(), if several { 3 } else { 1 }, "{sound:?}");
    }
}

#[test]
fn what_an_operation_says_fits_its_argument() {
    let refused = [
        (node(Op::Const(2), &[], &[], Bool), "expected 0 or 1, found 2"),
        (node(Op::Iota, &[], &[(1 << 31) + 1], I32), "at most 2147483648 numbers"),
        (node(Op::Unary(Unary::Exp), &[2], &[4, 6], I32), "exp: expected Tensor, found Index"),
        (node(Op::Unary(Unary::Neg), &[3], &[4, 6], Bool), "expected numbers, found Mask"),
        (node(Op::Binary(Binary::Div), &[2, 2], &[4, 6], I32), "expected Tensor, found Index"),
        (node(Op::Compare(Compare::Le), &[3, 3], &[4, 6], Bool), "expected numbers, found Mask"),
        (node(Op::Within(Rows::below(0)), &[2], &[4, 6], I32), "within: expected at least one row"),
        (node(Op::Reduce(Reduce::Sum, 0), &[0], &[4, 6], F32), "sum: axes [] of [4, 6]"),
        (node(Op::Reduce(Reduce::Sum, 0b100), &[0], &[4, 6], F32), "axes [2] of [4, 6]"),
        (node(Op::Reduce(Reduce::Max, 0b10), &[2], &[4, 1], F32), "expected Tensor, found Index"),
        (node(Op::Transpose(vec![1, 1]), &[0], &[6, 6], F32), "expected each axis of [4, 6] once"),
        (node(Op::Transpose(vec![1, 40]), &[0], &[6, 6], F32), "expected each axis of [4, 6] once"),
        (node(Op::Slice(vec![(0, 1), (4, 2)]), &[0], &[4, 2], F32), "elements 4 to 6 of axis 1 of [4, 6]"),
        (node(Op::Slice(vec![(0, -1), (0, 1)]), &[0], &[4, 6], F32), "elements -3 to 0 of axis 0"),
        (node(Op::Slice(vec![(1 << 30, 1), (0, 1)]), &[0], &[4, 6], F32), "elements 1073741824 to 1073741827"),
        (node(Op::Slice(vec![(0, isize::MAX), (0, 1)]), &[0], &[4, 6], F32), "elements 0 to 27670116110564327421"),
        (node(Op::Slice(vec![(0, 1)]), &[0], &[4, 6], F32), "a start and a step for each axis"),
        (node(Op::Pad(vec![usize::MAX, 0]), &[0], &[5, 6], F32), "reaches beyond [5, 6]"),
        (node(Op::Pad(vec![2, 0]), &[0], &[5, 6], F32), "reaches beyond [5, 6]"),
        (node(Op::Concat(2), &[0], &[4, 6], F32), "no axis 2 in [4, 6]"),
        (node(Op::Concat(0), &[], &[4, 6], F32), "expected at least one tensor"),
        (node(Op::Concat(0), &[0, 4], &[10, 6], F32), "[6, 5] is no part of [10, 6]"),
        (node(Op::Gather, &[5, 7], &[3], I32), "no axis 0 in []"),
    ];
    for (node, expected) in refused {
        let found = checked(&node).unwrap_err();
        assert!(found.contains(expected), "{found}, expected {expected}");
    }
    for (axis, start, step, dilation) in [(2, 0, 1, 1), (1, 0, 2, -1), (1, 2, 2, 1), (1, 5, -2, -2), (1, 9, 0, 0)] {
        let windows = Op::Windows { axis, start, step, dilation };
        checked(&node(windows, &[0], &[4, 3, 2], F32)).unwrap_err();
    }
}

#[test]
fn a_letter_is_in_two_tensors_and_has_one_size() {
    for (left, right, result, shape) in [
        ("ij", "jk", "ii", [4, 4]),
        ("ij", "jk", "il", [4, 5]),
        ("ij", "lk", "ik", [4, 5]),
        ("ii", "ik", "ik", [4, 5]),
        ("ij", "jk", "ik", [4, 6]),
        ("ij", "ik", "jk", [6, 5]),
        ("ijl", "jk", "ik", [4, 5]),
    ] {
        let [left, right, result] = [left, right, result].map(|letters| letters.bytes().collect());
        let axes = Arc::new(Contraction { left, right, result });
        let node = node(Op::Contract(axes.clone()), &[0, 4], &shape, F32);
        assert!(checked(&node).is_err(), "{axes:?}");
    }
}
