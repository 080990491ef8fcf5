//! Kernels that are left to Cranelift although wider vectors are there, with the reason.

use super::{kernel, levels};
use crate::codegen::{Backend, compile, matmul};
use crate::ir::nest::LoopKernel;
use crate::ir::product::MatMul;
use crate::ir::strip::{Effect, Inst, Kind, Strip, Walk};
use crate::ir::{Fallback, Level, Reason};

/// A copy of a row.
fn copy(row: usize, from: Walk, to: Walk) -> LoopKernel {
    let mut each = Strip::default();
    let x = each.push(Inst::Load(0, from, Kind::Float), Kind::Float);
    each.effect(Effect::Store(1, to, x));
    kernel(vec![], row, vec![vec![], vec![]], each)
}

/// So many squares that are all needed at the end of a place.
fn squares(count: usize) -> LoopKernel {
    let mut each = Strip::default();
    let all: Vec<_> = (0..count)
        .map(|i| {
            let x = each.push(Inst::Load(i, Walk::Contiguous, Kind::Float), Kind::Float);
            each.mul(x, x)
        })
        .collect();
    let sum = all[1..].iter().fold(all[0], |sum, &x| each.add(sum, x));
    for (i, &x) in all.iter().enumerate() {
        let product = each.mul(x, sum);
        each.effect(Effect::Store(count + i, Walk::Contiguous, product));
    }
    kernel(vec![], 100, vec![vec![]; 2 * count], each)
}

/// What is told of a backend of this level.
fn reason(backend: Backend, level: Level) -> Option<Reason> {
    match backend {
        Backend::Emitter(found) if found == level => None,
        Backend::Cranelift(Some(Fallback { level: found, reason })) if found == level => Some(reason),
        Backend::Cranelift(None) if level == Level::Portable => None,
        other => panic!("{level:?}: {other:?}"),
    }
}

#[test]
fn a_loop_has_the_reason_of_its_backend() {
    let (longest, most) = (1 << 28, 1 << 24);
    for level in levels() {
        let check = |kernel: &LoopKernel, expected: Option<Reason>| {
            let compiled = compile(&[kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
            let found = reason(compiled.code().backend(), level);
            assert_eq!(found, expected.filter(|_| level > Level::Portable), "{level:?}");
        };
        let (along, far) = (Walk::Contiguous, Walk::Strided(-(most as isize) - 1));
        check(&copy(longest, along, along), None);
        check(&copy(longest + 1, along, along), Some(Reason::Row(longest + 1, longest)));
        check(&copy(9, far, along), Some(Reason::Stride(most + 1, most)));
        check(&copy(9, along, far), Some(Reason::Stride(most + 1, most)));
        check(&copy(9, along, Walk::Fixed), Some(Reason::OnePlace));
        check(&squares(10), None);
        let deep = compile(&[&squares(400)], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
        match reason(deep.code().backend(), level) {
            Some(Reason::Stack(found, 4096)) => assert!(found > 4096),
            found => assert!(found.is_none() && level == Level::Portable, "{level:?}: {found:?}"),
        }
    }
}

#[test]
fn a_product_has_the_reason_of_its_backend() {
    let (most, far) = (1 << 21, (1 << 21) + 1);
    let dense = MatMul { m: 8, n: 16, k: 32, strides: [[32, 1], [16, 1], [16, 1]], ..MatMul::default() };
    let rows = |stride| MatMul { strides: [[stride, 1], [16, 1], [16, 1]], ..dense.clone() };
    let sums = |strides: &[isize]| strides.iter().map(|&stride| (3, [stride, stride])).collect();
    let span = 256 * most;
    let cases = [
        (dense.clone(), None),
        (rows(most), None),
        (rows(far), Some(Reason::Matrix(far as usize, most as usize))),
        (MatMul { sums: sums(&[512]), ..dense.clone() }, None),
        (MatMul { sums: sums(&[span]), ..dense.clone() }, Some(Reason::Span)),
        (MatMul { sums: sums(&[512; 3]), ..dense.clone() }, Some(Reason::Sums(3, 2))),
        (MatMul { sums: sums(&[512]), strides: [[32, 1], [16, 2], [16, 1]], ..dense.clone() }, Some(Reason::PackedSum)),
    ];
    for level in levels() {
        for (product, expected) in &cases {
            let compiled = matmul::compile(&[product], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
            for code in compiled.codes() {
                assert_eq!(reason(code.backend(), level), expected.filter(|_| level > Level::Portable), "{product:?}");
            }
        }
    }
}

#[test]
fn a_row_of_millions_of_elements_is_whole() {
    let row = (1 << 24) + 19;
    let kernel = copy(row, Walk::Contiguous, Walk::Contiguous);
    let from: Vec<u32> = (0..row as u32).collect();
    for level in levels() {
        let compiled = compile(&[&kernel], level).unwrap_or_else(|e| panic!("{level:?}: {e}")).remove(0);
        let mut to = vec![0u32; row];
        let operands = [from.as_ptr().cast_mut().cast(), to.as_mut_ptr().cast()];
        for (start, end) in [(0, row / 3), (row / 3, row)] {
            // SAFETY: both operands have the elements of the row, and only the second is written.
            unsafe { compiled.run(operands.as_ptr(), start, end) };
        }
        assert!(to == from, "{level:?}");
    }
}
